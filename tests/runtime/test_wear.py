from __future__ import annotations

from hyperserver.config import Recycle
from hyperserver.runtime.wear import Wear, resident_size


def test_nothing_wears_by_default() -> None:
    wear = Wear(Recycle(), 100.0, resident=lambda: 1 << 60)
    wear.requests = 10**9
    assert wear.due(10.0**9) == ""


def test_requests_with_this_workers_own_share_of_the_jitter() -> None:
    wear = Wear(Recycle(max_requests=10, jitter=50), 100.0, luck=0.4)
    for _ in range(11):
        wear.add()
    assert wear.due(100.0) == ""
    wear.add()
    assert wear.due(100.0) == "has answered 12 requests"


def test_without_jitter_the_limit_is_exact() -> None:
    wear = Wear(Recycle(max_requests=10, jitter=0), 100.0, luck=1.0)
    wear.requests = 10
    assert wear.due(100.0)


def test_age() -> None:
    wear = Wear(Recycle(max_lifetime=60.0, jitter=10), 100.0, luck=0.5)
    assert wear.due(162.9) == ""
    assert wear.due(163.0) == "has served for 63 s"


def test_memory_is_looked_at_now_and_then() -> None:
    sizes = [10 << 20, 300 << 20]
    wear = Wear(Recycle(max_rss=200 << 20), 100.0, resident=lambda: sizes.pop(0))
    assert wear.due(100.0) == ""
    assert wear.due(104.9) == ""
    assert wear.due(105.0) == "holds 300 MiB of memory"


def test_other_limits_for_what_has_been_counted() -> None:
    wear = Wear(Recycle(), 100.0)
    wear.requests = 50
    wear.change(Recycle(max_requests=40))
    assert wear.due(100.0) == "has answered 50 requests"


def test_this_process_holds_memory() -> None:
    assert 1 << 20 < resident_size() < 1 << 40
