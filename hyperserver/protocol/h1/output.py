"""Bytes that wait for the transport, and how the end of a body among them is marked."""

from __future__ import annotations

from typing import Final

from hyperserver.protocol.events import Headers
from hyperserver.protocol.h1 import wire
from hyperserver.protocol.h1.clock import Clock
from hyperserver.protocol.h1.wire import BY_CHUNKS, BY_NOTHING

#: From here on a piece is handed out by itself instead of being copied together with others.
LARGE: Final = 65_536


class Output(Clock):
    """A queue of pieces. What is small leaves in one write, what is large by itself."""

    __slots__ = ("_ended", "_framing", "_output_size", "output")

    def __init__(self, deadline: float | None) -> None:
        Clock.__init__(self, deadline)
        self.output: list[bytes] = []
        self._output_size = 0
        #: Streams whose responses have ended, but wait here; to be told of when they have left.
        self._ended: list[int] = []
        #: Of the response's body.
        self._framing = BY_NOTHING

    def _write(self, data: bytes) -> None:
        self.output.append(data)
        self._output_size += len(data)

    def _write_content(self, data: bytes) -> None:
        """Bytes of a body, which must not be empty; a chunk of them not small."""
        if self._framing == BY_CHUNKS:
            self._write(b"%x\r\n" % len(data))
            self._write(data)
            data = b"\r\n"
        self.output.append(data)
        self._output_size += len(data)

    def _write_trailers(self, headers: Headers) -> None:
        """The end of a body, with a trailer section where there is a place for one."""
        if self._framing == BY_CHUNKS:
            self._write(b"0\r\n" + wire.field_lines(headers) + b"\r\n")
            self._framing = BY_NOTHING  # the last chunk has been written

    def buffered(self, stream_id: int) -> int:
        """See ``HTTPConnection``: there is one stream at a time."""
        return self._output_size

    def data_to_send(self) -> bytes:
        """See ``ByteConnection``."""
        if self._output_size >= LARGE:
            return self._large_output()
        self._output_size = 0
        output = self.output
        if len(output) == 1:
            return output.pop()
        data = b"".join(output)
        output.clear()
        return data

    def _large_output(self) -> bytes:
        """Join the small pieces, hand a large one out as it is."""
        small: list[bytes] = []
        size = 0
        for piece in self.output:
            if size and size + len(piece) >= LARGE:
                break
            small.append(piece)
            size += len(piece)
        del self.output[: len(small)]
        self._output_size -= size
        self._large_output_left()
        return small[0] if len(small) == 1 else b"".join(small)

    def _large_output_left(self) -> None:
        """Called after a good deal has been handed out."""
