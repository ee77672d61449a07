"""Two engines, one behaviour: whatever the bytes and however they are cut.

A difference between parsers is a smuggling bug. Here both get the same valid, mutated and
random bytes, and must report the same events, write the same output and end in the same state.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hyperserver.protocol.events import (
    DataReceived,
    Event,
    ProtocolSwitched,
    RequestReceived,
    RequestRefused,
    StreamClosed,
    TrailersReceived,
)
from hyperserver.protocol.interface import Limits
from hyperserver.protocol.negotiate import HTTP1_ENGINES
from tests.engines.playbook import Peer, byte_by_byte, joined, statuses, whole

QUICK = settings(
    max_examples=300,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
LIMITS = Limits(max_head_size=600, max_target_size=60, max_fields=8, max_body_size=40)

# ---- a grammar of requests, good and nearly good ------------------------------------------

methods = st.sampled_from([b"GET", b"POST", b"HEAD", b"OPTIONS", b"BREW", b"CONNECT", b"get"])
targets = st.sampled_from(
    [b"/", b"/a?b=c", b"*", b"http://b.example/x", b"http://b", b"a:80", b"/\xff", b"//", b""]
)
versions = st.sampled_from(
    [b"HTTP/1.1"] * 6 + [b"HTTP/1.0"] * 3 + [b"HTTP/1.2", b"HTTP/2.0", b"http/1.1", b"HTTP/1.10"]
)
good_fields = st.sampled_from(
    [
        b"Accept: */*",
        b"X-Empty:",
        b"X-Blank: \t ",
        b"X-Padded:\t a b \t",
        b"x-\x7c: \xe9",
        b"Connection: keep-alive",
        b"Connection: close",
        b"Connection: Keep-Alive, TE",
        b"Connection: upgrade",
        b"Proxy-Connection: close",
        b"Proxy-Connection: keep-alive",
        b"Keep-Alive: timeout=5",
        b"Upgrade: websocket",
        b"Upgrade: h2c",
        b"Trailer: x",
        b"TE: trailers",
        b"Expect: 100-continue",
        b"Cookie: a=b; c=d",
    ]
)
odd_fields = st.sampled_from(
    [
        b"Host: b",
        b"Host: a/b",
        b"Host:",
        b"Expect: pay",
        b"No-Colon",
        b": empty",
        b"Space : x",
        b" lead: x",
        b" ",
        b"\t",
        b" \r\nGET / HTTP/1.1",
        b"X\xe9: y",
        b"X: a\x00b",
        b"X: a\x7f",
        b"X: a\rb",
        b"X: a\nb",
        b"Connection: close, , keep-alive",
        b"Connection: close keep-alive",
        b"Connection:",
        b"Connection: \xff",
        b"Content-Length : 1",
        b"Transfer-Encoding : chunked",
        b"X: " + b"x" * 590,
    ]
)
framings = st.sampled_from(
    [b"Content-Length: 0", b"Content-Length: 5", b"Transfer-Encoding: chunked"] * 3
    + [
        b"Content-Length: 5, 5",
        b"Content-Length: 05",
        b"Content-Length: +5",
        b"Content-Length: 5 5",
        b"Content-Length:\t5 ",
        b"Content-Length: 5\t",
        b"Content-Length: 5,",
        b"Content-Length:",
        b"Content-Length: 99999999999999999999",
        b"Content-Length: 41",
        b"Content-Length: 5\r\nContent-Length: 5",
        b"Content-Length: 5\r\nTransfer-Encoding: chunked",
        b"Transfer-Encoding: CHUNKED ",
        b"Transfer-Encoding:\tchunked \t",
        b"Transfer-Encoding: gzip, chunked",
        b"Transfer-Encoding: chunked, gzip",
        b"Transfer-Encoding: chunked, chunked",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        b"Transfer-Encoding: identity",
        b"Transfer-Encoding: x;y=z",
        b"Transfer-Encoding:",
        b"Transfer-Encoding: ,chunked,",
        b"Transfer-Encoding: \x0bchunked",
    ]
)
chunks = st.sampled_from(
    [b"5\r\nhello\r\n", b"1;a=b\r\nx\r\n", b'0a ; q="\\""\r\n0123456789\r\n'] * 3
    + [b"5\nhello\r\n", b"5\r\nhelloX\r\n", b"5 \r\nhello\r\n", b"g\r\n", b"-1\r\n", b"\r\n"]
)
endings = st.sampled_from(
    [b"0\r\n\r\n"] * 4
    + [b"0\r\nX: y\r\n\r\n", b"0\r\nHost: b\r\n\r\n", b"0\r\nX\r\n\r\n", b"0\r\n X: y\r\n\r\n", b""]
)
bodies = st.one_of(
    st.just(b""),
    st.just(b"hello"),
    st.builds(lambda parts, end: b"".join(parts) + end, st.lists(chunks, max_size=3), endings),
)


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    line = b" ".join((draw(methods), draw(targets), draw(versions)))
    fields = [b"Host: a"] * (draw(st.integers(0, 9)) != 0)
    fields += draw(st.lists(good_fields, max_size=4))
    fields += draw(st.lists(odd_fields, max_size=draw(st.integers(0, 1))))
    fields += draw(st.lists(framings, max_size=1))
    lead = draw(st.sampled_from([b""] * 8 + [b"\r\n", b"\r\n\r\n", b"\r\n" * 5, b"\n", b"\r"]))
    head = lead + b"\r\n".join((line, *draw(st.permutations(fields)))) + b"\r\n\r\n"
    return head + draw(bodies)


@st.composite
def good_requests(draw: st.DrawFn) -> bytes:
    """Requests that are served, so that many follow one another on a connection."""
    fields = [b"Host: a", *draw(st.lists(good_fields, max_size=4))]
    framing, body = draw(
        st.sampled_from(
            [
                (b"X-None: x", b""),
                (b"Content-Length: 0", b""),
                (b"Content-Length: 5", b"hello"),
                (b"Transfer-Encoding: chunked", b"5\r\nhello\r\n0\r\n\r\n"),
                (b"Transfer-Encoding: Chunked", b"1;x\r\nh\r\n0\r\nX: y\r\n\r\n"),
            ]
        )
    )
    line = draw(st.sampled_from([b"GET / HTTP/1.1", b"HEAD /x HTTP/1.1", b"BREW /y HTTP/1.1"]))
    return b"\r\n".join((line, *fields, framing)) + b"\r\n\r\n" + body


streams = st.one_of(
    st.lists(good_requests(), min_size=1, max_size=4).map(b"".join),
    st.lists(requests(), min_size=1, max_size=3).map(b"".join),
)
edges = st.sampled_from(
    [b"\r", b"\n", b"\r\n", b" ", b"\t", b":", b"\x00", b"\x0b", b"\x7f", b"\x80", b"0", b",", b";"]
)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A stream with a few bytes inserted, deleted or replaced."""
    data = draw(streams)
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(data)))
        removed = draw(st.integers(0, 2))
        data = data[:at] + draw(edges | st.binary(max_size=2)) + data[at + removed :]
    return data


