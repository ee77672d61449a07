"""Running the application for one stream: its ``receive``, its ``send``, and its end."""

from __future__ import annotations

from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING, Any

from hyperserver.asgi.files import FileCycle
from hyperserver.asgi.http import BODY, COMPLETE, may_push
from hyperserver.asgi.websocket import WebSocketCycle
from hyperserver.errors import ClientDisconnected
from hyperserver.observe.logs import logger
from hyperserver.protocol.interface import HIGH_WATER
from hyperserver.runtime.backend import Signal
from hyperserver.runtime.files import send_file

if TYPE_CHECKING:
    from hyperserver.asgi.types import Message
    from hyperserver.protocol.events import RequestReceived
    from hyperserver.protocol.websocket.handshake import Handshake
    from hyperserver.runtime.connection import Connection


#: Messages that an application may send without giving others a turn: where the client takes all
#: there is, or a HEAD is answered with a long body, nothing else would make it wait.
_SENDS_AT_ONCE = 32


#: Of both kinds of streams, beside those of their cycles.
_SLOTS = ("_sends", "signal", "connection", "started_at", "task")


class ApplicationCall:
    """What a cycle needs to become a running stream: it decides, this waits.

    Both conditions ("there is a message", "there is room to write") are re-examined after every
    wake-up, so one signal serves both. It is mixed into the cycle because a second object would
    cost each request more than all that is added here.
    """

    __slots__ = ()

    if TYPE_CHECKING:  # what it is mixed into has, by way of __slots__ or the cycle
        connection: Connection
        request: RequestReceived
        stream_id: int
        signal: Signal | None

        @property
        def gone(self) -> bool: ...
        async def receive(self) -> dict[str, Any]: ...
        async def send(self, message: Message) -> None: ...
        def finish(self, failed: bool) -> bool: ...

    async def wait_for_room(self) -> None:
        connection = self.connection
        while connection.must_wait(self.stream_id) and not self.gone:
            await self.wait()

    async def wait(self) -> None:
        """Until ``wake``."""
        if self.signal is None:
            # a slot of the class that this is mixed into
            self.signal = self.connection.worker.backend.make_signal()  # type: ignore[misc]
        await self.signal.wait()

    def wake(self) -> None:
        """Something that the application may be waiting for has changed."""
        if self.signal is not None:
            self.signal.notify()

    async def run(self, scope: dict[str, Any]) -> None:
        """Call the application and see its stream to a clean end, whatever it does.

        An exception costs this stream only. Of what an application can raise, nothing leaves
        here but the cancellation of the worker's own tasks.
        """
        connection = self.connection
        app = connection.worker.app
        failure: BaseException | None = None
        try:
            returned: object = await app(scope, self.receive, self.send)  # type: ignore[func-returns-value]
            if returned is not None:
                connection.worker.mention_return(returned)
        except BaseException as error:  # noqa: BLE001 - SystemExit must not end the server either
            failure = error
        gone = self.gone
        try:
            complete = self.finish(failure is not None)
        except Exception:  # noqa: BLE001
            connection.contain()
            complete = True
        if self.signal is not None:  # a task that was left behind may wait for a disconnect
            self.signal.notify()
        try:
            connection.stream_ended(self, complete)  # type: ignore[arg-type]
        except Exception:  # noqa: BLE001
            connection.contain()
        try:
            if failure is not None or not complete:
                self._report(failure, gone=gone)
        finally:
            # Its traceback has this frame: as a cycle, all that the application held would wait for
            # the garbage collector, and so would the `finally` of a generator it did not finish.
            failure = None

    def _report(self, failure: BaseException | None, *, gone: bool) -> None:
        """Log what went wrong, or raise it if it is the worker's own cancellation."""
        if failure is not None:
            is_cancellation = self.connection.worker.backend.is_cancellation
            if isinstance(failure, KeyboardInterrupt) or is_cancellation(failure):
                raise failure
            if not (gone and is_disconnect(failure, is_cancellation)):
                logger.error(
                    "exception in the application: %s %s",
                    self.request.method,
                    self.request.target.decode("ascii", "replace"),
                    exc_info=failure,
                )
        elif not gone:
            logger.error(
                "the application returned without completing its response: %s %s",
                self.request.method,
                self.request.target.decode("ascii", "replace"),
            )


