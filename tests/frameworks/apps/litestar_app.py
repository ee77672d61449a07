"""Litestar, on asyncio or trio."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
from litestar import Litestar, MediaType, Request, Response, WebSocket, get, post, websocket
from litestar.background_tasks import BackgroundTask
from litestar.datastructures import State, UploadFile
from litestar.exceptions import WebSocketDisconnect
from litestar.response import ServerSentEvent, Stream

notes: dict[str, Any] = {}


@asynccontextmanager
async def lifespan(app: Litestar) -> AsyncIterator[None]:
    app.state.greeting = "hello from the lifespan"
    yield
    print("the lifespan has ended")


@get("/json")
async def json(request: Request[Any, Any, State]) -> dict[str, Any]:
    return {"method": request.method, "query": dict(request.query_params)}


@get("/items/{number:int}")
async def item(number: int, request: Request[Any, Any, State]) -> dict[str, Any]:
    return {"item": number, "path": request.url.path}


@get("/stream")
async def stream() -> Stream:
    async def lines() -> AsyncIterator[str]:
        for number in range(5):
            yield f"line {number}\n"
            await anyio.sleep(0.01)

    return Stream(lines(), media_type=MediaType.TEXT)


@get("/events")
async def events(key: str) -> ServerSentEvent:
    async def ticks() -> AsyncIterator[str]:
        try:
            while True:
                yield "tick"
                await anyio.sleep(0.02)
        finally:
            notes[key] = "ended"

    return ServerSentEvent(ticks())


@post("/upload", status_code=200)
async def upload(request: Request[Any, Any, State]) -> dict[str, Any]:
    form = await request.form()
    file: UploadFile = form["file"]
    return {"name": file.filename, "size": len(await file.read()), "note": form["note"]}


@post("/body", status_code=200)
async def body(request: Request[Any, Any, State]) -> dict[str, int]:
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
    return {"size": size}


@get("/background")
async def background(key: str) -> Response[str]:
    async def work() -> None:
        await anyio.sleep(0.1)
        notes[key] = "done"

    return Response("begun", media_type=MediaType.TEXT, background=BackgroundTask(work))


@get("/fail")
async def fail() -> str:
    raise RuntimeError("on purpose")


@get("/state", media_type=MediaType.TEXT)
async def state(state: State) -> str:
    return str(state.greeting)


@get("/note", media_type=MediaType.TEXT)
async def note(key: str) -> str:
    gc.collect()  # closes ticks() where the iterator around it was left within a cycle
    return str(notes.get(key, ""))


@websocket("/echo")
async def echo(socket: WebSocket[Any, Any, State]) -> None:
    await socket.accept()
    await socket.send_json({"path": socket.url.path})
    try:
        while True:
            message = await socket.receive()
            if message["type"] == "websocket.disconnect":
                raise WebSocketDisconnect(detail="left", code=message["code"])
            if message.get("text") is not None:
                await socket.send_text(message["text"])
            else:
                await socket.send_bytes(message["bytes"])
    except WebSocketDisconnect as left:
        notes[socket.query_params.get("key", "")] = f"left with {left.code}"


@websocket("/deny")
async def deny(socket: WebSocket[Any, Any, State]) -> None:
    await socket.close()


app = Litestar(
    [json, item, stream, events, upload, body, background, fail, state, note, echo, deny],
    lifespan=[lifespan],
)
