"""Server push (RFC 9113 §8.4): a promise, then a request like any other."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from hyperserver.errors import LocalProtocolError
from hyperserver.protocol.events import RequestReceived
from hyperserver.protocol.interface import HTTP2Options, ResponseDefaults
from tests.engines import h2_frames as wire
from tests.engines.h2_frames import (
    AUTHORITY,
    PROTOCOL_ERROR,
    STREAM_CLOSED,
    Data,
    GoAway,
    Headers,
    Push,
    head,
)
from tests.engines.h2_peer import Peer, assert_alive, assert_connection_error, assert_over

Open = Callable[..., Peer]

ACCEPT = (b"accept", b"text/css")


def pushed(peer: Peer, parent: int, target: bytes = b"/style.css") -> int:
    promised = peer.connection.push_stream(parent, target, [])
    assert promised is not None
    peer.drain()
    return promised


def no_push(peer: Peer, parent: int) -> None:
    peer.frames()
    events = len(peer.events)
    assert peer.connection.push_stream(parent, b"/style.css", []) is None
    assert peer.frames() == []
    assert len(peer.events) == events


def test_a_push_is_a_promise_and_a_request(h2: Peer) -> None:
    parent = h2.get(b"/page")
    h2.news()
    assert h2.connection.push_stream(parent, b"/style.css?v=1", [ACCEPT]) == 2
    (promise,) = h2.frames()
    assert isinstance(promise, Push)
    assert (promise.stream_id, promise.promised) == (parent, 2)
    assert sorted(promise.fields[:4]) == sorted(head(b"GET", b"/style.css?v=1"))
    assert promise.fields[4:] == [ACCEPT]
    assert h2.news() == [
        RequestReceived(
            2,
            "GET",
            b"/style.css?v=1",
            [(b"host", AUTHORITY), ACCEPT],
            "2",
            "https",
            AUTHORITY,
            None,
            True,
        )
    ]


def test_only_request_fields_are_promised(h2_with: Open) -> None:
    """Neither date nor server belongs into a request."""
    peer = h2_with(defaults=ResponseDefaults(b"s", b"Sun, 06 Nov 1994 08:49:37 GMT"))
    pushed(peer, peer.get())
    (promise,) = peer.frames()
    assert isinstance(promise, Push)
    assert sorted(promise.fields) == sorted(head(b"GET", b"/style.css"))


def test_a_pushed_response(h2: Peer) -> None:
    parent = h2.get()
    promised = pushed(h2, parent)
    h2.frames()
    h2.start(promised, 200, (b"content-type", b"text/css"))
    h2.write(promised, b"a{}", end=True)
    h2.answer(parent, b"page")
    fields = [(b":status", b"200"), (b"content-type", b"text/css")]
    assert h2.frames()[:2] == [Headers(promised, fields), Data(promised, b"a{}", end=True)]
    assert h2.responses[parent].body == b"page"
    h2.release(promised)
    assert_alive(h2)


def test_the_promise_precedes_what_refers_to_it(h2: Peer) -> None:
    """Else the client would ask for it by itself (§8.4.1)."""
    parent = h2.get()
    h2.congested = True
    h2.start(parent)
    pushed(h2, parent)
    h2.write(parent, b"<link href=style.css>", end=True)
    h2.congested = False
    kinds = [type(f) for f in h2.frames()]
    assert kinds.index(Push) < kinds.index(Data)


def test_a_promise_on_time_is_not_held_back_by_flow_control(h2: Peer) -> None:
    parent = h2.get()
    h2.start(parent)
    h2.write(parent, bytes(100_000))
    pushed(h2, parent)
    assert any(isinstance(f, Push) for f in h2.frames())


def test_pushes_are_numbered(h2: Peer) -> None:
    parent = h2.get()
    assert [pushed(h2, parent) for _ in range(4)] == [2, 4, 6, 8]


def test_pushes_of_several_parents(h2: Peer) -> None:
    first, second = h2.get(), h2.post()
    assert [pushed(h2, second), pushed(h2, first)] == [2, 4]
    assert [f.stream_id for f in h2.frames() if isinstance(f, Push)] == [second, first]


def test_the_authority_is_the_parents(h2: Peer) -> None:
    parent = h2.open(head(b"GET", b"/", (b"host", b"other.example:81"), authority=None))
    pushed(h2, parent)
    (promise,) = h2.frames()
    assert isinstance(promise, Push)
    assert (b":authority", b"other.example:81") in promise.fields
    assert h2.requests[-1].authority == b"other.example:81"
    assert h2.requests[-1].headers == [(b"host", b"other.example:81")]


def test_the_scheme_is_the_transports(h2_with: Open) -> None:
    peer = h2_with(scheme="http")
    pushed(peer, peer.open(head(scheme=b"http")))
    (promise,) = peer.frames()
    assert isinstance(promise, Push)
    assert (b":scheme", b"http") in promise.fields
    assert peer.requests[-1].scheme == "http"


def test_pushed_data_is_flow_controlled(h2: Peer) -> None:
    parent = h2.get()
    promised = pushed(h2, parent)
    h2.answer(promised, bytes(100_000))
    assert len(h2.responses[promised].body) == 65_535
    h2.grant(0, 50_000)
    h2.grant(promised, 50_000)
    assert h2.responses[promised].complete


def test_a_window_update_may_come_before_the_pushed_response(h2: Peer) -> None:
    promised = pushed(h2, h2.get())
    h2.grant(0, 100_000)
    h2.grant(promised, 100_000)
    h2.answer(promised, bytes(150_000))
    assert h2.responses[promised].complete


def test_early_hints_on_a_push(h2: Peer) -> None:
    """The application need not know that it was called for a push: sent or dropped, no harm."""
    promised = pushed(h2, h2.get())
    h2.connection.send_informational(promised, 103, [(b"link", b"<x>")])
    h2.answer(promised, b"pushed")
    assert h2.responses[promised].body == b"pushed"
    assert_alive(h2)


# ---- no push ------------------------------------------------------------------------------


def test_no_push_for_those_who_disable_it(h2_with: Open) -> None:
    peer = h2_with(settings={wire.ENABLE_PUSH: 0})
    no_push(peer, peer.get())


def test_push_can_be_disabled_and_enabled_later(h2: Peer) -> None:
    parent = h2.get()
    pushed(h2, parent)
    h2.settings({wire.ENABLE_PUSH: 0})
    no_push(h2, parent)
    h2.settings({wire.ENABLE_PUSH: 1})
    pushed(h2, parent)


def test_no_push_from_a_push(h2: Peer) -> None:
    no_push(h2, pushed(h2, h2.get()))


def test_no_push_after_the_parents_response(h2: Peer) -> None:
    parent = h2.get()
    h2.connection.send_response(parent, 200, [], b"")
    no_push(h2, parent)
    h2.release(parent)
    no_push(h2, parent)


def test_no_push_from_a_stream_that_was_cut(h2: Peer) -> None:
    parent, other = h2.get(), h2.get()
    h2.reset(parent)
    h2.connection.reset_stream(other, "test")
    no_push(h2, parent)
    no_push(h2, other)


@pytest.mark.parametrize("parent", [0, 1, 2, 99])
def test_no_push_from_nowhere(h2: Peer, parent: int) -> None:
    """An engine may call this misuse instead."""
    h2.frames()
    try:
        assert h2.connection.push_stream(parent, b"/", []) is None
    except LocalProtocolError:
        pass
    assert h2.frames() == []
    assert h2.events == []


@pytest.mark.parametrize("limit", [0, 1, 3])
def test_pushes_obey_the_clients_limit(h2_with: Open, limit: int) -> None:
    peer = h2_with(settings={wire.MAX_CONCURRENT_STREAMS: limit})
    parent = peer.get()
    promised = [pushed(peer, parent) for _ in range(limit)]
    no_push(peer, parent)
    for stream_id in promised:
        peer.start(stream_id)
    no_push(peer, parent)
    for stream_id in promised:
        peer.write(stream_id, b"x", end=True)
        peer.release(stream_id)
    if limit:
        pushed(peer, parent)


def test_a_lowered_limit_stops_pushes(h2: Peer) -> None:
    parent = h2.get()
    first = pushed(h2, parent)
    h2.start(first)
    h2.settings({wire.MAX_CONCURRENT_STREAMS: 1})
    no_push(h2, parent)
    h2.write(first, b"x", end=True)
    h2.release(first)
    pushed(h2, parent)


def test_pushes_are_not_the_clients_streams(h2_with: Open) -> None:
    """Our MAX_CONCURRENT_STREAMS is about what the client opens."""
    peer = h2_with(options=HTTP2Options(max_concurrent_streams=2))
    parent = peer.get()
    for _ in range(3):
        pushed(peer, parent)
    assert_alive(peer)


def test_pushes_per_request_end_somewhere(h2: Peer) -> None:
    """A client that sets no limit must not be promised without end (G30)."""
    parent = h2.get()
    count = 0
    while count < 5_000 and h2.connection.push_stream(parent, b"/%d" % count, []):
        h2.drain()
        count += 1
    assert 1 <= count < 5_000


def test_no_push_after_our_goaway(h2: Peer) -> None:
    parent = h2.get()
    h2.connection.shutdown()
    no_push(h2, parent)
    h2.ping()
    h2.answer(parent)


def test_no_push_after_the_clients_goaway(h2: Peer) -> None:
    parent = h2.get()
    h2.send(wire.goaway(0))
    no_push(h2, parent)


def test_no_push_on_a_closed_connection(h2: Peer) -> None:
    parent = h2.get()
    h2.eof()
    no_push(h2, parent)


@pytest.mark.parametrize("target", [b"", b"style.css", b"/a b", b"/a\r\nx: y", b"/\xff", b"*"])
def test_a_target_that_is_none_is_never_promised(h2: Peer, target: bytes) -> None:
    parent = h2.get()
    h2.frames()
    try:
        assert h2.connection.push_stream(parent, target, []) is None
    except LocalProtocolError:
        pass
    assert h2.frames() == []
    assert len(h2.requests) == 1


# ---- the client's answers -----------------------------------------------------------------


@pytest.mark.parametrize("started", [False, True])
def test_a_client_may_refuse_a_push(h2: Peer, started: bool) -> None:
    parent = h2.get()
    promised = pushed(h2, parent)
    if started:
        h2.start(promised)
        h2.write(promised, bytes(100_000))
    h2.reset(promised, wire.CANCEL)
    assert set(h2.closed) == {promised}
    assert h2.connection.buffered(promised) == 0
    h2.frames()
    h2.connection.send_data(promised, b"ignored")
    assert h2.frames() == []
    h2.release(promised)
    h2.grant(0, 100_000)
    h2.answer(parent)
    assert_alive(h2)


def test_resetting_the_parent_leaves_its_push(h2: Peer) -> None:
    parent = h2.get()
    promised = pushed(h2, parent)
    h2.reset(parent)
    assert set(h2.closed) == {parent}
    h2.answer(promised, b"pushed")
    assert h2.responses[promised].body == b"pushed"


@pytest.mark.parametrize("started", [False, True])
@pytest.mark.parametrize("kind", ["data", "headers"])
def test_a_client_sends_nothing_on_a_push(h2: Peer, started: bool, kind: str) -> None:
    """An error in both states, reserved (local) and half-closed (remote) (§5.1)."""
    promised = pushed(h2, h2.get())
    if started:
        h2.start(promised)
    if kind == "data":
        h2.send(wire.data(promised, b"x"))
    else:
        h2.send(h2.writer.headers(promised, head(), end=True))
    if h2.goaways:
        assert_connection_error(h2, PROTOCOL_ERROR, STREAM_CLOSED)
    else:
        assert started
        assert h2.responses[promised].reset == STREAM_CLOSED


def test_an_update_of_a_pushs_priority(h2: Peer) -> None:
    promised = pushed(h2, h2.get())
    h2.send(wire.priority_update(promised, b"u=0"))
    h2.send(wire.priority(promised, on=0))
    h2.answer(promised, b"x")
    assert h2.responses[promised].complete


def test_a_connection_ends_when_its_pushes_have(h2: Peer) -> None:
    parent = h2.get()
    promised = pushed(h2, parent)
    h2.connection.shutdown()
    h2.drain()
    h2.send(wire.ping(next(f for f in h2.frames() if isinstance(f, wire.Ping)).payload, ack=True))
    h2.answer(parent)
    assert not h2.over
    h2.answer(promised, b"pushed")
    assert h2.responses[promised].complete
    assert_over(h2)
    assert h2.goaways[-1] == GoAway(parent, 0)


def test_eof_ends_pushes(h2: Peer) -> None:
    parent = h2.get()
    promised = pushed(h2, parent)
    h2.eof()
    assert set(h2.closed) == {parent, promised}
