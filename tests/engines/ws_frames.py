"""WebSocket frames as bytes, for a client that can write anything and reads strictly.

``Reader`` fails the test at the first frame that a server must not send (RFC 6455 §5.1, §5.2,
§5.4, §5.5): every test that looks at output is thereby a test of the rules for senders. Nothing
here is shared with the server.
"""

from __future__ import annotations

import zlib
from typing import NamedTuple

CONTINUATION, TEXT, BINARY = 0x0, 0x1, 0x2
CLOSE, PING, PONG = 0x8, 0x9, 0xA

MASK = b"\x37\xfa\x21\x3d"
#: A mask that is one, and leaves the payload as it is: for what is sent by the megabyte.
NO_MASK = bytes(4)


class Frame(NamedTuple):
    opcode: int
    payload: bytes
    fin: bool = True
    rsv1: bool = False

    def __repr__(self) -> str:
        shown = repr(self.payload) if len(self.payload) <= 60 else f"<{len(self.payload)} bytes>"
        return f"Frame({self.opcode:#x}, {shown}, fin={self.fin}, rsv1={self.rsv1})"


def masked(payload: bytes, mask: bytes) -> bytes:
    if mask == NO_MASK:
        return payload
    keys = mask * (len(payload) // 4 + 1)
    number = int.from_bytes(payload, "big") ^ int.from_bytes(keys[: len(payload)], "big")
    return number.to_bytes(len(payload), "big")


def frame(
    opcode: int,
    payload: bytes = b"",
    *,
    fin: bool = True,
    rsv1: bool = False,
    mask: bytes | None = MASK,
    length: int | None = None,
) -> bytes:
    """A client's frame; without ``mask`` a forbidden one. ``length`` is what its header says."""
    size = len(payload) if length is None else length
    first = fin << 7 | rsv1 << 6 | opcode
    bit = 0 if mask is None else 0x80
    if size < 126:
        head = bytes((first, bit | size))
    elif size < 65_536:
        head = bytes((first, bit | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((first, bit | 127)) + size.to_bytes(8, "big")
    return head + payload if mask is None else head + mask + masked(payload, mask)


def text(message: str) -> bytes:
    return frame(TEXT, message.encode())


def binary(message: bytes) -> bytes:
    return frame(BINARY, message)


def close(code: int | None = None, reason: str = "") -> bytes:
    return frame(CLOSE, b"" if code is None else code.to_bytes(2, "big") + reason.encode())


def deflated(message: bytes) -> bytes:
    """A payload for a message with RSV1, on its own (RFC 7692 §7.2.1)."""
    deflater = zlib.compressobj(wbits=-15)
    return (deflater.compress(message) + deflater.flush(zlib.Z_SYNC_FLUSH))[:-4]


class Reader:
    """Cuts a server's bytes into frames; one that must not be sent is an assertion.

    ``deflates``: permessage-deflate was agreed on.
    """

    def __init__(self, *, deflates: bool = False) -> None:
        self.deflates = deflates
        self.buffer = bytearray()
        self._in_message = False
        self._closed = False

    def feed(self, data: bytes) -> list[Frame]:
        self.buffer += data
        frames = []
        while (found := self._next()) is not None:
            frames.append(found)
        return frames

    def _next(self) -> Frame | None:
        data = self.buffer
        if len(data) < 2:
            return None
        first, length = data[0], data[1]
        assert length < 0x80, "a server's frame has no mask (§5.1)"
        start = 2
        if length > 125:
            start = 4 if length == 126 else 10
            if len(data) < start:
                return None
            least = 126 if length == 126 else 65_536
            length = int.from_bytes(data[2:start], "big")
            assert least <= length < 1 << 63, "the shortest way to write a length (§5.2)"
        if len(data) < start + length:
            return None
        found = Frame(
            first & 0x0F, bytes(data[start : start + length]), first >= 0x80, bool(first & 0x40)
        )
        del data[: start + length]
        self._check(found, first)
        return found

    def _check(self, found: Frame, first: int) -> None:
        # a Ping is answered until the peer's Close has come (§5.5.2)
        assert not self._closed or found.opcode == PONG, f"{found} after a Close (§5.5.1)"
        assert not first & 0x30, "RSV2 or RSV3 (§5.2)"
        if found.opcode >= CLOSE:
            assert found.opcode <= PONG, found
            assert found.fin and not found.rsv1 and len(found.payload) <= 125, found  # §5.5
            if found.opcode == CLOSE:
                self._closed = True
                assert len(found.payload) != 1, found  # §5.5.1
                found.payload[2:].decode()
        else:
            assert found.opcode <= BINARY, found
            assert (found.opcode == CONTINUATION) is self._in_message, found  # §5.4
            assert not found.rsv1 or (self.deflates and found.opcode != CONTINUATION), found
            self._in_message = not found.fin
