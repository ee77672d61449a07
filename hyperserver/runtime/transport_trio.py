"""The byte path on trio: non-blocking calls on the raw socket, waiting only where they would block.

A connection has one *reader* task. The reader also runs the application: a nursery task per
request costs more than the request. The trick is who goes on reading when the application has to
wait. The reader steps the application's coroutine in a fresh copy of its context; most requests
are answered within the first step. If the coroutine suspends, the reader first starts a
*follower*, a new task that reads on in its place, and from then on is the application's own task.
So an application sees an ordinary trio task of its own, whichever way it came to it: it may open
nurseries and cancel scopes, and no context variable survives into the next request.
"""

from __future__ import annotations

import contextvars
import errno
import socket
from collections import deque
from collections.abc import AsyncIterator, Coroutine, Generator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import trio

from hyperserver.observe.logs import logger
from hyperserver.protocol.interface import HIGH_WATER
from hyperserver.runtime.backend import reset_on_close, tune

if TYPE_CHECKING:
    from hyperserver.runtime.connection import Connection
    from hyperserver.runtime.worker import Worker

_READ_SIZE = 65_536
#: accept() errors that pass when connections close; until then, trying again would spin.
_OUT_OF_RESOURCES = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))


class TrioSignal:
    __slots__ = ("_lot",)

    def __init__(self) -> None:
        self._lot = trio.lowlevel.ParkingLot()

    async def wait(self) -> None:
        await self._lot.park()

    def notify(self) -> None:
        self._lot.unpark_all()


class _Continue:
    """Await the rest of a coroutine that has been stepped once, each step in ``context``."""

    __slots__ = ("_context", "_coroutine", "_trap")

    def __init__(
        self, coroutine: Coroutine[Any, Any, None], context: contextvars.Context, trap: Any
    ) -> None:
        self._coroutine = coroutine
        self._context = context
        self._trap = trap

    def __await__(self) -> Generator[Any, Any, None]:
        trap = self._trap
        run = self._context.run
        while True:
            try:
                value = yield trap
            except BaseException as error:  # noqa: BLE001 - it is the coroutine's to handle
                step, argument = self._coroutine.throw, error
            else:
                step, argument = self._coroutine.send, value
            try:
                trap = run(step, argument)
            except StopIteration:
                return


