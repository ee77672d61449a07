"""The task of a lifespan: what an application may raise there, and who is cancelled by whom."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest
import trio

from hyperserver.runtime.lifespan import Lifespan

LIBRARIES = ["asyncio", "trio"]


async def stray(library: str) -> None:
    """A cancellation that has escaped from the scope it belongs to."""
    if library == "asyncio":
        raise asyncio.CancelledError
    stray: BaseException | None = None
    with trio.CancelScope() as scope:
        scope.cancel()
        try:
            await trio.lowlevel.checkpoint()
        except trio.Cancelled as error:
            stray = error
            raise
    assert stray is not None
    raise stray


async def group(library: str) -> None:
    raise BaseExceptionGroup("several", [SystemExit(1), ValueError()])


async def bare(library: str) -> None:
    raise BaseException("bare")


async def generator_exit(library: str) -> None:
    raise GeneratorExit


Failure = Callable[[str], Awaitable[None]]


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("when", ["startup", "serving", "shutdown"])
@pytest.mark.parametrize("failure", [stray, group, bare, generator_exit])
def test_nothing_that_is_raised_there_ends_the_worker(
    library: str, when: str, failure: Failure
) -> None:
    """It is a failure like any other (ASGI, Lifespan, "Scope")."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        if when == "startup":
            await failure(library)
        await send({"type": "lifespan.startup.complete"})
        if when == "shutdown":
            await receive()
        await failure(library)

    async def main() -> None:
        reached = False
        async with anyio.create_task_group() as tasks:
            lifespan = Lifespan(app, "auto")
            await lifespan.startup(tasks, 5)
            assert (lifespan.state is None) is (when == "startup")
            await anyio.wait_all_tasks_blocked()
            assert await lifespan.shutdown(5) is (when != "shutdown")
            reached = True
        assert reached, "the task group was cancelled"

    anyio.run(main, backend=library)


@pytest.mark.parametrize("library", LIBRARIES)
def test_the_worker_can_cancel_it(library: str, caplog: pytest.LogCaptureFixture) -> None:
    """The end of the task group is none of the application's failures."""
    seen: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        try:
            await receive()
        except BaseException as error:
            seen.append(type(error).__name__)
            raise

    async def main() -> None:
        with anyio.fail_after(5):
            async with anyio.create_task_group() as tasks:
                await Lifespan(app, "auto").startup(tasks, 5)
                await anyio.wait_all_tasks_blocked()
                tasks.cancel_scope.cancel()

    anyio.run(main, backend=library)
    assert seen == [{"asyncio": "CancelledError", "trio": "Cancelled"}[library]]
    assert not caplog.records


@pytest.mark.parametrize("library", LIBRARIES)
def test_ctrl_c_is_not_the_applications(library: str) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise KeyboardInterrupt

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            await Lifespan(app, "auto").startup(tasks, 5)

    with pytest.raises(BaseException) as caught:
        anyio.run(main, backend=library)
    assert isinstance(caught.value, KeyboardInterrupt) or caught.group_contains(KeyboardInterrupt)
