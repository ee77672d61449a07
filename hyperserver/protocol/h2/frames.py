"""HTTP/2 frames as bytes (RFC 9113 §4): cut from a stream, and the few that are built by hand.

A frame here is its bytes, header included, with the three header fields already read. Reading
frames before a library does lets one bad frame cost one stream, lets floods be counted where
they are cheapest, and lets a frame that is too large be refused before its payload arrives.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from struct import Struct

#: What a client sends first (RFC 9113 §3.4).
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
#: The stream id that a first, graceful GOAWAY names (RFC 9113 §6.8).
MAX_STREAM_ID = 2**31 - 1

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY = range(8)
WINDOW_UPDATE, CONTINUATION = 8, 9
PRIORITY_UPDATE = 0x10  # RFC 9218 §7.1

# flags
END_STREAM = ACK = 0x01  # ACK on SETTINGS and PING
END_HEADERS = 0x04
PADDED = 0x08
PRIORITIZED = 0x20

HEADER_SIZE = 9
_HEADER = Struct(">HBBBL")
_LONGS = Struct(">LL")
_LONG = Struct(">L")

#: Frame type, flags, stream id, the whole frame.
Frame = tuple[int, int, int, bytes]


class ErrorCode(enum.IntEnum):
    """RFC 9113 §7."""

    NO_ERROR = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2
    FLOW_CONTROL_ERROR = 3
    SETTINGS_TIMEOUT = 4
    STREAM_CLOSED = 5
    FRAME_SIZE_ERROR = 6
    REFUSED_STREAM = 7
    CANCEL = 8
    COMPRESSION_ERROR = 9
    CONNECT_ERROR = 10
    ENHANCE_YOUR_CALM = 11
    INADEQUATE_SECURITY = 12
    HTTP_1_1_REQUIRED = 13


class ConnectionFault(Exception):
    """The peer has broken the connection as a whole (RFC 9113 §5.4.1)."""

    def __init__(self, code: ErrorCode, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class FrameReader:
    """Cuts frames off the bytes that are fed, after the connection preface."""

    __slots__ = ("_awaited", "_buffer", "_max_frame_size", "_preface")

    def __init__(self, max_frame_size: int) -> None:
        self._max_frame_size = max_frame_size
        self._buffer = bytearray()
        self._awaited = 0  # length of the buffer with which there is something to do
        self._preface = PREFACE

    @property
    def is_partial(self) -> bool:
        """The preface, or a frame other than DATA, is not complete."""
        buffer = self._buffer
        return bool(self._preface) or (bool(buffer) and (len(buffer) < 4 or buffer[3] != DATA))

    @property
    def partial_data(self) -> int:
        """The stream of a DATA frame that is not complete, or 0."""
        if len(self._buffer) < HEADER_SIZE or self._buffer[3] != DATA or self._preface:
            return 0
        return payload_long(self._buffer, 5)

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames that ``data`` completes; exhaust it before feeding more.

        Raises ConnectionFault for a wrong preface and for a frame whose header announces more
        than is allowed (RFC 9113 §4.2).
        """
        if self._buffer:
            self._buffer += data
            if len(self._buffer) < self._awaited:
                return
            data = bytes(self._buffer)
            self._buffer.clear()
        if self._preface:
            expected = self._preface
            if not data.startswith(expected[: len(data)]):
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "invalid connection preface")
            self._preface = expected[len(data) :]
            data = data[len(expected) :]
        start = 0
        end = len(data)
        awaited = HEADER_SIZE
        while end - start >= HEADER_SIZE:
            high, low, kind, flags, stream_id = _HEADER.unpack_from(data, start)
            length = high << 8 | low
            if length > self._max_frame_size:
                raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "frame too large")
            stop = start + HEADER_SIZE + length
            if stop > end:
                awaited = stop - start
                break
            yield kind, flags, stream_id & MAX_STREAM_ID, data[start:stop]
            start = stop
        if start < end:
            self._buffer += memoryview(data)[start:]
            self._awaited = awaited


def payload_long(frame: bytes | bytearray, offset: int = HEADER_SIZE) -> int:
    """The 31-bit number at ``offset``."""
    number: int = _LONG.unpack_from(frame, offset)[0]
    return number & MAX_STREAM_ID


def goaway(last_stream_id: int, code: ErrorCode) -> bytes:
    return build(GOAWAY, 0, 0, _LONGS.pack(last_stream_id, code))


def rst_stream(stream_id: int, code: ErrorCode) -> bytes:
    return build(RST_STREAM, 0, stream_id, _LONG.pack(code))


def window_update(stream_id: int, increment: int) -> bytes:
    return build(WINDOW_UPDATE, 0, stream_id, _LONG.pack(increment))


def build(kind: int, flags: int, stream_id: int, payload: bytes) -> bytes:
    length = len(payload)
    return _HEADER.pack(length >> 8, length & 0xFF, kind, flags, stream_id) + payload
