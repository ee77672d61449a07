from __future__ import annotations

import errno
import os
import resource
import sys
from collections.abc import Callable
from typing import cast

import pytest

from hyperserver.config import Limits
from hyperserver.protocol.answers import Answer, refusal
from hyperserver.protocol.events import RequestReceived
from hyperserver.runtime import admission as module
from hyperserver.runtime.admission import (
    BUSY,
    Admission,
    RequestGate,
    address_key,
    spare_descriptors,
)
from hyperserver.runtime.connection import Connection
from hyperserver.runtime.site import Site
from hyperserver.runtime.stream import AnyStream

Client = tuple[str, int]


class Door:
    """An admission, and the connections that came in."""

    def __init__(self, limits: Limits) -> None:
        self.inside: list[Client] = []
        self.admission = Admission(limits, cast("list[Connection]", self.inside))

    def enter(self, host: str = "10.0.0.1") -> bool:
        peer = (host, 1234)
        if self.admission.is_full() or not self.admission.take(peer):
            return False
        self.inside.append(peer)
        self.admission.made(peer, True)
        return True

    def leave(self) -> None:
        self.admission.left(self.inside.pop())


def test_without_limits_everybody_is_let_in() -> None:
    door = Door(Limits())
    assert all(door.enter() for _ in range(100))


def test_whoever_waits_is_called_when_there_is_room(caplog: pytest.LogCaptureFixture) -> None:
    door = Door(Limits(connections=2))
    assert [door.enter() for _ in range(3)] == [True, True, False]
    called: list[str] = []
    door.admission.wait(lambda: called.append("first"))
    door.admission.wait(lambda: called.append("second"))
    door.admission.retry()
    assert called == []
    door.leave()
    assert called == ["first", "second"]
    door.leave()
    assert called == ["first", "second"]
    assert "2 connections are open, more have to wait: `limits.connections`" in caplog.text


def test_what_is_being_made_counts_as_well() -> None:
    door = Door(Limits(connections=1))
    called: list[None] = []
    assert door.admission.take(("10.0.0.1", 1))
    assert door.admission.is_full()
    door.admission.wait(lambda: called.append(None))
    door.admission.made(("10.0.0.1", 1), False)
    assert called == [None]
    assert door.enter()


def test_one_address_and_all_its_connections(caplog: pytest.LogCaptureFixture) -> None:
    door = Door(Limits(connections_per_address=2))
    assert [door.enter("10.0.0.1") for _ in range(3)] == [True, True, False]
    assert door.enter("10.0.0.2")
    assert not door.enter("10.0.0.1")
    door.inside.remove(("10.0.0.1", 1234))
    door.admission.left(("10.0.0.1", 1234))
    assert door.enter("10.0.0.1")
    assert caplog.text.count("`limits.connections_per_address`") == 1
    assert "10.0.0.1 has 2 connections, more are closed" in caplog.text


def test_nothing_is_remembered_of_those_who_left() -> None:
    door = Door(Limits(connections_per_address=2))
    for host in ("10.0.0.1", "10.0.0.1", "2001:db8::1"):
        assert door.enter(host)
    for _ in range(3):
        door.leave()
    door.admission.take(("10.0.0.3", 1))
    door.admission.made(("10.0.0.3", 1), False)
    assert door.admission._addresses == {}


def test_a_unix_socket_has_no_address() -> None:
    door = Door(Limits(connections_per_address=1))
    for _ in range(2):
        assert door.admission.take("")
        door.admission.made("", True)
        door.admission.left(None)


def test_limits_can_change_while_serving() -> None:
    door = Door(Limits(connections=1))
    called: list[None] = []
    assert door.enter()
    assert not door.enter()
    door.admission.wait(lambda: called.append(None))
    door.admission.use(Limits(connections=2))
    assert called == [None]
    assert door.enter()
    door.admission.use(Limits(connections=1))
    assert door.admission.room == -1
    door.leave()
    assert not door.enter()


