"""WSGI applications as ASGI ones: each call in a thread of a pool, the event loop at its service.

A thread asks for a message, or gives some, and blocks until the task of its request has done that
with ``receive`` and ``send``. So what bounds memory and time for ASGI applications does so for these.

The threads are ours and not anyio's: an application's own use of those is not starved, and the
process can end without one that hangs, as nothing can cancel it.
"""

from __future__ import annotations

import asyncio
import contextvars
import queue
import sys
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

import anyio
import sniffio

from hyperserver.asgi.types import Message, Receive, Scope, Send, WSGIApplication
from hyperserver.asgi.wsgi import Input, call, make_environ
from hyperserver.errors import ClientDisconnected
from hyperserver.observe.logs import logger
from hyperserver.runtime.backend import Signal
from hyperserver.runtime.failures import answer

#: Seconds after which a thread that has nothing to do ends.
_IDLE = 10.0
#: How long a call that was cancelled may take to notice; less than the worker waits for its task.
_PATIENCE = 0.25
#: What a thread asks of its task, beside sending messages.
_LOOK, _RECEIVE, _DONE = "look", "receive", "done"

_NO_WEBSOCKETS = b"403: This application has no WebSockets\n"


class Threads:
    """At most ``limit`` threads, started when there is work and ended when there is none.

    Work that finds none waits for one, in the order in which it came.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        #: What to call; None ends the thread that gets it.
        self._work: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._count = 0
        #: Threads that wait for work, less the work that waits.
        self._free = 0
        self._closed = False

    @property
    def are_busy(self) -> bool:
        """Whether work would have to wait."""
        return self._free <= 0 and self._count >= self._limit

    def submit(self, work: Callable[[], object]) -> None:
        """Have a thread call ``work``, which must not raise. Raises RuntimeError if there is none."""
        with self._lock:
            self._free -= 1
            if self._free < 0 and self._count < self._limit:
                self._start()
        self._work.put(work)

    def _start(self) -> None:
        try:
            threading.Thread(target=self._run, name="hyperserver-wsgi", daemon=True).start()
        except RuntimeError:
            if not self._count:
                self._free += 1
                raise
            return  # one of those that there are will see to it
        self._count += 1
        self._free += 1

    def _run(self) -> None:
        while True:
            try:
                work = self._work.get(timeout=0.0 if self._closed else _IDLE)
            except queue.Empty:
                with self._lock:
                    if self._free > 0:
                        self._free -= 1
                        self._count -= 1
                        return
                continue
            if work is None:
                return
            work()
            del work  # and with it a request, which would stay until the next
            with self._lock:
                self._free += 1

    def close(self) -> None:
        """Let no thread wait for work any more; what comes all the same is done."""
        with self._lock:
            self._closed = True
            waiting = max(self._free, 0)
            self._free -= waiting
            self._count -= waiting
        for _ in range(waiting):
            self._work.put(None)


def _bridge() -> tuple[Signal, Callable[[Callable[[], None]], object]]:
    """What a task of the running loop waits for, and what has that loop call something soon."""
    if sniffio.current_async_library() == "trio":
        import trio

        from hyperserver.runtime.transport_trio import TrioSignal

        return TrioSignal(), trio.lowlevel.current_trio_token().run_sync_soon
    from hyperserver.runtime.transport_asyncio import AsyncioSignal

    loop = asyncio.get_running_loop()
    return AsyncioSignal(loop), loop.call_soon_threadsafe


class WSGI:
    """``app`` as an ASGI 3 application, in up to ``threads`` threads at a time.

    It has a lifespan, at the end of which its threads end.
    """

    def __init__(self, app: WSGIApplication, threads: int, *, multiprocess: bool) -> None:
        self._app = app
        self._threads = Threads(threads)
        self._about = {
            "wsgi.multithread": threads > 1,
            "wsgi.multiprocess": multiprocess,
            "wsgi.run_once": False,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        if kind == "http":
            await _Call(self._app, scope, self._about).serve(self._threads, receive, send)
        elif kind == "websocket":
            await receive()
            await answer(
                send, 403, b"text/plain; charset=utf-8", _NO_WEBSOCKETS, prefix="websocket."
            )
        elif kind == "lifespan":
            while True:
                message = await receive()
                if message["type"] == "lifespan.shutdown":
                    self._threads.close()
                await send({"type": f"{message['type']}.complete"})
                if message["type"] == "lifespan.shutdown":
                    return


class _Call:
    """What passes between the thread of a call and its task.

    The thread puts what it asks for into ``_asked``, wakes the task and blocks on ``_answered``, a
    lock that is always held; the task releases it, once for each time that the thread waits.
    """

    __slots__ = (
        "_about",
        "_answered",
        "_app",
        "_asked",
        "_context",
        "_early",
        "_error",
        "_failure",
        "_is_left",
        "_is_woken",
        "_message",
        "_must_look",
        "_receive",
        "_scope",
        "_send",
        "_signal",
        "_started",
        "_wake_soon",
    )

    _receive: Receive
    _send: Send
    _message: Message

    def __init__(self, app: WSGIApplication, scope: Scope, about: dict[str, Any]) -> None:
        self._app = app
        self._scope = scope
        self._about = about
        self._signal, self._wake_soon = _bridge()
        self._context = contextvars.copy_context()
        self._asked: deque[str | tuple[tuple[Message, ...], bool]] = deque()
        self._answered = threading.Lock()
        self._answered.acquire()
        #: Why what was asked could not be done.
        self._error: Exception | None = None
        #: What was received before the application asked for it.
        self._early: Message | None = None
        #: The call has to wait for a thread, for which its client may not.
        self._must_look = False
        #: What the application has raised, or a message that nobody waited for.
        self._failure: BaseException | None = None
        self._started = False
        self._is_woken = False
        #: The task has been cancelled, and does nothing more.
        self._is_left = False

    # ---- the task's side -----------------------------------------------------------------

    async def serve(self, threads: Threads, receive: Receive, send: Send) -> None:
        """Raises what the application raises."""
        self._receive = receive
        self._send = send
        self._must_look = threads.are_busy
        threads.submit(self.run)
        try:
            await self._attend()
        except BaseException:
            if not self._is_over:
                await self._leave()
            raise
        if self._failure is not None:
            try:
                raise self._failure
            finally:
                self._failure = None  # a cycle with this frame

    @property
    def _is_over(self) -> bool:
        return bool(self._asked) and self._asked[0] == _DONE

    def _notify(self) -> None:
        self._is_woken = False
        self._signal.notify()

    async def _attend(self) -> None:
        """Do what the thread asks, until its call is over."""
        asked = self._asked
        while True:
            while not asked:
                await self._signal.wait()
            what = asked[0]
            if what == _DONE:
                return
            try:
                await self._do(what)
            except Exception as error:  # noqa: BLE001 - it is the thread that will know
                self._reply(what, error)
            else:
                self._reply(what, None)

    async def _do(self, what: str | tuple[tuple[Message, ...], bool]) -> None:
        if self._is_left:
            raise ClientDisconnected
        if what == _LOOK:
            with anyio.CancelScope() as scope:
                scope.cancel()  # a message that is there comes all the same
                self._early = await self._receive()
        elif isinstance(what, str):
            self._message = await self._receive()
        else:
            for message in what[0]:
                await self._send(message)

    def _reply(self, what: str | tuple[tuple[Message, ...], bool], error: Exception | None) -> None:
        self._asked.popleft()
        if isinstance(what, str) or what[1]:
            self._error = error
            self._answered.release()
        elif error is not None:
            self._failure = error

    async def _leave(self) -> None:
        """The task has been cancelled: have the thread know, and end by itself if it can."""
        self._is_left = True
        if not self._started:
            return
        with anyio.move_on_after(_PATIENCE, shield=True):
            await self._attend()
            return
        logger.error(
            "the application does not return, its thread is left behind: %s %s",
            self._scope["method"],
            self._scope["raw_path"].decode("ascii", "replace"),  # which no "%0A" can break
        )
        while self._asked and not self._is_over:
            self._reply(self._asked[0], ClientDisconnected())

    # ---- the thread's side ---------------------------------------------------------------

    def run(self) -> None:
        """The whole call, in the context of its request."""
        self._started = True
        try:
            if not self._is_left:
                self._context.run(self._run)
        except BaseException as error:  # noqa: BLE001 - the task raises it
            self._failure = error
        self._asked.append(_DONE)
        self._wake()

    def _run(self) -> None:
        # The context says that an event loop is running, which is true of the other thread.
        sniffio.current_async_library_cvar.set(None)
        if self._must_look:
            self._ask(_LOOK)
            if self._early is not None and self._early["type"] == "http.disconnect":
                raise ClientDisconnected
        environ = make_environ(
            self._scope, Input(self.receive), {"wsgi.errors": sys.stderr, **self._about}
        )
        call(self._app, environ, self)

    def receive(self) -> Message:
        if self._early is not None:
            message, self._early = self._early, None
            return message
        self._ask(_RECEIVE)
        return self._message

    def send(self, messages: tuple[Message, ...]) -> None:
        self._ask((messages, True))

    def send_last(self, messages: tuple[Message, ...], *, hurry: bool) -> None:
        self._asked.append((messages, False))
        if hurry:
            self._wake()

    def _ask(self, what: str | tuple[tuple[Message, ...], bool]) -> None:
        """Have the task do something, and wait. Raises what it has met with."""
        if not self._is_left:
            self._asked.append(what)
            self._wake()
        if self._is_left:  # perhaps just now: there may be nobody to answer
            raise ClientDisconnected
        self._answered.acquire()
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def _wake(self) -> None:
        """Have the task look. Once is enough until it does."""
        if self._is_woken:
            return
        self._is_woken = True
        try:
            self._wake_soon(self._notify)
        except RuntimeError:
            self._is_left = True  # the loop is no more
