"""Running the application for one stream, to a clean end; its ``receive`` and its ``send``.

A stream decides what is to be said, and ``waiting`` is what it takes to wait for that. What awaits
for a stream is here, there and in ``files``, and is never compiled (see docs/architecture.md): what an
application is handed, and what its tasks are made of, are Python's own coroutines.
"""

from __future__ import annotations

from collections.abc import Callable
from types import FrameType, MethodType
from typing import TYPE_CHECKING, Any, cast

from hyperserver.errors import ClientDisconnected
from hyperserver.observe.logs import logger
from hyperserver.runtime.files import send_file
from hyperserver.runtime.stream import SENDS_AT_ONCE
from hyperserver.runtime.waiting import wait, wait_for_room

if TYPE_CHECKING:
    from hyperserver.asgi.files import FilePart
    from hyperserver.asgi.types import Message
    from hyperserver.runtime.stream import AnyStream, Stream


async def receive(stream: AnyStream) -> dict[str, Any]:
    """ASGI ``receive``. A message that is ready is returned without a checkpoint."""
    while (message := stream.poll()) is None:
        await wait(stream)
    return message


async def send(stream: AnyStream, message: Message) -> None:
    """ASGI ``send``: waits while the client takes less than the application gives, but for the last
    body of a response.
    """
    rest = stream.pass_on(message)
    if rest is True:
        await wait_for_room(stream)
        if stream.sends >= SENDS_AT_ONCE:
            stream.sends = 0
            await stream.connection.worker.backend.give_way()
    elif rest is not False:
        await _send_file(cast("Stream", stream), rest, message)


async def _send_file(stream: Stream, part: FilePart, message: Message) -> None:
    """Send it; where somebody does already, what ``message`` says comes once that is over."""
    if part.begun:
        while stream.sends_file:
            await wait(stream)
        await send(stream, message)
    else:
        await send_file(stream, part)


async def run(stream: AnyStream, scope: dict[str, Any]) -> None:
    """Call the application and see its stream to a clean end, whatever it does.

    An exception costs this stream only. Of what an application can raise, nothing leaves
    here but the cancellation of the worker's own tasks.
    """
    connection = stream.connection
    app = connection.worker.app
    failure: BaseException | None = None
    try:
        returned: object = await app(scope, MethodType(receive, stream), MethodType(send, stream))  # type: ignore[func-returns-value]
        if returned is not None:
            connection.worker.mention_return(returned)
    except BaseException as error:  # noqa: BLE001 - SystemExit must not end the server either
        failure = error
    gone = stream.gone
    try:
        complete = stream.finish(failure is not None)
    except Exception:  # noqa: BLE001
        connection.contain()
        complete = True
    if stream.signal is not None:  # a task that was left behind may wait for a disconnect
        stream.signal.notify()
    try:
        connection.stream_ended(stream, complete)
    except Exception:  # noqa: BLE001
        connection.contain()
    try:
        if failure is not None or not complete:
            _report(stream, failure, gone=gone)
    finally:
        # Its traceback has this frame: as a cycle, all that the application held would wait for
        # the garbage collector, and so would the `finally` of a generator it did not finish.
        failure = None


def _report(stream: AnyStream, failure: BaseException | None, *, gone: bool) -> None:
    """Log what went wrong, or raise it if it is the worker's own cancellation."""
    if failure is not None:
        is_cancellation = stream.connection.worker.backend.is_cancellation
        if isinstance(failure, KeyboardInterrupt) or is_cancellation(failure):
            raise failure
        if not (gone and is_disconnect(failure, is_cancellation)):
            logger.error(
                "exception in the application: %s %s",
                stream.request.method,
                stream.request.target.decode("ascii", "replace"),
                exc_info=failure,
            )
    elif not gone:
        logger.error(
            "the application returned without completing its response: %s %s",
            stream.request.method,
            stream.request.target.decode("ascii", "replace"),
        )


def is_disconnect(
    error: BaseException, beside: Callable[[BaseException], bool] = lambda _: False
) -> bool:
    """Whether ``error`` is only our own news of a lost client: alone, in groups, or translated.

    Frameworks translate it into an exception of their own (Starlette's ``ClientDisconnect``). That
    is raised by the very frame that has caught ours, and it is not one of Python's classes, as
    mistakes in such a place would be. In a group there may be what ``beside`` knows: the task that was
    sending learns of the loss while its siblings are cancelled.
    """
    if isinstance(error, BaseExceptionGroup):
        return all(beside(inner) or is_disconnect(inner, beside) for inner in error.exceptions)
    if isinstance(error, ClientDisconnected):
        return True
    caught = error.__context__
    return (
        caught is not None
        and type(error).__module__ != "builtins"
        and _raised_in(error) is _caught_in(caught)
        and is_disconnect(caught)
    )


def _raised_in(error: BaseException) -> FrameType | None:
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    return place and place.tb_frame


def _caught_in(error: BaseException) -> FrameType | None:
    return error.__traceback__ and error.__traceback__.tb_frame
