"""The parent of several workers: holds the sockets, starts workers, and carries out the fleet's
decisions. There is no event loop in it, and unless it preloads none of the application's code.

    signals, reports, exits ──► Fleet (what ought to be) ──► start, drain, kill
"""

from __future__ import annotations

import math
import os
import select
import signal
import socket
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from hyperserver import __version__
from hyperserver.asgi.types import Application
from hyperserver.config.schema import Config
from hyperserver.errors import AppError, ConfigError, HyperserverError, UsageError
from hyperserver.observe.logs import logger
from hyperserver.runtime.channel import Upper
from hyperserver.runtime.cpus import usable_cpus
from hyperserver.runtime.fleet import Drain, Fleet, Force, Kill, Pace, Say, Start
from hyperserver.runtime.listeners import OpenSocket
from hyperserver.runtime.log_files import open_log, reopen
from hyperserver.runtime.notify import Notifier
from hyperserver.runtime.reload import Reloading
from hyperserver.runtime.spawn import Job, described, fork, spawn
from hyperserver.runtime.worker import CANCEL_PATIENCE

#: Signs of life in the time after which silence is taken for death.
_BEATS = 4
#: Seconds for a stuck worker to show where, before it is killed.
_SHOW = 0.5
#: Seconds that the end of a worker may take beyond all that is bounded by configuration.
_SLACK = 2.0

_SIGNALS = tuple(
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGTTIN", "SIGTTOU", "SIGUSR1", "SIGCHLD")
    if hasattr(signal, name)
)


def count_of(config: Config) -> int:
    return config.workers or usable_cpus()


def pace_of(config: Config) -> Pace:
    timeouts = config.timeouts
    ending = timeouts.drain + timeouts.shutdown + 2 * CANCEL_PATIENCE + _SLACK
    # Importing the application has no bound of its own, yet must not hold up a reload for ever.
    return Pace(2 * timeouts.startup + _SLACK, timeouts.heartbeat, ending)


@dataclass(slots=True)
class _Process:
    number: int
    generation: int
    pid: int
    channel: Upper
    #: It has served, so that its end by force cuts something off.
    has_served: bool = False
    failure: tuple[int, str] | None = None
    kill_at: float = math.inf


