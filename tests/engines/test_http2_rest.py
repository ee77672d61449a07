"""Connections at rest: they keep little, and go on as if nothing had been."""

from __future__ import annotations

import gc
import os
import tracemalloc
from pathlib import Path

import pytest

from hyperserver.protocol.events import RequestReceived
from hyperserver.protocol.fields import response_fields
from hyperserver.protocol.interface import (
    ByteConnection,
    HTTP2Options,
    Limits,
    ResponseDefaults,
)
from hyperserver.protocol.negotiate import choose_engines
from tests.engines import h2_frames as wire
from tests.engines.h2_peer import HTTP2_ENGINES, Peer, assert_alive

KIB = 1024
#: Of a connection that has served a request and rests: all that the engine and its library hold.
MOST = {"nghttp2": 4 * KIB, "h2": 9 * KIB}
#: The same in memory of the process. By libnghttp2 it is 13 KiB while it is awake.
MOST_RESIDENT = {"nghttp2": 8 * KIB, "h2": 13 * KIB}

LIMITS, OPTIONS = Limits(), HTTP2Options()
DEFAULTS = ResponseDefaults(date=b"Sun, 06 Nov 1994 08:49:37 GMT")
FIELDS = response_fields([(b"content-type", b"text/plain"), (b"content-length", b"5")])
#: GET, http, / and :authority with its value, which the table is to take (RFC 7541 App. A).
FIRST = b"\x82\x86\x84\x41\x0elocalhost:8000"
AGAIN = b"\x82\x86\x84\xbe"


