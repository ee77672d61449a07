"""Budgets: a bound within any time, none over a lifetime."""

from __future__ import annotations

from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperserver.protocol.h2.budget import Budget


def test_it_starts_full_and_is_exhausted_by_a_burst() -> None:
    budget = Budget(3, 1.0)
    assert [budget.spend(100.0) for _ in range(5)] == [True, True, True, False, False]


@pytest.mark.parametrize("beginning", [0.0, 1e-9, 5.0, 1e9])
def test_when_the_clock_began_does_not_matter(beginning: float) -> None:
    budget = Budget(2, 0.5)
    assert [budget.spend(beginning) for _ in range(3)] == [True, True, False]
    assert [budget.spend(beginning + 2) for _ in range(2)] == [True, False]


def test_it_refills_at_its_rate() -> None:
    budget = Budget(4, 2.0)
    assert budget.spend(0.0, 4)
    assert not budget.spend(0.25)
    assert budget.spend(0.5)
    assert not budget.spend(0.5)
    assert budget.spend(1.5, 2)
    assert not budget.spend(1.5)


def test_it_never_holds_more_than_the_burst() -> None:
    budget = Budget(2, 10.0)
    assert budget.spend(0.0, 2)
    assert [budget.spend(1000.0) for _ in range(3)] == [True, True, False]


def test_all_or_nothing_is_taken() -> None:
    budget = Budget(3, 0.0)
    assert not budget.spend(0.0, 4)
    assert budget.spend(0.0, 3)
    assert budget.spend(0.0, 0)
    assert not budget.spend(0.0)


def test_what_is_refused_is_not_lost() -> None:
    """A refusal must not reset the time: it would keep a budget that is asked often empty."""
    budget = Budget(1, 1.0)
    assert budget.spend(0.0)
    assert [budget.spend(t) for t in (0.25, 0.5, 0.75, 1.0)] == [False, False, False, True]


def test_a_rate_of_zero_never_refills() -> None:
    budget = Budget(1, 0.0)
    assert budget.spend(1.0)
    assert not budget.spend(1e12)


@pytest.mark.parametrize("times", [(10.0, 10.0, 10.0), (10.0, 9.0, 10.0), (10.0, 0.0, -5.0)])
def test_time_that_stands_or_goes_back_buys_nothing(times: tuple[float, ...]) -> None:
    budget = Budget(1, 1.0)
    assert [budget.spend(t) for t in times] == [True, False, False]
    assert budget.spend(11.0)


def test_time_that_goes_back_costs_nothing() -> None:
    budget = Budget(3, 1.0)
    assert [budget.spend(t) for t in (10.0, 5.0, 0.0, 10.0)] == [True, True, True, False]


def test_a_long_lived_connection_below_the_rate_is_never_refused() -> None:
    budget = Budget(10, 5.0)
    assert all(budget.spend(second / 4) for second in range(100_000))


def test_a_flood_is_refused_however_long_the_connection_behaved() -> None:
    budget = Budget(10, 5.0)
    for second in range(10_000):
        assert budget.spend(float(second))
    taken = sum(budget.spend(10_000 + i / 1000) for i in range(1000))
    assert 14 <= taken <= 15


def test_it_has_no_dict() -> None:
    assert not hasattr(Budget(1, 1.0), "__dict__")


@settings(derandomize=True, deadline=None)
@given(
    burst=st.integers(1, 20),
    rate=st.floats(0, 50),
    spends=st.lists(st.tuples(st.floats(-0.5, 2), st.integers(0, 5)), max_size=60),
)
def test_no_window_of_time_has_more_than_burst_and_rate_allow(
    burst: int, rate: float, spends: list[tuple[float, int]]
) -> None:
    budget = Budget(burst, rate)
    now, latest = 100.0, -inf
    taken: list[tuple[float, int]] = []
    for step, n in spends:
        now += step
        latest = max(latest, now)
        if budget.spend(now, n):
            taken.append((latest, n))
    for first in range(len(taken)):
        total = 0
        for time, n in taken[first:]:
            total += n
            assert total <= burst + rate * (time - taken[first][0]) + 1e-6
