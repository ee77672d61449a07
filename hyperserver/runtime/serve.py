"""The Python API: serve an application inside a running program, or as the whole program."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from typing import Any

import anyio
from anyio.abc import TaskStatus

from hyperserver.asgi.types import Application
from hyperserver.config.load import from_mapping, with_absolute_paths
from hyperserver.config.schema import Config
from hyperserver.errors import AppError, ConfigError
from hyperserver.observe.logs import logger
from hyperserver.protocol.negotiate import PassedOver, choose_engines
from hyperserver.runtime.garbage import collect_less_often
from hyperserver.runtime.init import is_init, leave_init_behind
from hyperserver.runtime.listeners import OpenSocket, close_all, open_all
from hyperserver.runtime.log_files import open_log
from hyperserver.runtime.notify import Notifier
from hyperserver.runtime.process import PidFile, look_up, read_env_file, settle
from hyperserver.runtime.worker import Worker

#: Variables that follow from `process.user`, and are in no file.
_OF_A_USER = {"USER", "LOGNAME", "HOME"}


async def serve(
    app: Application | None,
    config: Config | Mapping[str, Any] | None = None,
    *,
    task_status: TaskStatus[list[str]] = anyio.TASK_STATUS_IGNORED,
    shutdown_trigger: Callable[[], Awaitable[object]] | None = None,
) -> None:
    """Serve ``app`` on the running asyncio or trio loop, until cancelled or triggered; with it the
    applications that the configuration mounts, or these alone where it is None.

    Made for ``await task_group.start(serve, app, config)`` (anyio) and ``nursery.start`` (trio),
    which return the list of URLs once connections are accepted. Cancelling ends it at once;
    when ``shutdown_trigger()`` returns, it ends gracefully. Touches no signal handlers, and nothing
    of the process: ``workers``, ``process`` and ``reload`` are for ``run``.

    ``config`` is a ``Config``, or a mapping shaped and written as in a TOML file, for example
    ``{"listen": [{"bind": ["127.0.0.1:0"]}], "timeouts": {"drain": "2s"}}``.

    Raises ConfigError, ListenError, and AppError if the application refuses to start.
    """
    if config is None:
        config = Config()
    elif not isinstance(config, Config):
        config = from_mapping(config)
    if config.workers != 1:
        logger.warning("serve() is one worker; `workers` is for run() and the command line")
    worker = Worker(_loaded(app, config), config)
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


def run(
    app: Application | str | None,
    config: Config | Mapping[str, Any] | None = None,
    *,
    reread: Callable[[], Config] | None = None,
    files: tuple[str, ...] = (),
) -> int:
    """Serve ``app`` as the whole program, until SIGINT or SIGTERM; returns the exit code.

    ``app`` is an application, or ``"package.module:attribute"`` of one, which several workers
    need, or None where the configuration mounts some. Chooses the event loop that ``config.worker`` names. 0 after a clean end, 1 if requests
    had to be cut off; a second signal forces the end (128 + its number). ``reread`` gives the
    configuration anew, for SIGHUP, and has it from ``files``. Raises what ``serve`` raises.
    """
    if config is None:
        config = Config()
    elif not isinstance(config, Config):
        config = from_mapping(config)
    choose_loop(config.worker)
    reloads = _reloads(app, config)
    supervised = not reloads and _is_supervised(app, config)
    if is_init() and not supervised:
        leave_init_behind()
    identity = look_up(config.process)
    pid_file = None if config.process.pid_file is None else PidFile(config.process.pid_file)
    sockets: list[OpenSocket] = []

    def clear() -> None:
        close_all(sockets)
        if pid_file is not None:
            pid_file.remove()

    try:
        sockets += open_all(config.listen)
        if config.process.chdir is not None:
            config = with_absolute_paths(config)
        given = dict(os.environ)
        settle(config.process, identity)
        if config.log.file is not None:
            open_log(config)  # as who we are now; what went before is for who has started us
        notifier = Notifier.from_environment()
        environment = _environments(config, given)
        if reloads:
            from hyperserver.runtime.reloader import Reloader

            config = _with_app(app, config)
            parts = (reread, files, environment, notifier)
            return Reloader(config, sockets, *parts).run()
        if supervised:
            return _supervise(app, config, sockets, notifier, reread, environment)
        from hyperserver.runtime.single import serve_alone

        backend, options = choose_loop(config.worker)
        loaded = _loaded(app, config)
        collect_less_often()
        main = partial(serve_alone, loaded, config, sockets, notifier, reread, clear)
        return anyio.run(main, backend=backend, backend_options=options)
    finally:
        clear()


def _reloads(app: Application | str | None, config: Config) -> bool:
    """Whether a parent is to watch files and start a server anew. Raises ConfigError."""
    by_name = app is None or isinstance(app, str)
    if config.reload and not by_name:
        raise ConfigError(
            "`reload`: an object cannot be imported again; name the application as "
            '"package.module:attribute"'
        )
    if config.reload and not hasattr(os, "posix_spawn"):
        raise ConfigError("`reload`: this platform cannot hand sockets on to a fresh process")
    wanted = config.reload or config.dev
    return wanted and by_name and hasattr(os, "posix_spawn")


def _is_supervised(app: Application | str | None, config: Config) -> bool:
    """Whether there is to be a process beside those that serve. Raises ConfigError."""
    keys = ["workers"] * (config.workers != 1) + ["preload"] * config.preload
    keys += ["recycle"] * config.recycle.is_set
    if keys and not hasattr(os, "fork"):
        raise ConfigError(f"`{keys[0]}`: this platform has one worker, which is never replaced")
    if keys and not config.preload and not (app is None or isinstance(app, str)):
        raise ConfigError(
            f"`{keys[0]}`: a fresh process cannot be given an object; name the application as "
            '"package.module:attribute", or set `preload` = true'
        )
    return bool(keys)


def _loaded(app: Application | str | None, config: Config) -> Application:
    if app is not None and not (isinstance(app, str) or config.mount):
        return app
    if app is None and not config.mount:
        raise AppError("there is no application to serve: give one, or mount some")
    from hyperserver.runtime.mounts import load_apps

    return load_apps(app, config)


def _with_app(app: Application | str | None, config: Config) -> Config:
    """``config`` with the name that was given, by which processes import the application."""
    return replace(config, app=app) if isinstance(app, str) else config


def _supervise(
    app: Application | str | None,
    config: Config,
    sockets: list[OpenSocket],
    notifier: Notifier,
    reread: Callable[[], Config] | None,
    environment: Callable[[Config], Mapping[str, str]],
) -> int:
    from hyperserver.runtime.supervisor import Supervisor

    return Supervisor(
        _with_app(app, config),
        sockets,
        app=_loaded(app, config) if config.preload else None,
        reread=reread,
        environment=environment,
        notifier=notifier,
    ).run()


def _environments(
    config: Config, given: Mapping[str, str]
) -> Callable[[Config], Mapping[str, str]]:
    """Gives the variables of a fresh worker, whose file of variables may be another than the first
    was; ``given`` are those that were there before.
    """
    first = config.process.env_file

    def environment(config: Config) -> Mapping[str, str]:
        old = set() if first is None else set(os.environ) - set(given) - _OF_A_USER
        file = config.process.env_file
        new = {} if file is None else read_env_file(file)
        kept = {name: value for name, value in os.environ.items() if name not in old}
        return new | kept

    return environment


def choose_loop(worker: str) -> tuple[str, dict[str, Any]]:
    """anyio's backend name and options for a worker type. Raises ConfigError."""
    if worker == "auto":
        worker = "uvloop" if find_spec("uvloop") is not None else "asyncio"
    elif worker != "asyncio" and find_spec(worker) is None:
        raise ConfigError(f"`worker`: {worker} is not installed; run `pip install {worker}`")
    if worker == "trio":
        return "trio", {}
    return "asyncio", {"use_uvloop": worker == "uvloop"}


def check_libraries(config: Config) -> tuple[str, list[ConfigError], list[PassedOver]]:
    """The libraries that the configuration chooses, what this installation lacks of them, and the
    engines that it would rather have.
    """

    def loop() -> str:
        name, options = choose_loop(config.worker)
        return "uvloop" if options.get("use_uvloop") else name

    def engines() -> str:
        names = (config.http1.engine, config.http2.engine, config.websocket.engine)
        chosen = choose_engines(*names)
        better.extend(chosen.passed_over)
        return chosen.load()

    found: list[str] = []
    missing: list[ConfigError] = []
    better: list[PassedOver] = []
    for choose in (loop, engines):
        try:
            found.append(choose())
        except ConfigError as error:
            missing.append(error)
    return ", ".join(found), missing, better
