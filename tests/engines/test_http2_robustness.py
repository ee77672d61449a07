"""Any bytes, in any pieces: never an exception, never a frame that must not be sent, always an end.

And the other way round: sessions of a client and an application that both keep to the rules, in
any order, end with every byte where it belongs.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hyperserver.protocol.events import (
    DataReceived,
    Event,
    RequestReceived,
    RequestRefused,
    StreamClosed,
    TrailersReceived,
)
from hyperserver.protocol.interface import HTTP2Options, Limits
from tests.engines import h2_frames as wire
from tests.engines.h2_frames import PREFACE, Fields, Frame, Window, Writer, frame, head
from tests.engines.h2_peer import HTTP2_ENGINES, Peer
from tests.engines.playbook import byte_by_byte, joined, whole

QUICK = settings(
    max_examples=200,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
LIMITS = Limits(
    max_head_size=2_000,
    max_target_size=60,
    max_fields=12,
    max_body_size=8_000,
    keep_alive_timeout=60,
)
OPTIONS = HTTP2Options(
    max_concurrent_streams=4,
    initial_window=65_535,
    stream_window=65_535,
    connection_window=100_000,
)

# ---- a grammar of sessions, good and nearly good ------------------------------------------

any_ids = st.sampled_from([0, 1, 2, 3, 4, 5, 7, 99, 2**31 - 1])
numbers = st.sampled_from([0, 1, 5, 100, 16_384, 65_535, 2**31 - 1, 2**31, 2**32 - 1])
contents = st.sampled_from([b"", b"x", b"hello", bytes(100), bytes(3_000)])
pads = st.sampled_from([None, None, None, 0, 1, 255])
choices = st.integers(0, 5)

T = TypeVar("T")
Step = Callable[[Writer], bytes]


def weighted(*strategies: st.SearchStrategy[T]) -> st.SearchStrategy[T]:
    """Each as likely as the others; ``one_of`` would count the branches within branches."""
    return st.integers(0, len(strategies) - 1).flatmap(lambda n: strategies[n])


def on(build: Callable[..., bytes], choice: int, *arguments: object) -> Step:
    """A frame on one of the streams that the client has opened, if there is one."""

    def step(writer: Writer) -> bytes:
        count = min(writer.next_id, 99) // 2
        return build(1 + 2 * (choice % count), *arguments) if count else b""

    return step


def requests() -> st.SearchStrategy[Fields]:
    extra = st.sampled_from(
        [
            (b"content-length", b"5"),
            (b"content-length", b"0"),
            (b"cookie", b"a=b"),
            (b"cookie", b"c=d"),
            (b"priority", b"u=1, i"),
            (b"te", b"trailers"),
            (b"expect", b"100-continue"),
            (b"host", wire.AUTHORITY),
            (b"x", b"y" * 200),
        ]
    )
    odd = st.sampled_from(
        [
            (b"Upper", b"x"),
            (b"connection", b"close"),
            (b":path", b"/late"),
            (b"x", b" space"),
            (b"x", b"a\nb"),
            (b"content-length", b"none"),
            (b"content-length", b"99999"),
            (b"x-large", b"~" * 3_000),
        ]
    )
    good = st.builds(
        lambda method, path, fields: head(method, path, *fields),
        st.sampled_from([b"GET", b"POST", b"HEAD", b"BREW"]),
        st.sampled_from([b"/", b"/a?b=c"]),
        st.lists(extra, max_size=3),
    )
    bad = st.builds(
        lambda fields, field: [*fields, field],
        good,
        odd,
    )
    refused = st.sampled_from(
        [
            head(b"CONNECT", None, scheme=None),
            head(authority=None),
            head(b"GET", None),
            head(b"GET", b"/" + b"x" * 80),
        ]
    )
    return weighted(good, good, good, good, good, bad, refused, st.just(wire.websocket()))


def heads(stream_ids: st.SearchStrategy[int]) -> st.SearchStrategy[Step]:
    """Requests on streams of these ids; 0 is the next one."""

    def step(stream_id: int, fields: Fields, end: bool, pad: int | None, split: int) -> Step:
        return lambda writer: writer.headers(
            stream_id or writer.next_id, fields, end, pad=pad, split=split
        )

    splits = st.sampled_from([16_000, 16_000, 16_000, 20, 100])
    return st.builds(step, stream_ids, requests(), st.booleans(), pads, splits)


def on_opened(
    build: Callable[..., bytes], *arguments: st.SearchStrategy[object]
) -> st.SearchStrategy[Step]:
    return st.builds(lambda *drawn: on(build, *drawn), choices, *arguments)


def trailers(choice: int, fields: Fields) -> Step:
    return lambda writer: on(writer.headers, choice, fields, True)(writer)


def constant(octets: bytes) -> Step:
    return lambda writer: octets


good_frames: st.SearchStrategy[Step] = st.one_of(
    on_opened(wire.data, contents, st.booleans(), pads),
    on_opened(wire.data, contents, st.booleans(), pads),
    st.builds(trailers, choices, st.sampled_from([[], [(b"x", b"y")], [(b":path", b"/")]])),
    on_opened(wire.reset, st.sampled_from([0, 8, 99])),
    on_opened(wire.window_update, st.sampled_from([1, 100, 70_000])),
    on_opened(wire.priority_update, st.sampled_from([b"u=1", b"i", b"u=9", b"\xff", b""])),
    on_opened(wire.priority, any_ids),
    st.just(constant(wire.window_update(0, 50_000))),
    st.just(constant(wire.ping())),
    st.sampled_from([{1: 0}, {1: 100}, {2: 0}, {3: 1}, {4: 0}, {4: 100_000}, {5: 20_000}, {}]).map(
        lambda values: constant(wire.settings(values))
    ),
)
odd_frames = st.one_of(
    st.builds(wire.data, any_ids, contents, st.booleans(), pads),
    st.builds(wire.reset, any_ids),
    st.builds(wire.window_update, any_ids, numbers),
    st.builds(wire.priority, any_ids, any_ids),
    st.builds(wire.priority_update, any_ids, st.just(b"u=1")),
    st.builds(wire.settings, st.dictionaries(st.integers(0, 10), numbers, max_size=2)),
    st.builds(wire.ping, st.sampled_from([b"12345678", b"1234567"]), st.booleans()),
    st.builds(wire.goaway, any_ids, st.sampled_from([0, 2, 99])),
    st.just(wire.settings_ack()),
    st.builds(frame, st.integers(0, 20), any_ids, st.binary(max_size=12), st.integers(0, 255)),
    st.builds(
        lambda kind, length: frame(kind, 1, b"", length=length),
        st.integers(0, 20),
        st.sampled_from([1, 4, 5, 16_385, 2**24 - 1]),
    ),
).map(constant)


good_steps = weighted(heads(st.just(0)), heads(st.just(0)), good_frames, good_frames, good_frames)
steps = weighted(good_steps, good_steps, good_steps, good_steps, odd_frames, heads(any_ids))


def written(session: Sequence[Step]) -> bytes:
    writer = Writer()
    opening = PREFACE + wire.settings({wire.INITIAL_WINDOW_SIZE: 70_000}) + wire.settings_ack()
    return opening + b"".join(step(writer) for step in session)


sessions = st.one_of(
    st.lists(good_steps, min_size=5, max_size=40).map(written),
    st.lists(steps, min_size=1, max_size=20).map(written),
)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A session with a few bytes inserted, deleted or replaced."""
    octets = draw(sessions)
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(octets)))
        removed = draw(st.integers(0, 3))
        octets = octets[:at] + draw(st.binary(max_size=3)) + octets[at + removed :]
    return octets


