"""Frames by a reader of our own, unmasked by the C code of the ``websockets`` package.

Of that package nothing else is used: its state machine costs seven times what a short message
costs here, and its limits are not ours (see docs/architecture.md).
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Final

from hyperserver.protocol.websocket.frames import (
    BINARY,
    CLOSE,
    FIN,
    MAX_CONTROL,
    PONG,
    SHORT,
    TEXT,
    Admit,
    Piece,
    WebSocketFault,
)

try:
    from websockets.speedups import apply_mask
except ImportError:  # no C compiler has seen it; its own substitute is still the quickest way
    from websockets.utils import apply_mask

_WHOLE_TEXT: Final = FIN | TEXT
_WHOLE_BINARY: Final = FIN | BINARY

NAME = "websockets"
VERSION = version("websockets")


class FrameReader:
    """See ``frames.FrameReader``."""

    __slots__ = ("_admit", "_at", "_data", "_fin", "_mask", "_opcode", "_remaining")

    def __init__(self, admit: Admit) -> None:
        self._admit = admit
        self._data = b""
        self._at = 0
        # the data frame whose payload has come in part
        self._remaining = 0
        self._opcode = 0
        self._fin = False
        self._mask = b""

    def alone(self, data: bytes) -> Piece | None:
        size = len(data) - 6
        if not 0 <= size <= SHORT or data[1] != size | 0x80:
            return None
        if self._remaining or self._at != len(self._data):
            return None
        first = data[0]
        if first != _WHOLE_TEXT and first != _WHOLE_BINARY:
            return None
        return first & 0x0F, apply_mask(data[6:], data[2:6]), True, True

    def feed(self, data: bytes) -> None:
        if self._at < len(self._data):  # a header, or a control frame: 131 bytes at most
            data = self._data[self._at :] + data
        self._data = data
        self._at = 0

    def read(self) -> Piece | None:
        if self._remaining:
            return self._read_rest()
        data = self._data
        at = self._at
        available = len(data) - at
        if available < 2:
            return None
        first = data[at]
        second = data[at + 1]
        opcode = first & 0x0F
        length = second & 0x7F
        start = at + 6  # of the payload: behind two bytes, the length if long, and the mask
        if opcode >= CLOSE:
            if opcode > PONG or first < 0x80 or length > MAX_CONTROL:
                raise WebSocketFault("unknown, fragmented or overlong control frame")
        elif opcode > BINARY:
            raise WebSocketFault(f"unknown opcode {opcode}")
        elif length > 125:
            size = 2 if length == 126 else 8
            if available < 2 + size:
                return None
            length = int.from_bytes(data[at + 2 : at + 2 + size], "big")
            if length >> 63 or length < (126 if size == 2 else 65_536):
                raise WebSocketFault("negative length, or more bytes for a length than it needs")
            start += size
        self._admit(opcode, first & 0x70, length)
        if second < 0x80:
            raise WebSocketFault("a frame without a mask")
        end = start + length
        if end <= len(data):
            self._at = end
            return opcode, apply_mask(data[start:end], data[start - 4 : start]), True, first >= 0x80
        if opcode >= CLOSE or len(data) < start:
            return None
        self._opcode = opcode
        self._fin = first >= 0x80
        self._mask = data[start - 4 : start]
        self._remaining = length
        self._at = start
        return self._read_rest()

    def _read_rest(self) -> Piece | None:
        chunk = self._data[self._at : self._at + self._remaining]
        size = len(chunk)
        if not size:
            return None
        self._at += size
        self._remaining -= size
        payload = apply_mask(chunk, self._mask)
        turn = size & 3  # the mask goes on where it was left
        if turn:
            self._mask = self._mask[turn:] + self._mask[:turn]
        return self._opcode, payload, not self._remaining, self._fin
