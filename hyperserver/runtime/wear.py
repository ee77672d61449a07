"""When a worker has served for long enough: by its requests, its age or its memory."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from random import random

from hyperserver.config.schema import Recycle

#: Seconds between two looks at the memory.
_LOOK = 5.0


class Wear:
    """Counts what wears a worker that began at ``now``, in seconds of a monotonic clock."""

    def __init__(
        self,
        recycle: Recycle,
        now: float,
        *,
        resident: Callable[[], int] | None = None,
        luck: float | None = None,
    ) -> None:
        """``resident`` gives bytes of memory, ``luck`` from 0 to 1 is this worker's own jitter."""
        self.requests = 0
        self._began = now
        self._luck = random() if luck is None else luck  # noqa: S311 - spreads, keeps no secret
        self._resident = resident or resident_size
        self._next_look = now
        self.change(recycle)

    def change(self, recycle: Recycle) -> None:
        """Take other limits for what has been counted so far."""
        stretch = 1 + self._luck * recycle.jitter / 100
        requests, lifetime = recycle.max_requests, recycle.max_lifetime
        self._max_requests = None if requests is None else int(requests * stretch)
        self._max_lifetime = None if lifetime is None else lifetime * stretch
        self._max_rss = recycle.max_rss

    def add(self) -> None:
        """One request more."""
        self.requests += 1

    def due(self, now: float) -> str:
        """Why the worker is to be replaced, or "" if it is not."""
        if self._max_requests is not None and self.requests >= self._max_requests:
            return f"has answered {self.requests} requests"
        if self._max_lifetime is not None and now - self._began >= self._max_lifetime:
            return f"has served for {now - self._began:.0f} s"
        if self._max_rss is not None and now >= self._next_look:
            self._next_look = now + _LOOK
            size = self._resident()
            if size >= self._max_rss:
                return f"holds {size >> 20} MiB of memory"
        return ""


def resident_size() -> int:
    """Bytes of memory that this process holds; its peak where the system tells no more; or 0."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        pass
    try:
        import resource
    except ImportError:  # Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # there in bytes, elsewhere in KiB
