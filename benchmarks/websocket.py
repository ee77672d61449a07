"""The loads over WebSocket: messages that are echoed, and sockets that do nothing."""

from __future__ import annotations

import contextlib
import json
import resource
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, ClassVar, cast

from benchmarks import ask
from benchmarks.load import LoadError, LoadResult, output

_CLIENT = Path(__file__).parent / "websocket_load.py"


def _command(url: str, cpu: int, *options: str) -> list[str]:
    return ["taskset", "-c", str(cpu), sys.executable, str(_CLIENT), url, *options]


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

    def check(self) -> None:
        """Nothing is needed but this Python."""

    def describe(self) -> str:
        messages = "one message" if self.depth == 1 else f"{self.depth} messages"
        return (
            f"websocket_load.py, {self.connections} connections, "
            f"{messages} of {self.size} bytes in flight on each"
        )

    def ask(self, url: str) -> ask.Answer:
        return ask.websocket(url)

    def run(self, url: str, seconds: float, cpu: int) -> LoadResult:
        options = (
            *("--connections", str(self.connections), "--depth", str(self.depth)),
            *("--size", str(self.size), "--seconds", str(seconds)),
        )
        return _read(output(_CLIENT.name, _command(url, cpu, *options), seconds))


_OWN_FILES = 200  # open files of a process that are not sockets of the load


@dataclass(frozen=True, slots=True)
class Idle:
    """Sockets that are open and silent, after one message each; ``requests`` counts the sockets."""

    sockets: int
    unit: ClassVar[str] = "socket"

    def check(self) -> None:
        """Raise the limit of open files for all that is started, as far as we may."""
        needed = self.sockets + _OWN_FILES
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if hard != resource.RLIM_INFINITY and hard < needed:
            raise LoadError(
                f"a process may have {hard} open files and needs {needed}; "
                f"run: sudo prlimit --pid $$ --nofile={needed}:{needed}"
            )
        if soft != resource.RLIM_INFINITY and soft < needed:
            resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))

    def describe(self) -> str:
        return f"websocket_load.py, {self.sockets} sockets"

    def ask(self, url: str) -> ask.Answer:
        return ask.websocket(url)

    def run(self, url: str, seconds: float, cpu: int) -> LoadResult:
        """Messages on few sockets: a warm-up that leaves no memory behind for the many."""
        return WebSocket(connections=32).run(url, seconds, cpu)

    @contextlib.contextmanager
    def hold(self, url: str, cpu: int) -> Iterator[LoadResult]:
        """Have the sockets open. Raises LoadError."""
        options = ("--connections", str(self.sockets), "--hold")
        with subprocess.Popen(
            _command(url, cpu, *options),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            line = cast("IO[str]", process.stdout).readline()
            if not line:
                said = cast("IO[str]", process.stderr).read().strip()
                raise LoadError(f"{_CLIENT.name}: {said}")
            yield _read(line)
