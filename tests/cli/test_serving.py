"""A server as its user sees it: it starts, serves, stops, and ends its application's lifespan."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

import hyperserver
from tests.cli.program import (
    ANYWHERE,
    EVERY_LOOP,
    PATIENCE,
    ROOT,
    command,
    environment,
    fetch,
    run,
    serving,
)

# ---- a server that starts and stops ------------------------------------------------------------


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
        r"WebSocket by (websockets|wsproto), Python 3\.[^ ,]+(, compiled)?$",
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
