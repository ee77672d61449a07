"""What is tested: a server that runs the echo application, and the bridge before it."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

ROOT = Path(__file__).resolve().parents[2]
APP = "tests.autobahn.echo:app"
_PATIENCE = 30.0
#: RFC 6455 §1.3 has the key as its example.
_HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


class ServerError(Exception):
    """The server cannot be tested, or did not end as it should; the message says why."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A server in one configuration: hyperserver, or the ``command`` of another."""

    worker: str = ""
    engine: str = ""
    command: str = ""
    over_http2: bool = False

    @property
    def name(self) -> str:
        """``trio+wsproto over HTTP/2``."""
        parts = ["command" if self.command else self.worker, self.engine]
        return "+".join(filter(None, parts)) + " over HTTP/2" * self.over_http2

    @contextmanager
    def running(self, folder: Path) -> Iterator[str]:
        """Its URL for the suite; logs go to ``folder``. Raises ServerError, at the end too."""
        folder.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as stack:
            server = stack.enter_context(_Process("the server", folder / "server.log"))
            if self.command:
                port = _free_port()
                command = [part.replace("{port}", str(port)) for part in shlex.split(self.command)]
                server.start(command)
                server.wait_until(lambda: _accepts(port), f"it listens on port {port}")
            else:
                server.start(self._own_command())
                port = server.wait_for_port()
            bridge = None
            if self.over_http2:
                bridge = stack.enter_context(_Process("the bridge", folder / "bridge.log"))
                module = [sys.executable, "-m", "tests.autobahn.bridge"]
                bridge.start([*module, "--to", f"127.0.0.1:{port}"])
                port = bridge.wait_for_port()
            _check_handshake(port)
            yield f"ws://127.0.0.1:{port}"
            if bridge is not None:
                bridge.stop()
            code = server.stop()
            if code and not self.command:
                raise ServerError(f"the server ended with exit code {code}: see {server.log}")
            if "internal error" in server.said:
                raise ServerError(f"the server logged an internal error: see {server.log}")

    def _own_command(self) -> list[str]:
        return [
            *(sys.executable, "-m", "hyperserver", APP, "--bind", "127.0.0.1:0"),
            *("--worker", self.worker, "--no-access-log"),
            *(("--websocket-engine", self.engine) if self.engine else ()),
        ]


class _Process:
    """A child whose output goes to the file ``log``; it does not survive the ``with``."""

    def __init__(self, what: str, log: Path) -> None:
        self.what = what
        self.log = log
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def start(self, command: list[str]) -> None:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
        with self.log.open("wb") as log:
            try:
                self._process = subprocess.Popen(
                    command, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT
                )
            except OSError as error:
                raise ServerError(f"{self.what} cannot be started: {error}") from None

    @property
    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def wait_until(self, condition: Callable[[], object], what: str) -> None:
        assert self._process is not None
        deadline = time.monotonic() + _PATIENCE
        while not condition():
            if self._process.poll() is not None:
                raise ServerError(f"{self.what} did not start:\n{self.said.strip()}")
            if time.monotonic() > deadline:
                raise ServerError(f"not within {_PATIENCE:g} s: {what}\n{self.said.strip()}")
            time.sleep(0.02)

    def wait_for_port(self) -> int:
        def find() -> re.Match[str] | None:
            return re.search(r"listening on \S+:(\d+)\s", self.said)

        self.wait_until(find, f"{self.what} listens")
        found = find()
        assert found
        return int(found[1])

    def stop(self) -> int:
        """Its exit code. Raises ServerError where it had ended before, or does not end."""
        assert self._process is not None
        if (code := self._process.poll()) is not None:
            raise ServerError(f"{self.what} ended by itself with {code}: see {self.log}")
        self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            raise ServerError(
                f"{self.what} goes on {_PATIENCE:g} s after SIGTERM: see {self.log}"
            ) from None


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


def _accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE).close()
    except OSError:
        return False
    return True


def _check_handshake(port: int) -> None:
    """Raise ServerError where there is no WebSocket to test: the suite would only wait for it."""
    answer = b""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE) as sock:
            sock.sendall(_HANDSHAKE)
            while b"\r\n" not in answer and (received := sock.recv(4_096)):
                answer += received
    except OSError as error:
        raise ServerError(f"a WebSocket handshake fails: {error}") from None
    status = answer.partition(b"\r\n")[0].decode("latin-1")
    if not status.startswith("HTTP/1.1 101 "):
        said = status or "the end of the connection"
        raise ServerError(f"the server does not accept WebSockets: it answers with {said!r}")
