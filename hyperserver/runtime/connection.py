"""The driver of one connection: engine, transport and streams brought together, synchronously.

The transport pushes bytes in; applications push messages in through their streams; either way the
engine is mutated and then *pumped*: its events are dispatched and its output is written, until
both are empty. Nothing here awaits, so nothing can interleave; a pump that is asked for while
one is in progress is left to the one in progress.
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from hyperserver.asgi.scope import ScopeContext, http_scope, websocket_scope
from hyperserver.observe.logs import logger
from hyperserver.protocol.answers import refusal
from hyperserver.protocol.events import (
    DataReceived,
    Event,
    InputClosed,
    ProtocolSwitched,
    RequestReceived,
    RequestRefused,
    StreamClosed,
    TrailersReceived,
)
from hyperserver.protocol.interface import HIGH_WATER
from hyperserver.protocol.websocket.handshake import HandshakeRefused, read_handshake
from hyperserver.runtime.stream import AnyStream, Stream, WebSocketStream
from hyperserver.runtime.waiting import wake

if TYPE_CHECKING:
    from anyio import CancelScope

    from hyperserver.protocol.answers import Answer
    from hyperserver.protocol.interface import AnyEngine, AnyWire
    from hyperserver.runtime.admission import RequestGate
    from hyperserver.runtime.site import Site
    from hyperserver.runtime.tls_session import TLSSession
    from hyperserver.runtime.transport_asyncio import AnyTransport
    from hyperserver.runtime.worker import Worker


#: What had better not be a packet of its own, in bytes.
_SHORT: Final = 4096


class Connection:
    """Owned by its transport, known to its worker from ``accept`` to ``connection_lost``."""

    __slots__ = (
        "_begun",
        "_eof_written",
        "_flush_due",
        "_leaving",
        "_lost",
        "_now",
        "_pumping",
        "_reading",
        "_sent_before",
        "_stalled_since",
        "_written",
        "context",
        "engine",
        "loan",
        "secure",
        "shares_writes",
        "site",
        "streams",
        "transport",
        "websockets",
        "wire",
        "worker",
    )

    def __init__(
        self,
        worker: Worker,
        transport: AnyTransport,
        engine: AnyWire,
        context: ScopeContext,
        now: float,
    ) -> None:
        self.worker = worker
        self.transport: AnyTransport = transport
        #: Takes commands and gives events.
        self.engine: AnyEngine = engine
        #: Takes and gives bytes: the engine itself, or a layer of TLS around it.
        self.wire: AnyWire = engine
        self.context = context
        #: Answers what is not the application's, if anything is not.
        self.site: Site | TLSSession | RequestGate | None = None
        #: Of a connection with TLS.
        self.secure: TLSSession | None = None
        #: Somebody writes to the socket in the transport's place, and has to end with it.
        self.loan: CancelScope | None = None
        context.zero_copy = transport.can_lend and context.tls is None
        self.streams: dict[int, AnyStream] = {}
        #: Those of the streams that have deadlines of their own, and outlive their applications.
        self.websockets: list[WebSocketStream] = []
        #: Several streams may have something to say at a time.
        self.shares_writes = engine.http_version == "2"
        self._flush_due = False
        #: Streams whose applications are to be called when the events at hand have been dispatched.
        self._begun: list[tuple[Stream, dict[str, Any]]] | None = None
        #: Streams whose applications have returned before their responses have left.
        self._leaving: list[Stream] | None = None
        self._now = now
        self._pumping = False
        self._lost = False
        self._reading = True
        self._eof_written = False
        self._written = 0
        self._sent_before = 0
        self._stalled_since: float | None = None

    # ---- from the transport --------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        now = self._now = monotonic()
        wire = self.wire
        try:
            wire.receive_data(data, now)
            if self.engine.event_queue or wire.output or wire.wants_data is not self._reading:
                self.flush()
            elif wire.output_finished:
                self._after_output()
        except Exception:  # noqa: BLE001
            self.contain()

    def eof_received(self) -> None:
        try:
            self.wire.receive_eof(monotonic())
            self.flush()
        except Exception:  # noqa: BLE001
            self.contain()

    def contain(self) -> None:
        """A bug of ours costs this connection and nothing else."""
        logger.exception("internal error; closing the connection from %s", self.context.client)
        self.transport.abort()

    def writable(self) -> None:
        """The transport is no longer congested."""
        self._flush_contained()
        self._wake_writers()
        if self._leaving is not None:
            self._let_go()

    def connection_lost(self) -> None:
        """The transport is closed, by whichever side: every stream that was left is over."""
        if self._lost:
            return
        self._lost = self._pumping = True  # never pump again
        self.worker.forget(self)
        if self.secure is not None:
            self.secure.ended(self.context.client)
        for stream in list(self.streams.values()):
            stream.closed()
            wake(stream)
        if self._leaving is not None:
            self._let_go()
        if self.loan is not None:
            self.loan.cancel()
        self.engine.lost()

    # ---- from the streams and the worker -------------------------------------------------

    def must_wait(self, stream_id: int) -> bool:
        """Whether ``send()`` has to wait for the client, but for the last of a response."""
        return not self._lost and (
            self.transport.congested or self.engine.buffered(stream_id) > HIGH_WATER
        )

    def deliver(self) -> bool:
        """``flush``, or see to it: streams that answer in one turn of the loop share a write."""
        if self._pumping:
            return False  # who pumps will see to it
        if self._flush_due:
            return self._takes_more
        if self.shares_writes and len(self.streams) > 1:
            return self.deliver_soon()
        return self.flush()

    def deliver_soon(self) -> bool:
        """See to a ``flush`` when the tasks that are ready now have had their turn."""
        if not (self._flush_due or self._pumping):
            self._flush_due = True
            self.worker.backend.call_soon(self._flush_shared)
        return self._takes_more

    def deliver_part(self, stream_id: int) -> bool:
        """``flush`` a part of a response, but those that follow in the same turn of the loop only when
        that ends, together.
        """
        if self._flush_due:
            if self.engine.buffered(stream_id) > HIGH_WATER:
                return self.flush()
            return self._takes_more
        self.deliver_soon()
        return self.flush()

    @property
    def _takes_more(self) -> bool:
        return not (self.transport.congested or self.wire.holds_output)

    def _flush_shared(self) -> None:
        self._flush_due = False
        self._flush_contained()

    def _flush_contained(self) -> None:
        try:
            self.flush()
        except Exception:  # noqa: BLE001
            self.contain()

    @property
    def owes_output(self) -> bool:
        """Something that was to be sent has not been taken by the client's side."""
        wire = self.wire
        return bool(self.transport.unsent() or wire.output or wire.holds_output)

    def wrote(self, n: int) -> None:
        """Bytes have gone to the socket past the transport."""
        self._written += n

    def flush(self) -> bool:
        """Dispatch the engine's events and write its output, until there are none.

        Whether all of the output has gone to the transport, which takes more.
        """
        if self._pumping:
            return False
        if self.engine.event_queue:
            self._dispatch_events()
        transport = self.transport
        wire = self.wire
        told: AnyWire = self.engine
        if told is not wire and not wire.stands_aside:
            told = wire
        while (told.output or (told.output_finished and wire.output)) and not transport.congested:
            data = wire.data_to_send()
            if (
                told.output and len(data) < _SHORT
            ):  # a head, and a body too large to be copied behind it
                body = wire.data_to_send()
                transport.write_together(data, body)
                if self._stalled_since is not None:
                    self._written += len(body)
            else:
                transport.write(data)
            if self._stalled_since is not None:
                self._written += len(data)
            if self.engine.event_queue:  # a stream has become writable
                self._dispatch_events()
                wire = self.wire
                told = self.engine
            if told is not wire and not wire.stands_aside:
                told = wire
        if told.wants_data is not self._reading:
            self._control_reading()
        if told.output_finished:
            self._after_output()
        return not (transport.congested or told.holds_output)

    def write_ahead(self) -> None:
        """Write what there is, and leave events to who pumps: a reset that is to follow would overtake
        the part of its response that was sent before it.
        """
        while self.wire.output and not self.transport.congested:
            data = self.wire.data_to_send()
            self.transport.write(data)
            if self._stalled_since is not None:
                self._written += len(data)

    def _control_reading(self) -> None:
        self._reading = self.wire.wants_data
        if self._reading:
            self.transport.resume_reading()
        else:
            self.transport.pause_reading()

    def _after_output(self) -> None:
        """Close what is finished, once the output has been written."""
        wire = self.wire
        if wire.aborted:
            self.transport.abort()
        if self.transport.congested:
            return
        if wire.is_closed:
            self.transport.close()
        elif wire.output_finished and not self._eof_written:
            self._eof_written = True
            self.transport.write_eof()

    def _dispatch_events(self) -> None:
        self._pumping = True
        at_once = True
        try:
            while self.engine.event_queue:
                for event in self.engine.events():
                    if type(event) is RequestReceived:
                        self._start_stream(event, at_once)
                    elif type(event) is DataReceived:
                        stream = self.streams.get(event.stream_id)
                        if stream is None:
                            self.engine.acknowledge(event.stream_id, len(event.data))
                        else:
                            stream.data_received(event.data, event.end_stream)
                            if stream.signal is not None:
                                stream.signal.notify()
                    else:
                        self._dispatch(event)
                if self._begun is not None:
                    self._call_begun(at_once)
                # More comes from applications that were started and have answered at once. Without
                # an end to that, a client that pipelines would keep all the others waiting.
                at_once = False
        finally:
            self._pumping = self._lost
            if self._begun is not None:  # by a fault of ours
                self._call_begun(False)

    def _call_begun(self, at_once: bool) -> None:
        begun, self._begun = self._begun, None
        for stream, scope in begun or ():
            self.worker.backend.spawn(stream, scope, at_once)

    def _start_stream(self, request: RequestReceived, at_once: bool) -> None:
        if self.site is not None and (answer := self.site.answer(request)) is not None:
            self._answer(request, answer)
            return
        if request.protocol is not None:
            self._start_websocket(request, at_once)
            return
        stream = self.streams[request.stream_id] = Stream(self, request, self._now)
        worker = self.worker
        worker.streams.add(stream)
        scope = http_scope(request, self.context, self.engine.can_push)
        if request.end_stream:
            worker.backend.spawn(stream, scope, at_once)
        elif self._begun is None:  # its body may have come along, so that it need not wait for that
            self._begun = [(stream, scope)]
        else:
            self._begun.append((stream, scope))

    def _answer(self, request: RequestReceived, answer: Answer) -> None:
        """In place of the application."""
        self.engine.send_response(request.stream_id, answer.status, answer.headers, answer.body)
        self.engine.release(request.stream_id)
        self.worker.log_answer(self, request, answer)

    def _start_websocket(self, request: RequestReceived, at_once: bool) -> None:
        worker = self.worker
        try:
            handshake = read_handshake(request, worker.deflate)
        except HandshakeRefused as error:
            self._answer(request, refusal(error.status, error.reason, *error.headers))
            return
        stream = WebSocketStream(self, request, handshake, self._now)
        self.streams[request.stream_id] = stream
        self.websockets.append(stream)
        worker.streams.add(stream)
        if worker.is_draining:
            stream.shutdown()
        scope = websocket_scope(request, self.context, handshake.subprotocols)
        worker.backend.spawn(stream, scope, at_once)

    def _dispatch(self, event: Event) -> None:
        """Any event but the two that are by far the most frequent."""
        if isinstance(event, RequestRefused):
            self.worker.log_refusal(self, event)
            return
        if isinstance(event, ProtocolSwitched):
            self._switch(event)
            return
        stream = self.streams.get(event.stream_id)
        if stream is None:
            return
        if isinstance(event, TrailersReceived):
            stream.data_received(b"", True)  # ASGI has no place for request trailers
        elif isinstance(event, InputClosed):
            stream.input_closed()
        elif isinstance(event, StreamClosed):
            stream.closed(event.status)
        elif type(stream) is WebSocketStream:  # writable: what had to wait may be sent
            stream.settle()
        wake(stream)
        if self._leaving is not None:
            self._let_go()

    def _switch(self, event: ProtocolSwitched) -> None:
        while not event.layered and self.wire.output:  # what the finished engine still has to say
            self.transport.write(self.wire.data_to_send())
        self.engine = event.connection
        self.shares_writes = self.engine.http_version == "2"
        if not event.layered:
            self.wire = event.connection
        if self.worker.is_draining:
            self.engine.shutdown(self.worker.grace)

    def stream_ended(self, stream: AnyStream, complete: bool) -> None:
        """The application has returned: send what its end caused, and forget the stream.

        Where much of its response has yet to leave, not before that has: until then the request counts,
        for limits, for the end of the server and for the log, which tells whether the client was there.
        """
        if (
            type(stream) is Stream
            and stream.bytes_sent >= HIGH_WATER
            and complete
            and not stream.gone
            and self.must_wait(stream.stream_id)
        ):
            if self._leaving is None:
                self._leaving = []
            self._leaving.append(stream)
        else:
            self._end_stream(stream, complete)

    def _let_go(self) -> None:
        """Forget the streams whose responses have left by now, or never will."""
        leaving, self._leaving = self._leaving, None
        try:
            for stream in leaving or ():
                self.stream_ended(stream, complete=True)
        except Exception:  # noqa: BLE001
            self.contain()

    def _end_stream(self, stream: AnyStream, complete: bool) -> None:
        worker = self.worker
        worker.streams.discard(stream)
        if worker.watches_ends:
            worker.stream_ended(stream)
        if type(stream) is WebSocketStream:
            if not stream.is_over:
                self.flush()  # a Close, of which the answer is to be seen
                return
            self._forget(stream)
        elif self.streams.pop(stream.stream_id, None) is not None:
            self.engine.release(stream.stream_id)
        if not complete:
            # Where the application took http.disconnect and left, its client may still be there
            # (half-closed, or told so because the server stops): let nobody wait for the rest.
            # To a stream that has ended this means nothing.
            self.engine.reset_stream(stream.stream_id, "the application has left")
            self.flush()

    def tunnel_ended(self, stream: WebSocketStream) -> None:
        """Nothing more will come of the tunnel; its application may still run."""
        if stream not in self.worker.streams:
            self._forget(stream)

    def _forget(self, stream: WebSocketStream) -> None:
        if self.streams.pop(stream.stream_id, None) is not None:
            self.engine.release(stream.stream_id)
            self.websockets.remove(stream)

    def _wake_writers(self) -> None:
        for websocket in self.websockets.copy():
            websocket.settle()
        for stream in list(self.streams.values()):
            wake(stream)
        if self.websockets:
            self._flush_contained()

    def shutdown(self) -> None:
        """Finish what is in flight or on its way, begin nothing new."""
        try:
            for websocket in self.websockets.copy():
                websocket.shutdown()
                wake(websocket)
        except Exception:  # noqa: BLE001
            self.contain()
        self.hurry()

    def hurry(self) -> None:
        """The same for the engine alone, perhaps again: the grace may have become shorter."""
        try:
            self.engine.shutdown(self.worker.grace)
            self.flush()
        except Exception:  # noqa: BLE001
            self.contain()

    def announce_disconnect(self, begun_before: float) -> None:
        """Tell applications that it is time to end (ASGI ``http.disconnect``)."""
        for stream in self.streams.values():
            if stream.started_at <= begun_before:
                stream.input_closed()
                wake(stream)

    def abort(self) -> None:
        self.transport.abort()

    # ---- time ----------------------------------------------------------------------------

    def sweep(self, now: float) -> None:
        """Called by the worker every half second: act on deadlines that have passed."""
        try:
            self._sweep(now)
        except Exception:  # noqa: BLE001
            self.contain()

    def _sweep(self, now: float) -> None:
        wire = self.wire
        transport = self.transport
        if wire.output_finished:
            # A response that is still on its way must arrive before its connection may close.
            waiting = transport.undelivered()
            self.flush()  # one that was accepted while draining is closed here
        else:
            waiting = transport.unsent()
        deadline = wire.next_timeout()
        if deadline is not None and deadline <= now and not (wire.output_finished and waiting):
            wire.handle_timeout(now)
            self.flush()
            if not self.streams:  # that may be for long: keep little
                self.streams.clear()
                self.context.rest()
        if self._leaving is not None:
            self._let_go()
        if waiting or self._stalled_since is not None:
            self._watch_writing(waiting, now)
        if self.websockets:
            self._look_at_websockets(now)
        if not self._reading and transport.is_broken():
            transport.abort()

    def _look_at_websockets(self, now: float) -> None:
        looked = False
        for stream in self.websockets.copy():
            if (due := stream.next_look) is not None and due <= now:
                stream.look(now)
                wake(stream)
                looked = True
        if looked:
            self.flush()

    def _watch_writing(self, unsent: int, now: float) -> None:
        """Abort where the peer has taken nothing of what waits for it, for the whole timeout."""
        sent = self._written - unsent
        if not unsent or sent != self._sent_before or self._stalled_since is None:
            self._sent_before = sent
            self._stalled_since = now if unsent else None
        elif now - self._stalled_since >= self.worker.config.timeouts.write:
            self.transport.abort()
