"""The command line as its user sees it: a real process, what it prints, how it ends."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import hyperserver
from hyperserver.cli import main
from hyperserver.cli.flags import build_parser, gather
from hyperserver.config import TLS, Config, Listen, Timeouts
from hyperserver.config.sources import Sources
from hyperserver.errors import UsageError

WITH_TLS = ("--tls-certificate", "c.pem", "--tls-key", "k.pem")
ROOT = Path(__file__).resolve().parent.parent
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


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name, text in MODULES.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


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


# ---- a server that starts and stops ------------------------------------------------------------

ANYWHERE = ("--bind", "127.0.0.1:0")


@EVERY_LOOP
@pytest.mark.parametrize("engine", ["httptools", "h11"])
def test_it_says_what_it_runs_serves_and_stops(project: Path, worker: str, engine: str) -> None:
    arguments = ("shop:app", *ANYWHERE, "--worker", worker, "--http1-engine", engine)
    with serving(project, *arguments) as server:
        port = server.port()
        assert port > 0
        answer = fetch(("127.0.0.1", port))
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert answer.endswith(b"hello from app")
        assert server.stop() == 0
    about = server.lines[0]
    version = re.escape(hyperserver.__version__)
    loop = r"asyncio" if worker == "asyncio" else rf"{worker} \d+\.\S+"
    assert re.search(
        rf" INFO hyperserver {version}, {loop}, HTTP/1\.1 by {engine} \d+\.\S+, HTTP/2 by (nghttp2|h2), "
        r"WebSocket by (websockets|wsproto), Python 3\.\S+$",
        about,
    )
    assert server.lines[1].endswith(f" INFO listening on http://127.0.0.1:{port}")
    assert re.search(r'127\.0\.0\.1:\d+ "GET /here HTTP/1\.1" 200 14 \d+\.\dms', server.output)
    assert "Traceback" not in server.output


@EVERY_LOOP
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_either_signal_ends_an_idle_server_with_0(project: Path, worker: str, number: int) -> None:
    with serving(project, "shop:app", *ANYWHERE, "--worker", worker) as server:
        server.port()
        server.signal(number)
        assert server.wait() == 0
    assert "Traceback" not in server.output
    assert f"{signal.Signals(number).name}: finishing what is in flight" in server.output


def test_several_addresses_are_all_listed_and_served(project: Path) -> None:
    path = project / "s.sock"
    with serving(project, "shop:app", *ANYWHERE, *ANYWHERE, "-b", f"unix:{path}") as server:
        server.wait_for("listening on unix:")
        ports = re.findall(r"http://127\.0\.0\.1:(\d+)", server.output)
        assert len(set(ports)) == 2
        for address in (("127.0.0.1", int(ports[0])), ("127.0.0.1", int(ports[1])), str(path)):
            assert fetch(address).endswith(b"hello from app")
        assert server.stop() == 0
    assert f"listening on unix:{path}" in server.output
    assert not path.exists()


def test_an_inherited_socket_is_served(project: Path) -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        port = sock.getsockname()[1]
        with serving(
            project, "shop:app", "-b", f"fd:{sock.fileno()}", pass_fds=(sock.fileno(),)
        ) as server:
            assert server.port() == port
            assert fetch(("127.0.0.1", port)).endswith(b"hello from app")
            assert server.stop() == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ("shop:create", "--factory"),
        ("shop:Nested.app",),
        ("shop:http_only",),
        ("shop:returns_at_once",),
        ("shop:http_only", "--lifespan", "off"),
    ],
    ids=" ".join,
)
def test_every_way_to_name_an_application(project: Path, arguments: tuple[str, ...]) -> None:
    with serving(project, *arguments, *ANYWHERE) as server:
        assert fetch(("127.0.0.1", server.port())).endswith(b"hello from app")
        assert server.stop() == 0


def test_app_dir_is_searched_first(project: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    with serving(elsewhere, "shop:app", "--app-dir", str(project), *ANYWHERE) as server:
        assert fetch(("127.0.0.1", server.port())).endswith(b"hello from app")


def test_a_file_says_everything(project: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    (project / "server.toml").write_text(
        'app = "shop:app"\nworker = "asyncio"\n[[listen]]\nbind = ["127.0.0.1:0"]\n'
        '[log]\naccess = false\n[http1]\nengine = "h11"\n',
        encoding="utf-8",
    )
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    with serving(elsewhere, "--config", str(project / "server.toml")) as server:
        assert fetch(("127.0.0.1", server.port())).endswith(b"hello from app")
        assert server.stop() == 0
    assert "asyncio, HTTP/1.1 by h11" in server.output
    assert "/here" not in server.output


def test_the_environment_is_over_the_file_that_is_found_here(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "pyproject.toml").write_text(
        '[tool.hyperserver]\napp = "shop:app"\nworker = "asyncio"\nlisten = [{ bind = ["unix:s"] }]\n',
        encoding="utf-8",
    )
    monkeypatch.setenv("HYPERSERVER_LISTEN__BIND", "127.0.0.1:0")
    monkeypatch.setenv("HYPERSERVER_LOG__ACESS", "false")
    with serving(project, "--http1-engine", "h11") as server:
        assert fetch(("127.0.0.1", server.port())).endswith(b"hello from app")
        assert server.stop() == 0
    assert "asyncio, HTTP/1.1 by h11" in server.output
    assert (
        " WARNING the variable HYPERSERVER_LOG__ACESS sets nothing; "
        "did you mean HYPERSERVER_LOG__ACCESS?" in server.lines[0]
    )


def test_the_log_level_is_obeyed_and_the_access_log_is_apart(project: Path) -> None:
    path = project / "s.sock"
    with serving(project, "shop:http_only", "-b", f"unix:{path}", "--log-level", "error") as server:
        deadline = time.monotonic() + PATIENCE
        while not path.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        assert fetch(str(path)).endswith(b"hello from app")
        assert server.stop() == 0
    (line,) = server.lines
    assert re.fullmatch(r'- "GET /here HTTP/1\.1" 200 14 \d+\.\dms', line)


def test_without_an_access_log_there_are_no_access_lines(project: Path) -> None:
    with serving(project, "shop:app", *ANYWHERE, "--no-access-log") as server:
        fetch(("127.0.0.1", server.port()))
        assert server.stop() == 0
    assert "/here" not in server.output


def test_a_reader_of_its_output_that_goes_away_does_not_end_it(project: Path) -> None:
    with subprocess.Popen(
        command("shop:app", *ANYWHERE),
        cwd=project,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stderr is not None
            process.stdout.close()
            lines = iter(process.stderr.readline, "")
            port = next(int(m[1]) for line in lines if (m := re.search(r"http://.*:(\d+)$", line)))
            assert fetch(("127.0.0.1", port)).endswith(b"hello from app")
            process.terminate()
            rest = process.stderr.read()
            assert process.wait(PATIENCE) == 0
        finally:
            process.kill()
    assert "Traceback" not in rest
    assert "BrokenPipe" not in rest


def test_version() -> None:
    done = run(ROOT, "--version")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"hyperserver {hyperserver.__version__}\n"


def test_help_names_every_option() -> None:
    done = run(ROOT, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    for option in ("--config", "--bind", "--tls-certificate", "--tls-key", "--worker", "--http1-engine", "--app-dir", "--factory",
                   "--lifespan", "--root-path", "--log-level", "--no-access-log"):  # fmt: skip
        assert option in done.stdout


# ---- 2: the command line is wrong --------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "no application: name it as"),
        (("shop:app", "--prot", "80"), "unrecognized arguments: --prot 80"),
        (("shop:app", "other:app"), "unrecognized arguments: other:app"),
        (("shop:app", "--worker", "gevent"), "invalid choice: 'gevent'"),
        (("shop:app", "--work", "trio"), "unrecognized arguments: --work trio"),
        (("shop:app", "--bind"), "argument -b/--bind: expected one argument"),
        (("shop:app", "--log-level", "loud"), "invalid choice: 'loud'"),
        (("shop:app", "--tls-certificate", "c.pem"), "--tls-certificate and --tls-key go together"),
        (("shop:app", "--tls-key", "k.pem"), "--tls-certificate and --tls-key go together"),
        (("shop:app", *WITH_TLS, "--dev-tls"), "--dev-tls makes a certificate of its own"),
        (("shop:app", "--dev-tls", "-b", "unix:/s"), "--dev-tls: there are only Unix sockets"),
    ],
)
def test_wrong_usage(project: Path, arguments: tuple[str, ...], message: str) -> None:
    assert message in failure(project, 2, *arguments)


# ---- 3: the application does not load or start -------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("shop",), "cannot load 'shop': write it as \"package.module:attribute\""),
        (("shop:",), "cannot load 'shop:': write it as"),
        ((":app",), "cannot load ':app': write it as"),
        (("shopp:app",), "no module named 'shopp' in "),
        (("shop.sub:app",), "cannot load 'shop.sub:app': no module named 'shop.sub'"),
        (("shop.py:app",), "no module named 'shop.py'"),
        (("shop:ap",), "cannot load 'shop:ap': 'shop' has no attribute 'ap'"),
        (("shop:Nested.ap",), "'shop' has no attribute 'Nested.ap'"),
        (("shop:number",), "int object is not callable"),
        (("shop:number", "--factory"), "the factory is not callable"),
        (("shop:empty_factory", "--factory"), "NoneType object is not callable"),
        (("shop:app", "--app-dir", "nowhere"), "no module named 'shop' in "),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_an_application_that_is_not_found(
    project: Path, arguments: tuple[str, ...], message: str
) -> None:
    if "nowhere" in arguments:  # the current directory is on the path of `python -m`
        (project / "shop.py").unlink()
    assert message in failure(project, 3, *arguments, *ANYWHERE)


@pytest.mark.parametrize(
    ("arguments", "first", "last"),
    [
        (("broken:app",), "importing 'broken' failed:", "RuntimeError: bad import"),
        (("syntax:app",), "importing 'syntax' failed:", "SyntaxError: invalid syntax"),
        (
            ("imports:app",),
            "importing 'imports' failed:",
            "ModuleNotFoundError: No module named 'a_module_that_is_not_there'",
        ),
        (("exits:app",), "importing 'exits' failed:", "SystemExit"),
        (
            ("shop:broken_factory", "--factory"),
            "the factory 'shop:broken_factory' failed:",
            "RuntimeError: no settings",
        ),
        (
            ("shop:exiting_factory", "--factory"),
            "the factory 'shop:exiting_factory' failed:",
            "SystemExit: 0",
        ),
    ],
)
def test_an_application_that_raises_shows_its_own_traceback_only(
    project: Path, arguments: tuple[str, ...], first: str, last: str
) -> None:
    done = run(project, *arguments, *ANYWHERE)
    lines = done.stderr.splitlines()
    assert done.returncode == 3
    assert lines[0] == f"hyperserver: {first}"
    assert lines[-1] == last
    assert "hyperserver/runtime" not in done.stderr
    assert "importlib" not in done.stderr
    assert len(lines) < 12


@EVERY_LOOP
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("shop:refuses",), "the application failed to start: the database is down"),
        (("shop:refuses_silently",), "the application failed to start: (no message)"),
        (
            ("shop:http_only", "--lifespan", "on"),
            "the application does not support lifespan: AssertionError()",
        ),
        (
            ("shop:returns_at_once", "--lifespan", "on"),
            "the application does not support lifespan: it returned at once",
        ),
        (("shop:exits",), "the application exited while starting: SystemExit(0)"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_an_application_that_does_not_start(
    project: Path, worker: str, arguments: tuple[str, ...], message: str
) -> None:
    assert failure(project, 3, *arguments, *ANYWHERE, "--worker", worker) == message


@EVERY_LOOP
def test_a_startup_that_takes_too_long(project: Path, worker: str) -> None:
    (project / "server.toml").write_text('[timeouts]\nstartup = "200ms"\n', encoding="utf-8")
    done = run(project, "shop:never_starts", "-c", "server.toml", *ANYWHERE, "--worker", worker)
    assert done.returncode == 3
    assert done.stderr == "hyperserver: the application's startup took longer than 0.2 s\n"


@EVERY_LOOP
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_during_startup_does_not_wait_for_it(
    project: Path, worker: str, number: int
) -> None:
    with serving(project, "shop:never_starts", *ANYWHERE, "--worker", worker) as server:
        server.wait_for("^starting$")
        server.signal(number)
        assert server.wait() == 0
    assert "Traceback" not in server.output
    assert "listening" not in server.output


# ---- the end of the lifespan -------------------------------------------------------------------


@EVERY_LOOP
@pytest.mark.parametrize(
    ("app", "message"),
    [
        ("fails_to_stop", "ERROR the application failed to shut down: cannot save"),
        ("raises_while_stopping", "RuntimeError: lost the cache"),
    ],
)
def test_a_failing_shutdown_is_logged_and_not_a_clean_end(
    project: Path, worker: str, app: str, message: str
) -> None:
    with serving(project, f"shop:{app}", *ANYWHERE, "--worker", worker) as server:
        server.port()
        assert server.stop() == 1
    assert message in server.output


@EVERY_LOOP
def test_a_shutdown_that_takes_too_long(project: Path, worker: str) -> None:
    (project / "server.toml").write_text('[timeouts]\nshutdown = "200ms"\n', encoding="utf-8")
    arguments = ("shop:never_stops", "-c", "server.toml", *ANYWHERE, "--worker", worker)
    with serving(project, *arguments) as server:
        server.port()
        assert server.stop() == 1
    assert "ERROR the application's shutdown took longer than 0.2 s" in server.output


@EVERY_LOOP
def test_a_second_signal_does_not_wait_for_the_applications_shutdown(
    project: Path, worker: str
) -> None:
    with serving(project, "shop:never_stops", *ANYWHERE, "--worker", worker) as server:
        server.port()
        server.signal(signal.SIGTERM)
        server.wait_for("^stopping$")
        server.signal(signal.SIGTERM)
        assert server.wait() == 128 + signal.SIGTERM
    assert "SIGTERM again: not waiting any longer" in server.output


def test_an_application_that_leaves_its_lifespan_without_a_word_has_ended_all_the_same(
    project: Path,
) -> None:
    with serving(project, "shop:leaves_without_a_word", *ANYWHERE) as server:
        server.port()
        assert server.stop() == 0
    assert "WARNING the application ended without sending lifespan.shutdown" in server.output


@EVERY_LOOP
def test_a_lifespan_that_fails_after_startup_is_logged_and_serving_goes_on(
    project: Path, worker: str
) -> None:
    with serving(project, "shop:raises_after_start", *ANYWHERE, "--worker", worker) as server:
        port = server.port()
        server.wait_for("RuntimeError: background trouble")
        assert fetch(("127.0.0.1", port)).endswith(b"hello from app")
        assert server.stop() == 0


def test_the_log_says_why_lifespan_was_left_out(project: Path) -> None:
    with serving(project, "shop:http_only", *ANYWHERE) as server:
        server.port()
        assert server.stop() == 0
    assert (
        "INFO the application does not support lifespan (AssertionError()); serving without it"
        in server.output
    )


# ---- 78: the configuration is wrong ------------------------------------------------------------


def test_every_wrong_key_has_its_place(project: Path) -> None:
    (project / "server.toml").write_text(
        'wroker = "trio"\n[timeouts]\ndrain = 30\n', encoding="utf-8"
    )
    done = run(project, "shop:app", "-c", "server.toml")
    assert done.returncode == 78
    assert done.stderr.splitlines() == [
        "error: unknown key `wroker`",
        " --> server.toml:1:1",
        "  |",
        '1 | wroker = "trio"',
        "  | ^^^^^^ did you mean `worker`?",
        "",
        "error: `timeouts.drain`: needs a unit",
        " --> server.toml:3:9",
        "  |",
        "3 | drain = 30",
        '  |         ^^ write "30s"',
    ]


def test_a_file_that_is_something_else(project: Path) -> None:
    done = run(project, "-c", "shop.py")
    assert done.returncode == 78
    assert done.stderr.startswith("error: not TOML: ")
    assert " --> shop.py:" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("-c", "nowhere.toml"), "cannot read nowhere.toml: No such file or directory"),
        (("shop:app", "-b", "8000"), "`listen[0].bind`: '8000' is not an address; write \"host:port\""),
        (("shop:app", "-b", "localhost"), "`listen[0].bind`: 'localhost' is not an address"),
        (("shop:app", "-b", "127.0.0.1:65536"), "`listen[0].bind`: '127.0.0.1:65536' is not an address"),
        (("shop:app", "-b", "::1:8000"), "`listen[0].bind`: '::1:8000' is not an address"),
        (("shop:app", "-b", "http://127.0.0.1:8000"), "is not an address"),
        (("shop:app", "-b", "fd:three"), '`listen[0].bind`: "fd:three" needs a file descriptor number'),
        (("shop:app", "-b", "unix:"), "`listen[0].bind`: 'unix:' needs a path"),
        (("shop:app", "--root-path", "shop"), '`root_path`: must begin with "/"'),
    ],
)  # fmt: skip
def test_wrong_configuration(project: Path, arguments: tuple[str, ...], message: str) -> None:
    assert message in failure(project, 78, *arguments)


# ---- 1: a socket cannot be opened --------------------------------------------------------------


@EVERY_LOOP
def test_an_address_in_use(project: Path, worker: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        line = failure(project, 1, "shop:app", "-b", address, "--worker", worker)
    assert line == (
        f"cannot listen on {address}: address already in use; "
        "another program listens there, choose another port with --bind"
    )


@EVERY_LOOP
def test_the_same_address_twice(project: Path, worker: str) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    line = failure(project, 1, "shop:app", "-b", address, "-b", address, "--worker", worker)
    assert line.startswith(f"cannot listen on {address}: address already in use")


def test_a_server_whose_application_is_still_starting_holds_its_address(project: Path) -> None:
    with serving(project, "shop:never_starts", *ANYWHERE, "-b", "unix:first.sock") as first:
        first.wait_for("^starting$")
        line = failure(project, 1, "shop:app", "-b", "unix:first.sock")
        assert line == "cannot listen on unix:first.sock: address already in use"


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("unix:no/such/dir.sock", "cannot listen on unix:no/such/dir.sock: no such file"),
        ("unix:shop.py", "cannot listen on unix:shop.py: the file exists and is not a socket"),
        ("unix:.", "cannot listen on unix:.: the file exists and is not a socket"),
        (f"unix:{'x' * 200}", "AF_UNIX path too long"),
        ("fd:987", "cannot listen on fd:987: Bad file descriptor"),
        ("no-such-host.invalid:80", "cannot listen on no-such-host.invalid:80: "),
        ("a..b:80", "cannot listen on 'a..b:80': not a host name"),
        ("192.0.2.1:0", "cannot listen on 192.0.2.1:0: cannot assign requested address"),
    ],
)
def test_a_socket_that_cannot_be_opened(project: Path, address: str, message: str) -> None:
    assert message in failure(project, 1, "shop:app", "-b", address)
    assert {path.name for path in project.iterdir()} == set(MODULES)


def test_a_directory_without_permission(project: Path) -> None:
    locked = project / "locked"
    locked.mkdir(mode=0o500)
    if os.access(locked, os.W_OK):
        pytest.skip("this user may write everywhere")
    line = failure(project, 1, "shop:app", "-b", "unix:locked/a.sock")
    assert line == "cannot listen on unix:locked/a.sock: permission denied"


def test_a_port_that_needs_privileges(project: Path) -> None:
    with socket.socket() as sock:
        try:
            sock.bind(("127.0.0.1", 81))
        except PermissionError:
            pass
        else:
            pytest.skip("this user may bind every port")
    line = failure(project, 1, "shop:app", "-b", "127.0.0.1:81")
    assert line.endswith("permission denied; ports below 1024 need privileges")


def test_addresses_are_opened_all_or_none(project: Path) -> None:
    line = failure(project, 1, "shop:app", "-b", "unix:good.sock", "-b", "unix:no/bad.sock")
    assert "no/bad.sock" in line
    assert not (project / "good.sock").exists()


# ---- options over the file ---------------------------------------------------------------------


def parse(*arguments: str) -> Config:
    return gather(build_parser().parse_args(arguments), Sources())


def test_without_options_the_defaults_hold() -> None:
    assert parse("a:b") == Config(app="a:b")


def test_every_option_has_its_setting() -> None:
    config = parse(
        "a:b", "-b", "x:1", "-b", "x:2", "--worker", "trio", "--http1-engine", "h11",
        "--app-dir", "src", "--factory", "--lifespan", "on", "--root-path", "/p",
        "--log-level", "debug", "--no-access-log",
    )  # fmt: skip
    assert config.listen == (Listen(bind=("x:1", "x:2")),)
    assert (config.worker, config.http1.engine, config.app_dir) == ("trio", "h11", "src")
    assert (config.factory, config.lifespan, config.root_path) == (True, "on", "/p")
    assert (config.log.level, config.log.access) == ("debug", False)


def test_options_override_the_file_and_leave_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "server.toml"
    path.write_text(
        'app = "file:app"\nworker = "trio"\nfactory = true\n[[listen]]\nbind = ["x:1"]\n'
        '[timeouts]\ndrain = "1s"\n[log]\naccess = false\nlevel = "error"\n',
        encoding="utf-8",
    )
    config = parse("-c", str(path), "--worker", "asyncio", "--access-log")
    assert (config.app, config.worker, config.factory) == ("file:app", "asyncio", True)
    assert (config.log.access, config.log.level) == (True, "error")
    assert config.listen == (Listen(bind=("x:1",)),)
    assert config.timeouts == Timeouts(drain=1.0)
    config = parse("other:app", "-c", str(path), "-b", "x:2", "--log-level", "info")
    assert (config.app, config.app_dir) == ("other:app", str(tmp_path))
    assert config.listen == (Listen(bind=("x:2",)),)
    assert (config.log.access, config.log.level) == (False, "info")


def test_a_certificate_on_the_command_line_is_for_every_address_but_unix_sockets() -> None:
    config = parse("a:b", *WITH_TLS, "-b", "x:1", "-b", "unix:/s", "-b", "fd:3")
    assert config.tls == TLS(certificate="c.pem", key="k.pem")
    assert config.listen == (
        Listen(bind=("x:1", "fd:3"), tls=True),
        Listen(bind=("unix:/s",)),
    )
    assert parse("a:b", *WITH_TLS).listen == (Listen(tls=True),)
    with pytest.raises(UsageError, match="only Unix sockets"):
        parse("a:b", *WITH_TLS, "-b", "unix:/s")


@pytest.fixture
def tls_file(tmp_path: Path) -> str:
    """A configuration with an address for TLS, one without, and a Unix socket with both."""
    path = tmp_path / "server.toml"
    path.write_text(
        'app = "a:b"\n[tls]\ncertificate = "file.pem"\nkey = "file.key"\n'
        '[[listen]]\nbind = ["x:443"]\ntls = true\nbacklog = 7\n[[listen]]\nbind = ["x:80"]\n'
        '[[listen]]\nbind = ["unix:/s"]\ntls = true\n',
        encoding="utf-8",
    )
    return str(path)


def test_a_certificate_on_the_command_line_replaces_that_of_the_file(tls_file: str) -> None:
    config = parse("-c", tls_file, *WITH_TLS)
    assert config.tls == TLS(certificate="c.pem", key="k.pem")
    assert config.listen == (
        Listen(bind=("x:443",), tls=True, backlog=7),
        Listen(bind=("x:80",), tls=True),
        Listen(bind=("unix:/s",), tls=True),
    )


def test_a_certificate_for_development(tls_file: str, tmp_path: Path) -> None:
    config = parse("a:b", "--dev-tls", "-b", "x:1", "-b", "unix:/t")
    assert config.tls == TLS(dev=True)
    assert config.listen == (Listen(bind=("x:1",), tls=True), Listen(bind=("unix:/t",)))
    assert parse("-c", tls_file, "--dev-tls").tls == TLS(dev=True)


def test_a_listener_that_redirects_stays_without_tls(tmp_path: Path) -> None:
    file = tmp_path / "redirect.toml"
    file.write_text(
        'app = "a:b"\n[[listen]]\nbind = ["x:80"]\nredirect = "https"\nnames = ["x"]\n'
        '[[listen]]\nbind = ["x:443"]\n'
    )
    config = parse("-c", str(file), "--dev-tls")
    assert [listen.tls for listen in config.listen] == [False, True]


def test_an_address_on_the_command_line_has_the_tls_of_the_file(
    tls_file: str, tmp_path: Path
) -> None:
    """It takes the place of those in the file, and must not be plaintext by an oversight."""
    config = parse("-c", tls_file, "-b", "x:1", "-b", "unix:/t")
    assert config.tls == TLS(certificate=f"{tmp_path}/file.pem", key=f"{tmp_path}/file.key")
    assert config.listen == (Listen(bind=("x:1",), tls=True), Listen(bind=("unix:/t",)))
    config = parse("-c", tls_file, "-b", "unix:/t")
    assert (config.tls, config.listen) == (TLS(), (Listen(bind=("unix:/t",)),))
    assert [listen.tls for listen in parse("-c", tls_file).listen] == [True, False, True]


def test_an_application_must_be_named_somewhere(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--worker", "trio"]) == 2
    assert "no application: name it as" in capsys.readouterr().err
