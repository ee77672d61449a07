"""What an engine is.

The contract, for every engine and every caller:

* **Mutate, then drain.** After any call that changes an engine, take ``events()`` and
  ``data_to_send()`` before the next ``await``.
* **A peer's fault never raises.** The engine turns it into bytes (a 400, a GOAWAY) and events.
* **Misuse raises** ``LocalProtocolError`` into the application's own ``send()``.
* **Time is an input.** ``now`` is seconds on any monotonic clock. A deadline that a *command*
  starts (a command carries no time) begins when the engine is next told the time, so
  ``next_timeout()`` may answer 0.0: "call ``handle_timeout`` as soon as you look".
* **Credit is explicit.** Body bytes are the server's until ``acknowledge`` says that the
  application took them; ``wants_data`` goes false where unacknowledged bytes would pile up.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

from hyperserver.protocol.events import Event, Headers, RequestReceived
from hyperserver.protocol.fields import look_out_for

if TYPE_CHECKING:
    from hyperserver.protocol.h1.connection import HTTP1Connection
    from hyperserver.protocol.tls import TLSConnection

#: Bytes of received body a stream may hold unacknowledged, and bytes of response that may wait
#: unsent before ``send()`` waits. 64 KiB is what one read can bring.
HIGH_WATER: Final = 65_536


#: Takes received bytes of a tunnel; whether it has, so that no ``acknowledge`` is owed for them.
TunnelSink = Callable[[bytes], bool]


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds that engines enforce. Sizes in bytes, times in seconds; ``None`` is unlimited."""

    max_head_size: int = 65_536
    max_target_size: int = 16_384
    max_fields: int = 128
    max_body_size: int | None = None
    request_head_timeout: float = 15.0
    keep_alive_timeout: float = 75.0
    request_body_timeout: float = 30.0
    min_body_rate: int = 240
    linger_timeout: float = 5.0


@dataclass(frozen=True, slots=True)
class HTTP2Options:
    """What is particular to HTTP/2. Sizes in bytes, times in seconds.

    An upload can move one window per round trip: 64 KiB, HTTP/2's default, would hold a path of
    100 ms to 5 Mbit/s. A stream begins with ``initial_window`` and, while the application keeps
    up, grows to ``stream_window`` (80 Mbit/s on that path). ``connection_window`` has room for
    the initial windows of all streams and for some to grow, so applications that do not read
    their bodies stall no other stream; it bounds what one connection can make us hold.
    """

    max_concurrent_streams: int = 128
    initial_window: int = 131_072
    stream_window: int = 1_048_576
    connection_window: int = 25_165_824
    max_frame_size: int = 16_384
    priorities: str = "rfc9218"
    stall_timeout: float = 60.0
    settings_timeout: float = 10.0


class ResponseDefaults:
    """Fields the server adds to responses, shared by all engines of a listener.

    ``date`` is refreshed by the runtime, which owns the clock; an engine only reads it. Both
    forms are kept ready: ``fields`` for HTTP/2 and ``lines`` for HTTP/1. A field that the
    application sets itself is left out of neither here: engines compare names. ``more`` are
    those that are configured (``response.headers``, hsts, alt-svc), with names in lower case, on
    which engines look out from now on.
    """

    __slots__ = (
        "date",
        "date_line",
        "head_end",
        "last_head_end",
        "more",
        "more_lines",
        "server",
        "server_line",
    )

    def __init__(
        self,
        server: bytes | None = b"hyperserver",
        date: bytes | None = None,
        more: Headers | None = None,
    ) -> None:
        self.server = server
        self.server_line = b"server: " + server + b"\r\n" if server else b""
        self.more = more or []
        look_out_for(name for name, _ in self.more)
        self.more_lines = b"".join([b"%b: %b\r\n" % field for field in self.more])
        self.date: bytes | None = None
        self.date_line = b""
        self._end_heads()
        if date is not None:
            self.set_date(date)

    def set_date(self, date: bytes) -> None:
        """Take an IMF-fixdate (RFC 9110 §5.6.7)."""
        self.date = date
        self.date_line = b"date: " + date + b"\r\n"
        self._end_heads()

    def _end_heads(self) -> None:
        lines = self.date_line + self.server_line + self.more_lines
        #: All of them, and the end of a head; of the last on a connection.
        self.head_end = lines + b"\r\n"
        self.last_head_end = lines + b"connection: close\r\n\r\n"


