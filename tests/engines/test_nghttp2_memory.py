"""Memory of the extension over libnghttp2: none is left behind, and nothing is used after its end.

``make memcheck`` runs the engines' tests under AddressSanitizer, which sees every access.
"""

from __future__ import annotations

import gc
import os
import weakref
from collections.abc import Callable
from pathlib import Path

import pytest

from hyperserver.errors import LocalProtocolError
from hyperserver.protocol.h2.frames import ErrorCode
from tests.engines import h2_frames as wire
from tests.engines.h2_peer import HTTP2_ENGINES, Peer

pytestmark = pytest.mark.skipif("nghttp2" not in HTTP2_ENGINES, reason="it was not built")


def resident() -> int:
    """Bytes of this process in memory."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def life(number: int) -> None:
    """A connection that does a bit of everything, and is dropped in the middle of it."""
    peer = Peer("nghttp2")
    for _ in range(5):
        peer.answer(peer.get(b"/%d" % number, (b"x-number", b"%d" % number)), b"brief")
    large = peer.get()
    peer.start(large)
    peer.write(large, bytes(200_000))
    upload = peer.post()
    peer.upload(upload, 40_000)
    peer.connection.push_stream(upload, b"/pushed", [])
    peer.reset(peer.get())
    peer.send(peer.writer.headers(peer.writer.next_id, wire.head(), end=False)[:20])
    if number % 2:
        peer.send(b"\xff" * 9)  # ends in a fault


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")
def test_a_thousand_connections_leave_nothing_behind() -> None:
    for number in range(200):
        life(number)
    before = resident()
    for number in range(1_000):
        life(number)
    assert resident() - before < 2_000_000


def test_a_session_that_has_failed_can_still_be_asked() -> None:
    peer = Peer("nghttp2")
    upload = peer.post()
    peer.send(wire.frame(wire.HEADERS, 3, b"\xff\xff\xff\xff\xff\xff", wire.END_HEADERS))
    assert peer.goaways[-1].error == ErrorCode.COMPRESSION_ERROR
    connection = peer.connection
    connection.receive_data(wire.ping(), peer.now)
    connection.acknowledge(upload, 10)
    connection.send_response(upload, 200, [], b"late")
    connection.reset_stream(upload, "late")
    connection.release(upload)
    connection.shutdown()
    assert connection.data_to_send() == b""


@pytest.mark.parametrize("engine", HTTP2_ENGINES)
def test_a_lost_connection_needs_no_garbage_collector(engine: str) -> None:
    """A cycle would be found late, and with it what the library holds."""
    peer = Peer(engine)
    running = peer.get()
    upload = peer.post()
    peer.start(upload)
    peer.write(upload, bytes(100_000))
    connection = peer.connection
    gc.collect()
    gc.disable()
    try:
        connection.lost()
        connection.send_response(running, 200, [], b"late")
        connection.acknowledge(upload, 10)
        connection.release(running)
        connection.release(upload)
        connection.shutdown()
        assert connection.is_closed
        assert not connection.can_push
        assert connection.data_to_send() == b""
        gone = weakref.ref(connection)
        del connection, peer
        assert gone() is None
        assert gc.collect() == 0  # nor does the library
    finally:
        gc.enable()


def test_a_session_cannot_be_used_after_its_end() -> None:
    session = Peer("nghttp2").connection._session  # type: ignore[attr-defined]
    session.close()
    session.close()
    calls: list[Callable[[], object]] = [
        lambda: session.receive(wire.ping(), 0.0),
        session.start,
        lambda: session.send_headers(1, [], True),
        lambda: session.send_data(1, b"x", True),
        lambda: session.push(1, []),
        lambda: session.reset(1, 0),
        lambda: session.open_window(0, 1),
        lambda: session.ping(bytes(8)),
        lambda: session.write(b"x"),
        lambda: session.goaway(0, 0),
        lambda: session.stream_window(1),
        lambda: session.connection_window,
        lambda: session.receive_window,
        lambda: session.max_frame_size,
        lambda: session.max_peer_streams,
        session.send_answers,
    ]
    for call in calls:
        with pytest.raises((LocalProtocolError, AttributeError)):
            call()
    assert session.data_to_send() == b""


def test_what_is_no_field_or_no_bytes_is_an_error_and_not_a_crash() -> None:
    session = Peer("nghttp2").connection._session  # type: ignore[attr-defined]
    for block in ([b":status"], [(b":status", "200")], [(1, 2)], None, [(b"a", b"b", b"c")]):
        with pytest.raises((TypeError, ValueError)):
            session.send_headers(1, block, True)
    for data in ("text", None, 5):
        with pytest.raises(TypeError):
            session.send_data(1, data, True)
    with pytest.raises(OverflowError):
        session.stream_window(2**40)
    assert session.data_to_send() == b""
