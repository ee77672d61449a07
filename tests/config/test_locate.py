"""The positions of keys and values, next to what ``tomllib`` makes of the same text."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hyperserver.config.locate import Path, Spot, locate


def paths(data: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Every path in parsed TOML with its value."""
    entries: Any = ()
    if isinstance(data, dict):
        entries = data.items()
    elif isinstance(data, list):
        entries = enumerate(data)
    for key, value in entries:
        yield (*path, key), value
        yield from paths(value, (*path, key))


def part(text: str, spot: Spot) -> str:
    return text.split("\n")[spot.line - 1][spot.column - 1 : spot.end - 1]


SAMPLE = '''\
# a comment with = and [brackets]
app = "a:b" # trailing
"quoted key" = 'literal # no comment'
dotted . "k.e\\u0079" = 1
number=12_000
when = 1979-05-27 07:32:00 # with a space
long = """
first = "no key"
\\""" still
"""
raw = \'\'\'
[no.table]
\'\'\'
five_quotes = """"a"""""
list = [ 1, [2, 3], # four
  "x]",
  { a = 1, b.c = [true] },
]
empty = {}

[table]
k = 1
[a.b]
c = 1
[[array]]
x = 1
  [[array.inner]]
  y = 1
  [array.inner.deep]
  z = 1
[[array]]
x = 2
[[array.inner]]
y = 2
[ spaced . "name" ]
k = -0.5e3
'''


def test_every_kind_of_line() -> None:
    spots = locate(SAMPLE)
    for path, value in paths(tomllib.loads(SAMPLE)):
        assert path in spots.values, path
        if isinstance(path[-1], str):
            shown = part(SAMPLE, spots.keys[path])
            assert shown.strip("\"'").replace("\\u0079", "y") == path[-1]
        if isinstance(value, int | float) and not isinstance(value, bool):
            assert tomllib.loads(f"v = {part(SAMPLE, spots.values[path])}")["v"] == value
    assert spots.keys["array", 1, "inner", 0, "y"].line == SAMPLE.split("\n").index("y = 2") + 1
    assert part(SAMPLE, spots.values["when",]) == "1979-05-27 07:32:00"
    assert part(SAMPLE, spots.values["list", 3]) == "{ a = 1, b.c = [true] }"
    assert part(SAMPLE, spots.values["list", 3, "b", "c", 0]) == "true"
    assert part(SAMPLE, spots.values["table",]) == "table"


@pytest.mark.parametrize(
    "text", ["", "\n", "# only a comment", "[a]", "a = []", "a={}", "a = 1\r\n"]
)
def test_short_files(text: str) -> None:
    spots = locate(text)
    assert {path for path, _ in paths(tomllib.loads(text))} <= set(spots.values)


def test_a_table_that_was_implicit_has_the_spot_of_its_own_header() -> None:
    assert locate("[a.b]\n[a]\n").keys["a",].line == 2


# ---- whatever tomllib accepts -------------------------------------------------------------------

BARE = st.from_regex(r"[A-Za-z0-9_-]{1,8}", fullmatch=True)
ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


def basic(text: str) -> str:
    return '"' + "".join(f"\\U{ord(character):08x}" for character in text) + '"'


KEY = st.one_of(BARE, ANY_TEXT.map(basic), st.from_regex(r"'[a-z .=\[\]#]{0,6}'", fullmatch=True))
SPACE = st.sampled_from(["", " ", "\t", "  "])
SCALAR = st.one_of(
    st.integers(-(10**9), 10**9).map(str),
    st.booleans().map(lambda value: str(value).lower()),
    st.sampled_from(["1.5", "1e3", "inf", "-nan", "0x_f".replace("_", ""), "1979-05-27 07:32:00Z"]),
    ANY_TEXT.map(basic),
    st.sampled_from(
        [
            '""',
            "''",
            '"a # b"',
            "'[x]'",
            '"\\\\"',
            '"\\""',
            '"""\n"""',
            "'''a\n'b'''",
            '"""a\\\n  b""""',
        ]
    ),
)
GAP = st.sampled_from(["", " ", "\n", " # a ] comment\n", "\n\n  "])


def arrays(items: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.tuples(st.lists(items, max_size=3), GAP, GAP).map(
        lambda parts: "[" + parts[1] + ("," + parts[2]).join(parts[0]) + parts[2] + "]"
    )


def inline_tables(items: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    pair = st.tuples(KEY, items).map(lambda parts: f"{parts[0]} = {parts[1]}")
    return st.lists(pair, max_size=3).map(lambda pairs: "{ " + ", ".join(pairs) + " }")


VALUE = st.recursive(SCALAR, lambda items: arrays(items) | inline_tables(items), max_leaves=6)
DOTTED = st.tuples(st.lists(KEY, min_size=1, max_size=3), SPACE).map(
    lambda parts: f"{parts[1]}.{parts[1]}".join(parts[0])
)
PAIR = st.tuples(SPACE, DOTTED, SPACE, VALUE, st.sampled_from(["", " # x = 1", "\t"])).map(
    lambda parts: f"{parts[0]}{parts[1]}{parts[2]}={parts[2]}{parts[3]}{parts[4]}"
)
HEADER = st.one_of(DOTTED.map(lambda key: f"[{key}]"), DOTTED.map(lambda key: f"[[{key}]] # x"))
NAMED = st.sampled_from(["[[a]]", "[a.b]", "[[a.c]]", "[b]", "[[b.d]]", "[a.c.e]"])
LINE = st.one_of(PAIR, HEADER, NAMED, st.sampled_from(["", "# = [", "   "]))


@given(st.lists(LINE, max_size=12))
def test_all_that_tomllib_reports_is_located(lines: list[str]) -> None:
    kept: list[str] = []
    for line in lines:  # most random files repeat a key: keep what is valid so far
        try:
            tomllib.loads("\n".join([*kept, line]))
        except tomllib.TOMLDecodeError:
            continue
        kept.append(line)
    text = "\n".join(kept)
    spots = locate(text)
    found = dict(paths(tomllib.loads(text)))
    assert set(found) == set(spots.values)
    for path, value in found.items():
        if isinstance(path[-1], str):
            raw = part(text, spots.keys[path])
            assert list(tomllib.loads(f"{raw} = 1")) == [path[-1]]
        if isinstance(value, bool | int):
            assert tomllib.loads(f"v = {part(text, spots.values[path])}")["v"] == value
