"""The real server as a child process, and a client that sees every byte."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from hyperserver.protocol.negotiate import HTTP1_ENGINES, HTTP2_ENGINES

ROOT = Path(__file__).parents[2]

#: How long anything may take before a test gives up on it. Generous: machines may be busy.
PATIENCE = 20.0


def wait_until(condition: Callable[[], object], what: str, timeout: float = PATIENCE) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout:g} s: {what}")
        time.sleep(0.02)


# ---- the server ------------------------------------------------------------------------------


class Output:
    """What the child writes to a pipe, gathered by a thread so that it never blocks."""

    def __init__(self, pipe: Any) -> None:
        self.lines: list[str] = []
        self._pipe = pipe
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        for line in self._pipe:
            self.lines.append(line.rstrip("\n"))
        self._pipe.close()

    def finish(self) -> None:
        self._thread.join(PATIENCE)

    def __str__(self) -> str:
        return "\n".join(self.lines)


def limit_files(number: int, pid: int) -> None:
    """How many files the process may have open."""
    hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)[1]
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (number, hard))


class Server:
    """``python -m hyperserver APP`` on a free port; without an ``app``, those that are mounted.

    ``worker`` may name an engine, too ("trio+h11", "asyncio+h2"); ``config`` is the text of a file,
    which without ``bind`` names the addresses, too.
    """

    def __init__(
        self,
        app: str,
        worker: str,
        *options: str,
        config: str = "",
        bind: str | None = "127.0.0.1:0",
        folder: Path | None = None,
        pass_fds: Iterable[int] = (),
        files: int = 0,
    ) -> None:
        worker, _, engine = worker.partition("+")
        command = [sys.executable, "-m", "hyperserver", *([app] if app else [])]
        command += ["--worker", worker]
        command += ["-b", bind] if bind else []
        command += ["--http1-engine", engine] if engine in HTTP1_ENGINES else []
        command += ["--http2-engine", engine] if engine in HTTP2_ENGINES else []
        if config:
            assert folder is not None, "a configuration needs a folder for its file"
            file = folder / "hyperserver.toml"
            file.write_text(f'app_dir = "{ROOT}"\n{config}')
            command += ["--config", str(file)]
        if files:
            command = ["sh", "-c", f'ulimit -Sn {files}; exec "$@"', "sh", *command]
        self.process = subprocess.Popen(
            [*command, *options],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
            pass_fds=tuple(pass_fds),
        )
        self.stdout = Output(self.process.stdout)
        self.stderr = Output(self.process.stderr)
        try:
            wait_until(self._started, f"{app} starts")
        except AssertionError as error:
            self.process.kill()
            raise AssertionError(f"{error}\n{self.stderr}") from None
        if self.process.poll() is not None:
            raise AssertionError(f"{app} did not start:\n{self.stderr}")

    def _started(self) -> bool:
        if self.process.poll() is not None:
            return True
        match = re.search(r"listening on (\S+)", str(self.stderr))
        if match is None:
            return False
        self.url = match[1]
        port = re.search(r":(\d+)$", self.url)
        self.port = int(port[1]) if port else 0
        return True

    @property
    def pid(self) -> int:
        return self.process.pid

    def connect(self, **options: Any) -> Client:
        return Client(("127.0.0.1", self.port), **options)

    def get(self, target: str, **headers: str) -> Response:
        """One request on its own connection."""
        with self.connect() as client:
            return client.request("GET", target, b"", **headers)

    def report(self, key: str) -> dict[str, Any]:
        """What the probe application has noted under ``key``."""
        return dict(json.loads(self.get(f"/report?key={key}").body))

    def wait_report(self, key: str, name: str, timeout: float = PATIENCE) -> Any:
        wait_until(lambda: name in self.report(key), f"the application notes {name!r}", timeout)
        return self.report(key)[name]

    def status(self, name: str) -> int:
        """A memory figure of the process, in bytes: VmRSS or VmHWM."""
        text = Path(f"/proc/{self.pid}/status").read_text()
        match = re.search(rf"^{name}:\s+(\d+) kB", text, re.MULTILINE)
        assert match, text
        return int(match[1]) * 1024

    def reset_peak(self) -> None:
        """Let VmHWM begin anew."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    def open_files(self) -> int:
        """All but ``/dev/null``, which uvloop opens once, when it is needed first."""
        count = 0
        for file in Path(f"/proc/{self.pid}/fd").iterdir():
            try:
                count += os.readlink(file) != os.devnull  # noqa: PTH115 - as text
            except FileNotFoundError:  # closed meanwhile
                pass
        return count

    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def signal(self, number: int = signal.SIGTERM) -> None:
        self.signalled_at = time.monotonic()
        self.process.send_signal(number)

    def wait(self, timeout: float = PATIENCE) -> int:
        """The exit code."""
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise AssertionError(f"the server goes on after {timeout:g} s\n{self.stderr}") from None
        self.stdout.finish()
        self.stderr.finish()
        return code

    def stop(self, timeout: float = PATIENCE) -> int:
        if self.process.poll() is None:
            self.signal()
        return self.wait(timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Whatever the test left of it."""
        if self.process.poll() is None:
            self.process.kill()
        self.wait()


# ---- the client ------------------------------------------------------------------------------


@dataclass
class Response:
    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    #: The end of the body was marked as such, by its length, a last chunk, or an orderly close.
    complete: bool = True
    version: str = "1.1"

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """A socket with an HTTP/1 reader that knows a whole response from one that was cut."""

    def __init__(
        self, address: tuple[str, int] | str, *, receive_buffer: int = 0, timeout: float = PATIENCE
    ) -> None:
        family = socket.AF_INET
        if isinstance(address, str):
            family = socket.AF_UNIX
        elif ":" in address[0]:
            family = socket.AF_INET6
        self.sock = socket.socket(family, socket.SOCK_STREAM)
        if receive_buffer:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.sock.settimeout(timeout)
        try:
            self.sock.connect(address)
        except BaseException:
            self.sock.close()
            raise
        self.buffer = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self.sock.close()

    def close(self) -> None:
        self.sock.close()

    def reset(self) -> None:
        """Close with a TCP reset."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def send_end(self) -> None:
        self.sock.shutdown(socket.SHUT_WR)

    def fill(self) -> bool:
        """Read more; False at the end. A reset raises ConnectionResetError."""
        data = self.sock.recv(1 << 18)
        self.buffer += data
        return bool(data)

    def read_until(self, marker: bytes) -> bytes:
        while marker not in self.buffer:
            if not self.fill():
                raise AssertionError(f"{marker!r} did not come, but {self.buffer!r}")
        before, _, self.buffer = self.buffer.partition(marker)
        return before + marker

    def read_exactly(self, n: int) -> bytes:
        while len(self.buffer) < n:
            if not self.fill():
                raise AssertionError(f"the connection ended before {n} bytes: {self.buffer!r}")
        data, self.buffer = self.buffer[:n], self.buffer[n:]
        return data

    def read_rest(self) -> bytes:
        """Everything up to the end of the connection."""
        while self.fill():
            pass
        data, self.buffer = self.buffer, b""
        return data

    def at_end(self) -> bool:
        """Wait for the next byte or the end; whether it is the end, a reset included."""
        try:
            return not self.buffer and not self.fill()
        except ConnectionError:
            return True

    def request(self, method: str, target: str, body: bytes = b"", **headers: str) -> Response:
        lines = [f"{method} {target} HTTP/1.1", "host: test"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        if body:
            lines.append(f"content-length: {len(body)}")
        self.send("\r\n".join([*lines, "", ""]).encode() + body)
        return self.response(method)

    def head(self) -> Response:
        """A response up to its body."""
        first, *lines = self.read_until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        match = re.fullmatch(r"HTTP/(1\.\d) (\d{3}) .*", first)
        assert match, first
        response = Response(int(match[2]), version=match[1])
        for line in lines[:-2]:
            name, _, value = line.partition(": ")
            assert name == name.lower()
            response.headers[name] = value
        return response

    def response(self, method: str = "GET") -> Response:
        """A final response with its whole body; one that was cut has ``complete`` False."""
        response = self.head()
        while response.status < 200:
            response = self.head()
        if method == "HEAD" or response.status in (204, 304):
            return response
        if response.headers.get("transfer-encoding") == "chunked":
            response.body, response.complete = self._chunked()
        elif "content-length" in response.headers:
            length = int(response.headers["content-length"])
            while len(self.buffer) < length and self._fill_safely():
                pass
            response.complete = len(self.buffer) >= length
            response.body, self.buffer = self.buffer[:length], self.buffer[length:]
        else:
            try:
                response.body = self.read_rest()
            except ConnectionResetError:
                response.body, response.complete = self.buffer, False
        return response

    def _fill_safely(self) -> bool:
        try:
            return self.fill()
        except ConnectionResetError:
            return False

    def chunk(self) -> bytes:
        """One chunk's data; b"" for the last (without trailers)."""
        size = int(self.read_until(b"\r\n"), 16)
        return self.read_exactly(size + 2)[:-2]

    def _chunked(self) -> tuple[bytes, bool]:
        body = []
        try:
            while data := self.chunk():
                body.append(data)
        except (AssertionError, ConnectionResetError):
            return b"".join(body), False
        return b"".join(body), True


class TLSClient(Client):
    """``tls`` is the socket's TLS; truncation raises ssl.SSLEOFError where it is read.

    ``name`` is the host that is asked for, which the certificate must be made out to.
    """

    def __init__(
        self,
        address: tuple[str, int],
        context: ssl.SSLContext,
        name: str | None = None,
        session: ssl.SSLSession | None = None,
    ) -> None:
        super().__init__(address)
        try:
            self.tls = context.wrap_socket(
                self.sock,
                server_hostname=name or address[0],
                session=session,
                suppress_ragged_eofs=False,
            )
        except BaseException:
            self.sock.close()
            raise
        self.sock = self.tls
