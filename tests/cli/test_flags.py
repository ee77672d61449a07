from __future__ import annotations

import re
from pathlib import Path

import pytest

from hyperserver.cli.flags import build_parser, flags_given
from hyperserver.config import Config
from hyperserver.config.settings import walk
from hyperserver.errors import UsageError


def test_the_help_has_every_flag_in_the_section_of_its_table() -> None:
    text = build_parser().format_help()
    for each in walk(Config):
        if each.flag and each.path != ("app",):
            assert f" {each.flag}" in text
    assert "\n[timeouts]:\n  --timeouts-handshake DURATION\n" in text
    assert re.search(r"\n\[\[listen\]\], all of them:\n  -b( ADDRESS)?, --bind ADDRESS\b", text)
    assert "(default: " not in text


def given(*arguments: str) -> dict[str, tuple[object, str]]:
    parsed = build_parser().parse_args(arguments)
    return {each.setting.dotted: (each.value, each.source) for each in flags_given(parsed)}


def test_values_are_as_a_file_would_have_them() -> None:
    assert given(
        *("a:b", "-b", "x:1", "--bind", "y:1", "--timeouts-drain", "2s", "--listen-mode", "660"),
        *("--limits-request-fields", "9", "--no-access-log", "--factory", "--http2-engine", "h2"),
    ) == {
        "app": ("a:b", "the command line"),
        "factory": (True, "--factory"),
        "listen.bind": (["x:1", "y:1"], "--bind"),
        "listen.mode": (0o660, "--listen-mode"),
        "limits.request_fields": (9, "--limits-request-fields"),
        "timeouts.drain": ("2s", "--timeouts-drain"),
        "http2.engine": ("h2", "--http2-engine"),
        "log.access": (False, "--no-access-log"),
    }
    assert given() == {}


def test_values_that_are_wrong_are_left_for_the_reader() -> None:
    assert given("--listen-mode", "rw", "--limits-request-fields", "x") == {
        "listen.mode": ("rw", "--listen-mode"),
        "limits.request_fields": ("x", "--limits-request-fields"),
    }


@pytest.mark.parametrize("flag", ["--timeouts-drian", "--listen", "--log-access", "--tls"])
def test_a_flag_that_does_not_exist(flag: str) -> None:
    with pytest.raises(UsageError, match=f"unrecognized arguments: {flag}"):
        build_parser().parse_args([flag])


def test_starting_imports_nothing_that_only_commands_and_mistakes_need(tmp_path: Path) -> None:
    import subprocess
    import sys

    code = (
        "import sys\nfrom hyperserver.cli.flags import build_parser, gather\n"
        "from hyperserver.config.sources import Sources\n"
        "gather(build_parser().parse_args(['a:b']), Sources())\n"
        "print(*sys.modules)"
    )
    root = str(Path(__file__).resolve().parents[2])
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path, env={"PYTHONPATH": root}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    heavy = {"tomllib", "json", "difflib", "unicodedata", "asyncio", "anyio", "ssl", "trustme"}
    heavy |= {f"hyperserver.{name}" for name in (
        "config.locate", "config.diagnose", "config.syntax", "config.write", "config.reference",
        "config.jsonschema", "config.templates", "config.import_hypercorn", "cli.commands",
        "cli.check", "runtime",
    )}  # fmt: skip
    assert heavy.isdisjoint(done.stdout.split())
