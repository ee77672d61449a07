"""``--reload``: a parent that holds the sockets, and a child that is started anew on every change.

The old child ends before the new one begins, as two of an application may not get along; clients
that come meanwhile wait in the backlog. It ends soon, whatever its applications and their clients
are doing. Where the application cannot be imported or started, or the configuration is wrong, a
stand-in tells every client why, until something changes again.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import math
import os
import select
import signal
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from hyperserver import __version__
from hyperserver.config.schema import Config
from hyperserver.config.settings import Setting, describe
from hyperserver.errors import ConfigError, HyperserverError
from hyperserver.observe.logs import logger
from hyperserver.runtime.channel import Upper
from hyperserver.runtime.listeners import OpenSocket, close_all, open_all
from hyperserver.runtime.notify import Notifier
from hyperserver.runtime.spawn import Job, described, spawn
from hyperserver.runtime.watch import Watcher
from hyperserver.runtime.worker import CANCEL_PATIENCE

#: Seconds that may pass at most in the stages of a child's end.
_DRAIN, _GRACE, _SHUTDOWN = 1.0, 0.1, 2.0
#: When to end it otherwise, after it was told to; and when by force.
_FORCE_AFTER = _DRAIN + _SHUTDOWN + 1.0
_KILL_AFTER = _FORCE_AFTER + 2 * CANCEL_PATIENCE + 1.0
#: The application that takes the place of one that cannot be served.
_STAND_IN = "hyperserver.runtime.failures:stand_in"
_SIGNALS = tuple(
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGCHLD")
    if hasattr(signal, name)
)


@dataclasses.dataclass(slots=True)
class _Child:
    pid: int
    channel: Upper
    #: Why it does not serve: its own last words.
    failure: str = ""
    is_stand_in: bool = False
    told_at: float = math.inf
    forced: bool = False


class Reloader:
    """Serves ``config`` on ``sockets``, of which ``reread`` gives what it is now.

    ``files`` are watched beside those that the configuration names and the application's folder;
    ``environment`` gives the variables of a child; ``notifier`` hears of the first that is ready.
    """

    def __init__(
        self,
        config: Config,
        sockets: list[OpenSocket],
        reread: Callable[[], Config] | None,
        files: tuple[str, ...],
        environment: Callable[[Config], Mapping[str, str]],
        notifier: Notifier,
    ) -> None:
        self._config = config
        self._sockets = sockets
        self._reread = reread
        self._files = files
        self._environment = environment
        self._notifier = notifier
        self._child: _Child | None = None
        self._number = 0
        self._signals: list[int] = []
        self._received: deque[int] = deque()
        self._changed: deque[set[str]] = deque()
        #: A child is to be started, once there is none.
        self._wants_child = True
        #: Why the application cannot be served.
        self._trouble = ""
        self._greeted = False

    # ---- the loop ------------------------------------------------------------------------

    def run(self) -> int:
        """Until stopped; the exit code."""
        wake, waker = socket.socketpair()
        wake.setblocking(False)
        waker.setblocking(False)
        before = {number: signal.getsignal(number) for number in _SIGNALS}
        old_waker = signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)

        def changed(paths: set[str]) -> None:
            self._changed.append(paths)
            waker.send(b"\0")

        watched = self._watched()
        watcher = Watcher(*watched, changed)
        try:
            for number in _SIGNALS:
                signal.signal(number, lambda number, _: self._received.append(number))
            while self._child is not None or not self._signals:
                if self._child is None and self._wants_child:
                    self._start()
                self._wait(wake)
                self._act(time.monotonic())
                if self._changed:
                    self._reload(set().union(*self._changed))
                    self._changed.clear()
                    if self._watched() != watched:  # the configuration names other files now
                        old, watched = watcher, self._watched()
                        watcher = Watcher(*watched, changed)
                        old.close()
        finally:
            signal.set_wakeup_fd(old_waker)
            for number, handler in before.items():
                signal.signal(number, handler)
            if self._child is not None:  # on the way of an exception
                os.kill(self._child.pid, signal.SIGKILL)
            watcher.close()
            wake.close()
            waker.close()
        return 128 + self._signals[-1] if len(self._signals) > 1 else 0

    def _watched(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Folders and single files."""
        named = {os.path.abspath(path) for path in named_files(self._config)}
        return folders_of_code(self._config), tuple(sorted({*self._files, *named}))

    def _wait(self, wake: socket.socket) -> None:
        poller = select.poll()
        poller.register(wake, select.POLLIN)
        child = self._child
        timeout = None
        if child is not None:
            if not child.channel.ended:
                poller.register(child.channel.sock, select.POLLIN)
            if child.told_at != math.inf:
                late = child.told_at + (_KILL_AFTER if child.forced else _FORCE_AFTER)
                timeout = max(0, math.ceil((late - time.monotonic()) * 1000))
        poller.poll(0 if self._received or self._changed else timeout)
        try:
            while wake.recv(4096):
                pass
        except BlockingIOError:
            pass

    def _act(self, now: float) -> None:
        while self._received:
            self._on_signal(self._received.popleft())
        child = self._child
        if child is None:
            return
        self._hear(child)
        try:
            pid, status = os.waitpid(child.pid, os.WNOHANG)
        except ChildProcessError:  # somebody else has reaped it
            pid, status = child.pid, 0
        if pid:
            self._hear(child)
            self._gone(child, os.waitstatus_to_exitcode(status))
        elif now >= child.told_at + _KILL_AFTER:
            os.kill(child.pid, signal.SIGKILL)
        elif now >= child.told_at + _FORCE_AFTER and not child.forced:
            child.forced = True
            child.channel.order("force")

    # ---- the child -----------------------------------------------------------------------

    def _start(self) -> None:
        self._wants_child = False
        self._number += 1
        config = hasty(self._config)
        argv = None
        if self._trouble:
            config = dataclasses.replace(config, lifespan="on", dev=False, factory=False, mount=())
            argv = ["hyperserver", self._trouble]
        job = Job(
            self._number,
            _STAND_IN if argv else config.app or "",
            config,
            [described(opened) for opened in self._sockets],
            True,
            60.0,
        )
        if argv:
            job.argv = argv
        pid, channel = spawn(job, self._environment(self._config))
        self._child = _Child(pid, channel, is_stand_in=argv is not None)

    def _hear(self, child: _Child) -> None:
        for kind, *arguments in child.channel.reports():
            if kind == "ready" and child.is_stand_in:
                logger.info("answering with 503 until something changes")
            elif kind == "ready":
                logger.info("hyperserver %s, reloading, %s", __version__, arguments[0])
            elif kind == "failed":
                child.failure = str(arguments[1])
            if kind == "ready" and not self._greeted:
                self._greeted = True
                self._notifier.ready("reloading on changes")
                for opened in self._sockets:
                    logger.info("listening on %s", opened.url)

    def _gone(self, child: _Child, code: int) -> None:
        child.channel.close()
        self._child = None
        if self._signals or child.told_at != math.inf:
            return
        how = f"exit code {code}" if code >= 0 else signal.Signals(-code).name
        reason = child.failure or f"the server's process has ended: {how}"
        logger.error("%s", reason)
        if not child.is_stand_in:
            self._trouble = reason
            self._wants_child = True
        elif not self._signals:
            logger.info("waiting for a change")

    def _stop_child(self) -> None:
        child = self._child
        if child is not None and child.told_at == math.inf:
            child.told_at = time.monotonic()
            child.channel.order("drain", False)

    # ---- what happens --------------------------------------------------------------------

    def _on_signal(self, number: int) -> None:
        if number == signal.SIGCHLD:
            return
        name = signal.Signals(number).name
        if name == "SIGHUP":
            self._changed.append(set())
            return
        self._signals.append(number)
        if len(self._signals) == 1:
            logger.info("%s: stopping", name)
            self._stop_child()
        elif self._child is not None:
            logger.warning("%s again: not waiting any longer", name)
            os.kill(self._child.pid, signal.SIGKILL)

    def _reload(self, paths: set[str]) -> None:
        if self._signals:
            return
        shown = [os.path.relpath(path) for path in sorted(paths)] or ["SIGHUP"]
        more = f" and {len(shown) - 1} more" if len(shown) > 1 else ""
        logger.info("%s%s: starting anew", shown[0], more)
        for path in paths:
            _forget_compiled(path)
        self._trouble = ""
        try:
            self._take(self._config if self._reread is None else self._reread())
        except HyperserverError as error:
            logger.error("%s", error)
            self._trouble = str(error)
        self._wants_child = True
        self._stop_child()

    def _take(self, new: Config) -> None:
        """Raises HyperserverError; what was in force then still is."""
        if not new.names_application:
            raise ConfigError("`app`: must be set")
        if new.process != self._config.process:
            changed = dataclasses.replace(new.process, env_file=self._config.process.env_file)
            if changed != self._config.process:
                logger.warning("this needs a restart: process")
        if new.listen != self._config.listen:
            self._greeted = False
            close_all(self._sockets)
            old, self._sockets[:] = self._config.listen, []
            try:
                self._sockets += open_all(new.listen)
            except HyperserverError:
                self._sockets += open_all(old)
                raise
        self._config = new


