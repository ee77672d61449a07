"""Sanic in ASGI mode."""

from __future__ import annotations

import asyncio
import json as json_module
from typing import Any

from sanic import Request, Sanic, Websocket
from sanic.response import HTTPResponse, JSONResponse, json, text

notes: dict[str, Any] = {}

app = Sanic("contract", configure_logging=False)
app.config.OAS = False


@app.before_server_start
async def begin(app: Sanic) -> None:
    app.ctx.greeting = "hello from the lifespan"


@app.after_server_stop
async def end(app: Sanic) -> None:
    print("the lifespan has ended")


@app.get("/json")
async def show(request: Request) -> JSONResponse:
    return json({"method": request.method, "query": dict(request.query_args)})


@app.head("/json")
async def show_head(request: Request) -> HTTPResponse:
    return HTTPResponse(content_type="application/json")


@app.get("/items/<number:int>")
async def item(request: Request, number: int) -> JSONResponse:
    return json({"item": number, "path": request.path})


@app.get("/stream")
async def stream(request: Request) -> None:
    response = await request.respond(content_type="text/plain")
    for number in range(5):
        await response.send(f"line {number}\n")
        await asyncio.sleep(0.01)
    await response.eof()


@app.get("/events")
async def events(request: Request) -> None:
    response = await request.respond(content_type="text/event-stream")
    try:
        while True:
            await response.send("data: tick\n\n")
            await asyncio.sleep(0.02)
    finally:
        notes[request.args.get("key")] = "ended"


@app.post("/upload")
async def upload(request: Request) -> JSONResponse:
    file = request.files.get("file")
    return json({"name": file.name, "size": len(file.body), "note": request.form.get("note")})


@app.post("/body", stream=True)
async def body(request: Request) -> JSONResponse:
    size = 0
    async for chunk in request.stream:
        size += len(chunk)
    return json({"size": size})


@app.get("/background")
async def background(request: Request) -> HTTPResponse:
    key = request.args.get("key")

    async def work() -> None:
        await asyncio.sleep(0.1)
        notes[key] = "done"

    request.app.add_task(work())
    return text("begun")


@app.get("/fail")
async def fail(request: Request) -> HTTPResponse:
    raise RuntimeError("on purpose")


@app.get("/state")
async def state(request: Request) -> HTTPResponse:
    return text(request.app.ctx.greeting)


@app.get("/note")
async def note(request: Request) -> HTTPResponse:
    return text(str(notes.get(request.args.get("key"), "")))


@app.websocket("/echo")
async def echo(request: Request, ws: Websocket) -> None:
    await ws.send(json_module.dumps({"path": request.path}))
    while (message := await ws.recv()) is not None:
        await ws.send(message)
    notes[request.args.get("key", "")] = "left"
