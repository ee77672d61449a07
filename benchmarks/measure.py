"""One round of one contender: load it and read its CPU time. Before, it is started and warmed up.

CPU time is that of the whole process tree, user and system, from /proc. The server has one core for
itself and the load generator another, so neither takes the other's time.
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
from statistics import median
from typing import IO

from benchmarks.certificate import make_certificate
from benchmarks.contender import APPS, Contender
from benchmarks.installation import Installed
from benchmarks.load import Load, LoadResult
from benchmarks.own_loads import Idle, Start
from benchmarks.processes import Cores, core_busy, process_tree, usage
from benchmarks.results import Sample
from benchmarks.scenarios import Scenario

_START_TIMEOUT = 20.0
_STOP_TIMEOUT = 5.0
_WARM_UP = 1.0
_LOGGED = 20  # bytes that a line in an access log has at least


class StartError(Exception):
    """The server did not start, or did not do what the scenario expects."""


@dataclass(frozen=True, slots=True)
class Running:
    """A server that has answered its first request, ``seconds`` after it was started."""

    pid: int
    port: int
    seconds: float
    log: IO[bytes]


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
    return port


def _said(log: IO[bytes], default: str) -> str:
    """The last line that the server wrote."""
    log.seek(0)
    lines = log.read(65_536).decode(errors="replace").strip().splitlines()
    return lines[-1].strip() if lines else default


def _wait_until_ready(
    process: subprocess.Popen[bytes], port: int, scenario: Scenario, log: IO[bytes], pause: float
) -> None:
    deadline = time.monotonic() + _START_TIMEOUT
    while True:
        if process.poll() is not None:
            raise StartError(_said(log, f"ended with exit code {process.returncode}"))
        try:
            status, body = scenario.load.ask(scenario.probe_url(port), scenario.body)
        except (OSError, http.client.HTTPException) as error:
            if time.monotonic() > deadline:
                raise StartError(_said(log, f"does not answer: {error}")) from None
            time.sleep(pause)
            continue
        if status not in {http.HTTPStatus.OK, http.HTTPStatus.SWITCHING_PROTOCOLS}:
            raise StartError(f"answered {status}")
        if body != scenario.expected:
            raise StartError(f"answered {body[:40]!r}")
        return


@contextlib.contextmanager
def running(
    contender: Contender, installed: Installed, scenario: Scenario, cpu: int, pause: float = 0.05
) -> Iterator[Running]:
    """Serve ``scenario`` with ``contender``; whether it is ready is looked at every ``pause``
    seconds. Raises StartError.
    """
    port = _free_port()
    path = os.pathsep.join(filter(None, (str(APPS), os.environ.get("PYTHONPATH"))))
    hidden = "PYTHONDONTWRITEBYTECODE"  # every start would compile everything
    inherited = {name: value for name, value in os.environ.items() if name != hidden}
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as log:
        if scenario.wants.tls:
            make_certificate(Path(folder))
        python = installed.python(contender)
        command = contender.command(python, scenario.app, port, Path(folder))
        began = time.monotonic()
        with subprocess.Popen(
            ["taskset", "-c", str(cpu), *command],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**inherited, "PYTHONWARNINGS": "ignore", "PYTHONPATH": path},
        ) as process:
            try:
                _wait_until_ready(process, port, scenario, log, pause)
                yield Running(process.pid, port, time.monotonic() - began, log)
            finally:
                _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM, and SIGKILL to what is left of this very tree."""
    tree = process_tree(process.pid)
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_STOP_TIMEOUT)
        return
    for pid in tree:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait()


def _loaded(
    load: Load, url: str, seconds: float, cpu: int
) -> contextlib.AbstractContextManager[LoadResult]:
    """Load the server; within, connections are open if the load is to hold some."""
    if isinstance(load, Idle):
        return load.hold(url, cpu)
    return contextlib.nullcontext(load.run(url, seconds, cpu))


def needs_fresh(scenario: Scenario) -> bool:
    """Every round needs a server that has just been started."""
    return isinstance(scenario.load, Idle | Start)


def run_fresh(
    contender: Contender, installed: Installed, scenario: Scenario, seconds: float, cores: Cores
) -> Sample:
    """Start it, measure once, end it. Raises StartError or LoadError."""
    if isinstance(scenario.load, Start):
        return _starts(contender, installed, scenario, scenario.load.starts, cores)
    with running(contender, installed, scenario, cores.server) as server:
        warm_up(server, scenario, seconds, cores)
        return run_round(server, scenario, seconds, cores)


def _of_requests(scenario: Scenario) -> Load:
    if isinstance(scenario.load, Start):
        raise StartError("only its start is measured")
    return scenario.load


def warm_up(server: Running, scenario: Scenario, seconds: float, cores: Cores) -> None:
    """Raises LoadError."""
    url = scenario.url(server.port)
    _of_requests(scenario).run(url, min(_WARM_UP, seconds / 2), cores.load)


def run_round(server: Running, scenario: Scenario, seconds: float, cores: Cores) -> Sample:
    """Measure once. Raises StartError or LoadError."""
    load = _of_requests(scenario)
    cpu_before, rss_before = usage(server.pid)
    busy_before = core_busy(cores.server)
    began = time.monotonic()
    with _loaded(load, scenario.url(server.port), seconds, cores.load) as result:
        busy = core_busy(cores.server) - busy_before
        wall = time.monotonic() - began
        cpu_after, resident = usage(server.pid)
    if scenario.wants.access_log:
        _see_log(server.log, result.requests)
    return Sample(
        requests=result.requests,
        seconds=result.seconds,
        cpu_seconds=cpu_after - cpu_before,
        others=max(0.0, (busy - (cpu_after - cpu_before)) / wall),
        rss_before=rss_before,
        rss_bytes=resident,
        latency_p50=result.latency_p50,
        latency_p99=result.latency_p99,
    )


def _see_log(log: IO[bytes], requests: int) -> None:
    """A server that logs nothing is no rival of one that does."""
    if os.fstat(log.fileno()).st_size < requests * _LOGGED // 2:
        raise StartError("wrote no access log")


def _starts(
    contender: Contender, installed: Installed, scenario: Scenario, count: int, cores: Cores
) -> Sample:
    """Starts, and what the server holds and has used at its first answer. The first is not counted:
    it writes the bytecode that the others read.
    """
    walls: list[float] = []
    used: list[tuple[float, int]] = []
    for number in range(count + 1):
        with running(contender, installed, scenario, cores.server, pause=0.001) as server:
            if number:
                used.append(usage(server.pid))
                walls.append(server.seconds)
    return Sample(
        requests=count,
        seconds=sum(walls),
        cpu_seconds=sum(cpu for cpu, _ in used),
        others=0.0,
        rss_before=0,
        rss_bytes=round(median(rss for _, rss in used)),
        latency_p50=median(walls) * 1e6,
        latency_p99=max(walls) * 1e6,
    )
