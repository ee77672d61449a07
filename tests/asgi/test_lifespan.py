from __future__ import annotations

from collections.abc import Callable

import pytest

from hyperserver.asgi.lifespan import LifespanCycle, LifespanState
from hyperserver.errors import LocalProtocolError

STARTUP_COMPLETE = {"type": "lifespan.startup.complete"}
STARTUP_FAILED = {"type": "lifespan.startup.failed", "message": "no database"}
SHUTDOWN_COMPLETE = {"type": "lifespan.shutdown.complete"}
SHUTDOWN_FAILED = {"type": "lifespan.shutdown.failed", "message": "still writing"}
ALL = [STARTUP_COMPLETE, STARTUP_FAILED, SHUTDOWN_COMPLETE, SHUTDOWN_FAILED]


def starting() -> LifespanCycle:
    cycle = LifespanCycle()
    cycle.startup()
    return cycle


def started() -> LifespanCycle:
    cycle = starting()
    cycle.send(STARTUP_COMPLETE)
    return cycle


def stopping() -> LifespanCycle:
    cycle = started()
    cycle.receive()
    cycle.shutdown()
    return cycle


def test_startup_completed_is_started() -> None:
    cycle = started()
    assert cycle.state is LifespanState.STARTED
    assert cycle.supported


def test_the_scope() -> None:
    cycle = LifespanCycle()
    assert cycle.scope == {
        "type": "lifespan",
        "asgi": {"version": "3.0", "spec_version": "2.0"},
        "state": {},
    }
    assert cycle.scope["state"] is cycle.application_state


def test_a_whole_life() -> None:
    cycle = LifespanCycle()
    assert cycle.receive() is None
    cycle.startup()
    assert cycle.receive() == {"type": "lifespan.startup"}
    assert cycle.receive() is None
    cycle.send(STARTUP_COMPLETE)
    assert cycle.receive() is None
    cycle.shutdown()
    assert cycle.receive() == {"type": "lifespan.shutdown"}
    cycle.send(SHUTDOWN_COMPLETE)
    assert cycle.state is LifespanState.STOPPED
    cycle.ended()
    assert cycle.state is LifespanState.STOPPED
    assert cycle.message == ""


@pytest.mark.parametrize(
    ("make", "message"), [(starting, STARTUP_FAILED), (stopping, SHUTDOWN_FAILED)]
)
def test_a_failure_keeps_its_message(
    make: Callable[[], LifespanCycle], message: dict[str, str]
) -> None:
    cycle = make()
    cycle.send(message)
    assert cycle.state is LifespanState.FAILED
    assert cycle.message == message["message"]
    cycle.ended()
    assert cycle.state is LifespanState.FAILED


def test_a_failure_need_not_say_why() -> None:
    cycle = starting()
    cycle.send({"type": "lifespan.startup.failed"})
    assert (cycle.state, cycle.message) == (LifespanState.FAILED, "")


def test_an_end_before_startup_completed_means_no_support() -> None:
    cycle = starting()
    cycle.ended()
    assert cycle.state is LifespanState.UNSUPPORTED
    assert not cycle.supported


@pytest.mark.parametrize("make", [started, stopping])
def test_an_early_end_after_startup_is_remembered_and_the_state_kept(
    make: Callable[[], LifespanCycle],
) -> None:
    cycle = make()
    cycle.ended()
    assert cycle.state is LifespanState.ENDED
    assert cycle.supported


@pytest.mark.parametrize(
    ("make", "allowed"),
    [
        (LifespanCycle, []),
        (starting, [STARTUP_COMPLETE, STARTUP_FAILED]),
        (started, []),
        (stopping, [SHUTDOWN_COMPLETE, SHUTDOWN_FAILED]),
    ],
)
@pytest.mark.parametrize("message", ALL, ids=lambda message: message["type"])
def test_a_message_out_of_order_is_refused_by_name(
    make: Callable[[], LifespanCycle], allowed: list[dict[str, str]], message: dict[str, str]
) -> None:
    cycle = make()
    before = cycle.state
    if message in allowed:
        cycle.send(message)
        return
    with pytest.raises(LocalProtocolError, match=message["type"]):
        cycle.send(message)
    assert cycle.state is before


@pytest.mark.parametrize(
    "message", [{"type": "lifespan.startup"}, {"type": "http.response.start"}, {}, {"type": None}]
)
def test_an_unknown_message_is_refused(message: dict[str, object]) -> None:
    cycle = starting()
    with pytest.raises(LocalProtocolError, match="not allowed while lifespan is starting"):
        cycle.send(message)


@pytest.mark.parametrize("message", [STARTUP_COMPLETE, STARTUP_FAILED])
def test_startup_is_answered_once(message: dict[str, str]) -> None:
    cycle = started()
    with pytest.raises(LocalProtocolError, match="started"):
        cycle.send(message)
