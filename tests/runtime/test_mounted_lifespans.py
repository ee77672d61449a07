"""Several lifespans in one server: their order, their states, and whose failure it was."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import anyio
import pytest

from hyperserver.asgi.dispatch import Dispatcher, Mounted
from hyperserver.errors import AppError
from hyperserver.runtime.lifespan import Lifespan, MountedLifespans, lifespan_of

Run = Callable[[Callable[[], Coroutine[Any, Any, None]]], None]


@pytest.fixture(params=["asyncio", "trio"])
def run(request: pytest.FixtureRequest) -> Run:
    async def bounded(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
        with anyio.fail_after(10):
            await main()

    return lambda main: anyio.run(bounded, main, backend=request.param)


class Site:
    """Applications that note what happens; ``fails`` maps names to the stage that they fail in."""

    def __init__(self, *names: str, **fails: str) -> None:
        self.log: list[str] = []
        self.fails = fails
        mounts = [Mounted(self.app(name), f"/{name}", f"/{name}") for name in names]
        self.dispatcher = Dispatcher(mounts, self.app("nothing"))

    def app(self, name: str) -> Any:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            assert scope["type"] == "lifespan"
            if self.fails.get(name) == "support":
                raise RuntimeError("what is a lifespan?")
            scope["state"]["name"] = name
            for stage in ("startup", "shutdown"):
                assert await receive() == {"type": f"lifespan.{stage}"}
                self.log.append(f"{stage} {name}")
                if self.fails.get(name) == stage:
                    await send({"type": f"lifespan.{stage}.failed", "message": "no database"})
                    return
                if self.fails.get(name) == f"hang {stage}":
                    await anyio.sleep_forever()
                await send({"type": f"lifespan.{stage}.complete"})

        return app

    @property
    def states(self) -> list[Any]:
        return [mounted.state for mounted in self.dispatcher.mounts]


async def through(site: Site, mode: str = "auto", timeout: float = 5.0) -> bool:
    """Startup and shutdown; whether the end was clean."""
    lifespans = MountedLifespans(site.dispatcher, mode)
    async with anyio.create_task_group() as tasks:
        failure = None
        try:
            await lifespans.startup(tasks, timeout)
        except AppError as error:  # not raised here: a task group would wrap it
            failure = error
        clean = failure is None and await lifespans.shutdown(timeout)
        tasks.cancel_scope.cancel()
    if failure is not None:
        raise failure
    return clean


def test_each_is_run_and_ended_in_reverse(run: Run) -> None:
    site = Site("a", "b", "c")

    async def main() -> None:
        assert await through(site)

    run(main)
    assert site.log == [
        "startup a", "startup b", "startup c", "shutdown c", "shutdown b", "shutdown a",
    ]  # fmt: skip
    assert site.states == [{"name": "a"}, {"name": "b"}, {"name": "c"}]


def test_the_first_failure_is_named_and_ends_those_before_it(run: Run) -> None:
    site = Site("a", "b", "c", b="startup")

    async def main() -> None:
        message = "^the application at /b failed to start: no database$"
        with pytest.raises(AppError, match=message):
            await through(site)

    run(main)
    assert site.log == ["startup a", "startup b", "shutdown a"]


def test_one_without_lifespan(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    site = Site("a", "b", a="support")

    async def main() -> None:
        assert await through(site)
        with pytest.raises(AppError, match=r"^the application at /a does not support lifespan: Ru"):
            await through(site, mode="on")

    run(main)
    assert site.states == [None, {"name": "b"}]
    site = Site("a")

    async def off() -> None:
        assert await through(site, mode="off")

    run(off)
    assert (site.log, site.states) == ([], [None])


def test_all_share_the_time_that_there_is(run: Run) -> None:
    site = Site("a", "b", b="hang startup")

    async def main() -> None:
        message = "^the application at /b: its startup took longer than 0.05 s$"
        with pytest.raises(AppError, match=message):
            await through(site, timeout=0.05)

    run(main)


def test_a_failing_shutdown_keeps_none_from_theirs(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    site = Site("a", "b", "c", b="shutdown", c="hang shutdown")

    async def main() -> None:
        assert not await through(site, timeout=0.05)

    run(main)
    assert site.log[3:] == ["shutdown c", "shutdown b", "shutdown a"]


def test_one_application_is_run_as_before() -> None:
    site = Site("a")
    assert type(lifespan_of(site.app("a"), "auto")) is Lifespan
    assert type(lifespan_of(site.dispatcher, "auto")) is MountedLifespans
