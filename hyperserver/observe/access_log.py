"""The access log: one line per request, formatted cheaply and written in batches.

A line through ``logging`` costs as much as the request it describes. Lines are gathered here and
written together by the worker's timer sweep, or when there are many.

    127.0.0.1:50412 "GET /path?query HTTP/1.1" 200 13 0.4ms
"""

from __future__ import annotations

import os
from typing import TextIO

from hyperserver.asgi.scope import Address

#: Lines gathered before they are written without waiting for the sweep.
_BATCH = 256

_PLAIN = bytes(c for c in range(0x20, 0x7F) if c not in b'"\\')
_ESCAPES = {c: f"\\x{c:02x}" for c in range(256) if c not in _PLAIN} | {
    ord('"'): '\\"',
    ord("\\"): "\\\\",
}


def _quote(target: bytes) -> str:
    """Nothing a client sends can end the quotes or the line, or steer a terminal."""
    text = target.decode("latin-1")
    return text.translate(_ESCAPES) if target.translate(None, _PLAIN) else text


class AccessLog:
    """Writes to ``stream``; call ``flush`` now and then, and at the end."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lines: list[str] = []

    def request(
        self,
        client: Address | None,
        method: str,
        target: bytes,
        http_version: str,
        status: int,
        size: int,
        seconds: float,
        note: str = "",
    ) -> None:
        """Record one request. ``status`` 0 means that no response was begun."""
        who = f"{client[0]}:{client[1]}" if client else "-"
        self._lines.append(
            f'{who} "{method} {_quote(target)} HTTP/{http_version}" {status or "-"} {size} '
            f"{seconds * 1000:.1f}ms{' ' + note if note else ''}\n"
        )
        if len(self._lines) >= _BATCH:
            self.flush()

    def refused(
        self,
        client: Address | None,
        method: str,
        target: bytes,
        http_version: str,
        status: int,
        reason: str,
    ) -> None:
        """Record a request that the server itself answered, or with ``status`` 0 reset."""
        who = f"{client[0]}:{client[1]}" if client else "-"
        line = f"{method} {_quote(target)} HTTP/{http_version}" if method else "-"
        self._lines.append(f'{who} "{line}" {status or "-"} 0 0.0ms refused: {reason}\n')
        if len(self._lines) >= _BATCH:
            self.flush()

    def flush(self) -> None:
        if self._lines:
            lines, self._lines = self._lines, []
            try:
                self._stream.write("".join(lines))
                self._stream.flush()
            except (OSError, ValueError):
                self._give_up()

    def _give_up(self) -> None:
        """A reader of our output that went away must not end the server, nor spoil its end: what
        the stream still holds would fail again when the interpreter flushes it.
        """
        try:
            with open(os.devnull, "wb") as nowhere:
                os.dup2(nowhere.fileno(), self._stream.fileno())
        except (OSError, ValueError):
            pass  # not a file, or closed: then nothing is left to flush
