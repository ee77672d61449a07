"""A client, a driver and an application around one HTTP/2 engine, and what tests ask of them.

The client reads with ``h2_frames.Reader``, so a frame that a server must not send fails whichever
test it happens in. The clock is a number that only the test moves.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Mapping

from hyperserver.errors import ConfigError
from hyperserver.protocol import negotiate
from hyperserver.protocol.events import (
    DataReceived,
    Event,
    RequestReceived,
    RequestRefused,
    StreamClosed,
    TrailersReceived,
)
from hyperserver.protocol.fields import response_fields
from hyperserver.protocol.interface import (
    ByteConnection,
    HTTP2Options,
    Limits,
    ResponseDefaults,
)
from hyperserver.protocol.negotiate import choose_engines
from tests.engines import h2_frames as wire
from tests.engines.h2_frames import (
    DEFAULT_FRAME_SIZE,
    DEFAULT_WINDOW,
    INITIAL_WINDOW_SIZE,
    NO_ERROR,
    PROTOCOL_ERROR,
    Field,
    Frame,
    GoAway,
    Reader,
    Response,
    Window,
    Writer,
    head,
)
from tests.engines.playbook import Feed, engines_of, joined, whole


def is_built(engine: str) -> bool:
    """An engine that is optional may be missing, save in CI."""
    try:
        choose_engines("auto", engine)
    except ConfigError:
        assert not os.environ.get("CI"), f"the engine {engine} was not built"
        return False
    return True


#: What the suite runs against.
HTTP2_ENGINES = [engine for engine in negotiate.HTTP2_ENGINES if is_built(engine)]


class Peer:
    """One connection, greeted unless ``greet`` is False; ``settings`` are the client's first.

    The client's methods send and drain; the application's (``start``, ``write``, ``answer``)
    drain too, unless the transport is ``congested``. ``frames()`` is what the client has
    received since it last looked, ``news()`` what the application has been told.
    """

    def __init__(
        self,
        engine: str = HTTP2_ENGINES[0],
        *,
        feed: Feed = whole,
        limits: Limits | None = None,
        options: HTTP2Options | None = None,
        defaults: ResponseDefaults | None = None,
        scheme: str = "https",
        settings: Mapping[int, int] | None = None,
        greet: bool = True,
    ) -> None:
        self.now = 1000.0
        self.feed = feed
        self.limits = limits or Limits()
        self.options = options or HTTP2Options()
        self.connection: ByteConnection = engines_of("auto", engine).make_http2(
            self.limits, self.options, defaults or ResponseDefaults(None), scheme, self.now
        )
        self.writer = Writer()
        self.reader = Reader()
        #: The transport takes nothing: output stays in the engine.
        self.congested = False
        self.events: list[Event] = []
        self._told = 0
        self._frames: list[Frame] = []
        self._sent: defaultdict[int, int] = defaultdict(int)
        self._credit: defaultdict[int, int] = defaultdict(int)
        if greet:
            self.greet(settings or {})
            self.greeting = self.frames()

    # ---- the client ----------------------------------------------------------------------

    def greet(self, values: Mapping[int, int] | None = None) -> None:
        """Preface, SETTINGS, and the acknowledgement of the server's."""
        self.reader.sent_settings(values or {})
        self.send(wire.PREFACE + wire.settings(values or {}))
        self.send(wire.settings_ack())

    def send(self, octets: bytes) -> None:
        """Any bytes at all."""
        for piece in self.feed(octets):
            self.connection.receive_data(piece, self.now)
            self.drain()

    def open(self, fields: Iterable[Field], end: bool = True, stream_id: int = 0) -> int:
        """A request with exactly these fields; the id of its stream, the next one."""
        stream_id = stream_id or self.writer.next_id
        self.send(self.writer.headers(stream_id, fields, end))
        return stream_id

    def get(self, path: bytes = b"/", *fields: Field) -> int:
        return self.open(head(b"GET", path, *fields))

    def post(self, *fields: Field) -> int:
        """A request whose body is still to come."""
        return self.open(head(b"POST", b"/", *fields), end=False)

    def trailers(self, stream_id: int, *fields: Field) -> None:
        self.send(self.writer.headers(stream_id, fields, end=True))

    def data(
        self, stream_id: int, content: bytes = b"", end: bool = False, pad: int | None = None
    ) -> None:
        """One DATA frame."""
        payload = wire.padded(content, pad)
        for owner in (0, stream_id):
            self._sent[owner] += len(payload)
        flags = wire.END_STREAM * end | wire.PADDED * (pad is not None)
        self.send(wire.frame(wire.DATA, stream_id, payload, flags))

    def upload(self, stream_id: int, size: int) -> None:
        """``size`` bytes in frames as large as may be."""
        for start in range(0, size, DEFAULT_FRAME_SIZE):
            self.data(stream_id, bytes(min(DEFAULT_FRAME_SIZE, size - start)))

    def settings(self, values: Mapping[int, int]) -> None:
        self.reader.sent_settings(values)
        self.send(wire.settings(values))

    def grant(self, stream_id: int, increment: int) -> None:
        """WINDOW_UPDATE; 0 is the connection."""
        self.reader.granted(stream_id, increment)
        self.send(wire.window_update(stream_id, increment))

    def reset(self, stream_id: int, error: int = wire.CANCEL) -> None:
        self.drain()
        if not self.congested:  # else frames that were on their way may still come
            self.reader.sent_reset(stream_id)
        self.send(wire.reset(stream_id, error))

    def ping(self, payload: bytes = b"12345678") -> None:
        self.send(wire.ping(payload))

    def eof(self) -> None:
        self.connection.receive_eof(self.now)
        self.drain()

    def credit(self, stream_id: int) -> int:
        """Bytes that the server still lets the client send; 0 is the connection."""
        self.drain()
        assert self.reader.server_settings is not None
        initial = self.reader.server_settings.get(INITIAL_WINDOW_SIZE, DEFAULT_WINDOW)
        start = initial if stream_id else DEFAULT_WINDOW
        return start + self._credit[stream_id] - self._sent[stream_id]

    # ---- the driver ----------------------------------------------------------------------

    def wait(self, seconds: float) -> None:
        """Let time pass; only a deadline that is due is acted on."""
        self.drain()  # a clock that output has started begins now
        self.now += seconds
        self.drain()

    def drain(self) -> None:
        """What a driver does after every call: look at the clock, take events and output."""
        for turn in range(100):
            due = self.connection.next_timeout()
            if due is None or due > self.now:
                break
            assert turn < 99, "a deadline that has been acted on stays due"
            self.connection.handle_timeout(self.now)
        self.events += self.connection.events()
        while not self.congested and (octets := self.connection.data_to_send()):
            for parsed in self.reader.feed(octets):
                self._frames.append(parsed)
                if isinstance(parsed, Window):
                    self._credit[parsed.stream_id] += parsed.increment
        self.events += self.connection.events()
        if self.goaways:  # whatever reached the application must not be retried (§8.7)
            served = [r.stream_id for r in self.requests if r.stream_id & 1]
            assert self.goaways[-1].last >= max(served, default=0)

    # ---- the application -----------------------------------------------------------------

    def start(self, stream_id: int, status: int = 200, *fields: Field, end: bool = False) -> None:
        self.connection.send_headers(stream_id, status, [*fields], end)
        self.drain()

    def write(self, stream_id: int, content: bytes = b"", end: bool = False) -> None:
        self.connection.send_data(stream_id, content, end)
        self.drain()

    def answer(self, stream_id: int, content: bytes = b"", status: int = 200) -> None:
        """A whole response, upon which the application returns."""
        fields = response_fields([(b"content-length", b"%d" % len(content))])
        self.connection.send_response(stream_id, status, fields, content)
        self.drain()
        self.release(stream_id)

    def take(self, stream_id: int, size: int) -> None:
        """The application reads ``size`` bytes of a body."""
        self.connection.acknowledge(stream_id, size)
        self.drain()

    def release(self, stream_id: int) -> None:
        self.connection.release(stream_id)
        self.drain()

    # ---- what the tests look at ----------------------------------------------------------

    def frames(self) -> list[Frame]:
        """All frames since last looked."""
        self.drain()
        frames, self._frames = self._frames, []
        return frames

    def news(self) -> list[Event]:
        """All events since last looked, adjacent body pieces joined."""
        self.drain()
        told, self._told = self._told, len(self.events)
        return joined(self.events[told:])

    @property
    def responses(self) -> defaultdict[int, Response]:
        self.drain()
        return self.reader.responses

    @property
    def goaways(self) -> list[GoAway]:
        return self.reader.goaways

    @property
    def requests(self) -> list[RequestReceived]:
        return [e for e in self.events if isinstance(e, RequestReceived)]

    @property
    def refusals(self) -> list[RequestRefused]:
        return [e for e in self.events if isinstance(e, RequestRefused)]

    @property
    def closed(self) -> dict[int, StreamClosed]:
        return {e.stream_id: e for e in self.events if isinstance(e, StreamClosed)}

    @property
    def over(self) -> bool:
        """The server says nothing more: it closes at once, or lingers and then closes."""
        return self.connection.is_closed or self.connection.output_finished

    def body(self, stream_id: int) -> bytes:
        """What the application has been given of a request's body."""
        pieces = [e for e in self.events if isinstance(e, DataReceived)]
        return b"".join(e.data for e in pieces if e.stream_id == stream_id)

    def ended(self, stream_id: int) -> bool:
        """Whether the application has been told that a request is whole."""
        ends = [e for e in self.events if isinstance(e, TrailersReceived)] + [
            e for e in self.events if isinstance(e, RequestReceived | DataReceived) and e.end_stream
        ]
        return any(e.stream_id == stream_id for e in ends)


