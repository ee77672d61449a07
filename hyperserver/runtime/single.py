"""One worker that is the whole program: its signals, its log and its exit code."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable

import anyio
import anyio.to_thread
from anyio.abc import TaskStatus

from hyperserver import __version__
from hyperserver.asgi.types import Application
from hyperserver.config.schema import Config
from hyperserver.observe.logs import logger
from hyperserver.runtime.listeners import OpenSocket
from hyperserver.runtime.notify import Notifier
from hyperserver.runtime.reload import Reloading
from hyperserver.runtime.worker import CANCEL_PATIENCE, Worker


async def serve_alone(
    app: Application,
    config: Config,
    sockets: list[OpenSocket],
    notifier: Notifier,
    reread: Callable[[], Config] | None,
    before_exit: Callable[[], None],
) -> int:
    """Serve until a signal; the exit code. Raises AppError, ConfigError.

    ``before_exit`` is called where the process has to be ended at once.
    """
    return await _Single(app, config, sockets, notifier, reread, before_exit).run()


class _Single:
    def __init__(
        self,
        app: Application,
        config: Config,
        sockets: list[OpenSocket],
        notifier: Notifier,
        reread: Callable[[], Config] | None,
        before_exit: Callable[[], None],
    ) -> None:
        self._worker = Worker(app, config)
        self._worker.on_sweep = notifier.beat
        self._sockets = sockets
        self._notifier = notifier
        self._reloading = Reloading(config, reread)
        self._reread = reread
        self._before_exit = before_exit
        self._signals: list[int] = []
        self._is_ready = False
        self._hangup = anyio.Event()

    async def run(self) -> int:
        clean = False
        failure: Exception | None = None
        async with anyio.create_task_group() as tasks:
            self._tasks = tasks
            await tasks.start(self._watch_signals)
            tasks.start_soon(self._reload_forever)
            try:
                clean = await self._worker.run(
                    self._sockets, on_ready=self._ready, on_stuck=self._stuck
                )
            except Exception as error:  # noqa: BLE001 - raised below, outside the task group
                failure = error
            tasks.cancel_scope.cancel()
        if failure is not None:
            raise failure
        signals = self._signals
        code = 128 + signals[-1] if len(signals) > 1 else 0 if clean or not self._is_ready else 1
        leave_soon(code)
        return code

    def _ready(self) -> None:
        self._is_ready = True
        logger.info("hyperserver %s, %s", __version__, self._worker.describe())
        for opened in self._sockets:
            logger.info("listening on %s", opened.url)
        self._notifier.ready("serving")

    def _stuck(self) -> None:
        self._before_exit()
        sys.stdout.flush()
        os._exit(128 + self._signals[-1] if len(self._signals) > 1 else 1)

    # ---- signals -------------------------------------------------------------------------

    async def _watch_signals(
        self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED
    ) -> None:
        """SIGINT and SIGTERM: the first drains, the second forces; during startup, one is enough.

        SIGHUP ends a process that has nothing to read again, like any other.
        """
        if sys.platform == "win32":  # no loop there takes signal handlers; Ctrl-C cancels instead
            task_status.started()
            return
        numbers = [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1]
        if self._reread is not None or any(opened.tls for opened in self._sockets):
            numbers.append(signal.SIGHUP)
        with anyio.open_signal_receiver(*numbers) as received:
            task_status.started()
            async for number in received:
                self._on_signal(number)

    def _on_signal(self, number: signal.Signals) -> None:
        worker = self._worker
        if number.name == "SIGHUP":
            self._hangup.set()
            return
        if number.name == "SIGUSR1":
            logger.info("SIGUSR1: there is no log file to open again")
            return
        self._signals.append(number)
        if not self._is_ready:
            logger.info("%s: cancelling the startup", number.name)
            self._tasks.cancel_scope.cancel()
        elif len(self._signals) == 1:
            logger.info("%s: finishing what is in flight", number.name)
            self._notifier.stopping()
            worker.stop(delay=worker.config.timeouts.shutdown_delay)
        else:
            logger.warning("%s again: not waiting any longer", number.name)
            worker.force()

    async def _reload_forever(self) -> None:
        while True:
            await self._hangup.wait()
            self._hangup = anyio.Event()
            await self._reload()

    async def _reload(self) -> None:
        """Take what can change while serving. The rest has no second process to be tried in."""
        if self._reread is None:
            logger.info("SIGHUP: reading the certificates again")
            self._worker.apply(self._worker.config)
            return
        logger.info("SIGHUP: reading the configuration again")
        self._notifier.reloading()
        changes = await anyio.to_thread.run_sync(self._reloading.read, 1)
        if changes is not None:
            self._reloading.settled(0)
            config = self._reloading.config
            late = [name for name in changes.live if name.startswith(("workers", "recycle."))]
            live = [name for name in changes.live if name not in late]
            if "log.level" in live:
                logger.setLevel(config.log.level.upper())
            self._worker.apply(config)
            logger.info("applied: %s", ", ".join(live) or "nothing else has changed")
            if late or changes.worker:
                needed = ", ".join((*changes.worker, *late))
                logger.warning("this needs a restart, or `workers` = 2 or more: %s", needed)
        self._notifier.ready("serving")


def leave_soon(code: int) -> None:
    """End the process with ``code`` in a moment if it does not end by itself.

    An application's thread cannot be cancelled, and both asyncio and the interpreter wait for
    theirs. While threads other than ours are at work, stopping would be bounded by them.
    """

    def leave() -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)

    if any(t is not threading.main_thread() and not t.daemon for t in threading.enumerate()):
        timer = threading.Timer(CANCEL_PATIENCE, leave)
        timer.daemon = True
        timer.start()
