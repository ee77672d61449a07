"""Extended CONNECT (RFC 8441): a stream that becomes a tunnel, as for WebSocket."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from hyperserver.errors import LocalProtocolError
from hyperserver.protocol.events import DataReceived, RequestReceived
from hyperserver.protocol.interface import HTTP2Options
from tests.engines import h2_frames as wire
from tests.engines.h2_frames import (
    AUTHORITY,
    NO_ERROR,
    Data,
    Fields,
    Headers,
    Settings,
    Window,
    head,
    websocket,
)
from tests.engines.h2_peer import Peer, assert_alive, assert_refused

Open = Callable[..., Peer]


def tunnel(peer: Peer) -> int:
    stream_id = peer.open(websocket(), end=False)
    peer.connection.accept_tunnel(stream_id, [])
    peer.frames()
    peer.news()
    return stream_id


@pytest.mark.parametrize("priorities", ["rfc9218", "rfc7540"])
def test_the_server_says_that_it_takes_tunnels(h2_with: Open, priorities: str) -> None:
    """RFC 8441 §3: without this setting no client may ask."""
    settings = h2_with(options=HTTP2Options(priorities=priorities)).greeting[0]
    assert isinstance(settings, Settings)
    assert settings.values[wire.ENABLE_CONNECT_PROTOCOL] == 1


def test_an_extended_connect_is_a_request_with_a_protocol(h2_fed: Peer) -> None:
    stream_id = h2_fed.open(websocket((b"origin", b"https://a"), path=b"/chat?room=1"), end=False)
    version = (b"sec-websocket-version", b"13")
    assert h2_fed.news() == [
        RequestReceived(
            stream_id,
            "CONNECT",
            b"/chat?room=1",
            [(b"host", AUTHORITY), version, (b"origin", b"https://a")],
            "2",
            "https",
            AUTHORITY,
            "websocket",
            False,
        )
    ]


def test_accepting_is_200_and_the_stream_stays_open(h2: Peer) -> None:
    stream_id = h2.open(websocket(), end=False)
    h2.connection.accept_tunnel(stream_id, [(b"sec-websocket-protocol", b"chat")])
    assert h2.frames() == [
        Headers(stream_id, [(b":status", b"200"), (b"sec-websocket-protocol", b"chat")])
    ]
    assert h2.responses[stream_id].reset is None


def test_data_flows_both_ways(h2_fed: Peer) -> None:
    stream_id = tunnel(h2_fed)
    h2_fed.data(stream_id, b"\x81\x02hi")
    assert h2_fed.news() == [DataReceived(stream_id, b"\x81\x02hi", False)]
    h2_fed.write(stream_id, b"\x81\x05hello")
    assert h2_fed.frames() == [Data(stream_id, b"\x81\x05hello")]
    h2_fed.data(stream_id, b"\x88\x00")
    assert h2_fed.news() == [DataReceived(stream_id, b"\x88\x00", False)]


def test_what_comes_before_the_acceptance_is_not_lost(h2: Peer) -> None:
    stream_id = h2.open(websocket(), end=False)
    h2.data(stream_id, b"early")
    h2.connection.accept_tunnel(stream_id, [])
    h2.data(stream_id, b" bird")
    assert h2.body(stream_id) == b"early bird"


def test_the_client_ends_first(h2: Peer) -> None:
    stream_id = tunnel(h2)
    h2.data(stream_id, b"bye", end=True)
    assert h2.news() == [DataReceived(stream_id, b"bye", True)]
    assert not h2.responses[stream_id].complete
    h2.write(stream_id, b"bye", end=True)
    assert h2.frames() == [Data(stream_id, b"bye", end=True)]
    h2.release(stream_id)
    assert_alive(h2)


def test_the_server_ends_first(h2: Peer) -> None:
    """What END_STREAM says here is FIN (RFC 8441 §5): the other half is still open."""
    stream_id = tunnel(h2)
    h2.write(stream_id, b"bye", end=True)
    assert h2.frames() == [Data(stream_id, b"bye", end=True)]
    h2.data(stream_id, b"bye to you")
    h2.data(stream_id, end=True)
    assert h2.news() == [DataReceived(stream_id, b"bye to you", True)]
    h2.release(stream_id)
    assert_alive(h2)


def test_a_server_that_has_left_lets_nothing_in(h2: Peer) -> None:
    """The application has returned after its END_STREAM: nobody will read the rest."""
    stream_id = tunnel(h2)
    h2.write(stream_id, b"bye", end=True)
    h2.connection.reset_stream(stream_id, "the application has left")
    h2.release(stream_id)
    h2.news()
    h2.data(stream_id, b"late")
    assert h2.news() == []
    assert_alive(h2)


def test_the_client_cancels(h2: Peer) -> None:
    stream_id = tunnel(h2)
    h2.write(stream_id, bytes(100_000))
    h2.reset(stream_id, wire.CANCEL)
    assert stream_id in h2.closed
    assert h2.connection.buffered(stream_id) == 0
    h2.release(stream_id)
    h2.grant(0, 100_000)
    assert_alive(h2)


def test_the_server_cancels(h2: Peer) -> None:
    stream_id = tunnel(h2)
    h2.connection.reset_stream(stream_id, "test")
    assert h2.responses[stream_id].reset not in {None, NO_ERROR}
    h2.release(stream_id)
    assert_alive(h2)


def test_a_denial_is_an_ordinary_response(h2: Peer) -> None:
    stream_id = h2.open(websocket(), end=False)
    h2.answer(stream_id, b"no", 403)
    response = h2.responses[stream_id]
    assert (response.status, response.body, response.complete) == (403, b"no", True)
    assert response.reset == NO_ERROR
    assert_alive(h2)


def test_a_denial_in_pieces(h2: Peer) -> None:
    stream_id = h2.open(websocket(), end=False)
    h2.start(stream_id, 401, (b"www-authenticate", b"Basic"))
    h2.write(stream_id, b"n")
    h2.write(stream_id, b"o", end=True)
    response = h2.responses[stream_id]
    assert (response.status, response.body, response.complete) == (401, b"no", True)


def test_early_hints_before_a_tunnel(h2: Peer) -> None:
    stream_id = h2.open(websocket(), end=False)
    h2.connection.send_informational(stream_id, 103, [(b"link", b"<x>")])
    h2.connection.accept_tunnel(stream_id, [])
    assert [f.fields[0][1] for f in h2.frames() if isinstance(f, Headers)] == [b"103", b"200"]


def test_a_tunnel_is_flow_controlled(h2: Peer) -> None:
    stream_id = tunnel(h2)
    h2.write(stream_id, bytes(100_000))
    assert len(h2.responses[stream_id].body) == 65_535
    h2.grant(0, 50_000)
    h2.grant(stream_id, 50_000)
    assert len(h2.responses[stream_id].body) == 100_000
    before = h2.credit(stream_id)
    h2.upload(stream_id, 60_000)
    assert h2.credit(stream_id) == before - 60_000
    h2.take(stream_id, 60_000)
    h2.upload(stream_id, 60_000)
    h2.take(stream_id, 60_000)
    assert h2.credit(stream_id) >= before // 2


def test_a_tunnel_has_no_deadline_but_its_own(h2: Peer) -> None:
    """Neither the body's nor the connection's: a quiet WebSocket is no stalled upload."""
    stream_id = tunnel(h2)
    h2.wait(100_000)
    h2.data(stream_id, b"still here")
    h2.write(stream_id, b"so am I")
    assert h2.responses[stream_id].body == b"so am I"
    assert h2.body(stream_id) == b"still here"
    assert not h2.goaways


def test_a_tunnel_does_not_stand_in_the_way_of_requests(h2: Peer) -> None:
    stream_id = tunnel(h2)
    assert_alive(h2)
    h2.data(stream_id, b"x")
    assert_alive(h2)
    assert h2.body(stream_id) == b"x"


def test_trailers_have_no_place_in_a_tunnel(h2: Peer) -> None:
    """Only DATA and stream management may follow (RFC 9113 §8.5)."""
    stream_id = tunnel(h2)
    h2.trailers(stream_id, (b"x", b"y"))
    assert stream_id in h2.closed
    assert h2.responses[stream_id].reset not in {None, NO_ERROR}
    h2.release(stream_id)
    assert_alive(h2)


@pytest.mark.parametrize("protocol", [b"connect-udp", b"webtransport", b"WebSockets", b"x"])
def test_other_protocols_are_not_implemented(h2: Peer, protocol: bytes) -> None:
    stream_id = h2.open(head(b"CONNECT", b"/", protocol=protocol), end=False)
    assert_refused(h2, stream_id, 501)


@pytest.mark.parametrize(
    "fields",
    [
        websocket((b"connection", b"upgrade"), (b"upgrade", b"websocket")),
        [f for f in websocket() if f[0] != b":authority"],
        websocket((b"host", b"other.example")),
    ],
    ids=["http1-fields", "no-authority", "another-host"],
)
def test_a_malformed_handshake_reaches_nobody(h2: Peer, fields: Fields) -> None:
    stream_id = h2.open(fields, end=False)
    assert h2.requests == []
    response = h2.responses[stream_id]
    assert response.reset == wire.PROTOCOL_ERROR or response.status == 400
    assert_alive(h2)


def test_an_extended_connect_that_ends_at_once(h2: Peer) -> None:
    """Odd, but not malformed: the peer's half is closed before the tunnel is open."""
    stream_id = h2.open(websocket(), end=True)
    if h2.requests:
        h2.answer(stream_id, status=400)
        assert h2.responses[stream_id].complete
    assert_alive(h2)


def test_a_tunnel_is_accepted_once(h2: Peer) -> None:
    stream_id = tunnel(h2)
    with pytest.raises(LocalProtocolError):
        h2.connection.accept_tunnel(stream_id, [])
    with pytest.raises(LocalProtocolError):
        h2.connection.send_headers(stream_id, 200, [])
    with pytest.raises(LocalProtocolError):
        h2.connection.send_response(stream_id, 200, [], b"")
    with pytest.raises(LocalProtocolError):
        h2.connection.send_informational(stream_id, 103, [])
    assert h2.frames() == []


def test_accepting_after_the_client_has_left_is_ignored(h2: Peer) -> None:
    stream_id = h2.open(websocket(), end=False)
    h2.reset(stream_id)
    h2.connection.accept_tunnel(stream_id, [])
    h2.connection.send_data(stream_id, b"x")
    assert [f for f in h2.frames() if not isinstance(f, Window)] == []


def test_eof_ends_a_tunnel(h2: Peer) -> None:
    stream_id = tunnel(h2)
    h2.eof()
    assert stream_id in h2.closed
