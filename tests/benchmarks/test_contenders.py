from pathlib import Path

import pytest

from benchmarks.contender import APPS, Wants
from benchmarks.contenders import field
from benchmarks.scenarios import SCENARIOS, Scenario

FAMILIES = {"hyperserver", "uvicorn", "granian", "gunicorn", "hypercorn", "anycorn", "daphne"}
ALL = list(SCENARIOS.values())


@pytest.mark.parametrize("scenario", ALL, ids=list(SCENARIOS))
def test_nobody_is_dropped_silently(scenario: Scenario) -> None:
    assert {one.name.split()[0] for one in scenario.contenders} >= FAMILIES
    names = [one.name for one in scenario.contenders]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("scenario", ALL, ids=list(SCENARIOS))
def test_every_command_line_is_filled_in(scenario: Scenario) -> None:
    for one in scenario.contenders:
        if one.cannot:
            continue
        command = one.command("python", scenario.app, 8123, Path("secrets"))
        assert not any("{" in argument for argument in command)
        assert any("8123" in argument for argument in command)
        assert scenario.app in command or "floor" in one.name
        assert any("secrets" in argument for argument in command) is scenario.wants.tls


def test_every_application_exists() -> None:
    for scenario in ALL:
        module, _, name = scenario.app.partition(":")
        text = (APPS / f"{module}.py").read_text()
        assert f"def {name}(" in text or f"\n{name} = " in text


def test_the_access_log_is_on_only_where_it_is_measured() -> None:
    for logged in (False, True):
        for one in field(Wants(access_log=logged)):
            said = " ".join(one.arguments).replace("--no-access-log", "")
            if not one.name.startswith("uvicorn"):  # it is on unless it is told otherwise
                assert ("--access-log" in said) is logged, one.name
            else:
                assert ("--no-access-log" in one.arguments) is not logged


def test_what_is_asked_for() -> None:
    download = SCENARIOS["h1-download-100m"]
    assert download.url(80) == "http://127.0.0.1:80/100000000"
    assert download.probe_url(80) == "http://127.0.0.1:80/1000"
    assert SCENARIOS["h2-tls-hello"].probe_url(1) == "https://127.0.0.1:1/"
