"""The process of one worker among several, as its supervisor has started it."""

from __future__ import annotations

import faulthandler
import logging
import os
import signal
import socket
import sys
import traceback
from typing import NoReturn

import anyio

from hyperserver.asgi.types import Application
from hyperserver.config.schema import Config
from hyperserver.errors import HyperserverError
from hyperserver.observe.logs import configure, logger
from hyperserver.runtime.channel import Lower
from hyperserver.runtime.garbage import collect_less_often
from hyperserver.runtime.load import load_app
from hyperserver.runtime.serve import choose_loop
from hyperserver.runtime.single import leave_soon
from hyperserver.runtime.spawn import HELD, Job, inherited
from hyperserver.runtime.wear import Wear
from hyperserver.runtime.worker import Worker


def main(descriptor: int) -> NoReturn:
    """A fresh interpreter begins here."""
    channel = Lower(socket.socket(fileno=descriptor))
    channel.sock.set_inheritable(False)
    try:
        (job,) = channel.first_order()
    except EOFError:
        sys.exit(1)
    sys.path[:] = job.path
    sys.argv[:] = job.argv
    sys.exit(work(job, channel))


def work(job: Job, channel: Lower, app: Application | None = None) -> int:
    """Serve until told to stop; the exit code. ``app`` is given where it has been loaded."""
    _take_signals()
    set_log_level(job.config, job.speaks)
    try:
        if app is None:
            app = load_app(job.app, job.config.app_dir, factory=job.config.factory)
        backend, options = choose_loop(job.config.worker)
        collect_less_often()
        code = anyio.run(_serve, app, job, channel, backend=backend, backend_options=options)
    except HyperserverError as error:
        channel.report("failed", error.exit_code, str(error))
        return error.exit_code
    except Exception:  # noqa: BLE001 - whatever it is, one process tells of it
        channel.report("failed", 1, traceback.format_exc().rstrip())
        return 1
    leave_soon(code)
    return code


def _take_signals() -> None:
    """What concerns all workers is the supervisor's to act on, whoever else has got it.

    With a handler and not ignored, lest programs that the application starts ignore them, too.
    """
    signal.set_wakeup_fd(-1)
    for number in HELD:
        signal.signal(number, lambda *_: None)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    # Shows where a loop stands still; what ends the process then is the supervisor.
    faulthandler.register(signal.SIGQUIT, all_threads=True, chain=False)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD)


def set_log_level(config: Config, speaks: bool) -> None:
    """One of several workers tells what holds for all of them."""
    configure(config.log.level, pretty=config.dev)
    if not speaks and logger.level == logging.INFO:
        logger.setLevel(logging.WARNING)


async def _serve(app: Application, job: Job, channel: Lower) -> int:
    sockets = [inherited(*one) for one in job.sockets]
    worker = Worker(app, job.config)
    worker.speaks = job.speaks
    worker.engines.load()  # not while the first of many connections waits
    life = _Life(worker, channel, job.beat)
    failure: Exception | None = None
    clean = False
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(life.take_orders)
        tasks.start_soon(life.watch_signal)
        try:
            clean = await worker.run(sockets, on_ready=life.ready, on_stuck=life.stuck)
        except Exception as error:  # noqa: BLE001 - raised below, outside the task group
            failure = error
        tasks.cancel_scope.cancel()
    if failure is not None:
        raise failure
    return 0 if clean else 1


class _Life:
    """What passes between ``worker`` and its supervisor."""

    def __init__(self, worker: Worker, channel: Lower, interval: float) -> None:
        self._worker = worker
        self._channel = channel
        self._interval = interval
        self._next_beat = 0.0
        self._leaving = False
        now = anyio.current_time()
        self._wear = Wear(worker.config.recycle, now)
        self._is_worn = False
        worker.on_sweep = self.sweep
        worker.count(self._wear.add if worker.config.recycle.max_requests else None)

    def ready(self) -> None:
        self._channel.report("ready", self._worker.describe())

    def stuck(self) -> None:
        sys.stdout.flush()
        os._exit(1)

    def sweep(self, now: float) -> None:
        """The loop turns: say so, which is what makes it a sign of life."""
        if now >= self._next_beat:
            self._next_beat = now + self._interval
            self._channel.report("beat")
        if not (self._is_worn or self._leaving) and (why := self._wear.due(now)):
            self._is_worn = True
            self._channel.report("worn", why)

    async def take_orders(self) -> None:
        """The supervisor's; its end is the order to stop."""
        worker = self._worker
        try:
            while True:
                await anyio.wait_readable(self._channel.sock)
                for order, *arguments in self._channel.orders():
                    self._obey(order, *arguments)
        except EOFError:
            logger.warning("the supervisor is gone: finishing what is in flight")
            self._leaving = True
            worker.stop()

    def _obey(self, order: str, *arguments: object) -> None:
        worker = self._worker
        if order == "drain":
            self._leaving = True
            worker.stop(rolling=bool(arguments[0]))
        elif order == "force":
            worker.force()
        elif order == "apply":
            (config,) = arguments
            assert isinstance(config, Config)
            set_log_level(config, worker.speaks)
            self._wear.change(config.recycle)
            worker.count(self._wear.add if config.recycle.max_requests else None)
            worker.apply(config)

    async def watch_signal(self) -> None:
        """SIGTERM to one worker drains it; the supervisor puts another in its place."""
        with anyio.open_signal_receiver(signal.SIGTERM) as received:
            async for _ in received:
                if not self._leaving:
                    self._leaving = True
                    self._channel.report("leaving")
                    self._worker.stop(rolling=True)
