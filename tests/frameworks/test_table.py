"""What the table says of what has happened."""

from __future__ import annotations

import re

import pytest

from tests.frameworks import table
from tests.frameworks.matrix import CAPABILITIES, FRAMEWORKS, Framework
from tests.frameworks.table import BEGIN, END, Cell, Row

SHOP = Framework(
    "shop",
    "Shop",
    ["pytest"],
    limits={"trio": "for asyncio", "push": "no interface for it"},
    notes={"hints": "by middleware"},
)
ALL = {
    Cell("shop", worker, http, capability): {"passed"}
    for worker in ("asyncio", "uvloop")
    for http in ("1.1", "2")
    for capability in CAPABILITIES
    if capability != "push"
}


@pytest.fixture(autouse=True)
def frameworks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "FRAMEWORKS", [SHOP])


def test_good_everywhere_is_good() -> None:
    (row,) = table.rows(ALL)
    assert row.marks == dict.fromkeys(row.marks, "✓") | {"trio": table.LIMITED, "push": "–"}  # noqa: RUF001


def test_one_failure_shows_in_its_row_and_columns() -> None:
    (row,) = table.rows(ALL | {Cell("shop", "uvloop", "2", "upload"): {"passed", "failed"}})
    assert {column for column, mark in row.marks.items() if mark == "✗"} == {"uvloop", "upload"}


def test_what_was_not_run_is_not_good() -> None:
    (row,) = table.rows({})
    assert {mark for column, mark in row.marks.items() if SHOP.has(column)} == {"?"}
    skipped = {cell: {"skipped"} for cell in ALL}
    assert table.rows(skipped) == [row]


def test_reasons_are_numbered_notes() -> None:
    text = table.as_markdown(table.rows(ALL))
    notes = dict(re.findall(r"^(\d+)\. (.*)$", text, re.MULTILINE))
    assert sorted(notes.values()) == ["By middleware.", "For asyncio.", "No interface for it."]
    (number,) = re.findall(r"✓<sup>(\d+)</sup>", text)
    assert notes[number] == "By middleware."


def test_a_framework_that_is_not_installed_is_named() -> None:
    missing = Framework("lost", "Lost", ["no-such-package-anywhere"])
    text = table.as_markdown([*table.rows(ALL), Row(missing, table.rows(ALL)[0].marks)])
    assert "not tested: Lost." in text


def test_the_page_around_it_stays() -> None:
    rows = table.rows(ALL)
    page = table.insert(f"before\n{BEGIN}\nthe last run\n{END}\nafter\n", rows)
    assert page.startswith(f"before\n{BEGIN}\n")
    assert page.endswith(f"{END}\nafter\n")
    assert "the last run" not in page
    assert table.insert(page, rows) == page


def test_every_framework_has_its_application() -> None:
    for framework in FRAMEWORKS:
        assert framework.workers, f"{framework.name} runs nowhere"
