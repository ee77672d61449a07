"""Two libraries, the same bytes: what applications are told may not depend on the engine.

Hypothesis looks for input on which they differ, and ``tests/fuzz/http2.py`` has it guided by coverage.
The frames they write may differ: in what order credit is given, how a field block is compressed.
Where RFC 9113 leaves it open whether a fault costs a stream or the connection, an engine may end the
connection and another go on; then only what both had said until that moment has to agree.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperserver.protocol.events import (
    DataReceived,
    RequestReceived,
    RequestRefused,
    StreamClosed,
    TrailersReceived,
)
from tests.engines.h2_frames import NO_ERROR
from tests.engines.h2_peer import HTTP2_ENGINES, Peer
from tests.engines.playbook import byte_by_byte, joined, whole
from tests.engines.test_http2_robustness import QUICK, anything, busily, converse, silently

FEW = settings(QUICK, max_examples=60)

pytestmark = pytest.mark.skipif(len(HTTP2_ENGINES) < 2, reason="the nghttp2 engine was not built")


def briefly(peer: Peer) -> None:
    """An application that has a short answer to everything."""
    for event in peer.news():
        if isinstance(event, RequestReceived):
            peer.connection.send_response(event.stream_id, 200, [(b"x", b"y")], b"brief")
            peer.connection.release(event.stream_id)
        elif isinstance(event, DataReceived):
            peer.connection.acknowledge(event.stream_id, len(event.data))
        elif isinstance(event, StreamClosed):
            peer.connection.release(event.stream_id)
    peer.drain()


def told(peer: Peer) -> list[object]:
    """What the application and the log were told; reasons are put in each engine's own words."""
    found: list[object] = []
    for event in joined(peer.events):
        if isinstance(event, StreamClosed):
            found.append((event.stream_id, "closed", event.status))
        elif isinstance(event, RequestRefused):
            found.append((event.stream_id, event.status, event.method, event.target))
        else:
            assert isinstance(event, RequestReceived | DataReceived | TrailersReceived)
            found.append(event)
    return found


def failed(peer: Peer) -> bool:
    return any(goaway.error != NO_ERROR for goaway in peer.goaways)


def until_the_fault(peer: Peer) -> list[object]:
    """Without what its end brought about, and a body that it may have cut."""
    found = told(peer)
    while found and (isinstance(found[-1], tuple | DataReceived)):
        found.pop()
    return found


APPLICATIONS = {"silent": silently, "brief": briefly, "busy": busily}
FEEDS = {"whole": whole, "bytes": byte_by_byte}


def assert_engines_agree(application: str, pieces: Sequence[bytes], eof: bool) -> None:
    react: Callable[[Peer], None] = APPLICATIONS[application]
    one, other = (converse(engine, pieces, react, eof, congested=False) for engine in HTTP2_ENGINES)
    if failed(one) != failed(other):
        ended, went_on = (one, other) if failed(one) else (other, one)
        common = until_the_fault(ended)
        assert told(went_on)[: len(common)] == common
        return
    assert told(one) == told(other)
    for stream_id, response in one.responses.items():
        assert response.fields == other.responses[stream_id].fields
        assert response.body == other.responses[stream_id].body


@pytest.mark.parametrize("feed", FEEDS)
@pytest.mark.parametrize("application", APPLICATIONS)
@FEW
@given(octets=anything, eof=st.booleans())
def test_engines_agree(application: str, feed: str, octets: bytes, eof: bool) -> None:
    assert_engines_agree(application, list(FEEDS[feed](octets)), eof)
