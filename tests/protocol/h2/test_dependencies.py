"""What a scheduler makes of the dependencies and weights of RFC 7540."""

from __future__ import annotations

from collections import Counter

import pytest

from hyperserver.protocol.h2.priority import Dependency
from hyperserver.protocol.h2.scheduler import MAX_DEPENDENT, MAX_IDLE, DependencyScheduler
from tests.protocol.h2.turns import drain, parents, ready, serve


def tree(*edges: tuple[int, Dependency]) -> DependencyScheduler:
    """Open streams, each with its dependency, and have them all ready."""
    scheduler = DependencyScheduler()
    for stream_id, dependency in edges:
        scheduler.open(stream_id)
        scheduler.adjust(stream_id, dependency)
    for stream_id, _ in edges:
        scheduler.push(stream_id)
    return scheduler


def test_siblings_share_by_weight() -> None:
    scheduler = tree((1, Dependency(0, 256)), (3, Dependency(0, 64)))
    count = Counter(serve(scheduler, 1600))
    # the guaranteed share makes of one fifth a quarter at most
    assert 0.2 <= count[3] / 1600 <= 0.26


def test_parents_go_first() -> None:
    scheduler = tree((1, Dependency()), (3, Dependency(1)), (5, Dependency(3)))
    assert serve(scheduler, 5) == [1] * 5
    scheduler.block(1)
    assert serve(scheduler, 5) == [3] * 5
    scheduler.close(3)
    assert drain(scheduler) == [5]
    assert parents(scheduler) == {1: 0, 5: 1}


def test_an_exclusive_dependency_adopts_its_siblings() -> None:
    scheduler = tree((1, Dependency()), (3, Dependency(1)), (5, Dependency(1)))
    ready(scheduler, 7)
    scheduler.adjust(7, Dependency(1, 16, True))
    assert parents(scheduler) == {1: 0, 7: 1, 3: 7, 5: 7}
    assert drain(scheduler) == [1, 7, 3, 5]


def test_a_stream_moves_with_its_dependents() -> None:
    scheduler = tree((1, Dependency()), (3, Dependency()), (5, Dependency(3)))
    scheduler.adjust(3, Dependency(1))
    assert parents(scheduler) == {1: 0, 3: 1, 5: 3}
    scheduler.adjust(3, Dependency(0, 20, True))
    assert parents(scheduler) == {1: 3, 3: 0, 5: 3}


@pytest.mark.parametrize("exclusive", [False, True])
def test_a_stream_may_come_to_depend_on_its_own_dependent(exclusive: bool) -> None:
    """The example of RFC 7540 §5.3.3: A depends on D, which depended on C, which did on A."""
    x, a, b, c, d, e, f = 1, 3, 5, 7, 9, 11, 13
    scheduler = tree(
        (x, Dependency()),
        (a, Dependency(x)),
        (b, Dependency(a)),
        (c, Dependency(a)),
        (d, Dependency(c)),
        (e, Dependency(c)),
        (f, Dependency(d)),
    )
    scheduler.adjust(a, Dependency(d, 16, exclusive))
    below_a = a if exclusive else d
    assert parents(scheduler) == {x: 0, d: x, a: d, b: a, c: a, e: c, f: below_a}
    assert sorted(drain(scheduler)) == [x, a, b, c, d, e, f]
    scheduler.close(f)
    for stream_id in (x, a, b, c, d, e, f):
        scheduler.push(stream_id)
    assert sorted(drain(scheduler)) == [x, a, b, c, d, e]


def test_a_stream_cannot_depend_on_itself() -> None:
    scheduler = tree((1, Dependency()), (3, Dependency(1)))
    scheduler.adjust(3, Dependency(3, 256, True))
    assert parents(scheduler) == {1: 0, 3: 1}


@pytest.mark.parametrize(("weight", "taken"), [(0, 1), (-5, 1), (257, 256), (256, 256), (1, 1)])
def test_weights_are_kept_within_their_range(weight: int, taken: int) -> None:
    scheduler = tree((1, Dependency(0, weight)))
    assert scheduler._nodes[1].weight == taken


def test_idle_streams_group_others() -> None:
    """As clients do that build a tree of streams which they never open."""
    scheduler = DependencyScheduler()
    scheduler.adjust(3, Dependency(0, 201))
    scheduler.adjust(5, Dependency(0, 1))
    scheduler.open(7)
    scheduler.adjust(7, Dependency(5))
    scheduler.open(9)
    scheduler.adjust(9, Dependency(3))
    assert parents(scheduler) == {3: 0, 5: 0, 7: 5, 9: 3}
    scheduler.push(7)
    scheduler.push(9)
    count = Counter(serve(scheduler, 320))
    assert count[9] > 280


