"""Flask, which is WSGI: the server finds that out by itself."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from flask import Flask, Response, request

notes: dict[str, Any] = {}

app = Flask(__name__)


@app.get("/json")
def json() -> dict[str, Any]:
    return {"method": request.method, "query": dict(request.args)}


@app.get("/items/<int:number>")
def item(number: int) -> dict[str, Any]:
    return {"item": number, "path": request.path}


@app.get("/threads")
def in_a_thread() -> dict[str, str]:
    return {"where": "thread"}


@app.get("/stream")
def stream() -> Response:
    def lines() -> Iterator[str]:
        for number in range(5):
            yield f"line {number}\n"
            time.sleep(0.01)

    return Response(lines(), mimetype="text/plain")


@app.get("/events")
def events() -> Response:
    key = request.args["key"]

    def ticks() -> Iterator[str]:
        try:
            while True:
                yield "data: tick\n\n"
                time.sleep(0.02)
        finally:
            notes[key] = "ended"

    return Response(ticks(), mimetype="text/event-stream")


@app.post("/upload")
def upload() -> dict[str, Any]:
    file = request.files["file"]
    return {"name": file.filename, "size": len(file.read()), "note": request.form["note"]}


@app.post("/body")
def body() -> dict[str, int]:
    size = 0
    while chunk := request.stream.read(65_536):
        size += len(chunk)
    return {"size": size}


@app.get("/fail")
def fail() -> str:
    raise RuntimeError("on purpose")


@app.get("/note")
def note() -> str:
    return str(notes.get(request.args["key"], ""))
