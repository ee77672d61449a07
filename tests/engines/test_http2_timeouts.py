"""Deadlines of an HTTP/2 connection: everything that a client may wait for with impunity ends."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from hyperserver.protocol.events import RequestReceived
from hyperserver.protocol.interface import HTTP2Options, Limits
from tests.engines import h2_frames as wire
from tests.engines.h2_frames import (
    ENHANCE_YOUR_CALM,
    NO_ERROR,
    PREFACE,
    SETTINGS_TIMEOUT,
    GoAway,
    Reset,
    head,
)
from tests.engines.h2_peer import (
    Peer,
    assert_alive,
    assert_connection_error,
    assert_over,
)

Open = Callable[..., Peer]

LIMITS = Limits(
    request_head_timeout=10,
    keep_alive_timeout=60,
    request_body_timeout=20,
    min_body_rate=100,
    linger_timeout=3,
)
OPTIONS = HTTP2Options(settings_timeout=5, stall_timeout=30)


@pytest.fixture
def timed(h2_with: Open) -> Peer:
    return h2_with(limits=LIMITS, options=OPTIONS)


@pytest.fixture
def silent(h2_with: Open) -> Peer:
    """A client that has connected and said nothing."""
    return h2_with(limits=LIMITS, options=OPTIONS, greet=False)


# ---- beginnings ---------------------------------------------------------------------------


def test_a_client_that_says_nothing(silent: Peer) -> None:
    silent.drain()
    due = silent.connection.next_timeout()
    assert due is not None and due <= silent.now + 10
    silent.wait(9.9)
    assert not silent.over
    silent.wait(0.2)
    assert silent.over
    assert silent.events == []


def test_a_preface_octet_by_octet_is_awaited_as_a_whole(silent: Peer) -> None:
    for position in range(len(PREFACE)):
        silent.send(PREFACE[position : position + 1])
        silent.wait(0.5)
        if silent.over:
            break
    assert silent.now - 1000 == pytest.approx(10, abs=0.5)


def test_the_preface_includes_settings(silent: Peer) -> None:
    silent.send(PREFACE)
    silent.wait(10.1)
    assert silent.over


def test_settings_that_are_never_acknowledged(silent: Peer) -> None:
    silent.reader.sent_settings({})
    silent.send(PREFACE + wire.settings())
    silent.wait(4.9)
    assert not silent.goaways
    silent.wait(0.2)
    assert_connection_error(silent, SETTINGS_TIMEOUT)


def test_requests_do_not_acknowledge_settings(silent: Peer) -> None:
    silent.reader.sent_settings({})
    silent.send(PREFACE + wire.settings())
    stream_id = silent.get()
    silent.wait(5.1)
    assert_connection_error(silent, SETTINGS_TIMEOUT)
    assert stream_id in silent.closed


@pytest.mark.parametrize("others", [False, True])
def test_a_field_block_that_is_never_finished(timed: Peer, others: bool) -> None:
    """Nothing else can be read behind it, so it costs the connection, whoever else is on it."""
    stream_id = timed.get() if others else 0
    block = timed.writer.block(head())
    timed.send(wire.frame(wire.HEADERS, 3, block[:2], wire.END_STREAM))
    timed.wait(9.9)
    assert not timed.over
    timed.wait(0.2)
    assert_over(timed)
    assert set(timed.closed) == {stream_id} - {0}
    assert len(timed.goaways) == 1


def test_a_block_is_awaited_as_a_whole(timed: Peer) -> None:
    timed.send(wire.frame(wire.HEADERS, 1, timed.writer.block(head()), wire.END_STREAM))
    started = timed.now
    while not timed.over and timed.now < started + 60:
        timed.wait(1)
        timed.send(wire.frame(wire.CONTINUATION, 1, b""))
    assert timed.now - started == pytest.approx(10, abs=1)
    assert timed.events == []


@pytest.mark.parametrize("size", [9, 12])
def test_a_headers_frame_that_is_never_finished(timed: Peer, size: int) -> None:
    timed.send(timed.writer.headers(1, head(), end=True)[:size])
    timed.wait(10.1)
    assert_over(timed)


def test_a_finished_block_has_no_deadline(timed: Peer) -> None:
    timed.send(timed.writer.headers(1, head(), end=True, split=10))
    timed.wait(1_000)
    assert not timed.over
    timed.answer(1, b"at last")
    assert timed.responses[1].body == b"at last"


# ---- idle connections ---------------------------------------------------------------------


def test_an_idle_connection_is_closed(timed: Peer) -> None:
    timed.wait(59.9)
    assert not timed.over
    timed.wait(0.1)
    assert timed.goaways == [GoAway(0, NO_ERROR)]
    assert_over(timed)
    assert timed.events == []


def test_idle_time_counts_from_the_last_response(timed: Peer) -> None:
    timed.wait(50)
    stream_id = timed.get()
    timed.wait(500)
    timed.answer(stream_id)
    timed.wait(59.9)
    assert not timed.over
    timed.wait(0.2)
    assert timed.goaways == [GoAway(stream_id, NO_ERROR)]
    assert_over(timed)


def test_a_request_in_time_keeps_the_connection(timed: Peer) -> None:
    for _ in range(5):
        timed.wait(59)
        timed.answer(timed.get())
    assert not timed.over


@pytest.mark.parametrize(
    "octets",
    [
        wire.ping(),
        wire.window_update(0, 1),
        wire.settings_ack(),
        wire.priority(1),
        wire.frame(0x42, 0, b"x"),
    ],
    ids=["ping", "window-update", "settings-ack", "priority", "unknown"],
)
def test_only_streams_keep_a_connection(timed: Peer, octets: bytes) -> None:
    """J7: a client that pings for ever is idle all the same."""
    for _ in range(12):
        timed.wait(5)
        timed.send(octets)
    timed.wait(1)
    assert timed.over


def test_a_connection_with_a_stream_is_not_idle(timed: Peer) -> None:
    stream_id = timed.get()
    timed.wait(10_000)
    timed.answer(stream_id, b"slow application")
    assert timed.responses[stream_id].complete


def test_a_response_on_its_way_is_not_idle(timed: Peer) -> None:
    """It is measured by the stall timeout, so long as it moves."""
    stream_id = timed.get()
    timed.answer(stream_id, bytes(200_000))
    for _ in range(10):
        timed.wait(20)
        timed.grant(0, 10_000)
        timed.grant(stream_id, 10_000)
    assert len(timed.responses[stream_id].body) == 165_535
    assert not timed.goaways


def test_a_reset_stream_makes_a_connection_idle(timed: Peer) -> None:
    stream_id = timed.post()
    timed.wait(15)
    timed.reset(stream_id)
    timed.release(stream_id)
    timed.wait(59.9)
    assert not timed.over
    timed.wait(0.2)
    assert timed.over


# ---- request bodies -----------------------------------------------------------------------


def assert_timed_out(peer: Peer, stream_id: int) -> None:
    assert peer.closed[stream_id].status == 408
    response = peer.responses[stream_id]
    assert (response.status, response.complete, response.reset) == (408, True, NO_ERROR)
    peer.release(stream_id)
    assert_alive(peer)


@pytest.mark.parametrize("begun", [b"", b"some"])
def test_a_body_that_does_not_come(timed: Peer, begun: bytes) -> None:
    stream_id = timed.post((b"content-length", b"100"))
    if begun:
        timed.data(stream_id, begun)
    timed.wait(19.9)
    assert timed.closed == {}
    timed.wait(0.2)
    assert_timed_out(timed, stream_id)


def test_a_body_that_drips(timed: Peer) -> None:
    """J6: a byte now and then is no progress below the minimum rate."""
    stream_id = timed.post()
    for _ in range(20):
        timed.wait(4)
        if stream_id in timed.closed:
            break
        timed.data(stream_id, b"x")
        timed.take(stream_id, 1)
    assert_timed_out(timed, stream_id)


@pytest.mark.parametrize("pad", [None, 200])
def test_frames_without_content_are_no_progress(timed: Peer, pad: int | None) -> None:
    stream_id = timed.post()
    for _ in range(7):
        timed.wait(4)
        if stream_id in timed.closed:
            break
        timed.data(stream_id, b"", pad=pad)
    assert_timed_out(timed, stream_id)


def test_a_body_at_a_modest_rate_is_let_be(timed: Peer) -> None:
    stream_id = timed.post()
    for _ in range(100):
        timed.wait(4)
        timed.data(stream_id, bytes(1_000))
        timed.take(stream_id, 1_000)
    timed.data(stream_id, end=True)
    assert timed.closed == {}
    assert timed.ended(stream_id)


def test_streams_stall_separately(timed: Peer) -> None:
    stalled, moving = timed.post(), timed.post()
    for _ in range(10):
        timed.wait(4)
        timed.data(moving, bytes(5_000))
        timed.take(moving, 5_000)
    assert set(timed.closed) == {stalled}
    timed.data(moving, b"end", end=True)
    assert timed.ended(moving)


def test_a_whole_body_has_no_deadline(timed: Peer) -> None:
    stream_id = timed.post()
    timed.data(stream_id, b"all", end=True)
    timed.wait(10_000)
    assert timed.closed == {}


def test_no_deadline_while_the_application_does_not_read(timed: Peer) -> None:
    """A client without credit cannot go on."""
    stream_id = timed.post()
    while size := min(16_384, timed.credit(stream_id)):
        timed.data(stream_id, bytes(size))
    timed.wait(10_000)
    assert timed.closed == {}
    taken = len(timed.body(stream_id))
    timed.take(stream_id, taken)
    assert timed.credit(stream_id) > 0
    timed.wait(19.9)
    assert timed.closed == {}
    timed.wait(0.2)
    assert_timed_out(timed, stream_id)


def test_a_stall_after_the_response_has_begun_cuts_it(timed: Peer) -> None:
    stream_id = timed.post()
    timed.start(stream_id)
    timed.write(stream_id, b"part")
    timed.wait(20.1)
    assert timed.closed[stream_id].status == 0
    response = timed.responses[stream_id]
    assert (response.status, response.body, response.complete) == (200, b"part", False)
    assert response.reset not in {None, NO_ERROR}
    timed.release(stream_id)
    assert_alive(timed)


def test_an_answered_request_is_not_awaited(timed: Peer) -> None:
    stream_id = timed.post()
    timed.answer(stream_id, b"enough")
    timed.wait(30)
    assert timed.closed == {}
    assert timed.responses[stream_id].status == 200


def test_trailers_that_do_not_come(timed: Peer) -> None:
    stream_id = timed.post((b"content-length", b"4"))
    timed.data(stream_id, b"body")
    timed.wait(20.1)
    assert_timed_out(timed, stream_id)


def test_a_body_is_awaited_no_longer_after_a_goaway_that_is_not_read(timed: Peer) -> None:
    stream_id = timed.post()
    timed.connection.shutdown()
    timed.wait(1.5)  # the final GOAWAY is late, and nothing else
    assert [g.error for g in timed.goaways] == [NO_ERROR] * 2
    timed.wait(18.6)
    assert timed.closed[stream_id].status == 408
    assert_over(timed)


# ---- responses that cannot leave ----------------------------------------------------------


def test_a_stream_without_credit_is_given_up(timed: Peer) -> None:
    timed.grant(0, 1_000_000)
    stream_id = timed.get()
    timed.start(stream_id)
    timed.write(stream_id, bytes(100_000))
    other = timed.get()
    timed.wait(29.9)
    assert timed.closed == {}
    timed.frames()
    timed.wait(0.2)
    assert [type(f) for f in timed.frames()] == [Reset]
    assert timed.responses[stream_id].reset != NO_ERROR
    assert stream_id in timed.closed
    assert timed.connection.buffered(stream_id) == 0
    timed.release(stream_id)
    timed.answer(other)
    assert_alive(timed)


def test_a_client_of_nothing_but_stalled_streams_is_dropped(timed: Peer) -> None:
    timed.grant(0, 1_000_000)
    stream_id = timed.get()
    timed.start(stream_id)
    timed.write(stream_id, bytes(100_000))
    timed.wait(30.1)
    assert timed.responses[stream_id].reset is not None
    assert_connection_error(timed, ENHANCE_YOUR_CALM)


def test_a_released_stream_without_credit_is_given_up_as_well(timed: Peer) -> None:
    """No application is left to be told, yet memory is held."""
    timed.grant(0, 1_000_000)
    stream_id = timed.get()
    timed.answer(stream_id, bytes(100_000))
    timed.wait(30.1)
    assert timed.responses[stream_id].reset not in {None, NO_ERROR}
    assert not timed.connection.holds_output


def test_a_connection_without_credit_is_given_up(timed: Peer) -> None:
    streams = [timed.get(), timed.get()]
    for stream_id in streams:
        timed.start(stream_id)
        timed.write(stream_id, bytes(60_000))
    timed.wait(29.9)
    assert not timed.over
    timed.wait(0.2)
    assert len(timed.goaways) == 1
    assert set(timed.closed) == set(streams)
    assert_over(timed)


def test_credit_in_time_starts_the_clock_anew(timed: Peer) -> None:
    timed.grant(0, 1_000_000)
    stream_id = timed.get()
    timed.answer(stream_id, bytes(100_000))
    for _ in range(10):
        timed.wait(29)
        timed.grant(stream_id, 3_000)
    assert timed.closed == {}
    timed.wait(31)
    assert timed.responses[stream_id].reset is not None


def test_a_zero_window_with_nothing_to_send_is_no_stall(h2_with: Open) -> None:
    peer = h2_with(limits=LIMITS, options=OPTIONS, settings={wire.INITIAL_WINDOW_SIZE: 0})
    stream_id = peer.get()
    peer.start(stream_id)
    peer.wait(10_000)
    peer.write(stream_id, b"now")
    peer.wait(29.9)
    assert peer.closed == {}
    peer.wait(0.2)
    assert stream_id in peer.closed


def test_a_zero_initial_window_stalls_too(h2_with: Open) -> None:
    """Slow read as an attack: requests whose responses may never leave (CVE-2019-9517)."""
    peer = h2_with(limits=LIMITS, options=OPTIONS, settings={wire.INITIAL_WINDOW_SIZE: 0})
    streams = [peer.get() for _ in range(20)]
    for stream_id in streams:
        peer.answer(stream_id, bytes(10_000))
    peer.wait(30.1)
    assert all(peer.responses[s].reset is not None for s in streams)
    assert not peer.connection.holds_output


def test_a_tunnel_without_credit_is_given_up(timed: Peer) -> None:
    timed.grant(0, 1_000_000)
    stream_id = timed.open(wire.websocket(), end=False)
    timed.connection.accept_tunnel(stream_id, [])
    timed.write(stream_id, bytes(100_000))
    timed.wait(30.1)
    assert stream_id in timed.closed


# ---- the deadline that a command starts ---------------------------------------------------


def test_a_command_has_no_time_so_its_deadline_waits_to_be_told(timed: Peer) -> None:
    stream_id = timed.get()
    connection = timed.connection
    connection.events()
    connection.send_response(stream_id, 204, [], b"")
    connection.release(stream_id)
    connection.data_to_send()
    assert connection.next_timeout() == 0.0  # "call handle_timeout as soon as you look"
    connection.handle_timeout(5_000.0)
    assert connection.next_timeout() == 5_060.0
    assert not connection.is_closed


def test_a_stall_begins_when_the_time_is_known(timed: Peer) -> None:
    timed.grant(0, 1_000_000)
    stream_id = timed.get()
    timed.now += 500
    timed.connection.send_response(stream_id, 200, [], bytes(100_000))
    timed.connection.release(stream_id)
    timed.wait(29.9)
    assert timed.responses[stream_id].reset is None
    timed.wait(0.2)
    timed.wait(29.9)
    assert timed.responses[stream_id].reset is not None


def test_an_early_look_changes_nothing(timed: Peer) -> None:
    """An engine may ask to be called sooner than there is something to do; it still does nothing."""
    for _ in range(10):
        timed.now += 5
        timed.connection.handle_timeout(timed.now)
    assert timed.connection.events() == []
    assert timed.connection.data_to_send() == b""
    timed.wait(9.9)
    assert not timed.over
    timed.wait(0.2)
    assert timed.over


def test_a_closed_connection_has_no_deadline(timed: Peer) -> None:
    timed.get()
    timed.eof()
    assert timed.connection.next_timeout() is None
    timed.connection.handle_timeout(1e9)
    assert timed.frames() == []
    assert [type(e) for e in timed.events[:1]] == [RequestReceived]
