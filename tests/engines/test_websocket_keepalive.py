"""Pings, theirs and ours, and deadlines (RFC 6455 §5.5.2, §5.5.3)."""

from __future__ import annotations

from functools import partial

import pytest

from hyperserver.protocol.negotiate import WEBSOCKET_ENGINES
from hyperserver.protocol.websocket.connection import WebSocketOptions
from tests.engines.playbook import FEEDS
from tests.engines.ws_peer import (
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    Connect,
    Peer,
    binary,
    close,
    frame,
    text,
)

OPTIONS = WebSocketOptions(ping_interval=20, ping_timeout=7, close_timeout=10)


@pytest.fixture(params=WEBSOCKET_ENGINES)
def connect(request: pytest.FixtureRequest, feed_name: str) -> Connect:
    return partial(Peer, request.param, feed=FEEDS[feed_name])


@pytest.fixture(params=WEBSOCKET_ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def peer(engine: str) -> Peer:
    """Opened at 100."""
    return Peer(engine, OPTIONS).look(100.0)


def pong(peer: Peer) -> Peer:
    return peer.receive(frame(PONG, peer.pings[-1]))


# ---- theirs -------------------------------------------------------------------------------


@pytest.mark.parametrize("payload", [b"", b"x", bytes(125), b"\xff\x00\x80", b"%s"])
def test_a_ping_is_answered_with_its_payload(connect: Connect, payload: bytes) -> None:
    peer = connect().receive(frame(PING, payload))
    assert peer.pongs == [payload]
    peer.assert_open()


def test_pings_are_answered_in_order(connect: Connect) -> None:
    peer = connect().receive(*(frame(PING, b"%d" % i) for i in range(50)))
    assert peer.pongs == [b"%d" % i for i in range(50)]


@pytest.mark.parametrize("payload", [b"", b"1", b"x", bytes(125)])
def test_a_pong_that_was_not_asked_for_is_ignored(connect: Connect, payload: bytes) -> None:
    peer = connect(OPTIONS).look(100.0).receive(frame(PONG, payload))
    assert peer.sent == [] and peer.ws.next_look == 120.0
    peer.assert_open()


def test_a_ping_is_answered_while_the_application_does_not_read(connect: Connect) -> None:
    peer = connect(reads=False).receive(text("1"), text("2"), frame(PING, b"there?"))
    assert peer.pongs == [b"there?"]
    assert peer.take().messages == ["1", "2"]


# ---- ours ---------------------------------------------------------------------------------


def test_no_pings_unless_wanted(engine: str) -> None:
    peer = Peer(engine, WebSocketOptions(ping_interval=0))
    assert peer.ws.next_look is None
    peer.receive(text("x"), frame(PING))
    assert peer.ws.next_look is None
    peer.ws.send("x")
    assert peer.flush().pings == []


def test_a_ping_each_interval_while_they_are_answered(peer: Peer) -> None:
    assert peer.ws.next_look == 120.0 and peer.pings == []
    for i in range(1, 6):
        now = 100.0 + 20 * i
        peer.look(now)
        assert len(peer.pings) == i
        assert peer.ws.next_look == now + 7
        pong(peer)
        assert peer.ws.next_look == now + 20
    peer.assert_open()


def test_pings_differ(peer: Peer) -> None:
    """Or an old pong would do for a new ping."""
    for i in range(1, 10):
        pong(peer.look(100.0 + 20 * i))
    assert len(set(peer.pings)) == 9


def test_an_interval_shorter_than_the_timeout(engine: str) -> None:
    options = WebSocketOptions(ping_interval=5, ping_timeout=20)
    peer = Peer(engine, options).look(100.0).look(105.0)
    assert len(peer.pings) == 1
    for now in (110.0, 115.0, 120.0):
        assert len(peer.look(now).pings) == 1  # one at a time
    pong(peer).look(124.0)
    assert len(peer.pings) == 2
    peer.look(143.9)
    assert not peer.ws.finished
    peer.look(144.0)
    assert peer.ws.finished


def test_no_pong_in_time(peer: Peer) -> None:
    peer.look(120.0).look(126.9)
    assert peer.ws.is_open
    peer.look(127.0).assert_failed(1011)


@pytest.mark.parametrize("payload", [b"", b"2", b"0", b"1 ", b"x" * 125])
def test_the_wrong_pong_will_not_do(peer: Peer, payload: bytes) -> None:
    peer.look(120.0)
    assert peer.pings == [b"1"]
    peer.receive(frame(PONG, payload)).look(127.0).assert_failed(1011)


def test_an_old_pong_will_not_do(peer: Peer) -> None:
    pong(peer.look(120.0)).look(140.0)
    peer.receive(frame(PONG, peer.pings[0])).look(147.0).assert_failed(1011)


def test_messages_will_not_do_for_a_pong(peer: Peer) -> None:
    """Each of them ended, and the pong could have come behind any."""
    peer.look(120.0).receive(text("x"), frame(PING, b"y"), frame(TEXT, b"z", fin=False))
    peer.look(127.0)
    assert peer.ws.closed is not None and peer.ws.closed[0] == 1011


def test_the_end_comes_before_the_pong_and_that_is_the_end(peer: Peer) -> None:
    peer.look(120.0).receive(close(1000)).look(127.0)
    assert peer.ws.closed == (1000, "") and peer.ws.next_look is None


# ---- excuses ------------------------------------------------------------------------------


def test_a_pong_cannot_come_within_a_frame(peer: Peer) -> None:
    """While it comes at all."""
    long = binary(bytes(1000))
    peer.look(120.0)
    for i in range(9):
        peer.receive(long[i * 100 : (i + 1) * 100]).look(127.0 + 7 * i)
        assert peer.ws.is_open, i
    peer.receive(long[900:])
    pong(peer)
    peer.look(130.0 + 7 * 9).assert_open()


def test_a_frame_that_does_not_go_on_is_no_excuse(peer: Peer) -> None:
    long = binary(bytes(1000))
    peer.look(120.0).receive(long[:100]).look(127.0)
    assert peer.ws.is_open
    peer.look(134.0).assert_failed(1011)


def test_a_frame_that_began_and_stopped_before_the_ping_is_no_excuse(peer: Peer) -> None:
    peer.receive(binary(bytes(1000))[:100]).look(120.0).look(127.0).assert_failed(1011)


def test_fragments_are_no_excuse(peer: Peer) -> None:
    """A pong may come between them."""
    peer.receive(frame(TEXT, b"x", fin=False)).look(120.0)
    peer.receive(frame(CONTINUATION, b"x", fin=False)).look(127.0).assert_failed(1011)


def test_a_pong_is_not_seen_while_we_do_not_read(peer: Peer) -> None:
    peer.reads = False
    while not peer.ws.is_behind:
        peer.receive(binary(bytes(4000)))
    peer.look(120.0)
    pong(peer)  # but nobody looks
    for i in range(1, 10):
        peer.look(120.0 + 7 * i)
        assert peer.ws.is_open
    peer.take().look(120.0 + 7 * 10)
    assert peer.ws.is_open and peer.pings == [b"1", b"2"]  # it was found, so the next is due


def test_a_late_reading_is_an_excuse_once(peer: Peer) -> None:
    """The pong may have stood behind all that was held back."""
    peer.reads = False
    while not peer.ws.is_behind:
        peer.receive(binary(bytes(4000)))
    peer.look(120.0).take().look(127.0)
    assert peer.ws.is_open and not peer.ws.is_behind
    peer.look(134.0)
    assert peer.ws.finished and peer.ws.closed is not None and peer.ws.closed[0] == 1011


def test_a_message_that_is_taken_while_nothing_was_held_is_no_excuse(peer: Peer) -> None:
    peer.reads = False
    peer.look(120.0).receive(text("x")).take().look(127.0)
    assert peer.ws.closed is not None and peer.ws.closed[0] == 1011


# ---- pings and the end --------------------------------------------------------------------


def test_no_pings_behind_our_close(peer: Peer) -> None:
    peer.ws.close(1000)
    peer.flush().look(101.0).look(110.9)
    assert peer.pings == [] and not peer.ws.finished
    peer.look(111.0)
    assert peer.ws.aborted


def test_a_close_takes_the_place_of_the_pong(peer: Peer) -> None:
    peer.look(120.0).ws.close(1000)
    peer.flush().look(120.5)
    assert peer.ws.next_look == 130.5
    peer.look(127.0)
    assert not peer.ws.finished
    peer.look(130.5)
    assert peer.ws.aborted and peer.ws.closed == (1006, "")


@pytest.mark.parametrize("at_once", [False, True])
@pytest.mark.parametrize("looked", [False, True])
@pytest.mark.parametrize("interval", [1.0, 3600.0])
def test_a_pong_behind_our_close_does_not_move_its_deadline(
    engine: str, interval: float, looked: bool, at_once: bool
) -> None:
    options = WebSocketOptions(ping_interval=interval, ping_timeout=7, close_timeout=10)
    peer = Peer(engine, options).look(100.0)
    began = 100.0 + interval
    peer.look(began).ws.close(1000, at_once=at_once)
    peer.flush()
    if looked:
        peer.look(began)
    pong(peer).look(began)
    assert peer.ws.next_look == began + 10
    peer.look(began + 9.9)
    assert not peer.ws.finished
    peer.look(began + 10)
    assert peer.ws.aborted
