"""The engine under a WebSocket cycle, and the messages of an application."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hyperserver.asgi.websocket import WebSocketCycle
from hyperserver.protocol.events import Headers
from hyperserver.protocol.interface import TunnelSink
from tests.asgi.recording_engine import RecordingEngine
from tests.engines import ws_frames as ws
from tests.engines.ws_frames import CLOSE, Frame

CONNECT = {"type": "websocket.connect"}
KEY = (b"sec-websocket-key", b"dGhlIHNhbXBsZSBub25jZQ==")
VERSION = (b"sec-websocket-version", b"13")
#: The answer to KEY, as RFC 6455 §1.3 works it out.
ACCEPT = (b"sec-websocket-accept", b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")

NOW = 1000.0


class Engine(RecordingEngine):
    """Takes every command and remembers it in ``calls``; what a tunnel is sent, as frames."""

    def __init__(self, http_version: str) -> None:
        super().__init__()
        self.http_version = http_version
        self.backlog = 0
        self.tunnel = False
        self._frames = ws.Reader()

    def buffered(self, stream_id: int) -> int:
        return self.backlog

    def send_informational(self, stream_id: int, status: int, headers: Headers) -> None:
        self.calls.append(("informational", status, headers))

    def send_headers(
        self, stream_id: int, status: int, headers: Headers, end_stream: bool = False
    ) -> None:
        self.calls.append(("headers", status, list(headers), end_stream))

    def send_response(self, stream_id: int, status: int, headers: Headers, body: bytes) -> None:
        self.send_headers(stream_id, status, headers)
        self.send_data(stream_id, body, True)

    def send_data(self, stream_id: int, data: bytes, end_stream: bool = False) -> None:
        if not self.tunnel:
            self.calls.append(("data", data, end_stream))
            return
        self.calls += self._frames.feed(data)
        if end_stream:
            self.calls.append(("end",))
            assert not self._frames.buffer, "the tunnel ends within a frame"

    def send_trailers(self, stream_id: int, headers: Headers) -> None:
        raise NotImplementedError

    def accept_tunnel(
        self, stream_id: int, headers: Headers, sink: TunnelSink | None = None
    ) -> None:
        self.calls.append(("accept", list(headers)))
        self.tunnel = True

    def push_stream(self, stream_id: int, target: bytes, headers: Headers) -> int | None:
        raise NotImplementedError


Made = tuple[WebSocketCycle, Engine]
Make = Callable[..., Made]


Opened = Callable[..., Made]


def accept(**more: Any) -> dict[str, Any]:
    return {"type": "websocket.accept", **more}


def send(**more: Any) -> dict[str, Any]:
    return {"type": "websocket.send", **more}


def close(**more: Any) -> dict[str, Any]:
    return {"type": "websocket.close", **more}


def deny(status: Any = 404, headers: Any = (), **more: Any) -> dict[str, Any]:
    return {"type": "websocket.http.response.start", "status": status, "headers": headers, **more}


def deny_body(body: Any = b"", more_body: bool = False) -> dict[str, Any]:
    return {"type": "websocket.http.response.body", "body": body, "more_body": more_body}


def received(message: str | bytes) -> dict[str, Any]:
    return {
        "type": "websocket.receive",
        "bytes": message if isinstance(message, bytes) else None,
        "text": message if isinstance(message, str) else None,
    }


def disconnect(code: int, reason: str = "") -> dict[str, Any]:
    return {"type": "websocket.disconnect", "code": code, "reason": reason}


def close_frame(code: int | None, reason: str = "") -> Frame:
    return Frame(CLOSE, b"" if code is None else code.to_bytes(2, "big") + reason.encode())


def refused(status: int) -> tuple[object, ...]:
    return ("headers", status, [(b"content-length", b"0")], False)
