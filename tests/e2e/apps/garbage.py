"""Tells what connections have left for the garbage collector, which it keeps from coming."""

from __future__ import annotations

import gc
import json
from collections.abc import Awaitable, Callable
from typing import Any

from hyperserver.runtime.connection import Connection

Message = dict[str, Any]


async def app(
    scope: dict[str, Any],
    receive: Callable[[], Awaitable[Message]],
    send: Callable[[Message], Awaitable[None]],
) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while (await receive())["type"] != "websocket.disconnect":
            pass
        return
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": []})
    answer = {"/begin": begin, "/connections": connections, "/left": left}.get(scope["path"])
    body = json.dumps(answer() if answer else "Hello").encode()
    await send({"type": "http.response.body", "body": body})


def begin() -> None:
    gc.collect()
    gc.disable()


def connections() -> int:
    return sum(isinstance(each, Connection) for each in gc.get_objects())


def left() -> list[str]:
    """The types of all that could be reached by nobody."""
    gc.set_debug(gc.DEBUG_SAVEALL)
    gc.collect()
    gc.set_debug(0)
    names = {f"{type(each).__module__}.{type(each).__qualname__}" for each in gc.garbage}
    gc.garbage.clear()
    gc.enable()
    return sorted(names)
