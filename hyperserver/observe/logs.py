"""The server's own log, on the standard library's ``logging``.

Embedded in a program, the server only emits records to the logger ``hyperserver``; the command
line calls ``configure`` to send them to standard error.
"""

from __future__ import annotations

import logging
import sys

logger = logging.getLogger("hyperserver")


def configure(level: str) -> None:
    """Send records of ``level`` and above to standard error, one plain line each."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S"))
    logger.handlers[:] = [handler]
    logger.setLevel(level.upper())
    logger.propagate = False
