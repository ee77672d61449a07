"""The byte path on asyncio and uvloop: an ``asyncio.Protocol`` that pushes into ``Connection``."""

from __future__ import annotations

import asyncio
import contextvars
import os
import socket
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, cast

import anyio

from hyperserver.protocol.interface import HIGH_WATER
from hyperserver.runtime.backend import (
    CAN_LEND,
    accept_from,
    is_reset,
    kernel_queue,
    kind_of,
    reset_on_close,
)
from hyperserver.runtime.call import run

if TYPE_CHECKING:
    from hyperserver.runtime.acceptor import Acceptor
    from hyperserver.runtime.connection import Connection
    from hyperserver.runtime.stream import AnyStream

#: Connections accepted in one turn of the loop.
_BATCH = 8


class AsyncioSignal:
    """One future per waiting task, so that cancelling one does not disturb another. There is hardly
    ever more than one, which therefore has a place of its own.
    """

    __slots__ = ("_future", "_loop", "_others")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._future: asyncio.Future[None] | None = None
        self._others: list[asyncio.Future[None]] | None = None

    def wait(self) -> asyncio.Future[None]:
        future = self._loop.create_future()
        if self._future is None or self._future.done():
            self._future = future
        else:
            waiting = [other for other in self._others or () if not other.done()]
            self._others = [*waiting, future]
        return future

    def notify(self) -> None:
        future = self._future
        if future is not None:
            self._future = None
            if not future.done():
                future.set_result(None)
        if self._others is not None:
            others, self._others = self._others, None
            for other in others:
                if not other.done():
                    other.set_result(None)


class AsyncioTransport(asyncio.Protocol):
    """Adapts the loop's callbacks to a ``Connection``, and its commands to the loop's transport."""

    __slots__ = (
        "_acceptor",
        "_connection",
        "_peer",
        "_transport",
        "congested",
        "data_received",
        "held",
    )

    can_lend = CAN_LEND
    _connection: Connection
    _transport: asyncio.Transport

    def __init__(self, acceptor: Acceptor, peer: object = None) -> None:
        self._acceptor = acceptor
        self._peer = peer
        self.congested = False
        self.held = 0
        #: The connection's own, once there is one: a call less for each read.
        self.data_received: Callable[[bytes], None] = bytes  # type: ignore[assignment]

    # ---- called by the loop --------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass
        self._transport.set_write_buffer_limits(high=HIGH_WATER)
        sock = transport.get_extra_info("socket")
        self._connection = self._acceptor.accept(self, sock, self._peer)
        self.data_received = self._connection.data_received
        self._transport.set_protocol(self)  # which uvloop asks for its methods just here

    @property
    def is_adopted(self) -> bool:
        """Whether the worker has the connection."""
        return hasattr(self, "_connection")

    def eof_received(self) -> bool:
        self._connection.eof_received()
        return True  # half-close: the sending side stays open until the engine is done

    def connection_lost(self, exc: Exception | None) -> None:
        self._connection.connection_lost()
        # It knows of us: in a ring, both would wait for the garbage collector.
        del self._connection
        self.data_received = bytes  # type: ignore[assignment]

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

    def write_together(self, first: bytes, second: bytes) -> None:
        transport = self._transport
        # asyncio's own copies them before Python 3.12, and forgets to pause us in some later versions.
        if type(transport).__module__ != "uvloop.loop":
            self.write(first)
            self.write(second)
            return
        transport.writelines((first, second))
        self.congested = self.congested or transport.is_closing()

    def unsent(self) -> int:
        size = self._transport.get_write_buffer_size() + self.held
        return size and size + kernel_queue(self._transport.get_extra_info("socket"))

    def undelivered(self) -> int:
        transport = self._transport
        return transport.get_write_buffer_size() + kernel_queue(transport.get_extra_info("socket"))

    def is_broken(self) -> bool:
        return is_reset(self._transport.get_extra_info("socket"))

    def write_eof(self) -> None:
        if not self._transport.is_closing():
            try:
                self._transport.write_eof()
            except OSError:  # the peer has reset the connection, and the loop has not seen it yet
                self._transport.abort()

    def settle(self) -> None:
        if not self._transport.is_closing():
            self._transport.set_write_buffer_limits(high=0)  # if there is anything, it pauses us

    def lend(self) -> int:
        if self._transport.is_closing():
            raise BrokenPipeError("the connection has been closed")
        number = os.dup(self._transport.get_extra_info("socket").fileno())
        self.congested = True
        return number

    def reclaim(self) -> None:
        self.held = 0
        if not self._transport.is_closing():
            self.congested = False
            self._transport.set_write_buffer_limits(high=HIGH_WATER)

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


