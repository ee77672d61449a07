"""A WebSocket's cycle on a recording engine and a real state machine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from hyperserver.asgi.websocket import WebSocketCycle
from hyperserver.protocol.events import RequestReceived
from hyperserver.protocol.websocket.connection import WebSocket, WebSocketOptions
from hyperserver.protocol.websocket.frames import MakeFrameReader
from hyperserver.protocol.websocket.handshake import read_handshake
from hyperserver.protocol.websocket.websockets_engine import FrameReader as WebsocketsReader
from hyperserver.protocol.websocket.wsproto_engine import FrameReader as WsprotoReader
from tests.asgi.websocket_cycle import (
    CONNECT,
    KEY,
    VERSION,
    Engine,
    Made,
    Make,
    accept,
)


@pytest.fixture(params=["wsproto", "websockets"])
def make_reader(request: pytest.FixtureRequest) -> MakeFrameReader:
    return WsprotoReader if request.param == "wsproto" else WebsocketsReader


@pytest.fixture
def make(make_reader: MakeFrameReader) -> Make:
    """``make(*fields, version="1.1", …)``: a cycle whose handshake is well-formed."""

    def make(*fields: tuple[bytes, bytes], version: str = "1.1", **options: Any) -> Made:
        engine = Engine(version)
        http1 = version == "1.1"
        request = RequestReceived(
            stream_id=1,
            method="GET" if http1 else "CONNECT",
            target=b"/chat",
            headers=[(b"host", b"a"), VERSION, *([KEY] if http1 else []), *fields],
            http_version=version,
            scheme="http",
            authority=b"a",
            protocol="websocket",
            end_stream=http1,
        )
        handshake = read_handshake(request, None)
        settings = WebSocketOptions(**options)
        cycle = WebSocketCycle(
            engine, request, handshake, lambda _: WebSocket(make_reader, settings, None)
        )
        return cycle, engine

    return make


@pytest.fixture
def opened(make: Make) -> Callable[..., Made]:
    """``opened(…)``: the same, accepted, with the acceptance taken from the engine."""

    def opened(**options: Any) -> Made:
        cycle, engine = make(**options)
        assert cycle.next_message() == CONNECT
        assert cycle.take(accept())
        engine.take()
        return cycle, engine

    return opened
