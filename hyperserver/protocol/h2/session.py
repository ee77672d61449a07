"""What an HTTP/2 library has to offer a connection: frames, HPACK, stream states, windows."""

from __future__ import annotations

from typing import Protocol

from hyperserver.protocol.events import Headers
from hyperserver.protocol.h2.frames import ErrorCode


class Session(Protocol):
    """Calls the ``on_`` methods of its connection while it receives."""

    #: Counts frames outside of field blocks: it stands still while one is being received.
    progress: int

    @property
    def is_partial(self) -> bool:
        """The preface, a frame other than DATA, or a field block is not complete."""

    @property
    def partial_data(self) -> int:
        """The stream of a DATA frame that is not complete, or 0."""

    @property
    def max_frame_size(self) -> int:
        """The largest DATA that the peer takes."""

    @property
    def connection_window(self) -> int: ...
    @property
    def allows_push(self) -> bool: ...
    @property
    def max_peer_streams(self) -> int:
        """How many streams the peer lets us open."""

    def start(self, upgrade_settings: bytes | None = None) -> None:
        """Write the server's preface; with the value of HTTP2-Settings after an upgrade."""

    def receive(self, data: bytes, now: float) -> None:
        """Raises ConnectionFault, with nothing written about it."""

    def stream_window(self, stream_id: int) -> int: ...
    def send_headers(self, stream_id: int, block: Headers, end_stream: bool) -> None: ...
    def send_data(self, stream_id: int, data: bytes | memoryview, end_stream: bool) -> None:
        """In as many frames as it takes; the windows have room for it."""

    def push(self, stream_id: int, block: Headers) -> int | None:
        """Promise a request; None where stream ids have run out."""

    def reset(self, stream_id: int, code: ErrorCode) -> None: ...
    def open_window(self, stream_id: int, increment: int) -> None:
        """Give credit to a stream, or with 0 to the connection."""

    def ping(self, payload: bytes) -> None: ...
    def goaway(self, last_stream_id: int, code: ErrorCode) -> None: ...
    def data_to_send(self) -> bytes: ...
    def rest(self) -> None:
        """Keep what the connection needs to go on, in as little memory as possible: it has no streams
        and may have nothing to do for long. What was written has been taken.
        """

    def close(self) -> None:
        """Let go of all memory, and of the connection. Nothing but to write is asked afterwards."""
