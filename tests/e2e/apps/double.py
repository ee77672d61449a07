"""ASGI 2 applications, as they were written once: a class and a function."""

from __future__ import annotations

import json
from typing import Any


class Application:
    def __init__(self, scope: dict[str, Any]) -> None:
        if scope["type"] == "lifespan":
            raise ValueError("no lifespan here")
        self.scope = scope

    async def __call__(self, receive: Any, send: Any) -> None:
        if self.scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            message = await receive()
            await send({"type": "websocket.send", "text": message["text"].upper()})
            await send({"type": "websocket.close"})
            return
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body", False):
                break
        answer = {"asgi": self.scope["asgi"], "body": body.decode()}
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": json.dumps(answer).encode()})


def function(scope: dict[str, Any]) -> Any:
    return Application(scope)


def anything(*arguments: Any) -> Any:
    return function(*arguments)