anything = st.one_of(
    sessions,
    sessions,
    mutated(),
    st.binary(max_size=60),
    st.binary(max_size=60).map(lambda octets: PREFACE + wire.settings() + octets),
)
places = st.lists(st.integers(0, 3_000), max_size=12)


def cut(octets: bytes, places: Sequence[int]) -> list[bytes]:
    """``octets`` in pieces, cut at ``places`` (taken modulo its length)."""
    edges = sorted({0, len(octets), *(p % (len(octets) + 1) for p in places)})
    return [octets[a:b] for a, b in pairwise(edges)]


# ---- a conversation -----------------------------------------------------------------------


def converse(
    engine: str,
    pieces: Iterable[bytes],
    react: Callable[[Peer], None],
    eof: bool,
    congested: bool,
) -> Peer:
    """Feed ``pieces``; after each the application reacts to what it has been told.

    With ``congested`` nothing is written before all has been read.
    """
    peer = Peer(engine, limits=LIMITS, options=OPTIONS, greet=False)
    peer.reader.trusting = True  # what these clients have allowed is anybody's guess
    peer.congested = congested
    for piece in pieces:
        peer.connection.receive_data(piece, peer.now)
        peer.drain()
        react(peer)
    peer.congested = False
    peer.drain()
    react(peer)
    if eof:
        peer.eof()
        react(peer)
    return peer


