"""Decoding a chunked request body (RFC 9112 §7.1), strictly and in bounded memory.

Strict, because intermediaries that disagree about chunk boundaries are how requests get
smuggled: sizes are 1 to 16 hex digits, extensions follow the grammar, every line ends in CRLF.
"""

from __future__ import annotations

import re
from typing import Final

from hyperserver.errors import RemoteProtocolError
from hyperserver.protocol.events import Headers
from hyperserver.protocol.fields import NOT_IN_TRAILERS, is_token
from hyperserver.protocol.h1.head import check_block

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_CHUNK_LINE = re.compile(
    rb"([0-9A-Fa-f]{1,16})"
    rb"(?:[ \t]*;[ \t]*" + _TOKEN + rb"(?:[ \t]*=[ \t]*(?:" + _TOKEN + rb"|"
    rb'"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t \x21-\x7e\x80-\xff])*"))?)*'
)
#: A chunk-size line may be this long, its CRLF not counted.
_MAX_LINE: Final = 1024
#: Bytes of extensions tolerated in one body; nobody uses them, so more is an attack.
_MAX_EXTENSIONS: Final = 16_384


class ChunkedDecoder:
    """Feed a buffer, take body bytes; ``done`` once the trailer section has been read.

    Both limits are in bytes, the content's None for none.
    """

    __slots__ = (
        "_expect_crlf",
        "_extensions",
        "_max_size",
        "_max_trailers",
        "_remaining",
        "_size",
        "done",
        "remaining",
        "trailers",
    )

    def __init__(self, max_trailers: int, max_size: int | None = None) -> None:
        self.done = False
        #: Bytes known to be still to come: nobody says how many chunks there will be.
        self.remaining = 0
        self.trailers: Headers = []
        self._remaining = -1  # bytes left in this chunk; -1: a size line comes; -2: trailers
        self._expect_crlf = False  # the CRLF after chunk data is due
        self._extensions = 0
        self._max_trailers = max_trailers
        self._max_size = max_size
        self._size = 0

    def takes(self, data: bytes) -> bool:
        """Take ``data`` as it is, if it lies in the midst of one chunk: a large one need not be copied.

        Where a chunk ends, something must follow, which is for ``decode`` to see.
        """
        size = self._size + len(data)
        if len(data) >= self._remaining or (self._max_size is not None and size > self._max_size):
            return False
        self._remaining -= len(data)
        self._size = size
        return True

    def decode(self, buffer: bytearray) -> bytes:
        """Consume what ``buffer`` holds of this body and return its content.

        Bytes after the body stay in ``buffer``. Raises RemoteProtocolError.
        """
        content: list[bytes] = []
        position = 0
        try:
            while not self.done:
                taken = self._step(buffer, position, content)
                if not taken:
                    break
                position += taken
        finally:
            del buffer[:position]
        data = content[0] if len(content) == 1 else b"".join(content)
        self._size += len(data)
        if self._max_size is not None and self._size > self._max_size:
            raise RemoteProtocolError("request body too large", 413)
        return data

    def _step(self, buffer: bytearray, position: int, content: list[bytes]) -> int:
        """Consume one element at ``position``; the bytes taken, 0 if more are needed."""
        if self._expect_crlf:
            ending = buffer[position : position + 2]
            if ending != b"\r\n"[: len(ending)]:
                raise RemoteProtocolError("chunk data must end in CRLF")
            if len(ending) < 2:
                return 0
            self._expect_crlf = False
            return 2
        if self._remaining > 0:
            piece = bytes(buffer[position : position + self._remaining])
            if piece:
                content.append(piece)
                self._remaining -= len(piece)
                if self._remaining == 0:
                    self._remaining = -1
                    self._expect_crlf = True
            return len(piece)
        if self._remaining == -2:
            return self._read_trailers(buffer, position)
        return self._read_size(buffer, position)

    def _read_size(self, buffer: bytearray, position: int) -> int:
        end = buffer.find(b"\n", position, position + _MAX_LINE + 2)
        if end < 0:
            line = bytes(buffer[position : position + _MAX_LINE + 2])
            if len(line) - line.endswith(b"\r") > _MAX_LINE:
                raise RemoteProtocolError("chunk size line too long")
            # a wrong first byte need not wait for the end of the line
            if line and not line[:1].isalnum():
                raise RemoteProtocolError("invalid chunk size")
            return 0
        line = bytes(buffer[position : end + 1])
        match = _CHUNK_LINE.fullmatch(line[:-2]) if line.endswith(b"\r\n") else None
        if match is None:
            raise RemoteProtocolError("invalid chunk size or extension")
        self._extensions += len(line) - 2 - len(match[1])
        if self._extensions > _MAX_EXTENSIONS:
            raise RemoteProtocolError("too many chunk extensions")
        self._remaining = int(match[1], 16) or -2
        return len(line)

    def _read_trailers(self, buffer: bytearray, position: int) -> int:
        if buffer[position : position + 2] == b"\r\n":
            self.done = True
            return 2
        end = buffer.find(b"\r\n\r\n", position, position + self._max_trailers)
        if end < 0:
            if len(buffer) - position >= self._max_trailers:
                raise RemoteProtocolError("trailer section too large", 431)
            if b"\n" in buffer[position:].replace(b"\r\n", b""):
                raise RemoteProtocolError("lines must end in CRLF")
            return 0
        block = bytes(buffer[position : end + 4])
        check_block(block)
        for line in block[:-4].split(b"\r\n"):
            name, colon, value = line.partition(b":")
            name = name.lower()
            if not colon or not is_token(name):
                raise RemoteProtocolError("malformed trailer field")
            if name not in NOT_IN_TRAILERS:  # RFC 9110 §6.5.1: ignored, never merged
                self.trailers.append((name, value.strip(b" \t")))
        self.done = True
        return len(block)
