"""Running the application's lifespan: one task that outlives every request; of several applications,
one for each.
"""

from __future__ import annotations

import math
from typing import Any

import anyio
from anyio.abc import TaskGroup

from hyperserver.asgi.dispatch import Dispatcher
from hyperserver.asgi.lifespan import LifespanCycle, LifespanState
from hyperserver.asgi.types import ASGIApplication, Message
from hyperserver.errors import AppError
from hyperserver.observe.logs import logger

_WAITING = (LifespanState.STARTING, LifespanState.STOPPING)


class Lifespan:
    """``startup`` before the first connection, ``shutdown`` after the last.

    ``mode`` is ``auto``, ``on`` or ``off``; ``state`` is the application's namespace, None where
    it has no lifespan. ``place`` tells one of several by where it is mounted.
    """

    def __init__(self, app: ASGIApplication, mode: str, place: str = "") -> None:
        self._app = app
        self._who = f"the application at {place}" if place else "the application"
        #: Before what is its own.
        self._whose = f"{self._who}: its" if place else "the application's"
        self._mode = mode
        self._cycle = LifespanCycle()
        self._changed = anyio.Event()
        self._failure: BaseException | None = None

    @property
    def state(self) -> dict[str, Any] | None:
        return self._cycle.application_state if self._cycle.supported else None

    async def startup(self, tasks: TaskGroup, timeout: float, spent: float = 0.0) -> None:
        """Raises AppError if the application refuses to start or takes too long.

        Of the ``timeout``, so many seconds are ``spent`` already.
        """
        if self._mode == "off":
            return
        self._cycle.startup()
        tasks.start_soon(self._run)
        state = await self._settled(timeout - spent)
        if state is LifespanState.STARTING:
            raise AppError(f"{self._whose} startup took longer than {timeout:g} s")
        if state is LifespanState.FAILED:
            raise AppError(f"{self._who} failed to start: {self._cycle.message or '(no message)'}")
        if state is LifespanState.UNSUPPORTED:
            failure = self._failure
            if isinstance(failure, SystemExit):
                raise AppError(f"{self._who} exited while starting: {failure!r}") from failure
            reason = "it returned at once" if failure is None else repr(failure)
            if self._mode == "on":
                raise AppError(f"{self._who} does not support lifespan: {reason}") from failure
            logger.info("%s does not support lifespan (%s); serving without it", self._who, reason)

    async def shutdown(self, timeout: float, spent: float = 0.0) -> bool:
        """Whether the application ended as it should; what went wrong is logged."""
        if self._cycle.state is not LifespanState.STARTED:
            return True
        self._cycle.shutdown()
        self._notify()
        state = await self._settled(timeout - spent)
        if state is LifespanState.STOPPING:
            logger.error("%s shutdown took longer than %g s", self._whose, timeout)
        elif state is LifespanState.FAILED:
            message = self._cycle.message or "(no message)"
            logger.error("%s failed to shut down: %s", self._who, message)
        elif state is LifespanState.ENDED and self._failure is None:
            logger.warning("%s ended without sending lifespan.shutdown.complete", self._who)
            return True
        return state is LifespanState.STOPPED

    async def _run(self) -> None:
        cycle = self._cycle
        try:
            await self._app(cycle.scope, self._receive, self._send)
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt) or _is_cancelled(error):
                raise
            self._failure = error
            if cycle.state in (LifespanState.STARTED, LifespanState.STOPPING):
                logger.error("exception in %s lifespan", self._whose, exc_info=error)
            elif cycle.state is LifespanState.STARTING:
                logger.debug("exception in %s lifespan", self._whose, exc_info=error)
        finally:
            cycle.ended()
            self._notify()

    async def _receive(self) -> dict[str, Any]:
        while True:
            message = self._cycle.receive()
            if message is not None:
                return message
            await self._changed.wait()

    async def _send(self, message: Message) -> None:
        self._cycle.send(message)
        self._notify()

    async def _settled(self, timeout: float) -> LifespanState:
        """What the application has made of it, or that it is still at it."""
        with anyio.move_on_after(timeout):
            while self._cycle.state in _WAITING:
                await self._changed.wait()
        return self._cycle.state

    def _notify(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()


class MountedLifespans:
    """Those of a dispatcher's applications: started in order, ended in reverse, within one time.

    The namespaces are the mounts' own.
    """

    state = None

    def __init__(self, dispatcher: Dispatcher, mode: str) -> None:
        self._mounts = dispatcher.mounts
        self._mode = mode
        self._started: list[Lifespan] = []

    async def startup(self, tasks: TaskGroup, timeout: float) -> None:
        """Raises AppError, of the first that fails; those before it have then been ended."""
        begun = anyio.current_time()
        for mounted in self._mounts:
            lifespan = Lifespan(mounted.app, self._mode, mounted.name)
            try:
                await lifespan.startup(tasks, timeout, anyio.current_time() - begun)
            except AppError:
                await self.shutdown(timeout)
                raise
            mounted.state = lifespan.state
            self._started.append(lifespan)

    async def shutdown(self, timeout: float) -> bool:
        """Whether all ended as they should."""
        begun = anyio.current_time()
        clean = True
        while self._started:
            lifespan = self._started.pop()
            clean = await lifespan.shutdown(timeout, anyio.current_time() - begun) and clean
        return clean


def lifespan_of(app: ASGIApplication, mode: str) -> Lifespan | MountedLifespans:
    return MountedLifespans(app, mode) if isinstance(app, Dispatcher) else Lifespan(app, mode)


def _is_cancelled(error: BaseException) -> bool:
    """Whether it is the worker that cancels, and not something of the application's own that has
    escaped from where it belongs: that would end the worker's task group.
    """
    is_failure = isinstance(error, Exception | SystemExit)
    return not is_failure and anyio.current_effective_deadline() == -math.inf
