"""Reading a configuration from TOML, strictly: every key is known or it is an error.

All errors are found and reported together, each naming the key and the remedy.
"""

from __future__ import annotations

import dataclasses
import difflib
import tomllib
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hyperserver.config.schema import Config
from hyperserver.config.units import format_size, parse_duration, parse_size
from hyperserver.errors import ConfigError


def load_file(path: str | Path) -> Config:
    """The configuration in ``path``; relative paths in it are relative to its directory.

    Raises ConfigError.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8: {error}") from None
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: {error}") from None
    config = _resolve(from_mapping(data, source=str(path)), path.parent)
    assert isinstance(config, Config)
    return config


def _resolve(table: Any, directory: Path) -> object:
    """``table`` with its relative paths, and those in its tables, seen from ``directory``."""
    changes: dict[str, object] = {}
    for spec in dataclasses.fields(table):
        value = getattr(table, spec.name)
        if dataclasses.is_dataclass(value):
            changes[spec.name] = _resolve(value, directory)
        elif isinstance(value, tuple) and value and dataclasses.is_dataclass(value[0]):
            changes[spec.name] = tuple(_resolve(entry, directory) for entry in value)
        elif spec.metadata.get("unit") == "path" and value is not None:
            changes[spec.name] = str(directory / value)
    return dataclasses.replace(table, **changes)


def from_mapping(data: Mapping[str, Any], source: str = "configuration") -> Config:
    """The configuration in ``data``, shaped and written as in a file. Raises ConfigError."""
    errors: list[str] = []
    config = _read_table(Config, data, "", errors)
    if errors:
        raise ConfigError("\n".join(f"{source}: {error}" for error in errors))
    assert isinstance(config, Config)
    return config


def _read_table(cls: type, data: object, prefix: str, errors: list[str]) -> object:
    """An instance of the dataclass ``cls`` from a table; None with ``errors`` added to."""
    if not isinstance(data, Mapping):
        errors.append(f"`{prefix.rstrip('.')}` must be a table, not {_describe(data)}")
        return None
    known = {f.name: f for f in dataclasses.fields(cls)}
    hints = typing.get_type_hints(cls)
    values: dict[str, Any] = {}
    before = len(errors)
    for name, value in data.items():
        if name not in known:
            errors.append(f"unknown key `{prefix}{name}`{_did_you_mean(str(name), known)}")
            continue
        try:
            values[name] = _read_value(known[name], hints[name], value, f"{prefix}{name}", errors)
        except ValueError as error:
            errors.append(f"`{prefix}{name}`: {error}")
    if len(errors) > before:
        return None
    try:
        return cls(**values)
    except ConfigError as error:
        errors.append(str(error))
        return None


def _did_you_mean(name: str, known: Mapping[str, object]) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f"; did you mean `{close[0]}`?" if close else f"; known are {', '.join(known)}"


def _read_value(
    spec: dataclasses.Field[Any], hint: Any, value: object, path: str, errors: list[str]
) -> object:
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        (hint,) = (arg for arg in typing.get_args(hint) if arg is not type(None))
    if dataclasses.is_dataclass(hint):
        assert isinstance(hint, type)
        return _read_table(hint, value, f"{path}.", errors)
    if typing.get_origin(hint) is tuple:
        return _read_list(spec, typing.get_args(hint)[0], value, path, errors)
    unit = spec.metadata.get("unit")
    result: Any
    if unit == "duration":
        result = parse_duration(value)
        if result <= 0 and spec.metadata.get("minimum") is None:
            raise ValueError("must be more than zero")
    elif unit == "size":
        result = parse_size(value)
    elif not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        raise ValueError(f"must be {_NAMES[hint]}, not {_describe(value)}")
    else:
        result = value
    choices = spec.metadata.get("choices")
    if choices and result not in choices:
        raise ValueError(f"must be one of {', '.join(choices)}, not {_describe(value)}")
    minimum = spec.metadata.get("minimum")
    maximum = spec.metadata.get("maximum")
    if minimum is not None and result < minimum:
        raise ValueError(f"must be at least {_written(minimum, spec)}, not {value}")
    if maximum is not None and result > maximum:
        raise ValueError(f"must be at most {_written(maximum, spec)}, not {_written(value, spec)}")
    return result


def _written(value: Any, spec: dataclasses.Field[Any]) -> str:
    """A bound as it would stand in a file."""
    if spec.metadata.get("unit") == "size":
        return format_size(value)
    return oct(value) if spec.name == "mode" else str(value)


def _read_list(
    spec: dataclasses.Field[Any], item: type, value: object, path: str, errors: list[str]
) -> tuple[object, ...]:
    if not isinstance(value, list | tuple):
        hint = f"; write [[{path}]]" if isinstance(value, Mapping) else ""
        raise ValueError(f"must be a list, not {_describe(value)}{hint}")
    if not value:
        raise ValueError("must not be empty")
    if dataclasses.is_dataclass(item):
        return tuple(
            _read_table(item, entry, f"{path}[{index}].", errors)
            for index, entry in enumerate(value)
        )
    for entry in value:
        if not isinstance(entry, item):
            raise ValueError(f"must hold {_NAMES[item]}, not {_describe(entry)}")
    choices = spec.metadata.get("choices")
    for entry in value:
        if choices and entry not in choices:
            raise ValueError(f"must hold some of {', '.join(choices)}, not {_describe(entry)}")
    return tuple(value)


_NAMES = {str: "a string", int: "a whole number", bool: "true or false"}


def _describe(value: object) -> str:
    if isinstance(value, Mapping):
        return "a table"
    if isinstance(value, bool):
        return str(value).lower()
    return f"the list {value!r}" if isinstance(value, list) else repr(value)
