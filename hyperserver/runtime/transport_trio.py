"""The byte path on trio: non-blocking calls on raw sockets, and one task that watches them all.

trio's way, a task per connection that waits for its socket, costs more per request than the
request: a wait is a system call to arm the socket and a trip through the scheduler. So where the
system has epoll, the worker keeps an epoll set of its own, and one *poller* task waits, with
trio, for the set as a whole; it reads every socket that is ready and pushes the bytes into the
connections. Elsewhere each connection has a watcher task that does the same for its one socket.

The poller also runs the applications, because a nursery task per request costs more than the
request, too. The trick is who goes on polling when an application has to wait. The poller steps
the application's coroutine in a fresh copy of its context; most requests are answered within the
first step. If the coroutine suspends, the poller first starts its own successor, and from then on
is the application's task. So every application sees an ordinary trio task of its own, in which it
may open nurseries and cancel scopes, and no context variable survives into another request.
"""

from __future__ import annotations

import contextvars
import math
import os
import select
import socket
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Generator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Protocol

import trio

from hyperserver.observe.logs import logger
from hyperserver.protocol.interface import HIGH_WATER
from hyperserver.runtime.backend import (
    CAN_LEND,
    accept_from,
    is_reset,
    kernel_queue,
    kind_of,
    reset_on_close,
    tune,
)
from hyperserver.runtime.call import run

if TYPE_CHECKING:
    from hyperserver.runtime.acceptor import Acceptor
    from hyperserver.runtime.connection import Connection
    from hyperserver.runtime.stream import AnyStream

_READ_SIZE = 65_536
#: After a read that was full: to set it aside for each small request would cost more than it brings.
_LARGE_READ = 262_144
_GATHERS = hasattr(socket.socket, "sendmsg")  # not on Windows
#: Sockets read, and applications run, between two turns of trio's scheduler.
_BATCH = 64


class TrioSignal:
    __slots__ = ("_lot",)

    def __init__(self) -> None:
        self._lot = trio.lowlevel.ParkingLot()

    async def wait(self) -> None:
        await self._lot.park()

    def notify(self) -> None:
        self._lot.unpark_all()


class TrioTransport:
    """A connected socket and the bytes that the kernel would not take."""

    can_lend = CAN_LEND

    def __init__(self, sock: socket.socket, backend: TrioBackend) -> None:
        self.congested = False
        self.held = 0
        self.closed = False
        self.reading = True
        self.sock = sock
        self._backend = backend
        self._connection: Connection
        self._read_size = _READ_SIZE
        self._at_eof = False
        self._unsent: deque[memoryview] = deque()
        self._unsent_size = 0
        self._high_water = HIGH_WATER
        self._draining = False
        self._close_due = False
        self._eof_due = False

    def open(self, acceptor: Acceptor, peer: object = None) -> None:
        self._connection = acceptor.accept(self, self.sock, peer)
        self._backend.readiness.add(self)

    def readable(self) -> None:
        """The socket has bytes, its end, or an error."""
        try:
            data = self.sock.recv(self._read_size)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self._lose()
            return
        if data:
            self._read_size = _LARGE_READ if len(data) >= _READ_SIZE else _READ_SIZE
            self._connection.data_received(data)
        elif not self._at_eof:
            self._at_eof = True
            self.pause_reading()
            self._connection.eof_received()

    # ---- called by the connection --------------------------------------------------------

    def write(self, data: bytes | memoryview) -> None:
        if self.closed:
            return
        if self._draining:
            # Also where nothing is left just now: _drain itself may have led here, by way of
            # writable(), and a second one would wait for the same socket.
            self._unsent.append(memoryview(data))
            self._unsent_size += len(data)
        else:
            try:
                n = self.sock.send(data)
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
            self._draining = True
            self._backend.start(self._drain)
        self.congested = self._unsent_size > self._high_water

    def write_together(self, first: bytes, second: bytes) -> None:
        sent = 0
        if _GATHERS and not (self.closed or self._draining):
            try:
                sent = self.sock.sendmsg((first, second))
            except OSError:
                pass  # ``write`` finds out
        if sent < len(first):
            self.write(first[sent:])
            self.write(second)
        elif sent < len(first) + len(second):
            self.write(memoryview(second)[sent - len(first) :])

    async def _drain(self) -> None:
        """Write what the kernel would not take at once, as it becomes willing."""
        unsent = self._unsent
        try:
            while unsent:
                await trio.lowlevel.wait_writable(self.sock)
                if self.closed:  # by another task, after this one was woken and before it ran
                    return
                try:
                    n = self.sock.send(unsent[0])
                except (BlockingIOError, InterruptedError):
                    continue
                self._unsent_size -= n
                if n == len(unsent[0]):
                    unsent.popleft()
                else:
                    unsent[0] = unsent[0][n:]
                if self.congested and self._unsent_size <= self._high_water // 4:
                    self.congested = False
                    self._connection.writable()
        except (OSError, trio.ClosedResourceError):
            self._lose()
            return
        finally:
            self._draining = False
        if self._close_due:
            self._lose()
        elif self._eof_due:
            self.write_eof()

    async def _lose_later(self) -> None:
        self._lose()

    def unsent(self) -> int:
        size = self._unsent_size + self.held
        return size and size + kernel_queue(self.sock)

    def undelivered(self) -> int:
        return self._unsent_size + kernel_queue(self.sock)

    def is_broken(self) -> bool:
        return is_reset(self.sock)

    def write_eof(self) -> None:
        if self._unsent:
            self._eof_due = True
        elif not self.closed:
            try:
                self.sock.shutdown(socket.SHUT_WR)
            except OSError:
                self._lose()

    def settle(self) -> None:
        self._high_water = 0
        self.congested = self.congested or self._unsent_size > 0

    def lend(self) -> int:
        if self.closed:
            raise BrokenPipeError("the connection has been closed")
        number = os.dup(self.sock.fileno())
        self.congested = True
        return number

    def reclaim(self) -> None:
        self.held = 0
        self._high_water = HIGH_WATER
        self.congested = self._unsent_size > HIGH_WATER

    def pause_reading(self) -> None:
        self._watch(reading=False)

    def resume_reading(self) -> None:
        self._watch(reading=not self._at_eof)

    def _watch(self, *, reading: bool) -> None:
        if reading is not self.reading and not self.closed:
            self.reading = reading
            self._backend.readiness.change(self)

    def close(self) -> None:
        if self._unsent:
            self._close_due = True
        else:
            self._lose()

    def abort(self) -> None:
        if not self.closed:
            try:
                reset_on_close(self.sock)
            except OSError:
                pass
            self._lose()

    def _lose(self) -> None:
        """Close the socket, wake whoever waits for it, and tell the connection."""
        if self.closed:
            return
        self.closed = True
        self._unsent.clear()
        self._unsent_size = 0
        self._backend.readiness.remove(self)
        trio.lowlevel.notify_closing(self.sock)
        self.sock.close()
        self._connection.connection_lost()
        del self._connection  # which knows of us: the garbage collector would find it late