def silently(peer: Peer) -> None:
    """An application that never says anything."""


def busily(peer: Peer) -> None:
    """An application that reads all it is given and answers as soon as there is a request."""
    for event in peer.news():
        react_to(peer, event)


def react_to(peer: Peer, event: Event) -> None:
    connection = peer.connection
    if isinstance(event, RequestReceived):
        stream_id = event.stream_id
        if event.protocol:
            connection.accept_tunnel(stream_id, [])
            connection.send_data(stream_id, b"hello")
        elif stream_id % 4 == 1:
            connection.push_stream(stream_id, b"/pushed", [])
            connection.send_response(stream_id, 200, [(b"priority", b"u=1")], bytes(30_000))
        else:
            connection.send_informational(stream_id, 103, [(b"link", b"<x>")])
            connection.send_headers(stream_id, 200, [])
            connection.send_data(stream_id, bytes(30_000))
            connection.send_trailers(stream_id, [(b"x", b"y")])
        if stream_id % 3:
            connection.release(stream_id)
    elif isinstance(event, DataReceived):
        connection.acknowledge(event.stream_id, len(event.data))
    elif isinstance(event, StreamClosed):
        connection.release(event.stream_id)
    peer.drain()


def gist(peer: Peer) -> object:
    """What may not depend on how the bytes were cut.

    How much of a body came before its fault may, when credit was given back, and whether a last
    PING or SETTINGS was still acknowledged before a fault that ends the connection.
    """
    gone = {e.stream_id for e in peer.events if isinstance(e, StreamClosed)}
    events: list[object] = []
    for event in joined(peer.events):
        if isinstance(event, StreamClosed):
            events.append((event.stream_id, event.status))
        elif isinstance(event, RequestRefused):
            events.append((event.stream_id, event.status, event.method, event.target))
        elif not (isinstance(event, DataReceived) and event.stream_id in gone):
            events.append(event)
    frames: list[Frame] = [f for f in peer.frames() if not isinstance(f, Window)]
    if any(goaway.error for goaway in peer.goaways):
        frames = [f for f in frames if not getattr(f, "ack", False)]
    connection = peer.connection
    state = (connection.is_closed, connection.output_finished, connection.wants_data)
    return events, frames, state


# ---- the demands --------------------------------------------------------------------------


@pytest.mark.parametrize("engine", HTTP2_ENGINES)
@QUICK
@given(octets=anything, places=places, eof=st.booleans())
def test_cuts_change_nothing(engine: str, octets: bytes, places: list[int], eof: bool) -> None:
    """Nothing is written meanwhile: what a fault is may depend on what has been answered."""
    at_whole, at_bytes, at_places = (
        gist(converse(engine, pieces, silently, eof, congested=True))
        for pieces in (whole(octets), byte_by_byte(octets), cut(octets, places))
    )
    assert at_whole == at_bytes
    assert at_whole == at_places


