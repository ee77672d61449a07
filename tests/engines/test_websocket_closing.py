"""The closing handshake (RFC 6455 §7), and what the application is told of the end."""

from __future__ import annotations

from functools import partial

import pytest

from hyperserver.protocol.negotiate import WEBSOCKET_ENGINES
from hyperserver.protocol.websocket.connection import WebSocketOptions
from tests.engines.playbook import FEEDS
from tests.engines.ws_peer import (
    CONTINUATION,
    PING,
    RSV1,
    TEXT,
    Connect,
    Peer,
    binary,
    close,
    frame,
    text,
)


@pytest.fixture(params=WEBSOCKET_ENGINES)
def connect(request: pytest.FixtureRequest, feed_name: str) -> Connect:
    return partial(Peer, request.param, feed=FEEDS[feed_name])


@pytest.fixture(params=WEBSOCKET_ENGINES)
def peer(request: pytest.FixtureRequest) -> Peer:
    return Peer(request.param, WebSocketOptions(ping_interval=0, close_timeout=10))


def begin_to_close(
    peer: Peer, code: int = 1000, reason: str = "", *, at_once: bool = False
) -> Peer:
    peer.ws.close(code, reason, at_once=at_once)
    return peer.flush()


# ---- theirs -------------------------------------------------------------------------------


def test_a_close_without_a_code_is_1005_and_answered_without_one(connect: Connect) -> None:
    peer = connect().receive(close(None))
    assert peer.ws.closed == (1005, "")
    assert peer.sent_close == (None, "")
    assert peer.ws.finished


def test_the_longest_reason(connect: Connect) -> None:
    assert connect().receive(close(1000, "é" * 61 + "x")).ws.closed == (1000, "é" * 61 + "x")


def test_what_comes_behind_a_close_is_ignored(connect: Connect) -> None:
    peer = connect().receive(close(1001), text("x"), frame(3), frame(PING), close(4000))
    assert peer.ws.closed == (1001, "") and peer.messages == []
    assert len(peer.sent) == 1


def test_messages_before_a_close_may_still_be_taken(connect: Connect) -> None:
    peer = connect(reads=False).receive(text("1"), binary(b"2"), close(1000))
    assert peer.ws.finished and peer.ws.closed == (1000, "")
    assert peer.take().messages == ["1", b"2"]


# ---- a cut --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "before",
    [
        b"",
        text("whole"),
        frame(TEXT, b"half", fin=False),
        frame(TEXT, b"half")[:-1],
        frame(TEXT, b"half")[:1],
        close(1000)[:-1],
        close(1000, "cut")[:6],
    ],
)
def test_the_end_of_input_is_1006_and_has_no_answer(connect: Connect, before: bytes) -> None:
    peer = connect().receive(before).end()
    assert peer.ws.closed == (1006, "")
    assert peer.ws.finished and not peer.ws.is_open
    assert peer.sent == []


def test_the_end_of_input_behind_a_close_changes_nothing(connect: Connect) -> None:
    peer = connect().receive(close(1001, "bye")).end()
    assert peer.ws.closed == (1001, "bye")
    assert peer.sent_close == (1001, "")


def test_the_end_of_input_behind_a_fault_changes_nothing(connect: Connect) -> None:
    peer = connect().receive(frame(3)).end()
    peer.assert_failed(1002)


# ---- ours ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("code", "reason"), [(1000, ""), (1011, "error"), (4999, "é" * 61)])
def test_the_application_closes(connect: Connect, code: int, reason: str) -> None:
    peer = begin_to_close(connect(), code, reason)
    assert peer.sent_close == (code, reason)
    assert not peer.ws.is_open and not peer.ws.finished and peer.ws.closed is None
    peer.receive(close(code, "yes"))
    assert peer.ws.finished and not peer.ws.aborted
    assert peer.ws.closed == (code, "yes")
    assert len(peer.sent) == 1


