"""States of streams (RFC 9113 §5.1): what may come when, and whose fault costs what."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from hyperserver.protocol.events import StreamClosed
from tests.engines import h2_frames as wire
from tests.engines.h2_frames import (
    FLOW_CONTROL_ERROR,
    FRAME_SIZE_ERROR,
    PROTOCOL_ERROR,
    STREAM_CLOSED,
    Window,
    frame,
    head,
)
from tests.engines.h2_peer import Peer, assert_alive, assert_connection_error, assert_stream_error


def closed_by_client(peer: Peer) -> int:
    stream_id = peer.post()
    peer.reset(stream_id)
    peer.release(stream_id)
    return stream_id


def closed_by_server(peer: Peer) -> int:
    stream_id = peer.post()
    peer.connection.reset_stream(stream_id, "test")
    peer.release(stream_id)
    return stream_id


def completed(peer: Peer) -> int:
    stream_id = peer.get()
    peer.answer(stream_id)
    return stream_id


def half_closed(peer: Peer) -> int:
    return peer.get()


def skipped(peer: Peer) -> int:
    """Opening 5 closes the idle 1 and 3 (§5.1.1)."""
    peer.answer(peer.open(head(), stream_id=5))
    return 3


STATES = [closed_by_client, completed, half_closed]
LATE: dict[str, Callable[[Peer, int], bytes]] = {
    "data": lambda peer, sid: wire.data(sid, b"late"),
    "headers": lambda peer, sid: peer.writer.headers(sid, [(b"x-late", b"1")], end=True),
}


@pytest.mark.parametrize("frame_", LATE)
@pytest.mark.parametrize("state", STATES)
def test_nothing_comes_after_the_end(h2: Peer, state: Callable[[Peer], int], frame_: str) -> None:
    """A stream error, or one of the connection: both are allowed, silence is not."""
    stream_id = state(h2)
    h2.frames()
    h2.news()
    h2.send(LATE[frame_](h2, stream_id))
    assert {type(e) for e in h2.news()} <= {StreamClosed}
    if h2.goaways:
        assert_connection_error(h2, STREAM_CLOSED)
    else:
        assert h2.responses[stream_id].reset == STREAM_CLOSED
        if state is half_closed:
            h2.release(stream_id)
        assert_alive(h2)


@pytest.mark.parametrize("state", [skipped, completed])
def test_stream_ids_never_go_back(h2: Peer, state: Callable[[Peer], int]) -> None:
    stream_id = state(h2)
    served = len(h2.requests)
    h2.send(h2.writer.headers(stream_id, head(), end=True))
    assert len(h2.requests) == served
    assert_connection_error(h2, PROTOCOL_ERROR, STREAM_CLOSED)


@pytest.mark.parametrize("state", [*STATES, closed_by_server, skipped])
@pytest.mark.parametrize(
    "octets",
    [
        wire.priority,
        lambda sid: wire.priority_update(sid, b"u=1"),
        lambda sid: frame(0x42, sid, b"x"),
    ],
    ids=["priority", "priority-update", "unknown"],
)
def test_priorities_are_welcome_in_any_state(
    h2: Peer, state: Callable[[Peer], int], octets: Callable[[int], bytes]
) -> None:
    h2.send(octets(state(h2)))
    assert_alive(h2)


@pytest.mark.parametrize("state", [completed, closed_by_server, half_closed])
def test_window_updates_and_resets_may_cross_the_end(
    h2: Peer, state: Callable[[Peer], int]
) -> None:
    stream_id = state(h2)
    h2.send(wire.window_update(stream_id, 100))
    h2.send(wire.reset(stream_id, wire.NO_ERROR))
    h2.release(stream_id)
    assert_alive(h2)


@pytest.mark.parametrize("late", ["data", "trailers", "window-update", "reset"])
def test_what_was_under_way_when_the_server_reset_is_ignored(h2: Peer, late: str) -> None:
    stream_id = closed_by_server(h2)
    h2.news()
    h2.frames()
    if late == "data":
        h2.send(wire.data(stream_id, b"late"))
    elif late == "trailers":
        h2.trailers(stream_id, (b"x-late", b"1"))
    elif late == "window-update":
        h2.send(wire.window_update(stream_id, 1))
    else:
        h2.send(wire.reset(stream_id))
    assert h2.news() == []
    assert [f for f in h2.frames() if not isinstance(f, Window)] == []
    assert_alive(h2)


def test_a_window_update_of_nothing_costs_its_stream(h2: Peer) -> None:
    stream_id = h2.post()
    h2.send(wire.window_update(stream_id, 0))
    assert_stream_error(h2, stream_id, PROTOCOL_ERROR)


def test_a_stream_window_beyond_its_maximum_costs_its_stream(h2: Peer) -> None:
    stream_id = h2.post()
    h2.send(wire.window_update(stream_id, 2**31 - 1))
    assert_stream_error(h2, stream_id, FLOW_CONTROL_ERROR)


def still_open(peer: Peer) -> int:
    return peer.post()


def idle(peer: Peer) -> int:
    return peer.writer.next_id


@pytest.mark.parametrize("size", [4, 6, 0])
@pytest.mark.parametrize("state", [still_open, half_closed, completed, closed_by_server, idle])
def test_a_priority_of_another_length_is_a_frame_size_error(
    h2: Peer, state: Callable[[Peer], int], size: int
) -> None:
    """Of its stream (§6.3), so at most of the connection: whatever the state of the stream."""
    stream_id = state(h2)
    h2.send(frame(wire.PRIORITY, stream_id, bytes(size)))
    if h2.goaways:
        assert_connection_error(h2, FRAME_SIZE_ERROR)
    elif state in {still_open, half_closed}:
        assert_stream_error(h2, stream_id, FRAME_SIZE_ERROR)
    else:
        assert h2.responses[stream_id].reset == FRAME_SIZE_ERROR
        assert_alive(h2)


@pytest.mark.parametrize("state", [still_open, *STATES, closed_by_server])
def test_impossible_padding_is_a_connection_error_in_any_state(
    h2: Peer, state: Callable[[Peer], int]
) -> None:
    """What is left of such a frame cannot be told, not even what it costs in credit (§6.1)."""
    h2.send(frame(wire.DATA, state(h2), b"\xffhello", wire.PADDED))
    assert_connection_error(h2, PROTOCOL_ERROR, STREAM_CLOSED)


def test_one_streams_fault_is_not_anothers(h2: Peer) -> None:
    """Requests before, during and after a stream error are served to their end."""
    before = h2.post()
    faulty = h2.post()
    h2.data(before, b"first ")
    h2.send(wire.window_update(faulty, 0))
    h2.data(before, b"second", end=True)
    assert h2.body(before) == b"first second"
    h2.answer(before, b"fine")
    assert (h2.responses[before].body, h2.responses[before].complete) == (b"fine", True)
    assert_stream_error(h2, faulty, PROTOCOL_ERROR)
