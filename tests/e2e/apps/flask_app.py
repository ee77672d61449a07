"""Flask: a route, a stream, an upload, an error page and a coroutine."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from flask import Flask, Response, jsonify, request

app = Flask(__name__)


@app.get("/items/<int:number>")
def item(number: int) -> Response:
    return jsonify(item=number, query=request.args, host=request.host, cookies=request.cookies)


@app.get("/stream")
def stream() -> Response:
    def lines() -> Iterator[str]:
        for number in range(5):
            yield f"line {number}\n"

    return Response(lines(), content_type="text/plain")


@app.post("/upload")
def upload() -> Response:
    file = request.files["file"]
    return jsonify(name=file.filename, size=len(file.read()), field=request.form["field"])


@app.post("/echo")
def echo() -> bytes:
    return request.get_data()


@app.get("/async")
async def asynchronous() -> str:
    await asyncio.sleep(0)
    return "from a loop"


@app.get("/fail")
def fail() -> str:
    raise ValueError("on purpose")
