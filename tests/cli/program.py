"""The command line as its user has it: a real process, what it prints, how it ends."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

WITH_TLS = ("--tls-certificate", "c.pem", "--tls-key", "k.pem")
ROOT = Path(__file__).resolve().parents[2]
ANYWHERE = ("--bind", "127.0.0.1:0")
PATIENCE = 15.0
LOOPS = ("asyncio", "uvloop", "trio")
EVERY_LOOP = pytest.mark.parametrize("worker", LOOPS)

APP = """
import os

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello from app"})

async def http_only(scope, receive, send):
    assert scope["type"] == "http"
    await app(scope, receive, send)

async def returns_at_once(scope, receive, send):
    if scope["type"] == "http":
        await app(scope, receive, send)

async def refuses(scope, receive, send):
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "the database is down"})

async def refuses_silently(scope, receive, send):
    await receive()
    await send({"type": "lifespan.startup.failed"})

async def exits(scope, receive, send):
    raise SystemExit(0)

async def never_starts(scope, receive, send):
    import anyio
    if scope["type"] == "lifespan":
        print("starting", flush=True)
        await anyio.sleep_forever()

async def fails_to_stop(scope, receive, send):
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.failed", "message": "cannot save"})

async def never_stops(scope, receive, send):
    import anyio
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        print("stopping", flush=True)
        await anyio.sleep_forever()

async def raises_while_stopping(scope, receive, send):
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    raise RuntimeError("lost the cache")

async def leaves_without_a_word(scope, receive, send):
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()

async def raises_after_start(scope, receive, send):
    if scope["type"] == "http":
        await app(scope, receive, send)
    await receive()
    await send({"type": "lifespan.startup.complete"})
    raise RuntimeError("background trouble")

class Nested:
    app = staticmethod(app)

def create():
    return app

def broken_factory():
    raise RuntimeError("no settings")

def empty_factory():
    return None

def exiting_factory():
    raise SystemExit(0)

number = 5
"""
MODULES = {
    "shop.py": APP,
    "broken.py": "def f():\n    raise RuntimeError('bad import')\nf()\n",
    "syntax.py": "def app(:\n    pass\n",
    "imports.py": "import a_module_that_is_not_there\n",
    "exits.py": "import sys\nsys.exit()\n",
}


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "hyperserver", *arguments]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}


def run(cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run to the end."""
    return subprocess.run(
        command(*arguments),
        cwd=cwd,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def failure(cwd: Path, code: int, *arguments: str) -> str:
    """The one line on standard error with which the process ended, without its prefix."""
    done = run(cwd, *arguments)
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("hyperserver: ")
    return line.removeprefix("hyperserver: ")


class Server:
    """A server process whose output is gathered as it comes."""

    def __init__(self, cwd: Path, *arguments: str, pass_fds: tuple[int, ...] = ()) -> None:
        self.process = subprocess.Popen(
            command(*arguments),
            cwd=cwd,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            pass_fds=pass_fds,
        )
        self.lines: list[str] = []
        self._changed = threading.Condition()
        self._ended = False
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._changed:
                self.lines.append(line.rstrip("\n"))
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    @property
    def output(self) -> str:
        return "\n".join(self.lines)

    def wait_for(self, pattern: str) -> re.Match[str]:
        """The first match in the output so far or to come."""
        found: list[re.Match[str]] = []

        def search() -> bool:
            found.extend(m for line in self.lines if (m := re.search(pattern, line)))
            return bool(found) or self._ended

        with self._changed:
            assert self._changed.wait_for(search, PATIENCE), f"no {pattern!r} in {self.lines}"
        assert found, f"ended without {pattern!r}: {self.lines}"
        return found[0]

    def port(self) -> int:
        return int(self.wait_for(r"listening on http://.*:(\d+)$")[1])

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def wait(self) -> int:
        """The exit code, once all output has been read."""
        code = self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        return code

    def stop(self) -> int:
        self.signal(signal.SIGTERM)
        return self.wait()


@contextmanager
def serving(cwd: Path, *arguments: str, pass_fds: tuple[int, ...] = ()) -> Iterator[Server]:
    server = Server(cwd, *arguments, pass_fds=pass_fds)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.process.kill()
        server.wait()
        assert server.process.stdout is not None
        server.process.stdout.close()


def fetch(address: tuple[str, int] | str) -> bytes:
    """The whole answer to one GET, over TCP or a Unix socket."""
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    with socket.socket(family) as sock:
        sock.settimeout(PATIENCE)
        sock.connect(address)
        sock.sendall(b"GET /here HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        parts = []
        while part := sock.recv(65_536):
            parts.append(part)
    return b"".join(parts)
