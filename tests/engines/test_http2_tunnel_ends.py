"""How tunnels end (RFC 8441 §5): each side for itself, ours with all it had to say, in time."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from hyperserver.errors import LocalProtocolError
from hyperserver.protocol.events import DataReceived, StreamWritable
from hyperserver.protocol.interface import HIGH_WATER, HTTP2Options, Limits
from tests.engines import h2_frames as wire
from tests.engines.h2_frames import (
    CANCEL,
    INTERNAL_ERROR,
    NO_ERROR,
    REFUSED_STREAM,
    Data,
    GoAway,
    Reset,
    Window,
    websocket,
)
from tests.engines.h2_peer import Peer, assert_alive, assert_over

Open = Callable[..., Peer]

LIMITS = Limits(
    keep_alive_timeout=60,
    request_body_timeout=20,
    min_body_rate=100,
    linger_timeout=3,
    max_body_size=1_000,
)
OPTIONS = HTTP2Options(stall_timeout=30)


@pytest.fixture
def timed(h2_with: Open) -> Peer:
    return h2_with(limits=LIMITS, options=OPTIONS)


def tunnel(peer: Peer) -> int:
    stream_id = peer.open(websocket(), end=False)
    peer.connection.accept_tunnel(stream_id, [])
    peer.frames()
    peer.news()
    return stream_id


def ended(peer: Peer) -> int:
    """A tunnel whose server has said all it wants to."""
    stream_id = tunnel(peer)
    peer.write(stream_id, b"bye", end=True)
    assert peer.frames() == [Data(stream_id, b"bye", end=True)]
    return stream_id


def assert_cancelled_after(peer: Peer, stream_id: int, seconds: float) -> None:
    peer.frames()
    peer.wait(seconds - 0.1)
    assert [f for f in peer.frames() if not isinstance(f, Window)] == []
    peer.wait(0.2)
    assert [f for f in peer.frames() if not isinstance(f, Window)] == [Reset(stream_id, CANCEL)]


# ---- the client does not end its side -----------------------------------------------------


def test_a_client_that_does_not_end_its_side_is_not_awaited_for_ever(timed: Peer) -> None:
    stream_id = ended(timed)
    assert_cancelled_after(timed, stream_id, 3)
    assert timed.closed[stream_id].status == 0
    timed.connection.reset_stream(stream_id, "which the application may not know yet")
    timed.release(stream_id)
    assert_alive(timed)


def test_a_command_to_a_cancelled_tunnel_is_dropped_until_the_release(timed: Peer) -> None:
    stream_id = ended(timed)
    timed.wait(3.1)
    timed.frames()
    timed.write(stream_id, b"more")
    assert timed.frames() == []
    timed.release(stream_id)
    with pytest.raises(LocalProtocolError):
        timed.connection.send_data(stream_id, b"more")


def test_nothing_extends_the_time(timed: Peer) -> None:
    """Least of all what it is meant to bound: a client that goes on sending."""
    stream_id = ended(timed)
    for _ in range(2):
        timed.wait(1.4)
        timed.data(stream_id, b"still")
        timed.take(stream_id, 5)
    assert timed.body(stream_id) == b"still" * 2
    assert_cancelled_after(timed, stream_id, 0.2)


def test_nor_do_pieces_of_a_frame(timed: Peer) -> None:
    stream_id = ended(timed)
    octets = wire.frame(wire.DATA, stream_id, bytes(10_000))
    timed.send(octets[:100])
    timed.wait(2.8)
    timed.send(octets[100:9_000])
    assert_cancelled_after(timed, stream_id, 0.2)
    timed.send(octets[9_000:])
    assert_alive(timed)


def test_a_client_that_ends_in_time(timed: Peer) -> None:
    stream_id = ended(timed)
    timed.wait(2.9)
    timed.data(stream_id, b"bye", end=True)
    assert timed.news() == [DataReceived(stream_id, b"bye", True)]
    timed.release(stream_id)
    timed.wait(50)
    assert timed.closed == {}
    assert timed.responses[stream_id].reset is None
    assert_alive(timed)


def test_the_time_begins_when_it_is_told(timed: Peer) -> None:
    stream_id = tunnel(timed)
    connection = timed.connection
    connection.send_data(stream_id, b"bye", end_stream=True)
    connection.data_to_send()
    assert connection.next_timeout() == 0.0
    connection.handle_timeout(5_000.0)
    assert connection.next_timeout() == 5_003.0


def test_the_time_begins_when_the_end_has_gone(timed: Peer) -> None:
    """Until then it is the client's window that everything waits for."""
    timed.grant(0, 1_000_000)
    stream_id = tunnel(timed)
    timed.write(stream_id, bytes(100_000), end=True)
    timed.wait(20)
    assert timed.responses[stream_id].reset is None
    timed.grant(stream_id, 100_000)
    assert timed.responses[stream_id].complete
    assert_cancelled_after(timed, stream_id, 3)
    assert len(timed.responses[stream_id].body) == 100_000


