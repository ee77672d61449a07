"""Options of the command line over those of the file."""

from __future__ import annotations

from pathlib import Path

import pytest

from hyperserver.cli import main
from hyperserver.cli.flags import build_parser, gather
from hyperserver.config import TLS, Config, Listen, Timeouts
from hyperserver.config.sources import Sources
from hyperserver.errors import UsageError
from tests.cli.program import (
    WITH_TLS,
)


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
