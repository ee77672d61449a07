"""From what stands in a file to the dataclasses, strictly: every key is known or it is an error.

All mistakes are found and reported together, each naming the key and the remedy.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from hyperserver.config.settings import Setting, describe
from hyperserver.config.units import Mistake, parse_count, parse_duration, parse_size
from hyperserver.errors import ConfigError, Problem

Path = tuple[str | int, ...]

#: How messages name keys and tables.
_KEY = re.compile(r"`([a-z][a-z0-9_.\[\]]*)`")
_HEADER = re.compile(r"\[\[([a-z0-9_.]+)\]\]")


def dotted(path: Path) -> str:
    """``listen[0].bind`` from ``("listen", 0, "bind")``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def undotted(text: str) -> Path:
    """The inverse of ``dotted``, for keys of the schema."""
    return tuple(int(part) if part.isdigit() else part for part in re.findall(r"[^.\[\]]+", text))


def problems_of(error: ConfigError) -> tuple[Problem, ...]:
    """What a ConfigError is about, if need be from the keys that its lines begin with."""
    if error.problems:
        return error.problems
    found = []
    for line in str(error).splitlines():
        match = _KEY.match(line)
        path = undotted(match[1]) if match else ()
        found.append(Problem(path, line, on_key=" beside it" in line))
    return tuple(found)


