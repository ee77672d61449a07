from __future__ import annotations

import io
import logging
import re
import sys
from collections.abc import Iterator

import pytest

from hyperserver.observe.logs import configure, logger


@pytest.fixture(autouse=True)
def restore() -> Iterator[None]:
    handlers, level, propagate = logger.handlers[:], logger.level, logger.propagate
    yield
    logger.handlers[:] = handlers
    logger.setLevel(level)
    logger.propagate = propagate


def test_embedded_it_leaves_logging_to_the_program() -> None:
    assert logger.name == "hyperserver"
    assert logger.handlers == []
    assert logger.propagate
    assert logger.level == logging.NOTSET


def test_a_record_is_one_plain_line_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    configure("info")
    logger.info("listening on %s", "http://a:1")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert re.fullmatch(r"\d\d:\d\d:\d\d INFO listening on http://a:1\n", captured.err)


@pytest.mark.parametrize(
    ("level", "seen"),
    [
        ("debug", ["debug", "info", "warning", "error", "critical"]),
        ("info", ["info", "warning", "error", "critical"]),
        ("warning", ["warning", "error", "critical"]),
        ("error", ["error", "critical"]),
        ("critical", ["critical"]),
    ],
)
def test_less_severe_records_are_left_out(
    capsys: pytest.CaptureFixture[str], level: str, seen: list[str]
) -> None:
    configure(level)
    for name in ("debug", "info", "warning", "error", "critical"):
        logger.log(logging.getLevelNamesMapping()[name.upper()], "%s", name)
    lines = capsys.readouterr().err.splitlines()
    assert [line.rpartition(" ")[2] for line in lines] == seen


def test_configuring_again_replaces_and_does_not_double(capsys: pytest.CaptureFixture[str]) -> None:
    configure("debug")
    configure("info")
    logger.debug("no")
    logger.info("once")
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_configured_it_does_not_write_through_the_programs_handlers_too(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    configure("info")
    logger.info("here only")
    assert caplog.records == []
    assert "here only" in capsys.readouterr().err


def pretty(monkeypatch: pytest.MonkeyPatch, *, tty: bool, no_color: str = "") -> str:
    """What a warning and a traceback look like."""
    stream = io.StringIO()
    monkeypatch.setattr(stream, "isatty", lambda: tty)
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("NO_COLOR", no_color)
    configure("info", pretty=True)
    try:
        raise ValueError("on purpose")
    except ValueError:
        logger.warning("look", exc_info=True)
    return stream.getvalue()


@pytest.mark.parametrize(("tty", "no_color"), [(False, ""), (True, "1")])
def test_pretty_is_aligned(monkeypatch: pytest.MonkeyPatch, tty: bool, no_color: str) -> None:
    first, second, *_ = pretty(monkeypatch, tty=tty, no_color=no_color).split("\n")
    assert re.fullmatch(r"\d\d:\d\d:\d\d WARNING  look", first)
    assert second == "Traceback (most recent call last):"


def test_pretty_has_colors_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    text = pretty(monkeypatch, tty=True)
    assert "\x1b[33mWARNING \x1b[0m look\n\x1b[2mTraceback" in text
    assert text.endswith("ValueError: on purpose\x1b[0m\n")
