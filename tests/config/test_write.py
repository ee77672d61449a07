"""What is in force, written so that it reads back the same."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hyperserver.config import Config, from_mapping
from hyperserver.config.load import read
from hyperserver.config.settings import describe
from hyperserver.config.write import comment, commented, dump, example, quoted
from tests.config.toy import Auth, Door, Pair, Safe, Toy


def plain(config: object) -> str:
    return dump(config, lambda _: "")


EVERYTHING = {
    "app": "shop:app", "app_dir": "/srv", "factory": True, "worker": "trio", "lifespan": "on",
    "root_path": "/shop", "server_header": False, "date_header": False,
    "server_names": ["a.test", "*.a.test", "10.0.0.0/8", ""],
    "mount": [
        {"app": "api:app", "path": "/api", "host": "*.a.test", "relative": False, "app_dir": "/api"},
        {"app": "api:make", "path": "/v2", "factory": True, "app_dir": "/api"},
    ],
    "proxy": {"trust": ["unix"], "host": True, "prefix": True},
    "response": {"headers": ['x: "quoted\\"', "y: z, a"]},
    "listen": [
        {"bind": ["unix:/a b", "[::]:80"], "mode": 0o600, "backlog": 3, "protocols": ["h2"]},
        {"bind": ["x:443"], "tls": True, "hsts": "180d", "alt_svc": 'h3=":443"; ma=3600'},
        {"bind": ["x:80"], "redirect": "https", "names": ["x", "y:8443"], "acme_webroot": "/acme"},
    ],
    "tls": {
        "certificates": [
            {"certificate": "/c", "key": "/k", "key_password_file": "/p"},
            {"certificate": "/d", "key": "/l", "client_auth": {"mode": "required", "ca": "/a", "crl": "/r"}},
            {"certificate": "/e", "key": "/m", "key_password_env": "P"},
        ],
        "profile": "modern", "minimum_version": "1.3", "sni_strict": True, "reload": "0s", "dev": False,
        "client_auth": {"mode": "optional", "ca": "/ca", "crl": "/crl"},
    },
    "limits": {"request_head": "1025B", "request_target": "300B", "request_fields": 9, "request_body": "0B"},
    "timeouts": {"handshake": "1ms", "drain": "3d", "write": "1.5s", "min_body_rate": 1},
    "http1": {"engine": "h11"},
    "http2": {"engine": "h2", "upgrade": True, "max_frame_size": "20000B", "priorities": "rfc7540"},
    "websocket": {
        "engine": "wsproto", "max_message_size": "1KiB", "ping_interval": "0s", "ping_timeout": "1s",
        "close_timeout": "1ms", "compression": False, "compression_window": 9, "context_takeover": False,
    },
    "log": {"level": "debug", "access": False},
}  # fmt: skip


def test_a_file_of_every_section_reads_back_the_same() -> None:
    config = from_mapping(EVERYTHING)
    again = tomllib.loads(plain(config))
    assert set(again) == {each.name for each in describe(Config)}
    assert from_mapping(again) == config


@pytest.mark.parametrize("password", [{}, {"key_password_file": "/p"}, {"key_password_env": "P"}])
def test_one_certificate_reads_back_the_same(password: dict[str, str]) -> None:
    tls = {"certificate": "/c", "key": "/k", **password}
    config = from_mapping({"listen": [{"tls": True}], "tls": tls})
    assert from_mapping(tomllib.loads(plain(config))) == config


def test_the_defaults_read_back_the_same() -> None:
    assert from_mapping(tomllib.loads(plain(Config()))) == Config()


TOY = Toy(
    doors=(Door(), Door(at=("b",), mode=0o7)),
    safe=Safe(
        pairs=(Pair("l", "r"), Pair("m", "s", Auth("required", "c", ("x", "y")))),
        every=0,
        share=0.1,
    ),
)


def test_every_shape_reads_back_the_same() -> None:
    for toy in (TOY, Toy()):
        assert read(Toy, tomllib.loads(plain(toy))) == toy


def test_remarks_stand_in_a_column() -> None:
    text = dump(Toy(), lambda path: "default" if path == ("count",) else "x" * len(path))
    assert text.startswith(
        'count = 1       # default\nnames = ["a"]   # x\nhome = "home"   # x\n\n'
    )


def test_the_example_shows_every_shape() -> None:
    text = example(Toy, "# Head.\n")
    assert read(Toy, tomllib.loads(text)) == Toy()
    assert "# [[safe.pairs]]\n# The left file.\n# left = " in text
    assert "# [safe.pairs.auth]\n# How strict. One of " in text
    assert '\n[safe.auth]\n# How strict. One of "off", "required".\nmode = "off"\n' in text


def test_only_what_is_given_is_written_with_its_documentation() -> None:
    data = {"count": 5, "doors": [{"mode": 0o600}, {"at": ["x"]}], "safe": {"hsts": "1d"}}
    blocks = list(commented(data, describe(Toy)))
    assert blocks == [
        "# How many.\ncount = 5",
        "[[doors]]\n# Permissions.\nmode = 0o600",
        '[[doors]]\n# Where.\nat = ["x"]',
        '[safe]\n# For how long.\nhsts = "1d"',
    ]
    assert tomllib.loads("\n".join(blocks)) == data


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_can_be_quoted(text: str) -> None:
    assert tomllib.loads(f"a = {quoted(text)}") == {"a": text}


@pytest.mark.parametrize("width", [10, 300])
def test_comments_are_as_wide_as_a_file(width: int) -> None:
    lines = comment("word " * width)
    assert all(line.startswith("# word") and len(line) <= 100 for line in lines)
    assert " ".join(lines).count("word") == width