@pytest.mark.parametrize("engine", HTTP2_ENGINES)
@QUICK
@given(octets=anything, places=places, eof=st.booleans(), congested=st.booleans())
def test_no_fault_escapes_and_a_clock_always_ends_it(
    engine: str, octets: bytes, places: list[int], eof: bool, congested: bool
) -> None:
    peer = converse(engine, cut(octets, places), busily, eof, congested)
    told = {r.stream_id for r in peer.requests}
    assert {s for s in peer.closed if s & 1} <= told  # only of streams that were begun
    tunnels = {r.stream_id for r in peer.requests if r.protocol} - set(peer.closed)
    for _ in range(5):  # a body's deadline, then a stall, then idle, then the last goodbye
        peer.wait(1_000)
        busily(peer)
    if tunnels and not peer.over:
        for stream_id in tunnels:
            peer.connection.reset_stream(stream_id, "the application has left")
            peer.release(stream_id)
        peer.wait(1_000)
        peer.wait(1_000)
    for request in peer.requests:
        assert peer.connection.buffered(request.stream_id) == 0
    assert peer.connection.is_closed
    assert peer.connection.next_timeout() is None


@pytest.mark.parametrize("engine", HTTP2_ENGINES)
@QUICK
@given(octets=sessions)
def test_a_silent_application_is_never_overrun(engine: str, octets: bytes) -> None:
    peer = converse(engine, [octets], silently, eof=False, congested=False)
    assert len(peer.requests) <= OPTIONS.max_concurrent_streams
    received = sum(len(e.data) for e in peer.events if isinstance(e, DataReceived))
    assert received <= OPTIONS.connection_window
    for event in peer.events:
        if isinstance(event, RequestReceived | DataReceived | TrailersReceived):
            assert event.stream_id not in told_before(peer.events, event)


def told_before(events: Sequence[Event], event: Event) -> set[int]:
    """Streams that had ended before ``event``: nothing more may be said of them."""
    position = next(i for i, e in enumerate(events) if e is event)
    return {e.stream_id for e in events[:position] if isinstance(e, StreamClosed)}


# ---- sessions that keep to the rules ------------------------------------------------------

OPERATIONS = [
    "get",
    "post",
    "upload",
    "finish",
    "cancel",
    "grant",
    "grant-all",
    "initial-window",
    "frame-size",
    "table-size",
    "start",
    "write",
    "end",
    "trailers",
    "respond",
    "take",
    "push",
    "ping",
    "reprioritise",
    "congest",
]
operations = st.lists(
    st.tuples(st.sampled_from(OPERATIONS), st.integers(0, 7), st.integers(0, 90_000)),
    min_size=5,
    max_size=80,
)


