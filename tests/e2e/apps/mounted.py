"""Applications to be mounted: each says who it is and what it sees, and prints its lifespan."""

from __future__ import annotations

import json
from typing import Any


def named(name: str) -> Any:
    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            scope["state"]["of"] = name
            for stage in ("startup", "shutdown"):
                await receive()
                print(stage, name, flush=True)
                await send({"type": f"lifespan.{stage}.complete"})
            return
        said = {key: scope[key] for key in ("root_path", "path", "state")} | {"name": name}
        said["host"] = dict(scope["headers"])[b"host"].decode()
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            await send({"type": "websocket.send", "text": json.dumps(said)})
            await receive()
            return
        headers = [(b"content-type", b"application/json"), (b"x-powered-by", name.encode())]
        if scope["path"].endswith("/own"):
            headers.append((b"x-frame-options", b"SAMEORIGIN"))
        if scope["path"].endswith("/fails"):
            raise RuntimeError("as asked")
        body = json.dumps(said).encode()
        headers.append((b"content-length", b"%d" % len(body)))
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return app


shop, api, admin = named("shop"), named("api"), named("admin")


def make_api() -> Any:
    return named("made")


async def refusing(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Its lifespan fails."""
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "no database"})