class Stream(FileCycle, ApplicationCall):
    """One request with its application call."""

    __slots__ = _SLOTS

    def __init__(self, connection: Connection, request: RequestReceived, started_at: float) -> None:
        FileCycle.__init__(self, connection.engine, request)  # super() is dear before 3.12
        self.connection = connection
        self.started_at = started_at
        self.signal: Signal | None = None
        self._sends = 0
        #: What the backend runs the application as; the worker holds it by holding the stream.
        self.task: object = None

    @property
    def has_push(self) -> bool:
        return may_push(self.request) and self.connection.context.offered_push

    @property
    def has_zero_copy(self) -> bool:
        return self.connection.context.zero_copy and self.request.http_version != "2"

    async def receive(self) -> dict[str, Any]:
        """ASGI ``receive``. A message that is ready is returned without a checkpoint."""
        message = self.next_message()
        if message is None:
            self.connection.flush()  # a 100 (Continue) may be due
            # A signal has no memory, and flushing may have been what brought the message.
            while (message := self.next_message()) is None:
                await self.wait()
        if message.get("body"):
            self.connection.flush()  # credit may have to be returned, reading resumed
        return message

    async def send(self, message: Message) -> None:
        """ASGI ``send``: waits while the client takes less than the application gives."""
        taken = self.take(message)
        if taken is True:
            if self.signal is not None and self.complete:
                self.signal.notify()  # another task may wait for what comes now: a disconnect
            connection = self.connection
            if self._state == BODY:
                delivered = connection.deliver_part(self.stream_id)
            else:
                delivered = connection.deliver()
                if (
                    self._state == COMPLETE
                    and self.bytes_sent < HIGH_WATER
                    and (delivered or not connection.transport.congested)
                ):
                    return  # by far the most frequent case
            if not delivered and connection.must_wait(self.stream_id):
                await self.wait_for_room()
            self._sends += 1
            if self._sends == _SENDS_AT_ONCE:
                self._sends = 0
                await connection.worker.backend.give_way()
        elif taken is not False:
            await send_file(self, taken, message)

    def reset(self, reason: str) -> None:
        self.connection.write_ahead()
        FileCycle.reset(self, reason)


class WebSocketStream(WebSocketCycle, ApplicationCall):
    """One WebSocket with its application call.

    Where several messages wait for the application, what it answers to them leaves together.
    """

    __slots__ = _SLOTS

    def __init__(
        self,
        connection: Connection,
        request: RequestReceived,
        handshake: Handshake,
        started_at: float,
    ) -> None:
        WebSocketCycle.__init__(
            self, connection.engine, request, handshake, connection.worker.open_websocket
        )
        self.connection = connection
        self.started_at = started_at
        self.signal: Signal | None = None
        self._sends = 0
        #: As in ``Stream``.
        self.task: object = None

    def sink(self, data: bytes) -> bool:
        taken = self.take_in(data)
        signal = self.signal
        if signal is not None:
            signal.notify()
        return taken

    def tunnel_ended(self) -> None:
        self.connection.tunnel_ended(self)

    async def receive(self) -> dict[str, Any]:
        """ASGI ``receive``. A message that is ready is returned without a checkpoint."""
        while (message := self.next_message()) is None:
            if self.signal is None:
                self.signal = self.connection.worker.backend.make_signal()
            await self.signal.wait()
        if self._caught_up:
            self._caught_up = False
            self.connection.flush()  # reading may have to be resumed
        return message

    async def send(self, message: Message) -> None:
        """ASGI ``send``: waits while the client takes less than the application gives."""
        if self.take(message):
            connection = self.connection
            socket = self._socket
            if socket is None:
                if self.complete:
                    self.wake()
                delivered = connection.deliver()
            elif socket.messages or connection.shares_writes:
                delivered = connection.deliver_soon()
            else:
                delivered = connection.flush()
            if not delivered:
                await self.wait_for_room()
            self._sends += 1
            if self._sends == _SENDS_AT_ONCE:
                self._sends = 0
                await connection.worker.backend.give_way()

    def finish(self, failed: bool) -> bool:
        self.connection.write_ahead()
        return WebSocketCycle.finish(self, failed)


AnyStream = Stream | WebSocketStream


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
