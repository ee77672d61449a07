"""The files that are made from the schema are those in the repository."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from hyperserver.config import Config
from hyperserver.config.jsonschema import json_schema
from hyperserver.config.load import from_mapping
from hyperserver.config.reference import example_file, reference
from hyperserver.config.settings import walk
from tests.config.test_write import EVERYTHING
from tests.config.toy import Toy

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("docs/configuration.md", reference()),
        ("docs/hyperserver.schema.json", json_schema(Config)),
        ("config.example.toml", example_file()),
    ],
)
def test_a_made_file_is_up_to_date(name: str, text: str) -> None:
    assert (ROOT / name).read_text(encoding="utf-8") == text, "run `make docs`"


def test_the_example_shows_every_setting_at_its_default() -> None:
    data = tomllib.loads(example_file())
    assert from_mapping(data) == Config()
    uncommented = re.sub(r"(?m)^# (\[*\w+\]* = |\[)", r"\1", example_file())
    assert keys(tomllib.loads(uncommented)) == {each.dotted for each in walk(Config)}


def keys(table: dict[str, Any], prefix: str = "") -> set[str]:
    found = set()
    for name, value in table.items():
        found.add(prefix + name)
        inner = value[0] if isinstance(value, list) and isinstance(value[0], dict) else value
        if isinstance(inner, dict):
            found |= keys(inner, f"{prefix}{name}.")
    return found


def test_the_page_describes_every_setting_once() -> None:
    page = reference()
    for each in walk(Config):
        if not each.table:
            assert page.count(f"### `{each.dotted}`\n\n{each.doc}\n") == 1
    assert (
        "* flag: `-b`, `--bind`\n* variable: `HYPERSERVER_LISTEN__BIND`\n* takes effect: restart"
        in page
    )


# ---- the JSON Schema ----------------------------------------------------------------------------


def mistakes(value: Any, schema: dict[str, Any], path: str = "") -> list[str]:
    """The part of JSON Schema that ours uses."""
    types = {
        "string": str,
        "integer": int,
        "number": float,
        "boolean": bool,
        "array": list,
        "object": dict,
    }
    if "anyOf" in schema:
        return min((mistakes(value, one, path) for one in schema["anyOf"]), key=len)
    if "const" in schema:
        return [] if value == schema["const"] else [f"{path}: not {schema['const']}"]
    wanted = types[schema["type"]]
    if not isinstance(value, wanted) or (isinstance(value, bool) and wanted is not bool):
        return [f"{path}: not {schema['type']}"]
    found = []
    if "enum" in schema and value not in schema["enum"]:
        found.append(f"{path}: not in {schema['enum']}")
    if "pattern" in schema and not re.search(schema["pattern"], str(value)):
        found.append(f"{path}: not {schema['pattern']}")
    if value.__class__ is int and not schema.get("minimum", value) <= value <= schema.get(
        "maximum", value
    ):
        found.append(f"{path}: out of range")
    if isinstance(value, list):
        if len(value) < schema.get("minItems", 0):
            found.append(f"{path}: too few")
        for index, item in enumerate(value):
            found += mistakes(item, schema["items"], f"{path}[{index}]")
    if isinstance(value, dict):
        properties = schema["properties"]
        required = schema.get("required", [])
        found += [f"{path}.{name}: missing" for name in required if name not in value]
        assert schema["additionalProperties"] is False
        for name, one in value.items():
            if name in properties:
                found += mistakes(one, properties[name], f"{path}.{name}")
            else:
                found.append(f"{path}.{name}: unknown")
    return found  # fmt: skip


SCHEMA = json.loads(json_schema(Config))


@pytest.mark.parametrize("data", [tomllib.loads(example_file()), EVERYTHING, {}])
def test_right_files_are_valid(data: dict[str, Any]) -> None:
    from_mapping(data)
    assert mistakes(data, SCHEMA) == []


@pytest.mark.parametrize(
    "data",
    [
        {"wroker": "trio"},
        {"worker": "gevent"},
        {"factory": "yes"},
        {"listen": []},
        {"listen": [{"bind": [8000]}]},
        {"listen": [{"mode": 666}]},
        {"timeouts": {"drain": 30}},
        {"timeouts": {"drain": "30"}},
        {"limits": {"request_head": "64kib"}},
        {"limits": {"request_fields": 1}},
        {"tls": {"certificates": [{"key": "k"}]}},
        {"tls": {"client_auth": {"mode": "on"}}},
    ],
)
def test_wrong_files_are_not(data: dict[str, Any]) -> None:
    assert len(mistakes(data, SCHEMA)) == 1


def test_every_shape_has_a_schema() -> None:
    schema = json.loads(json_schema(Toy))
    data = {
        "doors": [{"mode": 0o600}],
        "safe": {"auth": {"crls": ["a"]}, "pairs": [{"auth": {"mode": "off"}}], "hsts": "180d", "share": 0.5},
    }  # fmt: skip
    assert mistakes(data, schema) == []
    safe = schema["properties"]["safe"]["properties"]
    assert safe["hsts"]["x-flag"] == "--safe-hsts"
    assert safe["hsts"]["x-env"] == ["HYPERSERVER_SAFE__HSTS"]
    assert safe["every"]["x-reload"] == "live"
    assert safe["every"]["default"] == "10s"
    assert safe["auth"]["properties"]["ca"].get("default") is None