@pytest.fixture(params=HTTP2_ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def peer(engine: str) -> Peer:
    return Peer(engine)


def serve(connection: ByteConnection, octets: bytes, now: float = 1.0) -> bytes:
    connection.receive_data(octets, now)
    for event in connection.events():
        if isinstance(event, RequestReceived):
            connection.send_response(event.stream_id, 200, FIELDS, b"hello")
            connection.release(event.stream_id)
    return connection.data_to_send()


def get(stream_id: int, block: bytes) -> bytes:
    return wire.frame(wire.HEADERS, stream_id, block, wire.END_HEADERS | wire.END_STREAM)


def open_one(engine: str) -> ByteConnection:
    """A connection that has served a request."""
    connection = choose_engines("auto", engine).make_http2(LIMITS, OPTIONS, DEFAULTS, "http", 1.0)
    assert b"hello" in serve(connection, wire.PREFACE + wire.settings() + get(1, FIRST))
    serve(connection, wire.settings_ack())
    return connection


def rested(engine: str) -> ByteConnection:
    connection = open_one(engine)
    due = connection.next_timeout()
    assert due is not None and due <= 2.0, "nobody would tell it that it rests"
    connection.handle_timeout(2.0)
    assert not connection.output
    return connection


# ---- what is kept ---------------------------------------------------------------------------


def test_at_rest_a_connection_holds_little(engine: str) -> None:
    rested(engine)  # whatever is cached
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        resting = [rested(engine) for _ in range(50)]
        gc.collect()
        held = (tracemalloc.get_traced_memory()[0] - before) / len(resting)
    finally:
        tracemalloc.stop()
    assert held < MOST[engine]


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")
@pytest.mark.skipif("asan" in os.environ.get("LD_PRELOAD", ""), reason="it keeps what was freed")
def test_at_rest_it_takes_no_pages(engine: str) -> None:
    def resident() -> int:
        gc.collect()
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    warm = [rested(engine) for _ in range(200)]
    before = resident()
    resting = [rested(engine) for _ in range(1000)]
    assert (resident() - before) / len(resting) < MOST_RESIDENT[engine]
    del warm


@pytest.mark.skipif("nghttp2" not in HTTP2_ENGINES, reason="it was not built")
def test_what_a_library_holds_is_packed() -> None:
    connection = open_one("nghttp2")
    session = connection._session  # type: ignore[attr-defined]
    awake = session.memory
    assert awake < 12 * KIB
    connection.handle_timeout(2.0)
    asleep = session.memory
    assert 0 < asleep < 1.25 * KIB
    assert session.connection_window == wire.DEFAULT_WINDOW - 5
    assert session.memory == awake, "asked, it wakes"
    connection.handle_timeout(3.0)
    session.rest()
    session.rest()
    assert session.memory == asleep
    connection.lost()
    assert session.memory == 0


@pytest.mark.skipif("nghttp2" not in HTTP2_ENGINES, reason="it was not built")
def test_however_much_it_has_held() -> None:
    """Streams and field blocks leave nothing behind that would have to be packed."""
    peer = Peer("nghttp2")
    streams = [peer.post((b"x-number", b"%d" % n * 100)) for n in range(100)]
    for stream_id in streams:
        peer.upload(stream_id, 1000)
        peer.start(stream_id)
        peer.write(stream_id, bytes(100))
    session = peer.connection._session  # type: ignore[attr-defined]
    assert session.memory > 20 * KIB
    for stream_id in streams:
        peer.reset(stream_id)
        peer.release(stream_id)
    peer.wait(1.0)
    peer.drain()
    # the client has filled HPACK's table, and blocks that are free have a head each
    assert session.memory < 10 * KIB
    assert_alive(peer)


# ---- what is not lost -------------------------------------------------------------------------


def test_the_tables_of_both_sides_stay(engine: str) -> None:
    connection = rested(engine)
    first = serve(connection, get(3, AGAIN), 2.0)
    assert b"hello" in first
    assert serve(connection, get(5, AGAIN), 2.0) == first.replace(b"\0\0\0\3", b"\0\0\0\5")
    connection.handle_timeout(10.0)
    assert serve(connection, get(7, AGAIN), 10.0) == first.replace(b"\0\0\0\3", b"\0\0\0\7")


def test_rests_between_requests_of_all_kinds(peer: Peer) -> None:
    for n in range(30):
        stream_id = peer.post((b"x-%d" % n, b"y" * 10 * n)) if n % 3 else peer.get(b"/%d" % n)
        if n % 3:
            peer.upload(stream_id, 30_000)
            peer.take(stream_id, 30_000)
            peer.data(stream_id, b"", end=True)
        if n % 2:
            peer.start(stream_id, 200, (b"x-%d" % n, b"z" * 10 * n))
            peer.write(stream_id, bytes(1000 * n), end=True)
            peer.release(stream_id)
        else:
            peer.answer(stream_id, bytes(10 * n))
        assert len(peer.responses[stream_id].body) == (1000 if n % 2 else 10) * n
        assert peer.responses[stream_id].complete
        peer.grant(0, 1000 * n + 1)
        peer.wait(5.0)
        assert peer.connection.next_timeout() == pytest.approx(
            peer.now - 5.0 + LIMITS.keep_alive_timeout
        )
    assert_alive(peer)


def test_a_ping_and_settings_are_answered(peer: Peer) -> None:
    peer.wait(5.0)
    peer.frames()
    peer.ping(b"are you?")
    peer.settings({wire.INITIAL_WINDOW_SIZE: 10})
    peer.wait(5.0)
    stream_id = peer.get()
    peer.answer(stream_id, b"x" * 20)
    assert peer.responses[stream_id].body == b"x" * 10
    peer.wait(1.0)  # a stream that waits for its window
    peer.grant(stream_id, 100)
    assert peer.responses[stream_id].body == b"x" * 20


def test_what_was_reset_may_still_send(peer: Peer) -> None:
    stream_id = peer.post()
    peer.connection.reset_stream(stream_id, "no more")
    peer.release(stream_id)
    peer.wait(5.0)
    peer.data(stream_id, b"on its way")
    peer.trailers(stream_id, (b"x", b"y"))
    assert_alive(peer)


def test_what_has_been_is_not_announced_again(peer: Peer) -> None:
    """A priority for a stream that is over is of no consequence, also after a rest."""
    stream_id = peer.post()
    peer.data(stream_id, b"", end=True)
    peer.answer(stream_id, b"x")
    for _ in range(3):
        peer.wait(1.0)
        peer.send(wire.priority_update(stream_id, b"u=1"))
        assert not peer.goaways
    assert peer.connection._turns.scheduler.announced == 0  # type: ignore[attr-defined]
    assert_alive(peer)


def test_what_was_announced_stays_so(peer: Peer) -> None:
    peer.send(wire.priority_update(peer.writer.next_id, b"u=0"))
    peer.wait(5.0)
    assert peer.connection._turns.scheduler.announced == 1  # type: ignore[attr-defined]
    assert_alive(peer)


def test_a_call_that_goes_on_keeps_its_place(engine: str) -> None:
    peer = Peer(engine, options=HTTP2Options(max_concurrent_streams=2))
    running = [peer.get(), peer.get()]
    for stream_id in running:
        peer.reset(stream_id)
    peer.wait(5.0)
    refused = peer.get()
    assert peer.responses[refused].reset == wire.REFUSED_STREAM
    peer.release(running[0])
    peer.wait(5.0)
    assert_alive(peer)


def test_it_is_lost_at_rest(engine: str) -> None:
    for _ in range(100):  # also of those whose memory another has next
        connection = rested(engine)
        connection.lost()
        assert connection.is_closed and connection.data_to_send() == b""


def test_it_ends_from_rest(peer: Peer) -> None:
    peer.wait(5.0)
    peer.connection.shutdown()
    peer.drain()
    assert peer.goaways and peer.over


def test_a_rest_within_a_frame(peer: Peer) -> None:
    """The connection has no stream, and waits for the rest of a frame."""
    ping = wire.ping(b"in parts")
    peer.send(ping[:12])
    peer.wait(1.0)
    peer.send(ping[12:])
    assert_alive(peer)