def test_each_tunnel_has_its_own_time(timed: Peer) -> None:
    first = ended(timed)
    timed.wait(2)
    second = ended(timed)
    open_ = tunnel(timed)
    assert_cancelled_after(timed, first, 1)
    assert_cancelled_after(timed, second, 1.9)
    timed.wait(1_000)
    assert set(timed.closed) == {first, second}
    timed.write(open_, b"still here")
    assert timed.responses[open_].body == b"still here"


def test_an_application_that_does_not_end_has_all_the_time(timed: Peer) -> None:
    stream_id = tunnel(timed)
    timed.data(stream_id, b"bye", end=True)
    timed.wait(100_000)
    timed.write(stream_id, b"one more thing")
    timed.wait(100_000)
    timed.write(stream_id, b", bye", end=True)
    assert timed.responses[stream_id].body == b"one more thing, bye"
    assert timed.responses[stream_id].reset is None
    assert timed.closed == {}
    timed.release(stream_id)
    assert_alive(timed)


def test_a_drained_connection_ends_after_that_time(timed: Peer) -> None:
    stream_id = ended(timed)
    timed.release(stream_id)
    timed.connection.shutdown()
    timed.wait(1.1)  # the client does not answer the PING
    assert timed.goaways[-1] == GoAway(stream_id, NO_ERROR)
    assert not timed.over
    timed.wait(2)
    assert timed.responses[stream_id].reset == CANCEL
    assert_over(timed)


def test_a_cancelled_tunnel_has_no_place(h2_with: Open) -> None:
    peer = h2_with(limits=LIMITS, options=HTTP2Options(max_concurrent_streams=1))
    stream_id = ended(peer)
    peer.release(stream_id)
    refused = peer.get()
    assert peer.responses[refused].reset == REFUSED_STREAM
    peer.wait(3.1)
    assert_alive(peer)


def test_the_idle_time_begins_after_the_tunnel(timed: Peer) -> None:
    stream_id = ended(timed)
    timed.release(stream_id)
    timed.wait(3.1)
    timed.wait(59.8)
    assert not timed.over
    timed.wait(0.3)
    assert_over(timed)


# ---- the application has left -------------------------------------------------------------


def test_an_application_that_has_left_is_told_nothing(timed: Peer) -> None:
    stream_id = ended(timed)
    timed.release(stream_id)
    timed.data(stream_id, b"late")
    assert_cancelled_after(timed, stream_id, 3)
    assert timed.news() == []
    assert_alive(timed)


@pytest.mark.parametrize("client_ended", [False, True])
def test_an_application_that_has_left_without_an_end(timed: Peer, client_ended: bool) -> None:
    """Nobody can end our side any more, whether or not the client has ended its own."""
    stream_id = tunnel(timed)
    timed.write(stream_id, b"hel")
    if client_ended:
        timed.data(stream_id, end=True)
    timed.news()
    timed.release(stream_id)
    assert_cancelled_after(timed, stream_id, 3)
    assert not timed.responses[stream_id].complete
    assert timed.news() == []
    assert_alive(timed)


def test_leaving_starts_no_second_time(timed: Peer) -> None:
    stream_id = ended(timed)
    timed.wait(2)
    timed.release(stream_id)
    assert_cancelled_after(timed, stream_id, 1)


def test_a_client_may_still_end_when_the_application_has_left(timed: Peer) -> None:
    stream_id = ended(timed)
    timed.release(stream_id)
    timed.data(stream_id, b"bye", end=True)
    timed.wait(50)
    assert timed.news() == []
    assert timed.responses[stream_id].reset is None
    assert_alive(timed)


