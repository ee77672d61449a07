"""Flow control (RFC 9113 §5.2, §6.9), both ways: credit that is given and credit that is kept to.

That no DATA frame ever exceeds a window is ``Reader``'s to check, in every test there is. Here
are the occasions on which it might.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest

from hyperserver.protocol.events import StreamWritable
from hyperserver.protocol.fields import response_fields
from hyperserver.protocol.interface import HIGH_WATER, HTTP2Options
from tests.engines import h2_frames as wire
from tests.engines.h2_frames import FLOW_CONTROL_ERROR, Data, Window
from tests.engines.h2_peer import (
    Peer,
    assert_alive,
    assert_connection_error,
    assert_stream_error,
)

Open = Callable[..., Peer]

SMALL = HTTP2Options(initial_window=65_535, stream_window=65_535, connection_window=200_000)


def exhausted(peer: Peer) -> Peer:
    """``peer`` after the server has used up the connection's window."""
    stream_id = peer.get()
    peer.answer(stream_id, bytes(wire.DEFAULT_WINDOW))
    assert peer.reader.windows[0] == 0
    return peer


# ---- bodies in: credit is the application's to give back ----------------------------------


def test_bytes_that_nobody_took_give_no_credit(h2_with: Open) -> None:
    peer = h2_with(options=SMALL)
    stream_id = peer.post()
    peer.upload(stream_id, 60_000)
    peer.wait(1)
    assert [f for f in peer.frames() if isinstance(f, Window)] == []
    assert peer.credit(stream_id) == 5_535
    assert peer.credit(0) == 140_000


def test_taking_bytes_returns_credit_to_stream_and_connection(h2_with: Open) -> None:
    """At the latest when half a window has been taken: a smaller update may wait for more."""
    peer = h2_with(options=SMALL)
    stream_id = peer.post()
    for _ in range(10):
        peer.upload(stream_id, 30_000)
        peer.take(stream_id, 30_000)
        assert peer.credit(stream_id) >= 65_535 // 2
        assert peer.credit(0) >= 100_000
    assert peer.credit(stream_id) <= 65_535
    assert peer.credit(0) <= 200_000