class Readiness(Protocol):
    """Calls ``readable`` of the transports that are, and runs the applications they start."""

    def add(self, transport: TrioTransport) -> None: ...
    def change(self, transport: TrioTransport) -> None:
        """``transport.reading`` has changed."""

    def remove(self, transport: TrioTransport) -> None: ...
    def run_application(self, coroutine: Coroutine[Any, Any, None]) -> None: ...
    def close(self) -> None: ...


class EpollReadiness:
    """The poller: see the head of this file."""

    def __init__(self, start: Callable[..., None]) -> None:
        self._start = start
        self._epoll = select.epoll()
        self._transports: dict[int, TrioTransport] = {}
        self._applications: deque[Coroutine[Any, Any, None]] = deque()
        self._polling = False  # the poller is at work, not waiting
        start(self._poll)

    def add(self, transport: TrioTransport) -> None:
        fd = transport.sock.fileno()
        self._transports[fd] = transport
        self._epoll.register(fd, select.EPOLLIN)

    def change(self, transport: TrioTransport) -> None:
        # Errors and a hang-up of both sides are reported under an empty mask, too.
        self._epoll.modify(transport.sock.fileno(), select.EPOLLIN if transport.reading else 0)

    def remove(self, transport: TrioTransport) -> None:
        fd = transport.sock.fileno()
        if self._transports.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def run_application(self, coroutine: Coroutine[Any, Any, None]) -> None:
        if self._polling:
            self._applications.append(coroutine)
        else:
            self._start(_await, coroutine)

    def close(self) -> None:
        for coroutine in self._applications:  # cancelled before their first step
            coroutine.close()
        self._epoll.close()

    async def _poll(self) -> None:
        """Be the poller until an application takes the task over."""
        transports = self._transports
        applications = self._applications
        epoll = self._epoll
        try:
            while True:
                self._polling = True
                # where a predecessor left off: sockets that it did not get to are ready still
                for fd, mask in epoll.poll(0, _BATCH):
                    transport = transports.get(fd)
                    if transport is None:
                        continue
                    if not transport.reading and mask & (select.EPOLLERR | select.EPOLLHUP):
                        transport.abort()
                    else:
                        transport.readable()
                # A pipelined request queues up when the one before it has been answered, behind
                # those of other connections; and all of them are polled again before long.
                for _ in range(_BATCH):
                    if not applications:
                        break
                    if await self._run(applications.popleft()):
                        return
                self._polling = False
                if applications:
                    await trio.lowlevel.checkpoint()
                else:
                    await trio.lowlevel.wait_readable(epoll.fileno())
        finally:
            self._polling = False

    async def _run(self, coroutine: Coroutine[Any, Any, None]) -> bool:
        """Run an application; True if a successor polls now."""
        context = contextvars.copy_context()
        try:
            trap = context.run(coroutine.send, None)
        except StopIteration:
            return False
        self._polling = False
        self._start(self._poll)
        await _Continue(coroutine, context, trap)
        return True


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
        step: Callable[[Any], Any]
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