def test_a_client_may_reset_when_the_application_has_left(timed: Peer) -> None:
    stream_id = ended(timed)
    timed.release(stream_id)
    timed.reset(stream_id)
    timed.wait(50)
    assert timed.news() == []
    assert_alive(timed)


def test_what_arrives_for_nobody_is_given_back(timed: Peer) -> None:
    """So that it can neither hold up the connection nor keep the tunnel from its end."""
    stream_id = ended(timed)
    timed.release(stream_id)
    whole, own = timed.credit(0), timed.credit(stream_id)
    for _ in range(100):
        assert timed.credit(stream_id) >= 16_000
        timed.data(stream_id, bytes(15_000), pad=200)
    assert timed.news() == []
    assert timed.credit(0) > whole // 2
    assert timed.credit(stream_id) > own // 2
    timed.data(stream_id, b"bye", end=True)
    assert_alive(timed)


def test_what_a_tunnel_held_is_given_back_once(timed: Peer) -> None:
    """The application took some, left, and its driver acknowledges what it had not been given."""
    own = timed.credit(stream_id := ended(timed))
    timed.upload(stream_id, 100_000)
    timed.take(stream_id, 30_000)
    timed.release(stream_id)
    assert timed.credit(stream_id) >= own
    given = timed.credit(0), timed.credit(stream_id)
    timed.take(stream_id, 70_000)
    assert (timed.credit(0), timed.credit(stream_id)) == given
    timed.wait(3.1)
    assert_alive(timed)


def test_what_comes_after_the_cancel_is_given_back(timed: Peer) -> None:
    stream_id = ended(timed)
    timed.wait(3.1)
    timed.release(stream_id)
    before = timed.credit(0)
    timed.upload(stream_id, 100_000)
    assert timed.credit(0) >= before - 16_384
    assert_alive(timed)


def test_trailers_for_nobody(timed: Peer) -> None:
    stream_id = ended(timed)
    timed.release(stream_id)
    timed.trailers(stream_id, (b"x", b"y"))
    assert timed.responses[stream_id].reset == wire.PROTOCOL_ERROR
    assert timed.news() == []
    assert_alive(timed)


@pytest.mark.parametrize("end", [False, True])
def test_trailers_after_our_end_are_a_stream_error(timed: Peer, end: bool) -> None:
    """With END_STREAM, it is the faulty frame that closes the stream."""
    stream_id = ended(timed)
    timed.send(timed.writer.headers(stream_id, [(b"x", b"y")], end))
    assert timed.responses[stream_id].reset == wire.PROTOCOL_ERROR
    assert stream_id in timed.closed
    timed.release(stream_id)
    assert_alive(timed)


def test_a_content_length_that_is_wrong_at_the_last(timed: Peer) -> None:
    stream_id = timed.open(websocket((b"content-length", b"5")), end=False)
    timed.connection.accept_tunnel(stream_id, [])
    timed.write(stream_id, b"bye", end=True)
    timed.data(stream_id, b"1234", end=True)
    assert timed.responses[stream_id].reset == wire.PROTOCOL_ERROR
    assert stream_id in timed.closed
    timed.release(stream_id)
    assert_alive(timed)


# ---- resets -------------------------------------------------------------------------------


@pytest.mark.parametrize("after", ["nothing", "data", "an end that waits", "the end"])
def test_a_tunnel_is_reset_with_cancel(timed: Peer, after: str) -> None:
    stream_id = tunnel(timed)
    if after != "nothing":
        timed.write(stream_id, bytes(100_000 if "waits" in after else 10), end="end" in after)
    timed.frames()
    timed.connection.reset_stream(stream_id, "test")
    assert timed.frames() == [Reset(stream_id, CANCEL)]
    timed.release(stream_id)
    timed.grant(0, 100_000)
    assert_alive(timed)


def test_other_streams_are_reset_with_internal_error(timed: Peer) -> None:
    """Also one that asked for a tunnel and has not got it."""
    for stream_id in (timed.get(), timed.open(websocket(), end=False)):
        timed.start(stream_id, 403)
        timed.frames()
        timed.connection.reset_stream(stream_id, "test")
        assert timed.frames() == [Reset(stream_id, INTERNAL_ERROR)]
        timed.release(stream_id)
    assert_alive(timed)


