"""What systemd hears of the server, with one worker and with several."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.support import PATIENCE, Server, wait_until

APP = "tests.e2e.apps.probe:app"


class Systemd:
    def __init__(self, path: Path) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind(str(path))
        self.sock.setblocking(False)
        self.heard: list[str] = []

    def has_heard(self, line: str, times: int = 1) -> bool:
        try:
            while True:
                self.heard += self.sock.recv(4096).decode().split("\n")
        except BlockingIOError:
            pass
        return self.heard.count(line) >= times

    def hears(self, line: str, times: int = 1) -> None:
        wait_until(lambda: self.has_heard(line, times), f"{line} is said")


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Systemd]:
    listening = Systemd(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    monkeypatch.setenv("WATCHDOG_USEC", "1000000")
    yield listening
    listening.sock.close()


@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_life_of_a_server(systemd: Systemd, worker: str, workers: str, tmp_path: Path) -> None:
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    options = ("--workers", workers, "--no-access-log")
    with Server(APP, worker, *options, config="# reread", folder=tmp_path) as server:
        systemd.hears("READY=1")
        systemd.hears("WATCHDOG=1", 2)
        server.signal(signal.SIGHUP)
        systemd.hears("RELOADING=1")
        systemd.hears("READY=1", 2)
        (since,) = [
            int(line.removeprefix("MONOTONIC_USEC="))
            for line in systemd.heard
            if line.startswith("MONOTONIC_USEC=")
        ]
        assert before < since < time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        order = [line for line in systemd.heard if line in ("READY=1", "RELOADING=1")]
        assert order == ["READY=1", "RELOADING=1", "READY=1"]
        assert server.get("/hello").status == 200
        server.signal()
        systemd.hears("STOPPING=1")
        assert server.wait() == 0


def test_a_loop_that_stands_still_gives_no_sign_of_life(systemd: Systemd) -> None:
    with Server(APP, "asyncio") as server:
        systemd.hears("WATCHDOG=1")
        os.kill(server.pid, signal.SIGSTOP)
        systemd.has_heard("")
        count = systemd.heard.count("WATCHDOG=1")
        systemd.sock.settimeout(1.5)
        with pytest.raises(TimeoutError):
            systemd.sock.recv(4096)
        systemd.sock.setblocking(False)
        os.kill(server.pid, signal.SIGCONT)
        systemd.hears("WATCHDOG=1", count + 1)
        server.signal()
        assert server.wait(PATIENCE) == 0
