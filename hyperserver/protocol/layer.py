"""What an engine's commands mean to a layer around one: they are for the engine itself."""

from __future__ import annotations

from typing import NoReturn

from hyperserver.errors import LocalProtocolError
from hyperserver.protocol.events import Headers
from hyperserver.protocol.interface import TunnelSink


class Layer:
    """Has no streams. A command comes too early, before there is an engine: it raises
    LocalProtocolError.
    """

    __slots__ = ()
    #: Of the engine that is to come, if it comes.
    http_version = "1.1"
    can_push = False

    def buffered(self, stream_id: int) -> int:
        return 0

    def release(self, stream_id: int) -> None:
        """There are no streams here."""

    def send_informational(self, stream_id: int, status: int, headers: Headers) -> None:
        _too_early()

    def send_headers(
        self, stream_id: int, status: int, headers: Headers, end_stream: bool = False
    ) -> None:
        _too_early()

    def send_response(self, stream_id: int, status: int, headers: Headers, body: bytes) -> None:
        _too_early()

    def send_data(self, stream_id: int, data: bytes, end_stream: bool = False) -> None:
        _too_early()

    def send_trailers(self, stream_id: int, headers: Headers) -> None:
        _too_early()

    def accept_tunnel(
        self, stream_id: int, headers: Headers, sink: TunnelSink | None = None
    ) -> None:
        _too_early()

    def push_stream(self, stream_id: int, target: bytes, headers: Headers) -> int | None:
        _too_early()

    def acknowledge(self, stream_id: int, n: int) -> None:
        _too_early()

    def reset_stream(self, stream_id: int, reason: str) -> None:
        _too_early()


def _too_early() -> NoReturn:
    raise LocalProtocolError("commands are the engine's, once there is one")
