"""Files that a log is appended to."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from hyperserver.observe.access_log import AccessLog
from hyperserver.observe.files import LogFile


def test_lines_are_appended(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_text("before\n")
    one, other = LogFile(str(path)), LogFile(str(path))
    one.write("one\n")
    other.write("oth\xe9r\udcff\n")
    one.write("again\n")
    assert path.read_bytes() == b"before\none\noth\xc3\xa9r\\udcff\nagain\n"
    one.close()
    one.close()
    other.close()


def test_a_new_file_is_for_its_owner_and_group(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    LogFile(str(path)).close()
    assert path.stat().st_mode & 0o137 == 0


def test_a_file_that_was_moved_away_is_left_when_told(tmp_path: Path) -> None:
    path, moved = tmp_path / "a.log", tmp_path / "a.log.1"
    file = LogFile(str(path))
    file.write("1\n")
    path.rename(moved)
    file.write("2\n")
    file.reopen()
    file.write("3\n")
    file.close()
    assert (moved.read_text(), path.read_text()) == ("1\n2\n", "3\n")


def test_where_it_cannot_be_opened_again_it_stays(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    file = LogFile(str(folder / "a.log"))
    moved = folder.rename(tmp_path / "old")
    with pytest.raises(FileNotFoundError):
        file.reopen()
    file.write("still\n")
    file.close()
    assert (moved / "a.log").read_text() == "still\n"


def test_a_full_disk_costs_lines_and_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.log"
    file = LogFile(str(path))
    write = os.write

    def fail(number: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    for _ in range(2):
        monkeypatch.setattr(os, "write", fail)
        file.write("lost\n")
        file.write("lost\n")
        assert capsys.readouterr().err.count(f"cannot write {path}: No space left") == 1
        monkeypatch.setattr(os, "write", lambda number, data: write(number, data[:3]))
        file.write("written\n")
    file.close()
    assert path.read_text() == "written\n" * 2


def test_the_access_log_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    log = AccessLog(LogFile(str(path)))
    log.request(None, "GET", b"/1", "1.1", 200, 1, 0.001)
    path.rename(tmp_path / "old.log")
    log.reopen()
    log.request(None, "GET", b"/2", "1.1", 200, 1, 0.001)
    log.close()
    assert "GET /1" in (tmp_path / "old.log").read_text()
    assert path.read_text() == '- "GET /2 HTTP/1.1" 200 1 1.0ms\n'
