"""BlackSheep."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from blacksheep import (
    Application,
    Content,
    Request,
    Response,
    StreamedContent,
    WebSocket,
    WebSocketDisconnectError,
    json,
    text,
)
from blacksheep.server.sse import ServerSentEvent, ServerSentEventsResponse, TextServerSentEvent

notes: dict[str, Any] = {}
tasks: set[asyncio.Task[None]] = set()

app = Application()
route = app.router


@app.lifespan
async def lifespan() -> AsyncIterator[None]:
    notes["greeting"] = "hello from the lifespan"
    yield
    print("the lifespan has ended")


def first(request: Request, name: str) -> str:
    return str(request.query.get(name, [""])[0])


@route.get("/json")
async def show(request: Request) -> Response:
    return json(
        {
            "method": request.method,
            "query": {name: values[0] for name, values in request.query.items()},
        }
    )


@route.head("/json")
async def show_head(request: Request) -> Response:
    return Response(200)


@route.get("/items/{int:number}")
async def item(request: Request, number: int) -> Response:
    return json({"item": number, "path": request.url.path.decode()})


@route.get("/stream")
async def stream(request: Request) -> Response:
    async def lines() -> AsyncIterator[bytes]:
        for number in range(5):
            yield b"line %d\n" % number
            await asyncio.sleep(0.01)

    return Response(200, content=StreamedContent(b"text/plain", lines))


@route.get("/events")
async def events(request: Request) -> Response:
    key = first(request, "key")

    async def ticks() -> AsyncIterator[ServerSentEvent]:
        try:
            while True:
                yield TextServerSentEvent("tick")
                await asyncio.sleep(0.02)
        finally:
            notes[key] = "ended"

    return ServerSentEventsResponse(ticks)


@route.get("/wait")
async def wait(request: Request) -> Response:
    """Polls for the disconnect, as long computations do."""
    key = first(request, "key")
    notes[key] = "waiting"
    async with asyncio.timeout(20):
        while not await request.is_disconnected():
            await asyncio.sleep(0.01)
    notes[key] = "disconnected"
    return text("nobody sees this")


@route.post("/upload")
async def upload(request: Request) -> Response:
    form = await request.form()
    (file,) = form["file"]
    return json({"name": file.file_name.decode(), "size": len(file.data), "note": form["note"]})


@route.post("/body")
async def body(request: Request) -> Response:
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
    return json({"size": size})


@route.get("/background")
async def background(request: Request) -> Response:
    key = first(request, "key")

    async def work() -> None:
        await asyncio.sleep(0.1)
        notes[key] = "done"

    task = asyncio.create_task(work())
    tasks.add(task)
    task.add_done_callback(tasks.discard)
    return text("begun")


@route.get("/fail")
async def fail(request: Request) -> Response:
    raise RuntimeError("on purpose")


@route.get("/state")
async def state(request: Request) -> Response:
    return text(notes["greeting"])


@route.get("/note")
async def note(request: Request) -> Response:
    return Response(
        200, content=Content(b"text/plain", notes.get(first(request, "key"), "").encode())
    )


@route.ws("/echo")
async def echo(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_json({"path": websocket.url.path.decode()})
    try:
        while True:
            message = await websocket.receive()
            if message.get("text") is not None:
                await websocket.send_text(message["text"])
            else:
                await websocket.send_bytes(message["bytes"])
    except WebSocketDisconnectError as left:
        notes[first(websocket, "key")] = f"left with {left.code}"


@route.ws("/deny")
async def deny(websocket: WebSocket) -> None:
    await websocket.close()