def test_a_failure_is_told_once_and_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    door = Door(Limits())
    called: list[None] = []
    for _ in range(3):
        door.admission.failed(OSError(errno.EMFILE, "Too many open files"))
        door.admission.wait(lambda: called.append(None))
        door.admission.retry()
    assert called == [None] * 3
    assert caplog.text.count("cannot accept connections, they have to wait: Too many open") == 1


def test_a_failure_is_told_again_after_a_while(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr(module, "monotonic", lambda: now)
    door = Door(Limits())
    for now in (100.0, 159.0, 161.0):  # noqa: B007 - the clock reads it
        door.admission.failed(OSError(errno.EMFILE, "Too many open files"))
    assert len(caplog.records) == 2


# ---- descriptors -------------------------------------------------------------------------------


@pytest.fixture
def open_files(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Pretend that the limit of open files is another."""

    def limit(number: int) -> None:
        monkeypatch.setattr(resource, "getrlimit", lambda _: (number, number))

    return limit


def test_what_is_open_and_a_share_for_the_application_are_left(
    open_files: Callable[[int], None],
) -> None:
    used = len(os.listdir("/dev/fd"))  # noqa: PTH208
    open_files(1024)
    assert abs(spare_descriptors() - (1024 - used - 102)) <= 1
    open_files(100_000)
    assert abs(spare_descriptors() - (100_000 - used - 1000)) <= 1
    open_files(8)
    assert spare_descriptors() == 1
    open_files(resource.RLIM_INFINITY)
    assert spare_descriptors() == sys.maxsize


def test_the_limit_of_open_files_bounds_connections(
    open_files: Callable[[int], None], caplog: pytest.LogCaptureFixture
) -> None:
    open_files(1024)
    door = Door(Limits())
    door.admission.measure()
    assert 0 < door.admission.bound < 1024
    assert not caplog.records
    door.admission.use(Limits(connections=5))
    assert door.admission.bound == 5


def test_a_limit_that_cannot_be_reached_is_told(
    open_files: Callable[[int], None], caplog: pytest.LogCaptureFixture
) -> None:
    open_files(1024)
    door = Door(Limits(connections=5000))
    door.admission.measure()
    assert door.admission.bound < 1024
    assert "`limits.connections`: the limit of open files allows for" in caplog.text
    assert ", not 5000; raise it" in caplog.text


def test_what_cannot_be_counted_is_guessed(
    open_files: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: str) -> list[str]:
        raise OSError

    open_files(1024)
    monkeypatch.setattr(os, "listdir", refuse)
    assert spare_descriptors() == 1024 - 32 - 102


def test_where_nothing_limits_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "resource", None)
    assert spare_descriptors() == sys.maxsize


# ---- addresses ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::/64"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
    ],
)
def test_what_counts_as_one_address(address: str, key: str) -> None:
    assert address_key(address) == key


# ---- requests ----------------------------------------------------------------------------------

REQUEST = cast("RequestReceived", object())


class Elsewhere:
    """A site with one answer."""

    def __init__(self, answer: Answer | None) -> None:
        self._answer = answer

    def answer(self, request: RequestReceived) -> Answer | None:
        return self._answer


@pytest.mark.parametrize("inner", [None, Elsewhere(None)])
def test_requests_over_the_limit_are_refused(inner: Elsewhere | None) -> None:
    running: list[object] = []
    gate = RequestGate(2, cast("list[AnyStream]", running), cast("Site | None", inner))
    assert gate.answer(REQUEST) is None
    running += [1, 2]
    answer = gate.answer(REQUEST)
    assert answer is BUSY
    assert answer.status == 503
    assert (b"retry-after", b"1") in answer.headers
    running.pop()
    assert gate.answer(REQUEST) is None


def test_what_the_site_answers_is_not_counted() -> None:
    gone = refusal(404, "no such challenge")
    gate = RequestGate(1, cast("list[AnyStream]", [1]), cast("Site", Elsewhere(gone)))
    assert gate.answer(REQUEST) is gone
