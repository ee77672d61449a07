from pathlib import Path

import pytest

from benchmarks import results
from benchmarks.load import Metric
from benchmarks.report import cell, markdown, ratios, table
from tests.benchmarks.samples import result


def test_what_is_saved_is_loaded_again(tmp_path: Path) -> None:
    saved = result()
    path = saved.save(tmp_path / "new")
    assert path.name == "h1-hello.json"
    assert results.load(path) == saved
    assert [child.name for child in path.parent.iterdir()] == ["h1-hello.json"]


def test_the_median_round_counts() -> None:
    row = result().rows[0]
    assert row.cpu_us == pytest.approx(12)
    assert row.per_cpu_second == pytest.approx(1e6 / 12)
    assert row.rate == pytest.approx(2000)


@pytest.mark.parametrize(
    ("metric", "ratio"), [("cpu", 12 / 16), ("memory", 1024 / 2048), ("start", 500 / 250)]
)
def test_ratios_compare_what_the_scenario_is_about(metric: Metric, ratio: float) -> None:
    measured = result(metric)
    assert measured.ratio(measured.rows[0], measured.rows[2]) == pytest.approx(ratio)


def test_the_ratio_table_has_each_of_ours_against_each_peer_with_figures() -> None:
    lines = ratios(result())
    assert "| | ours uvloop | ours trio |" in lines
    assert "| fast | 0.75 | 1.12 |" in lines
    assert not any("absent" in line for line in lines)


def test_there_are_no_ratios_without_peers() -> None:
    measured = result()
    measured.rows = measured.rows[:2]
    assert ratios(measured) == []


def test_every_line_of_a_table_has_as_many_cells() -> None:
    for metric in ("cpu", "memory", "start"):
        for versions in (True, False):
            lines = table(result(metric), versions)
            lines = [line.replace("\\|", "").replace("slow | odd", "slow") for line in lines]
            assert len({line.count("|") for line in lines}) == 1, lines


def test_a_contender_without_figures_is_named_with_the_reason() -> None:
    assert any("absent | not measured: HTTP/2 over TLS only" in line for line in table(result()))
    assert any("(a round failed: late)" in line for line in table(result()))


def test_what_a_server_said_cannot_break_the_table() -> None:
    assert cell("a | b\nc") == "a \\| b c"


def test_a_round_that_was_disturbed_is_pointed_out() -> None:
    assert "Doubtful" not in markdown(result())
    assert "in 1 of 6 rounds" in markdown(result(others=0.5))
