"""Load generators: each runs a bounded load and says what came of it."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles
from typing import ClassVar, Literal, Protocol

from benchmarks import ask
from benchmarks.contender import ROOT

#: What is compared, the smaller the better: the server's CPU time for each unit of the load, what
#: its memory has grown by for each, or the time until its first answer.
Metric = Literal["cpu", "memory", "start"]


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
    """A tool with its fixed settings; ``unit`` is what it counts, ``metric`` what is compared."""

    unit: ClassVar[str]
    metric: ClassVar[Metric]

    def check(self) -> None:
        """Raise LoadError, naming the package, where the tool is missing."""

    def ask(self, url: str, body: bytes | None) -> ask.Answer:
        """One request in the protocol of the load, a POST where there is a body. Raises OSError or
        HTTPException.
        """

    def run(self, url: str, seconds: float, cpu: int) -> LoadResult:
        """Load ``url`` for about ``seconds`` from one core."""

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
    closes: bool = False  # the server closes each connection after its answer
    unit: ClassVar[str] = "request"
    metric: ClassVar[Metric] = "cpu"

    def check(self) -> None:
        need("wrk", "wrk")

    def describe(self) -> str:
        with_script = f", {self.script}" if self.script else ""
        return f"wrk, {self.connections} connections{with_script}"

    def ask(self, url: str, body: bytes | None) -> ask.Answer:
        return ask.http1(url, body)

    def run(self, url: str, seconds: float, cpu: int) -> LoadResult:
        command = ["taskset", "-c", str(cpu), "wrk", "--latency", "-t1", f"-c{self.connections}"]
        if self.script is not None:
            command += ["-s", str(_SCRIPTS / self.script)]
        command += [f"-d{max(1, round(seconds))}s", url]
        return read_wrk(output("wrk", command, seconds), self.closes)


def output(tool: str, command: list[str], seconds: float) -> str:
    """What ``command`` prints; it should take ``seconds``."""
    try:
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, timeout=seconds + 15, cwd=ROOT
        )
    except subprocess.TimeoutExpired:
        raise LoadError(f"{tool} did not come to an end") from None
    if done.returncode:
        raise LoadError(f"{tool}: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def read_wrk(text: str, closes: bool = False) -> LoadResult:
    """What wrk printed. Raises LoadError where not every request got its 200.

    Where the server ``closes`` connections, and does not announce it in its answer, wrk takes each
    end for an error, although it had the answer.
    """
    if closes:
        text = re.sub(r" *Socket errors: connect 0, read \d+, write 0, timeout 0\n", "", text)
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


@dataclass(frozen=True, slots=True)
class H2Load:
    """HTTP/2, with prior knowledge or, on https URLs, over TLS 1.3; each of a connection's
    ``streams`` is followed by the next after its answer.

    It sends a number of requests instead of stopping by the clock: then no request is left
    unanswered and uncounted, and no client leaves while it is being written to. Connections are
    renewed before they have had _RENEWAL requests: not every server takes more on one.
    """

    connections: int
    streams: int
    fields: tuple[str, ...] = ()  # "name: value"
    upload: int = 0  # bytes of a request's body
    unit: ClassVar[str] = "request"
    metric: ClassVar[Metric] = "cpu"

    def check(self) -> None:
        need("h2load", "nghttp2-client")

    def describe(self) -> str:
        return (
            f"h2load, {self.connections} connections of {self.streams} streams, "
            f"at most {_RENEWAL} requests on each"
        )

    def ask(self, url: str, body: bytes | None) -> ask.Answer:
        return ask.http2(url, body)

    def run(self, url: str, seconds: float, cpu: int) -> LoadResult:
        with tempfile.TemporaryDirectory() as folder:
            return self._run(url, seconds, cpu, Path(folder))

    def _run(self, url: str, seconds: float, cpu: int, folder: Path) -> LoadResult:
        latencies: list[float] = []
        elapsed, requests = 0.0, _PILOT
        while requests:
            burst = self._send(url, requests, seconds, cpu, folder)
            latencies += burst.latencies
            elapsed += burst.seconds
            left = round((seconds - elapsed) * len(latencies) / elapsed)
            # Many small bursts would measure the opening of connections.
            requests = min(left, self.connections * _RENEWAL) if left >= self.streams else 0
        percentiles = quantiles(latencies, n=100, method="inclusive")
        return LoadResult(len(latencies), elapsed, percentiles[49], percentiles[98])

    def _send(self, url: str, requests: int, seconds: float, cpu: int, folder: Path) -> Burst:
        log = folder / "requests"
        log.unlink(missing_ok=True)
        body = folder / "body"
        if self.upload:
            body.write_bytes(b"x" * self.upload)
        connections = min(self.connections, requests)
        command = [
            *("taskset", "-c", str(cpu), "h2load", "-t1", f"-n{requests}"),
            *(f"-c{connections}", f"-m{self.streams}"),
            *(f"--header={field}" for field in self.fields),
            *((f"--data={body}",) if self.upload else ()),
            *("--npn-list=h2", f"--tls13-ciphers={_CIPHER}", f"--log-file={log}", url),
        ]
        printed = output("h2load", command, seconds)
        return read_h2load(printed, log.read_text() if log.exists() else "")


_PILOT = 512  # requests that show how many fill the time
_RENEWAL = 2_000
_CIPHER = "TLS_AES_128_GCM_SHA256"  # one for all: servers differ in what they would choose


@dataclass(frozen=True, slots=True)
class Burst:
    """One call of h2load; latencies in microseconds."""

    latencies: list[float]
    seconds: float


def read_h2load(text: str, log: str) -> Burst:
    """What h2load printed and its log of requests (start, status, microseconds). Raises LoadError
    where not every request got its 200.
    """
    counted = re.search(r"^requests: .* (\d+) done, (\d+) succeeded, .*$", text, re.MULTILINE)
    elapsed = re.search(r"^finished in ([\d.]+)(us|ms|s),", text, re.MULTILINE)
    if counted is None or elapsed is None or int(counted[2]) < 2:
        raise LoadError("h2load: next to no request was answered")
    rows = [line.split("\t") for line in log.splitlines()]
    latencies = [float(row[2]) for row in rows if row[1] == "200"]
    # h2load forgets the count of a connection that ends early, so that the log has more.
    if not int(counted[1]) == int(counted[2]) == len(latencies) == len(rows):
        raise LoadError(f"h2load: {counted[0]} but {len(latencies)} times 200")
    return Burst(latencies, float(elapsed[1]) * _UNITS[elapsed[2]] / 1e6)
