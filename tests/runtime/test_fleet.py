"""The decisions about workers, by a clock of our own."""

from __future__ import annotations

import logging

import pytest

from hyperserver.runtime.fleet import Action, Drain, Fleet, Force, Kill, Pace, Say, Start

PACE = Pace(startup=60.0, heartbeat=10.0, drain=30.0)


class Play:
    """A fleet with what it has asked for; numbers of workers count from 1."""

    def __init__(self, count: int, *, ready: bool = True, pace: Pace = PACE) -> None:
        self.now = 100.0
        self.fleet = Fleet(count, pace)
        self.fleet.begin(self.now)
        self.said: list[str] = []
        if ready:
            for action in self.take():
                assert isinstance(action, Start)
                self.fleet.ready(action.number, self.now)
            assert self.take() == []
            assert self.fleet.is_settled

    def take(self) -> list[Action]:
        actions = self.fleet.take_actions()
        self.said += [action.text for action in actions if isinstance(action, Say)]
        return [action for action in actions if not isinstance(action, Say)]

    def wait(self, seconds: float) -> list[Action]:
        self.now += seconds
        self.fleet.tick(self.now)
        return self.take()

    def beat(self) -> None:
        for number in list(self.fleet.members):
            self.fleet.beat(number, self.now)

    def ready(self, number: int) -> list[Action]:
        self.fleet.ready(number, self.now)
        return self.take()

    def exits(self, number: int, message: str = "") -> list[Action]:
        self.fleet.exited(number, "was killed", self.now, message)
        return self.take()

    def reload(self) -> list[Action]:
        self.fleet.reload(self.now)
        return self.take()


def test_the_beginning() -> None:
    play = Play(3, ready=False)
    assert play.take() == [Start(1, 0, 0), Start(2, 1, 0), Start(3, 2, 0)]
    assert not play.fleet.is_settled
    for number in (1, 2, 3):
        assert play.ready(number) == []
    assert play.fleet.is_settled
    assert play.fleet.ready_count == 3


# ---- failures -----------------------------------------------------------------------------


def test_a_dead_worker_is_replaced_at_once_and_the_others_go_on() -> None:
    play = Play(4)
    assert play.exits(2) == [Start(5, 1, 0)]
    assert play.said == ["worker 2: was killed; starting another"]
    play.ready(5)
    assert play.fleet.is_settled


def test_repeated_failures_back_off_and_are_forgiven() -> None:
    play = Play(2, pace=Pace(heartbeat=1000.0))
    number, pauses = 1, []
    for _ in range(10):
        actions = play.exits(number)
        waited = 0.0
        while not actions:
            look = play.fleet.next_look()
            assert look is not None
            assert look > play.now, "a look that does nothing would come again at once"
            waited += look - play.now
            actions = play.wait(look - play.now)
        pauses.append(waited)
        (start,) = actions
        assert isinstance(start, Start)
        number = start.number
        play.ready(number)
    assert pauses == pytest.approx([0, 0.25, 0.5, 1, 2, 4, 8, 16, 30, 30])
    assert play.exits(2) == [Start(number + 1, 1, 0)], "each slot has its own pauses"
    play.ready(number + 1)
    play.wait(10.0)
    assert play.exits(number) == [Start(number + 2, 0, 0)]


def test_without_any_worker_the_pause_stays_short() -> None:
    play = Play(1)
    for number in range(1, 9):
        if not (actions := play.exits(number)):
            actions = play.wait(1.0)
        assert actions == [Start(number + 1, 0, 0)]


@pytest.mark.parametrize(("count", "enough"), [(1, 1), (2, 2), (3, 3), (8, 3)])
def test_failures_before_any_worker_was_ready_end_it(count: int, enough: int) -> None:
    play = Play(count, ready=False)
    play.take()
    for number in range(1, enough):
        assert play.exits(number, "no database") == []
        look = play.fleet.next_look()
        assert look is None or look > play.now
    assert not play.fleet.failed
    actions = play.exits(enough, "no database")
    assert play.fleet.failed
    assert actions == [Kill(number) for number in range(enough + 1, count + 1)]
    for number in range(enough + 1, count + 1):
        play.exits(number)
    assert play.fleet.over
    assert play.said == []  # whoever runs the fleet says it, once


def test_one_failure_at_the_start_waits_for_the_others() -> None:
    play = Play(2, ready=False)
    play.take()
    assert play.exits(1) == []
    assert play.wait(5) == []
    assert play.ready(2) == [Start(3, 0, 0)]


# ---- time ---------------------------------------------------------------------------------


def test_a_loop_that_stands_still_is_killed_and_its_worker_replaced() -> None:
    play = Play(2)
    play.now += 5
    play.fleet.beat(1, play.now)
    assert play.fleet.next_look() == 110.0
    assert play.wait(5) == [Kill(2, stuck=True)]
    assert play.wait(1) == []  # once
    assert play.exits(2) == [Start(3, 1, 0)]
    assert "is killed, as it does not respond" in play.said[0]


def test_a_worker_that_never_becomes_ready_is_killed() -> None:
    play = Play(1, ready=False)
    play.take()
    assert play.wait(59.9) == []
    assert play.wait(0.1) == [Kill(1, stuck=True)]


def test_a_drain_that_does_not_end_is_ended() -> None:
    play = Play(1)
    play.fleet.stop(play.now)
    assert play.take() == [Drain(1, rolling=False)]
    assert play.wait(29.9) == []  # also without signs of life
    assert play.wait(0.1) == [Kill(1)]
    play.exits(1)
    assert play.fleet.over
    assert play.fleet.next_look() is None


