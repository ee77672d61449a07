"""What an engine reports: HTTP/2's vocabulary, into which HTTP/1 is translated up.

Requests on an HTTP/1 connection are streams 1, 3, 5…; a body ends with ``end_stream``; an
``Upgrade`` that the server understands becomes an extended CONNECT with ``protocol`` set
(RFC 8441). Events are mutable slotted classes: a frozen dataclass costs four times as much.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hyperserver.protocol.interface import ByteConnection

Headers = list[tuple[bytes, bytes]]


@dataclass(slots=True, init=False)
class RequestReceived:
    """A complete, validated request head.

    ``target`` is in origin-form (``/path?query``) or ``*``: an engine has already split an
    absolute-form target (RFC 9112 §3.2.2). ``headers`` have lower-case names, in the order
    received, with the authority in a ``host`` field; the list may be that of several requests, so
    nobody changes it. ``end_stream`` means there is no body.
    """

    stream_id: int
    method: str
    target: bytes
    headers: Headers
    http_version: str
    scheme: str
    authority: bytes
    protocol: str | None
    end_stream: bool

    # Not the dataclass's own, which is made at run time: that cannot be compiled.
    def __init__(  # noqa: PLR0913, PLR0917
        self,
        stream_id: int,
        method: str,
        target: bytes,
        headers: Headers,
        http_version: str,
        scheme: str,
        authority: bytes,
        protocol: str | None,
        end_stream: bool,
    ) -> None:
        self.stream_id = stream_id
        self.method = method
        self.target = target
        self.headers = headers
        self.http_version = http_version
        self.scheme = scheme
        self.authority = authority
        self.protocol = protocol
        self.end_stream = end_stream


@dataclass(slots=True, init=False)
class DataReceived:
    """Body bytes, de-chunked and unpadded. The server owes ``acknowledge(stream_id, len(data))``."""

    stream_id: int
    data: bytes
    end_stream: bool

    def __init__(self, stream_id: int, data: bytes, end_stream: bool) -> None:
        self.stream_id = stream_id
        self.data = data
        self.end_stream = end_stream


@dataclass(slots=True)
class TrailersReceived:
    """The request's trailer section (RFC 9110 §6.5); it ends the stream."""

    stream_id: int
    headers: Headers


@dataclass(slots=True)
class InputClosed:
    """The peer will send nothing more on this stream, yet may still read (RFC 9112 §9.6).

    Only byte-stream peers that half-close cause it. The application's ``receive()`` may say
    ``http.disconnect``; a response is still sent.
    """

    stream_id: int


@dataclass(slots=True)
class StreamClosed:
    """The stream ended before both sides had finished: a reset, a fault, a lost connection.

    ``status`` is that of the response the engine itself gave (400, 408, 413), 0 if none.
    """

    stream_id: int
    reason: str
    status: int = 0


@dataclass(slots=True)
class StreamWritable:
    """The stream's send buffer has fallen below its high-water mark."""

    stream_id: int


@dataclass(slots=True)
class RequestRefused:
    """The engine itself answered a request that the application will never see.

    For the access log: ``method`` and ``target`` are what could be read of them, else empty.
    """

    stream_id: int
    status: int
    reason: str
    method: str
    target: bytes
    http_version: str


class ProtocolSwitched:
    """Another engine speaks from here on: take events from it and give commands to it.

    With ``layered`` the reporting engine remains the one that bytes go through (TLS, once ALPN has
    chosen); without, it is finished with, save for output that it still has (the 101 of ``h2c``).
    """

    __slots__ = ("connection", "layered")

    def __init__(self, connection: ByteConnection, layered: bool = False) -> None:
        self.connection = connection
        self.layered = layered


Event = (
    RequestReceived
    | DataReceived
    | TrailersReceived
    | InputClosed
    | StreamClosed
    | StreamWritable
    | RequestRefused
    | ProtocolSwitched
)
