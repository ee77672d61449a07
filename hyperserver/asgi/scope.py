"""Building connection scopes (ASGI HTTP & WebSocket 2.5, "HTTP Connection Scope")."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_to_bytes

from hyperserver.asgi.types import ASGI_VERSION, HTTP_SPEC_VERSION
from hyperserver.protocol.events import RequestReceived

Address = tuple[str, int | None]


@dataclass(frozen=True, slots=True)
class ScopeContext:
    """What all requests of one connection have in common.

    ``client`` is ``(host, port)``, None on a Unix socket; ``server`` is ``(host, port)`` or
    ``(socket path, None)``. ``state`` is the lifespan's namespace, None where there is none.
    """

    client: Address | None
    server: Address | None
    root_path: str
    state: dict[str, Any] | None


def decode_path(raw: bytes) -> str:
    """Percent-decode, then UTF-8-decode, undecodable bytes becoming U+FFFD; nothing normalised."""
    if b"%" in raw:
        raw = unquote_to_bytes(raw)
    return raw.decode("utf-8", "replace")


def http_scope(event: RequestReceived, context: ScopeContext) -> dict[str, Any]:
    """The ``http`` scope of a request. Every container in it is new: an application may change
    its scope without any other request seeing it.
    """
    raw_path, _, query_string = event.target.partition(b"?")
    path = decode_path(raw_path)
    root_path = context.root_path
    if root_path and not path.startswith(root_path):
        path = root_path + path  # a proxy in front has stripped the prefix
    scope: dict[str, Any] = {
        "type": "http",
        "asgi": {"version": ASGI_VERSION, "spec_version": HTTP_SPEC_VERSION},
        "http_version": event.http_version,
        "method": event.method,
        "scheme": event.scheme,
        "path": path,
        "raw_path": raw_path,
        "query_string": query_string,
        "root_path": root_path,
        "headers": event.headers,
        "client": context.client,
        "server": context.server,
        "extensions": (
            {}
            if event.http_version == "1.0"
            else {"http.response.early_hint": {}, "http.response.trailers": {}}
        ),
    }
    if context.state is not None:
        scope["state"] = context.state.copy()
    return scope
