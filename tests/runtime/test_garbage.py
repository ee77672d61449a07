from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from hyperserver.runtime.garbage import collect_less_often


@pytest.fixture(autouse=True)
def thresholds() -> Iterator[tuple[int, int, int]]:
    before = gc.get_threshold()
    yield before
    gc.set_threshold(*before)


@pytest.mark.parametrize("default", [700, 2_000])
def test_the_defaults_of_cpython_are_raised(default: int) -> None:
    gc.set_threshold(default, 7, 5)
    collect_less_often()
    assert gc.get_threshold()[0] >= 10_000
    assert gc.get_threshold()[1] == 7


@pytest.mark.parametrize("chosen", [0, 5_000, 100_000])
def test_what_somebody_has_chosen_is_left_alone(chosen: int) -> None:
    """0 is a collector that was turned off."""
    gc.set_threshold(chosen, 7, 5)
    collect_less_often()
    assert gc.get_threshold()[0] == chosen