def test_small_reads_add_up(h2_with: Open) -> None:
    peer = h2_with(options=SMALL)
    stream_id = peer.post()
    peer.upload(stream_id, 65_535)
    assert peer.credit(stream_id) == 0
    for _ in range(65_535 // 5):
        peer.connection.acknowledge(stream_id, 5)
    assert peer.credit(stream_id) >= 65_535 // 2


def test_window_updates_are_batched(h2: Peer) -> None:
    """One for each read of a few bytes would be a flood of our own."""
    stream_id = h2.post()
    for _ in range(100):
        h2.data(stream_id, b"x" * 10)
        h2.take(stream_id, 10)
    assert len([f for f in h2.frames() if isinstance(f, Window)]) <= 4


def test_an_upload_that_is_read_never_runs_dry(h2: Peer) -> None:
    stream_id = h2.post()
    for _ in range(400):
        assert h2.credit(stream_id) >= 16_384
        assert h2.credit(0) >= 16_384
        h2.data(stream_id, bytes(16_384))
        h2.take(stream_id, 16_384)
    h2.data(stream_id, end=True)
    assert len(h2.body(stream_id)) == 400 * 16_384


def test_a_window_grows_while_the_application_keeps_up(h2_with: Open) -> None:
    options = HTTP2Options(initial_window=65_535, stream_window=500_000)
    peer = h2_with(options=options)
    stream_id = peer.post()
    widest = 0
    for _ in range(200):
        size = min(16_384, peer.credit(stream_id))
        peer.data(stream_id, bytes(size))
        peer.take(stream_id, size)
        widest = max(widest, peer.credit(stream_id))
    assert 65_535 * 2 < widest <= 500_000


def test_a_window_does_not_grow_for_an_application_that_does_not_read(h2_with: Open) -> None:
    peer = h2_with(options=HTTP2Options(initial_window=65_535, stream_window=500_000))
    stream_id = peer.post()
    while size := min(16_384, peer.credit(stream_id)):
        peer.data(stream_id, bytes(size))
    assert len(peer.body(stream_id)) == 65_535


def test_unread_bodies_are_bounded_by_the_connections_window(h2_with: Open) -> None:
    peer = h2_with(options=SMALL)
    streams = [peer.post() for _ in range(10)]
    for stream_id in itertools.cycle(streams):
        size = min(10_000, peer.credit(0), peer.credit(stream_id))
        if not size and not peer.credit(0):
            break
        peer.data(stream_id, bytes(size))
    assert sum(len(peer.body(s)) for s in streams) == 200_000
    assert not peer.goaways


def test_one_stream_that_is_not_read_stalls_no_other(h2: Peer) -> None:
    stalled, reading = h2.post(), h2.post()
    h2.upload(stalled, h2.credit(stalled))
    assert h2.connection.wants_data  # reading the transport never waits for an application
    for _ in range(100):
        h2.data(reading, bytes(10_000))
        h2.take(reading, 10_000)
    assert len(h2.body(reading)) == 1_000_000
    assert_alive(h2)


@pytest.mark.parametrize("pad", [0, 100, 255])
def test_padding_is_credited_at_once(h2_with: Open, pad: int) -> None:
    """It counts (§6.9.1), but no application will ever take it."""
    peer = h2_with(options=SMALL)
    stream_id = peer.post()
    for _ in range(900):
        peer.data(stream_id, b"x", pad=pad)
        peer.take(stream_id, 1)
    assert peer.credit(stream_id) >= 65_535 // 2
    assert peer.credit(0) >= 100_000
    assert peer.credit(stream_id) <= 65_535


def test_padding_comes_back_even_where_the_content_is_not_taken(h2_with: Open) -> None:
    peer = h2_with(options=SMALL)
    stream_id = peer.post()
    for _ in range(300):
        peer.data(stream_id, b"x" * 50, pad=255)
    assert peer.credit(stream_id) >= 65_535 - 300 * 50 - 65_535 // 2
    assert peer.body(stream_id) == b"x" * 15_000


@pytest.mark.parametrize("way", ["client-reset", "server-reset", "malformed", "answered"])
def test_unread_bytes_of_a_stream_that_is_over_are_credited(h2_with: Open, way: str) -> None:
    """The connection's window would leak away otherwise (§5.4.2)."""
    peer = h2_with(options=SMALL)
    for _ in range(12):
        stream_id = peer.post()
        peer.upload(stream_id, 60_000)
        if way == "client-reset":
            peer.reset(stream_id)
        elif way == "server-reset":
            peer.connection.reset_stream(stream_id, "test")
        elif way == "malformed":
            peer.trailers(stream_id, (b":path", b"/"))
        else:
            peer.answer(stream_id)
        peer.release(stream_id)
        assert peer.credit(0) >= 100_000
    assert peer.credit(0) <= 200_000
    assert_alive(peer)


@pytest.mark.parametrize("way", ["server-reset", "malformed", "answered"])
def test_bytes_that_come_after_a_stream_is_over_are_credited(h2_with: Open, way: str) -> None:
    peer = h2_with(options=SMALL)
    for _ in range(12):
        stream_id = peer.post()
        if way == "server-reset":
            peer.connection.reset_stream(stream_id, "test")
        elif way == "malformed":
            peer.send(peer.writer.headers(stream_id, [(b"x", b"y")]))
        else:
            peer.answer(stream_id)
        peer.release(stream_id)
        events = len(peer.events)
        peer.upload(stream_id, 60_000)
        assert len(peer.events) == events
        assert peer.credit(0) >= 100_000
    assert peer.credit(0) <= 200_000


def test_credit_is_not_given_twice(h2_with: Open) -> None:
    """A late acknowledgement of bytes that came back when their stream ended."""
    peer = h2_with(options=SMALL)
    for _ in range(20):
        stream_id = peer.post()
        peer.upload(stream_id, 60_000)
        peer.connection.acknowledge(stream_id, 30_000)
        peer.reset(stream_id)
        peer.connection.acknowledge(stream_id, 30_000)
        peer.release(stream_id)
        peer.connection.acknowledge(stream_id, 30_000)
        assert 100_000 <= peer.credit(0) <= 200_000


def test_taken_after_the_end_is_credited_to_the_connection(h2_with: Open) -> None:
    peer = h2_with(options=SMALL)
    for _ in range(12):
        stream_id = peer.post()
        peer.upload(stream_id, 60_000)
        peer.data(stream_id, end=True)
        peer.take(stream_id, 60_000)
        peer.answer(stream_id)
        assert peer.credit(0) >= 100_000


def test_whole_bodies_that_nobody_reads_are_credited_when_the_call_returns(h2_with: Open) -> None:
    peer = h2_with(options=SMALL)
    for _ in range(12):
        stream_id = peer.post()
        peer.upload(stream_id, 60_000)
        peer.data(stream_id, end=True)
        peer.answer(stream_id)
        assert peer.credit(0) >= 100_000
    assert peer.credit(0) <= 200_000


def test_acknowledging_what_is_not_there_is_harmless(h2: Peer) -> None:
    h2.connection.acknowledge(1, 10)
    stream_id = h2.get()
    h2.connection.acknowledge(stream_id, 0)
    h2.answer(stream_id)
    h2.connection.acknowledge(stream_id, 10)
    h2.connection.acknowledge(99, 10)
    assert h2.credit(0) == h2.options.connection_window
    assert_alive(h2)


def test_more_than_a_streams_window_is_an_error(h2_with: Open) -> None:
    peer = h2_with(options=SMALL)
    stream_id = peer.post()
    peer.upload(stream_id, 65_535)
    peer.data(stream_id, b"x")
    assert len(peer.body(stream_id)) == 65_535
    if peer.goaways:
        assert_connection_error(peer, FLOW_CONTROL_ERROR)
    else:
        assert_stream_error(peer, stream_id, FLOW_CONTROL_ERROR)


def test_padding_counts_against_the_window_that_it_exceeds(h2_with: Open) -> None:
    peer = h2_with(options=SMALL)
    stream_id = peer.post()
    peer.upload(stream_id, 65_500)
    peer.data(stream_id, b"", pad=35)  # 36 octets with the pad length
    assert peer.goaways or peer.responses[stream_id].reset == FLOW_CONTROL_ERROR


def test_more_than_the_connections_window_is_an_error(h2_with: Open) -> None:
    peer = h2_with(options=SMALL)
    streams = [peer.post() for _ in range(4)]
    for stream_id in streams:
        peer.upload(stream_id, 50_000)
    assert peer.credit(0) == 0
    peer.data(streams[0], b"x")
    assert_connection_error(peer, FLOW_CONTROL_ERROR)


def test_data_for_a_stream_that_is_over_counts_against_the_connection(h2_with: Open) -> None:
    """G18: otherwise it would be a way around the window."""
    peer = h2_with(options=SMALL)
    streams = [peer.post() for _ in range(4)]
    for stream_id in streams[:3]:
        peer.upload(stream_id, 65_000)
    assert peer.credit(0) == 5_000
    peer.connection.reset_stream(streams[3], "test")
    peer.drain()
    peer.data(streams[3], bytes(5_001))
    assert_connection_error(peer, FLOW_CONTROL_ERROR)


def test_an_empty_frame_needs_no_window(h2_with: Open) -> None:
    peer = h2_with(options=SMALL)
    stream_id = peer.post()
    peer.upload(stream_id, 65_535)
    peer.data(stream_id, end=True)
    assert peer.ended(stream_id)


# ---- bodies out: within the client's windows ----------------------------------------------


def test_a_response_stops_at_the_streams_window(h2: Peer) -> None:
    h2.grant(0, 1_000_000)
    stream_id = h2.get()
    h2.answer(stream_id, bytes(100_000))
    assert len(h2.responses[stream_id].body) == 65_535
    assert h2.connection.buffered(stream_id) == 100_000 - 65_535
    assert h2.connection.holds_output
    h2.grant(stream_id, 34_464)
    assert not h2.responses[stream_id].complete
    assert h2.connection.buffered(stream_id) == 1
    h2.grant(stream_id, 1)
    assert h2.responses[stream_id].complete
    assert h2.connection.buffered(stream_id) == 0
    assert not h2.connection.holds_output


def test_a_response_stops_at_the_connections_window(h2: Peer) -> None:
    first, second = h2.get(), h2.get()
    h2.answer(first, bytes(40_000))
    h2.answer(second, bytes(40_000))
    assert len(h2.responses[second].body) == 25_535
    assert h2.connection.holds_output
    h2.grant(second, 50_000)  # of which there was enough
    assert len(h2.responses[second].body) == 25_535
    h2.grant(0, 14_465)
    assert h2.responses[second].complete
    assert not h2.connection.holds_output


def test_window_updates_in_drops(h2_with: Open) -> None:
    peer = h2_with(settings={wire.INITIAL_WINDOW_SIZE: 0})
    stream_id = peer.get()
    peer.answer(stream_id, b"abcdef")
    assert peer.responses[stream_id].status == 200
    for sent in range(1, 7):
        peer.grant(stream_id, 1)
        assert peer.responses[stream_id].body == b"abcdef"[:sent]
    assert peer.responses[stream_id].complete


def test_a_window_update_before_the_response(h2_with: Open) -> None:
    peer = h2_with(settings={wire.INITIAL_WINDOW_SIZE: 0})
    stream_id = peer.get()
    peer.grant(stream_id, 3)
    peer.answer(stream_id, b"abcdef")
    assert peer.responses[stream_id].body == b"abc"


def test_heads_and_empty_ends_need_no_window(h2_with: Open) -> None:
    """Only DATA is flow-controlled, and an empty frame has nothing to control (§6.9)."""
    peer = exhausted(h2_with())
    stream_id = peer.get()
    peer.start(stream_id)
    assert peer.responses[stream_id].status == 200
    peer.write(stream_id, end=True)
    assert peer.responses[stream_id].complete


def test_an_end_after_exactly_the_window_is_sent(h2: Peer) -> None:
    stream_id = h2.get()
    h2.start(stream_id)
    h2.write(stream_id, bytes(65_535))
    h2.write(stream_id, end=True)
    assert h2.responses[stream_id].complete


def test_trailers_wait_for_the_data_before_them(h2: Peer) -> None:
    stream_id = h2.get()
    h2.start(stream_id)
    h2.write(stream_id, bytes(70_000))
    h2.connection.send_trailers(stream_id, [(b"x-sum", b"1")])
    assert h2.responses[stream_id].trailers is None
    h2.grant(0, 5_000)
    h2.grant(stream_id, 5_000)
    response = h2.responses[stream_id]
    assert (len(response.body), response.trailers) == (70_000, [(b"x-sum", b"1")])


def test_frames_are_no_larger_than_the_client_takes(h2_with: Open) -> None:
    peer = h2_with(settings={wire.INITIAL_WINDOW_SIZE: 1_000_000})
    peer.grant(0, 1_000_000)
    stream_id = peer.get()
    peer.answer(stream_id, bytes(300_000))
    assert peer.reader.largest_frame == 16_384
    assert len(peer.responses[stream_id].body) == 300_000


def test_a_larger_frame_size_may_be_used_and_taken_back(h2_with: Open) -> None:
    peer = h2_with(settings={wire.INITIAL_WINDOW_SIZE: 10_000_000, wire.MAX_FRAME_SIZE: 100_000})
    peer.grant(0, 10_000_000)
    peer.answer(peer.get(), bytes(300_000))
    peer.settings({wire.MAX_FRAME_SIZE: 16_384})
    peer.reader.largest_frame = 0
    peer.answer(peer.get(), bytes(300_000))
    assert peer.reader.largest_frame <= 16_384


def test_a_larger_initial_window_releases_data(h2: Peer) -> None:
    h2.grant(0, 1_000_000)
    stream_id = h2.get()
    h2.answer(stream_id, bytes(100_000))
    assert not h2.responses[stream_id].complete
    h2.settings({wire.INITIAL_WINDOW_SIZE: 100_000})
    assert h2.responses[stream_id].complete


def test_a_smaller_initial_window_can_make_windows_negative(h2: Peer) -> None:
    """What was sent is owed: updates only reduce the debt at first (§6.9.2)."""
    h2.grant(0, 1_000_000)
    stream_id = h2.get()
    h2.answer(stream_id, bytes(100_000))
    h2.settings({wire.INITIAL_WINDOW_SIZE: 16_384})
    assert h2.reader.windows[stream_id] == 16_384 - 65_535
    h2.grant(stream_id, 49_151)
    assert len(h2.responses[stream_id].body) == 65_535
    h2.grant(stream_id, 10)
    assert len(h2.responses[stream_id].body) == 65_545
    h2.settings({wire.INITIAL_WINDOW_SIZE: 16_384 + 100_000})
    assert h2.responses[stream_id].complete


def test_a_changed_initial_window_is_not_the_connections(h2: Peer) -> None:
    h2.settings({wire.INITIAL_WINDOW_SIZE: 1_000_000})
    stream_id = h2.get()
    h2.answer(stream_id, bytes(100_000))
    assert len(h2.responses[stream_id].body) == 65_535


def test_a_changed_initial_window_can_overflow_a_streams(h2: Peer) -> None:
    """§6.9.2: a connection error, for it is the setting that is at fault."""
    stream_id = h2.get()
    h2.start(stream_id)
    h2.grant(stream_id, 2**31 - 1 - 65_535)
    h2.send(wire.settings({wire.INITIAL_WINDOW_SIZE: 65_536}))
    assert_connection_error(h2, FLOW_CONTROL_ERROR)


def test_a_window_may_reach_its_maximum(h2: Peer) -> None:
    stream_id = h2.get()
    h2.start(stream_id)
    h2.grant(stream_id, 2**31 - 1 - 65_535)
    h2.grant(0, 2**31 - 1 - 65_535)
    h2.write(stream_id, bytes(1_000_000), end=True)
    assert h2.responses[stream_id].complete


def test_no_empty_frames_while_there_is_no_window(h2_with: Open) -> None:
    peer = exhausted(h2_with())
    stream_id = peer.get()
    peer.start(stream_id)
    peer.write(stream_id, b"waits")
    peer.grant(stream_id, 1_000)
    peer.ping()
    assert [f for f in peer.frames() if isinstance(f, Data) and f.stream_id == stream_id] == []


# ---- what waits ---------------------------------------------------------------------------


def test_buffered_counts_what_has_not_left(h2: Peer) -> None:
    stream_id = h2.get()
    assert h2.connection.buffered(stream_id) == 0
    h2.congested = True
    h2.start(stream_id)
    h2.write(stream_id, bytes(50_000))
    assert 50_000 <= h2.connection.buffered(stream_id) < 51_000
    h2.congested = False
    h2.drain()
    assert h2.connection.buffered(stream_id) == 0
    assert not h2.connection.holds_output


@pytest.mark.parametrize("sizes", [[200_000], [HIGH_WATER, HIGH_WATER, HIGH_WATER], [100] * 2_000])
def test_falling_below_high_water_is_reported_once(h2: Peer, sizes: list[int]) -> None:
    h2.grant(0, 1_000_000)
    stream_id = h2.get()
    h2.start(stream_id)
    for size in sizes:
        h2.write(stream_id, bytes(size))
    h2.news()
    reports = []
    while h2.connection.buffered(stream_id):
        h2.grant(stream_id, 10_000)
        reports += [(e, h2.connection.buffered(stream_id) < HIGH_WATER) for e in h2.news()]
    assert reports == [(StreamWritable(stream_id), True)]


@pytest.mark.parametrize("whole", [True, False])
def test_a_response_that_has_ended_is_reported_too(h2: Peer, whole: bool) -> None:
    """Its application may wait for room after the last of it."""
    body = bytes(3 * HIGH_WATER)
    h2.grant(0, 1_000_000)
    stream_id = h2.get()
    if whole:
        h2.connection.send_response(stream_id, 200, response_fields([]), body)
    else:
        h2.start(stream_id)
        h2.write(stream_id, body, True)
    h2.news()
    h2.grant(stream_id, 1_000_000)
    assert h2.news() == [StreamWritable(stream_id)]


def test_a_stream_that_never_filled_up_is_not_reported(h2: Peer) -> None:
    stream_id = h2.get()
    h2.start(stream_id)
    h2.news()
    for _ in range(6):
        h2.write(stream_id, bytes(10_000))
    assert h2.news() == []


def test_each_stream_has_its_own_high_water(h2: Peer) -> None:
    first, second = h2.get(), h2.get()
    for stream_id in (first, second):
        h2.start(stream_id)
        h2.write(stream_id, bytes(200_000))
    h2.news()
    h2.grant(0, 1_000_000)
    h2.grant(second, 200_000)
    assert h2.news() == [StreamWritable(second)]
    assert h2.connection.buffered(first) > HIGH_WATER
    h2.grant(first, 200_000)
    assert h2.news() == [StreamWritable(first)]


def test_a_large_body_leaves_in_pieces(h2_with: Open) -> None:
    """So that what is more urgent can come between, and a slow transport holds little."""
    peer = h2_with(settings={wire.INITIAL_WINDOW_SIZE: 10_000_000})
    peer.grant(0, 10_000_000)
    stream_id = peer.get()
    peer.congested = True
    peer.start(stream_id)
    peer.write(stream_id, bytes(3_000_000))
    pieces = [len(octets) for octets in iter(peer.connection.data_to_send, b"")]
    assert sum(pieces) > 3_000_000
    assert max(pieces) <= 300_000


def test_output_is_true_while_there_is_something_to_send(h2: Peer) -> None:
    connection = h2.connection
    stream_id = h2.get()
    assert not connection.output
    connection.send_response(stream_id, 200, [], b"x" * 100_000)
    assert connection.output
    while connection.data_to_send():
        pass
    assert not connection.output
    assert connection.holds_output
