"""What one peer may do to a connection before it is told ENHANCE_YOUR_CALM (RFC 9113 §10.5)."""

from __future__ import annotations

from hyperserver.protocol.h2.budget import Budget
from hyperserver.protocol.h2.frames import ConnectionFault, ErrorCode

#: WINDOW_UPDATE frames with which a client may answer one of DATA: one for the stream and one for the
#: connection, and some clients send each in two steps.
_UPDATES = 4
#: More than the DATA frames that wait for a client's answer at any time.
_MOST_EXPECTED = 1_000_000


class Abuse:
    """Counts, within time windows, what costs a peer little and us more.

    * ``resets``: streams the client opens and cancels (CVE-2023-44487), or makes us reset by
      breaking the rules on them (CVE-2025-8671). A page that is left cancels what it asked for,
      so as many as a connection can have open, and some more, are no abuse.
    * ``control``: PING, SETTINGS and unknown frames, empty DATA, frames on streams that are gone.
    * ``priorities``: cheap, but for a client that sends nothing else (CVE-2019-9513).
    * ``windows``: WINDOW_UPDATE. A client answers each of our DATA frames with some, maybe a good
      while later and with many of them at once. Those are ``expected``; windows that are opened byte
      by byte (CVE-2019-9511) are not: their DATA is no reason for more of it.
    """

    __slots__ = ("_control", "_expected", "_priorities", "_resets", "_windows")

    def __init__(self) -> None:
        # of most kinds there is never anything
        self._resets: Budget | None = None
        self._control: Budget | None = None
        self._priorities: Budget | None = None
        self._windows: Budget | None = None
        self._expected = 0

    def reset(self, now: float) -> None:
        if self._resets is None:
            self._resets = Budget(200, 20)
        if not self._resets.spend(now):
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "too many streams reset")

    def control(self, now: float, cost: int = 1) -> None:
        if self._control is None:
            self._control = Budget(1000, 50)
        if not self._control.spend(now, cost):
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "too many control frames")

    def priority(self, now: float) -> None:
        if self._priorities is None:
            self._priorities = Budget(2000, 100)
        if not self._priorities.spend(now):
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "too many priority frames")

    def window_update(self, now: float) -> None:
        if self._expected:
            self._expected -= 1
            return
        if self._windows is None:
            self._windows = Budget(4000, 100)
        if not self._windows.spend(now):
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "too many window updates")

    def data_sent(self, frames: int = 1) -> None:
        """So many DATA frames that were as large as they could be but for the client's windows."""
        self._expected = min(self._expected + _UPDATES * frames, _MOST_EXPECTED)
