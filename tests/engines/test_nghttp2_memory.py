"""Memory of the extension over libnghttp2: none is left behind, and nothing is used after its end.

``make memcheck`` runs the engines' tests under AddressSanitizer, which sees every access.
"""

from __future__ import annotations

import gc
import os
from pathlib import Path

import pytest

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