@pytest.mark.parametrize("reason", ["x" * 200, "é" * 100, "€" * 50, "𝄞" * 40])
def test_a_long_reason_is_cut(peer: Peer, reason: str) -> None:
    begin_to_close(peer, 4000, reason)
    assert peer.sent_close is not None
    code, sent = peer.sent_close
    assert code == 4000 and reason.startswith(sent)
    assert 120 <= len(sent.encode()) <= 123


def test_a_reason_that_has_no_utf8_changes_nothing(peer: Peer) -> None:
    with pytest.raises(UnicodeEncodeError):
        peer.ws.close(1000, "\ud800")
    assert peer.flush().sent == []
    peer.assert_open()


def test_both_may_close_at_the_same_time(connect: Connect) -> None:
    """Then the peer's Close is no answer, but does for one (§7.1.4)."""
    peer = begin_to_close(connect(), 4000).receive(close(4001, "me first"))
    assert peer.ws.finished and peer.ws.closed == (4001, "me first")
    assert len(peer.sent) == 1


def test_one_close_is_enough(peer: Peer) -> None:
    begin_to_close(begin_to_close(peer, 4000), 4001, at_once=True)
    assert peer.sent_close == (4000, "") and peer.ws.closed is None
    peer.receive(close(4000))
    begin_to_close(peer, 4002)
    assert peer.ws.closed == (4000, "") and len(peer.sent) == 1


def test_a_close_behind_the_end_sends_nothing(peer: Peer) -> None:
    peer.end()
    assert begin_to_close(peer, 1000).sent == []
    assert peer.ws.closed == (1006, "")


def test_nobody_waits_for_messages_behind_our_close(connect: Connect) -> None:
    """They may be on their way (§1.4), and are read over."""
    peer = begin_to_close(connect(reads=False).receive(text("1")))
    peer.receive(text("2"), frame(TEXT, b"3", fin=False), frame(CONTINUATION), close(1000))
    assert peer.ws.finished and peer.take().messages == []
    assert peer.ws.closed == (1000, "")


def test_a_ping_behind_our_close_is_answered(connect: Connect) -> None:
    """§5.5.2: unless it already received a Close frame."""
    assert begin_to_close(connect()).receive(frame(PING, b"x")).pongs == [b"x"]


@pytest.mark.parametrize(
    "fault",
    [
        frame(3),
        frame(TEXT, b"\xff"),
        frame(TEXT, b"x", key=None),
        close(1005),
        frame(PING, rsv=RSV1),
    ],
)
def test_a_fault_behind_our_close_ends_it_without_a_second_one(
    connect: Connect, fault: bytes
) -> None:
    peer = begin_to_close(connect(), 4000).receive(fault)
    assert peer.ws.finished and peer.ws.closed is not None
    assert peer.ws.closed[0] in {4000, 1006}
    assert peer.sent_close == (4000, "") and len(peer.sent) == 1


def test_an_answer_without_a_code(connect: Connect) -> None:
    """As the peer has agreed without a word, the application is told its own code."""
    assert begin_to_close(connect(), 4000).receive(close(None)).ws.closed == (4000, "")


def test_the_end_of_input_instead_of_an_answer(connect: Connect) -> None:
    peer = begin_to_close(connect(), 4000).end()
    assert peer.ws.finished and peer.ws.closed == (1006, "")


@pytest.mark.parametrize("at_once", [False, True])
def test_no_answer_in_time(peer: Peer, at_once: bool) -> None:
    begin_to_close(peer, 4000, at_once=at_once).look(100.0)
    assert peer.ws.next_look == 110.0
    peer.receive(text("still talking")).look(109.9)
    assert not peer.ws.finished and not peer.ws.aborted
    peer.look(110.0)
    assert peer.ws.finished and peer.ws.aborted
    assert peer.ws.closed == ((4000, "") if at_once else (1006, ""))
    assert len(peer.sent) == 1


