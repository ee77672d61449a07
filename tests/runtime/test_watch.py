from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from hyperserver.runtime.watch import Watcher, is_foreign, is_source, sources
from tests.e2e.support import wait_until

WAYS = [True] if find_spec("watchfiles") is None else [True, False]


class Watch:
    """A watcher, and what it has told."""

    def __init__(self, folder: Path, files: tuple[str, ...], polls: bool) -> None:
        self.told: set[str] = set()
        self.watcher = Watcher((str(folder),), files, self.told.update, polls=polls)

    def tells(self, path: Path) -> None:
        wait_until(lambda: str(path) in self.told, f"{path.name} is told of, not {self.told}", 10)
        self.told.clear()


Start = Callable[..., Watch]


@pytest.fixture(params=WAYS, ids=["polling", "watchfiles"][: len(WAYS)])
def start(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Start]:
    """``start(*files)`` watches those and the folder "src"."""
    started: list[Watch] = []
    (tmp_path / "src").mkdir()

    def begin(*files: Path) -> Watch:
        names = tuple(map(str, files))
        started.append(Watch(tmp_path / "src", names, bool(request.param)))
        return started[-1]

    yield begin
    for watch in started:
        watch.watcher.close()


def test_what_is_changed_made_and_removed(start: Start, tmp_path: Path) -> None:
    views = tmp_path / "src" / "views.py"
    views.write_text("one")
    watch = start()
    views.write_text("two!")
    watch.tells(views)
    page = tmp_path / "src" / "page.html"
    page.write_text("<p>")
    watch.tells(page)
    views.unlink()
    watch.tells(views)


def test_folders_that_come_later(start: Start, tmp_path: Path) -> None:
    watch = start()
    folder = tmp_path / "src" / "shop"
    folder.mkdir()
    module = folder / "models.py"
    module.write_text("one")
    # a system that tells of changes may be late in looking into a folder that is new
    wait_until(lambda: _touched(module, watch), "the module is told of", 10)


def _touched(path: Path, watch: Watch) -> bool:
    path.write_text(path.read_text() + "#")
    return str(path) in watch.told


def test_what_is_no_source_is_not_told(start: Start, tmp_path: Path) -> None:
    for name in (".venv", "__pycache__", "node_modules"):
        (tmp_path / "src" / name).mkdir()
    watch = start()
    (tmp_path / "src" / ".venv" / "a.py").write_text("a")
    (tmp_path / "src" / "__pycache__" / "a.py").write_text("a")
    (tmp_path / "src" / "node_modules" / "a.html").write_text("a")
    (tmp_path / "src" / "data.sqlite").write_text("a")
    last = tmp_path / "src" / "last.py"
    last.write_text("a")
    wait_until(lambda: str(last) in watch.told, "the last one is told of", 10)
    assert watch.told == {str(last)}


def test_single_files_wherever_they_are(start: Start, tmp_path: Path) -> None:
    config = tmp_path / "hyperserver.toml"
    config.write_text("one")
    missing = tmp_path / "tls" / "cert.pem"
    watch = start(config, missing)
    config.write_text("two!")
    watch.tells(config)
    missing.parent.mkdir()
    missing.write_text("now")
    watch.tells(missing)


def test_a_link_that_leads_elsewhere(start: Start, tmp_path: Path) -> None:
    """As Kubernetes exchanges the files of a secret."""
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "cert.pem").write_text("same size")
    (tmp_path / "current").symlink_to("old")
    watch = start(tmp_path / "current" / "cert.pem")
    (tmp_path / "next").symlink_to("new")
    (tmp_path / "next").rename(tmp_path / "current")
    watch.tells(tmp_path / "current" / "cert.pem")


def test_sources_without_those_of_others(tmp_path: Path) -> None:
    for name in ("a.py", "b/c.html", "b/d.txt", "venv/pyvenv.cfg", "venv/e.py", ".git/f.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = {os.path.relpath(path, tmp_path) for path in sources(str(tmp_path))}
    assert found == {"a.py", "b/c.html"}
    assert [Path(path).name for path in sources(str(tmp_path / "venv"))] == ["e.py"]


def test_names() -> None:
    assert [name for name in (".git", "__pycache__", "..", "src") if is_foreign(name)] == [
        ".git",
        "__pycache__",
    ]
    assert [name for name in ("a.py", "a.pyc", "a.j2", "py", "a.toml") if is_source(name)] == [
        "a.py",
        "a.j2",
    ]
