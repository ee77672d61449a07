"""Asgineer: one handler, which is given requests of both kinds."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import asgineer
from asgineer import DisconnectedError

notes: dict[str, Any] = {}


async def json(request: Any) -> Any:
    return {"method": request.method, "query": request.querydict}


async def item(request: Any) -> Any:
    return {"item": int(request.path.rpartition("/")[2]), "path": request.path}


async def stream(request: Any) -> Any:
    async def lines() -> AsyncIterator[str]:
        for number in range(5):
            yield f"line {number}\n"
            await asgineer.sleep(0.01)

    return {"content-type": "text/plain"}, lines()


async def events(request: Any) -> None:
    await request.accept(200, {"content-type": "text/event-stream"})
    try:
        while True:
            await request.send("data: tick\n\n")
            await request.sleep_while_connected(0.02)
    finally:
        notes[request.querydict["key"]] = "ended"


async def wait(request: Any) -> Any:
    key = request.querydict["key"]
    notes[key] = "waiting"
    try:
        await request.sleep_while_connected(20)
    except DisconnectedError:
        notes[key] = "disconnected"
        raise
    return "nobody left"


async def body(request: Any) -> Any:
    size = 0
    async for chunk in request.iter_body():
        size += len(chunk)
    return {"size": size}


async def background(request: Any) -> None:
    """A handler that has sent its response may go on."""
    await request.accept(200, {"content-type": "text/plain"})
    await request.send("begun", more=False)
    await asgineer.sleep(0.1)
    notes[request.querydict["key"]] = "done"


async def fail(request: Any) -> Any:
    raise RuntimeError("on purpose")


async def note(request: Any) -> Any:
    return notes.get(request.querydict["key"], "")


async def echo(request: Any) -> None:
    await request.accept()
    await request.send('{"path": "/echo"}')
    async for message in request.receive_iter():
        await request.send(message)
    notes[request.querydict.get("key", "")] = "left"


async def deny(request: Any) -> None:
    await request.close()


HANDLERS: dict[str, Callable[[Any], Awaitable[Any]]] = {
    "/json": json,
    "/stream": stream,
    "/events": events,
    "/wait": wait,
    "/body": body,
    "/background": background,
    "/fail": fail,
    "/note": note,
    "/echo": echo,
    "/deny": deny,
}


@asgineer.to_asgi
async def app(request: Any) -> Any:
    if request.path.startswith("/items/"):
        return await item(request)
    if request.path not in HANDLERS:
        return 404, {}, "not found"
    return await HANDLERS[request.path](request)