def test_an_answer_in_time(peer: Peer) -> None:
    begin_to_close(peer, 4000).look(100.0).receive(close(4000)).look(200.0)
    assert peer.ws.finished and not peer.ws.aborted
    assert peer.ws.closed == (4000, "")


# ---- ours, and nobody has asked for it ----------------------------------------------------


@pytest.mark.parametrize(("code", "reason"), [(1012, "restart"), (1001, ""), (1011, "failed")])
def test_the_application_is_told_at_once(connect: Connect, code: int, reason: str) -> None:
    peer = begin_to_close(connect(), code, reason, at_once=True)
    assert peer.ws.closed == (code, reason)
    assert peer.sent_close == (code, reason)
    assert not peer.ws.is_open and not peer.ws.finished
    peer.receive(text("late"), close(4000, "other"))
    assert peer.ws.finished and not peer.ws.aborted
    assert peer.ws.closed == (code, reason) and peer.messages == []


def test_messages_before_a_shutdown_may_still_be_taken(connect: Connect) -> None:
    peer = connect(reads=False).receive(text("1"))
    begin_to_close(peer, 1012, at_once=True).receive(text("2"), close(1012))
    assert peer.take().messages == ["1"] and peer.ws.finished


def fill(peer: Peer) -> Peer:
    """Messages, until no more are read."""
    peer.reads = False
    while not peer.ws.is_behind:
        peer.receive(binary(bytes(4000)))
    return peer


def test_a_close_of_the_applications_reads_on(peer: Peer) -> None:
    """It has no use for the messages that it has not taken; the answer is behind them."""
    fill(peer).receive(binary(bytes(70_000)), binary(bytes(70_000)))
    begin_to_close(peer, 4000)
    assert not peer.ws.is_behind and peer.take().messages == []
    peer.receive(binary(bytes(70_000)), close(4000))
    assert peer.ws.finished and peer.ws.closed == (4000, "")


def test_a_close_of_the_applications_finds_the_answer_in_what_was_held(peer: Peer) -> None:
    fill(peer).receive(binary(bytes(70_000)), frame(PING, b"held"), close(4001, "gone"))
    begin_to_close(peer, 4000)
    assert peer.ws.finished and peer.ws.closed == (4001, "gone")
    assert peer.pongs == [b"held"]


def test_a_shutdown_reads_on_behind_an_application_that_does_not(peer: Peer) -> None:
    begin_to_close(fill(peer), 1012, at_once=True).look(100.0).receive(close(1012))
    assert peer.ws.finished and not peer.ws.aborted


def test_a_shutdown_sees_the_end_of_input_behind_an_application_that_does_not(peer: Peer) -> None:
    begin_to_close(fill(peer), 1012, at_once=True).end()
    assert peer.ws.finished


def test_a_shutdown_of_one_that_is_behind_ends_in_time(peer: Peer) -> None:
    begin_to_close(fill(peer), 1012, at_once=True).look(100.0).look(110.0)
    assert peer.ws.finished and peer.ws.closed == (1012, "")
    taken = peer.take().messages
    assert taken and all(message == bytes(4000) for message in taken)
    assert peer.ws.finished


def test_the_end_of_input_waits_for_an_application_that_is_behind(peer: Peer) -> None:
    """What was sent before it is delivered first."""
    fill(peer).receive(text("last"), close(1000, "bye"))
    peer.end()
    assert not peer.ws.finished
    assert peer.take().messages[-1] == "last"
    assert peer.ws.finished and peer.ws.closed == (1000, "bye")
    assert peer.flush().sent_close == (1000, "")


def test_the_end_of_input_without_a_close_behind_held_messages(peer: Peer) -> None:
    fill(peer).receive(text("last")).end()
    assert peer.take().messages[-1] == "last"
    assert peer.ws.finished and peer.ws.closed == (1006, "")