# ---- what many tests assert ---------------------------------------------------------------


def assert_alive(peer: Peer) -> None:
    """The connection serves: HPACK's state has survived whatever came before, too."""
    assert not peer.goaways
    stream_id = peer.get(b"/alive", (b"x-alive", b"yes"))
    last = peer.requests[-1]
    assert (last.stream_id, last.target) == (stream_id, b"/alive"), peer.news()
    assert (b"x-alive", b"yes") in last.headers
    peer.answer(stream_id, b"alive")
    response = peer.responses[stream_id]
    assert (response.status, response.body, response.complete) == (200, b"alive", True)
    assert not peer.over


def assert_stream_error(peer: Peer, stream_id: int, *errors: int) -> None:
    """RST_STREAM with one of these codes, and no harm to anything else."""
    assert peer.responses[stream_id].reset in errors, (peer.responses[stream_id], peer.goaways)
    assert peer.connection.buffered(stream_id) == 0
    if any(r.stream_id == stream_id for r in peer.requests):
        assert stream_id in peer.closed
        peer.release(stream_id)
    assert_alive(peer)


def assert_malformed(peer: Peer, stream_id: int) -> None:
    """A malformed request is a stream error that no application sees (§8.1.1)."""
    assert stream_id not in {r.stream_id for r in peer.requests}
    assert_stream_error(peer, stream_id, PROTOCOL_ERROR)


