"""Building connection scopes (ASGI HTTP & WebSocket 2.5, "HTTP Connection Scope")."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

from hyperserver.asgi.types import ASGI_VERSION, HTTP_SPEC_VERSION
from hyperserver.protocol.events import Headers, RequestReceived

if TYPE_CHECKING:
    from hyperserver.asgi.proxy import ProxyTrust

Address = tuple[str, int | None]

_ASGI = {"version": ASGI_VERSION, "spec_version": HTTP_SPEC_VERSION}


class ScopeContext:
    """What all requests of one connection have in common.

    ``client`` is ``(host, port)``, None on a Unix socket; ``server`` is ``(host, port)`` or
    ``(socket path, None)``. ``state`` is the lifespan's namespace, None where there is none.
    ``tls`` gives the value of the extension of that name, None on a connection without TLS.
    ``proxy`` is asked for the client of each request, None where the peer is not trusted.
    """

    __slots__ = ("client", "proxy", "root_path", "server", "state", "template", "tls")

    def __init__(
        self,
        client: Address | None,
        server: Address | None,
        root_path: str,
        state: dict[str, Any] | None,
        tls: Callable[[], dict[str, Any]] | None = None,
        proxy: ProxyTrust | None = None,
    ) -> None:
        self.client = client
        self.server = server
        self.root_path = root_path
        self.state = state
        self.tls = tls
        self.proxy = proxy
        #: Copying a dict and setting half of its keys is quicker than building it.
        self.template: dict[str, Any] = {
            "type": "http",
            "asgi": None,
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "path": "/",
            "raw_path": b"/",
            "query_string": b"",
            "root_path": root_path,
            "headers": [],
            "client": client,
            "server": server,
            "extensions": None,
        }

    def client_of(self, headers: Headers) -> Address | None:
        """The client of a request, by what a trusted proxy says."""
        if self.proxy is None:
            return self.client
        return self.proxy.origin(headers, self.client)[0]


def decode_path(raw: bytes) -> str:
    """Percent-decode, then UTF-8-decode, undecodable bytes becoming U+FFFD; nothing normalised."""
    return unquote_to_bytes(raw).decode("utf-8", "replace")


def http_scope(
    event: RequestReceived, context: ScopeContext, can_push: bool = False
) -> dict[str, Any]:
    """The ``http`` scope of a request. Every container in it is new: an application may change
    its scope without any other request seeing it.
    """
    scope = context.template.copy()
    scope["method"] = event.method
    scope["scheme"] = event.scheme
    scope["extensions"] = (
        {}
        if event.http_version == "1.0"
        else {"http.response.early_hint": {}, "http.response.trailers": {}}
    )
    if can_push:
        scope["extensions"]["http.response.push"] = {}
    if context.tls is not None:
        scope["extensions"]["tls"] = context.tls()
    _fill(scope, event, context)
    return scope


def websocket_scope(
    event: RequestReceived, context: ScopeContext, subprotocols: list[str]
) -> dict[str, Any]:
    """The ``websocket`` scope of a handshake; as new as that of a request."""
    scope = context.template.copy()
    del scope["method"]
    scope["type"] = "websocket"
    scope["scheme"] = "wss" if event.scheme == "https" else "ws"
    scope["subprotocols"] = subprotocols.copy()
    scope["extensions"] = {"websocket.http.response": {}}
    if context.tls is not None:
        scope["extensions"]["tls"] = context.tls()
    _fill(scope, event, context)
    return scope


def _fill(scope: dict[str, Any], event: RequestReceived, context: ScopeContext) -> None:
    """What requests and handshakes have in common."""
    raw_path, _, query_string = event.target.partition(b"?")
    path = raw_path.decode()
    if "%" in path:
        path = decode_path(raw_path)
    root_path = context.root_path
    if root_path and path != root_path and not path.startswith(root_path + "/") and path != "*":
        path = root_path + path  # a proxy in front has stripped the prefix
    scope["asgi"] = _ASGI.copy()
    scope["http_version"] = event.http_version
    scope["path"] = path
    scope["raw_path"] = raw_path
    scope["query_string"] = query_string
    scope["headers"] = event.headers.copy()  # the server goes by its own, whatever becomes of it
    if context.proxy is not None:
        scope["client"], scheme = context.proxy.origin(event.headers, context.client)
        if scheme is not None:
            if scope["type"] == "websocket":
                scheme = "wss" if scheme == "https" else "ws"
            scope["scheme"] = scheme
    if context.state is not None:
        scope["state"] = context.state.copy()
