"""Configurations as TOML: one that is in force, and the example that shows every setting."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from hyperserver.config.read import Path, written
from hyperserver.config.settings import Setting, describe

WIDTH = 100

#: What is said behind a setting's line, by its path; "" for nothing.
Remark = Callable[[Path], str]


def toml_value(setting: Setting, value: Any) -> str:
    """A setting's value (not a table's) as it stands in a file."""
    if setting.is_list and isinstance(value, list | tuple):
        return f"[{', '.join(_scalar(setting, one) for one in value)}]"
    return _scalar(setting, value)


def _scalar(setting: Setting, value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if setting.unit in {"size", "duration"} and not isinstance(value, str):
        return quoted(written(setting, value))
    if isinstance(value, str):
        return quoted(value)
    text = written(setting, value)
    return quoted(text) if setting.unit == "count" and value == 0 else text


def quoted(text: str) -> str:
    """A basic string of TOML."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return (
        '"' + "".join(c if c >= " " and c != "\x7f" else f"\\u{ord(c):04x}" for c in escaped) + '"'
    )


def dump(config: Any, remark: Remark) -> str:
    """``config`` as a file; what is unset is a comment. ``remark`` says more of each line."""
    lines = list(_table(config, describe(type(config)), (), remark))
    return "\n".join(_aligned(lines)).strip("\n") + "\n"


def _table(
    table: Any, settings: tuple[Setting, ...], path: Path, remark: Remark
) -> Iterator[tuple[str, str]]:
    for each in settings:
        if each.table:
            continue
        value = getattr(table, each.name)
        if value is None:
            yield f"# {each.name} =", remark((*path, each.name))
        else:
            yield f"{each.name} = {toml_value(each, value)}", remark((*path, each.name))
    for each in settings:
        value = getattr(table, each.name) if each.table else None
        if each.table is None or value is None:
            continue
        inner = describe(each.table, each)
        entries = value if each.is_list else (value,)
        for index, entry in enumerate(entries):
            at: Path = (*path, each.name, index) if each.is_list else (*path, each.name)
            yield "", ""
            yield header(each), ""
            yield from _table(entry, inner, at, remark)


def _aligned(lines: list[tuple[str, str]]) -> Iterator[str]:
    """Remarks stand in one column, as far as lines are not too long."""
    widest = max((len(text) for text, note in lines if note and len(text) <= 40), default=0)
    for text, note in lines:
        yield f"{text:<{widest}}  # {note}" if note else text


def example(cls: type[Any], head: str) -> str:
    """Every setting at its default, with its documentation; what has none is a comment."""
    blocks = [head.strip("\n"), *_example(describe(cls), None, "")]
    return "\n\n".join(blocks) + "\n"


def _example(settings: tuple[Setting, ...], table: Setting | None, off: str) -> Iterator[str]:
    plain = [each for each in settings if not each.table]
    # a table of which several may be is shown once; as a comment if there is none by default
    if table and (table.is_list or table.optional) and not table.default:
        off = "# "
    blocks = []
    for each in plain:
        line = shown(each)
        about = comment(each.doc + choices_of(each))
        blocks.append("\n".join((*about, line if line[0] == "#" else off + line)))
    if table:
        yield "\n".join((*comment(table.doc), off + header(table), *blocks[:1]))
    yield from blocks[1:] if table else blocks
    for each in settings:
        if each.table:
            yield from _example(describe(each.table, each), each, off)


def header(table: Setting) -> str:
    return f"[[{table.dotted}]]" if table.is_list else f"[{table.dotted}]"


def commented(data: Mapping[str, Any], settings: tuple[Setting, ...]) -> Iterator[str]:
    """Blocks of a file with just what is in ``data``, each key with its documentation."""
    for each in settings:
        if each.name in data and not each.table:
            line = f"{each.name} = {toml_value(each, data[each.name])}"
            yield "\n".join((*comment(each.doc), line))
    for each in settings:
        if each.name in data and each.table:
            entries = data[each.name] if each.is_list else [data[each.name]]
            for entry in entries:
                first, *rest = commented(entry, describe(each.table, each))
                yield f"{header(each)}\n{first}"
                yield from rest


def shown(setting: Setting) -> str:
    """Its line in the example: the default, or commented out where it has none."""
    value = setting.default
    if value is None or value == ():
        return f"# {setting.name} = {toml_value(setting, _illustration(setting))}"
    return f"{setting.name} = {toml_value(setting, value)}"


def _illustration(setting: Setting) -> Any:
    """A value to show where the default is none."""
    value = setting.meta.get("example")
    if value is None:
        value = setting.choices[0] if setting.choices else setting.type()
        value = value if not setting.is_list else (value,)
    return value


def choices_of(setting: Setting) -> str:
    """The choices as part of a sentence's end."""
    if not setting.choices:
        return ""
    of = "Some of" if setting.is_list else "One of"
    return f" {of} {', '.join(map(quoted, setting.choices))}."


def comment(text: str) -> list[str]:
    """``text`` as lines of a comment."""
    joined = " ".join(text.split())
    return [f"# {line}" for line in textwrap.wrap(joined, WIDTH - 2, break_on_hyphens=False)]
