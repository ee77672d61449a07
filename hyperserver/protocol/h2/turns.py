"""Who decides on the order of responses: the client by its signals, the application by a field."""

from __future__ import annotations

from hyperserver.protocol.events import Headers
from hyperserver.protocol.h2.priority import (
    DEFAULT,
    Dependency,
    Priority,
    merge_priority,
    parse_priority,
)
from hyperserver.protocol.h2.scheduler import (
    NOBODY,
    DependencyScheduler,
    Scheduler,
    UrgencyScheduler,
)
from hyperserver.protocol.h2.streams import Stream


class Turns:
    """Tells the scheduler what is said about a stream, in whichever scheme the client was offered.

    ``scheme`` is ``HTTP2Options.priorities``. What belongs to the other scheme is not heard.
    ``scheduler`` is there from the first stream on, or what is said of one, until a rest.
    """

    __slots__ = ("_newest", "_uses_urgency", "scheduler")

    def __init__(self, scheme: str) -> None:
        self._uses_urgency = scheme == "rfc9218"
        self.scheduler: Scheduler = NOBODY
        self._newest: list[int] | None = None

    def _begin(self) -> Scheduler:
        self.scheduler = UrgencyScheduler() if self._uses_urgency else DependencyScheduler()
        if self._newest is not None:
            self.scheduler.newest = self._newest
        return self.scheduler

    def rest(self) -> None:
        """No stream is open: remember what has been, and in the tree what is to be."""
        scheduler = self.scheduler
        if self._uses_urgency and scheduler is not NOBODY and not scheduler.announced:
            self._newest = scheduler.newest
            self.scheduler = NOBODY

    def passed_by(self, stream_id: int) -> None:
        """The stream has existed, and streams before it, of which the scheduler was not told."""
        (self._begin() if self.scheduler is NOBODY else self.scheduler).pass_by(stream_id)

    def requested(self, stream: Stream, field: bytes | None) -> None:
        """A new stream, with the value of its request's ``priority`` field (RFC 9218 §5)."""
        scheduler = self.scheduler
        if scheduler is NOBODY:
            scheduler = self._begin()
        announced = scheduler.announced
        scheduler.open(stream.id)
        # a PRIORITY_UPDATE that came before counts for more than the field (RFC 9218 §7)
        if field is not None and self._uses_urgency and announced == scheduler.announced:
            stream.priority = parse_priority(field)
            scheduler.adjust(stream.id, stream.priority)

    def signalled(
        self, stream_id: int, stream: Stream | None, signal: Priority | Dependency
    ) -> None:
        """A frame about a stream, which may not exist yet."""
        if stream is not None and isinstance(signal, Priority):
            stream.priority = signal
        (self._begin() if self.scheduler is NOBODY else self.scheduler).adjust(stream_id, signal)

    def answered(self, stream: Stream, headers: Headers) -> None:
        """The application knows better what it sends (RFC 9218 §8)."""
        if self._uses_urgency:
            for name, value in headers:
                if name == b"priority":
                    self.scheduler.adjust(stream.id, merge_priority(stream.priority, value))

    def tunnelled(self, stream: Stream) -> None:
        """A tunnel shares, unless its client has said otherwise (RFC 9218 §10)."""
        if self._uses_urgency and stream.priority == DEFAULT:
            self.scheduler.adjust(stream.id, Priority(incremental=True))
