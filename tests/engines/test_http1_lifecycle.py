"""How connections begin, drain, half-close, linger and end."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from hyperserver.protocol.events import (
    InputClosed,
    RequestRefused,
    StreamClosed,
)
from hyperserver.protocol.interface import HIGH_WATER, Limits
from tests.engines.playbook import (
    OK,
    OK_CLOSE,
    Peer,
    chunked_post,
    get,
    post,
    request,
    sized_post,
    statuses,
)

LENGTH_9 = (b"content-length", b"9")


def test_a_new_connection_wants_data_and_is_open(peer: Peer) -> None:
    connection = peer.connection
    assert (connection.http_version, connection.wants_data) == ("1.1", True)
    assert (connection.is_closed, connection.output_finished, connection.aborted) == (False,) * 3
    assert peer.connection.events() == []
    assert peer.connection.data_to_send() == b""


@pytest.mark.parametrize("size", range(1, 8))
def test_a_first_piece_of_any_size_is_only_a_beginning(engine: str, size: int) -> None:
    peer = Peer(engine)
    peer.send(get()[:size])
    peer.send(get()[size:])
    peer.answer()
    assert peer.take() == OK


def test_no_data_is_no_news(peer: Peer) -> None:
    deadline = peer.connection.next_timeout()
    peer.connection.receive_data(b"", peer.now + 5)
    assert peer.connection.next_timeout() == deadline
    assert peer.connection.events() == []


# ---- the unread rest of a body ------------------------------------------------------------


@pytest.mark.parametrize(
    "send", [sized_post, lambda b: chunked_post(b"%x\r\n%b\r\n0\r\n\r\n" % (len(b), b))]
)
def test_a_small_unread_body_is_drained_and_the_connection_kept(
    client: Peer, send: Callable[[bytes], bytes]
) -> None:
    message = send(b"x" * 2000)
    client.send(message[:200])
    client.answer(1)
    events = len(client.events)
    client.send(message[200:])
    assert client.events[events:] == []  # nobody wants it
    client.send(get(b"/next"))
    client.answer(3)
    assert client.take() == OK + OK


def test_a_large_announced_rest_is_not_awaited(peer: Peer) -> None:
    peer.send(post(b"Content-Length: 1000000"))
    peer.answer(1)
    assert peer.lingers


def test_a_chunked_rest_is_drained_only_so_far(peer: Peer) -> None:
    peer.send(chunked_post(b"fffff\r\n"))
    peer.answer(1)
    peer.send(b"x" * 200_000)
    assert not peer.connection.output_finished
    peer.send(b"x" * 200_000)
    assert peer.lingers


def test_a_drained_body_gives_its_credit_back(peer: Peer) -> None:
    peer.send(post(b"Content-Length: 200000", body=b"x" * HIGH_WATER))
    assert not peer.connection.wants_data
    peer.answer(1)
    assert peer.connection.wants_data
    peer.connection.acknowledge(1, HIGH_WATER)  # too late, and harmless
    peer.send(b"x" * (200_000 - HIGH_WATER))
    peer.send(get(b"/next"))
    assert [r.target for r in peer.requests] == [b"/", b"/next"]


def test_an_unread_body_that_breaks_off_closes_quietly(peer: Peer) -> None:
    peer.send(sized_post(b"hello")[:-2])
    peer.answer(1)
    assert peer.eof() == []
    assert peer.take() == OK
    assert peer.connection.is_closed


# ---- backpressure -------------------------------------------------------------------------


def test_body_bytes_are_credit_until_acknowledged(peer: Peer) -> None:
    peer.send(post(b"Content-Length: 1000000", body=b"x" * (HIGH_WATER - 1)))
    assert peer.connection.wants_data
    peer.send(b"x")
    assert not peer.connection.wants_data
    peer.connection.acknowledge(3, 1)  # another stream's
    assert not peer.connection.wants_data
    peer.connection.acknowledge(1, 1)
    assert peer.connection.wants_data


def test_pipelined_bytes_are_not_read_without_end(peer: Peer) -> None:
    peer.send(get(b"/1"))
    flood = get(b"/2") * (HIGH_WATER // len(get(b"/2")) + 1)
    peer.send(flood)
    assert not peer.connection.wants_data
    peer.answer(1)
    peer.answer(3)
    assert peer.connection.wants_data


def test_reading_resumes_for_a_next_head_that_is_large(
    limited: Callable[[Limits], Peer],
) -> None:
    peer = limited(Limits(max_head_size=3 * HIGH_WATER))
    large = get(b"/2", b"X: " + b"x" * (2 * HIGH_WATER))
    peer.send(get(b"/1") + large[:-10])
    assert not peer.connection.wants_data
    peer.answer(1)
    assert peer.connection.wants_data
    peer.send(large[-10:])
    assert [r.target for r in peer.requests] == [b"/1", b"/2"]


# ---- the client closes --------------------------------------------------------------------


def test_closing_an_idle_connection(peer: Peer) -> None:
    assert peer.eof() == []
    assert peer.connection.is_closed
    assert peer.take() == b""


def test_closing_between_requests(peer: Peer) -> None:
    peer.send(get())
    peer.answer(1)
    assert peer.eof() == []
    assert peer.connection.is_closed


def test_closing_in_the_middle_of_a_head_is_refused(client: Peer) -> None:
    client.send(get()[:-1])
    (refusal,) = client.eof()
    assert isinstance(refusal, RequestRefused)
    assert refusal.status == 400
    assert statuses(client.take()) == [400]
    assert client.connection.is_closed


@pytest.mark.parametrize(
    "message", [sized_post(b"hello")[:-1], chunked_post(b"5\r\nhello\r\n0\r\n")]
)
def test_closing_in_the_middle_of_a_body_ends_the_stream(client: Peer, message: bytes) -> None:
    client.send(message)
    assert client.eof() == [StreamClosed(1, "incomplete request body")]
    assert client.connection.is_closed
    assert not client.connection.aborted
    assert not client.body_complete


def test_a_close_delimited_response_cut_by_a_broken_request_is_a_reset(peer: Peer) -> None:
    """An ordinary close would tell the client that the response is complete."""
    peer.send(request(b"POST / HTTP/1.0", b"Content-Length: 5"))
    peer.start()
    peer.data(1, b"part")
    peer.eof()
    assert peer.connection.is_closed
    assert peer.connection.aborted


def test_a_half_closed_client_still_gets_its_answer(client: Peer) -> None:
    client.send(sized_post(b"hello"))
    assert client.eof() == [InputClosed(1)]
    assert not client.connection.is_closed
    client.start(1, 200, LENGTH_9)
    client.data(1, b"123456789", end=True)
    assert client.take().endswith(b"\r\nconnection: close\r\n\r\n123456789")
    assert client.connection.is_closed


def test_half_close_during_the_response(peer: Peer) -> None:
    peer.send(get())
    peer.start(1, 200, LENGTH_9)
    assert peer.eof() == [InputClosed(1)]
    peer.data(1, b"123456789", end=True)
    assert peer.take().endswith(b"\r\n\r\n123456789")
    assert peer.connection.is_closed


def test_half_close_behind_an_incomplete_pipelined_request(peer: Peer) -> None:
    peer.send(get() + get()[:5])
    peer.eof()
    peer.answer(1)
    assert statuses(peer.take()) == [200, 400]
    assert peer.connection.is_closed


def test_half_close_behind_a_pipelined_body_that_breaks_off(peer: Peer) -> None:
    peer.send(get() + sized_post(b"hello")[:-1])
    peer.eof()
    peer.answer(1)
    assert peer.events[-1] == StreamClosed(3, "incomplete request body")
    assert peer.connection.is_closed


# ---- lingering ----------------------------------------------------------------------------


def test_lingering_ends_when_the_client_closes(peer: Peer) -> None:
    peer.send(get(b"/", b"Connection: close"))
    peer.answer(1)
    assert peer.lingers
    assert peer.connection.wants_data  # to discard, and to see the close
    peer.send(b"x" * 1_000_000)
    assert peer.lingers
    assert peer.eof() == []
    assert peer.connection.is_closed


def test_lingering_ends_when_time_is_up(peer: Peer) -> None:
    peer.send(get(b"/", b"Connection: close"))
    peer.answer(1)
    peer.wait(4.9)
    peer.send(b"more")  # buys no time
    assert peer.lingers
    peer.wait(0.2)
    assert peer.connection.is_closed


# ---- cutting a response short -------------------------------------------------------------


def test_resetting_a_chunked_response_omits_the_last_chunk(peer: Peer) -> None:
    peer.send(get())
    peer.start()
    peer.data(1, b"part")
    peer.connection.reset_stream(1, "app failed")
    assert peer.take().endswith(b"\r\n\r\n4\r\npart\r\n")
    assert peer.lingers
    assert not peer.connection.aborted


def test_resetting_a_sized_response_leaves_it_short(peer: Peer) -> None:
    peer.send(get() + get(b"/next"))
    peer.start(1, 200, LENGTH_9)
    peer.data(1, b"1234")
    peer.connection.reset_stream(1, "app failed")
    assert peer.take().endswith(b"\r\n\r\n1234")
    assert peer.lingers
    assert len(peer.requests) == 1


def test_resetting_a_close_delimited_response_aborts(peer: Peer) -> None:
    peer.send(request(b"GET / HTTP/1.0"))
    peer.start()
    peer.data(1, b"part")
    peer.connection.reset_stream(1, "app failed")
    assert peer.connection.aborted
    assert peer.connection.is_closed


def test_resetting_before_the_response_closes_without_one(peer: Peer) -> None:
    peer.send(get())
    peer.connection.reset_stream(1, "app failed")
    assert peer.take() == b""
    assert peer.lingers


def test_resetting_a_stream_that_is_over_changes_nothing(peer: Peer) -> None:
    peer.send(get())
    peer.answer(1)
    peer.connection.reset_stream(1, "late")
    peer.send(get())
    peer.connection.reset_stream(1, "later")
    peer.answer(3)
    assert peer.take() == OK + OK


def test_there_is_nothing_to_reset_before_a_request(peer: Peer) -> None:
    peer.connection.reset_stream(1, "early")
    peer.send(get())
    peer.answer(1)
    assert peer.take() == OK


# ---- draining -----------------------------------------------------------------------------


def test_shutdown_closes_an_idle_connection(peer: Peer) -> None:
    peer.send(get())
    peer.answer(1)
    peer.connection.shutdown()
    assert peer.take() == OK
    assert peer.connection.is_closed


def test_shutdown_lets_the_request_in_flight_finish_and_says_close(peer: Peer) -> None:
    peer.send(get())
    peer.connection.shutdown()
    assert not peer.connection.is_closed
    peer.answer(1)
    assert peer.take() == OK_CLOSE
    assert peer.lingers


def test_shutdown_serves_the_head_that_has_begun_to_come(client: Peer) -> None:
    client.send(get()[:10])
    client.connection.shutdown()
    client.send(get()[10:])
    client.answer(1)
    assert client.take() == OK_CLOSE


def test_shutdown_lets_a_body_finish(peer: Peer) -> None:
    peer.send(sized_post(b"hello")[:-1])
    peer.connection.shutdown()
    peer.send(b"o")
    peer.answer(1)
    assert (peer.body, peer.take()) == (b"hello", OK_CLOSE)


def test_shutdown_after_the_head_closes_without_having_said_so(peer: Peer) -> None:
    peer.send(get())
    peer.start(1, 200, LENGTH_9)
    peer.connection.shutdown()
    peer.data(1, b"123456789", end=True)
    assert b"connection" not in peer.take()
    assert peer.lingers


def test_shutdown_with_grace_serves_one_more_request(peer: Peer) -> None:
    """It may have been on its way: neither a fresh connection nor an idle one is closed at once."""
    peer.connection.shutdown(2.0)
    assert not peer.connection.is_closed
    peer.send(get())
    peer.answer(1)
    assert peer.take() == OK_CLOSE
    assert peer.lingers


def test_shutdown_with_grace_after_a_promise_to_keep_the_connection(peer: Peer) -> None:
    peer.send(get())
    peer.start(1, 200, LENGTH_9)
    peer.connection.shutdown(2.0)
    peer.data(1, b"123456789", end=True)
    assert not peer.lingers
    peer.send(get())
    peer.answer(3)
    assert peer.take().endswith(OK_CLOSE)
    assert peer.lingers


@pytest.mark.parametrize("used", [False, True])
def test_the_grace_of_a_shutdown_ends(peer: Peer, used: bool) -> None:
    if used:
        peer.send(get())
        peer.answer(1)
    peer.connection.shutdown(2.0)
    peer.connection.handle_timeout(peer.now)
    assert peer.connection.next_timeout() == peer.now + 2.0
    peer.connection.handle_timeout(peer.now + 1.9)
    assert not peer.connection.is_closed
    peer.connection.handle_timeout(peer.now + 2.0)
    assert peer.connection.is_closed


@pytest.mark.parametrize(
    ("behind", "answers"), [(get(), [200, 200]), (b"\r\n", [200]), (get()[:5], [200])]
)
def test_shutdown_after_the_head_with_bytes_behind_it(
    peer: Peer, behind: bytes, answers: list[int]
) -> None:
    """A request that is already here is served; after that the connection closes."""
    peer.send(get())
    peer.start(1, 200, LENGTH_9)
    peer.send(behind)
    peer.connection.shutdown()
    peer.data(1, b"123456789", end=True)
    if len(peer.requests) == 2:
        peer.answer(3)
    output = peer.take()
    assert statuses(output) == answers
    assert peer.lingers == (len(answers) == 2)
    assert peer.connection.is_closed == (behind == b"\r\n")
    assert (b"connection: close" in output) == (len(answers) == 2)
