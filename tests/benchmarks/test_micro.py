import json
from pathlib import Path

import pytest

from benchmarks.micro import check, count
from benchmarks.micro.cases import CASES
from benchmarks.micro.count import CountError, read_counts

OLD = {"calibration": 1000.0, "h1-get": 500.0, "h2-get": 2000.0}


def test_costs_are_compared_by_the_calibration_of_their_machine() -> None:
    moves = check.compare({"calibration": 2000, "h1-get": 1000, "h2-get": 5000, "x": 1}, OLD)
    assert [(move.name, move.ratio) for move in moves] == [
        ("h1-get", pytest.approx(1.0)),
        ("h2-get", pytest.approx(1.25)),
        ("x", None),
    ]


def test_what_moved_is_marked() -> None:
    text = check.table(
        check.compare({"calibration": 1000, "h1-get": 450, "h2-get": 2100}, OLD), "time", 0.03
    )
    assert [line.split()[-1] for line in text.splitlines()[1:]] == ["faster", "SLOWER"]


@pytest.fixture
def baseline(tmp_path: Path) -> Path:
    path = tmp_path / "baseline.json"
    check.renew(path, "instructions", OLD)
    return path


@pytest.mark.parametrize(("cost", "status"), [(500, 0), (514, 0), (516, 1), (100, 0)])
def test_a_slowdown_fails(baseline: Path, cost: float, status: int) -> None:
    costs = {**OLD, "h1-get": cost}
    assert check.judge(baseline, "instructions", costs, 0.03, complete=True) == status


def test_a_case_that_is_gone_is_named(baseline: Path, capsys: pytest.CaptureFixture[str]) -> None:
    costs = {"calibration": 1000.0, "h1-get": 500.0}
    assert check.judge(baseline, "instructions", costs, 0.03, complete=True) == 0
    assert "h2-get" in capsys.readouterr().out


def test_without_a_baseline_it_says_how_to_make_one(
    baseline: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check.judge(baseline, "time", OLD, 0.3, complete=True) == 2
    assert "ARGS=--renew" in capsys.readouterr().err


def test_renewing_keeps_what_other_pythons_have(baseline: Path) -> None:
    document = json.loads(baseline.read_text())
    baseline.write_text(json.dumps({**document, "cpython-399": {"time": {}}}))
    check.renew(baseline, "time", OLD)
    renewed = json.loads(baseline.read_text())
    assert list(renewed) == sorted({check.tag(), "cpython-399"})
    assert set(renewed[check.tag()]) == {"instructions", "time"}


def test_counts_are_the_difference_of_two_children() -> None:
    printed = json.dumps({"children": {"a": [[11, 10], [12, 30]]}, "missing": {"b": "no"}})
    log = "==11== Collected : 1000\n==12== \n==12== Collected : 5000\n==9== Collected : 1\n"
    assert read_counts(printed, log) == ({"a": 200.0}, {"b": "no"})
    with pytest.raises(CountError, match="nothing of a"):
        read_counts(printed, "==11== Collected : 1000\n")


@pytest.mark.parametrize("name", list(CASES))
def test_every_case_can_be_repeated(name: str) -> None:
    operations, missing = count.prepare([name])
    if name in missing:
        pytest.skip(missing[name])
    for _ in range(5):
        operations[name]()