def test_a_denial_is_not_made_a_tunnel_by_a_late_acceptance(timed: Peer) -> None:
    stream_id = timed.open(websocket(), end=False)
    timed.start(stream_id, 403)
    with pytest.raises(LocalProtocolError):
        timed.connection.accept_tunnel(stream_id, [])
    timed.write(stream_id, b"no", end=True)
    assert timed.responses[stream_id].reset == NO_ERROR
    timed.release(stream_id)
    assert_alive(timed)


# ---- output that waits --------------------------------------------------------------------


def test_the_last_output_waits_for_the_window(timed: Peer) -> None:
    """Also when the application has left: it has ended its side, and nothing of it is lost."""
    timed.grant(0, 1_000_000)
    stream_id = tunnel(timed)
    timed.write(stream_id, bytes(65_535))
    timed.write(stream_id, b"last words", end=True)
    assert timed.connection.buffered(stream_id) == 10
    assert timed.connection.holds_output
    timed.release(stream_id)
    timed.wait(29)
    assert timed.connection.buffered(stream_id) == 10
    timed.grant(stream_id, 4)
    assert timed.connection.buffered(stream_id) == 6
    timed.grant(stream_id, 100)
    assert timed.connection.buffered(stream_id) == 0
    response = timed.responses[stream_id]
    assert (response.body[-10:], response.complete, response.reset) == (b"last words", True, None)
    timed.data(stream_id, end=True)
    assert_alive(timed)


def test_output_that_waits_too_long_is_a_stall(timed: Peer) -> None:
    timed.grant(0, 1_000_000)
    stream_id, other = tunnel(timed), timed.get()
    timed.write(stream_id, bytes(100_000), end=True)
    timed.release(stream_id)
    timed.news()
    assert_cancelled_after(timed, stream_id, 30)
    assert timed.news() == []
    assert not timed.connection.holds_output
    timed.answer(other)
    assert_alive(timed)


def test_progress_is_no_stall(timed: Peer) -> None:
    timed.grant(0, 1_000_000)
    stream_id = tunnel(timed)
    timed.write(stream_id, bytes(100_000), end=True)
    for _ in range(10):
        timed.wait(29)
        timed.grant(stream_id, 2_000)
    assert timed.closed == {}
    timed.grant(stream_id, 100_000)
    assert timed.responses[stream_id].complete


def test_room_for_more_is_reported(timed: Peer) -> None:
    timed.grant(0, 1_000_000)
    stream_id = tunnel(timed)
    timed.write(stream_id, bytes(65_535 + HIGH_WATER + 1))
    assert timed.connection.buffered(stream_id) == HIGH_WATER + 1
    assert timed.news() == []
    timed.grant(stream_id, 1)
    assert timed.news() == [StreamWritable(stream_id)]
    assert timed.connection.buffered(stream_id) == HIGH_WATER


# ---- what is for requests only ------------------------------------------------------------


def test_a_tunnel_has_no_size(timed: Peer) -> None:
    stream_id = tunnel(timed)
    for _ in range(10):
        timed.upload(stream_id, 50_000)
        timed.take(stream_id, 50_000)
    assert len(timed.body(stream_id)) == 500_000
    assert timed.closed == {}


def test_nor_has_one_that_is_not_accepted_yet(timed: Peer) -> None:
    stream_id = timed.open(websocket(), end=False)
    timed.upload(stream_id, 50_000)
    timed.wait(10_000)
    assert timed.closed == {}
    timed.connection.accept_tunnel(stream_id, [])
    assert len(timed.body(stream_id)) == 50_000


def test_a_tunnel_has_no_least_speed(timed: Peer) -> None:
    stream_id = tunnel(timed)
    for _ in range(10):
        timed.wait(1_000)
        timed.data(stream_id, b".")
        timed.take(stream_id, 1)
    frame = wire.frame(wire.DATA, stream_id, b"slowly")
    for octet in frame[:8], frame[8:10], frame[10:]:
        timed.wait(5)
        timed.send(octet)
    assert timed.body(stream_id) == b"." * 10 + b"slowly"
    assert timed.closed == {}


def test_a_connection_with_a_tunnel_is_not_idle(timed: Peer) -> None:
    stream_id = tunnel(timed)
    timed.wait(100_000)
    assert not timed.over
    assert_alive(timed)
    timed.wait(100_000)
    timed.write(stream_id, b"here")
    assert timed.responses[stream_id].body == b"here"
