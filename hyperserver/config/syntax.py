"""What to say of a file that is not TOML."""

from __future__ import annotations

import re

from hyperserver.config.diagnose import Place
from hyperserver.errors import Problem

_PLACE = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")
_VALUE = re.compile(r"=\s*([A-Za-z0-9_./:~-][^\s,\]}#\"'\[{]*)")  # without quotes


def explain(name: str, text: str, message: str) -> tuple[Problem, Place]:
    """``tomllib``'s message with its place, and the remedy where the mistake is a common one."""
    lines = text.split("\n")
    match = _PLACE.search(message)
    if match and match[1]:
        number, column = int(match[1]), int(match[2])
    else:  # at the end: the last line that says anything
        number = max((n for n, line in enumerate(lines, 1) if line.strip()), default=1)
        column = len(lines[number - 1]) + 1
    line = lines[number - 1]
    what = _PLACE.sub("", message)
    value = _VALUE.search(line)
    end = column + 1
    if what.startswith("Cannot"):  # which is found where the pair ends
        column = len(line) - len(line.lstrip()) + 1
        end = len(line.partition("=")[0].rstrip()) + 1
    elif value and what.startswith(("Invalid value", "Expected newline")):
        column, end = value.start(1) + 1, value.end(1) + 1
    problem = Problem((), f"not TOML: {what[0].lower()}{what[1:]}", _advice(what, value, line))
    return problem, Place(name, number, column, end, line)


def _advice(what: str, value: re.Match[str] | None, line: str) -> str:
    if what.startswith(("Invalid value", "Expected newline")) and value:
        word = value[1]
        if word.lower() in {"true", "false"}:
            return f"write {word.lower()}"
        if word.lower() in {"none", "null", "nil"}:
            return "leave the key out"
        return f'write "{word}"'
    if what.startswith(("Cannot overwrite", "Cannot declare")):
        return "a key, or a table, may stand in a file only once"
    if what.startswith("Expected '=' after a key") and ":" in line.partition("=")[0]:
        return 'write "key = value"'
    return ""