anything = st.one_of(
    streams,
    mutated(),
    st.binary(max_size=60),
    st.lists(edges | st.sampled_from([b"GET", b"/", b"HTTP/1.1", b"Host", b"a"])).map(b"".join),
)

# ---- the conversation -----------------------------------------------------------------------

Moment = Callable[[Event], bool]


def at_once(event: Event) -> bool:
    return isinstance(event, RequestReceived)


def at_the_end(event: Event) -> bool:
    return isinstance(event, TrailersReceived) or (
        isinstance(event, RequestReceived | DataReceived) and event.end_stream
    )


def converse(engine: str, pieces: Iterable[bytes], moment: Moment, eof: bool) -> Peer:
    """Feed ``pieces``, answer each request at its ``moment``, maybe half-close."""
    peer = Peer(engine, limits=LIMITS)
    for piece in pieces:
        peer.connection.receive_data(piece, peer.now)
        settle(peer, moment)
    if eof:
        peer.connection.receive_eof(peer.now)
        settle(peer, moment)
    return peer


def settle(peer: Peer, moment: Moment) -> None:
    """Respond until nothing new comes: an answer lets the next pipelined request through."""
    seen = len(peer.events)
    peer.drain()
    while new := peer.events[seen:]:
        seen = len(peer.events)
        gone = {e.stream_id for e in new if isinstance(e, StreamClosed)}
        for event in new:
            assert not isinstance(event, ProtocolSwitched)
            if moment(event) and event.stream_id not in gone:
                peer.connection.send_informational(event.stream_id, 100, [])
                peer.start(event.stream_id, 200, (b"content-length", b"2"))
                peer.data(event.stream_id, b"ok", end=True)


