"""What the engines under the cycles of tests have in common."""

from __future__ import annotations

from typing import Any

from hyperserver.protocol.events import Event


class RecordingEngine:
    """Remembers commands in ``calls``; of those that a cycle has no business with, none is taken."""

    can_push = False
    is_closed = False

    def __init__(self) -> None:
        self.calls: list[tuple[object, ...]] = []
        self.acknowledged = 0

    def take(self) -> list[Any]:
        calls, self.calls = self.calls, []
        return calls

    def acknowledge(self, stream_id: int, n: int) -> None:
        self.acknowledged += n

    def reset_stream(self, stream_id: int, reason: str) -> None:
        self.calls.append(("reset", reason))

    def release(self, stream_id: int) -> None:
        raise NotImplementedError

    def shutdown(self, grace: float = 0.0) -> None:
        raise NotImplementedError

    @property
    def event_queue(self) -> list[Event]:
        return []

    def events(self) -> list[Event]:
        return []

    def next_timeout(self) -> float | None:
        return None

    def handle_timeout(self, now: float) -> None:
        raise NotImplementedError