class Supervisor:
    """Serves ``config`` by several processes, on ``sockets``.

    ``app`` is the application where that is preloaded; ``reread`` gives the configuration as it is
    now, for SIGHUP; ``environment`` gives the variables of a fresh worker.
    """

    def __init__(
        self,
        config: Config,
        sockets: list[OpenSocket],
        *,
        app: Application | None = None,
        reread: Callable[[], Config] | None = None,
        environment: Callable[[Config], Mapping[str, str]] = lambda _: os.environ,
        notifier: Notifier | None = None,
    ) -> None:
        self._sockets = sockets
        self._app = app
        self._reloading = Reloading(config, reread)
        self._environment = environment
        self._notifier = notifier or Notifier()
        self._fleet = Fleet(count_of(config), pace_of(config))
        self._processes: dict[int, _Process] = {}
        self._poller = select.poll()
        self._readers: dict[int, Callable[[], None]] = {}
        self._received: deque[int] = deque()
        #: SIGINT and SIGTERM, of which the first drains.
        self._signals: list[int] = []
        self._stop_at = math.inf
        self._greeted = False
        self._announces = False
        self._failure: tuple[int, str] | None = None
        self._was_cut = False

    # ---- the loop ------------------------------------------------------------------------

    def run(self) -> int:
        """Until stopped; the exit code. Raises HyperserverError if no worker can be had."""
        wake, waker = socket.socketpair()
        wake.setblocking(False)
        waker.setblocking(False)
        before = {number: signal.getsignal(number) for number in _SIGNALS}
        old_waker = signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
        try:
            for number in _SIGNALS:
                signal.signal(number, lambda number, _: self._received.append(number))
            self._watch(wake, partial(_empty, wake))
            fleet = self._fleet
            fleet.begin(time.monotonic())
            while not fleet.over:
                self._carry_out()
                self._wait()
                self._act(time.monotonic())
        finally:
            signal.set_wakeup_fd(old_waker)
            for number, handler in before.items():
                signal.signal(number, handler)
            for process in self._processes.values():  # on the way of an exception
                os.kill(process.pid, signal.SIGKILL)
            wake.close()
            waker.close()
        return self._end()

    def _act(self, now: float) -> None:
        while self._received:
            number = self._received.popleft()
            if number != signal.SIGCHLD:
                self._on_signal(number, now)
        self._reap(now)
        if now >= self._stop_at:
            self._stop_at = math.inf
            self._fleet.stop(now)
        for process in list(self._processes.values()):
            if now >= process.kill_at:
                process.kill_at = math.inf
                os.kill(process.pid, signal.SIGKILL)
        self._fleet.tick(now)
        self._announce()

    def _wait(self) -> None:
        times = [self._stop_at, *(process.kill_at for process in self._processes.values())]
        if (look := self._fleet.next_look()) is not None:
            times.append(look)
        seconds = min(times) - time.monotonic()
        timeout = None if seconds == math.inf else max(0, math.ceil(seconds * 1000))
        if self._received:
            timeout = 0
        for number, _ in self._poller.poll(timeout):
            if (read := self._readers.get(number)) is not None:
                read()

    def _watch(self, sock: socket.socket, read: Callable[[], None]) -> None:
        self._readers[sock.fileno()] = read
        self._poller.register(sock, select.POLLIN)

    def _unwatch(self, sock: socket.socket) -> None:
        if self._readers.pop(sock.fileno(), None) is not None:
            self._poller.unregister(sock)

    def _end(self) -> int:
        if self._fleet.failed:
            code, message = self._failure or (AppError.exit_code, "no worker could be started")
            kinds = {error.exit_code: error for error in (UsageError, AppError, ConfigError)}
            raise kinds.get(code, HyperserverError)(message)
        if len(self._signals) > 1:
            return 128 + self._signals[-1]
        return 1 if self._was_cut else 0

    # ---- carrying out --------------------------------------------------------------------

    def _carry_out(self) -> None:
        while actions := self._fleet.take_actions():
            for action in actions:
                if isinstance(action, Start):
                    self._start(action)
                elif isinstance(action, Say):
                    logger.log(action.level, "%s", action.text)
                elif (process := self._processes.get(action.number)) is None:
                    pass  # could not be started
                elif isinstance(action, Drain):
                    process.channel.order("drain", action.rolling)
                elif isinstance(action, Force):
                    process.channel.order("force")
                else:
                    self._kill(process, action)

    def _start(self, start: Start) -> None:
        config = self._reloading.configs[start.generation]
        beat = config.timeouts.heartbeat / _BEATS
        if self._notifier.beat_interval is not None:
            beat = min(beat, self._notifier.beat_interval / 2)
        speaks = start.slot == 0
        try:
            sockets = [described(opened.for_slot(start.slot)) for opened in self._sockets]
            job = Job(start.number, config.app or "", config, sockets, speaks, beat)
            if self._app is None:
                pid, channel = spawn(job, self._environment(config))
            else:
                from hyperserver.runtime.child import work

                others = [process.channel for process in self._processes.values()]
                pid, channel = fork(job, others, partial(work, app=self._app))
        except (OSError, HyperserverError) as error:
            what = (error.strerror if isinstance(error, OSError) else "") or str(error)
            message = f"cannot start a worker: {what}"
            self._failure = self._failure or (1, message)
            self._fleet.exited(start.number, message, time.monotonic())
            return
        process = self._processes[start.number] = _Process(
            start.number, start.generation, pid, channel
        )
        self._watch(channel.sock, partial(self._read, process))

    def _kill(self, process: _Process, kill: Kill) -> None:
        if kill.stuck:
            os.kill(process.pid, signal.SIGQUIT)  # it shows where, see child
            process.kill_at = time.monotonic() + _SHOW
        else:
            os.kill(process.pid, signal.SIGKILL)

    # ---- workers -------------------------------------------------------------------------

    def _read(self, process: _Process) -> None:
        now = time.monotonic()
        fleet = self._fleet
        number = process.number
        for kind, *arguments in process.channel.reports():
            fleet.beat(number, now)
            if kind == "beat":
                self._notifier.beat(now)
            elif kind == "ready":
                process.has_served = True
                self._greet(str(arguments[0]))
                logger.info("worker %d is ready, process %d", number, process.pid)
                fleet.ready(number, now)
            elif kind == "worn":
                fleet.worn(number, str(arguments[0]), now)
            elif kind == "leaving":
                fleet.leaving(number, now)
            elif kind == "failed":
                process.failure = (int(arguments[0]), str(arguments[1]))
        if process.channel.ended:
            self._unwatch(process.channel.sock)

    def _reap(self, now: float) -> None:
        """Take leave of processes that have ended: also of strangers, where we are process 1."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            for process in self._processes.values():
                if process.pid == pid:
                    self._gone(process, os.waitstatus_to_exitcode(status), now)
                    break

    def _gone(self, process: _Process, code: int, now: float) -> None:
        self._read(process)  # its last words
        self._unwatch(process.channel.sock)
        process.channel.close()
        del self._processes[process.number]
        how = f"ended with exit code {code}"
        if code < 0:
            how = f"was killed by {_signal_name(-code)}"
        message = process.failure[1] if process.failure else ""
        fleet = self._fleet
        if fleet.stopping and process.has_served and code != 0:
            self._was_cut = True
        if fleet.proved is None and not fleet.stopping:
            about = f"worker {process.number} {how} before it was ready"
            self._failure = self._failure or process.failure or (AppError.exit_code, about)
            if process.failure and process.failure[0] == ConfigError.exit_code:
                fleet.give_up(now)  # it would not be otherwise for any other worker
        fleet.exited(process.number, how, now, message)

    def _greet(self, engines: str) -> None:
        """The first worker is ready: connections are served from now on."""
        if self._greeted:
            return
        self._greeted = True
        count = self._fleet.count
        workers = "1 worker" if count == 1 else f"{count} workers"
        logger.info("hyperserver %s, %s, %s", __version__, workers, engines)
        for opened in self._sockets:
            logger.info("listening on %s", opened.url)
        if self._failure is not None:
            logger.error("%s", self._failure[1])
            self._failure = None
        self._notifier.ready(f"{workers}")

    def _announce(self) -> None:
        """A reload has been carried out, or given up."""
        if self._announces and self._fleet.is_settled:
            self._announces = False
            self._reloading.settled(self._fleet.generation)
            logger.info("%d workers are ready", self._fleet.count)
            self._notifier.ready(f"{self._fleet.count} workers")

    # ---- signals -------------------------------------------------------------------------

    def _tell_all(self, order: str) -> None:
        for process in self._processes.values():
            process.channel.order(order)

    def _on_signal(self, number: int, now: float) -> None:
        name = _signal_name(number)
        if number in (signal.SIGINT, signal.SIGTERM):
            self._stop(number, name, now)
        elif self._signals:
            logger.info("%s: the server is stopping", name)
        elif name == "SIGHUP":
            self._reload(now)
        elif name == "SIGUSR1":
            reopen()
            self._tell_all("reopen")
            logger.info("SIGUSR1: opened the log files again")
        else:
            count = self._fleet.count + (1 if name == "SIGTTIN" else -1)
            if count > 0:
                self._resize(count, now)
            logger.info("%s: %d worker(s)", name, self._fleet.count)

    def _stop(self, number: int, name: str, now: float) -> None:
        self._signals.append(number)
        if len(self._signals) > 1:
            logger.warning("%s again: not waiting any longer", name)
            self._stop_at = math.inf
            self._fleet.force(now)
        elif not self._greeted:
            logger.info("%s: cancelling the startup", name)
            self._fleet.stop(now)
        else:
            logger.info("%s: finishing what is in flight", name)
            self._notifier.stopping()
            self._stop_at = now + self._reloading.config.timeouts.shutdown_delay
            self._tell_all("leaving")

    def _resize(self, count: int, now: float) -> None:
        self._fleet.resize(count, now)
        for opened in self._sockets:
            opened.keep_slots(count)

    def _reload(self, now: float) -> None:
        logger.info("SIGHUP: reading the configuration again")
        self._notifier.reloading()
        self._announces = True  # also where nothing comes of it
        before = self._reloading.config
        changes = self._reloading.read(self._fleet.generation + 1)
        if changes is None:
            return
        config = self._reloading.config
        open_log(config)
        self._fleet.pace = pace_of(config)
        if changes.live:
            for process in self._processes.values():
                process.channel.order("apply", self._reloading.configs[process.generation])
            if config.workers != before.workers:
                self._resize(count_of(config), now)
            logger.info("applied: %s", ", ".join(changes.live))
        if changes.worker or not changes.live:
            self._fleet.reload(now)
            what = f" for {', '.join(changes.worker)}" if changes.worker else ""
            logger.info("replacing the workers one by one%s", what)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _empty(sock: socket.socket) -> None:
    try:
        while sock.recv(4096):
            pass
    except BlockingIOError:
        pass
