from xml.etree import ElementTree as ET

import pytest

from benchmarks.chart import picture
from benchmarks.load import Metric
from benchmarks.svg import Bar, bars
from tests.benchmarks.samples import result

SVG = "{http://www.w3.org/2000/svg}"


def widths(document: str) -> list[float]:
    root = ET.fromstring(document)
    return [float(rect.attrib["width"]) for rect in root.iter(f"{SVG}rect")]


def texts(document: str) -> list[str]:
    return [element.text or "" for element in ET.fromstring(document).iter(f"{SVG}text")]


def test_bars_are_as_long_as_their_values() -> None:
    rows = [Bar("a", 100, "100", True), Bar("b", 25, "25", False), Bar("c", None, "no", False)]
    longest, quarter = widths(bars("title", "note", rows))
    assert longest == pytest.approx(quarter * 4, abs=0.2)


def test_names_are_escaped() -> None:
    document = bars('a < "b"', "&", [Bar("<x>", 1, "1 & 2", True)])
    assert texts(document) == ['a < "b"', "&", "<x>", "1 & 2"]


def test_it_can_be_read_on_dark_pages() -> None:
    assert "prefers-color-scheme: dark" in bars("", "", [])


def test_the_best_comes_first_and_those_without_figures_last() -> None:
    said = texts(picture(result()))
    places = [said.index(name) for name in ("ours uvloop", "fast", "ours trio", "slow | odd")]
    assert places == sorted(places)
    assert said[-2:] == ["absent", "HTTP/2 over TLS only"]


@pytest.mark.parametrize(
    ("metric", "figure"),
    [("cpu", "83,333"), ("memory", "1.0 KiB"), ("start", "0.50 ms, 2.0 MiB")],
)
def test_figures_stand_next_to_the_bars(metric: Metric, figure: str) -> None:
    assert figure in texts(picture(result(metric)))