class Session:
    """A client and an application that do nothing wrong, and remember what they did."""

    def __init__(self, engine: str) -> None:
        options = HTTP2Options(initial_window=65_535, stream_window=200_000)
        self.peer = Peer(engine, options=options)
        self.open: list[int] = []
        self.uploading: dict[int, int] = {}
        self.taken: dict[int, int] = {}
        self.writing: dict[int, int] = {}  # bytes written, of responses that have begun
        self.finished: dict[int, int] = {}
        self.initial = wire.DEFAULT_WINDOW

    def do(self, name: str, choice: int, amount: int) -> None:
        peer = self.peer
        if name in {"get", "post"}:
            fields = head(b"GET", b"/", (b"priority", b"u=%d, i=?%d" % (choice, amount & 1)))
            stream_id = peer.open(fields, end=name == "get")
            self.open.append(stream_id)
            if name == "post":
                self.uploading[stream_id] = 0
        elif name == "initial-window":
            self.initial = amount
            peer.settings({wire.INITIAL_WINDOW_SIZE: amount})
        elif name == "frame-size":
            peer.settings({wire.MAX_FRAME_SIZE: 16_384 + amount})
        elif name == "table-size":
            peer.settings({wire.HEADER_TABLE_SIZE: amount % 5_000})
        elif name == "ping":
            peer.ping(struct.pack("!Q", amount))
        elif name == "congest":
            peer.congested = not peer.congested
            peer.drain()
        elif name == "grant-all":
            peer.grant(0, amount + 1)
        elif self.open:
            self.on(self.open[choice % len(self.open)], name, amount)

    def on(self, stream_id: int, name: str, amount: int) -> None:
        peer, connection = self.peer, self.peer.connection
        if name == "upload" and stream_id in self.uploading:
            size = max(0, min(amount, peer.credit(0), peer.credit(stream_id)))
            peer.upload(stream_id, size)
            self.uploading[stream_id] += size
        elif name == "finish" and stream_id in self.uploading:
            del self.uploading[stream_id]
            peer.data(stream_id, end=True)
        elif name == "cancel":
            peer.reset(stream_id)
            peer.release(stream_id)
            self.open.remove(stream_id)
            self.uploading.pop(stream_id, None)
            self.writing.pop(stream_id, None)
        elif name == "grant":
            peer.grant(stream_id, amount + 1)
        elif name == "take":
            fresh = len(peer.body(stream_id)) - self.taken.get(stream_id, 0)
            self.taken[stream_id] = self.taken.get(stream_id, 0) + fresh
            peer.take(stream_id, fresh)
        elif name == "reprioritise":
            peer.send(wire.priority_update(stream_id, b"u=%d" % (amount % 8)))
        elif name == "push" and stream_id & 1:
            promised = connection.push_stream(stream_id, b"/pushed", [])
            peer.drain()
            if promised is not None:
                self.open.append(promised)
        elif name == "start" and stream_id not in self.writing:
            peer.start(stream_id)
            self.writing[stream_id] = 0
        elif name == "respond" and stream_id not in self.writing:
            connection.send_response(stream_id, 200, [], bytes(amount))
            self.writing[stream_id] = amount
            self.ended(stream_id)
        elif name == "write" and stream_id in self.writing:
            peer.write(stream_id, bytes(amount))
            self.writing[stream_id] += amount
        elif name == "end" and stream_id in self.writing:
            peer.write(stream_id, end=True)
            self.ended(stream_id)
        elif name == "trailers" and stream_id in self.writing:
            connection.send_trailers(stream_id, [(b"x-sum", b"%d" % amount)])
            self.ended(stream_id)

    def ended(self, stream_id: int) -> None:
        self.peer.release(stream_id)
        self.open.remove(stream_id)
        self.uploading.pop(stream_id, None)
        self.finished[stream_id] = self.writing.pop(stream_id)

    def settle(self) -> None:
        """Credit for all, and an end for everything that has none."""
        peer = self.peer
        peer.congested = False
        peer.drain()
        for stream_id in list(self.open):
            if stream_id not in self.writing:
                peer.start(stream_id)
                self.writing[stream_id] = 0
            peer.write(stream_id, end=True)
            self.ended(stream_id)
        peer.grant(0, 50_000_000)
        peer.settings({wire.INITIAL_WINDOW_SIZE: 50_000_000})


@pytest.mark.parametrize("engine", HTTP2_ENGINES)
@QUICK
@given(script=operations)
def test_every_byte_arrives_where_it_belongs(
    engine: str, script: list[tuple[str, int, int]]
) -> None:
    session = Session(engine)
    sent: dict[int, int] = {}
    for operation in script:
        session.do(*operation)
        sent |= session.uploading
        assert not session.peer.goaways, operation
    session.settle()
    peer = session.peer
    assert not peer.goaways
    for stream_id, size in session.finished.items():
        response = peer.responses[stream_id]
        assert response.complete, stream_id
        assert len(response.body) == size
        assert peer.connection.buffered(stream_id) == 0
    for stream_id, size in sent.items():
        assert len(peer.body(stream_id)) == size
    assert not peer.connection.holds_output
    assert not peer.connection.output
    peer.wait(peer.limits.keep_alive_timeout + 1)
    assert peer.over
