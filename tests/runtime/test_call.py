"""What becomes of an application's exception, without a connection."""

from __future__ import annotations

import gc
import logging
import weakref
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from hyperserver.errors import ClientDisconnected
from hyperserver.runtime import call

App = Callable[..., Coroutine[Any, Any, None]]


class Cancelled(BaseException):
    """What the backend cancels with."""


class Stream:
    """One whose client has left, or has not."""

    def __init__(self, app: App, *, gone: bool) -> None:
        backend = SimpleNamespace(is_cancellation=lambda error: isinstance(error, Cancelled))
        connection: Any = SimpleNamespace(
            worker=SimpleNamespace(app=app, backend=backend), stream_ended=lambda *_: None
        )
        request: Any = SimpleNamespace(method="GET", target=b"/")
        self.connection = connection
        self.request = request
        self.gone = gone
        self.signal = None

    def pass_on(self, message: Any) -> bool:
        raise ClientDisconnected

    def finish(self, failed: bool) -> bool:
        return not failed


def run(app: App, *, gone: bool = True) -> None:
    """Nothing here waits, so nothing is needed that could."""
    stream: Any = Stream(app, gone=gone)
    with pytest.raises(StopIteration):
        call.run(stream, {}).send(None)


class Translated(Exception):
    """What a framework makes of a lost client."""


@contextmanager
def translating(into: type[Exception]) -> Iterator[None]:
    try:
        yield
    except OSError:
        raise into from None


def clean_up() -> None:
    raise Translated


async def plain(scope: Any, receive: Any, send: Any) -> None:
    await send({})


async def translated(scope: Any, receive: Any, send: Any) -> None:
    try:
        await plain(scope, receive, send)
    except OSError:
        raise Translated from None


async def translated_twice(scope: Any, receive: Any, send: Any) -> None:
    try:
        await translated(scope, receive, send)
    except Translated as error:
        raise LookupFailed from error


class LookupFailed(LookupError):
    """An exception of a library, though derived from one of Python's."""


async def grouped(scope: Any, receive: Any, send: Any) -> None:
    try:
        await translated(scope, receive, send)
    except Exception as error:
        raise BaseExceptionGroup("of a nursery", [error]) from None


async def among_cancelled(scope: Any, receive: Any, send: Any) -> None:
    try:
        await plain(scope, receive, send)
    except OSError as error:
        inner = BaseExceptionGroup("of an inner nursery", [Cancelled(), error])
        raise BaseExceptionGroup("of a nursery", [inner, Cancelled()]) from None


async def by_a_context_manager(scope: Any, receive: Any, send: Any) -> None:
    with translating(Translated):
        await send({})


async def mistaken(scope: Any, receive: Any, send: Any) -> None:
    try:
        await send({})
    except OSError:
        scope["no such key"]


async def failing_to_clean_up(scope: Any, receive: Any, send: Any) -> None:
    try:
        await send({})
    except OSError:
        clean_up()


async def mistaken_among_cancelled(scope: Any, receive: Any, send: Any) -> None:
    raise BaseExceptionGroup("of a nursery", [Cancelled(), ValueError()])


async def unrelated(scope: Any, receive: Any, send: Any) -> None:
    raise Translated


@pytest.mark.parametrize(
    "app", [plain, translated, translated_twice, grouped, among_cancelled, by_a_context_manager]
)
def test_a_lost_client_is_no_failure(app: App, caplog: pytest.LogCaptureFixture) -> None:
    run(app)
    assert not caplog.records
    run(app, gone=False)
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


@pytest.mark.parametrize(
    "app", [mistaken, failing_to_clean_up, mistaken_among_cancelled, unrelated]
)
def test_a_failure_is_one_though_the_client_is_lost(
    app: App, caplog: pytest.LogCaptureFixture
) -> None:
    run(app)
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


def test_an_exception_without_a_traceback() -> None:
    assert not call.is_disconnect(Translated())


def test_what_an_application_held_goes_with_its_call() -> None:
    """Not with the next garbage collection."""

    class Held: ...

    held: list[weakref.ref[Held]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        mine = Held()
        held.append(weakref.ref(mine))
        await send({})

    gc.disable()
    try:
        run(app)
        assert held[0]() is None
    finally:
        gc.enable()