class Reader:
    """Makes dataclasses of tables; what is wrong is added to ``problems``."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def table(self, cls: type[Any], data: object, path: Path, keys: tuple[Setting, ...]) -> Any:
        """An instance of ``cls``, or None if a problem was found in it."""
        if not isinstance(data, Mapping):
            self._wrong(path, f"`{dotted(path)}` must be a table, not {_described(data)}")
            return None
        known = {each.name: each for each in keys}
        before = len(self.problems)
        spoilt: set[str] = set()  # what has a mistake, or is meant by a misspelt key
        values: dict[str, Any] = {}
        for name, value in data.items():
            setting = known.get(name)
            if setting is None:
                spoilt |= self._unknown(name, known, path)
                continue
            count = len(self.problems)
            values[name] = self._value(setting, value, (*path, name))
            if len(self.problems) > count:
                del values[name]
                spoilt.add(name)
        for each in keys:
            if each.required and each.name not in values and each.name not in spoilt:
                self._wrong(path, f"`{dotted((*path, each.name))}`: must be set", on_key=True)
                spoilt.add(each.name)
        missing = {each.name for each in keys if each.required} - set(values)
        if missing:
            return None
        try:
            made = cls(**values)
        except ConfigError as error:
            self._contradictions(error, path, data, spoilt)
            return None
        return None if len(self.problems) > before else made

    def _contradictions(
        self, error: ConfigError, path: Path, data: Mapping[Any, Any], spoilt: set[str]
    ) -> None:
        """Those that are not due to a value that is missing because it is wrong."""
        wrong = {dotted(_plain((*path, name))) for name in spoilt}

        def placed(match: re.Match[str]) -> str:
            return f"`{dotted(_placed(undotted(match[1]), path, data))}`"

        for problem in problems_of(error):
            message = _KEY.sub(placed, problem.message)
            keys = _KEY.findall(message) + _HEADER.findall(message)
            named = [dotted(_plain(undotted(key))) for key in keys]
            if not any(_within(key, one) or _within(one, key) for key in named for one in wrong):
                where = _placed(problem.path, path, data)
                self.problems.append(Problem(where, message, on_key=problem.on_key))

    def _unknown(self, name: str, known: Mapping[str, Setting], path: Path) -> set[str]:
        close = closest(str(name), known)
        advice = f"did you mean `{close}`?" if close else f"known are {', '.join(known)}"
        whole = (*path, str(name))
        self._wrong(whole, f"unknown key `{dotted(whole)}`", advice, on_key=True)
        return {close} if close else set()

    def _wrong(self, path: Path, message: str, advice: str = "", *, on_key: bool = False) -> None:
        self.problems.append(Problem(path, message, advice, on_key=on_key))

    def _value(self, setting: Setting, value: object, path: Path) -> object:
        if setting.is_list:
            return self._list(setting, value, path)
        if setting.table:
            return self.table(setting.table, value, path, describe(setting.table, setting))
        return self._scalar(setting, value, path, path)

    def _list(self, setting: Setting, value: object, path: Path) -> object:
        if not isinstance(value, list | tuple):
            advice = ""
            if setting.table and isinstance(value, Mapping):
                advice = f"write [[{dotted(path)}]]"
            elif setting.type is str and isinstance(value, str):
                advice = f'write ["{value}"]'
            self._wrong(path, f"`{dotted(path)}`: must be a list, not {_described(value)}", advice)
            return None
        if not value and setting.default:
            self._wrong(path, f"`{dotted(path)}`: must not be empty")
        if setting.table:
            keys = describe(setting.table, setting)
            return tuple(
                self.table(setting.table, entry, (*path, index), keys)
                for index, entry in enumerate(value)
            )
        return tuple(
            self._scalar(setting, entry, (*path, index), path) for index, entry in enumerate(value)
        )

    def _scalar(self, setting: Setting, value: object, path: Path, key: Path) -> object:
        try:
            return convert(setting, value)
        except Mistake as error:
            self._wrong(path, f"`{dotted(key)}`: {error.message}", error.advice)
        except ValueError as error:
            message, _, advice = str(error).partition("; ")
            self._wrong(path, f"`{dotted(key)}`: {message}", advice)
        return None


def convert(setting: Setting, value: object) -> object:
    """One value (of a list: one element) as the program uses it. Raises ValueError."""
    verb = "hold" if setting.is_list else "be"
    result: Any
    if setting.unit == "duration":
        result = parse_duration(value)
        if result <= 0 and setting.meta.get("minimum") is None:
            raise ValueError("must be more than zero")
    elif setting.unit == "size":
        result = parse_size(value)
    elif setting.unit == "count":
        result = parse_count(value)
    elif setting.type is float and isinstance(value, int | float) and not isinstance(value, bool):
        result = float(value)
    elif not isinstance(value, setting.type) or (setting.type is int and isinstance(value, bool)):
        raise ValueError(f"must {verb} {_NAMES[setting.type]}, not {_described(value)}")
    else:
        result = value
    if setting.choices and result not in setting.choices:
        close = closest(str(value), setting.choices)
        some = "hold some" if setting.is_list else "be one"
        raise ValueError(
            f"must {some} of {', '.join(setting.choices)}, not {_described(value)}"
            + (f'; did you mean "{close}"?' if close else "")
        )
    minimum, maximum = setting.meta.get("minimum"), setting.meta.get("maximum")
    if minimum is not None and result < minimum:
        raise ValueError(f"must be at least {written(setting, minimum)}, not {value}")
    if maximum is not None and result > maximum:
        octal = ""
        if setting.unit == "mode" and str(value).isdigit() and set(str(value)) <= set("01234567"):
            octal = f"; octal is written 0o{value}"
        shown = written(setting, result)
        raise ValueError(f"must be at most {written(setting, maximum)}, not {shown}{octal}")
    check = setting.meta.get("check")
    if check:
        check(result)
    return result


def written(setting: Setting, value: Any) -> str:
    """A value with its unit as it stands in a file, without quotes."""
    from hyperserver.config.units import format_duration, format_size

    if setting.unit == "size":
        return format_size(value)
    if setting.unit == "duration":
        return format_duration(value)
    if setting.unit == "count" and value == 0:
        return "auto"
    return f"{value:#05o}" if setting.unit == "mode" and value > 0 else str(value)


def closest(name: str, known: Iterable[str]) -> str | None:
    """The name that was probably meant."""
    import difflib

    found = difflib.get_close_matches(name.lower(), list(known), n=1, cutoff=0.6)
    return found[0] if found else None


_NAMES = {str: "a string", int: "a whole number", bool: "true or false", float: "a number"}


def _described(value: object) -> str:
    if isinstance(value, Mapping):
        return "a table"
    if isinstance(value, bool):
        return str(value).lower()
    return f"the list {value!r}" if isinstance(value, list) else repr(value)


def _plain(path: Path) -> Path:
    return tuple(part for part in path if isinstance(part, str))


def _within(key: str, table: str) -> bool:
    return key == table or key.startswith(f"{table}.")


def _placed(path: Path, table: Path, data: Mapping[Any, Any]) -> Path:
    """``path`` as seen from ``table``, whose dataclass has named it.

    A dataclass knows neither its index in an array nor, where it is used in several places, in which
    of them it stands.
    """
    names = _plain(table)
    if path[: len(table)] == table:
        return path
    if names and names[-1] in path:
        return (*table, *path[len(path) - path[::-1].index(names[-1]) :])
    if len(path) > 1 and names[: len(path) - 1] == path[:-1] and path[-1] in data:
        return (*table, path[-1])
    return path
