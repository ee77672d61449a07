"""Reading configurations: a TOML file with its places, or a mapping shaped like one."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from hyperserver.config.read import Path as KeyPath
from hyperserver.config.read import Reader, dotted, problems_of
from hyperserver.config.schema import Config
from hyperserver.config.settings import Setting, describe
from hyperserver.errors import ConfigError, Problem

if TYPE_CHECKING:
    from hyperserver.config.diagnose import Place
    from hyperserver.config.locate import Spots

T = TypeVar("T")

FILE = "hyperserver.toml"
PROJECT = "pyproject.toml"
TABLE = ("tool", "hyperserver")  # in the project's file


class TOMLFile:
    """A file that has been read and parsed. Raises ConfigError, located if it is not TOML."""

    def __init__(self, path: str | Path) -> None:
        self.name = str(path)
        self.directory = Path(path).parent
        try:
            # as tomllib would have it, and without the mark that some editors put first
            self.text = Path(path).read_text(encoding="utf-8-sig")
        except OSError as error:
            raise ConfigError(f"cannot read {path}: {error.strerror}") from None
        except UnicodeDecodeError as error:
            raise ConfigError(f"{path} is not UTF-8: {error}") from None
        self._found: Spots | None = None
        self.root: KeyPath = TABLE if Path(path).name == PROJECT else ()
        self.data = self._parse()

    def _parse(self) -> Any:
        import tomllib

        try:
            data: Any = tomllib.loads(self.text)
        except tomllib.TOMLDecodeError as error:
            from hyperserver.config.diagnose import plain
            from hyperserver.config.syntax import explain

            problem, place = explain(self.name, self.text, str(error))
            problem.place = place
            raise ConfigError(plain([problem], lambda _: None), (problem,)) from None
        for name in self.root:
            data = data.get(name, {}) if isinstance(data, dict) else {}
        if not isinstance(data, dict):
            raise ConfigError(f"{self.name}: `{dotted(self.root)}` must be a table")
        return data

    def line(self, path: KeyPath) -> int | None:
        """The line on which exactly this key stands, if it does."""
        spot = self._spots().keys.get((*self.root, *path))
        return spot.line if spot else None

    def _spots(self) -> Spots:
        if self._found is None:
            from hyperserver.config.locate import locate

            self._found = locate(self.text)
        return self._found

    def place(self, path: KeyPath, *, on_key: bool = False) -> Place | None:
        """Where ``path`` stands, or the nearest table around it; None where not even that does."""
        from hyperserver.config.diagnose import Place

        spots = self._spots()
        whole = (*self.root, *path)
        for length in range(len(whole), len(self.root), -1):
            part = whole[:length]
            spot = spots.keys.get(part) if on_key or length < len(whole) else None
            spot = spot or spots.values.get(part)
            if spot:
                excerpt = self.text.split("\n")[spot.line - 1]
                return Place(self.name, spot.line, spot.column, spot.end, excerpt)
        return None


def load_file(path: str | Path) -> Config:
    """The configuration in ``path``; relative paths in it are relative to its directory.

    Raises ConfigError, with the place of each mistake.
    """
    file = TOMLFile(path)
    keys = describe(Config)
    data = {**defaults_from(keys, file.directory), **anchored(keys, file.data, file.directory)}
    try:
        config = read(Config, data)
    except ConfigError as error:
        from hyperserver.config.diagnose import plain

        problems = problems_of(error)

        def place(problem: Problem) -> Place | str:
            return file.place(problem.path, on_key=problem.on_key) or file.name

        raise ConfigError(plain(problems, place), problems) from None
    assert isinstance(config, Config)
    return config


def from_mapping(data: Mapping[str, Any]) -> Config:
    """The configuration in ``data``, shaped and written as in a file. Raises ConfigError."""
    try:
        config = read(Config, data)
    except ConfigError as error:
        from hyperserver.config.diagnose import plain

        problems = problems_of(error)
        raise ConfigError(plain(problems, lambda _: "configuration"), problems) from None
    assert isinstance(config, Config)
    return config


def read(cls: type[Any], data: object) -> Any:
    """An instance of ``cls`` from a table. Raises ConfigError with all problems."""
    reader = Reader()
    made = reader.table(cls, data, (), describe(cls))
    if reader.problems:
        raise ConfigError("\n".join(map(str, reader.problems)), tuple(reader.problems))
    return made


def anchored(keys: tuple[Setting, ...], data: Mapping[str, Any], directory: Path) -> dict[str, Any]:
    """``data`` with its relative paths, and those in its tables, seen from ``directory``."""
    result = dict(data)
    for setting in keys:
        value = data.get(setting.name)
        if setting.table:
            inner = describe(setting.table, setting)
            if isinstance(value, Mapping):
                result[setting.name] = anchored(inner, value, directory)
            elif isinstance(value, list):
                result[setting.name] = [
                    anchored(inner, entry, directory) if isinstance(entry, Mapping) else entry
                    for entry in value
                ]
        elif setting.unit == "path":
            if isinstance(value, str):
                result[setting.name] = str(directory / value)
            elif isinstance(value, list):
                result[setting.name] = [
                    str(directory / entry) if isinstance(entry, str) else entry for entry in value
                ]
    return result


def defaults_from(keys: tuple[Setting, ...], directory: Path) -> dict[str, Any]:
    """The paths that have a default, which is relative to the file as well."""
    return {
        setting.name: str(directory / setting.default)
        for setting in keys
        if setting.unit == "path" and isinstance(setting.default, str)
    }


def with_absolute_paths(
    table: T, keys: tuple[Setting, ...] | None = None, base: str | None = None
) -> T:
    """``table``, a configuration, with paths that mean the same in whatever directory.

    They are relative to ``base``, by default to the working directory.
    """
    base = base or os.getcwd()
    changes: dict[str, Any] = {}
    for each in describe(type(table)) if keys is None else keys:
        value = getattr(table, each.name)
        if each.table and value is not None:
            inner = describe(each.table, each)
            if each.is_list:
                changes[each.name] = tuple(with_absolute_paths(one, inner, base) for one in value)
            else:
                changes[each.name] = with_absolute_paths(value, inner, base)
        elif each.unit == "path" and value is not None:
            if each.is_list:
                changes[each.name] = tuple(
                    os.path.normpath(os.path.join(base, one)) for one in value
                )
            else:
                changes[each.name] = os.path.normpath(os.path.join(base, value))
    made: T = dataclasses.replace(table, **changes)  # type: ignore[type-var]
    return made
