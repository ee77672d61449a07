"""The event loop on asyncio and uvloop: accepting, and starting what is to run."""

from __future__ import annotations

import asyncio
import contextvars
import socket
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, cast

import anyio

from hyperserver.runtime.backend import accept_from, kind_of
from hyperserver.runtime.call import run
from hyperserver.runtime.transport_asyncio import AsyncioSignal, AsyncioTransport

if TYPE_CHECKING:
    from hyperserver.runtime.acceptor import Acceptor
    from hyperserver.runtime.stream import AnyStream

#: Connections accepted in one turn of the loop.
_BATCH = 8


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
        transport = AsyncioTransport(self._acceptor, sock, peer)
        protocol = cast("asyncio.Protocol", transport)
        try:
            await self._loop.connect_accepted_socket(lambda: protocol, sock)
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