# ---- reloading ----------------------------------------------------------------------------


def test_a_reload_goes_from_slot_to_slot() -> None:
    play = Play(2)
    assert play.reload() == [Start(3, 0, 1)]
    assert play.ready(3) == [Drain(1, rolling=True), Start(4, 1, 1)]
    assert not play.fleet.is_settled
    assert play.ready(4) == [Drain(2, rolling=True)]
    assert play.fleet.is_settled
    assert play.exits(1) == play.exits(2) == []
    assert play.said == []


def test_a_reload_whose_first_worker_fails_is_given_up() -> None:
    play = Play(2)
    play.reload()
    assert play.exits(3, "SyntaxError") == []
    assert play.said == ["the reload is given up, the workers in place stay: worker 3: SyntaxError"]
    assert play.fleet.is_settled
    assert play.exits(1) == [Start(4, 0, 0)], "as it was before"
    play.ready(4)
    assert play.reload() == [Start(5, 0, 1)], "and it can be tried again"


def test_a_reload_that_has_proved_itself_goes_on_after_a_failure() -> None:
    play = Play(2)
    play.reload()
    play.ready(3)
    assert play.exits(4) == [Start(5, 1, 1)]
    assert play.ready(5) == [Drain(2, rolling=True)]


def test_a_worker_that_dies_during_a_reload_is_not_replaced_by_one_on_trial() -> None:
    play = Play(2)
    play.reload()
    assert play.exits(2) == [Start(4, 1, 0)]
    play.ready(4)
    assert play.ready(3) == [Drain(1, rolling=True), Start(5, 1, 1)]


def test_a_successor_takes_the_place_of_one_that_dies_meanwhile() -> None:
    play = Play(1)
    play.reload()
    assert play.exits(1) == []
    assert play.ready(2) == []
    assert play.fleet.is_settled


def test_reloads_in_quick_succession_end_with_the_last() -> None:
    play = Play(1)
    assert play.reload() == [Start(2, 0, 1)]
    assert play.reload() == []
    assert play.ready(2) == [Drain(1, rolling=True), Start(3, 0, 2)]
    assert play.ready(3) == [Drain(2, rolling=True)]


# ---- recycling ----------------------------------------------------------------------------


def test_worn_workers_are_replaced_one_at_a_time() -> None:
    play = Play(3)
    play.fleet.worn(1, "has served for long", play.now)
    play.fleet.worn(3, "holds much memory", play.now)
    play.fleet.worn(3, "holds much memory", play.now)
    assert play.take() == [Start(4, 0, 0)]
    assert play.ready(4) == [Drain(1, rolling=True), Start(5, 2, 0)]
    assert play.ready(5) == [Drain(3, rolling=True)]
    assert play.fleet.is_settled
    assert play.said == [
        "worker 1: has served for long; replacing it",
        "worker 3: holds much memory; replacing it",
    ]


def test_a_worn_worker_stays_while_its_successor_fails() -> None:
    play = Play(1)
    play.fleet.worn(1, "has served for long", play.now)
    play.take()
    assert play.exits(2) == [Start(3, 0, 0)]
    assert play.exits(3) == []
    assert play.fleet.ready_count == 1
    assert play.wait(0.25) == [Start(4, 0, 0)]


def test_a_worker_that_leaves_by_itself_is_replaced_while_it_drains() -> None:
    play = Play(2)
    play.fleet.leaving(1, play.now)
    assert play.take() == [Start(3, 0, 0)]
    assert play.exits(1) == []
    assert play.said == []


# ---- counts and the end -------------------------------------------------------------------


def test_more_workers_and_fewer() -> None:
    play = Play(2)
    play.fleet.resize(3, play.now)
    assert play.take() == [Start(3, 2, 0)]
    play.ready(3)
    play.fleet.resize(1, play.now)
    assert play.take() == [Drain(3, rolling=True), Drain(2, rolling=True)]
    assert play.exits(3) == play.exits(2) == []
    assert play.fleet.is_settled


def test_fewer_workers_during_a_reload() -> None:
    play = Play(2)
    play.reload()
    play.ready(3)
    play.fleet.resize(1, play.now)
    assert play.take() == [Kill(4), Drain(2, rolling=True)]
    assert play.exits(4) == play.exits(2) == play.exits(1) == []
    assert play.fleet.is_settled


def test_the_end_takes_those_along_that_drain_already() -> None:
    play = Play(2)
    play.reload()
    play.ready(3)
    play.fleet.stop(play.now)
    assert play.take() == [
        Drain(1, rolling=False),
        Drain(2, rolling=False),
        Drain(3, rolling=False),
        Kill(4),
    ]
    assert play.exits(2) == [], "nothing is started any more"
    for number in (1, 3, 4):
        assert not play.fleet.over
        play.exits(number)
    assert play.fleet.over


def test_forcing() -> None:
    play = Play(1)
    play.reload()
    play.fleet.stop(play.now)
    play.take()
    play.fleet.force(play.now)
    assert play.take() == [Force(1)]
    assert play.wait(2) == [Kill(1)]


def test_strangers_and_the_dead_are_no_news() -> None:
    play = Play(1)
    play.fleet.beat(9, play.now)
    play.fleet.worn(9, "?", play.now)
    play.fleet.leaving(9, play.now)
    assert play.ready(9) == play.exits(9) == []
    assert play.ready(1) == []


def test_what_is_said_of_failures_is_an_error() -> None:
    play = Play(1)
    play.fleet.exited(1, "was killed", play.now)
    assert Say(logging.ERROR, "worker 1: was killed; starting another") in play.fleet.actions