class TaskReadiness:
    """The portable way: a watcher task per connection, a task per application call."""

    def __init__(self, start: Callable[..., None]) -> None:
        self._start = start
        self._paused: dict[TrioTransport, trio.lowlevel.ParkingLot] = {}

    def add(self, transport: TrioTransport) -> None:
        self._paused[transport] = trio.lowlevel.ParkingLot()
        self._start(self._watch, transport)

    def change(self, transport: TrioTransport) -> None:
        self._paused[transport].unpark_all()

    def remove(self, transport: TrioTransport) -> None:
        lot = self._paused.pop(transport, None)
        if lot is not None:
            lot.unpark_all()

    def run_application(self, coroutine: Coroutine[Any, Any, None]) -> None:
        self._start(_await, coroutine)

    def close(self) -> None:
        """The watchers end with their connections."""

    async def _watch(self, transport: TrioTransport) -> None:
        try:
            while not transport.closed:
                if transport.reading:
                    await trio.lowlevel.wait_readable(transport.sock)
                    if transport.reading and not transport.closed:
                        transport.readable()
                else:
                    await self._paused[transport].park()
        except trio.ClosedResourceError:
            pass


async def _await(coroutine: Coroutine[Any, Any, None]) -> None:
    await coroutine


class TrioListener:
    """Accepts connections, while there is room for them, until closed."""

    def __init__(self, sock: socket.socket, acceptor: Acceptor, backend: TrioBackend) -> None:
        self._sock = sock
        self._kind = kind_of(sock)
        self._acceptor = acceptor
        self._admission = acceptor.admission
        self._backend = backend
        self._room = trio.Event()
        self._closed = False

    async def accept(self) -> None:
        while not self._closed:
            try:
                await trio.lowlevel.wait_readable(self._sock)
            except trio.ClosedResourceError:
                return
            if not self._accept_waiting() and not self._closed:
                self._room = trio.Event()
                self._admission.wait(self._room.set)
                await self._room.wait()

    def _accept_waiting(self) -> bool:
        """Accept some of those that wait; False if no more can be taken for now."""
        for _ in range(_BATCH):
            if self._closed:
                break
            if self._admission.is_full():
                return False
            try:
                sock, peer = accept_from(self._sock, self._kind)
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                break
            except OSError as error:
                # Out of descriptors or memory, or a network error of the connection that waited.
                # None of it may end the server; trying again at once might spin.
                self._admission.failed(error)
                return False
            self._take(sock, peer)
        return True

    def _take(self, sock: socket.socket, peer: object) -> None:
        if not self._admission.take(peer):
            sock.close()
            return
        adopted = False
        try:
            sock.setblocking(False)
            tune(sock)
            TrioTransport(sock, self._backend).open(self._acceptor, peer)
            adopted = True
        except OSError:  # reset before it was accepted
            sock.close()
        except Exception:  # noqa: BLE001 - a bug of ours costs this connection only
            logger.exception("internal error; closing a new connection")
            sock.close()
        finally:
            self._admission.made(peer, adopted)

    def close(self) -> None:
        self._closed = True
        self._room.set()
        trio.lowlevel.notify_closing(self._sock)
        self._sock.close()


class TrioBackend:
    def __init__(self) -> None:
        self.name = f"trio {trio.__version__}"
        self.readiness: Readiness
        self._nursery: trio.Nursery
        self._callbacks: list[Callable[[], None]] = []
        self._context = contextvars.copy_context()

    def is_cancellation(self, error: BaseException) -> bool:
        if isinstance(error, BaseExceptionGroup):  # an application's nurseries make groups of it
            return all(self.is_cancellation(inner) for inner in error.exceptions)
        return isinstance(error, trio.Cancelled) and trio.current_effective_deadline() == -math.inf

    async def give_way(self) -> None:
        await trio.lowlevel.checkpoint()

    def make_signal(self) -> TrioSignal:
        return TrioSignal()

    def spawn(self, stream: AnyStream, scope: dict[str, Any], at_once: bool) -> None:
        self.readiness.run_application(run(stream, scope))

    def call_soon(self, callback: Callable[[], None]) -> None:
        self._callbacks.append(callback)
        if len(self._callbacks) == 1:
            self.start(self._call_back)

    async def _call_back(self) -> None:
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()

    def start(self, function: Callable[..., Any], *args: Any) -> None:
        # A task inherits a copy of the context in which it is started, and this may be that of
        # an application: a pipelined request, for one, is found within another's send().
        self._context.run(self._nursery.start_soon, function, *args)

    @asynccontextmanager
    async def running(self, streams: set[AnyStream]) -> AsyncIterator[None]:
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            has_epoll = hasattr(select, "epoll")
            self.readiness = EpollReadiness(self.start) if has_epoll else TaskReadiness(self.start)
            try:
                yield
            finally:
                nursery.cancel_scope.cancel()
        self.readiness.close()

    async def listen(self, sock: socket.socket, acceptor: Acceptor, backlog: int) -> TrioListener:
        sock.listen(backlog)
        listener = TrioListener(sock, acceptor, self)
        self.start(listener.accept)
        return listener

    def cancel(self, streams: set[AnyStream]) -> None:
        self._nursery.cancel_scope.cancel()
