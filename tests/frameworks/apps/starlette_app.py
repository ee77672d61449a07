"""Starlette, as anyone would write it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypedDict

import anyio
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.datastructures import UploadFile
from starlette.endpoints import WebSocketEndpoint
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute
from starlette.websockets import WebSocket

notes: dict[str, Any] = {}


class State(TypedDict):
    greeting: str


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[State]:
    yield {"greeting": "hello from the lifespan"}
    print("the lifespan has ended")


async def json(request: Request) -> Response:
    return JSONResponse({"method": request.method, "query": dict(request.query_params)})


async def item(request: Request) -> Response:
    return JSONResponse({"item": request.path_params["number"], "path": request.url.path})


async def stream(request: Request) -> Response:
    async def lines() -> AsyncIterator[str]:
        for number in range(5):
            yield f"line {number}\n"
            await anyio.sleep(0.01)

    return StreamingResponse(lines(), media_type="text/plain")


async def events(request: Request) -> Response:
    key = request.query_params["key"]

    async def ticks() -> AsyncIterator[str]:
        try:
            while True:
                yield "data: tick\n\n"
                await anyio.sleep(0.02)
        finally:
            notes[key] = "ended"

    return StreamingResponse(ticks(), media_type="text/event-stream")


async def wait(request: Request) -> Response:
    """Polls for the disconnect, as long computations do."""
    key = request.query_params["key"]
    notes[key] = "waiting"
    with anyio.fail_after(20):
        while not await request.is_disconnected():
            await anyio.sleep(0.01)
    notes[key] = "disconnected"
    return PlainTextResponse("nobody sees this")


async def upload(request: Request) -> Response:
    async with request.form() as form:
        file = form["file"]
        assert isinstance(file, UploadFile)
        data = await file.read()
        return JSONResponse({"name": file.filename, "size": len(data), "note": form["note"]})


async def body(request: Request) -> Response:
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
    return JSONResponse({"size": size})


async def background(request: Request) -> Response:
    key = request.query_params["key"]

    async def work() -> None:
        await anyio.sleep(0.1)
        notes[key] = "done"

    return PlainTextResponse("begun", background=BackgroundTask(work))


async def fail(request: Request) -> Response:
    raise RuntimeError("on purpose")


async def state(request: Request) -> Response:
    return PlainTextResponse(request.state.greeting)


async def note(request: Request) -> Response:
    return PlainTextResponse(notes.get(request.query_params["key"], ""))


async def push(request: Request) -> Response:
    await request.send_push_promise("/items/7")
    return PlainTextResponse("pushed")


async def hints(request: Request) -> Response:
    await request.send_early_hints("</style.css>; rel=preload; as=style")
    return PlainTextResponse("hinted")


class Echo(WebSocketEndpoint):
    async def on_connect(self, websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_json({"path": websocket.url.path})

    async def decode(self, websocket: WebSocket, message: Any) -> str | bytes:
        data: bytes | None = message.get("bytes")
        return str(message["text"]) if data is None else data

    async def on_receive(self, websocket: WebSocket, data: str | bytes) -> None:
        if isinstance(data, str):
            await websocket.send_text(data)
        else:
            await websocket.send_bytes(data)

    async def on_disconnect(self, websocket: WebSocket, close_code: int) -> None:
        notes[websocket.query_params.get("key", "")] = f"left with {close_code}"


async def deny(websocket: WebSocket) -> None:
    await websocket.send_denial_response(PlainTextResponse("not you", 401))


async def headed(request: Request, call_next: RequestResponseEndpoint) -> Response:
    response = await call_next(request)
    response.headers["x-middleware"] = "was here"
    return response


ROUTES: list[BaseRoute] = [
    Route("/json", json, methods=["GET", "POST"]),
    Route("/items/{number:int}", item),
    Route("/stream", stream),
    Route("/events", events),
    Route("/wait", wait),
    Route("/upload", upload, methods=["POST"]),
    Route("/body", body, methods=["POST"]),
    Route("/background", background),
    Route("/fail", fail),
    Route("/state", state),
    Route("/note", note),
    Route("/push", push),
    Route("/hints", hints),
    WebSocketRoute("/echo", Echo),
    WebSocketRoute("/deny", deny),
]
wrapped = Starlette(
    routes=ROUTES, middleware=[Middleware(BaseHTTPMiddleware, dispatch=headed)], lifespan=lifespan
)
app = Starlette(routes=[*ROUTES, Mount("/wrapped", wrapped)], lifespan=lifespan)