class HTTPConnection(Protocol):
    """All that the ASGI ring ever sees of a connection, whatever the version or engine."""

    @property
    def http_version(self) -> str: ...
    @property
    def can_push(self) -> bool:
        """The peer takes pushes (RFC 9113 §8.4)."""

    @property
    def is_closed(self) -> bool:
        """The connection is finished: close the transport once the output is written."""

    def buffered(self, stream_id: int) -> int:
        """Bytes of the stream's response that the peer has not been sent yet."""

    def send_informational(self, stream_id: int, status: int, headers: Headers) -> None:
        """Send a 1xx response (RFC 9110 §15.2); 101 is ``accept_tunnel``'s."""

    def send_headers(
        self, stream_id: int, status: int, headers: Headers, end_stream: bool = False
    ) -> None:
        """Send the response head. ``headers`` passed ``fields.response_fields`` already."""

    def send_response(self, stream_id: int, status: int, headers: Headers, body: bytes) -> None:
        """A whole response: ``send_headers``, then ``send_data`` with ``end_stream``."""

    def send_data(self, stream_id: int, data: bytes, end_stream: bool = False) -> None:
        """Queue body bytes; framing is the engine's."""

    def send_trailers(self, stream_id: int, headers: Headers) -> None:
        """End the response with a trailer section; dropped where the framing has none."""

    def accept_tunnel(
        self, stream_id: int, headers: Headers, sink: TunnelSink | None = None
    ) -> None:
        """Accept an extended CONNECT: 101 on HTTP/1, 200 on HTTP/2. Data then flows raw.

        An engine whose tunnel is all that it has may hand what it receives to ``sink`` at once
        instead of reporting it: there is no shorter way. The end is reported in any case.
        """

    def push_stream(self, stream_id: int, target: bytes, headers: Headers) -> int | None:
        """Promise a request; the new stream's id, or None where the peer takes no pushes."""

    def acknowledge(self, stream_id: int, n: int) -> None:
        """The application has taken ``n`` received body bytes."""

    def reset_stream(self, stream_id: int, reason: str) -> None:
        """Cut a response short so that the client can tell."""

    def release(self, stream_id: int) -> None:
        """The application's call for this stream has returned: only now is its place free.

        Otherwise a peer that resets its streams could keep any number of calls running.
        """

    def shutdown(self, grace: float = 0.0) -> None:
        """Drain: finish what is in flight and tell the peer to send nothing new here.

        A request may be on its way on a connection that looks idle: for ``grace`` seconds one
        that comes is still served, as the last.
        """

    @property
    def event_queue(self) -> list[Event]:
        """What ``events`` would return: to look, not to touch."""

    def events(self) -> list[Event]:
        """Take the events since the last call."""

    def next_timeout(self) -> float | None:
        """When to call ``handle_timeout``; None for never."""

    def handle_timeout(self, now: float) -> None:
        """Act on deadlines that have passed."""


class ByteConnection(HTTPConnection, Protocol):
    """An engine over a byte stream: TCP, Unix sockets, TLS."""

    @property
    def wants_data(self) -> bool:
        """False: stop reading the transport until this turns true again."""

    @property
    def holds_output(self) -> bool:
        """Some stream has bytes that wait for more than the transport: see ``buffered``."""

    @property
    def output_finished(self) -> bool:
        """Nothing more will be sent: half-close the transport after the output is written."""

    @property
    def aborted(self) -> bool:
        """Close with a TCP reset: an ordinary close would look like a complete message."""

    @property
    def output(self) -> object:
        """True in a boolean context while ``data_to_send`` has something."""

    @property
    def stands_aside(self) -> bool:
        """Of a layer around an engine: what it would say here, its engine says as well, but for what
        follows once that has ``output_finished``.
        """

    def receive_data(self, data: bytes, now: float) -> None:
        """Feed bytes, in any split. Never raises for the peer's fault."""

    def receive_eof(self, now: float) -> None:
        """The peer has closed its sending side."""

    def lost(self) -> None:
        """The transport is gone, and what the engine holds with it. Applications that still run
        may give their commands, to no effect.
        """

    def data_to_send(self) -> bytes:
        """Take bytes to write; call until it returns b"" (a large body is handed out alone)."""


class DirectConnection(ByteConnection, Protocol):
    """An engine whose body bytes need not pass through it."""

    def send_around(self, stream_id: int, n: int) -> None:
        """The caller writes the next ``n`` bytes of the body to the transport by itself, once the
        output so far has been written; with 0, it has done so. Nothing else may be sent in between.
        """


class Successor(Protocol):
    """To whom an engine can give its connection over: it reports ``ProtocolSwitched`` then.

    ``data`` is what was received of the new protocol so far.
    """

    @property
    def upgrades(self) -> bool:
        """``Upgrade: h2c`` is taken."""

    def after_preface(self, data: bytes, now: float) -> ByteConnection:
        """The client has HTTP/2 by prior knowledge."""

    def after_upgrade(
        self, settings: bytes, request: RequestReceived, data: bytes, now: float
    ) -> ByteConnection | None:
        """The client asks for ``h2c``; None if its HTTP2-Settings are invalid."""


if TYPE_CHECKING:
    # The same contracts, with the classes that most often fulfil them: what is compiled calls those
    # directly, as it knows their shape, and looks up the names of all others.
    AnyEngine: TypeAlias = "HTTP1Connection | ByteConnection"
    AnyWire: TypeAlias = "HTTP1Connection | TLSConnection | ByteConnection"
    AnyConnection: TypeAlias = "HTTP1Connection | HTTPConnection"
