"""Draining a connection (RFC 9113 §6.8): two GOAWAYs with a round trip between them.

The first says "open nothing new" with the highest id there is, so that no request that is under
way is lost. Once the client must have read it, for it has answered a PING, the second names the
last stream that is served.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from hyperserver.protocol.interface import Limits
from tests.engines import h2_frames as wire
from tests.engines.h2_frames import (
    MAX_ID,
    NO_ERROR,
    REFUSED_STREAM,
    GoAway,
    Ping,
    head,
)
from tests.engines.h2_peer import Peer, assert_connection_error, assert_over

Open = Callable[..., Peer]


def draining(peer: Peer) -> bytes:
    """``peer`` once its server has begun to drain; the payload of the server's PING."""
    peer.frames()
    peer.connection.shutdown()
    goaway, ping = peer.frames()
    assert goaway == GoAway(MAX_ID, NO_ERROR)
    assert isinstance(ping, Ping) and not ping.ack
    return ping.payload


def test_an_idle_connection_closes_at_once(h2: Peer) -> None:
    """With a GOAWAY nevertheless: a request may be under way, and has not been served."""
    h2.connection.shutdown()
    h2.drain()
    assert h2.goaways[-1] == GoAway(0, NO_ERROR)
    assert_over(h2)


def test_an_idle_connection_names_the_last_stream(h2: Peer) -> None:
    stream_id = h2.get()
    h2.answer(stream_id)
    h2.connection.shutdown()
    h2.drain()
    assert h2.goaways[-1] == GoAway(stream_id, NO_ERROR)
    assert_over(h2)


@pytest.mark.parametrize("size", [0, 10, 24, 30])
def test_a_connection_that_has_not_begun_closes_as_well(h2_with: Open, size: int) -> None:
    peer = h2_with(greet=False)
    peer.send((wire.PREFACE + wire.settings())[:size])
    peer.connection.shutdown()
    peer.drain()
    assert peer.over
    assert peer.events == []


def test_an_idle_connection_is_given_a_round_trip(h2: Peer) -> None:
    """With grace, a request that crosses the GOAWAY is served and need not be sent again."""
    h2.frames()
    h2.connection.shutdown(5.0)
    goaway, ping = h2.frames()
    assert goaway == GoAway(MAX_ID, NO_ERROR)
    assert isinstance(ping, Ping)
    stream_id = h2.get()
    h2.answer(stream_id, b"served")
    h2.frames()
    assert h2.responses[stream_id].complete
    assert not h2.over
    h2.send(wire.ping(ping.payload, ack=True))
    assert h2.frames() == [GoAway(stream_id, NO_ERROR)]
    assert_over(h2)


def test_an_idle_client_that_does_not_answer_is_waited_for_a_moment(h2: Peer) -> None:
    h2.frames()
    h2.connection.shutdown(5.0)
    h2.frames()
    h2.wait(0.9)
    assert not h2.over
    h2.wait(0.2)
    assert_over(h2)


def test_in_flight_streams_are_finished(h2: Peer) -> None:
    waiting, uploading, sending = h2.get(), h2.post(), h2.get()
    h2.start(sending)
    payload = draining(h2)
    h2.send(wire.ping(payload, ack=True))
    assert h2.frames() == [GoAway(sending, NO_ERROR)]
    h2.data(uploading, b"all of it")
    h2.trailers(uploading, (b"x", b"y"))
    assert h2.body(uploading) == b"all of it"
    assert h2.ended(uploading)
    h2.write(sending, bytes(100_000), end=True)
    h2.grant(0, 1_000_000)
    h2.answer(waiting, b"1")
    h2.answer(uploading, b"2")
    assert not h2.over
    h2.grant(sending, 1_000_000)
    assert all(h2.responses[s].complete for s in (waiting, uploading, sending))
    assert_over(h2)
    assert h2.closed == {}


def test_requests_under_way_are_served(h2: Peer) -> None:
    """Those that come between the first GOAWAY and the PING's answer."""
    first = h2.get()
    payload = draining(h2)
    second = h2.get(b"/under/way")
    assert h2.requests[-1].target == b"/under/way"
    h2.send(wire.ping(payload, ack=True))
    assert h2.frames() == [GoAway(second, NO_ERROR)]
    h2.answer(first)
    assert not h2.over
    h2.answer(second)
    assert_over(h2)


def test_streams_above_the_last_are_not_served(h2: Peer) -> None:
    """Ignored or refused; either way the client knows that it may try elsewhere."""
    first = h2.get()
    payload = draining(h2)
    h2.send(wire.ping(payload, ack=True))
    late = h2.open(head(b"POST", b"/late", (b"x-late", b"1")), end=False)
    h2.data(late, b"body")
    h2.trailers(late, (b"x", b"y"))
    assert [r.stream_id for r in h2.requests] == [first]
    assert h2.responses[late].reset in {None, REFUSED_STREAM}
    assert h2.responses[late].fields is None
    h2.answer(first, b"done")
    assert h2.responses[first].complete
    assert_over(h2)
    assert h2.goaways[-1].last == first


def test_what_is_ignored_keeps_the_connection_in_order(h2: Peer) -> None:
    """HPACK's state and the connection's window are shared with the streams that go on."""
    first = h2.post()
    payload = draining(h2)
    h2.send(wire.ping(payload, ack=True))
    before = h2.credit(0)
    for _ in range(20):
        late = h2.open(head(b"POST", b"/late", (b"x-late", b"1")), end=False)
        h2.upload(late, 100_000)
    assert h2.credit(0) >= before // 2
    h2.trailers(first, (b"x-late", b"1"))
    assert h2.ended(first)
    h2.answer(first)
    assert h2.responses[first].complete


