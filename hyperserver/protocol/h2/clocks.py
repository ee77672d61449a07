"""What can be late on an HTTP/2 connection.

There are no timers. Whatever may start a clock says ``touch``; the next look then goes through all
that can be late, notes when what it finds began, and says when to look again. A look costs a walk
over the streams in progress, twice a second at most.
"""

from __future__ import annotations

import enum

from hyperserver.protocol.h2.session import Session
from hyperserver.protocol.h2.streams import DONE, Stream
from hyperserver.protocol.interface import HTTP2Options, Limits

#: How long the client may take to learn of a first GOAWAY.
_GOAWAY_GRACE = 1.0
#: Fewer bytes than these in a whole stall timeout are no progress.
_MIN_PROGRESS = 1024


class Late(enum.Enum):
    """Of a connection or a stream, what is overdue."""

    PARTIAL = "a frame or field block was not completed in time"
    SETTINGS = "SETTINGS not acknowledged in time"
    IDLE = "idle"
    GOAWAY = "the client has been told"
    LINGER = "the client does not close"
    STALLED = "the client grants no credit"
    HALF_OPEN = "the client does not end its side of the tunnel"


class Clocks:
    """``look`` finds what is late at a time; ``next_look`` is when it may find something new."""

    __slots__ = (
        "_going_since",
        "_greeted",
        "_idle_since",
        "_limits",
        "_linger_since",
        "_options",
        "_partial_progress",
        "_partial_since",
        "_settings_acknowledged",
        "_settings_since",
        "going",
        "lingering",
        "next_look",
    )

    def __init__(self, limits: Limits, options: HTTP2Options, now: float) -> None:
        self._limits = limits
        self._options = options
        self.next_look: float | None = now + limits.request_head_timeout
        self.going = False
        self.lingering = False
        self._settings_acknowledged = False
        self._greeted = False
        self._settings_since: float | None = None
        self._partial_since: float | None = now
        self._partial_progress = 0
        self._idle_since: float | None = now
        self._going_since: float | None = None
        self._linger_since: float | None = None

    def busy(self) -> None:
        """A stream has begun, and may have ended before anybody looks."""
        self._idle_since = None

    def greeted(self) -> None:
        """The client has sent its preface, and so will have had the time to see ours."""
        if not self._greeted:
            self._greeted = True
            self.touch()

    def settings_acknowledged(self) -> None:
        self._settings_acknowledged = True
        self.touch()

    def touch(self) -> None:
        """A clock may have started: look as soon as there is a time to begin at."""
        self.next_look = 0.0

    def look(self, now: float, session: Session, streams: dict[int, Stream]) -> Late | None:
        """What is late of the connection, the gravest first."""
        due: list[float] = []
        late: Late | None = None
        if self.lingering:
            if self._linger_since is None:
                self._linger_since = now
            due.append(self._linger_since + self._limits.linger_timeout)
            late = Late.LINGER if due[-1] <= now else None
        else:
            for found, deadline in self._open_deadlines(now, session, streams):
                if deadline <= now:
                    late = late or found
                else:
                    due.append(deadline)
        self.next_look = min(due, default=None)
        return late

    def _open_deadlines(
        self, now: float, session: Session, streams: dict[int, Stream]
    ) -> list[tuple[Late, float]]:
        found: list[tuple[Late, float]] = []
        if session.is_partial:
            if self._partial_since is None or self._partial_progress != session.progress:
                self._partial_since = now
                self._partial_progress = session.progress
            found.append((Late.PARTIAL, self._partial_since + self._limits.request_head_timeout))
        else:
            self._partial_since = None
        if self._greeted and not self._settings_acknowledged:
            if self._settings_since is None:
                self._settings_since = now
            found.append((Late.SETTINGS, self._settings_since + self._options.settings_timeout))
        if self.going:
            if self._going_since is None:
                self._going_since = now
            found.append((Late.GOAWAY, self._going_since + _GOAWAY_GRACE))
        if not streams:
            if self._idle_since is None:
                self._idle_since = now
            found.append((Late.IDLE, self._idle_since + self._limits.keep_alive_timeout))
        return found

    def late_streams(
        self, now: float, session: Session, streams: dict[int, Stream], *, may_send: bool, sent: int
    ) -> tuple[list[Stream], list[Stream], list[Stream]]:
        """``(bodies that do not come, tunnels that do not end, responses that cannot go)``.

        ``may_send`` says that our connection window lets the client send, ``sent`` how many bytes
        of all streams have gone out.
        """
        bodies: list[Stream] = []
        half_open: list[Stream] = []
        stalled: list[Stream] = []
        for stream in streams.values():
            if stream.is_tunnel:
                deadline = self._tunnel_deadline(stream, now)
            else:
                deadline = self._body_deadline(stream, now, may_send=may_send)
            if deadline is not None and deadline <= now:
                (half_open if stream.is_tunnel else bodies).append(stream)
            elif stream.queued:
                stall = self._stall_deadline(stream, session, now, sent)
                if stall is not None and stall <= now:
                    stalled.append(stream)
                deadline = stall if deadline is None or (stall and stall < deadline) else deadline
            if deadline is not None and (self.next_look is None or deadline < self.next_look):
                self.next_look = max(deadline, now)
        return bodies, half_open, stalled

    def _body_deadline(self, stream: Stream, now: float, *, may_send: bool) -> float | None:
        """A clock runs where the client could send and the application has not answered."""
        waits = (
            stream.receiving
            and may_send
            and stream.protocol is None
            and not stream.end_queued
            and stream.unacknowledged + stream.credit < stream.window
        )
        if not waits:
            stream.deadline = None
        elif stream.deadline is None:
            stream.deadline = now + self._limits.request_body_timeout
        return stream.deadline

    def _tunnel_deadline(self, stream: Stream, now: float) -> float | None:
        """A clock runs where our side has ended, or nobody is left to end it."""
        if stream.response == DONE or (stream.is_released and not stream.end_queued):
            if stream.deadline is None:
                stream.deadline = now + self._limits.linger_timeout
            return stream.deadline
        return None

    def extend_body(self, stream: Stream, n: int, now: float) -> None:
        """Received bytes buy time at the minimum rate, never more than the whole timeout."""
        limits = self._limits
        if stream.deadline is not None and not stream.is_tunnel:
            latest = now + limits.request_body_timeout
            if limits.min_body_rate > 0:
                latest = min(latest, stream.deadline + n / limits.min_body_rate)
            stream.deadline = latest

    def _stall_deadline(
        self, stream: Stream, session: Session, now: float, sent: int
    ) -> float | None:
        """A clock runs where one of the client's windows holds back what is queued; what counts as
        progress is what that window has let pass.
        """
        if session.stream_window(stream.id) <= 0:
            progress = stream.sent
        elif session.connection_window <= 0:
            progress = sent
        else:
            stream.stalled_since = None
            return None
        passed = progress - stream.sent_before
        if stream.stalled_since is None or passed >= _MIN_PROGRESS or passed < 0:
            stream.stalled_since = now
            stream.sent_before = progress
        return stream.stalled_since + self._options.stall_timeout
