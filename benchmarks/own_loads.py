"""The loads for which there is no tool: WebSocket, idle connections, transfers, starting."""

from __future__ import annotations

import contextlib
import json
import resource
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import IO, ClassVar, Literal, cast

from benchmarks import ask
from benchmarks.contender import ROOT
from benchmarks.load import LoadError, LoadResult, Metric, output


def _command(client: str, url: str, cpu: int, *options: str) -> list[str]:
    module = f"benchmarks.clients.{client}"
    return ["taskset", "-c", str(cpu), sys.executable, "-m", module, url, *options]


def _read(line: str) -> LoadResult:
    result: dict[str, float] = json.loads(line)
    return LoadResult(requests=int(result.pop("requests")), **result)


@dataclass(frozen=True, slots=True)
class WebSocket:
    """Text messages that the server echoes; each echo is followed by the next message."""

    connections: int
    depth: int = 1  # messages in flight on a connection
    size: int = 64  # bytes
    unit: ClassVar[str] = "message"
    metric: ClassVar[Metric] = "cpu"

    def check(self) -> None:
        """Nothing is needed but this Python."""

    def describe(self) -> str:
        messages = "one message" if self.depth == 1 else f"{self.depth} messages"
        return f"{self.connections} connections, {messages} of {self.size} bytes in flight on each"

    def ask(self, url: str, body: bytes | None) -> ask.Answer:
        return ask.websocket(url)

    def run(self, url: str, seconds: float, cpu: int) -> LoadResult:
        options = (
            *("--connections", str(self.connections), "--depth", str(self.depth)),
            *("--size", str(self.size), "--seconds", str(seconds)),
        )
        return _read(output("websocket", _command("websocket", url, cpu, *options), seconds))


@dataclass(frozen=True, slots=True)
class Broadcast:
    """One socket speaks, all hear it; what is counted is messages that arrive."""

    sockets: int
    size: int = 64  # bytes
    unit: ClassVar[str] = "message"
    metric: ClassVar[Metric] = "cpu"

    def check(self) -> None:
        allow_open_files(self.sockets)

    def describe(self) -> str:
        return f"{self.sockets} sockets, {self.size} bytes to all of them at a time"

    def ask(self, url: str, body: bytes | None) -> ask.Answer:
        return ask.websocket(url)

    def run(self, url: str, seconds: float, cpu: int) -> LoadResult:
        options = (
            *("--sockets", str(self.sockets), "--size", str(self.size)),
            *("--seconds", str(seconds)),
        )
        return _read(output("broadcast", _command("broadcast", url, cpu, *options), seconds + 30))


@dataclass(frozen=True, slots=True)
class Transfer:
    """Uploads of ``upload`` bytes one after the other, or downloads of what the URL says."""

    upload: int = 0
    unit: ClassVar[str] = "transfer"
    metric: ClassVar[Metric] = "cpu"

    def check(self) -> None:
        """Nothing is needed but this Python."""

    def describe(self) -> str:
        return "one connection, one transfer after the other"

    def ask(self, url: str, body: bytes | None) -> ask.Answer:
        return ask.http1(url, body)

    def run(self, url: str, seconds: float, cpu: int) -> LoadResult:
        options = ("--upload", str(self.upload), "--seconds", str(seconds))
        return _read(output("transfer", _command("transfer", url, cpu, *options), seconds + 60))


@dataclass(frozen=True, slots=True)
class Idle:
    """Connections that are open and silent, after one request or message each; ``requests`` counts
    connections.
    """

    protocol: Literal["http1", "http2", "websocket"]
    connections: int
    unit: ClassVar[str] = "connection"
    metric: ClassVar[Metric] = "memory"

    def check(self) -> None:
        allow_open_files(self.connections)

    def describe(self) -> str:
        return f"{self.connections} connections, silent after one exchange"

    def ask(self, url: str, body: bytes | None) -> ask.Answer:
        asking = {"http1": ask.http1, "http2": ask.http2, "websocket": ask.websocket}
        return asking[self.protocol](url)

    def run(self, url: str, seconds: float, cpu: int) -> LoadResult:
        """A few of them: a warm-up that leaves no memory behind for the many."""
        with replace(self, connections=64).hold(url, cpu) as result:
            return result

    @contextlib.contextmanager
    def hold(self, url: str, cpu: int) -> Iterator[LoadResult]:
        """Have the connections open. Raises LoadError."""
        options = ("--protocol", self.protocol, "--connections", str(self.connections))
        with subprocess.Popen(
            _command("hold", url, cpu, *options),
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            line = cast("IO[str]", process.stdout).readline()
            if not line:
                said = cast("IO[str]", process.stderr).read().strip()
                raise LoadError(f"hold: {said.splitlines()[-1] if said else 'no connection'}")
            yield _read(line)


@dataclass(frozen=True, slots=True)
class Start:
    """No load: the server is started ``starts`` times in a round, and asked once."""

    starts: int = 3
    unit: ClassVar[str] = "start"
    metric: ClassVar[Metric] = "start"

    def check(self) -> None:
        """Nothing is needed but this Python."""

    def describe(self) -> str:
        return f"{self.starts} starts in each round, each until the first answer"

    def ask(self, url: str, body: bytes | None) -> ask.Answer:
        return ask.http1(url, body)


_OWN_FILES = 200  # open files of a process that are not sockets of the load


def allow_open_files(sockets: int) -> None:
    """Raise the limit of open files for all that is started, as far as we may."""
    needed = sockets + _OWN_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise LoadError(
            f"a process may have {hard} open files and needs {needed}; "
            f"run: sudo prlimit --pid $$ --nofile={needed}:{needed}"
        )
    if soft != resource.RLIM_INFINITY and soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
