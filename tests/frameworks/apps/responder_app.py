"""Responder."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import responder

notes: dict[str, Any] = {}


@asynccontextmanager
async def lifespan(app: Any) -> AsyncIterator[None]:
    notes["greeting"] = "hello from the lifespan"
    yield
    print("the lifespan has ended")


api = app = responder.API(lifespan=lifespan, secret_key="for tests only")


@api.route("/json", methods=["GET"])
async def json(req: Any, resp: Any) -> None:
    resp.media = {"method": req.method, "query": dict(req.params.items())}


@api.route("/items/{number:int}")
async def item(req: Any, resp: Any, *, number: int) -> None:
    resp.media = {"item": number, "path": req.url.path}


@api.route("/stream")
async def stream(req: Any, resp: Any) -> None:
    resp.mimetype = "text/plain"

    @resp.stream
    async def lines() -> AsyncIterator[bytes]:
        for number in range(5):
            yield b"line %d\n" % number
            await anyio.sleep(0.01)


@api.route("/events")
async def events(req: Any, resp: Any) -> None:
    key = req.params["key"]

    @resp.sse
    async def ticks() -> AsyncIterator[str]:
        try:
            while True:
                yield "tick"
                await anyio.sleep(0.02)
        finally:
            notes[key] = "ended"


@api.route("/upload", methods=["POST"])
async def upload(req: Any, resp: Any) -> None:
    file = (await req.media("files"))["file"]
    form = await req.media("form")
    resp.media = {"name": file.filename, "size": len(await file.read()), "note": form["note"]}


@api.route("/body", methods=["POST"])
async def body(req: Any, resp: Any) -> None:
    size = 0
    async for chunk in req.stream():
        size += len(chunk)
    resp.media = {"size": size}


@api.route("/background")
async def background(req: Any, resp: Any) -> None:
    key = req.params["key"]

    async def work() -> None:
        await anyio.sleep(0.1)
        notes[key] = "done"

    resp.background(work)
    resp.text = "begun"


@api.route("/fail")
async def fail(req: Any, resp: Any) -> None:
    raise RuntimeError("on purpose")


@api.route("/state")
async def state(req: Any, resp: Any) -> None:
    resp.text = notes["greeting"]


@api.route("/note")
async def note(req: Any, resp: Any) -> None:
    resp.text = notes.get(req.params["key"], "")


@api.websocket_route("/echo")
async def echo(ws: Any) -> None:
    await ws.accept()
    await ws.send_json({"path": ws.url.path})
    while (message := await ws.receive())["type"] != "websocket.disconnect":
        if message.get("text") is not None:
            await ws.send_text(message["text"])
        else:
            await ws.send_bytes(message["bytes"])
    notes[ws.query_params.get("key", "")] = f"left with {message['code']}"


@api.websocket_route("/deny")
async def deny(ws: Any) -> None:
    from starlette.responses import PlainTextResponse

    await ws.send_denial_response(PlainTextResponse("not you", 401))
