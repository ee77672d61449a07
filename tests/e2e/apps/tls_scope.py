"""Shows its scope, on one line; notes the keys that it was called with."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs

noted: set[str] = set()


async def app(
    scope: dict[str, Any],
    receive: Callable[[], Awaitable[dict[str, Any]]],
    send: Callable[[dict[str, Any]], Awaitable[None]],
) -> None:
    assert scope["type"] == "http"
    key = parse_qs(scope["query_string"].decode()).get("key", [""])[0]
    if scope["path"] == "/note":
        noted.add(key)
        body = b"noted"
    elif scope["path"] == "/noted":
        body = b"yes" if key in noted else b"no"
    else:
        shown = {name: value for name, value in scope.items() if name != "state"}
        body = json.dumps(shown, default=lambda value: value.decode("latin-1")).encode() + b"\n"
        if "tls" in scope["extensions"]:  # no later request may see this
            scope["extensions"]["tls"]["client_cert_chain"].clear()
            scope["extensions"]["tls"].clear()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})
