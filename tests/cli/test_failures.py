"""What keeps a server from starting: one line that says so, and an exit code."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

import pytest

from tests.cli.program import (
    ANYWHERE,
    EVERY_LOOP,
    MODULES,
    WITH_TLS,
    failure,
    run,
    serving,
)

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
