"""How much of something a peer may do before it is abuse."""

from __future__ import annotations


class Budget:
    """A token bucket: at most ``burst`` at once and ``rate`` per second in the long run.

    What a flood consists of (resets, pings, settings, empty frames) an honest client sends as
    well, now and then. So there is no number of them that is too many over the life of a
    connection, only within a time: a count that is never forgiven would cut off just the clients
    that stay and behave.
    """

    __slots__ = ("_burst", "_rate", "_tokens", "_updated")

    def __init__(self, burst: int, rate: float) -> None:
        self._burst = burst
        self._rate = rate
        self._tokens: float = burst
        self._updated = 0.0

    def spend(self, now: float, n: int = 1) -> bool:
        """Take ``n`` at ``now``, in seconds on a monotonic clock; False, and nothing is taken,
        if there are not as many.
        """
        tokens = self._tokens
        elapsed = now - self._updated
        if elapsed > 0:  # a time that is not later buys nothing, nor is it bought twice
            self._updated = now
            tokens += elapsed * self._rate
            if tokens > self._burst:  # noqa: PLR1730 - min() would cost as much as all the rest
                tokens = self._burst
        if tokens < n:
            self._tokens = tokens
            return False
        self._tokens = tokens - n
        return True
