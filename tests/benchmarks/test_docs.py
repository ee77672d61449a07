from pathlib import Path

from benchmarks import docs
from benchmarks.scenarios import SCENARIOS
from tests.benchmarks.samples import result

BASELINE = {"cpython-312": {"instructions": {"costs": {"h1-get": 58_415.3}}}}


def test_the_page_shows_every_scenario_and_those_that_were_lost() -> None:
    lost = result()
    lost.rows[0], lost.rows[3] = lost.rows[3], lost.rows[0]
    lost.rows[0].is_peer, lost.rows[3].is_peer = False, True
    page = docs.page({"h1-hello": lost}, BASELINE, "pictures")
    for name in SCENARIOS:
        assert f"\n## {name}\n" in page
    assert "| **10.00** | ours uvloop |" in page
    assert "(pictures/h1-hello.svg)" in page
    assert "absent | not measured: HTTP/2 over TLS only" in page
    assert "58,415" in page
    assert "Measured 2026-01-02 on CPython 3.12.1, Linux 6, fast, 2 cores" in page


def test_the_page_names_no_folder_of_this_machine() -> None:
    assert str(Path.cwd()) not in docs.page({}, {}, "pictures")


def test_results_are_written_with_their_pictures(tmp_path: Path) -> None:
    result().save(tmp_path / "results")
    where = ["--results", str(tmp_path / "results"), "--docs", str(tmp_path / "docs")]
    assert docs.main(where) == 0
    assert "Hello <world>" in (tmp_path / "docs/benchmarks.md").read_text()
    assert (tmp_path / "docs/benchmarks/h1-hello.svg").read_text().startswith("<svg")
