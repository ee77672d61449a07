"""Deadlines, on a clock that only the tests move."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from hyperserver.protocol.events import RequestRefused, StreamClosed
from hyperserver.protocol.interface import HIGH_WATER, Limits
from tests.engines.playbook import OK, Peer, chunked_post, get, post, request, sized_post, statuses

LIMITS = Limits(
    request_head_timeout=10,
    keep_alive_timeout=60,
    request_body_timeout=20,
    min_body_rate=100,
    linger_timeout=3,
)


@pytest.fixture
def peer(limited: Callable[[Limits], Peer]) -> Peer:
    return limited(LIMITS)


def due_in(peer: Peer) -> float | None:
    due = peer.connection.next_timeout()
    return None if due is None else due - peer.now


def assert_timed_out(peer: Peer, status: int = 408) -> None:
    assert statuses(peer.take()) == [status]
    assert peer.lingers
    peer.wait(3)
    assert peer.connection.is_closed


# ---- heads --------------------------------------------------------------------------------


def test_a_silent_connection_closes_without_a_word(peer: Peer) -> None:
    assert due_in(peer) == 10
    peer.wait(9.9)
    assert not peer.connection.is_closed
    peer.wait(0.1)
    assert peer.connection.is_closed
    assert (peer.events, peer.take()) == ([], b"")


def test_the_head_timeout_is_for_the_whole_head(peer: Peer) -> None:
    peer.wait(5)
    peer.send(b"G")  # the clock starts with the first byte...
    assert due_in(peer) == 10
    peer.wait(9)
    peer.send(b"ET / HT")  # ...and no later byte moves it
    assert due_in(peer) == 1
    (refusal,) = peer.wait(1)
    assert isinstance(refusal, RequestRefused)
    assert refusal.status == 408
    assert_timed_out(peer)


def test_a_timed_out_head_tells_its_request_line(peer: Peer) -> None:
    peer.send(b"PUT /x HTTP/1.1\r\nHost")
    (refusal,) = peer.wait(10)
    assert isinstance(refusal, RequestRefused)
    assert (refusal.method, refusal.target) == ("PUT", b"/x")


def test_a_complete_head_ends_the_clock(peer: Peer) -> None:
    peer.send(get())
    assert due_in(peer) is None
    peer.wait(1e9)
    peer.answer(1)
    assert peer.take() == OK


def test_an_idle_connection_closes_after_the_keep_alive_timeout(peer: Peer) -> None:
    peer.send(get())
    peer.wait(1000)
    peer.answer(1)
    assert due_in(peer) == 60
    peer.wait(60)
    assert peer.connection.is_closed
    assert peer.take() == OK


def test_the_next_head_has_the_head_timeout(peer: Peer) -> None:
    peer.send(get())
    peer.answer(1)
    peer.wait(59)
    peer.send(b"G")
    assert due_in(peer) == 10
    peer.wait(10)
    assert statuses(peer.take()) == [200, 408]


def test_a_next_head_that_waited_incomplete_is_timed_from_its_turn(peer: Peer) -> None:
    peer.send(get() + get()[:5])
    assert due_in(peer) is None
    peer.wait(1000)
    peer.answer(1)
    assert due_in(peer) == 10
    peer.wait(10)
    assert statuses(peer.take()) == [200, 408]


def test_empty_lines_are_not_a_request_begun(peer: Peer) -> None:
    peer.send(b"\r\n")
    peer.wait(10)
    assert peer.connection.is_closed
    assert peer.take() == b""


# ---- bodies -------------------------------------------------------------------------------


@pytest.mark.parametrize("message", [sized_post(b"hello")[:-1], chunked_post(b"5\r\nhell")])
def test_a_stalled_body_is_408(peer: Peer, message: bytes) -> None:
    peer.send(message)
    assert due_in(peer) == 20
    peer.wait(19)
    assert not peer.connection.output_finished
    assert peer.wait(1) == [StreamClosed(1, "request body not received in time", 408)]
    assert_timed_out(peer)


def test_a_body_that_never_starts_is_408(peer: Peer) -> None:
    peer.send(post(b"Content-Length: 5"))
    peer.wait(20)
    assert_timed_out(peer)


def test_bytes_buy_time_at_the_minimum_rate(peer: Peer) -> None:
    peer.send(post(b"Content-Length: 1000000"))
    peer.wait(10)
    peer.send(b"x" * 500)
    assert due_in(peer) == 15
    peer.wait(10)
    peer.send(b"x" * 100)
    assert due_in(peer) == 6


def test_bytes_never_buy_more_than_the_whole_timeout(peer: Peer) -> None:
    peer.send(post(b"Content-Length: 1000000"))
    peer.wait(1)
    peer.send(b"x" * 50_000)
    assert due_in(peer) == 20


def test_a_dripping_body_is_408(peer: Peer) -> None:
    peer.send(post(b"Content-Length: 1000000"))
    for _ in range(20):
        peer.wait(1)
        peer.send(b"x")
    assert not peer.connection.output_finished
    peer.wait(1)
    assert_timed_out(peer)


def test_a_body_at_the_minimum_rate_goes_on(peer: Peer) -> None:
    peer.send(post(b"Content-Length: 1000000"))
    for _ in range(100):
        peer.wait(1)
        peer.send(b"x" * 100)
    assert due_in(peer) == 20


def test_no_minimum_rate(limited: Callable[[Limits], Peer]) -> None:
    peer = limited(Limits(min_body_rate=0, request_body_timeout=20))
    peer.send(post(b"Content-Length: 1000000"))
    for _ in range(100):
        peer.wait(19)
        peer.send(b"x")
    peer.wait(20)
    assert_timed_out_body = statuses(peer.take())
    assert assert_timed_out_body == [408]


def test_a_complete_body_ends_the_clock(peer: Peer) -> None:
    peer.send(sized_post(b"hello"))
    assert due_in(peer) is None


def test_no_deadline_while_the_application_does_not_read(peer: Peer) -> None:
    peer.send(post(b"Content-Length: 1000000", body=b"x" * HIGH_WATER))
    assert not peer.connection.wants_data
    assert due_in(peer) is None
    peer.wait(1e6)
    peer.connection.acknowledge(1, HIGH_WATER)
    peer.drain()
    assert due_in(peer) == 20
    peer.wait(20)
    assert_timed_out(peer)


def test_a_stall_after_the_response_has_begun_cuts_it(peer: Peer) -> None:
    peer.send(sized_post(b"hello")[:-1])
    peer.start()
    peer.data(1, b"part")
    assert peer.wait(20) == [StreamClosed(1, "request body not received in time", 0)]
    assert peer.take().endswith(b"4\r\npart\r\n")
    assert peer.lingers


def test_a_stall_in_a_close_delimited_response_is_a_reset(peer: Peer) -> None:
    peer.send(request(b"POST / HTTP/1.0", b"Content-Length: 5"))
    peer.start()
    peer.data(1, b"part")
    peer.wait(20)
    assert peer.connection.aborted


def test_an_unread_rest_is_awaited_only_so_long(peer: Peer) -> None:
    peer.send(sized_post(b"hello")[:-1])
    peer.answer(1)
    assert due_in(peer) == 3
    assert peer.wait(3) == []
    assert peer.connection.is_closed
    assert peer.take() == OK


# ---- the deadline that a command starts ---------------------------------------------------


def test_a_command_has_no_time_so_its_deadline_waits_to_be_told(peer: Peer) -> None:
    peer.send(get())
    connection = peer.connection
    connection.send_headers(1, 200, [(b"content-length", b"0")], True)
    assert connection.next_timeout() == 0.0  # "call handle_timeout as soon as you look"
    connection.handle_timeout(5000.0)
    assert connection.next_timeout() == 5060.0
    assert not connection.is_closed


def test_bytes_tell_the_time_as_well(peer: Peer) -> None:
    peer.send(get())
    connection = peer.connection
    connection.send_headers(1, 200, [(b"content-length", b"0")], True)
    connection.receive_data(b"G", 5000.0)
    assert connection.next_timeout() == 5010.0


def test_body_bytes_start_a_waiting_deadline(peer: Peer) -> None:
    peer.send(post(b"Content-Length: 1000000", body=b"x" * HIGH_WATER))
    connection = peer.connection
    connection.acknowledge(1, HIGH_WATER)
    assert connection.next_timeout() == 0.0
    connection.receive_data(b"x", 5000.0)
    assert connection.next_timeout() == 5020.0


def test_a_pipelined_request_with_a_body_starts_its_clock_when_told(peer: Peer) -> None:
    peer.send(get() + post(b"Content-Length: 5"))
    peer.connection.send_headers(1, 200, [(b"content-length", b"0")], True)
    assert peer.connection.next_timeout() == 0.0
    peer.drain()
    assert due_in(peer) == 20


def test_an_early_look_changes_nothing(peer: Peer) -> None:
    peer.send(b"G")
    peer.connection.handle_timeout(peer.now + 9)
    assert due_in(peer) == 10
    assert peer.connection.events() == []


def test_a_closed_connection_has_no_deadline(peer: Peer) -> None:
    peer.eof()
    assert peer.connection.next_timeout() is None
    peer.connection.handle_timeout(1e9)
    assert peer.take() == b""
