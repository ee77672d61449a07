"""The byte path on asyncio and uvloop: an ``asyncio.Protocol`` that pushes into ``Connection``."""

from __future__ import annotations

import asyncio
import contextvars
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, cast

import anyio

from hyperserver.protocol.interface import HIGH_WATER
from hyperserver.runtime.backend import kernel_queue, reset_on_close

if TYPE_CHECKING:
    from hyperserver.runtime.acceptor import Acceptor
    from hyperserver.runtime.connection import Connection
    from hyperserver.runtime.stream import AnyStream

#: Connections accepted in one turn of the loop. asyncio takes this number from ``backlog``, and
#: when descriptors run out it goes on for as many times, with a traceback in the log for each.
_BATCH = 8


class AsyncioSignal:
    """One future per waiting task, so that cancelling one does not disturb another."""

    __slots__ = ("_futures", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._futures: list[asyncio.Future[None]] = []

    async def wait(self) -> None:
        future = self._loop.create_future()
        self._futures.append(future)
        try:
            await future
        finally:
            self._futures.remove(future)

    def notify(self) -> None:
        for future in self._futures:
            if not future.done():
                future.set_result(None)


class AsyncioTransport(asyncio.Protocol):
    """Adapts the loop's callbacks to a ``Connection``, and its commands to the loop's transport."""

    __slots__ = ("_acceptor", "_connection", "_transport", "congested")

    _connection: Connection
    _transport: asyncio.Transport

    def __init__(self, acceptor: Acceptor) -> None:
        self._acceptor = acceptor
        self.congested = False

    # ---- called by the loop --------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass
        self._transport.set_write_buffer_limits(high=HIGH_WATER)
        self._connection = self._acceptor.accept(self, transport.get_extra_info("socket"))

    def data_received(self, data: bytes) -> None:
        self._connection.data_received(data)

    def eof_received(self) -> bool:
        self._connection.eof_received()
        return True  # half-close: the sending side stays open until the engine is done

    def connection_lost(self, exc: Exception | None) -> None:
        self._connection.connection_lost()
        del self._connection  # which knows of us: the garbage collector would find it late

    def pause_writing(self) -> None:
        self.congested = True

    def resume_writing(self) -> None:
        self.congested = False
        self._connection.writable()

    # ---- called by the connection --------------------------------------------------------

    def write(self, data: bytes) -> None:
        transport = self._transport
        transport.write(data)
        if transport.is_closing():
            # It failed, and connection_lost waits for its turn. Hold applications until then: one
            # that never waits would go on sending to nobody, and asyncio log a line for each.
            self.congested = True

    def unsent(self) -> int:
        size = self._transport.get_write_buffer_size()
        return size and size + kernel_queue(self._transport.get_extra_info("socket"))

    def undelivered(self) -> int:
        transport = self._transport
        return transport.get_write_buffer_size() + kernel_queue(transport.get_extra_info("socket"))

    def write_eof(self) -> None:
        if not self._transport.is_closing():
            try:
                self._transport.write_eof()
            except OSError:  # the peer has reset the connection, and the loop has not seen it yet
                self._transport.abort()

    def pause_reading(self) -> None:
        if not self._transport.is_closing():
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        if not self._transport.is_closing():
            self._transport.resume_reading()

    def close(self) -> None:
        self._transport.close()

    def abort(self) -> None:
        if not self._transport.is_closing():
            try:
                reset_on_close(self._transport.get_extra_info("socket"))
            except OSError:
                pass
        self._transport.abort()


class AsyncioBackend:
    """asyncio's own loop, or uvloop's."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._context = contextvars.copy_context()
        module = type(self._loop).__module__.partition(".")[0]
        if module == "uvloop":
            self.name = f"uvloop {sys.modules['uvloop'].__version__}"
        else:
            self.name = "asyncio"

    def is_cancellation(self, error: BaseException) -> bool:
        task = asyncio.current_task()
        return (
            isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling() > 0
        )

    async def give_way(self) -> None:
        await asyncio.sleep(0)

    def make_signal(self) -> AsyncioSignal:
        return AsyncioSignal(self._loop)

    def call_soon(self, callback: Callable[[], None]) -> None:
        self._loop.call_soon(callback, context=self._context)

    # Not in the context of this moment: a pipelined request is found within another's send().
    if sys.version_info >= (3, 12):

        def spawn(self, stream: AnyStream, scope: dict[str, Any], at_once: bool) -> None:
            """Eagerly: most applications answer in their first step, in this very loop turn."""
            stream.task = asyncio.Task(
                stream.run(scope),
                loop=self._loop,
                context=self._context.copy(),
                eager_start=at_once,
            )

    else:

        def spawn(self, stream: AnyStream, scope: dict[str, Any], at_once: bool) -> None:
            stream.task = asyncio.Task(
                stream.run(scope), loop=self._loop, context=self._context.copy()
            )

    @asynccontextmanager
    async def running(self, streams: set[AnyStream]) -> AsyncIterator[None]:
        try:
            yield
        finally:
            self.cancel(streams)
            # Shielded: when it is the worker that is being cancelled, it still waits for them.
            with anyio.CancelScope(shield=True):
                while streams:
                    done, _ = await asyncio.wait(_tasks(streams))
                    # A task that is cancelled before its first step never runs its stream's end.
                    streams.difference_update([s for s in streams if s.task in done])

    async def listen(
        self, sock: socket.socket, acceptor: Acceptor, backlog: int
    ) -> asyncio.AbstractServer:
        def make_transport() -> AsyncioTransport:
            return AsyncioTransport(acceptor)

        create = self._loop.create_server
        if hasattr(socket, "AF_UNIX") and sock.family == socket.AF_UNIX:
            create = self._loop.create_unix_server  # type: ignore[assignment]
        server = await create(make_transport, sock=sock, backlog=_BATCH)
        sock.listen(backlog)
        return server

    def cancel(self, streams: set[AnyStream]) -> None:
        for task in _tasks(streams):
            task.cancel()


def _tasks(streams: set[AnyStream]) -> list[asyncio.Task[None]]:
    """Their tasks; a stream within its eager first step has none yet."""
    return [cast("asyncio.Task[None]", s.task) for s in streams if s.task is not None]
