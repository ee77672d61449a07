"""One event loop that serves: from open sockets to a clean end.

The end is bounded and in stages: stop accepting; finish what is in flight or on its way; tell
``http.disconnect`` to what has run for the disconnect grace since; at the drain timeout, cancel;
then the lifespan's shutdown. ``force`` skips to the cancelling.
"""

from __future__ import annotations

import sys
import threading
import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import anyio
import sniffio

from hyperserver.errors import HyperserverError
from hyperserver.observe.logs import logger
from hyperserver.protocol.interface import HTTP2Options, Limits, ResponseDefaults
from hyperserver.protocol.negotiate import Negotiator, choose_engines
from hyperserver.protocol.websocket.connection import WebSocket, WebSocketOptions
from hyperserver.protocol.websocket.deflate import Deflate, DeflateOptions
from hyperserver.runtime import connection as driver
from hyperserver.runtime.acceptor import Acceptor
from hyperserver.runtime.admission import Admission
from hyperserver.runtime.backend import Backend, Listener
from hyperserver.runtime.dates import http_date
from hyperserver.runtime.lifespan import lifespan_of
from hyperserver.runtime.load import adapt
from hyperserver.runtime.log_files import open_access_log, reopen

if TYPE_CHECKING:
    from collections.abc import Callable

    from hyperserver.asgi.proxy import ProxyTrust
    from hyperserver.asgi.types import Application, ASGIApplication
    from hyperserver.config.schema import Config, Listen
    from hyperserver.observe.access_log import AccessLog
    from hyperserver.protocol.answers import Answer
    from hyperserver.protocol.events import RequestReceived, RequestRefused
    from hyperserver.protocol.websocket.handshake import Handshake
    from hyperserver.runtime.connection import Connection
    from hyperserver.runtime.listeners import OpenSocket
    from hyperserver.runtime.stream import AnyStream
    from hyperserver.runtime.tls_reload import TLSStore

#: Seconds between two sweeps over all deadlines; how late a timeout may come.
SWEEP_INTERVAL = 0.5
#: The same while draining, when somebody waits for the last deadline.
DRAIN_INTERVAL = 0.1
#: For how long a connection that looks idle may still bring a request when the server stops. What
#: was on its way has come by then; in a *rolling* drain, where nobody waits, there is more time.
STOP_GRACE = 0.5
#: Turns of the loop in which what was accepted has become a connection, on any loop.
_ACCEPTING = 5
#: How long cancelled applications may take to end before the worker gives up on them.
CANCEL_PATIENCE = 0.5


def make_backend() -> Backend:
    """The byte path of the running event loop."""
    if sniffio.current_async_library() == "trio":
        from hyperserver.runtime.transport_trio import TrioBackend

        return TrioBackend()
    from hyperserver.runtime.backend_asyncio import AsyncioBackend

    return AsyncioBackend()


def is_compiled() -> bool:
    """What every request passes through is compiled here (``setup.py``)."""
    return not driver.__file__.endswith(".py")


def _with_tracebacks(app: ASGIApplication) -> ASGIApplication:
    from hyperserver.runtime.failures import with_tracebacks

    return with_tracebacks(app)


