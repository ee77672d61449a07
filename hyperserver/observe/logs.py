"""The server's own log, on the standard library's ``logging``.

Embedded in a program, the server only emits records to the logger ``hyperserver``; the command
line calls ``configure`` to send them to standard error.
"""

from __future__ import annotations

import logging
import os
import sys
from typing import Any

from hyperserver.observe.files import LogFile

logger = logging.getLogger("hyperserver")

_COLORS = {
    logging.DEBUG: "\x1b[2m",
    logging.INFO: "\x1b[32m",
    logging.WARNING: "\x1b[33m",
    logging.ERROR: "\x1b[31m",
    logging.CRITICAL: "\x1b[1;31m",
}
_DIM, _PLAIN = "\x1b[2m", "\x1b[0m"


class PrettyFormatter(logging.Formatter):
    """For somebody who reads along: aligned and, with ``color``, with levels to be told at a
    glance and tracebacks that stand back.
    """

    def __init__(self, *, color: bool) -> None:
        super().__init__("%(asctime)s %(levelname)-8s %(message)s", "%H:%M:%S")
        self._color = color

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the base's name
        line = super().formatMessage(record)
        if not self._color:
            return line
        level = f"{record.levelname:<8}"
        color = _COLORS.get(record.levelno, "")
        first, found, rest = line.partition(level)
        return f"{_DIM}{first}{_PLAIN}{color}{found}{_PLAIN}{rest}"

    def formatException(self, ei: Any) -> str:  # noqa: N802 - the base's name
        text = super().formatException(ei)
        return f"{_DIM}{text}{_PLAIN}" if self._color else text


_file: LogFile | None = None


def log_file() -> LogFile | None:
    """Where the log goes, if not to standard error."""
    return _file


def configure(level: str, *, pretty: bool = False, path: str | None = None) -> None:
    """Send records of ``level`` and above to standard error, or to the file at ``path``, one plain
    line each. Raises OSError if that cannot be opened, and leaves all as it was.
    """
    global _file  # noqa: PLW0603 - as the logger is one for the whole process
    old = _file
    if path is None:
        _file = None
    elif old is None or old.path != path:
        _file = LogFile(path)
    handler = logging.StreamHandler(_file or sys.stderr)
    handler.setFormatter(_formatter(pretty))
    logger.handlers[:] = [handler]
    if old is not None and old is not _file:
        old.close()
    logger.setLevel(level.upper())
    logger.propagate = False


def _formatter(pretty: bool) -> logging.Formatter:
    if _file is not None:  # which is read another day
        return logging.Formatter("%(asctime)s %(levelname)s %(message)s")
    if pretty:
        return PrettyFormatter(color=sys.stderr.isatty() and not os.environ.get("NO_COLOR"))
    return logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S")
