"""The commands as their user sees them."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from hyperserver.cli import main
from hyperserver.config import Config, from_mapping
from hyperserver.config.jsonschema import json_schema
from hyperserver.config.load import load_file
from hyperserver.config.reference import example_file, reference
from hyperserver.config.templates import KINDS
from tests.conftest import Certificate


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


Output = pytest.CaptureFixture[str]


def run(capsys: Output, *arguments: str) -> tuple[int, str, str]:
    code = main(arguments)
    printed = capsys.readouterr()
    return code, printed.out, printed.err


# ---- config -------------------------------------------------------------------------------------


def test_show_reads_back_the_same(capsys: Output, tmp_path: Path) -> None:
    Path("etc").mkdir()
    Path("etc/s.toml").write_text(
        'app = "a:b"\napp_dir = "src"\n[[listen]]\nbind = ["x:1"]\ntls = true\n'
        '[tls]\ncertificate = "c.pem"\nkey = "/k.pem"\n[timeouts]\ndrain = "1500ms"\n'
    )
    code, out, err = run(capsys, "config", "show", "-c", "etc/s.toml", "--worker", "trio")
    assert (code, err) == (0, "")
    assert f'app_dir = "{tmp_path}/etc/src"\n' in out
    Path("again.toml").write_text(out)
    again = load_file("again.toml")
    assert again.tls.certificate == f"{tmp_path}/etc/c.pem"
    assert (again.worker, again.timeouts.drain) == ("trio", 1.5)
    code, out_again, _ = run(capsys, "config", "show", "-c", "again.toml")
    assert (code, out_again) == (0, out)


def test_show_needs_no_application(capsys: Output) -> None:
    code, out, _ = run(capsys, "config", "show")
    assert code == 0
    assert out.startswith("# app =\n")


def test_show_of_a_wrong_file(capsys: Output) -> None:
    Path("hyperserver.toml").write_text("wroker = 1\n")
    code, out, err = run(capsys, "config", "show")
    assert (code, out) == (78, "")
    assert err.startswith("error: unknown key `wroker`\n --> hyperserver.toml:1:1\n")


def test_what_is_made_from_the_schema(capsys: Output) -> None:
    assert run(capsys, "config", "schema") == (0, json_schema(Config), "")
    assert run(capsys, "config", "reference") == (0, reference(), "")
    assert run(capsys, "config", "example") == (0, example_file(), "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("config",), "a command is missing, one of show, schema, reference, example, import;"),
        (("config", "shwo"), "'shwo' is none of the commands show, schema,"),
        (
            ("config", "schema", "x"),
            "unrecognized arguments: x; see hyperserver config schema --help",
        ),
        (("config", "import"), "the following arguments are required: hypercorn.toml"),
        (("init",), "the following arguments are required: kind"),
        (("init", "moon"), "invalid choice: 'moon'"),
        (("init", "dev", "--directory", "nowhere"), "--directory: nowhere is not a directory"),
        (("check", "--jsn"), "unrecognized arguments: --jsn; see hyperserver check --help"),
        (("-c", "x.toml", "check"), "the command comes first: hyperserver check …"),
    ],
)
def test_wrong_usage(capsys: Output, arguments: tuple[str, ...], message: str) -> None:
    code, out, err = run(capsys, *arguments)
    assert (code, out) == (2, "")
    assert message in err


@pytest.mark.parametrize("arguments", [("config",), ("config", "show"), ("init",), ("check",)])
def test_every_command_has_help(capsys: Output, arguments: tuple[str, ...]) -> None:
    if arguments == ("config",):
        assert main([*arguments, "--help"]) == 0
    else:
        with pytest.raises(SystemExit, match="0"):
            main([*arguments, "--help"])
    assert capsys.readouterr().out.startswith(f"usage: hyperserver {' '.join(arguments)}")


def test_import(capsys: Output) -> None:
    Path("hypercorn.toml").write_text('bind = "x:1"\nciphers = "x"\n')
    code, out, err = run(capsys, "config", "import", "hypercorn.toml")
    assert code == 0
    assert from_mapping(tomllib.loads(out)).listen[0].bind == ("x:1",)
    assert err.startswith("hypercorn.toml:2: ciphers: ")
    assert run(capsys, "config", "import", "hypercorn.toml", "-o", "new.toml") == (0, "", err)
    assert Path("new.toml").read_text() == out
    code, _, err = run(capsys, "config", "import", "hypercorn.toml", "-o", "new.toml")
    assert (code, err) == (2, "hyperserver: new.toml exists; it is not overwritten\n")
    code, _, err = run(capsys, "config", "import", "hypercorn.toml", "-o", "no/new.toml")
    assert (code, err) == (1, "hyperserver: cannot write no/new.toml: No such file or directory\n")


# ---- init and check -----------------------------------------------------------------------------


@pytest.fixture
def app(tmp_path: Path, request: pytest.FixtureRequest) -> str:
    """An application whose module nobody has imported yet."""
    name = f"app_{abs(hash(request.node.name))}"
    (tmp_path / f"{name}.py").write_text("print('imported')\nasync def app(*a): ...\nbroken = 5\n")
    return name


@pytest.mark.parametrize("kind", KINDS)
def test_what_init_writes_is_right(capsys: Output, app: str, kind: str) -> None:
    code, out, err = run(capsys, "init", kind, f"{app}:app")
    assert (code, err) == (0, "")
    assert out.startswith("wrote hyperserver.toml\n")
    assert "\nnext: " in out
    code, out, err = run(capsys, "check", "--no-environment")
    assert (code, out, err) == (0, "ok: configuration: hyperserver.toml\n", "")
    code, _, err = run(capsys, "init", kind)
    assert (code, err) == (2, "hyperserver: hyperserver.toml exists; it is not overwritten\n")


def test_check_of_what_init_writes_for_development(capsys: Output, app: str) -> None:
    run(capsys, "init", "dev", f"{app}:app")
    code, out, err = run(capsys, "check", "-b", "127.0.0.1:0")
    assert code == 0
    configuration, libraries, *rest = out.splitlines()
    assert configuration == "ok: configuration: hyperserver.toml"
    assert re.fullmatch(
        r"ok: libraries: \w+, HTTP/1\.1 by \w+ \d\S*, HTTP/2 by (nghttp2|h2) \d\S*, "
        r"WebSocket by \w+ \d\S*(; for nghttp2, which is faster, run .*)?",
        libraries,
    )
    assert rest == [
        f"ok: application: {app}:app (ASGI 3)",
        "ok: address: 127.0.0.1:0",
    ]
    assert err == "imported\n"


def test_check_tells_how_to_get_a_faster_engine(
    capsys: Output, app: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "hyperserver.protocol.h2._nghttp2", None)
    code, out, err = run(capsys, "check", f"{app}:app", "-b", "127.0.0.1:0")
    (libraries,) = re.findall("^ok: libraries: .*", out, re.MULTILINE)
    assert (code, err) == (0, "imported\n")
    assert "HTTP/2 by h2 " in libraries
    assert "; for nghttp2, which is faster, run `apt-get install gcc python3-dev " in libraries
    _, out, _ = run(capsys, "check", f"{app}:app", "-b", "127.0.0.1:0", "--http2-engine", "h2")
    assert "nghttp2" not in out
    code, _, err = run(capsys, "check", "-b", "127.0.0.1:0", "--http2-engine", "nghttp2")
    assert code == 78
    assert "`http2.engine`: 'nghttp2' cannot be imported (not installed); run `apt-get " in err


def test_check_tells_of_an_engine_that_cannot_be_loaded(
    capsys: Output, app: str, broken_nghttp2: str
) -> None:
    code, out, err = run(capsys, "check", f"{app}:app", "-b", "127.0.0.1:0")
    assert code == 0
    assert "HTTP/2 by h2 " in out
    assert "faster" not in out
    assert f"warning: nghttp2 is installed and cannot be loaded: {broken_nghttp2}" in err
    assert "; run `apt-get install gcc python3-dev libnghttp2-dev`, " in err


def test_check_with_a_certificate(capsys: Output, app: str, certificate: Certificate) -> None:
    tls = ("--tls-certificate", str(certificate.chain), "--tls-key", str(certificate.key))
    code, out, _ = run(capsys, "check", f"{app}:app", "-b", "127.0.0.1:0", *tls)
    assert code == 0
    assert "ok: certificate: localhost, 127.0.0.1, ::1 until " in out


def test_check_of_what_init_writes_for_the_edge(
    capsys: Output, app: str, certificate: Certificate
) -> None:
    run(capsys, "init", "edge", f"{app}:app")
    code, _, err = run(capsys, "check")
    assert code == 78
    for line in (
        "error: `tls.certificate`: cannot read tls/fullchain.pem: No such file or directory",
        "error: `tls.key`: cannot read tls/privkey.pem: No such file or directory",
        "warning: `listen[1].acme_webroot`: there is no folder acme; no challenge can be answered",
    ):
        assert f"{line}\n" in err
    for folder in ("tls", "acme"):
        Path(folder).mkdir()
    shutil.copy2(certificate.chain, "tls/fullchain.pem")
    shutil.copy2(certificate.key, "tls/privkey.pem")
    text = Path("hyperserver.toml").read_text()
    ports = re.sub(r'bind = \["0\.0\.0\.0:\d+", "\[::]:\d+"\]', 'bind = ["127.0.0.1:0"]', text)
    Path("hyperserver.toml").write_text(ports)
    code, out, err = run(capsys, "check")
    assert (code, out.count("ok: address: 127.0.0.1:0\n")) == (0, 2)
    assert "ok: certificate: localhost" in out
    assert "warning" not in err


def test_check_of_whom_and_what_the_process_is_to_be(capsys: Output, app: str) -> None:
    Path("bad.env").write_text("nothing\n")
    Path("hyperserver.toml").write_text(
        f'app = "{app}:app"\n[[listen]]\nbind = ["systemd:web"]\n'
        '[process]\nuser = "no-such-user"\nenv_file = "bad.env"\nchdir = "none"\n'
    )
    code, out, err = run(capsys, "check")
    assert code == 78
    assert "ok: address: systemd:web, which systemd will pass\n" in out
    for line in (
        "error: `process.user`: unknown user 'no-such-user'\n --> hyperserver.toml:5:8\n",
        "error: `process.env_file`: bad.env:1: not KEY=VALUE\n --> hyperserver.toml:6:12\n",
        "error: `process.chdir`: there is no folder none\n --> hyperserver.toml:7:9\n",
    ):
        assert line in err
    Path("bad.env").write_text("A=b\n")
    settings = ("--process-user", str(os.geteuid()), "--process-chdir", ".")
    group = ("--process-group", str(os.getegid()))
    assert run(capsys, "check", *settings, *group)[0] == 0


def test_check_of_mounts_and_names(
    capsys: Output, app: str, issue: Callable[..., Certificate]
) -> None:
    made = issue("shop.test", "*.shop.test")
    Path("hyperserver.toml").write_text(
        'server_names = ["shop.test", "a.shop.test", "a.b.shop.test", "10.0.0.0/8", ""]\n'
        '[[listen]]\nbind = ["127.0.0.1:0"]\ntls = true\n'
        f'[[mount]]\npath = "/api"\napp = "{app}:app"\n'
        f'[[mount]]\npath = "/b"\nhost = "b.shop.test"\napp = "{app}:broken"\n'
        '[proxy]\ntrust = ["unix", "*"]\n'
        f'[tls]\ncertificate = "{made.chain}"\nkey = "{made.key}"\n'
    )
    code, out, err = run(capsys, "check")
    assert code == 3
    assert f"ok: application: {app}:app at /api (ASGI 3)\n" in out
    assert "application: none is named" not in err
    for line in (
        f"error: cannot load '{app}:broken': int object is not callable",
        "`server_names`: no certificate is made out to a.b.shop.test\n --> hyperserver.toml:1:45\n",
        "`mount[1].host`: b.shop.test is not among `server_names`",
        "no request will reach it",
        '`proxy.trust`: "*" lets whoever can connect say who they are\n',
    ):
        assert line in err
    assert err.count("warning: ") == 3


def test_check_as_json(capsys: Output, app: str) -> None:
    Path("hyperserver.toml").write_text(f'app = "{app}:broken"\n[log]\nlevl = "info"\n')
    code, out, err = run(capsys, "check", "--json")
    assert (code, err) == (78, "")
    assert json.loads(out) == {
        "ok": False,
        "file": "hyperserver.toml",
        "findings": [
            {
                "level": "error", "message": "unknown key `log.levl`",
                "advice": "did you mean `level`?", "key": "log.levl",
                "file": "hyperserver.toml", "line": 3, "column": 1,
            }
        ],
    }  # fmt: skip
    Path("empty.toml").touch()
    code, out, err = run(
        capsys, "check", "--json", "--config", "empty.toml", f"{app}:broken", "-b", "127.0.0.1:0"
    )
    assert code == 3
    document = json.loads(out)
    assert [finding["level"] for finding in document["findings"]] == ["ok", "ok", "error", "ok"]
    assert document["findings"][2]["source"] == "the command line"
    assert "imported" in err


def test_check_of_an_address_in_use_is_a_warning(capsys: Output, app: str) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code, _, err = run(capsys, "check", f"{app}:app", "-b", f"127.0.0.1:{port}")
    assert code == 0
    assert f"warning: 127.0.0.1:{port} is in use, maybe by this server (from --bind)" in err


def test_check_of_what_is_not_there(capsys: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    from hyperserver.runtime import serve

    monkeypatch.setattr(serve, "find_spec", lambda _: None)
    code, out, err = run(capsys, "check", "-b", "unix:no/such.sock", "--worker", "trio")
    assert code == 78
    assert (
        "hyperserver: `worker`: trio is not installed; run `pip install trio` (from --worker)"
        in err
    )
    assert "cannot listen on unix:no/such.sock: no such file or directory (from --bind)" in err
    assert "warning: application: none is named" in err
    assert out == "ok: configuration: no file, what was given and the defaults\n"
