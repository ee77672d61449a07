"""Telling that a source file has changed: by ``watchfiles`` where that is installed, else by looking."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

#: What can change what is served; other files of a program are read when they are asked for.
_SUFFIXES = frozenset(
    (".py", ".html", ".htm", ".jinja", ".jinja2", ".j2", ".mako", ".pt", ".tmpl", ".tpl")
)
_FOREIGN = frozenset(("__pycache__", "node_modules", "site-packages"))
#: Seconds between two looks; and between the last of several changes and the news of them.
_INTERVAL = 0.4
_QUIET = 0.05
#: So often are more changes waited for.
_ROUNDS = 10

#: Modification time, size and number of a file, or None where there is none.
Stamp = tuple[int, int, int] | None


def is_source(path: str) -> bool:
    return os.path.splitext(path)[1] in _SUFFIXES


def is_foreign(name: str) -> bool:
    """Whether what is below a folder of that name is somebody else's."""
    return name in _FOREIGN or (name[:1] == "." and name not in (".", ".."))


def sources(folder: str) -> Iterator[str]:
    """The source files below ``folder``, without those of virtual environments and caches."""
    for root, folders, files in os.walk(folder):
        if "pyvenv.cfg" in files and root != folder:
            folders.clear()
            continue
        folders[:] = [name for name in folders if not is_foreign(name)]
        yield from (os.path.join(root, name) for name in files if is_source(name))


def stamp(path: str) -> Stamp:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


class Watcher:
    """Calls ``changed(paths)`` from a thread of its own whenever source files below one of
    ``folders``, or any of ``files``, are new, gone or different.
    """

    def __init__(
        self,
        folders: tuple[str, ...],
        files: tuple[str, ...],
        changed: Callable[[set[str]], None],
        *,
        polls: bool | None = None,
    ) -> None:
        self._folders = tuple(folder for folder in folders if os.path.isdir(folder))
        self._files = files
        self._changed = changed
        self._ended = threading.Event()
        self.polls = find_spec("watchfiles") is None if polls is None else polls
        self._looks_at_folders = True
        self._known = self._look()
        self._thread = threading.Thread(target=self._run, name="watcher", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        for paths in self._polled() if self.polls or not self._folders else self._notified():
            if paths:
                self._changed(paths)

    # ---- by looking ----------------------------------------------------------------------

    def _look(self) -> dict[str, Stamp]:
        paths = set(self._files)
        if self._looks_at_folders:
            for folder in self._folders:
                paths.update(sources(folder))
        return {path: stamp(path) for path in paths}

    def _difference(self) -> set[str]:
        """What has changed since it was last asked for."""
        before, self._known = self._known, self._look()
        paths = before.keys() | self._known.keys()
        return {path for path in paths if before.get(path) != self._known.get(path)}

    def _polled(self) -> Iterator[set[str]]:
        while not self._ended.wait(_INTERVAL):
            paths = more = self._difference()
            for _ in range(_ROUNDS):  # an editor, or version control, may still be at it
                if not more or self._ended.wait(_QUIET):
                    break
                more = self._difference()
                paths |= more
            yield paths

    # ---- by being told -------------------------------------------------------------------

    def _notified(self) -> Iterator[set[str]]:
        from watchfiles import watch

        for changes in watch(
            *self._folders,
            watch_filter=lambda _, path: self._is_ours(path),
            step=int(_QUIET * 1000),
            stop_event=self._ended,
            rust_timeout=int(_INTERVAL * 1000),
            yield_on_timeout=True,
            raise_interrupt=False,
            ignore_permission_denied=True,
        ):
            # Single files are looked at: they may be anywhere, and be replaced by links. So are all,
            # once: what has changed before the system was asked is not told of.
            yield {path for _, path in changes} | self._difference()
            if self._looks_at_folders:
                self._looks_at_folders = False
                self._known = self._look()

    def _is_ours(self, path: str) -> bool:
        if not is_source(path):
            return False
        for folder in self._folders:
            try:
                parts = Path(path).relative_to(Path(folder).resolve()).parts
            except ValueError:
                continue
            return not any(map(is_foreign, parts[:-1]))
        return True
