"""Where the logs go, by the configuration."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from hyperserver.config import Config, Log
from hyperserver.errors import ConfigError
from hyperserver.observe.logs import configure, log_file, logger
from hyperserver.runtime.log_files import check_logs, open_access_log, open_log, reopen


@pytest.fixture(autouse=True)
def restore() -> Iterator[None]:
    handlers, level, propagate = logger.handlers[:], logger.level, logger.propagate
    yield
    configure("info")
    logger.handlers[:] = handlers
    logger.setLevel(level)
    logger.propagate = propagate


def with_log(**settings: object) -> Config:
    return Config(log=Log(**settings))  # type: ignore[arg-type]


def test_the_log_goes_to_its_file_with_the_date(tmp_path: Path) -> None:
    path = tmp_path / "server.log"
    open_log(with_log(file=str(path), level="warning"))
    logger.info("not this")
    logger.warning("this")
    line = path.read_text()
    assert line.endswith(" WARNING this\n")
    assert line[:4].isdigit()


def test_it_goes_back_to_standard_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "server.log"
    open_log(with_log(file=str(path)))
    open_log(with_log())
    logger.warning("here")
    assert path.read_text() == ""
    assert "here" in capsys.readouterr().err
    assert log_file() is None


def test_both_are_opened_again(tmp_path: Path) -> None:
    names = ("server.log", "access.log")
    config = with_log(file=str(tmp_path / names[0]), access_file=str(tmp_path / names[1]))
    open_log(config)
    access = open_access_log(config)
    assert access is not None
    for name in names:
        (tmp_path / name).rename(tmp_path / f"{name}.1")
    reopen(access)
    logger.warning("after")
    access.request(None, "GET", b"/after", "1.1", 200, 0, 0.0)
    access.close()
    for name in names:
        assert "after" in (tmp_path / name).read_text()


def test_what_cannot_be_opened_again_is_logged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    access = open_access_log(with_log(access_file=str(folder / "a.log")))
    configure("info")
    folder.rename(tmp_path / "gone")
    reopen(access)
    assert f"cannot open {folder / 'a.log'} again: No such file" in capsys.readouterr().err


def test_no_access_log() -> None:
    assert open_access_log(with_log(access=False, access_file="/nowhere/a.log")) is None


@pytest.mark.parametrize("key", ["file", "access_file"])
def test_a_file_that_cannot_be_opened(tmp_path: Path, key: str) -> None:
    config = with_log(**{key: str(tmp_path / "no" / "a.log")})
    with pytest.raises(ConfigError, match=f"`log.{key}`: cannot open .*: No such file") as error:
        open_log(config)
        open_access_log(config)
    assert "\n" not in str(error.value)
    with pytest.raises(ConfigError, match=f"`log.{key}`: there is no folder"):
        check_logs(config.log)


def test_checking_makes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    check_logs(Log(file=str(path), access_file=str(path)))
    assert not path.exists()
    with pytest.raises(ConfigError, match=r"`log\.file`: .* is a folder"):
        check_logs(Log(file=str(tmp_path)))


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write all")
def test_checking_finds_a_lack_of_permission(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.touch(0o400)
    with pytest.raises(ConfigError, match=r"`log\.file`: no permission to write"):
        check_logs(Log(file=str(path)))


def test_level_names_are_those_of_the_setting() -> None:
    open_log(with_log(level="error"))
    assert logger.level == logging.ERROR
