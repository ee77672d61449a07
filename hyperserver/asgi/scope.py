"""Building connection scopes (ASGI HTTP & WebSocket 2.5, "HTTP Connection Scope")."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote_to_bytes

from hyperserver.asgi.http import may_push
from hyperserver.asgi.types import ASGI_VERSION, HTTP_SPEC_VERSION
from hyperserver.protocol.events import Headers, RequestReceived

if TYPE_CHECKING:
    from hyperserver.asgi.proxy import ProxyTrust

Address = tuple[str, int | None]

#: Of each type of scope, without TLS and with it.
_ASGI: Final = {"version": ASGI_VERSION, "spec_version": HTTP_SPEC_VERSION}


class ScopeContext:
    """What all requests of one connection have in common.

    ``client`` is ``(host, port)``, None on a Unix socket; ``server`` is ``(host, port)`` or
    ``(socket path, None)``. ``state`` is the lifespan's namespace, None where there is none.
    ``tls`` gives the value of the extension of that name, None on a connection without TLS.
    ``proxy`` is asked for the client of each request, None where the peer is not trusted.
    ``zero_copy`` says that the socket takes files past an HTTP/1 engine, ``offered_push`` that some
    request has been offered to push.
    """

    __slots__ = (
        "client",
        "offered_push",
        "proxy",
        "root_path",
        "server",
        "state",
        "template",
        "tls",
        "tls_extension",
        "zero_copy",
    )

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
        self.zero_copy = False
        self.offered_push = False
        self.template: dict[str, Any] | None = None
        self.tls_extension: dict[str, Any] | None = None  # once ``tls`` has been asked

    def make_template(self) -> dict[str, Any]:
        """The ``http`` scope of no request: copying a dict and setting half of its keys is quicker
        than building it.
        """
        self.template = {
            "type": "http",
            "asgi": None,
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "path": "/",
            "raw_path": b"/",
            "query_string": b"",
            "root_path": self.root_path,
            "headers": [],
            "client": self.client,
            "server": self.server,
            "extensions": None,
        }
        return self.template

    def rest(self) -> None:
        """No request may come for long: keep nothing for it."""
        self.template = None

    def client_of(self, headers: Headers) -> Address | None:
        """The client of a request, by what a trusted proxy says."""
        if self.proxy is None:
            return self.client
        return self.proxy.origin(headers, self.client).client


def decode_path(raw: bytes) -> str:
    """Percent-decode, then UTF-8-decode, undecodable bytes becoming U+FFFD; nothing normalised."""
    return unquote_to_bytes(raw).decode("utf-8", "replace")


def http_scope(
    event: RequestReceived, context: ScopeContext, can_push: bool = False
) -> dict[str, Any]:
    """The ``http`` scope of a request. Every container in it is new: an application may change
    its scope without any other request seeing it.
    """
    scope = (context.template or context.make_template()).copy()
    scope["method"] = event.method
    scope["scheme"] = event.scheme
    version = event.http_version
    offer: dict[str, Any] = {}  # one for all, but this request's alone
    scope["extensions"] = extensions = (
        {"http.response.pathsend": offer}
        if version == "1.0"
        else {
            "http.response.early_hint": offer,
            "http.response.pathsend": offer,
            "http.response.trailers": offer,
        }
    )
    if context.zero_copy and version != "2":
        extensions["http.response.zerocopysend"] = offer
    if can_push and may_push(event):
        extensions["http.response.push"] = offer
        context.offered_push = True
    if context.tls is not None:
        known = context.tls_extension
        if known is None:
            known = context.tls_extension = context.tls()
        extensions["tls"] = extension = known.copy()
        extension["client_cert_chain"] = list(known["client_cert_chain"])
    raw_path, _, query_string = event.target.partition(b"?")
    path = raw_path.decode()
    if "%" in path:
        path = decode_path(raw_path)
    scope["headers"] = event.headers.copy()  # the server goes by its own, whatever becomes of it
    root_path = context.root_path
    if context.proxy is not None:
        origin = context.proxy.origin(event.headers, context.client)
        scope["client"] = origin.client
        if origin.scheme is not None:
            scope["scheme"] = origin.scheme
        if origin.prefix is not None:
            root_path = scope["root_path"] = origin.prefix
        if origin.host is not None:
            others = [field for field in event.headers if field[0] != b"host"]
            scope["headers"] = [(b"host", origin.host), *others]
    if root_path and path != root_path and not path.startswith(root_path + "/") and path != "*":
        path = root_path + path  # a proxy in front has stripped the prefix
    scope["asgi"] = _ASGI.copy()
    scope["http_version"] = event.http_version
    scope["path"] = path
    scope["raw_path"] = raw_path
    scope["query_string"] = query_string
    if context.state is not None:
        scope["state"] = context.state.copy()
    return scope


def websocket_scope(
    event: RequestReceived, context: ScopeContext, subprotocols: list[str]
) -> dict[str, Any]:
    """The ``websocket`` scope of a handshake: that of its request, but for the differences."""
    scope = http_scope(event, context)
    del scope["method"]
    scope["type"] = "websocket"
    scope["scheme"] = "wss" if scope["scheme"] == "https" else "ws"
    scope["subprotocols"] = subprotocols.copy()
    offered: dict[str, Any] = {"websocket.http.response": {}}
    if context.tls is not None:
        offered["tls"] = scope["extensions"]["tls"]
    scope["extensions"] = offered
    return scope