def state(peer: Peer) -> tuple[bool, ...]:
    connection = peer.connection
    return (
        connection.is_closed,
        connection.output_finished,
        connection.aborted,
        connection.wants_data,
        connection.next_timeout() is None,
    )


def outcome(peer: Peer) -> object:
    """Everything observable."""
    return joined(peer.events), peer.output, state(peer)


def gist(peer: Peer) -> object:
    """What may not depend on how the bytes were cut.

    Which of two faults is named first may, and how much of a body came before its fault.
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
    return events, statuses(peer.output), state(peer)


def cut(data: bytes, places: Sequence[int]) -> list[bytes]:
    """``data`` in pieces, cut at ``places`` (taken modulo its length)."""
    edges = sorted({0, len(data), *(p % (len(data) + 1) for p in places)})
    return [data[a:b] for a, b in pairwise(edges)]


places = st.lists(st.integers(0, 2000), max_size=12)


# ---- the demands ----------------------------------------------------------------------------


@QUICK
@given(
    data=anything, places=places, moment=st.sampled_from([at_once, at_the_end]), eof=st.booleans()
)
def test_engines_agree_on_everything(
    data: bytes, places: list[int], moment: Moment, eof: bool
) -> None:
    first, second = (converse(name, cut(data, places), moment, eof) for name in HTTP1_ENGINES)
    assert outcome(first) == outcome(second)


@pytest.mark.parametrize("engine", HTTP1_ENGINES)
@QUICK
@given(data=anything, places=places, eof=st.booleans())
def test_cuts_change_nothing(engine: str, data: bytes, places: list[int], eof: bool) -> None:
    at_whole, at_bytes, at_places = (
        gist(converse(engine, pieces, at_the_end, eof))
        for pieces in (whole(data), byte_by_byte(data), cut(data, places))
    )
    assert at_whole == at_bytes
    assert at_whole == at_places


def is_last(request: bytes) -> bool:
    """Whether what follows is not served: it is told to close, or may not be HTTP."""
    head, _, body = request.partition(b"\r\n\r\n")
    asks_for_websocket = b"\nConnection: upgrade" in head and b"\nUpgrade: websocket" in head
    return b"\nConnection: close" in head or (
        asks_for_websocket and b" HTTP/1.0" not in head and not body
    )


@pytest.mark.parametrize("engine", HTTP1_ENGINES)
@QUICK
@given(stream=st.lists(good_requests(), min_size=1, max_size=6), places=places)
def test_good_requests_are_all_served_until_one_says_close_or_asks_for_a_websocket(
    engine: str, stream: list[bytes], places: list[int]
) -> None:
    peer = converse(engine, cut(b"".join(stream), places), at_the_end, eof=False)
    served = next((i for i, r in enumerate(stream, 1) if is_last(r)), len(stream))
    assert [status for status in statuses(peer.output) if status != 100] == [200] * served
    assert [e.stream_id for e in peer.requests] == list(range(1, 2 * served, 2))


@pytest.mark.parametrize("engine", HTTP1_ENGINES)
@QUICK
@given(data=anything, places=places)
def test_a_silent_application_is_never_overrun_and_a_clock_always_ends_it(
    engine: str, data: bytes, places: list[int]
) -> None:
    """Nothing is answered: at most one request is open, and no fault escapes as an exception."""
    peer = Peer(engine, limits=LIMITS)
    for piece in cut(data, places):
        peer.connection.receive_data(piece, peer.now)
        peer.drain()
    assert len(peer.requests) <= 1
    assert len(statuses(peer.output)) <= 1
    waits_for_application = any(map(at_the_end, peer.events))
    peer.wait(1000)
    peer.wait(1000)  # a refusal lingers, then closes
    assert peer.connection.is_closed != waits_for_application