def hasty(config: Config) -> Config:
    """``config`` with an end that nobody has to wait for."""
    old = config.timeouts
    timeouts = dataclasses.replace(
        old,
        drain=min(old.drain, _DRAIN),
        disconnect_grace=min(old.disconnect_grace, _GRACE),
        shutdown=min(old.shutdown, _SHUTDOWN),
        shutdown_delay=0.0,
    )
    return dataclasses.replace(config, timeouts=timeouts)


def folders_of_code(config: Config) -> tuple[str, ...]:
    """Those that applications are imported from."""
    folders = (config.app_dir, *(mount.app_dir for mount in config.mount))
    return tuple(dict.fromkeys(os.path.abspath(folder) for folder in folders if folder is not None))


def named_files(config: Config) -> Iterator[str]:
    """The files that a configuration names and that are read: certificates, variables."""
    yield from _named(config, describe(Config))


#: Folders, and what we write ourselves.
_NOT_READ = frozenset(
    ("app_dir", "mount.app_dir", "process.chdir", "process.pid_file", "listen.acme_webroot")
)


def _named(table: Any, settings: tuple[Setting, ...]) -> Iterator[str]:
    for each in settings:
        value = getattr(table, each.name)
        if value is None or each.dotted in _NOT_READ:
            continue
        values = value if each.is_list else (value,)
        if each.table is not None:
            for entry in values:
                yield from _named(entry, describe(each.table, each))
        elif each.unit == "path":
            yield from values


def _forget_compiled(path: str) -> None:
    """Bytecode is told from its source by size and whole seconds, in which one may edit twice."""
    if path.endswith(".py"):
        try:
            Path(importlib.util.cache_from_source(path)).unlink(missing_ok=True)
        except (OSError, NotImplementedError):
            pass
