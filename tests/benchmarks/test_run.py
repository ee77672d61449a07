from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import pytest

from benchmarks import run as runner
from benchmarks.contender import Contender
from benchmarks.installation import Installed
from benchmarks.load import LoadError
from benchmarks.measure import Running, StartError
from benchmarks.processes import Cores
from benchmarks.results import Sample
from benchmarks.scenarios import SCENARIOS, Scenario
from tests.benchmarks.samples import sample

INSTALLED = Installed("python", "python", {"python": {}}, {})
CORES = Cores(0, 1)
HELLO = SCENARIOS["h1-hello"]


def test_all_means_every_scenario_and_none_is_run_twice() -> None:
    assert runner.wanted(runner.parse(["--scenario", "all"])) == list(SCENARIOS.values())
    assert runner.wanted(runner.parse(["--scenario", "h1-10k", "h1-1m", "h1-10k"])) == [
        SCENARIOS["h1-10k"],
        SCENARIOS["h1-1m"],
    ]


def test_a_run_is_resumed_where_it_stopped(tmp_path: Path) -> None:
    (tmp_path / "h1-hello.json").touch()
    options = ["--scenario", "all", "--resume", "--results", str(tmp_path)]
    names = [scenario.name for scenario in runner.wanted(runner.parse(options))]
    assert names == [name for name in SCENARIOS if name != "h1-hello"]


def test_quick_is_one_round_of_a_second() -> None:
    options = runner.parse(["--quick"])
    assert (options.rounds, options.seconds) == (1, 1.0)


def test_results_of_a_whole_run_are_replaced_by_nothing_less() -> None:
    folders = [
        runner.parse(argv).results.name
        for argv in ([], ["--quick"], ["--only", "granian"], ["--results", "here", "--quick"])
    ]
    assert folders == ["results", "quick", "some", "here"]


def test_an_unknown_scenario_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        runner.parse(["--scenario", "h3-hello"])
    assert "h3-hello" in capsys.readouterr().err


def test_names_choose_contenders() -> None:
    names = [one.name for one in runner.chosen(HELLO, ["granian", "trio+"])]
    assert names == ["hyperserver trio+httptools", "granian uvloop"]


def test_time_is_shared_among_the_scenarios_to_come(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("benchmarks.run.time.monotonic", lambda: now)
    budget = runner.Budget(10)
    assert budget.share(4) == pytest.approx(1150)
    assert not budget.is_spent
    now = 1300.0
    assert budget.share(3) == pytest.approx(1400)
    now = 9000.0
    assert budget.share(1) == pytest.approx(9000)
    assert budget.is_spent
    assert runner.Budget(None).share(3) == float("inf")
    assert not runner.Budget(None).is_spent


class Rounds:
    """Stands for measuring: each round of a contender takes ten seconds of a clock of its own.

    ``up`` are the servers that run, ``most`` is how many there were at a time.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, broken: str = "", absent: str = "") -> None:
        self.now = 0.0
        self.broken = broken
        self.absent = absent
        self.seen: list[str] = []
        self.up: list[str] = []
        self.most = 0
        monkeypatch.setattr(runner, "running", self.running)
        monkeypatch.setattr(runner, "warm_up", lambda *_: None)
        monkeypatch.setattr(runner, "run_round", self.load)
        monkeypatch.setattr(runner, "run_fresh", self.load_fresh)
        monkeypatch.setattr("benchmarks.run.time.monotonic", lambda: self.now)

    @contextmanager
    def running(
        self, one: Contender, installed: Installed, scenario: Scenario, cpu: int
    ) -> Iterator[Running]:
        if self.absent and self.absent in one.name:
            raise StartError("ended with exit code 1")
        self.up.append(one.name.split()[0])
        self.most = max(self.most, len(self.up))
        yield Running(len(self.up), 8000, 0.1, BytesIO())
        self.up.remove(one.name.split()[0])

    def load(self, server: Running, scenario: Scenario, seconds: float, cores: Cores) -> Sample:
        return self._measure(self.up[server.pid - 1])

    def load_fresh(
        self, one: Contender, installed: Installed, scenario: Scenario, seconds: float, cores: Cores
    ) -> Sample:
        return self._measure(one.name.split()[0])

    def _measure(self, name: str) -> Sample:
        self.now += 10
        self.seen.append(name)
        if name == self.broken:
            raise LoadError("does not stand it")
        return sample(10)


OPTIONS = runner.parse(["--rounds", "3", "--only", "granian", "gunicorn", "daphne"])


def test_rounds_alternate(monkeypatch: pytest.MonkeyPatch) -> None:
    rounds = Rounds(monkeypatch)
    result = runner.run(HELLO, INSTALLED, OPTIONS, CORES, float("inf"))
    order = ["granian", "gunicorn", "daphne"]
    assert rounds.seen == order + order[::-1] + order
    assert [len(row.samples) for row in result.rows] == [3, 3, 3]
    assert (rounds.most, rounds.up) == (3, [])


def test_memory_and_starts_are_those_of_fresh_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("h1-idle", "startup"):
        rounds = Rounds(monkeypatch)
        runner.run(SCENARIOS[name], INSTALLED, OPTIONS, CORES, float("inf"))
        assert (len(rounds.seen), rounds.most) == (9, 0)


def test_one_that_does_not_start_is_named_and_stops_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    rounds = Rounds(monkeypatch, absent="gunicorn")
    result = runner.run(HELLO, INSTALLED, OPTIONS, CORES, float("inf"))
    assert [row.error for row in result.rows] == ["", "ended with exit code 1", ""]
    assert set(rounds.seen) == {"granian", "daphne"}


def test_one_that_fails_is_named_and_stops_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    rounds = Rounds(monkeypatch, broken="gunicorn")
    result = runner.run(HELLO, INSTALLED, OPTIONS, CORES, float("inf"))
    assert [row.error for row in result.rows] == ["", "does not stand it", ""]
    assert rounds.seen.count("gunicorn") == 1
    assert [len(row.samples) for row in result.rows] == [3, 0, 3]


def test_one_that_is_not_installed_or_cannot_is_not_started(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rounds = Rounds(monkeypatch)
    installed = Installed("python", "python", {"python": {}}, {"granian uvloop": "no wheel"})
    result = runner.run(SCENARIOS["h2-hello"], installed, OPTIONS, CORES, float("inf"))
    assert [row.error for row in result.rows] == ["no wheel", "", "HTTP/2 over TLS only"]
    assert set(rounds.seen) == {"gunicorn"}


def test_a_round_that_would_not_fit_is_not_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    rounds = Rounds(monkeypatch)
    runner.run(HELLO, INSTALLED, OPTIONS, CORES, end=65.0)
    assert len(rounds.seen) == 6  # of thirty seconds each: two rounds
    rounds.seen.clear()
    runner.run(HELLO, INSTALLED, OPTIONS, CORES, end=0.0)
    assert len(rounds.seen) == 3  # there is always one
