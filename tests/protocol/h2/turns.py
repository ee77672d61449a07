"""Who is served in which order, and from which place in the tree."""

from __future__ import annotations

from collections.abc import Iterable

from hyperserver.protocol.h2.priority import Priority
from hyperserver.protocol.h2.scheduler import DependencyScheduler, Scheduler, UrgencyScheduler


def ready(scheduler: Scheduler, *streams: int) -> None:
    """Open the streams and have them all ready, in this order."""
    for stream_id in streams:
        scheduler.open(stream_id)
    for stream_id in streams:
        scheduler.push(stream_id)


def urgent(signals: dict[int, Priority], order: Iterable[int] | None = None) -> UrgencyScheduler:
    """A scheduler with these streams, pushed in this order, or in that of their ids."""
    scheduler = UrgencyScheduler()
    for stream_id, priority in signals.items():
        scheduler.open(stream_id)
        scheduler.adjust(stream_id, priority)
    for stream_id in order or sorted(signals):
        scheduler.push(stream_id)
    return scheduler


def drain(scheduler: Scheduler) -> list[int]:
    """All that is ready, in order, each stream with one frame to send."""
    popped = []
    while (stream_id := scheduler.pop()) is not None:
        popped.append(stream_id)
    return popped


def serve(scheduler: Scheduler, frames: int) -> list[int]:
    """Who sends so many frames where every stream has always more to send."""
    popped = []
    for _ in range(frames):
        stream_id = scheduler.pop()
        assert stream_id is not None
        popped.append(stream_id)
        scheduler.push(stream_id)
    return popped


def parents(scheduler: DependencyScheduler) -> dict[int, int]:
    """The tree, checked for consistency: each node is in one place and reaches the root."""
    found: dict[int, int] = {}
    pending = [scheduler._root]
    while pending:
        node = pending.pop()
        assert sorted(c.stream_id for c in node.children) == sorted(
            c.stream_id for _, c in node.child_queue
        )
        for child in node.children:
            assert child.parent is node
            assert child.stream_id not in found
            assert child is scheduler._nodes[child.stream_id]
            found[child.stream_id] = node.stream_id
            pending.append(child)
    assert found.keys() == scheduler._nodes.keys()
    return found
