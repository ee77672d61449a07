"""Bytes that wait for the transport."""

from __future__ import annotations

#: From here on a piece is handed out by itself instead of being copied together with others.
LARGE = 65_536


class Output:
    """A queue of pieces. What is small leaves in one write, what is large by itself."""

    __slots__ = ("_output_size", "output")

    def __init__(self) -> None:
        self.output: list[bytes] = []
        self._output_size = 0

    def _write(self, data: bytes) -> None:
        self.output.append(data)
        self._output_size += len(data)

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