class AsyncioListener:
    """Accepts connections, while there is room for them, until closed.

    The loops' own servers cannot be made to wait: when descriptors run out, asyncio's logs a
    traceback for each try, and uvloop's resets what waits.
    """

    def __init__(self, backend: AsyncioBackend, sock: socket.socket, acceptor: Acceptor) -> None:
        self._loop = backend.loop
        self._context = backend.context
        self._sock = sock
        self._kind = kind_of(sock)
        self._acceptor = acceptor
        self._admission = acceptor.admission
        self._tasks: set[asyncio.Task[None]] = set()
        self._accepting: asyncio.Task[None] | None = None
        self._closed = False
        self._resume()

    def _resume(self) -> None:
        if self._closed:
            return
        try:
            # Whoever calls may be an application's, whose context would be kept.
            self._context.copy().run(self._loop.add_reader, self._sock, self._accept)
        except NotImplementedError:  # Windows
            self._accepting = self._start(self._accept_one())

    def _pause(self) -> None:
        self._loop.remove_reader(self._sock)
        self._admission.wait(self._resume)

    def _accept(self) -> None:
        for _ in range(_BATCH):
            if self._closed:
                return
            if self._admission.is_full():
                self._pause()
                return
            try:
                sock, peer = accept_from(self._sock, self._kind)
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                self._admission.failed(error)
                self._pause()
                return
            self._take(sock, peer)

    async def _accept_one(self) -> None:
        """The same where a loop cannot tell that a socket is ready."""
        if self._admission.is_full():
            self._admission.wait(self._resume)
            return
        try:
            sock, peer = await self._loop.sock_accept(self._sock)
        except OSError as error:
            self._admission.failed(error)
            self._admission.wait(self._resume)
            return
        self._take(sock, peer)
        self._resume()

    def _take(self, sock: socket.socket, peer: object) -> None:
        if not self._admission.take(peer):
            sock.close()
            return
        sock.setblocking(False)
        self._start(self._connect(sock, peer))

    def _start(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._loop.create_task(coroutine, context=self._context.copy())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _connect(self, sock: socket.socket, peer: object) -> None:
        transport = AsyncioTransport(self._acceptor, peer)
        try:
            await self._loop.connect_accepted_socket(lambda: transport, sock)
        except OSError:  # reset before it was accepted
            sock.close()
        finally:
            self._admission.made(peer, transport.is_adopted)

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            if self._accepting is None:
                self._loop.remove_reader(self._sock)
            else:
                self._accepting.cancel()
            self._sock.close()


class AsyncioBackend:
    """asyncio's own loop, or uvloop's."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.context = contextvars.copy_context()
        module = type(self.loop).__module__.partition(".")[0]
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
        return AsyncioSignal(self.loop)

    def call_soon(self, callback: Callable[[], None]) -> None:
        self.loop.call_soon(callback, context=self.context)

    # Not in the context of this moment: a pipelined request is found within another's send().
    if sys.version_info >= (3, 12):

        def spawn(self, stream: AnyStream, scope: dict[str, Any], at_once: bool) -> None:
            """Eagerly: most applications answer in their first step, in this very loop turn."""
            stream.task = asyncio.Task(
                run(stream, scope),
                loop=self.loop,
                context=self.context.copy(),
                eager_start=at_once,
            )

    else:

        def spawn(self, stream: AnyStream, scope: dict[str, Any], at_once: bool) -> None:
            stream.task = asyncio.Task(
                run(stream, scope), loop=self.loop, context=self.context.copy()
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
    ) -> AsyncioListener:
        sock.listen(backlog)
        return AsyncioListener(self, sock, acceptor)

    def cancel(self, streams: set[AnyStream]) -> None:
        for task in _tasks(streams):
            task.cancel()


def _tasks(streams: set[AnyStream]) -> list[asyncio.Task[None]]:
    """Their tasks; a stream within its eager first step has none yet."""
    return [cast("asyncio.Task[None]", s.task) for s in streams if s.task is not None]
