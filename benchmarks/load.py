"""Load generators: each runs a bounded load and says what came of it."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


class LoadError(Exception):
    """The load could not be run, or the server did not stand it."""


@dataclass(frozen=True, slots=True)
class LoadResult:
    """What the load generator counted; latencies in microseconds."""

    requests: int
    seconds: float
    latency_p50: float
    latency_p99: float


class Load(Protocol):
    """A tool with its fixed settings."""

    def check(self) -> None:
        """Raise LoadError, naming the package, where the tool is missing."""

    def run(self, port: int, path: str, seconds: float, cpu: int) -> LoadResult:
        """Load 127.0.0.1:port for about ``seconds`` from one core."""

    def describe(self) -> str:
        """For the report's heading."""


def need(tool: str, package: str) -> None:
    """Raise LoadError unless ``tool`` is on the PATH."""
    if shutil.which(tool) is None:
        raise LoadError(f"{tool} is missing; run: apt-get install {package}")


_SCRIPTS = Path(__file__).parent / "wrk"
_UNITS = {"us": 1.0, "ms": 1e3, "s": 1e6, "m": 60e6}


@dataclass(frozen=True, slots=True)
class Wrk:
    """HTTP/1.1 with keep-alive; each connection sends its next request after the answer."""

    connections: int
    script: str | None = None  # a file in benchmarks/wrk/

    def check(self) -> None:
        need("wrk", "wrk")

    def describe(self) -> str:
        with_script = f", {self.script}" if self.script else ""
        return f"wrk, {self.connections} connections{with_script}"

    def run(self, port: int, path: str, seconds: float, cpu: int) -> LoadResult:
        command = ["taskset", "-c", str(cpu), "wrk", "--latency", "-t1", f"-c{self.connections}"]
        if self.script is not None:
            command += ["-s", str(_SCRIPTS / self.script)]
        command += [f"-d{max(1, round(seconds))}s", f"http://127.0.0.1:{port}{path}"]
        try:
            done = subprocess.run(
                command, check=False, capture_output=True, text=True, timeout=seconds + 15
            )
        except subprocess.TimeoutExpired:
            raise LoadError("wrk did not come to an end") from None
        if done.returncode:
            raise LoadError(f"wrk: {(done.stderr or done.stdout).strip()}")
        return read_wrk(done.stdout)


def read_wrk(text: str) -> LoadResult:
    """What wrk printed. Raises LoadError where not every request got its 200."""
    failed = re.search(r"^ *(Socket errors: .*|Non-2xx or 3xx responses: .*)$", text, re.MULTILINE)
    if failed is not None:
        raise LoadError(f"wrk: {failed[1]}")
    counted = re.search(r"(\d+) requests in ([\d.]+)(us|ms|s|m),", text)
    if counted is None or counted[1] == "0":
        raise LoadError("wrk: not one request was answered")
    return LoadResult(
        requests=int(counted[1]),
        seconds=float(counted[2]) * _UNITS[counted[3]] / 1e6,
        latency_p50=_percentile(text, 50),
        latency_p99=_percentile(text, 99),
    )


def _percentile(text: str, percent: int) -> float:
    found = re.search(rf"^ *{percent}% +([\d.]+)(us|ms|s|m)$", text, re.MULTILINE)
    return float(found[1]) * _UNITS[found[2]] if found else float("nan")
