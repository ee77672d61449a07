"""Work that a client can ask for at little cost to itself: bounded, and ordinary use is not cut.

Each kind of it has an allowance that refills with time. A client that exhausts one is told
ENHANCE_YOUR_CALM and let go. The numbers here leave a margin around the allowances, so that it is
their order of magnitude that is tested.
"""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import pytest

from hyperserver.protocol.interface import HTTP2Options, Limits
from tests.engines import h2_frames as wire
from tests.engines.h2_frames import (
    ENHANCE_YOUR_CALM,
    REFUSED_STREAM,
    STREAM_CLOSED,
    Ping,
    Reset,
    frame,
    head,
    literal,
)
from tests.engines.h2_peer import Peer, assert_alive, assert_connection_error, assert_refused

Open = Callable[..., Peer]
Act = Callable[[Peer], None]

GET = b"".join(literal(name, value) for name, value in head())


def until_over(peer: Peer, act: Act, most: int) -> int:
    """How often ``act`` was done before the connection was over."""
    for count in range(most):
        if peer.over:
            return count
        act(peer)
    return most


# ---- the kinds of it ----------------------------------------------------------------------


def ping(peer: Peer) -> None:
    peer.ping()


def settings(peer: Peer) -> None:
    peer.settings({wire.INITIAL_WINDOW_SIZE: 65_535})


def empty_data(peer: Peer) -> None:
    peer.data(1, b"")  # the stream that each test keeps open


def unknown(peer: Peer) -> None:
    peer.send(frame(0x42, 0, b"?"))


def priority(peer: Peer) -> None:
    peer.send(wire.priority(1, on=0, weight=5))


def priority_update(peer: Peer) -> None:
    peer.send(wire.priority_update(1, b"u=5"))


def window_update(peer: Peer) -> None:
    peer.grant(0, 1)


def stream_window_update(peer: Peer) -> None:
    peer.grant(1, 1)


def rapid_reset(peer: Peer) -> None:
    """CVE-2023-44487; the application is as quick to return as can be."""
    stream_id = peer.get()
    peer.reset(stream_id)
    peer.release(stream_id)


def reset_of_an_upload(peer: Peer) -> None:
    stream_id = peer.post()
    peer.data(stream_id, b"x")
    peer.reset(stream_id)
    peer.release(stream_id)


def provoked_reset_by_window(peer: Peer) -> None:
    """CVE-2025-8671: the server resets, and might think the stream's place to be free."""
    stream_id = peer.get()
    peer.send(wire.window_update(stream_id, 0))
    peer.release(stream_id)


def provoked_reset_by_overflow(peer: Peer) -> None:
    stream_id = peer.get()
    peer.send(wire.window_update(stream_id, 2**31 - 1))
    peer.release(stream_id)


def provoked_reset_by_length(peer: Peer) -> None:
    stream_id = peer.post((b"content-length", b"1"))
    peer.data(stream_id, b"xx")
    peer.release(stream_id)


def provoked_reset_by_trailers(peer: Peer) -> None:
    stream_id = peer.post()
    peer.trailers(stream_id, (b":path", b"/"))
    peer.release(stream_id)


def provoked_reset_by_head(peer: Peer) -> None:
    peer.open(head(b"GET", b"/", (b"Upper", b"case")))


#: The act, what is let pass at once, and per second after that.
KINDS: dict[Act, tuple[int, float]] = {
    ping: (1_000, 50),
    settings: (100, 5),
    empty_data: (1_000, 50),
    unknown: (1_000, 50),
    priority: (2_000, 100),
    priority_update: (2_000, 100),
    window_update: (4_000, 0),
    stream_window_update: (4_000, 0),
    rapid_reset: (200, 20),
    reset_of_an_upload: (200, 20),
    provoked_reset_by_window: (200, 20),
    provoked_reset_by_overflow: (200, 20),
    provoked_reset_by_length: (200, 20),
    provoked_reset_by_trailers: (200, 20),
    provoked_reset_by_head: (200, 20),
}


@pytest.fixture
def open_stream(h2_with: Open) -> Peer:
    """A connection that is in use: stream 1 uploads and nobody hurries it."""
    peer = h2_with(limits=Limits(request_body_timeout=1e6))
    assert peer.post() == 1
    return peer


