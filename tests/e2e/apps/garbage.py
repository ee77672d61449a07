"""Tells what connections have left behind for the garbage collector, which does not run by itself."""

from __future__ import annotations

import gc
import json
from collections import Counter
from typing import Any

from hyperserver.runtime.connection import Connection

gc.disable()


def left() -> tuple[int, dict[str, int]]:
    """How many connections there are; and of what only the collector could find, all that is ours."""
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        gc.collect()
        names = [f"{type(one).__module__}.{type(one).__qualname__}" for one in gc.garbage]
        lost = Counter(name for name in names if name.startswith("hyperserver"))
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
    gc.collect()
    return sum(type(one) is Connection for one in gc.get_objects()), lost


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        raise NotImplementedError
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] != "websocket.disconnect":
            await send({"type": "websocket.send", "text": message.get("text")})
        return
    size = 0
    while True:
        message = await receive()
        size += len(message.get("body", b""))
        if not message.get("more_body"):
            break
    answer = left() if scope["path"] == "/left" else size
    await send({"type": "http.response.start", "status": 200})
    await send(
        {"type": "http.response.body", "body": json.dumps(answer).encode(), "more_body": True}
    )
    await send({"type": "http.response.body"})