def test_an_idle_stream_that_opens_keeps_its_place() -> None:
    scheduler = DependencyScheduler()
    scheduler.adjust(5, Dependency(3, 7))
    assert parents(scheduler) == {3: 0, 5: 3}
    ready(scheduler, 3, 5)
    assert parents(scheduler) == {3: 0, 5: 3}
    assert scheduler._nodes[5].weight == 7
    assert drain(scheduler) == [3, 5]
    scheduler.close(3)
    scheduler.close(5)
    assert parents(scheduler) == {}


def test_depending_on_a_closed_stream_means_the_default() -> None:
    scheduler = tree((1, Dependency()), (3, Dependency()), (5, Dependency(3, 200)))
    scheduler.close(1)
    scheduler.adjust(5, Dependency(1, 99, True))
    assert parents(scheduler) == {3: 0, 5: 0}
    assert scheduler._nodes[5].weight == 16


def test_a_closed_stream_gets_no_place() -> None:
    scheduler = tree((1, Dependency()), (3, Dependency()))
    scheduler.close(1)
    scheduler.adjust(1, Dependency(3))
    assert parents(scheduler) == {3: 0}


def test_idle_streams_are_bounded_and_those_in_use_are_kept() -> None:
    scheduler = DependencyScheduler()
    scheduler.adjust(1, Dependency(0, 200))
    scheduler.open(3)
    for stream_id in range(5, 20_005, 2):
        scheduler.adjust(stream_id, Dependency(stream_id - 2, 1 + stream_id % 256, True))
        if stream_id % 50 == 5:
            scheduler.adjust(3, Dependency(1))
    assert len(scheduler._idle) == MAX_IDLE
    found = parents(scheduler)
    assert len(found) == MAX_IDLE + 1
    assert found[3] == 1
    scheduler.push(3)
    assert drain(scheduler) == [3]


def test_unknown_parents_are_bounded() -> None:
    scheduler = DependencyScheduler()
    for stream_id in range(1, 20_001, 4):
        scheduler.adjust(stream_id, Dependency(stream_id + 2))
    assert len(parents(scheduler)) == MAX_IDLE


def test_the_deepest_tree_is_served() -> None:
    """Each stream depends exclusively on the one before: a chain, with idle ones above it."""
    scheduler = DependencyScheduler()
    last = 2 * (MAX_DEPENDENT + MAX_IDLE) - 1
    for stream_id in range(1, 2 * MAX_IDLE, 2):
        scheduler.adjust(stream_id, Dependency(stream_id - 2 if stream_id > 1 else 0, 16, True))
    for stream_id in range(2 * MAX_IDLE + 1, last + 1, 2):
        scheduler.open(stream_id)
        scheduler.adjust(stream_id, Dependency(stream_id - 2, 16, True))
    found = parents(scheduler)
    assert len(found) == MAX_DEPENDENT + MAX_IDLE
    assert all(parent == stream_id - 2 or parent == 0 for stream_id, parent in found.items())
    ready(scheduler, last - 2, last)
    assert drain(scheduler) == [last - 2, last]
    scheduler.adjust(last, Dependency(2 * MAX_IDLE + 1))
    assert parents(scheduler)[last] == 2 * MAX_IDLE + 1


def test_streams_beyond_the_tree_come_last() -> None:
    scheduler = DependencyScheduler()
    inside = range(1, 2 * MAX_DEPENDENT, 2)
    first, second = 2 * MAX_DEPENDENT + 1, 2 * MAX_DEPENDENT + 3
    for stream_id in (*inside, first, second):
        scheduler.open(stream_id)
    scheduler.adjust(second, Dependency(0, 256, True))
    scheduler.adjust(1, Dependency(second))
    assert parents(scheduler) == dict.fromkeys(inside, 0)
    for stream_id in (second, first, 1, 3):
        scheduler.push(stream_id)
    assert drain(scheduler) == [1, 3, second, first]
    for stream_id in (second, first):
        scheduler.push(stream_id)
        scheduler.block(stream_id)
        scheduler.close(stream_id)
    assert not scheduler
    assert parents(scheduler) == dict.fromkeys(inside, 0)


def test_an_idle_stream_that_opens_when_the_tree_is_full_loses_its_place() -> None:
    scheduler = DependencyScheduler()
    last = 2 * MAX_DEPENDENT + 1
    scheduler.adjust(last, Dependency(0, 256, True))
    for stream_id in range(1, last, 2):
        scheduler.open(stream_id)
    scheduler.adjust(1, Dependency(last))
    assert parents(scheduler)[1] == last
    ready(scheduler, last, 1)
    assert parents(scheduler) == dict.fromkeys(range(1, last, 2), 0)
    assert drain(scheduler) == [1, last]
