from __future__ import annotations

import json
from dataclasses import dataclass, field

import pytest

from hyperserver.cli.flags import build_parser, flags_given
from hyperserver.config import Config
from hyperserver.config.jsonschema import json_schema
from hyperserver.config.reference import reference
from hyperserver.config.settings import RELOADS, sections, setting, walk
from hyperserver.config.sources import Sources, from_environment
from hyperserver.config.write import dump, example
from tests.config.toy import Door, Toy

BY_KEY = {each.dotted: each for each in walk(Toy)}


@pytest.mark.parametrize(
    ("key", "flag", "variables", "reload"),
    [
        ("count", "--count", ("HYPERSERVER_COUNT", "TOY_COUNT"), "worker"),
        ("doors", None, ("HYPERSERVER_DOORS",), "restart"),
        ("doors.at", "--door", ("HYPERSERVER_DOORS__AT",), "restart"),
        ("doors.width", "--doors-width", ("HYPERSERVER_DOORS__WIDTH",), "live"),
        ("safe", None, (), "live"),
        ("safe.every", "--safe-every", ("HYPERSERVER_SAFE__EVERY",), "live"),
        ("safe.dev", "--dev-safe", ("HYPERSERVER_SAFE__DEV",), "live"),
        ("safe.auth.mode", "--safe-auth-mode", ("HYPERSERVER_SAFE__AUTH__MODE",), "live"),
        ("safe.pairs", None, ("HYPERSERVER_SAFE__PAIRS",), "live"),
        ("safe.pairs.left", None, (), "live"),
        ("safe.pairs.auth.mode", None, (), "live"),
    ],
)
def test_all_that_is_derived(
    key: str, flag: str | None, variables: tuple[str, ...], reload: str
) -> None:
    each = BY_KEY[key]
    assert (each.flag, each.variables, each.reload) == (flag, variables, reload)


def test_types() -> None:
    def shape(key: str) -> tuple[object, bool, bool]:
        each = BY_KEY[key]
        return each.type, each.is_list, each.optional

    assert shape("names") == (str, True, False)
    assert shape("safe.hsts") == (float, False, True)
    assert shape("safe.auth.crls") == (str, True, False)
    assert shape("doors") == (Door, True, False)
    assert shape("safe.pairs.auth")[1:] == (False, True)
    assert BY_KEY["doors"].default == (Door(),)
    assert BY_KEY["safe.hsts"].default is None


def test_sections_come_in_the_order_of_the_schema() -> None:
    assert [section.dotted if section else "" for section, _ in sections(Toy)] == [
        "", "doors", "safe", "safe.pairs", "safe.pairs.auth", "safe.auth",
    ]  # fmt: skip
    assert [each.name for each in dict(sections(Toy))[None]] == ["count", "names", "home"]


@dataclass(frozen=True, slots=True)
class Part:
    """A part."""

    speed: float = setting(3.0, "How fast.", unit="duration", env="SPEED")


@dataclass(frozen=True, slots=True)
class Whole:
    """The whole."""

    part: Part = field(default_factory=Part)


def test_one_field_is_all_that_a_setting_needs() -> None:
    parser = build_parser(config=Whole)
    assert "--part-speed DURATION\n                        How fast." in parser.format_help()
    sources = Sources(Whole)
    sources.add(from_environment(Whole, {"SPEED": "1s"}), [])
    assert sources.read() == Whole(Part(1.0))
    sources.add([], flags_given(parser.parse_args(["--part-speed", "2s"]), Whole))
    assert sources.read() == Whole(Part(2.0))
    assert dump(sources.read(), sources.told) == '[part]\nspeed = "2s"  # --part-speed\n'
    assert example(Whole, "# Head") == '# Head\n\n# A part.\n[part]\n# How fast.\nspeed = "3s"\n'
    about = json.loads(json_schema(Whole))["properties"]["part"]["properties"]["speed"]
    assert (about["description"], about["default"], about["x-reload"]) == (
        "How fast.", "3s", "worker",
    )  # fmt: skip
    assert "### `part.speed`\n\nHow fast.\n" in reference(Whole)


def test_no_two_settings_share_a_flag_or_a_variable() -> None:
    flags = [each.flag for each in walk(Config) if each.flag]
    flags += [each.meta["short"] for each in walk(Config) if each.meta.get("short")]
    variables = [name for each in walk(Config) for name in each.variables]
    assert len(set(flags)) == len(flags)
    assert len(set(variables)) == len(variables)
    assert {"--bind", "-b", "--timeouts-drain", "--http2-engine", "--access-log"} <= set(flags)


def test_every_setting_says_how_a_change_takes_effect() -> None:
    assert {each.reload for each in walk(Config)} <= set(RELOADS)
    by_key = {each.dotted: each.reload for each in walk(Config)}
    assert (by_key["tls.certificate"], by_key["worker"], by_key["listen.bind"]) == (
        "live", "worker", "restart",
    )  # fmt: skip
