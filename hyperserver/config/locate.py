"""Where in a TOML file each key and each value stands.

``tomllib`` says what a file means and whether it is valid, yet not where anything is. This scanner
reads a file that ``tomllib`` has accepted and only finds positions; it judges nothing.
"""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_right
from typing import NamedTuple

Path = tuple[str | int, ...]


class Spot(NamedTuple):
    """Part of a line: both count from 1, ``end`` is the column behind it (at most the line's)."""

    line: int
    column: int
    end: int


class Spots(NamedTuple):
    """By path, as in ``("listen", 0, "bind", 1)``. A table has the spot of its header."""

    keys: dict[Path, Spot]
    values: dict[Path, Spot]


_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_SPACE = re.compile(r"[ \t]*")
_BARE_KEY = re.compile(r"[^\s.=\]\"'#]+")
_BASIC = re.compile(r'"(?:[^"\\\n]|\\.)*"')
_LITERAL = re.compile(r"'[^'\n]*'")
_LONG_BASIC = re.compile(r'"""(?:[^\\]|\\.)*?"{3,5}(?!")', re.DOTALL)
_LONG_LITERAL = re.compile(r"'''.*?'{3,5}(?!')", re.DOTALL)
_SCALAR = re.compile(r"[^,\]}#\r\n]*[^,\]}#\s]")


def locate(text: str) -> Spots:
    """The spots of all keys and values of ``text``, which must be valid TOML."""
    return _Scanner(text).scan()


class _Scanner:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._lines = [0, *(match.end() for match in re.finditer("\n", text))]
        self._lengths: dict[Path, int] = {}  # tables so far in each array of tables
        self._spots = Spots({}, {})

    def scan(self) -> Spots:
        table: Path = ()
        while self._skip(_BLANK) < len(self._text):
            if self._text.startswith("[[", self._at):
                self._at += 2
                table = self._header(is_array=True)
            elif self._text[self._at] == "[":
                self._at += 1
                table = self._header(is_array=False)
            else:
                self._pair(table)
        return self._spots

    def _skip(self, pattern: re.Pattern[str]) -> int:
        match = pattern.match(self._text, self._at)
        if match:
            self._at = match.end()
        return self._at

    def _spot(self, start: int, end: int) -> Spot:
        line = bisect_right(self._lines, start)
        begin = self._lines[line - 1]
        stop = self._text.find("\n", start)
        end = min(end, stop) if stop >= 0 else end
        return Spot(line, start - begin + 1, max(end, start + 1) - begin + 1)

    def _key(self) -> list[tuple[str, Spot]]:
        """A dotted key, up to what follows it."""
        parts: list[tuple[str, Spot]] = []
        while True:
            start = self._skip(_SPACE)
            quote = self._text[self._at]
            pattern = {'"': _BASIC, "'": _LITERAL}.get(quote, _BARE_KEY)
            end = self._skip(pattern)
            raw = self._text[start:end]
            if quote == '"':
                name = str(tomllib.loads(f"k = {raw}")["k"])
            else:
                name = raw[1:-1] if quote == "'" else raw
            parts.append((name, self._spot(start, end)))
            self._skip(_SPACE)
            if self._text[self._at] != ".":
                return parts
            self._at += 1

    def _header(self, *, is_array: bool) -> Path:
        path: Path = ()
        parts = self._key()
        for name, spot in parts[:-1]:
            path = self._newest((*path, name), spot)
        name, spot = parts[-1]
        path = (*path, name)
        if is_array:
            self._spots.keys.setdefault(path, spot)
            self._spots.values.setdefault(path, spot)
            index = self._lengths[path] = self._lengths.get(path, 0) + 1
            path = (*path, index - 1)
        # a table that began as the parent of another has its spot where it stands itself
        self._spots.keys[path] = self._spots.values[path] = spot
        self._at += 2 if is_array else 1
        return path

    def _newest(self, path: Path, spot: Spot) -> Path:
        """The table that ``path`` means here, which in an array is the newest."""
        self._spots.keys.setdefault(path, spot)
        self._spots.values.setdefault(path, spot)
        return (*path, self._lengths[path] - 1) if path in self._lengths else path

    def _pair(self, table: Path) -> None:
        path = table
        for name, spot in self._key():
            path = (*path, name)
            self._spots.keys.setdefault(path, spot)
            self._spots.values.setdefault(path, spot)
        self._at += 1  # the equals sign
        self._skip(_SPACE)
        self._value(path)

    def _value(self, path: Path) -> None:
        start = self._at
        first = self._text[start]
        if first == "[":
            self._array(path)
        elif first == "{":
            self._inline(path)
        elif self._text.startswith('"""', start):
            self._skip(_LONG_BASIC)
        elif self._text.startswith("'''", start):
            self._skip(_LONG_LITERAL)
        else:
            self._skip({'"': _BASIC, "'": _LITERAL}.get(first, _SCALAR))
        self._spots.values[path] = self._spot(start, self._at)

    def _array(self, path: Path) -> None:
        self._at += 1
        index = 0
        while self._text[self._skip(_BLANK)] != "]":
            if self._text[self._at] == ",":
                self._at += 1
                continue
            self._value((*path, index))
            index += 1
        self._at += 1

    def _inline(self, path: Path) -> None:
        self._at += 1
        while self._text[self._skip(_BLANK)] != "}":
            if self._text[self._at] == ",":
                self._at += 1
                continue
            self._pair(path)
        self._at += 1
