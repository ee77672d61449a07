"""The configuration as a JSON Schema (draft 7), by which editors complete and check a TOML file."""

from __future__ import annotations

import json
from typing import Any

from hyperserver.config.read import written
from hyperserver.config.settings import Setting, describe
from hyperserver.config.units import DURATIONS, SIZES

_TYPES = {str: "string", int: "integer", bool: "boolean", float: "number"}


def json_schema(cls: type[Any]) -> str:
    """The schema as text."""
    schema = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "hyperserver",
        **_table(describe(cls)),
    }
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _table(settings: tuple[Setting, ...]) -> dict[str, Any]:
    table: dict[str, Any] = {
        "type": "object",
        "additionalProperties": False,
        "properties": {each.name: _property(each) for each in settings},
    }
    required = [each.name for each in settings if each.required]
    return {**table, "required": required} if required else table


def _property(setting: Setting) -> dict[str, Any]:
    about: dict[str, Any] = {"description": " ".join(setting.doc.split())}
    if setting.table:
        inner = _table(describe(setting.table, setting))
        if not setting.is_list:
            return {**about, **inner}
        return {**about, "type": "array", **_at_least_one(setting), "items": inner}
    item = _value(setting)
    if setting.is_list:
        item = {"type": "array", **_at_least_one(setting), "items": item}
    about |= item
    if setting.default is not None:
        about["default"] = _default(setting, setting.default)
    about["x-reload"] = setting.reload
    if setting.flag:
        about["x-flag"] = setting.flag
    if setting.variables:
        about["x-env"] = list(setting.variables)
    return about


def _at_least_one(setting: Setting) -> dict[str, Any]:
    return {"minItems": 1} if setting.default else {}


def _value(setting: Setting) -> dict[str, Any]:
    if setting.unit in {"duration", "size"}:
        units = DURATIONS if setting.unit == "duration" else SIZES
        value: dict[str, Any] = {
            "type": "string",
            "pattern": rf"^\s*\d+(\.\d+)?\s*({'|'.join(units)})\s*$",
        }
        return value
    if setting.unit == "count":
        return {"anyOf": [{"type": "integer", "minimum": 1}, {"const": "auto"}]}
    value = {"type": _TYPES[setting.type]}
    if setting.choices:
        value["enum"] = list(setting.choices)
    for name in ("minimum", "maximum"):
        if setting.meta.get(name) is not None:
            value[name] = setting.meta[name]
    return value


def _default(setting: Setting, value: Any) -> Any:
    if isinstance(value, tuple):
        return [_default(setting, one) for one in value]
    return written(setting, value) if setting.unit in {"duration", "size"} else value
