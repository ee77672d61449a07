"""Command line over environment over file over default, and where each value comes from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hyperserver.cli.flags import build_parser, flags_given, gather
from hyperserver.config import TLS, Certificate, ClientAuth, Config, Listen
from hyperserver.config.diagnose import Place
from hyperserver.config.load import TOMLFile
from hyperserver.config.sources import (
    Sources,
    find_file,
    from_environment,
    unknown_variables,
)
from hyperserver.errors import ConfigError, UsageError
from tests.config.toy import Auth, Door, Pair, Safe, Toy


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def toy(text: str = "", environ: dict[str, str] | None = None, *flags: str) -> tuple[Toy, Sources]:
    sources = Sources(Toy)
    if text:
        Path("toy.toml").write_text(text, encoding="utf-8")
        sources.add_file(TOMLFile("toy.toml"))
    arguments = build_parser(config=Toy).parse_args(flags)
    sources.add(from_environment(Toy, environ or {}), flags_given(arguments, Toy))
    made = sources.read()
    assert isinstance(made, Toy)
    return made, sources


def test_each_source_overrides_the_next() -> None:
    text, environ = "count = 2", {"HYPERSERVER_COUNT": "3"}
    assert toy()[0].count == 1
    assert toy(text)[0].count == 2
    assert toy(text, {"TOY_COUNT": "4"})[0].count == 4
    assert toy(text, {**environ, "TOY_COUNT": "4"})[0].count == 3
    assert toy(text, environ, "--count", "5")[0].count == 5
    assert toy(text, environ, "-n", "6")[0].count == 6
    assert toy(text, {"HYPERSERVER_COUNT": ""})[0].count == 2


def test_every_shape_from_the_environment() -> None:
    made, _ = toy(
        "",
        {
            "TOY_NAMES": "a, b,c",
            "HYPERSERVER_SAFE__EVERY": "1m",
            "HYPERSERVER_SAFE__DEV": "Yes",
            "HYPERSERVER_SAFE__SHARE": "0.25",
            "HYPERSERVER_SAFE__AUTH__CRLS": '["x,y", "z"]',
            "HYPERSERVER_SAFE__PAIRS": '[{"left": "l", "right": "r"}]',
            "HYPERSERVER_DOORS__MODE": "600",
        },
    )
    assert made == Toy(
        names=("a", "b", "c"),
        doors=(Door(mode=0o600),),
        safe=Safe(
            every=60, dev=True, share=0.25, auth=Auth(crls=("x,y", "z")), pairs=(Pair("l", "r"),)
        ),
    )


def test_every_shape_from_the_command_line() -> None:
    made, _ = toy(
        "safe.dev = true\nsafe.hsts = '1s'",
        {},
        *("--names", "a", "--names", "b", "--no-dev-safe", "--safe-hsts", "180d"),
        *("--safe-auth-mode", "required", "--safe-auth-ca", "ca.pem", "--doors-mode", "0o640"),
    )
    assert made == Toy(
        names=("a", "b"),
        doors=(Door(mode=0o640),),
        home="home",
        safe=Safe(hsts=180 * 86_400, auth=Auth("required", "ca.pem")),
    )


def test_flags_hold_for_all_tables_of_an_array_and_the_identity_makes_a_new_array() -> None:
    text = '[[doors]]\nat = ["a"]\nmode = 0o600\n[[doors]]\nat = ["b"]\nwidth = 7\n'
    assert toy(text, {}, "--doors-width", "3")[0].doors == (
        Door(at=("a",), mode=0o600, width=3),
        Door(at=("b",), width=3),
    )
    assert toy(text, {}, "-d", "c", "-d", "d")[0].doors == (Door(at=("c", "d")),)
    # what the environment says of all doors is meant for those of the command line as well
    environ = {"HYPERSERVER_DOORS__WIDTH": "4", "HYPERSERVER_DOORS": '[{"at": ["e"]}]'}
    assert toy(text, environ)[0].doors == (Door(at=("e",), width=4),)
    assert toy(text, environ, "-d", "c")[0].doors == (Door(at=("c",), width=4),)


def test_paths_of_the_file_are_seen_from_it_and_others_from_here(tmp_path: Path) -> None:
    folder = tmp_path / "etc"
    folder.mkdir()
    (folder / "toy.toml").write_text('[safe.auth]\nca = "ca.pem"\n')
    sources = Sources(Toy)
    sources.add_file(TOMLFile("etc/toy.toml"))
    sources.add(from_environment(Toy, {"HYPERSERVER_SAFE__AUTH__CRLS": "x"}), [])
    made = sources.read()
    assert (made.home, made.safe.auth.ca, made.safe.auth.crls) == ("etc/home", "etc/ca.pem", ("x",))


def test_origins() -> None:
    text = '# first\ncount = 2\n[[doors]]\nat = ["a"]\n[[doors]]\nwidth = 7\n[safe]\nevery = "1s"\n'
    environ = {"HYPERSERVER_DOORS__MODE": "600", "TOY_NAMES": "z"}
    _, sources = toy(text, environ, "--no-dev-safe")
    told = {
        ("count",): "toy.toml:2",
        ("names",): "TOY_NAMES",
        ("home",): "default",
        ("doors", 0, "at"): "toy.toml:4",
        ("doors", 0, "mode"): "HYPERSERVER_DOORS__MODE",
        ("doors", 0, "width"): "default",
        ("doors", 1, "at"): "default",
        ("doors", 1, "mode"): "HYPERSERVER_DOORS__MODE",
        ("doors", 1, "width"): "toy.toml:6",
        ("safe", "every"): "toy.toml:8",
        ("safe", "dev"): "--no-dev-safe",
        ("safe", "auth", "mode"): "default",
    }
    assert {path: sources.told(path) for path in told} == told


@pytest.mark.parametrize(
    ("text", "environ", "flags", "where"),
    [
        ("count = 'x'", {}, (), "toy.toml:1:9"),
        ("count = 1", {"TOY_COUNT": "x"}, (), "TOY_COUNT"),
        ("count = 1", {"TOY_COUNT": "2"}, ("--count", "x"), "--count"),
        ("[safe]\nevery = 1", {}, (), "toy.toml:2:9"),
        ("", {"HYPERSERVER_SAFE__DEV": "maybe"}, (), "HYPERSERVER_SAFE__DEV"),
        ("", {"HYPERSERVER_SAFE__PAIRS": '[{"left": 5}]'}, (), "HYPERSERVER_SAFE__PAIRS"),
        ("[safe.auth]\nmode = 'required'", {}, (), "toy.toml:2:1"),
        ("[safe.auth]\nmode = 'off'", {}, ("--safe-auth-mode", "required"), "--safe-auth-mode"),
        ("[[doors]]\n[[doors]]\nmode = 0o600", {}, ("--doors-width", "0"), "--doors-width"),
        ("doors = 5", {}, ("--doors-width", "1"), "toy.toml:1:9"),
        ("safe = 5", {}, ("--safe-every", "1s"), "toy.toml:1:8"),
    ],
)
def test_a_mistake_is_found_where_it_was_made(
    text: str, environ: dict[str, str], flags: tuple[str, ...], where: str
) -> None:
    sources = Sources(Toy)
    if text:
        Path("toy.toml").write_text(text, encoding="utf-8")
        sources.add_file(TOMLFile("toy.toml"))
    arguments = build_parser(config=Toy).parse_args(flags)
    sources.add(from_environment(Toy, environ), flags_given(arguments, Toy))
    with pytest.raises(ConfigError) as caught:
        sources.read()
    found = sources.locate(caught.value.problems[0])
    assert str(found) == where
    assert isinstance(found, Place) == where.startswith("toy")


def test_a_variable_that_is_not_json() -> None:
    with pytest.raises(ConfigError, match="HYPERSERVER_DOORS: not JSON"):
        toy("", {"HYPERSERVER_DOORS": "front"})
    with pytest.raises(ConfigError, match="TOY_NAMES: not JSON"):
        toy("", {"TOY_NAMES": "[a"})


def test_variables_that_set_nothing_are_told() -> None:
    environ = {
        "HYPERSERVER_CUONT": "1", "HYPERSERVER_COUNT": "1", "HYPERSERVER_CONFIG": "x",
        "HYPERSERVER_SERVICE_HOST": "10.0.0.1", "HYPERSERVER_PORT_80_TCP_ADDR": "x", "PATH": "/",
        "HYPERSERVER_ZZZZZZ": "",
    }  # fmt: skip
    assert unknown_variables(Toy, environ) == [
        "the variable HYPERSERVER_CUONT sets nothing; did you mean HYPERSERVER_COUNT?",
        "the variable HYPERSERVER_ZZZZZZ sets nothing",
    ]


# ---- which file ---------------------------------------------------------------------------------


def found(named: str | None = None, **environ: str) -> tuple[str, object] | None:
    file = find_file(named, environ)
    return None if file is None else (file.name, file.data)


def test_the_file_that_is_read() -> None:
    assert found() is None
    Path("pyproject.toml").write_text("[project]\nname = 'hyperserver-app'\n")
    assert found() is None
    Path("pyproject.toml").write_text("[project]\n[tool.hyperserver]\nworker = 'trio'\n")
    assert found() == ("pyproject.toml", {"worker": "trio"})
    Path("hyperserver.toml").write_text("factory = true")
    assert found() == ("hyperserver.toml", {"factory": True})
    Path("other.toml").write_text("lifespan = 'on'")
    assert found(HYPERSERVER_CONFIG="other.toml") == ("other.toml", {"lifespan": "on"})
    assert found("pyproject.toml", HYPERSERVER_CONFIG="other.toml") == (
        "pyproject.toml", {"worker": "trio"},
    )  # fmt: skip
    with pytest.raises(ConfigError, match=r"cannot read nowhere\.toml: No such file"):
        found("nowhere.toml")


def test_a_project_without_hyperserver_is_not_parsed() -> None:
    Path("pyproject.toml").write_text("this is not TOML")
    assert found() is None


def test_places_in_the_project_file() -> None:
    Path("pyproject.toml").write_text(
        "[tool.other]\nx = 1\n[tool.hyperserver.log]\nlevl = 'info'\n"
    )
    sources = Sources()
    with pytest.raises(ConfigError) as caught:
        gather(build_parser().parse_args(["a:b"]), sources)
    (problem,) = caught.value.problems
    assert str(sources.locate(problem)) == "pyproject.toml:4:1"
    Path("pyproject.toml").write_text("[tool]\nhyperserver = 5\n")
    with pytest.raises(ConfigError, match=r"pyproject\.toml: `tool\.hyperserver` must be a table"):
        found()


def test_a_byte_order_mark_is_no_part_of_the_file() -> None:
    Path("hyperserver.toml").write_bytes(b"\xef\xbb\xbfworker = 'trio'\r\n")
    assert found() == ("hyperserver.toml", {"worker": "trio"})


# ---- TLS ----------------------------------------------------------------------------------------


WITH_TLS = '[[listen]]\nbind = ["unix:/a", "x:1", "unix:/b", "y:70000"]\nbacklog = 7\n[[listen]]\nbind = ["z:1"]\n'
PAIR = {"HYPERSERVER_TLS__CERTIFICATE": "c.pem", "HYPERSERVER_TLS__KEY": "k.pem"}


def server(text: str, environ: dict[str, str], *flags: str) -> tuple[Config, Sources]:
    sources = Sources()
    Path("hyperserver.toml").write_text(text, encoding="utf-8")
    sources.add_file(TOMLFile("hyperserver.toml"))
    arguments = build_parser().parse_args(flags)
    sources.add(from_environment(Config, environ), flags_given(arguments))
    config = sources.read()
    assert isinstance(config, Config)
    return config, sources


def test_a_certificate_from_the_environment_is_for_every_address_but_unix_sockets() -> None:
    config, sources = server(WITH_TLS.replace("70000", "7"), PAIR)
    assert config.tls == TLS(certificate="c.pem", key="k.pem")
    assert config.listen == (
        Listen(bind=("x:1", "y:7"), backlog=7, tls=True),
        Listen(bind=("unix:/a", "unix:/b"), backlog=7),
        Listen(bind=("z:1",), tls=True),
    )
    assert sources.told(("listen", 0, "tls")) == "HYPERSERVER_TLS__CERTIFICATE"
    assert sources.told(("listen", 1, "tls")) == "default"
    assert sources.told(("listen", 1, "backlog")) == "hyperserver.toml:3"
    assert sources.told(("listen", 2, "bind")) == "hyperserver.toml:5"


def test_places_survive_the_division_of_listeners() -> None:
    sources = Sources()
    Path("hyperserver.toml").write_text(WITH_TLS, encoding="utf-8")
    sources.add_file(TOMLFile("hyperserver.toml"))
    sources.add(from_environment(Config, PAIR), [])
    with pytest.raises(ConfigError) as caught:
        sources.read()
    (problem,) = caught.value.problems
    assert "'y:70000' is not an address" in str(problem)
    assert str(sources.locate(problem)) == "hyperserver.toml:2:38"


def test_plaintext_can_be_asked_for() -> None:
    text = '[tls]\ncertificate = "c.pem"\nkey = "k.pem"\n[[listen]]\ntls = true\n'
    config, _ = server(text, {}, "-b", "x:1", "--no-listen-tls")
    assert (config.listen, config.tls) == ((Listen(bind=("x:1",)),), TLS())
    config, _ = server(text, {}, "--no-listen-tls")
    assert (config.listen, config.tls) == ((Listen(),), TLS())
    given = ("--tls-certificate", "c", "--tls-key", "k", "--no-listen-tls")
    with pytest.raises(UsageError, match="--tls-certificate: --no-listen-tls says otherwise"):
        server("", {}, *given)


def test_another_source_of_certificates_takes_the_place_of_the_files(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(TLS, "SOURCES", {"certificate": ("key",), "several": ()})
    sources = Sources()
    Path("hyperserver.toml").write_text('[tls]\nseveral = [1]\nkey = "k"\n')
    sources.add_file(TOMLFile("hyperserver.toml"))
    sources.add(from_environment(Config, {"HYPERSERVER_TLS__CERTIFICATE": "c.pem"}), [])
    assert sources.data["tls"] == {"certificate": "c.pem", "key": "k"}


SEVERAL = (
    'listen = [{ bind = ["x:443"], tls = true }]\n'
    '[tls]\nreload = "1s"\n[tls.client_auth]\nmode = "optional"\nca = "/ca"\n'
    '[[tls.certificates]]\ncertificate = "/c1"\nkey = "/k1"\n'
)
AUTH = ClientAuth("optional", "/ca")
FLAGS = ("--tls-certificate", "c", "--tls-key", "k")


@pytest.mark.parametrize(
    ("variables", "flags", "tls"),
    [
        ({}, (), {"certificates": (Certificate("/c1", "/k1"),)}),
        ({}, FLAGS, {"certificate": "c", "key": "k"}),
        ({}, ("--dev-tls",), {"dev": True}),
        ({}, ("--no-dev-tls",), {"certificates": (Certificate("/c1", "/k1"),)}),
        ({"TLS__DEV": "1"}, (), {"dev": True}),
        ({"TLS__DEV": "0"}, (), {"certificates": (Certificate("/c1", "/k1"),)}),
        ({"TLS__DEV": "1"}, FLAGS, {"certificate": "c", "key": "k"}),
        ({"TLS__CERTIFICATE": "e", "TLS__KEY": "f"}, ("--dev-tls",), {"dev": True}),
        ({"TLS__CERTIFICATE": "e", "TLS__KEY": "f"}, (), {"certificate": "e", "key": "f"}),
        (
            {"TLS__CERTIFICATES": '[{"certificate": "e", "key": "f"}]'},
            (),
            {"certificates": (Certificate("e", "f"),)},
        ),
        ({"TLS__CERTIFICATES": '[{"key": 1}]'}, FLAGS, {"certificate": "c", "key": "k"}),
    ],
)
def test_what_makes_way_for_what(
    variables: dict[str, str], flags: tuple[str, ...], tls: dict[str, Any]
) -> None:
    environ = {f"HYPERSERVER_{name}": value for name, value in variables.items()}
    config, _ = server(SEVERAL, environ, *flags)
    assert config.tls == TLS(**tls, reload=1.0, client_auth=AUTH)
    assert config.listen == (Listen(bind=("x:443",), tls=True),)


def test_what_has_made_way_comes_from_nowhere() -> None:
    text = 'listen = [{ tls = true }]\n[tls]\ncertificate = "c"\nkey = "k"\nreload = "1s"\n'
    _, sources = server(text, {}, "--dev-tls")
    keys = ("certificate", "key", "dev", "reload")
    told = [sources.told(("tls", key)) for key in keys]
    assert told == ["default", "default", "--dev-tls", "hyperserver.toml:5"]


def test_two_certificates_on_one_level_contradict_each_other() -> None:
    with pytest.raises(ConfigError, match=r"`tls\.dev`: makes a certificate of its own"):
        server("", {**PAIR, "HYPERSERVER_TLS__DEV": "1"})


def test_a_listener_that_redirects_is_not_given_tls() -> None:
    text = (
        'listen = [{ bind = ["x:80", "unix:/s"], redirect = "https", names = ["x"] },'
        ' { bind = ["x:443"] }]\n'
    )
    config, sources = server(text, PAIR)
    plain, secure = config.listen
    assert plain == Listen(bind=("x:80", "unix:/s"), redirect="https", names=("x",))
    assert secure == Listen(bind=("x:443",), tls=True)
    assert sources.told(("listen", 0, "names")) == "hyperserver.toml:1"
    alone = 'listen = [{ redirect = "https", names = ["x"] }]'
    with pytest.raises(UsageError, match="--dev-tls: there are only Unix sockets or redirects"):
        server(alone, {}, "--dev-tls")


@pytest.mark.parametrize("listen", ["5", "[5]", "[{ bind = 5 }]", "[{ bind = [5] }]"])
def test_wrong_listeners_are_refused_beside_a_certificate(listen: str) -> None:
    with pytest.raises(ConfigError, match="`listen"):
        server(f"listen = {listen}", PAIR)