class Worker:
    """Serves ``app`` on open sockets until ``stop`` is called. Raises AppError if it cannot."""

    def __init__(self, app: Application, config: Config) -> None:
        self._adapted = adapt(app, config)
        self.app = _with_tracebacks(self._adapted) if config.dev else self._adapted
        self.backend = make_backend()
        self.engines = choose_engines(
            config.http1.engine, config.http2.engine, config.websocket.engine
        )
        self._connections: set[Connection] = set()
        #: The application calls in progress.
        self.streams: set[AnyStream] = set()
        self.admission = Admission(config.limits, self._connections)
        self._acceptors: list[Acceptor] = []
        self._defaults: list[ResponseDefaults] = []
        #: The certificates, if a listener speaks TLS.
        self.tls: TLSStore | None = None
        #: The lifespan's namespace, which requests share.
        self.state: dict[str, Any] | None = None
        self._stopping = anyio.Event()
        self._forced = anyio.Event()
        self._idle = anyio.Event()
        self._delay = 0.0
        #: The server is to stop, though it may go on for a while (see ``timeouts.shutdown_delay``).
        self.is_leaving = False
        #: Nothing new is to begin.
        self.is_draining = False
        #: Nothing new can come any more.
        self._is_closed = False
        #: Once draining, for how long a connection without a request may still bring one.
        self.grace = 0.0
        self._end_watch: anyio.CancelScope | None = None
        #: Called with the time by each sweep.
        self.on_sweep: Callable[[float], None] | None = None
        self.on_end: Callable[[], None] | None = None
        #: Among several workers, one says what holds for all of them.
        self.speaks = True
        self.access_log: AccessLog | None = None
        self._use(config)

    def _use(self, config: Config) -> None:
        """Take from ``config`` what is made of it; connections there are keep what they have."""
        self.config = config
        if self.access_log is not None:
            self.access_log.close()
        self.access_log = open_access_log(config)
        #: Whether ``stream_ended`` is to be called.
        self.watches_ends = False
        self._return_mentioned = False
        self.count(self.on_end)
        self._limits = Limits(
            max_head_size=config.limits.request_head,
            max_target_size=config.limits.request_target,
            max_fields=config.limits.request_fields,
            max_body_size=config.limits.request_body,
            request_head_timeout=config.timeouts.request_head,
            keep_alive_timeout=config.timeouts.keep_alive,
            request_body_timeout=config.timeouts.request_body,
            min_body_rate=config.timeouts.min_body_rate,
            linger_timeout=config.timeouts.linger,
        )
        self._http2 = HTTP2Options(
            max_concurrent_streams=config.http2.max_concurrent_streams,
            initial_window=config.http2.initial_window,
            stream_window=config.http2.stream_window,
            connection_window=config.http2.connection_window,
            max_frame_size=config.http2.max_frame_size,
            priorities=config.http2.priorities,
            stall_timeout=config.timeouts.write,
        )
        websocket = config.websocket
        #: Asked about the clients of proxies, if any are trusted.
        self.proxy: ProxyTrust | None = None
        if config.proxy.trust:
            from hyperserver.asgi.proxy import ProxyTrust

            trusted = config.proxy
            self.proxy = ProxyTrust(
                trusted.trust, trusted.header, host=trusted.host, prefix=trusted.prefix
            )
        #: What handshakes may agree on.
        self.deflate = (
            DeflateOptions(websocket.compression_window, websocket.context_takeover)
            if websocket.compression
            else None
        )
        self._websocket = WebSocketOptions(
            max_message_size=websocket.max_message_size,
            ping_interval=websocket.ping_interval,
            ping_timeout=websocket.ping_timeout,
            close_timeout=websocket.close_timeout,
        )

    # ---- the life of the worker ----------------------------------------------------------

    async def run(
        self,
        sockets: list[OpenSocket],
        *,
        on_ready: Callable[[], None],
        on_stuck: Callable[[], None] | None = None,
    ) -> bool:
        """Serve; whether the end was clean.

        ``on_ready`` is called once connections are accepted; ``on_stuck`` if applications
        neither end nor give way to cancellation (it may end the process). Raises AppError if
        the application refuses to start.
        """
        timeouts = self.config.timeouts
        self._acceptors = [self.acceptor(opened) for opened in sockets]
        lifespan = lifespan_of(self._adapted, self.config.lifespan)
        self._refresh_date()
        failure: HyperserverError | None = None
        clean = True
        patience = threading.Timer(CANCEL_PATIENCE, self._leave, (on_stuck,))
        patience.daemon = True
        async with anyio.create_task_group() as tasks:
            try:
                await lifespan.startup(tasks, timeouts.startup)
                self.state = lifespan.state
                async with AsyncExitStack() as stack:
                    await stack.enter_async_context(self.backend.running(self.streams))
                    self.admission.measure()
                    listeners = [
                        await self.backend.listen(opened.sock, acceptor, opened.backlog)
                        for opened, acceptor in zip(sockets, self._acceptors, strict=True)
                    ]
                    tasks.start_soon(self._sweep_forever)
                    if self.tls is not None:
                        if self.speaks:
                            self.tls.announce()
                        tasks.start_soon(self.tls.watch)
                    on_ready()
                    try:
                        await self._stopping.wait()
                        with anyio.move_on_after(self._delay):
                            await self._forced.wait()
                        clean = await self._drain(listeners)
                    finally:
                        self._end(listeners, tasks, on_stuck)
                if self._end_watch is not None:
                    self._end_watch.cancel()
                ended = False
                with anyio.CancelScope(shield=True) as ending:
                    tasks.start_soon(self._hurry, ending)
                    ended = await lifespan.shutdown(timeouts.shutdown)
                if ending.cancelled_caught:
                    logger.error("the application's shutdown was not waited for")
                    ended = False
                if not ended:
                    clean = False
                    patience.start()
            except HyperserverError as error:
                failure = error  # not raised here: a task group would wrap it in a group
            finally:
                tasks.cancel_scope.cancel()
                if self.access_log is not None:
                    self.access_log.flush()
        patience.cancel()
        if failure is not None:
            raise failure
        return clean

    def stop(self, *, rolling: bool = False, delay: float = 0.0) -> None:
        """Begin the graceful end, after ``delay`` seconds in which all goes on.

        With ``rolling``, others serve on, and there is time for connections to be left by their
        clients. Called again without, there no longer is.
        """
        grace = self.config.timeouts.disconnect_grace
        self.grace = grace if rolling else min(STOP_GRACE, grace)
        self._delay = delay
        self.is_leaving = self.is_leaving or not rolling
        self._stopping.set()
        if self.is_draining and not rolling:
            for connection in list(self._connections):
                connection.hurry()

    def apply(self, config: Config) -> None:
        """Take what can change while serving from ``config``, and read certificates again."""
        self._use(config)
        self.admission.use(config.limits)
        self._defaults.clear()
        for acceptor in self._acceptors:
            acceptor.renew()
        self._refresh_date()
        if self.tls is not None:
            self.tls.change(config.tls)

    def reopen_logs(self) -> None:
        """Their files have been moved away."""
        reopen(self.access_log)

    def force(self) -> None:
        """Do not wait for what is in flight."""
        self._stopping.set()
        self._forced.set()
        self._idle.set()

    def count(self, on_end: Callable[[], None] | None) -> None:
        """Call ``on_end`` for each application call that has ended."""
        self.on_end = on_end
        self.watches_ends = self.config.log.access or self.is_draining or on_end is not None

    def mention_return(self, returned: object) -> None:
        """An application returns something, which means nothing in ASGI 3: say so, once."""
        if not self._return_mentioned:
            self._return_mentioned = True
            logger.warning(
                "the application returns a value (%s), which is ignored; it should send messages",
                type(returned).__name__,
            )

    def describe(self) -> str:
        """What serves, for the log."""
        engines = self.engines
        broken = [engine for engine in engines.passed_over if engine.is_broken]
        return (
            f"{self.backend.name}, HTTP/1.1 by {engines.http1_name} {engines.http1_version}, "
            f"HTTP/2 by {engines.http2_name}, WebSocket by {engines.websocket_name}, "
            f"Python {sys.version.split()[0]}{', compiled' if is_compiled() else ''}"
        ) + "".join(f"; {name} cannot be loaded: {reason}" for name, reason in broken)

    def acceptor(self, opened: OpenSocket) -> Acceptor:
        """What makes connections of those that ``opened`` accepts. Raises ConfigError."""
        contexts = None
        if opened.tls:
            if self.tls is None:
                from hyperserver.runtime.tls_reload import TLSStore

                self.tls = TLSStore(self.config.tls)
            contexts = self.tls.contexts(opened.protocols)
        return Acceptor(self, opened, contexts)

    def negotiator(self, opened: OpenSocket) -> Negotiator:
        """What chooses the engines of those connections, by the configuration of now."""
        negotiator = Negotiator(
            self.engines,
            self._limits,
            self._http2,
            self._response_defaults(opened.listen),
            protocols=opened.protocols,
            upgrade=self.config.http2.upgrade,
        )
        if opened.tls:
            negotiator.expect_http2()
        return negotiator

    def _response_defaults(self, listen: Listen) -> ResponseDefaults:
        more = []
        if listen.hsts is not None:
            more.append((b"strict-transport-security", b"max-age=%d" % listen.hsts))
        if listen.alt_svc is not None:
            more.append((b"alt-svc", listen.alt_svc.encode()))
        server = b"hyperserver" if self.config.server_header else None
        for name, value in self.config.response.fields():
            if name == b"server":
                server = value
            else:
                more.append((name, value))
        self._defaults.append(ResponseDefaults(server, None, more))
        return self._defaults[-1]

    @property
    def several_policies(self) -> bool:
        """Hosts differ in what their clients must show."""
        return self.tls is not None and self.tls.several_policies

    def open_websocket(self, handshake: Handshake) -> WebSocket:
        """The protocol's side of a WebSocket that the application accepts."""
        agreement = handshake.agreement
        return WebSocket(
            self.engines.make_frame_reader,
            self._websocket,
            None if agreement is None else Deflate(agreement),
        )

    async def _drain(self, listeners: list[Listener]) -> bool:
        """Wait for connections and applications to end; False if some had to be cut off."""
        timeouts = self.config.timeouts
        grace = min(timeouts.disconnect_grace, timeouts.drain)
        self.is_draining = self.watches_ends = True
        for listener in listeners:
            listener.close()
        listeners.clear()
        for connection in list(self._connections):
            connection.shutdown()
            connection.sweep(time.monotonic())  # its grace begins now, not with the next sweep
        for _ in range(_ACCEPTING):
            await self.backend.give_way()
        self._is_closed = True
        self._check_idle()
        with anyio.move_on_after(timeouts.drain):
            with anyio.move_on_after(grace):
                await self._idle.wait()
            while not self._idle.is_set():
                # Those that began later have as much time: to them the news comes later.
                begun_before = time.monotonic() - grace
                for connection in list(self._connections):
                    connection.announce_disconnect(begun_before)
                with anyio.move_on_after(SWEEP_INTERVAL):
                    await self._idle.wait()
        return not self.streams and not any(c.owes_output for c in self._connections)

    def _end(
        self,
        listeners: list[Listener],
        tasks: anyio.abc.TaskGroup,
        on_stuck: Callable[[], None] | None,
    ) -> None:
        """Cut off what is left. Synchronous: this may run while being cancelled."""
        for listener in listeners:
            listener.close()
        if self.streams:
            logger.warning("cancelling %d unfinished request(s)", len(self.streams))
            if on_stuck is not None:
                tasks.start_soon(self._watch_end, on_stuck)
        elif owing := sum(connection.owes_output for connection in self._connections):
            logger.warning("cutting off %d response(s) that clients have not taken", owing)
        for connection in list(self._connections):
            connection.abort()
        self.backend.cancel(self.streams)

    async def _hurry(self, ending: anyio.CancelScope) -> None:
        """Once forced, even a lifespan's shutdown gets no more than a moment."""
        await self._forced.wait()
        await anyio.sleep(CANCEL_PATIENCE)
        ending.cancel()

    def _leave(self, on_stuck: Callable[[], None] | None) -> None:
        """The lifespan was cancelled and goes on; called in a thread, as the loop may be stuck."""
        logger.error("the application's lifespan ignores its cancellation; leaving it")
        if on_stuck is not None:
            on_stuck()

    async def _watch_end(self, on_stuck: Callable[[], None]) -> None:
        """Applications were cancelled: report if they go on regardless."""
        if not self.streams:
            return
        with anyio.CancelScope(shield=True) as self._end_watch:
            await anyio.sleep(CANCEL_PATIENCE)
        if self.streams:
            logger.error("%d request(s) ignore their cancellation; leaving them", len(self.streams))
            if self.access_log is not None:
                self.access_log.flush()
            on_stuck()

    # ---- what connections call -----------------------------------------------------------

    def adopt(self, connection: Connection) -> None:
        """Keep an eye on a connection that has just been accepted."""
        self._connections.add(connection)
        if self.is_draining:
            connection.engine.shutdown(self.grace)

    def forget(self, connection: Connection) -> None:
        self._connections.discard(connection)
        self.admission.left(connection.context.client)
        if self.is_draining:
            self._check_idle()

    def stream_ended(self, stream: AnyStream) -> None:
        """An application call has ended, one way or another; called if ``watches_ends``."""
        if self.on_end is not None:
            self.on_end()
        if self.access_log is not None:
            request = stream.request
            self.access_log.request(
                stream.connection.context.client_of(request.headers),
                request.method,
                request.target,
                request.http_version,
                stream.status,
                stream.content_sent,
                time.monotonic() - stream.started_at,
                stream.note,
            )
        if self.is_draining:
            self._check_idle()

    def log_refusal(self, connection: Connection, refusal: RequestRefused) -> None:
        if self.access_log is not None:
            self.access_log.refused(
                connection.context.client,
                refusal.method,
                refusal.target,
                refusal.http_version,
                refusal.status,
                refusal.reason,
            )

    def log_answer(self, connection: Connection, request: RequestReceived, answer: Answer) -> None:
        """The server has answered in place of the application."""
        if self.access_log is not None:
            self.access_log.request(
                connection.context.client_of(request.headers),
                request.method,
                request.target,
                request.http_version,
                answer.status,
                0 if request.method == "HEAD" else len(answer.body),
                0.0,
                f"refused: {answer.reason}" if answer.reason else "",
            )

    def _check_idle(self) -> None:
        if self._is_closed and not self._connections and not self.streams:
            self._idle.set()

    # ---- time ----------------------------------------------------------------------------

    async def _sweep_forever(self) -> None:
        """The only timer: every deadline of every connection is data that it compares."""
        while True:
            await anyio.sleep(DRAIN_INTERVAL if self.is_draining else SWEEP_INTERVAL)
            now = time.monotonic()
            self._refresh_date()
            self.admission.retry()
            self._sweep(now)
            if self.on_sweep is not None:
                self.on_sweep(now)
            if self.access_log is not None:
                self.access_log.flush()

    def _sweep(self, now: float) -> None:
        """Apart from what goes on forever, and would hold the last one."""
        for connection in list(self._connections):
            connection.sweep(now)

    def _refresh_date(self) -> None:
        if self.config.date_header:
            date = http_date(time.time())
            for defaults in self._defaults:
                defaults.set_date(date)
