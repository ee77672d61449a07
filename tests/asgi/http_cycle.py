"""An HTTP cycle on a recording engine, and the messages of an application."""

from __future__ import annotations

from typing import Any

from hyperserver.asgi.http import HTTPCycle
from hyperserver.protocol.events import Headers, RequestReceived
from hyperserver.protocol.interface import TunnelSink
from tests.asgi.recording_engine import RecordingEngine

DISCONNECT = {"type": "http.disconnect"}
BODY = {"type": "http.response.body"}
ERROR_BODY = b"500: Internal Server Error\n"
ERROR_500: list[tuple[object, ...]] = [
    (
        "headers",
        500,
        [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"27")],
        False,
    ),
    ("data", ERROR_BODY, True),
]


class Engine(RecordingEngine):
    """Takes every command and remembers it in ``calls``."""

    http_version = "1.1"

    def buffered(self, stream_id: int) -> int:
        return 0

    def send_informational(self, stream_id: int, status: int, headers: Headers) -> None:
        self.calls.append(("informational", status, headers))

    def send_headers(
        self, stream_id: int, status: int, headers: Headers, end_stream: bool = False
    ) -> None:
        self.calls.append(("headers", status, headers, end_stream))

    def send_data(self, stream_id: int, data: bytes, end_stream: bool = False) -> None:
        self.calls.append(("data", data, end_stream))

    def send_response(self, stream_id: int, status: int, headers: Headers, body: bytes) -> None:
        self.send_headers(stream_id, status, headers)
        self.send_data(stream_id, body, True)

    def send_trailers(self, stream_id: int, headers: Headers) -> None:
        self.calls.append(("trailers", headers))

    def accept_tunnel(
        self, stream_id: int, headers: Headers, sink: TunnelSink | None = None
    ) -> None:
        raise NotImplementedError

    def push_stream(self, stream_id: int, target: bytes, headers: Headers) -> int | None:
        self.calls.append(("push", target, list(headers)))
        return None


def make(
    method: str = "GET",
    headers: Headers | None = None,
    *,
    version: str = "1.1",
    body: bool = False,
    stream_id: int = 1,
) -> tuple[HTTPCycle, Engine]:
    engine = Engine()
    event = RequestReceived(
        stream_id=stream_id,
        method=method,
        target=b"/",
        headers=[(b"host", b"a"), *(headers or [])],
        http_version=version,
        scheme="http",
        authority=b"a",
        protocol=None,
        end_stream=not body,
    )
    return HTTPCycle(engine, event), engine


def start(status: Any = 200, headers: Any = (), **more: Any) -> dict[str, Any]:
    return {"type": "http.response.start", "status": status, "headers": headers, **more}


def body(data: Any = b"", more_body: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": data, "more_body": more_body}


def trailers(headers: Any = (), **more: Any) -> dict[str, Any]:
    return {"type": "http.response.trailers", "headers": headers, **more}


def request(data: bytes, more_body: bool = False) -> dict[str, Any]:
    return {"type": "http.request", "body": data, "more_body": more_body}