class TrioTransport:
    """A connected socket, its reader, and the bytes that the kernel would not take."""

    def __init__(self, sock: socket.socket, backend: TrioBackend) -> None:
        self.congested = False
        self._sock = sock
        self._backend = backend
        self._connection: Connection
        self._unsent: deque[memoryview] = deque()
        self._unsent_size = 0
        self._reading = trio.lowlevel.ParkingLot()
        self._paused = False
        self._at_eof = False
        self._reader_runs = False  # the reader is inside its own code, not waiting
        self._applications: deque[Coroutine[Any, Any, None]] = deque()
        self._closing = False
        self._eof_due = False
        self._closed = False

    async def serve(self, worker: Worker) -> None:
        """The connection's first task."""
        self._connection = worker.accept(self, self._sock)
        await self._read()

    # ---- the reader ----------------------------------------------------------------------

    async def _read(self) -> None:
        """Be the reader until the connection ends or an application takes the task over."""
        try:
            while True:
                self._reader_runs = True
                while self._applications:
                    if await self._run(self._applications.popleft()):
                        return
                self._reader_runs = False
                if self._closed:
                    return
                if self._paused or self._at_eof:
                    await self._reading.park()
                    continue
                await trio.lowlevel.wait_readable(self._sock)
                if self._paused or self._closed:
                    continue
                self._reader_runs = True
                try:
                    data = self._sock.recv(_READ_SIZE)
                except (BlockingIOError, InterruptedError):
                    continue
                except OSError:
                    self._lose()
                    continue
                if data:
                    self._connection.data_received(data)
                else:
                    self._at_eof = True
                    self._connection.eof_received()
        except trio.ClosedResourceError:
            pass  # we closed the socket while waiting to read it
        except trio.Cancelled:
            for coroutine in self._applications:
                coroutine.close()
            self._lose()
            raise

    async def _run(self, coroutine: Coroutine[Any, Any, None]) -> bool:
        """Run an application; True if a follower has taken over the reading."""
        context = contextvars.copy_context()
        try:
            trap = context.run(coroutine.send, None)
        except StopIteration:
            return False
        self._backend.start(self._read)
        await _Continue(coroutine, context, trap)
        return True

    def run_application(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run it in the reader if the reader is what called us, else in a task of its own."""
        if self._reader_runs:
            self._applications.append(coroutine)
        else:
            self._backend.start(_await, coroutine)

    # ---- called by the connection --------------------------------------------------------

    def write(self, data: bytes) -> None:
        if self._closed:
            return
        if not self._unsent:
            try:
                n = self._sock.send(data)
            except (BlockingIOError, InterruptedError):
                n = 0
            except OSError:
                # The connection must not be lost in the middle of its own pump.
                self.congested = True
                self._backend.start(self._lose_later)
                return
            if n == len(data):
                return
            self._unsent.append(memoryview(data)[n:])
            self._unsent_size = len(data) - n
            self._backend.start(self._drain)
        else:
            self._unsent.append(memoryview(data))
            self._unsent_size += len(data)
        if self._unsent_size > HIGH_WATER:
            self.congested = True

    async def _drain(self) -> None:
        """Write what the kernel would not take at once, as it becomes willing."""
        unsent = self._unsent
        try:
            while unsent and not self._closed:
                await trio.lowlevel.wait_writable(self._sock)
                try:
                    n = self._sock.send(unsent[0])
                except (BlockingIOError, InterruptedError):
                    continue
                self._unsent_size -= n
                if n == len(unsent[0]):
                    unsent.popleft()
                else:
                    unsent[0] = unsent[0][n:]
                if self.congested and self._unsent_size <= HIGH_WATER // 4:
                    self.congested = False
                    self._connection.writable()
        except (OSError, trio.ClosedResourceError):
            self._lose()
            return
        if self._closing:
            self._lose()
        elif self._eof_due:
            self.write_eof()

    async def _lose_later(self) -> None:
        self._lose()

    def unsent(self) -> int:
        return self._unsent_size

    def write_eof(self) -> None:
        if self._unsent:
            self._eof_due = True
            return
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError:
            self._lose()

    def pause_reading(self) -> None:
        self._paused = True

    def resume_reading(self) -> None:
        self._paused = False
        self._reading.unpark_all()

    def close(self) -> None:
        if self._unsent:
            self._closing = True
        else:
            self._lose()

    def abort(self) -> None:
        if not self._closed:
            try:
                reset_on_close(self._sock)
            except OSError:
                pass
            self._lose()

    def _lose(self) -> None:
        """Close the socket, wake whoever waits for it, and tell the connection."""
        if self._closed:
            return
        self._closed = True
        self._unsent.clear()
        self._unsent_size = 0
        trio.lowlevel.notify_closing(self._sock)
        self._sock.close()
        self._reading.unpark_all()
        self._connection.connection_lost()


async def _await(coroutine: Coroutine[Any, Any, None]) -> None:
    await coroutine


class TrioListener:
    """Accepts connections until closed."""

    def __init__(self, sock: socket.socket, worker: Worker, backend: TrioBackend) -> None:
        self._sock = sock
        self._worker = worker
        self._backend = backend
        self._closed = False

    async def accept(self) -> None:
        while not self._closed:
            try:
                await trio.lowlevel.wait_readable(self._sock)
            except trio.ClosedResourceError:
                return
            await self._accept_waiting()

    async def _accept_waiting(self) -> None:
        while not self._closed:
            try:
                sock, _ = self._sock.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in _OUT_OF_RESOURCES:
                    raise
                logger.error("cannot accept connections: %s; trying again", error.strerror)
                await trio.sleep(0.5)
                return
            sock.setblocking(False)
            tune(sock)
            self._backend.start(TrioTransport(sock, self._backend).serve, self._worker)

    def close(self) -> None:
        self._closed = True
        trio.lowlevel.notify_closing(self._sock)
        self._sock.close()


class TrioBackend:
    cancelled: type[BaseException] = trio.Cancelled

    def __init__(self) -> None:
        self.name = f"trio {trio.__version__}"
        self._nursery: trio.Nursery

    def make_signal(self) -> TrioSignal:
        return TrioSignal()

    def spawn(self, connection: Connection, coroutine: Coroutine[Any, Any, None]) -> None:
        transport = connection.transport
        assert isinstance(transport, TrioTransport)
        transport.run_application(coroutine)

    def start(self, function: Any, *args: Any) -> None:
        self._nursery.start_soon(function, *args)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            try:
                yield
            finally:
                nursery.cancel_scope.cancel()

    async def listen(self, sock: socket.socket, worker: Worker, backlog: int) -> TrioListener:
        sock.listen(backlog)
        listener = TrioListener(sock, worker, self)
        self.start(listener.accept)
        return listener

    def cancel_all(self) -> None:
        self._nursery.cancel_scope.cancel()
