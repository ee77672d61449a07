"""Running the application's lifespan: one task that outlives every request."""

from __future__ import annotations

import math
from typing import Any

import anyio
from anyio.abc import TaskGroup

from hyperserver.asgi.lifespan import LifespanCycle, LifespanState
from hyperserver.asgi.types import ASGIApplication, Message
from hyperserver.errors import AppError
from hyperserver.observe.logs import logger

_WAITING = (LifespanState.STARTING, LifespanState.STOPPING)


class Lifespan:
    """``startup`` before the first connection, ``shutdown`` after the last.

    ``mode`` is ``auto``, ``on`` or ``off``; ``state`` is the application's namespace, None where
    it has no lifespan.
    """

    def __init__(self, app: ASGIApplication, mode: str) -> None:
        self._app = app
        self._mode = mode
        self._cycle = LifespanCycle()
        self._changed = anyio.Event()
        self._failure: BaseException | None = None

    @property
    def state(self) -> dict[str, Any] | None:
        return self._cycle.application_state if self._cycle.supported else None

    async def startup(self, tasks: TaskGroup, timeout: float) -> None:
        """Raises AppError if the application refuses to start or takes too long."""
        if self._mode == "off":
            return
        self._cycle.startup()
        tasks.start_soon(self._run)
        state = await self._settled(timeout)
        if state is LifespanState.STARTING:
            raise AppError(f"the application's startup took longer than {timeout:g} s")
        if state is LifespanState.FAILED:
            raise AppError(
                f"the application failed to start: {self._cycle.message or '(no message)'}"
            )
        if state is LifespanState.UNSUPPORTED:
            failure = self._failure
            if isinstance(failure, SystemExit):
                raise AppError(f"the application exited while starting: {failure!r}") from failure
            reason = "it returned at once" if failure is None else repr(failure)
            if self._mode == "on":
                raise AppError(f"the application does not support lifespan: {reason}") from failure
            logger.info(
                "the application does not support lifespan (%s); serving without it", reason
            )

    async def shutdown(self, timeout: float) -> bool:
        """Whether the application ended as it should; what went wrong is logged."""
        if self._cycle.state is not LifespanState.STARTED:
            return True
        self._cycle.shutdown()
        self._notify()
        state = await self._settled(timeout)
        if state is LifespanState.STOPPING:
            logger.error("the application's shutdown took longer than %g s", timeout)
        elif state is LifespanState.FAILED:
            logger.error(
                "the application failed to shut down: %s", self._cycle.message or "(no message)"
            )
        elif state is LifespanState.ENDED and self._failure is None:
            logger.warning("the application ended without sending lifespan.shutdown.complete")
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
                logger.error("exception in the application's lifespan", exc_info=error)
            elif cycle.state is LifespanState.STARTING:
                logger.debug("exception in the application's lifespan", exc_info=error)
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


def _is_cancelled(error: BaseException) -> bool:
    """Whether it is the worker that cancels, and not something of the application's own that has
    escaped from where it belongs: that would end the worker's task group.
    """
    is_failure = isinstance(error, Exception | SystemExit)
    return not is_failure and anyio.current_effective_deadline() == -math.inf