def assert_refused(peer: Peer, stream_id: int, status: int) -> None:
    """The engine answered in the application's place, and the connection goes on."""
    assert stream_id not in {r.stream_id for r in peer.requests}
    assert [r.status for r in peer.refusals if r.stream_id == stream_id] == [status]
    response = peer.responses[stream_id]
    assert (response.status, response.complete) == (status, True)
    assert response.reset in {None, NO_ERROR}
    assert_alive(peer)


def assert_connection_error(peer: Peer, *errors: int) -> None:
    """One GOAWAY with one of these codes is the last word; every stream has been told."""
    peer.drain()
    assert [g.error for g in peer.goaways[-1:] if g.error in errors], peer.goaways
    assert_over(peer)


def assert_over(peer: Peer) -> None:
    """Nothing more comes and nothing more is understood."""
    assert peer.over
    responses = peer.responses
    unfinished = {
        r.stream_id
        for r in peer.requests
        if not responses[r.stream_id].complete and responses[r.stream_id].reset is None
    } - set(peer.closed)
    assert not unfinished, f"not told of its end: {unfinished}"
    peer.frames()
    events = len(peer.events)
    peer.send(wire.ping() + peer.writer.headers(wire.MAX_ID, head(), end=True))
    assert (peer.frames(), len(peer.events)) == ([], events)
    peer.wait(peer.limits.linger_timeout)
    assert peer.connection.is_closed
    assert peer.connection.next_timeout() is None
