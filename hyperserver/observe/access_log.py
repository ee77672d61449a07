"""The access log: one line per request, formatted cheaply and written in batches.

A line through ``logging`` costs as much as the request it describes. Lines are gathered here and
written together by the worker's timer sweep, or when there are many.

    127.0.0.1:50412 "GET /path?query HTTP/1.1" 200 13 0.4ms
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import TextIO

from hyperserver.asgi.scope import Address
from hyperserver.observe.files import LogFile

#: Lines gathered before they are written without waiting for the sweep.
_BATCH = 256
#: Characters, which are bytes here, that a pipe takes whole or not at all (POSIX: PIPE_BUF).
_ATOMIC = 4096

_PLAIN = bytes(c for c in range(0x20, 0x7F) if c not in b'"\\')
_ESCAPES = {c: f"\\x{c:02x}" for c in range(256) if c not in _PLAIN} | {
    ord('"'): '\\"',
    ord("\\"): "\\\\",
}


#: The status in a line, after the quotes that nothing else can end.
_STATUS = re.compile(r'(?m)(?<=[^\\]" )([345])\d\d(?= \d+ [0-9.]+ms)')
_COLORS = {"3": "36", "4": "33", "5": "31"}


def _colored(status: re.Match[str]) -> str:
    return f"\x1b[{_COLORS[status[1]]}m{status[0]}\x1b[0m"


def _quote(target: bytes) -> str:
    """Nothing a client sends can end the quotes or the line, or steer a terminal."""
    text = target.decode("latin-1")
    return text.translate(_ESCAPES) if target.translate(None, _PLAIN) else text


def _pieces(text: str) -> Iterator[str]:
    """``text`` in whole lines that a pipe takes at once: several processes may write to it."""
    start = 0
    while len(text) - start > _ATOMIC:
        end = text.rfind("\n", start, start + _ATOMIC) + 1 or text.find("\n", start) + 1
        yield text[start:end]
        start = end
    yield text[start:]


class AccessLog:
    """Writes to ``stream``; call ``flush`` now and then, and at the end.

    With ``color``, the status of a response that is no success can be told at a glance.
    """

    def __init__(self, stream: TextIO | LogFile, *, color: bool = False) -> None:
        self._stream = stream
        self._color = color
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
            text = "".join(lines)
            if self._color:
                text = _STATUS.sub(_colored, text)
            try:
                for piece in _pieces(text):
                    self._stream.write(piece)
                    self._stream.flush()
            except (OSError, ValueError):
                self._give_up()

    def reopen(self) -> None:
        """Go on in another file, if this is one. Raises OSError."""
        self.flush()
        if isinstance(self._stream, LogFile):
            self._stream.reopen()

    def close(self) -> None:
        self.flush()
        if isinstance(self._stream, LogFile):
            self._stream.close()

    def _give_up(self) -> None:
        """A reader of our output that went away must not end the server, nor spoil its end: what
        the stream still holds would fail again when the interpreter flushes it.
        """
        try:
            with open(os.devnull, "wb") as nowhere:
                os.dup2(nowhere.fileno(), self._stream.fileno())
        except (OSError, ValueError):
            pass  # not a file, or closed: then nothing is left to flush
