"""The Python API: serve an application inside a running program, or as the whole program."""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable, Mapping
from importlib.util import find_spec
from typing import Any

import anyio
from anyio.abc import TaskStatus

from hyperserver import __version__
from hyperserver.asgi.types import ASGIApplication
from hyperserver.config.load import from_mapping
from hyperserver.config.schema import Config
from hyperserver.errors import ConfigError
from hyperserver.observe.logs import logger
from hyperserver.runtime.listeners import OpenSocket, close_all, open_all
from hyperserver.runtime.worker import CANCEL_PATIENCE, Worker

#: Objects that may come to be, net of those that went, before the garbage collector looks at the
#: young ones.
_COLLECT_AFTER = 10_000
#: CPython's own numbers are below this; a larger one was chosen by somebody.
_DEFAULT_AT_MOST = 2_000


async def serve(
    app: ASGIApplication,
    config: Config | Mapping[str, Any] | None = None,
    *,
    task_status: TaskStatus[list[str]] = anyio.TASK_STATUS_IGNORED,
    shutdown_trigger: Callable[[], Awaitable[object]] | None = None,
) -> None:
    """Serve ``app`` on the running asyncio or trio loop, until cancelled or triggered.

    Made for ``await task_group.start(serve, app, config)`` (anyio) and ``nursery.start`` (trio),
    which return the list of URLs once connections are accepted. Cancelling ends it at once;
    when ``shutdown_trigger()`` returns, it ends gracefully. Touches no signal handlers.

    ``config`` is a ``Config``, or a mapping shaped and written as in a TOML file, for example
    ``{"listen": [{"bind": ["127.0.0.1:0"]}], "timeouts": {"drain": "2s"}}``.

    Raises ConfigError, ListenError, and AppError if the application refuses to start.
    """
    if config is None:
        config = Config()
    elif not isinstance(config, Config):
        config = from_mapping(config)
    worker = Worker(app, config)
    sockets = open_all(config.listen)
    try:
        async with anyio.create_task_group() as tasks:
            if shutdown_trigger is not None:
                tasks.start_soon(_stop_after, shutdown_trigger, worker)
            failure: Exception | None = None
            try:
                await worker.run(
                    sockets, on_ready=lambda: task_status.started([s.url for s in sockets])
                )
            except Exception as error:  # noqa: BLE001 - raised below, outside the task group
                failure = error
            tasks.cancel_scope.cancel()
        if failure is not None:
            raise failure
    finally:
        close_all(sockets)


async def _stop_after(trigger: Callable[[], Awaitable[object]], worker: Worker) -> None:
    await trigger()
    worker.stop()


def run(app: ASGIApplication | str, config: Config | Mapping[str, Any] | None = None) -> int:
    """Serve ``app`` as the whole program, until SIGINT or SIGTERM; returns the exit code.

    ``app`` is an application, or ``"package.module:attribute"`` of one. Chooses the event loop
    that ``config.worker`` names. 0 after a clean end, 1 if requests had to be cut off; a second
    signal forces the end (128 + its number). Raises what ``serve`` raises.
    """
    from hyperserver.runtime.load import load_app

    if config is None:
        config = Config()
    elif not isinstance(config, Config):
        config = from_mapping(config)
    backend, options = choose_loop(config.worker)
    if isinstance(app, str):
        app = load_app(app, config.app_dir, factory=config.factory)
    sockets = open_all(config.listen)
    collect_less_often()
    try:
        return anyio.run(_main, app, config, sockets, backend=backend, backend_options=options)
    finally:
        close_all(sockets)


def collect_less_often() -> None:
    """Let the garbage collector run every some hundred requests, not every some dozen.

    A request in progress holds about fifteen objects that it counts. CPython's threshold of 700 is
    made for programs that have few objects at a time: with 256 requests in progress, looking for
    cycles among them took an eighth of all CPU. A threshold that was set to something else is left
    alone.
    """
    young, *older = gc.get_threshold()
    if 0 < young <= _DEFAULT_AT_MOST:
        gc.set_threshold(_COLLECT_AFTER, *older)


def choose_loop(worker: str) -> tuple[str, dict[str, Any]]:
    """anyio's backend name and options for a worker type. Raises ConfigError."""
    if worker == "auto":
        worker = "uvloop" if find_spec("uvloop") is not None else "asyncio"
    elif worker != "asyncio" and find_spec(worker) is None:
        raise ConfigError(f"worker: {worker} is not installed; run `pip install {worker}`")
    if worker == "trio":
        return "trio", {}
    return "asyncio", {"use_uvloop": worker == "uvloop"}


async def _main(app: ASGIApplication, config: Config, sockets: list[OpenSocket]) -> int:
    worker = Worker(app, config)
    signals: list[int] = []
    is_ready = False

    def ready() -> None:
        nonlocal is_ready
        is_ready = True
        engines = worker.engines
        logger.info(
            "hyperserver %s, %s, HTTP/1.1 by %s %s, HTTP/2 by %s %s, WebSocket by %s %s, Python %s",
            __version__,
            worker.backend.name,
            engines.http1_name,
            engines.http1_version,
            engines.http2_name,
            engines.http2_version,
            engines.websocket_name,
            engines.websocket_version,
            sys.version.split()[0],
        )
        for opened in sockets:
            logger.info("listening on %s", opened.url)

    def stuck() -> None:
        close_all(sockets)
        sys.stdout.flush()
        os._exit(128 + signals[-1] if len(signals) > 1 else 1)

    def on_signal(number: int) -> None:
        name = signal.Signals(number).name
        signals.append(number)
        if not is_ready:
            logger.info("%s: cancelling the startup", name)
            tasks.cancel_scope.cancel()
        elif len(signals) == 1:
            logger.info("%s: finishing what is in flight", name)
            worker.stop()
        else:
            logger.warning("%s again: not waiting any longer", name)
            worker.force()

    clean = False
    failure: Exception | None = None
    async with anyio.create_task_group() as tasks:
        await tasks.start(_watch_signals, on_signal)
        try:
            clean = await worker.run(sockets, on_ready=ready, on_stuck=stuck)
        except Exception as error:  # noqa: BLE001 - raised below, outside the task group
            failure = error
        tasks.cancel_scope.cancel()
    if failure is not None:
        raise failure
    code = 128 + signals[-1] if len(signals) > 1 else 0 if clean or not is_ready else 1
    leave_soon(code)
    return code


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


async def _watch_signals(
    on_signal: Callable[[int], None],
    *,
    task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED,
) -> None:
    """SIGINT and SIGTERM: the first drains, the second forces; during startup, one is enough."""
    if sys.platform == "win32":  # no loop there takes signal handlers; Ctrl-C cancels instead
        task_status.started()
        return
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as received:
        task_status.started()
        async for number in received:
            on_signal(number)
