"""Mistakes as their author sees them: what is wrong, the line it is on, a caret, and the remedy."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable
from typing import NamedTuple

from hyperserver.errors import Problem


class Place(NamedTuple):
    """Part of one line of a file; all count from 1, ``end`` is the column behind it."""

    file: str
    line: int
    column: int
    end: int
    excerpt: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


#: Where a problem comes from: a place in a file, the name of a flag or a variable, or nowhere.
Locate = Callable[[Problem], "Place | str | None"]


def render(
    problems: Iterable[Problem], locate: Locate, *, color: bool = False, level: str = "error"
) -> str:
    """All problems for the terminal: those of files with excerpts, the others a line each."""
    blocks: list[str] = []
    for problem in problems:
        found = problem.place or locate(problem)
        if isinstance(found, Place):
            blocks.append(_excerpt(problem, found, level, color=color))
        else:
            source = f" (from {found})" if found else ""
            what = "" if level == "error" else f"{level}: "
            blocks.append(f"hyperserver: {what}{problem}{source}")
    text = ""
    for before, block in zip(["", *blocks], blocks, strict=False):
        gap = "\n\n" if "\n" in before or ("\n" in block and before) else "\n" if before else ""
        text += gap + block
    return text


def plain(problems: Iterable[Problem], locate: Locate) -> str:
    """The same for messages of exceptions: one line each, ``file:line:column: …``."""
    lines = []
    for problem in problems:
        found = problem.place or locate(problem)
        lines.append(f"{found}: {problem}" if found else str(problem))
    return "\n".join(lines)


def _excerpt(problem: Problem, place: Place, level: str, *, color: bool) -> str:
    """The message, then the line with a caret under what is wrong and the remedy beside it."""
    gutter = " " * len(str(place.line))
    line = place.excerpt
    before = line[: place.column - 1]
    marked = line[place.column - 1 : place.end - 1]
    padding = "".join(
        "\t" if character == "\t" else " " * _width(character) for character in before
    )
    carets = "^" * max(1, sum(map(_width, marked)))
    advice = f" {problem.advice}" if problem.advice else ""
    if color:
        hue = "\033[1;31m" if level == "error" else "\033[1;33m"
        frame, strong, end = "\033[34m", "\033[1m", "\033[0m"
    else:
        hue = frame = strong = end = ""
    return "\n".join(
        (
            f"{hue}{level}{end}{strong}: {problem.message}{end}",
            f"{gutter}{frame}-->{end} {place}",
            f"{gutter} {frame}|{end}",
            f"{frame}{place.line} |{end} {line}",
            f"{gutter} {frame}|{end} {padding}{hue}{carets}{advice}{end}",
        )
    )


def _width(character: str) -> int:
    """How many columns of a terminal a character takes."""
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
