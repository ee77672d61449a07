from __future__ import annotations

import pytest

from hyperserver.config.diagnose import Place, plain, render
from hyperserver.config.syntax import explain
from hyperserver.errors import Problem

LINE = "\tnäme = 'e\u0301日本' # x"


def place(column: int, end: int) -> Place:
    return Place("a.toml", 12, column, end, LINE)


def test_the_caret_stands_below_what_is_wrong_whatever_the_width_of_characters() -> None:
    text = render([Problem((), "message", "advice")], lambda _: place(9, 15))
    assert text.splitlines() == [
        "error: message",
        "  --> a.toml:12:9",
        "   |",
        f"12 | {LINE}",
        "   | \t       ^^^^^^^ advice",
    ]


def test_problems_without_a_place_have_a_line_each() -> None:
    found = {"a": None, "b": "--flag", "c": place(1, 2)}
    problems = [Problem((name,), f"wrong {name}", "mend it") for name in found]
    lines = render(problems, lambda problem: found[str(problem.path[0])]).splitlines()
    assert lines[:3] == [
        "hyperserver: wrong a; mend it",
        "hyperserver: wrong b; mend it (from --flag)",
        "",
    ]
    assert lines[3] == "error: wrong c"
    assert plain(problems, lambda problem: found[str(problem.path[0])]).splitlines() == [
        "wrong a; mend it",
        "--flag: wrong b; mend it",
        "a.toml:12:1: wrong c; mend it",
    ]


@pytest.mark.parametrize(("level", "hue"), [("error", "31"), ("warning", "33")])
def test_colours_are_only_for_those_who_ask(level: str, hue: str) -> None:
    problem = Problem((), "message")
    colourful = render([problem], lambda _: place(1, 3), color=True, level=level)
    assert colourful.startswith(f"\033[1;{hue}m{level}\033[0m\033[1m: message\033[0m\n")
    assert "\033" not in render([problem], lambda _: place(1, 3), level=level)
    assert render([problem], lambda _: None, level="warning") == "hyperserver: warning: message"


@pytest.mark.parametrize(
    ("text", "message", "place", "advice"),
    [
        ("a = nil", "Invalid value (at line 1, column 5)", "1:5", "leave the key out"),
        ("a = ]", "Invalid value (at line 1, column 5)", "1:5", ""),
        ("a = 1\n\n", "Expected something (at end of document)", "1:6", ""),
        ("", "Expected something (at end of document)", "1:1", ""),
        ("a = 1\n[b]\n [b]", "Cannot declare ('b',) twice (at line 3, column 4)", "3:2", "a key, or"),
    ],
)  # fmt: skip
def test_what_is_said_of_a_file_that_is_not_toml(
    text: str, message: str, place: str, advice: str
) -> None:
    problem, found = explain("f", text, message)
    assert str(found) == f"f:{place}"
    assert problem.advice.startswith(advice)
    assert bool(problem.advice) == bool(advice)
    assert "(at" not in problem.message
