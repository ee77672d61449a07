from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hyperserver.runtime.notify import Notifier

pytestmark = pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="systemd is Linux's")


class Systemd:
    """The other end of NOTIFY_SOCKET."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind("\0" + address[1:] if address[0] == "@" else address)
        self.sock.settimeout(5)

    def heard(self) -> list[str]:
        return self.sock.recv(4096).decode().split("\n")

    def silent(self) -> bool:
        self.sock.setblocking(False)
        try:
            self.sock.recv(4096)
        except BlockingIOError:
            return True
        finally:
            self.sock.settimeout(5)
        return False


Notify = Callable[..., Notifier]


@pytest.fixture
def notify() -> Iterator[Notify]:
    made: list[Notifier] = []

    def make(address: str, watchdog: float | None = None) -> Notifier:
        made.append(Notifier(address, watchdog))
        return made[-1]

    yield make
    for notifier in made:
        notifier.close()


@pytest.fixture(params=["path", "abstract"])
def systemd(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Systemd]:
    abstract = request.param == "abstract"
    if abstract and not Path("/proc/net/unix").exists():
        pytest.skip("abstract sockets are Linux's")
    listening = Systemd(f"@{tmp_path}" if abstract else str(tmp_path / "notify"))
    yield listening
    listening.sock.close()


def test_the_states_of_a_server(systemd: Systemd, notify: Notify) -> None:
    notifier = notify(systemd.address)
    notifier.ready("2 workers")
    assert systemd.heard() == ["READY=1", "STATUS=2 workers"]
    notifier.status("draining\nworker 1")
    assert systemd.heard() == ["STATUS=draining worker 1"]
    notifier.main_pid(7)
    assert systemd.heard() == ["MAINPID=7"]
    notifier.stopping()
    assert systemd.heard() == ["STOPPING=1"]


def test_a_reload_says_when_it_began(systemd: Systemd, notify: Notify) -> None:
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    notify(systemd.address).reloading()
    state, when = systemd.heard()
    assert state == "RELOADING=1"
    name, _, value = when.partition("=")
    assert name == "MONOTONIC_USEC"
    assert before <= int(value) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000


def test_signs_of_life_come_twice_in_the_time_there_is(systemd: Systemd, notify: Notify) -> None:
    notifier = notify(systemd.address, 10.0)
    assert notifier.beat_interval == 5.0
    notifier.beat(100.0)
    assert systemd.heard() == ["WATCHDOG=1"]
    notifier.beat(104.9)
    assert systemd.silent()
    notifier.beat(105.0)
    assert systemd.heard() == ["WATCHDOG=1"]


def test_without_a_watchdog_there_are_none(systemd: Systemd, notify: Notify) -> None:
    notifier = notify(systemd.address)
    notifier.beat(100.0)
    assert notifier.beat_interval is None
    assert systemd.silent()


def test_what_the_environment_says_is_not_handed_on(systemd: Systemd) -> None:
    environ = {
        "NOTIFY_SOCKET": systemd.address,
        "WATCHDOG_USEC": "3000000",
        "WATCHDOG_PID": str(os.getpid()),
        "HOME": "/",
    }
    notifier = Notifier.from_environment(environ)
    assert environ == {"HOME": "/"}
    assert notifier.beat_interval == 1.5
    notifier.ready()
    assert systemd.heard() == ["READY=1"]
    notifier.close()
    notifier.ready()
    assert systemd.silent()


@pytest.mark.parametrize(
    "environ",
    [
        {"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"},
        {"WATCHDOG_USEC": "0"},
        {"WATCHDOG_USEC": "soon"},
        {},
    ],
)
def test_a_watchdog_that_is_not_for_us(environ: dict[str, str]) -> None:
    notifier = Notifier.from_environment({"NOTIFY_SOCKET": "/x", **environ})
    notifier.close()
    assert notifier.beat_interval is None


def test_started_by_nobody_it_says_nothing() -> None:
    notifier = Notifier.from_environment({"WATCHDOG_USEC": "3000000"})
    assert notifier.beat_interval is None
    for say in (notifier.ready, notifier.reloading, notifier.stopping):
        say("status")
    notifier.beat(1.0)


def test_nobody_who_listens_is_no_reason_to_fail(
    tmp_path: Path, notify: Notify, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "hyperserver"):
        notify(str(tmp_path / "gone")).ready()
    assert "cannot notify systemd: " in caplog.text
