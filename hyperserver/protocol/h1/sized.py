"""Reading a request body whose length is known (RFC 9112 §6.2), in the shape of a decoder."""

from __future__ import annotations

from hyperserver.protocol.events import Headers


class SizedDecoder:
    """Like ``ChunkedDecoder``: feed a buffer, take body bytes, until ``done``."""

    __slots__ = ("done", "remaining", "trailers")

    def __init__(self, length: int) -> None:
        self.done = False
        self.trailers: Headers = []
        #: Bytes still to come.
        self.remaining = length

    def takes(self, data: bytes) -> bool:
        """Take ``data`` as it is, if it is content from end to end: a large body need not be copied."""
        if len(data) > self.remaining:
            return False
        self.remaining -= len(data)
        self.done = self.remaining == 0
        return True

    def decode(self, buffer: bytearray) -> bytes:
        """Consume what ``buffer`` holds of this body; bytes after it stay there."""
        if len(buffer) <= self.remaining:
            data = bytes(buffer)
            buffer.clear()
        else:
            data = bytes(buffer[: self.remaining])
            del buffer[: self.remaining]
        self.remaining -= len(data)
        self.done = self.remaining == 0
        return data