@pytest.mark.parametrize("act", KINDS, ids=lambda act: act.__name__)
def test_a_burst_passes_a_flood_does_not(open_stream: Peer, act: Act) -> None:
    burst, _ = KINDS[act]
    assert until_over(open_stream, act, burst * 8 // 10) == burst * 8 // 10
    assert not open_stream.goaways
    more = until_over(open_stream, act, burst * 4 // 10)
    assert more < burst * 4 // 10
    assert_connection_error(open_stream, ENHANCE_YOUR_CALM)


@pytest.mark.parametrize("act", [a for a in KINDS if KINDS[a][1]], ids=lambda act: act.__name__)
def test_a_modest_rate_passes_for_ever(open_stream: Peer, act: Act) -> None:
    burst, rate = KINDS[act]
    for _ in range(6):  # three bursts
        until_over(open_stream, act, burst // 2)
        open_stream.wait(burst / 2 / (0.8 * rate))
    assert not open_stream.goaways
    assert_alive(open_stream)


@pytest.mark.parametrize("act", [a for a in KINDS if KINDS[a][1]], ids=lambda act: act.__name__)
def test_a_rate_that_is_too_high_ends_some_time(open_stream: Peer, act: Act) -> None:
    burst, rate = KINDS[act]
    for _ in range(20):
        until_over(open_stream, act, burst // 4)
        open_stream.wait(burst / 4 / (2 * rate))
    assert_connection_error(open_stream, ENHANCE_YOUR_CALM)


def test_many_small_frames_may_be_answered_all_at_once(h2_with: Open) -> None:
    """By a client that was busy meanwhile: with two WINDOW_UPDATE frames for each, as many send."""
    peer = h2_with()
    stream_id = peer.get()
    peer.start(stream_id)
    count = 5_000
    for _ in range(count):
        peer.connection.send_data(stream_id, b"data: x\n\n")
        peer.drain()
    for _ in range(count):
        peer.grant(0, 9)
        peer.grant(stream_id, 9)
    assert_alive(peer)


def test_windows_opened_byte_by_byte_are_a_flood(h2_with: Open) -> None:
    """Each costs us a DATA frame (CVE-2019-9511)."""
    peer = h2_with(settings={wire.INITIAL_WINDOW_SIZE: 1})
    stream_id = peer.get()
    peer.start(stream_id)
    peer.connection.send_data(stream_id, bytes(60_000))
    peer.drain()
    done = until_over(peer, lambda p: p.grant(stream_id, 1), 6_000)
    assert 3_000 < done < 5_500
    assert_connection_error(peer, ENHANCE_YOUR_CALM)


def test_different_kinds_of_control_frames_add_up(open_stream: Peer) -> None:
    def act(peer: Peer) -> None:
        ping(peer)
        empty_data(peer)
        unknown(peer)

    assert 250 < until_over(open_stream, act, 1_000) < 450
    assert_connection_error(open_stream, ENHANCE_YOUR_CALM)


def test_resets_of_both_sides_add_up(open_stream: Peer) -> None:
    def act(peer: Peer) -> None:
        rapid_reset(peer)
        provoked_reset_by_window(peer)

    assert 80 < until_over(open_stream, act, 500) < 130
    assert_connection_error(open_stream, ENHANCE_YOUR_CALM)


@pytest.mark.parametrize("answered", [False, True])
def test_frames_on_streams_that_have_ended(open_stream: Peer, answered: bool) -> None:
    """CVE-2019-9514: each could ask for an RST_STREAM of its own."""
    stream_id = open_stream.get()
    if answered:
        open_stream.answer(stream_id)
    until_over(open_stream, lambda p: p.send(wire.data(stream_id, b"x")), 1_000)
    assert len([f for f in open_stream.frames() if isinstance(f, Reset)]) <= 250
    if open_stream.goaways:
        assert_connection_error(open_stream, ENHANCE_YOUR_CALM, STREAM_CLOSED)


# ---- ordinary use -------------------------------------------------------------------------


def test_acknowledging_every_frame_of_a_download_is_ordinary(h2: Peer) -> None:
    """Two WINDOW_UPDATEs for each DATA frame, as many clients do."""
    stream_id = h2.get()
    h2.start(stream_id)
    for _ in range(6_000):
        h2.write(stream_id, bytes(100))
        h2.grant(0, 100)
        h2.grant(stream_id, 100)
    h2.write(stream_id, end=True)
    assert len(h2.responses[stream_id].body) == 600_000
    assert_alive(h2)


def test_many_requests_with_pings_between_them_are_ordinary(h2: Peer) -> None:
    for number in range(2_000):
        h2.answer(h2.get(), b"x")
        h2.wait(0.1)
        if number % 4 == 0:
            h2.ping()
    assert_alive(h2)


def test_a_client_that_changes_its_mind_now_and_then_is_ordinary(h2: Peer) -> None:
    """A browser that scrolls cancels images by the dozen."""
    for _ in range(30):
        streams = [h2.get() for _ in range(40)]
        for stream_id in streams[:30]:
            h2.reset(stream_id)
            h2.release(stream_id)
        for stream_id in streams[30:]:
            h2.answer(stream_id)
        h2.wait(3)
    assert_alive(h2)


def test_resets_that_the_application_asks_for_are_not_the_clients(h2: Peer) -> None:
    for _ in range(500):
        stream_id = h2.get()
        h2.start(stream_id)
        h2.connection.reset_stream(stream_id, "application error")
        h2.release(stream_id)
    assert_alive(h2)


def test_early_answers_are_not_the_clients_fault(h2: Peer) -> None:
    """RST_STREAM(NO_ERROR) after a whole response is ours alone (RFC 9113 §8.1)."""
    for _ in range(500):
        h2.answer(h2.post(), b"no, thanks", 403)
    assert_alive(h2)


def test_empty_last_frames_are_ordinary(h2: Peer) -> None:
    """Most clients end a body with an empty DATA frame: that one does some work."""
    for _ in range(1_500):
        stream_id = h2.post()
        h2.data(stream_id, b"x")
        h2.data(stream_id, end=True)
        h2.take(stream_id, 1)
        h2.answer(stream_id)
    assert_alive(h2)


def test_a_few_streams_too_many_are_ordinary(h2_with: Open) -> None:
    """A client that has not read our SETTINGS yet may open what it likes."""
    peer = h2_with(options=HTTP2Options(max_concurrent_streams=10))
    streams = [peer.get() for _ in range(100)]
    assert [peer.responses[s].reset for s in streams[10:]] == [REFUSED_STREAM] * 90
    for stream_id in streams[:10]:
        peer.answer(stream_id)
    assert_alive(peer)


# ---- calls that run (G40, G41) ------------------------------------------------------------


@pytest.mark.parametrize(
    "cut",
    [
        lambda p, s: p.reset(s),
        lambda p, s: p.send(wire.window_update(s, 0)),
        lambda p, s: p.send(wire.window_update(s, 2**31 - 1)),
        lambda p, s: p.send(p.writer.headers(s, [(b"x", b"y")])),
    ],
    ids=["client-reset", "window-of-nothing", "window-overflow", "unfinished-trailers"],
)
def test_a_stream_that_was_cut_keeps_its_place_until_its_call_returns(
    h2_with: Open, cut: Callable[[Peer, int], None]
) -> None:
    peer = h2_with(options=HTTP2Options(max_concurrent_streams=10))
    for _ in range(50):
        cut(peer, peer.post())
    assert len(peer.requests) == 10
    assert len(peer.closed) == 10
    assert [peer.responses[s].reset for s in range(21, 101, 2)] == [REFUSED_STREAM] * 40
    for request in peer.requests:
        peer.release(request.stream_id)
    assert_alive(peer)


# ---- field blocks -------------------------------------------------------------------------


def test_a_block_of_empty_continuations_ends_some_time(h2: Peer) -> None:
    """CVE-2024-27316 and its kin: a request that never begins."""
    h2.send(frame(wire.HEADERS, 1, GET))
    assert until_over(h2, lambda p: p.send(frame(wire.CONTINUATION, 1)), 3_000) < 2_000
    assert_connection_error(h2, ENHANCE_YOUR_CALM)


def test_a_block_of_small_continuations_ends_some_time(h2: Peer) -> None:
    h2.send(frame(wire.HEADERS, 1, GET))
    small = literal(b"x", b"")
    assert until_over(h2, lambda p: p.send(frame(wire.CONTINUATION, 1, small)), 3_000) < 2_000
    assert_connection_error(h2, ENHANCE_YOUR_CALM)


def test_a_block_without_end_is_bounded_in_bytes(h2: Peer) -> None:
    h2.send(frame(wire.HEADERS, 1, GET))
    large = literal(b"x", bytes([121]) * 16_000)
    count = until_over(h2, lambda p: p.send(frame(wire.CONTINUATION, 1, large)), 100)
    assert count * 16_000 <= 5 * h2.limits.max_head_size
    assert_connection_error(h2, ENHANCE_YOUR_CALM)


def test_one_field_without_end_is_bounded_in_bytes(h2: Peer) -> None:
    """No field is ever complete, so a bound on decoded fields alone would not see it."""
    h2.send(frame(wire.HEADERS, 1, GET + b"\x00\x01x\x7f\x81\xff\xff\x7f"))
    piece = bytes([121]) * 16_000
    count = until_over(h2, lambda p: p.send(frame(wire.CONTINUATION, 1, piece)), 100)
    assert count * 16_000 <= 5 * h2.limits.max_head_size
    assert_connection_error(h2, ENHANCE_YOUR_CALM)


def test_a_large_head_in_many_frames_is_ordinary(h2: Peer) -> None:
    fields = head(b"GET", b"/", *[(b"x-%d" % n, b"~" * 1_000) for n in range(40)])
    h2.send(h2.writer.headers(1, fields, end=True, split=2_000))
    assert len(h2.requests) == 1
    h2.answer(1)


def bomb(references: int) -> bytes:
    """A block that puts 3,000 bytes into the table and then names them again and again."""
    entry = b"\x40\x01x" + b"\x7f" + bytes([(3_000 - 127) & 127 | 128, (3_000 - 127) >> 7])
    return GET + entry + bytes([120]) * 3_000 + b"\xbe" * references


def test_a_block_that_unpacks_is_measured_unpacked(h2: Peer) -> None:
    h2.send(frame(wire.HEADERS, 1, bomb(30), wire.END_HEADERS | wire.END_STREAM))
    h2.writer.next_id = 3
    assert_refused(h2, 1, 431)


def test_an_hpack_bomb_is_not_unpacked(h2: Peer) -> None:
    """13 kilobytes that mean 30 megabytes."""
    octets = frame(wire.HEADERS, 1, bomb(10_000), wire.END_HEADERS | wire.END_STREAM)
    tracemalloc.start()
    h2.send(octets)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert_connection_error(h2, ENHANCE_YOUR_CALM)
    assert peak < 4_000_000


def test_a_bomb_of_tiny_fields(h2: Peer) -> None:
    """Each costs a tuple and more: counted with an overhead (RFC 9113 §6.5.2), or by number."""
    block = GET + b"\x8f" * 16_000  # accept-charset: "", from the static table
    h2.send(frame(wire.HEADERS, 1, block, wire.END_HEADERS | wire.END_STREAM))
    assert h2.requests == []
    assert h2.responses[1].status == 431 or h2.goaways[-1].error == ENHANCE_YOUR_CALM


def test_table_size_updates_without_end(h2: Peer) -> None:
    """At most two make sense (RFC 7541 §4.2)."""
    h2.send(frame(wire.HEADERS, 1, b"\x20\x3f\xe1\x1f" * 4_000, wire.END_HEADERS))
    assert h2.requests == []
    assert h2.responses[1].reset or h2.goaways


# ---- what cannot be written ---------------------------------------------------------------


def flooded_while_congested(peer: Peer, octets: bytes, per_second: int) -> int:
    """Frames sent at a rate that passes, by a client that reads nothing."""
    peer.get()
    peer.congested = True
    for count in range(200_000):
        if peer.over or not peer.connection.wants_data:
            return count
        if count % per_second == 0:
            peer.now += 1
        peer.connection.receive_data(octets, peer.now)
        peer.connection.events()
    return 200_000


@pytest.mark.parametrize(("octets", "per_second"), [(wire.ping(), 45), (wire.settings(), 4)])
def test_answers_that_cannot_be_written_pile_up_only_so_far(
    h2: Peer, octets: bytes, per_second: int
) -> None:
    """CVE-2019-9512, -9515: the transport is not read while too much control output waits."""
    assert flooded_while_congested(h2, octets, per_second) < 50_000
    if not h2.over:
        size = sum(len(part) for part in iter(h2.connection.data_to_send, b""))
        assert size < 1_000_000
        assert h2.connection.wants_data


def test_reading_goes_on_once_the_answers_are_written(h2: Peer) -> None:
    flooded_while_congested(h2, wire.ping(), 45)
    assert not h2.connection.wants_data
    h2.reader.sent_settings({})
    h2.congested = False
    pongs = [f for f in h2.frames() if isinstance(f, Ping)]
    assert len(pongs) > 100
    assert h2.connection.wants_data
    h2.ping(b"and on..")
    assert h2.frames() == [Ping(b"and on..", ack=True)]
