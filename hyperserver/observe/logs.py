"""The server's own log, on the standard library's ``logging``.

Embedded in a program, the server only emits records to the logger ``hyperserver``; the command
line calls ``configure`` to send them to standard error.
"""

from __future__ import annotations

import logging
import os
import sys
from typing import Any

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


def configure(level: str, *, pretty: bool = False) -> None:
    """Send records of ``level`` and above to standard error, one plain line each."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        PrettyFormatter(color=sys.stderr.isatty() and not os.environ.get("NO_COLOR"))
        if pretty
        else logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S")
    )
    logger.handlers[:] = [handler]
    logger.setLevel(level.upper())
    logger.propagate = False