def test_a_client_that_does_not_answer_the_ping(h2: Peer) -> None:
    stream_id = h2.get()
    draining(h2)
    h2.wait(0.9)
    assert h2.frames() == []
    h2.wait(0.2)
    assert h2.frames() == [GoAway(stream_id, NO_ERROR)]
    h2.answer(stream_id)
    assert_over(h2)


def test_the_pings_deadline_is_the_engines_to_ask_for(h2: Peer) -> None:
    h2.get()
    h2.connection.shutdown()
    h2.drain()
    due = h2.connection.next_timeout()
    assert due is not None
    assert due <= h2.now + 1


def test_another_pings_answer_is_not_it(h2: Peer) -> None:
    h2.get()
    payload = draining(h2)
    h2.send(wire.ping(bytes(octet ^ 0xFF for octet in payload), ack=True))
    assert h2.frames() == []
    h2.ping(payload)
    assert h2.frames() == [Ping(payload, ack=True)]
    h2.send(wire.ping(payload, ack=True))
    assert len(h2.frames()) == 1


def test_a_last_stream_that_ends_before_the_answer(h2: Peer) -> None:
    """There is nothing left to wait for: what is under way now is above the last id, so safe."""
    stream_id = h2.get()
    payload = draining(h2)
    h2.answer(stream_id, b"last")
    assert h2.responses[stream_id].complete
    assert h2.goaways[-1] == GoAway(stream_id, NO_ERROR)
    h2.send(wire.ping(payload, ack=True))
    assert_over(h2)
    assert len(h2.goaways) == 2


def test_draining_twice_is_draining(h2: Peer) -> None:
    stream_id = h2.get()
    payload = draining(h2)
    h2.connection.shutdown()
    assert h2.frames() == []
    h2.send(wire.ping(payload, ack=True))
    h2.connection.shutdown()
    assert h2.frames() == [GoAway(stream_id, NO_ERROR)]
    h2.answer(stream_id)
    h2.connection.shutdown()
    assert_over(h2)
    assert len(h2.goaways) == 2


def test_draining_what_is_closed_is_nothing(h2: Peer) -> None:
    h2.eof()
    h2.frames()
    h2.connection.shutdown()
    assert h2.frames() == []


def test_a_stream_that_is_reset_is_no_reason_to_stay(h2: Peer) -> None:
    stream_id = h2.get()
    payload = draining(h2)
    h2.send(wire.ping(payload, ack=True))
    h2.reset(stream_id)
    h2.release(stream_id)
    assert_over(h2)


def test_a_client_that_leaves_while_draining(h2: Peer) -> None:
    stream_id = h2.get()
    draining(h2)
    h2.eof()
    assert stream_id in h2.closed
    assert h2.connection.is_closed


def test_a_fault_while_draining_is_still_named(h2: Peer) -> None:
    stream_id = h2.get()
    draining(h2)
    h2.send(wire.ping(b"short"))
    assert_connection_error(h2, wire.FRAME_SIZE_ERROR)
    assert h2.goaways[-1].last == stream_id


def test_a_stalled_response_does_not_hold_up_the_end_for_ever(h2: Peer) -> None:
    stream_id = h2.get()
    payload = draining(h2)
    h2.send(wire.ping(payload, ack=True))
    h2.answer(stream_id, bytes(100_000))
    assert not h2.over
    h2.wait(h2.options.stall_timeout + 1)
    assert_over(h2)


def test_pings_and_settings_are_answered_while_draining(h2: Peer) -> None:
    stream_id = h2.get()
    payload = draining(h2)
    h2.ping(b"whileing")
    h2.settings({wire.INITIAL_WINDOW_SIZE: 70_000})
    assert h2.frames() == [Ping(b"whileing", ack=True), wire.Settings({}, ack=True)]
    h2.send(wire.ping(payload, ack=True))
    h2.grant(0, 70_000)
    h2.answer(stream_id, bytes(70_000))
    assert h2.responses[stream_id].complete


# ---- the client drains --------------------------------------------------------------------


def test_a_clients_goaway_ends_nothing_that_is_in_flight(h2: Peer) -> None:
    waiting, uploading = h2.get(), h2.post()
    h2.send(wire.goaway(0, NO_ERROR, b"bye"))
    h2.data(uploading, b"rest", end=True)
    assert h2.ended(uploading)
    h2.answer(waiting, b"1")
    h2.answer(uploading, b"2")
    assert h2.responses[waiting].body == b"1"
    assert h2.responses[uploading].body == b"2"
    h2.eof()
    assert h2.connection.is_closed
    assert h2.closed == {}


def test_a_clients_goaway_twice(h2: Peer) -> None:
    stream_id = h2.get()
    h2.send(wire.goaway(MAX_ID) + wire.goaway(0))
    h2.answer(stream_id)
    assert h2.responses[stream_id].complete


def test_an_idle_client_that_says_goodbye_is_not_waited_for(h2_with: Open) -> None:
    """At the latest the keep-alive timeout closes it."""
    peer = h2_with(limits=Limits(keep_alive_timeout=60))
    peer.send(wire.goaway(0))
    peer.wait(61)
    assert peer.over


# ---- what a close is preceded by (G51) ----------------------------------------------------


def test_every_close_of_ours_is_announced_once(h2_with: Open) -> None:
    for cause in ("idle", "shutdown", "fault"):
        peer = h2_with(limits=Limits(keep_alive_timeout=60))
        peer.answer(peer.get())
        if cause == "idle":
            peer.wait(61)
        elif cause == "shutdown":
            peer.connection.shutdown()
        else:
            peer.send(wire.ping(b""))
        peer.drain()
        assert len(peer.goaways) == 1, cause
        assert peer.goaways[0].last == 1
        assert_over(peer)
