"""Sockets that systemd passes: sd_listen_fds(3)."""

from __future__ import annotations

import os
from collections.abc import Mapping

#: The descriptor of the first one.
_FIRST = 3


def passed_sockets(environ: Mapping[str, str] | None = None) -> dict[str, list[int]]:
    """Descriptors by the name that their unit gives them (``FileDescriptorName=``).

    Without one, that is the name of the socket unit. What was passed to another process, of which
    this one is a child, is not ours.
    """
    environ = os.environ if environ is None else environ
    count = environ.get("LISTEN_FDS", "")
    if environ.get("LISTEN_PID") != str(os.getpid()) or not count.isdecimal():
        return {}
    names = environ.get("LISTEN_FDNAMES", "").split(":")
    found: dict[str, list[int]] = {}
    for index in range(int(count)):
        name = names[index] if index < len(names) and names[index] else "unknown"
        found.setdefault(name, []).append(_FIRST + index)
    return found
