"""The one deadline that an HTTP/1 connection has at a time."""

from __future__ import annotations


class Clock:
    """Times are seconds on the clock of the caller.

    A deadline that begins with a command has no time to begin at: ``_pending`` holds its length
    until the engine is next told the time (see ``interface``).
    """

    __slots__ = ("_deadline", "_pending")

    def __init__(self, deadline: float | None) -> None:
        self._deadline = deadline
        self._pending: float | None = None

    def next_timeout(self) -> float | None:
        """See ``HTTPConnection``."""
        return self._deadline

    def _start_clock(self, seconds: float, now: float | None) -> None:
        """Start a deadline ``seconds`` away: from ``now``, or from when we are next told."""
        if now is None:
            self._deadline = 0.0
            self._pending = seconds
        else:
            self._deadline = now + seconds
            self._pending = None

    def _extend_clock(self, n: int, rate: int, latest: float) -> None:
        """``n`` received bytes buy time at ``rate`` per second, up to ``latest``; 0: any rate will do."""
        if self._deadline is not None and self._pending is None:
            bought = latest if rate == 0 else self._deadline + n / rate
            self._deadline = min(latest, bought)
