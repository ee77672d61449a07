"""The contract of a scheduler on both schemes, then what that of RFC 9218 makes of its signals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperserver.protocol.h2 import scheduler as module
from hyperserver.protocol.h2.priority import Dependency, Priority
from hyperserver.protocol.h2.scheduler import (
    MAX_ANNOUNCED,
    SHARE,
    DependencyScheduler,
    Scheduler,
    UrgencyScheduler,
)
from tests.protocol.h2.turns import drain, parents, ready, serve, urgent

QUICK = settings(max_examples=300, deadline=None, derandomize=True)
Signal = Priority | Dependency


@pytest.fixture(params=[UrgencyScheduler, DependencyScheduler])
def scheduler(request: pytest.FixtureRequest) -> Scheduler:
    made: Scheduler = request.param()
    return made


# ---- the contract ---------------------------------------------------------------------------


def test_nothing_is_ready_at_first(scheduler: Scheduler) -> None:
    assert (scheduler.pop(), len(scheduler), bool(scheduler)) == (None, 0, False)
    scheduler.open(1)
    assert (scheduler.pop(), len(scheduler), bool(scheduler)) == (None, 0, False)


def test_a_stream_that_is_ready_alone(scheduler: Scheduler) -> None:
    ready(scheduler, 1)
    assert (len(scheduler), bool(scheduler)) == (1, True)
    assert scheduler.pop() == 1
    assert (scheduler.pop(), len(scheduler), bool(scheduler)) == (None, 0, False)


def test_every_ready_stream_is_popped_once(scheduler: Scheduler) -> None:
    ready(scheduler, 1, 3, 5, 2)
    assert (len(scheduler), bool(scheduler)) == (4, True)
    assert sorted(drain(scheduler)) == [1, 2, 3, 5]
    assert (len(scheduler), bool(scheduler)) == (0, False)


@pytest.mark.parametrize("others", [(), (3,), (3, 5)])
def test_pushing_twice_is_pushing_once(scheduler: Scheduler, others: tuple[int, ...]) -> None:
    ready(scheduler, 1, *others)
    scheduler.push(1)
    assert len(scheduler) == 1 + len(others)
    assert sorted(drain(scheduler)) == [1, *others]


@pytest.mark.parametrize("others", [(), (3,), (3, 5)])
def test_a_blocked_stream_is_not_served(scheduler: Scheduler, others: tuple[int, ...]) -> None:
    ready(scheduler, 1, *others)
    scheduler.block(1)
    scheduler.block(1)
    assert len(scheduler) == len(others)
    assert sorted(drain(scheduler)) == list(others)
    scheduler.push(1)
    assert drain(scheduler) == [1]


@pytest.mark.parametrize("others", [(), (3,), (3, 5)])
def test_a_closed_stream_is_not_served(scheduler: Scheduler, others: tuple[int, ...]) -> None:
    ready(scheduler, 1, *others)
    scheduler.close(1)
    scheduler.close(1)
    scheduler.push(1)
    assert sorted(drain(scheduler)) == list(others)


def test_a_stream_that_is_not_open_cannot_be_ready(scheduler: Scheduler) -> None:
    scheduler.push(1)
    scheduler.block(1)
    scheduler.close(1)
    assert not scheduler


def test_opening_twice_changes_nothing(scheduler: Scheduler) -> None:
    ready(scheduler, 1, 3)
    scheduler.open(1)
    assert sorted(drain(scheduler)) == [1, 3]


def test_an_id_may_be_opened_again(scheduler: Scheduler) -> None:
    """HTTP/2 has no such thing, and a scheduler is not the one to notice."""
    ready(scheduler, 1, 3)
    scheduler.close(1)
    ready(scheduler, 1)
    assert sorted(drain(scheduler)) == [1, 3]


@pytest.mark.parametrize("stream_id", [0, -1, -2])
def test_what_is_no_stream_is_ignored(scheduler: Scheduler, stream_id: int) -> None:
    for signal in (Priority(0), Dependency(3)):
        scheduler.adjust(stream_id, signal)
    scheduler.open(stream_id)
    scheduler.push(stream_id)
    assert not scheduler
    scheduler.adjust(1, Dependency(stream_id))
    scheduler.close(stream_id)
    ready(scheduler, 1)
    assert drain(scheduler) == [1]


def test_without_priorities_streams_that_send_little_go_in_order(scheduler: Scheduler) -> None:
    ready(scheduler, 1, 3, 5, 7, 9)
    assert drain(scheduler) == [1, 3, 5, 7, 9]


def test_the_other_schemes_signals_are_ignored() -> None:
    urgency = UrgencyScheduler()
    urgency.adjust(3, Dependency(1))
    ready(urgency, 1, 3)
    urgency.adjust(1, Dependency(3, 256, True))
    assert urgency.announced == 0
    assert drain(urgency) == [1, 3]
    dependency = DependencyScheduler()
    dependency.adjust(3, Priority(0))
    ready(dependency, 1, 3)
    dependency.adjust(1, Priority(7))
    assert drain(dependency) == [1, 3]


# ---- no stream starves ----------------------------------------------------------------------


def test_one_of_so_many_frames_goes_to_the_longest_waiting() -> None:
    scheduler = urgent({1: Priority(0), 3: Priority(7), 5: Priority(7)})
    frames = serve(scheduler, 4 * SHARE)
    turn = [1] * (SHARE - 1)
    assert frames == [*turn, 3, *turn, 5, *turn, 3, *turn, 5]


def test_the_share_is_as_small_as_promised() -> None:
    scheduler = urgent({1: Priority(0), **{i: Priority(7) for i in range(3, 103, 2)}})
    frames = serve(scheduler, 100 * SHARE)
    assert frames.count(1) == 100 * (SHARE - 1)
    assert set(frames) == set(range(1, 103, 2))


def test_the_order_of_small_responses_is_strict() -> None:
    """The count begins anew with each competition, however many there were before."""
    scheduler = UrgencyScheduler()
    for first in range(1, 601, 6):
        ready(scheduler, first, first + 2, first + 4)
        scheduler.adjust(first + 4, Priority(0))
        scheduler.adjust(first + 2, Priority(1))
        assert drain(scheduler) == [first + 4, first + 2, first]


def test_a_stream_behind_an_endless_one_is_served() -> None:
    scheduler = urgent({1: Priority(), 3: Priority()})
    assert serve(scheduler, 2 * SHARE).count(3) == 2


def test_a_dependent_of_an_endless_stream_is_served() -> None:
    scheduler = DependencyScheduler()
    ready(scheduler, 1, 3)
    scheduler.adjust(3, Dependency(1))
    assert serve(scheduler, 2 * SHARE).count(3) == 2


def test_the_wait_is_not_prolonged_by_pushes_or_priorities(scheduler: Scheduler) -> None:
    ready(scheduler, 1, 3)
    scheduler.adjust(1, Priority(0))
    scheduler.adjust(3, Dependency(1))
    frames = []
    for n in range(2 * SHARE):
        scheduler.push(3)
        scheduler.adjust(3, Priority(6 + n % 2, n % 3 == 0))
        scheduler.adjust(3, Dependency(1, 1 + n, n % 3 == 0))
        frames += serve(scheduler, 1)
    assert 3 in frames


@pytest.mark.parametrize("streams", [2, 5, 40])
def test_the_wait_is_bounded(scheduler: Scheduler, streams: int) -> None:
    ids = range(1, 2 * streams, 2)
    for stream_id in ids:
        scheduler.open(stream_id)
        scheduler.adjust(stream_id, Priority(stream_id % 8, stream_id % 3 == 0))
        scheduler.adjust(stream_id, Dependency(stream_id - 2 if stream_id % 4 == 1 else 0, 1))
    for stream_id in ids:
        scheduler.push(stream_id)
    waiting = dict.fromkeys(ids, 0)
    for frame in range(1, 4 * SHARE * streams):
        for stream_id in serve(scheduler, 1):
            assert frame - waiting[stream_id] <= SHARE * streams
            waiting[stream_id] = frame
    assert all(waiting.values())


# ---- RFC 9218 -------------------------------------------------------------------------------


def test_lower_urgency_goes_first() -> None:
    scheduler = urgent({1: Priority(7), 3: Priority(3), 5: Priority(0), 7: Priority(5, True)})
    assert drain(scheduler) == [5, 3, 7, 1]


def test_urgency_decides_between_the_kinds() -> None:
    assert drain(urgent({1: Priority(2, True), 3: Priority(1)})) == [3, 1]
    assert drain(urgent({1: Priority(2), 3: Priority(1, True)})) == [3, 1]


def test_non_incremental_streams_go_one_by_one_in_order_of_their_ids() -> None:
    scheduler = urgent(dict.fromkeys((1, 3, 5), Priority()), order=(5, 1, 3))
    assert serve(scheduler, 5) == [1] * 5
    scheduler.close(1)
    assert serve(scheduler, 5) == [3] * 5
    scheduler.block(3)
    assert serve(scheduler, 3) == [5] * 3
    scheduler.push(3)
    assert serve(scheduler, 2) == [3, 3]


def test_incremental_streams_share() -> None:
    scheduler = urgent(dict.fromkeys((1, 3, 5), Priority(3, True)))
    assert serve(scheduler, 90) == [1, 3, 5] * 30


def test_incremental_streams_share_in_the_order_in_which_they_are_ready() -> None:
    scheduler = urgent(dict.fromkeys((1, 3, 5), Priority(3, True)), order=(5, 1))
    assert serve(scheduler, 3) == [5, 1, 5]
    scheduler.push(3)
    assert serve(scheduler, 4) == [1, 5, 3, 1]


def test_the_kinds_take_turns_within_an_urgency() -> None:
    scheduler = urgent(
        {1: Priority(), 3: Priority(3, True), 5: Priority(3, True), 7: Priority(4), 9: Priority()}
    )
    assert serve(scheduler, 8) == [1, 3, 1, 5, 1, 3, 1, 5]
    scheduler.close(1)
    assert serve(scheduler, 4) == [9, 3, 9, 5]


def test_neither_kind_loses_more_than_half() -> None:
    scheduler = urgent({1: Priority(), **{i: Priority(3, True) for i in range(3, 43, 2)}})
    count = Counter(serve(scheduler, 1000))
    assert 450 <= count[1] <= 550


def test_a_new_priority_takes_effect_at_once() -> None:
    scheduler = urgent({1: Priority(), 3: Priority(), 5: Priority()})
    assert serve(scheduler, 2) == [1, 1]
    scheduler.adjust(5, Priority(0))
    assert serve(scheduler, 2) == [5, 5]
    scheduler.adjust(5, Priority(3, True))
    assert serve(scheduler, 4) == [1, 5, 1, 5]
    scheduler.adjust(5, Priority(7))
    assert serve(scheduler, 2) == [1, 1]


def test_the_priority_of_the_stream_that_is_ready_alone() -> None:
    scheduler = urgent({1: Priority()})
    scheduler.adjust(1, Priority(7))
    ready(scheduler, 3)
    assert drain(scheduler) == [3, 1]


def test_the_same_priority_again_does_not_cost_a_turn() -> None:
    scheduler = urgent(dict.fromkeys((1, 3, 5), Priority(3, True)))
    scheduler.adjust(1, Priority(3, True))
    assert serve(scheduler, 3) == [1, 3, 5]


def test_a_priority_out_of_range_sorts_where_it_points() -> None:
    assert drain(urgent({1: Priority(8), 3: Priority(7), 5: Priority(-1)})) == [5, 3, 1]


def test_an_announced_priority_holds_once_the_stream_is_open() -> None:
    scheduler = UrgencyScheduler()
    scheduler.adjust(3, Priority(1))
    scheduler.adjust(3, Priority(5))
    scheduler.adjust(5, Priority(2))
    assert scheduler.announced == 2
    ready(scheduler, 1, 3, 5)
    assert scheduler.announced == 0
    assert drain(scheduler) == [5, 1, 3]


def test_a_closed_streams_priority_is_of_no_interest() -> None:
    scheduler = UrgencyScheduler()
    scheduler.open(5)
    scheduler.close(5)
    for stream_id in (1, 3, 5):
        scheduler.adjust(stream_id, Priority(0))
    assert scheduler.announced == 0


def test_streams_that_were_left_out_are_no_longer_announced() -> None:
    scheduler = UrgencyScheduler()
    for stream_id in (2, 4, 3, 5, 7, 9):
        scheduler.adjust(stream_id, Priority(0))
    scheduler.open(7)
    assert scheduler.announced == 3  # 2 and 4 are the server's, 9 may yet come
    scheduler.open(4)
    assert scheduler.announced == 1


def test_announcements_are_bounded_and_the_newest_are_kept() -> None:
    scheduler = UrgencyScheduler()
    for stream_id in range(1, 100_001, 2):
        scheduler.adjust(stream_id, Priority(0))
    scheduler.adjust(99_999, Priority(1))
    assert scheduler.announced == MAX_ANNOUNCED
    first_kept = 100_001 - 2 * MAX_ANNOUNCED
    scheduler.adjust(first_kept, Priority(1))  # known already: pushes nobody out
    assert scheduler.announced == MAX_ANNOUNCED
    ready(scheduler, first_kept - 2, first_kept)
    assert drain(scheduler) == [first_kept, first_kept - 2]


def test_nothing_is_kept_of_closed_streams() -> None:
    scheduler = UrgencyScheduler()
    for stream_id in range(1, 2001, 2):
        scheduler.adjust(stream_id, Priority(stream_id % 8, stream_id % 3 == 0))
        ready(scheduler, stream_id)
        if stream_id > 20:
            serve(scheduler, 3)
            scheduler.close(stream_id - 20)
    assert len(scheduler._open) == 10
    assert len(scheduler._waiting) == 10
    assert len(scheduler._one_by_one) + len(scheduler._shared) == 10


# ---- any sequence of calls ------------------------------------------------------------------

ids = st.integers(0, 12) | st.sampled_from((101, 102, 2**31 - 1))
signals = st.builds(Priority, st.integers(-1, 8), st.booleans()) | st.builds(
    Dependency, ids, st.integers(0, 257), st.booleans()
)
calls = st.one_of(
    st.tuples(st.just("adjust"), ids, signals),
    st.tuples(st.sampled_from(("open", "push", "push", "block", "close")), ids),
    st.tuples(st.sampled_from(("pop", "serve"))),
)


class Model:
    """A scheduler next to what may be said of any: who is open and who is ready, and how long."""

    def __init__(self, make: Callable[[], UrgencyScheduler | DependencyScheduler]) -> None:
        self.scheduler = make()
        self.opened: set[int] = set()
        self.waits: dict[int, int] = {}  # frames since the stream was ready
        self.most = 0

    def call(self, name: str, stream_id: int = 0, *signal: Signal) -> None:
        if name == "pop" or name == "serve":
            self.pop(again=name == "serve")
            return
        getattr(self.scheduler, name)(stream_id, *signal)
        if name == "open" and stream_id > 0:
            self.opened.add(stream_id)
        elif name == "push" and stream_id in self.opened:
            self.waits.setdefault(stream_id, 0)
        elif name == "block" or name == "close":
            self.waits.pop(stream_id, None)
            if name == "close":
                self.opened.discard(stream_id)
        self.most = max(self.most, len(self.waits))

    def pop(self, again: bool = False) -> int | None:
        stream_id = self.scheduler.pop()
        if stream_id is None:
            assert not self.waits
            return None
        del self.waits[stream_id]
        for other in self.waits:
            self.waits[other] += 1
            assert self.waits[other] < SHARE * self.most
        if again:
            self.call("push", stream_id)
        return stream_id

    def check(self) -> None:
        scheduler = self.scheduler
        assert len(scheduler) == len(self.waits)
        assert bool(scheduler) is bool(self.waits)
        assert scheduler._open.keys() == self.opened
        if isinstance(scheduler, UrgencyScheduler):
            queues = scheduler._one_by_one, scheduler._shared
            assert sorted(i for queue in queues for *_, i in queue) == sorted(scheduler._waiting)
            assert all(queue == sorted(queue) for queue in queues)
            assert scheduler.announced <= MAX_ANNOUNCED
            assert not scheduler._announced.keys() & self.opened
        else:
            parents(scheduler)
            assert {
                stream_id for stream_id, node in scheduler._open.items() if node.active
            } == scheduler._waiting.keys()
            assert len(scheduler._idle) <= module.MAX_IDLE
            assert len(scheduler._nodes) - len(scheduler._idle) <= module.MAX_DEPENDENT
            assert scheduler._idle.keys() <= scheduler._nodes.keys()
            assert scheduler._nodes.keys() <= scheduler._idle.keys() | self.opened


@pytest.mark.parametrize("make", [UrgencyScheduler, DependencyScheduler])
@QUICK
@given(script=st.lists(calls, max_size=80), small=st.booleans())
def test_any_sequence_of_calls(
    make: Callable[[], UrgencyScheduler | DependencyScheduler],
    script: list[tuple[str, int, Signal]],
    small: bool,
) -> None:
    """Never raises, serves who is ready and nobody else, nobody too late, in bounded memory."""
    with pytest.MonkeyPatch.context() as patch:
        if small:  # so that a short script reaches every bound
            patch.setattr(module, "MAX_ANNOUNCED", 2)
            patch.setattr(module, "MAX_DEPENDENT", 3)
            patch.setattr(module, "MAX_IDLE", 2)
        model = Model(make)
        for call in script:
            model.call(*call)
            model.check()
        ready_now = set(model.waits)
        served = {model.pop(again=True) for _ in range(SHARE * len(ready_now))}
        assert served == ready_now
        while model.pop() is not None:
            model.check()


@pytest.mark.parametrize("make", [UrgencyScheduler, DependencyScheduler])
def test_the_same_calls_give_the_same_order(
    make: Callable[[], UrgencyScheduler | DependencyScheduler],
) -> None:
    def run() -> list[int]:
        scheduler = make()
        for stream_id in range(1, 60, 2):
            scheduler.open(stream_id)
            scheduler.adjust(stream_id, Priority(stream_id % 5, stream_id % 7 < 3))
            scheduler.adjust(stream_id, Dependency(stream_id // 3, 1 + stream_id))
            scheduler.push(stream_id)
        return serve(scheduler, 500)

    assert run() == run()
