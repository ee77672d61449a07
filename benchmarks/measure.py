"""One round of one contender: start it, warm it up, load it, read its CPU time, end it.

CPU time is that of the whole process tree, user and system, from /proc/PID/stat. The server has
one core for itself and the load generator another, so neither takes the other's time.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from benchmarks.certificate import make_certificate
from benchmarks.contenders import Contender, Installed
from benchmarks.load import Load, LoadError, LoadResult
from benchmarks.scenarios import Scenario
from benchmarks.websocket import Idle

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_START_TIMEOUT = 20.0
_STOP_TIMEOUT = 5.0
_WARM_UP = 1.0


class StartError(Exception):
    """The server did not start, or did not answer as the scenario expects."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One measured round."""

    requests: int
    seconds: float
    cpu_seconds: float
    others_seconds: float
    rss_before: int
    rss_bytes: int
    latency_p50: float
    latency_p99: float

    @property
    def cpu_us(self) -> float:
        return self.cpu_seconds / self.requests * 1e6

    @property
    def rss_growth(self) -> float:
        """Bytes for each unit of the load."""
        return (self.rss_bytes - self.rss_before) / self.requests

    @property
    def disturbance(self) -> float:
        """The share of the server's core that went to something else; it makes all dearer."""
        return max(0.0, self.others_seconds / self.seconds)

    @property
    def rate(self) -> float:
        return self.requests / self.seconds


@dataclass(frozen=True, slots=True)
class Cores:
    """Where the server and the load run."""

    server: int
    load: int


def pick_cores() -> Cores:
    """The first two cores we may use. Raises LoadError where there is only one."""
    available = sorted(os.sched_getaffinity(0))
    if len(available) < 2:
        raise LoadError("two cores are needed: one for the server, one for the load")
    return Cores(available[0], available[1])


# ---- the process tree --------------------------------------------------------------------------


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat after the command's name: field 3 of proc(5) is index 0."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def process_tree(root: int) -> list[int]:
    """``root`` and all its descendants that are alive."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, IndexError):
                parents[int(entry.name)] = int(_stat(int(entry.name))[1])
    tree = [root]
    for pid in tree:
        tree += [child for child, parent in parents.items() if parent == pid]
    return tree


def usage(root: int) -> tuple[float, int]:
    """``(CPU seconds, resident bytes)`` of the tree; children that ended count for the former."""
    ticks = pages = 0
    for pid in process_tree(root):
        with contextlib.suppress(OSError):
            fields = _stat(pid)
            ticks += sum(map(int, fields[11:15]))  # utime stime cutime cstime
            pages += int(fields[21])
    return ticks / _TICKS, pages * _PAGE


def core_busy(cpu: int) -> float:
    """Seconds for which the core has not been idle."""
    for line in Path("/proc/stat").read_text().splitlines():
        name, _, rest = line.partition(" ")
        if name == f"cpu{cpu}":
            user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, rest.split()[:8])
            return (user + nice + system + irq + softirq + steal) / _TICKS
    return 0.0


# ---- one round ---------------------------------------------------------------------------------


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
    return port


def _ask(url: str, scenario: Scenario) -> bytes:
    status, body = scenario.load.ask(url)
    if status not in {http.HTTPStatus.OK, http.HTTPStatus.SWITCHING_PROTOCOLS}:
        raise StartError(f"answered {status}")
    return body


def _said(log: IO[bytes], default: str) -> str:
    """The last line that the server wrote."""
    log.seek(0)
    lines = log.read().decode(errors="replace").strip().splitlines()
    return lines[-1].strip() if lines else default


def _wait_until_ready(
    process: subprocess.Popen[bytes], url: str, scenario: Scenario, log: IO[bytes]
) -> None:
    deadline = time.monotonic() + _START_TIMEOUT
    while True:
        if process.poll() is not None:
            raise StartError(_said(log, f"ended with exit code {process.returncode}"))
        try:
            body = _ask(url, scenario)
        except (OSError, http.client.HTTPException) as error:
            if time.monotonic() > deadline:
                raise StartError(_said(log, f"does not answer: {error}")) from None
            time.sleep(0.05)
            continue
        if body != scenario.expected:
            raise StartError(f"answered {body[:40]!r}")
        return


@contextlib.contextmanager
def running(
    contender: Contender, installed: Installed, scenario: Scenario, cpu: int
) -> Iterator[tuple[int, str]]:
    """Serve ``scenario`` with ``contender``; its process id and where it answers."""
    port = _free_port()
    url = scenario.url(port)
    with tempfile.TemporaryDirectory() as secrets, tempfile.TemporaryFile() as log:
        if scenario.tls:
            make_certificate(Path(secrets))
        python = installed.python(contender)
        command = contender.command(python, scenario.app, port, Path(secrets))
        with subprocess.Popen(
            ["taskset", "-c", str(cpu), *command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**os.environ, "PYTHONWARNINGS": "ignore"},
        ) as process:
            try:
                _wait_until_ready(process, url, scenario, log)
                yield process.pid, url
            finally:
                _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM, and SIGKILL to what is left of this very tree."""
    tree = process_tree(process.pid)
    process.terminate()
    try:
        process.wait(_STOP_TIMEOUT)
    except subprocess.TimeoutExpired:
        for pid in tree:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()


def _loaded(
    load: Load, url: str, seconds: float, cpu: int
) -> contextlib.AbstractContextManager[LoadResult]:
    """Load the server; within, sockets are open if the load is to hold some."""
    if isinstance(load, Idle):
        return load.hold(url, cpu)
    return contextlib.nullcontext(load.run(url, seconds, cpu))


def run_round(
    contender: Contender, installed: Installed, scenario: Scenario, seconds: float, cores: Cores
) -> Sample:
    """Measure once. Raises StartError or LoadError."""
    with running(contender, installed, scenario, cores.server) as (pid, url):
        scenario.load.run(url, _WARM_UP, cores.load)
        cpu_before, rss_before = usage(pid)
        busy_before = core_busy(cores.server)
        with _loaded(scenario.load, url, seconds, cores.load) as result:
            busy = core_busy(cores.server) - busy_before
            cpu_after, resident = usage(pid)
    return Sample(
        requests=result.requests,
        seconds=result.seconds,
        cpu_seconds=cpu_after - cpu_before,
        others_seconds=busy - (cpu_after - cpu_before),
        rss_before=rss_before,
        rss_bytes=resident,
        latency_p50=result.latency_p50,
        latency_p99=result.latency_p99,
    )
