"""An HTTP/2 connection as a state machine over a library's session (RFC 9113).

The *session* (see ``Session``) knows frames, HPACK, stream states and windows. This file knows what
a server makes of them: which requests are served, what waits to be sent and in which order, what
credit is given for received bytes, what happens at deadlines and at the end.

Which streams there are, and how many calls they stand for, is counted in ``table``; received bytes
that the application has not taken in ``inbound``. What is sent is in ``outbound``, in which order in
``turns``, what can be late in ``clocks``.

A connection ends in stages: those of ``ending``, then LINGER as in HTTP/1.
"""

from __future__ import annotations

from collections.abc import Callable

from hyperserver.errors import LocalProtocolError, RemoteProtocolError
from hyperserver.protocol.events import (
    DataReceived,
    Event,
    Headers,
    RequestReceived,
    StreamClosed,
    StreamWritable,
    TrailersReceived,
)
from hyperserver.protocol.h2 import messages
from hyperserver.protocol.h2.abuse import Abuse
from hyperserver.protocol.h2.clocks import Clocks, Late
from hyperserver.protocol.h2.ending import GONE, SERVING, Ending
from hyperserver.protocol.h2.frames import ConnectionFault, ErrorCode
from hyperserver.protocol.h2.inbound import Inbound
from hyperserver.protocol.h2.outbound import Outbound
from hyperserver.protocol.h2.priority import Dependency, Priority
from hyperserver.protocol.h2.pushes import Pushes
from hyperserver.protocol.h2.session import Session
from hyperserver.protocol.h2.streams import DONE, NOT_STARTED, Stream
from hyperserver.protocol.h2.table import StreamTable
from hyperserver.protocol.h2.turns import Turns
from hyperserver.protocol.interface import HTTP2Options, Limits, ResponseDefaults, TunnelSink

# phases
_OPEN, _LINGER, _CLOSED = range(3)

#: Output that a peer has caused and does not read, from which on we do not read either.
_MAX_CONTROL_OUTPUT = 65_536

MakeSession = Callable[["HTTP2Connection", Limits, HTTP2Options, Abuse], Session]


class HTTP2Connection:
    """The HTTP/2 engine, given a library's session."""

    __slots__ = (
        "__weakref__",
        "_abuse",
        "_clocks",
        "_ending",
        "_greeted",
        "_inbound",
        "_initial_window",
        "_limits",
        "_now",
        "_out",
        "_out_size",
        "_outbound",
        "_phase",
        "_pushes",
        "_scheme",
        "_session",
        "_table",
        "_turns",
        "_waited",
        "aborted",
        "event_queue",
        "is_closed",
        "output",
        "output_finished",
        "streams",
        "wants_data",
    )
    http_version = "2"
    stands_aside = False  # it is no layer

    def __init__(
        self,
        make_session: MakeSession,
        limits: Limits,
        options: HTTP2Options,
        defaults: ResponseDefaults,
        scheme: str,
        now: float,
        upgrade: tuple[bytes, RequestReceived] | None = None,
    ) -> None:
        self.wants_data = True
        self.output_finished = False
        self.is_closed = False
        self.aborted = False
        self.event_queue: list[Event] = []
        #: ``data_to_send`` may have something: at once the server's preface.
        self.output = True
        self._table = StreamTable(options.max_concurrent_streams)
        self.streams = self._table.streams
        self._limits = limits
        self._initial_window = options.initial_window
        self._scheme = scheme
        self._abuse = Abuse()
        self._turns = Turns(options.priorities)
        self._session = make_session(self, limits, options, self._abuse)
        self._inbound = Inbound(self._session, limits, options)
        self._outbound = Outbound(
            self._session, self._turns, self.streams, defaults, self._abuse, self
        )
        self._out: list[bytes] = []
        self._out_size = 0
        self._now = now
        self._phase = _OPEN
        #: After an upgrade, DATA waits for the client's preface: clients may have little room for
        #: what comes with the 101.
        self._greeted = upgrade is None
        self._waited = 0  # streams with bytes that were left when output was last taken
        self._clocks = Clocks(limits, options, now)
        self._ending = Ending(self._session, self._clocks)
        self._pushes: Pushes | None = None

        self._session.start(None if upgrade is None else upgrade[0])
        self._inbound.start()
        if upgrade is not None:
            self._take_over(upgrade[1])

    def _take_over(self, request: RequestReceived) -> None:
        """After ``Upgrade: h2c``, the request that asked for it is stream 1 (RFC 7540 §3.2)."""
        self._ending.last_id = 1
        self._begin(Stream(1, request.method, False, self._initial_window, request.authority))
        request.http_version = "2"
        self.event_queue.append(request)

    # ---- bytes in ------------------------------------------------------------------------

    def receive_data(self, data: bytes, now: float) -> None:
        if self._phase != _OPEN:
            return
        self._now = now
        session = self._session
        try:
            session.receive(data, now)
        except ConnectionFault as fault:
            self._fail(fault.code, fault.reason)
        self._collect()
        if self._out_size > _MAX_CONTROL_OUTPUT:
            self.wants_data = False
        if session.is_partial:
            self._clocks.touch()
        elif partial := self.streams.get(session.partial_data):
            self._clocks.extend_body(partial, len(data), now)

    def receive_eof(self, now: float) -> None:
        for stream_id in sorted(self.streams):
            self._close_stream(stream_id, "the client has left")
        self._close()

    def lost(self) -> None:
        """Without waiting for the garbage collector, which would come late: a connection and its
        session know of each other.
        """
        self.receive_eof(self._now)
        self.event_queue.clear()
        self._outbound.close()
        self._session.close()

    def _collect(self) -> None:
        """Take what the session has written, in order, before anything else is."""
        data = self._session.data_to_send()
        if data:
            self._out.append(data)
            self._out_size += len(data)
            self.output = True

    # ---- what the session reports --------------------------------------------------------

    def on_fields(
        self, stream_id: int, block: Headers, end_stream: bool, *, spoiled: bool = False
    ) -> None:
        """A field section: of a request, or of its trailers. ``spoiled``: malformed as a whole."""
        stream = self.streams.get(stream_id)
        if stream is not None:
            self._trailers_received(stream, block, spoiled)
            return
        if self._ending.stage == GONE:  # the final GOAWAY has said that it will not be served
            self._turn_away(stream_id)
            self._abuse.reset(self._now)
            return
        self._ending.last_id = stream_id
        if not self._table.has_place():
            self._turn_away(stream_id)
            self._abuse.control(self._now)
            return
        try:
            if spoiled:
                raise RemoteProtocolError("malformed request")
            request = messages.read_request(block, self._limits)
            if end_stream and request.content_length:
                raise RemoteProtocolError("no body, but a content-length")
        except RemoteProtocolError as error:
            self._refuse(stream_id, block, end_stream, error)
            return
        stream = Stream(
            stream_id, request.method, not end_stream, self._initial_window, request.authority
        )
        stream.protocol = request.protocol
        stream.content_length = request.content_length
        self._begin(stream, request.priority)
        self.event_queue.append(
            messages.request_event(stream_id, request, self._scheme, end_stream)
        )

    def _begin(self, stream: Stream, priority: bytes | None = None) -> None:
        self._table.add(stream)
        self._clocks.busy()
        self._turns.requested(stream, priority)
        if stream.receiving:
            self._clocks.touch()

    def _refuse(
        self, stream_id: int, block: Headers, end_stream: bool, error: RemoteProtocolError
    ) -> None:
        """Answer, or reset the stream of, a request that the application will not see."""
        self.event_queue.append(event := messages.refused_event(stream_id, block, error))
        if messages.is_malformed(error):
            self._turn_away(stream_id, ErrorCode.PROTOCOL_ERROR)
            self._abuse.reset(self._now)
        else:
            stream = Stream(stream_id, event.method, not end_stream, self._initial_window, b"")
            stream.is_released = True  # no application is called, yet it has a place until it ends
            self._begin(stream)
            self._send_refusal(stream, error.status, error.reason)

    def _turn_away(self, stream_id: int, code: ErrorCode = ErrorCode.REFUSED_STREAM) -> None:
        """Reset a stream that never was anything else."""
        self._session.reset(stream_id, code)
        self._turns.passed_by(stream_id)

    def _send_refusal(self, stream: Stream, status: int, reason: str) -> None:
        stream.is_unread = True
        headers, body = messages.refusal(status, reason)
        self.send_response(stream.id, status, headers, body)

    def _trailers_received(self, stream: Stream, block: Headers, spoiled: bool) -> None:
        try:
            if spoiled or stream.is_tunnel:
                raise RemoteProtocolError("malformed trailers")
            trailers = messages.read_trailers(block, self._limits)
            self._inbound.check(stream, ends=True)
        except RemoteProtocolError as error:
            self.stream_error(stream.id, ErrorCode.PROTOCOL_ERROR, error.reason)
            return
        self._request_ended(stream)
        if not stream.is_unread:
            self.event_queue.append(TrailersReceived(stream.id, trailers))

    def on_data(self, stream_id: int, data: bytes, flow_length: int, end_stream: bool) -> None:
        """DATA, of which ``flow_length`` bytes count against the windows."""
        stream = self.streams.get(stream_id)
        if stream is None:
            self._inbound.return_credit(flow_length)
            return
        if stream.is_unread:
            self._inbound.discard(stream, flow_length)
            if end_stream:
                self._request_ended(stream)
            return
        size = len(data)
        self._inbound.received(stream, size, flow_length)
        try:
            self._inbound.check(stream, ends=end_stream)
        except RemoteProtocolError as error:
            if error.status == 413:
                self._cut_request(stream, error)
            else:
                self.stream_error(stream_id, ErrorCode.PROTOCOL_ERROR, error.reason)
            return
        if end_stream:
            self._request_ended(stream)
        elif stream.deadline is not None:
            self._clocks.extend_body(stream, size, self._now)
        if size or end_stream:
            self.event_queue.append(DataReceived(stream_id, data, end_stream))

    def _cut_request(self, stream: Stream, error: RemoteProtocolError) -> None:
        """Give up on a body: with a response if none has begun, else with a reset."""
        answers = stream.response == NOT_STARTED
        self.event_queue.append(
            StreamClosed(stream.id, error.reason, error.status if answers else 0)
        )
        if answers:
            self._send_refusal(stream, error.status, error.reason)
            self._table.lose(stream)
        else:
            self._session.reset(stream.id, ErrorCode.CANCEL)
            self._orphan(stream)

    def _request_ended(self, stream: Stream) -> None:
        stream.receiving = False
        if stream.response == DONE:
            self._forget(stream)

    def on_reset(self, stream_id: int) -> None:
        """The client has reset the stream."""
        self._close_stream(stream_id, "reset by the client")

    def on_stream_error(self, stream_id: int, reason: str) -> None:
        """The session has reset the stream over a fault of the client's."""
        self._close_stream(stream_id, reason)
        self._abuse.reset(self._now)

    def stream_error(self, stream_id: int, code: ErrorCode, reason: str) -> None:
        """Reset the stream over a fault of the client's (RFC 9113 §5.4.2)."""
        self._session.reset(stream_id, code)
        self.on_stream_error(stream_id, reason)

    def on_window(self, stream_id: int) -> None:
        """A window has been opened: the stream's, or with 0 perhaps all of them."""
        self._outbound.window_opened(stream_id)
        self.output = True

    def on_priority(self, stream_id: int, signal: Priority | Dependency) -> None:
        self._turns.signalled(stream_id, self.streams.get(stream_id), signal)
        announced = self._turns.scheduler.announced
        if announced and not self._table.has_place(announced):
            # RFC 9218 §7.1: idle streams with a priority count towards the limit
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "too many streams prioritized")

    def on_settings(self) -> None:
        """The client's SETTINGS, by which windows may have grown."""
        self._greeted = True
        self._clocks.greeted()
        self.on_window(0)

    def on_settings_acknowledged(self) -> None:
        self._clocks.settings_acknowledged()

    def on_ping_acknowledged(self, payload: bytes) -> None:
        if self._ending.is_answer(payload):
            self._end_round_trip()

    def on_goaway(self) -> None:
        """The client will open no more streams, nor take any."""
        self._ending.peer_has_ended = True
        self._check_end()

    # ---- commands ------------------------------------------------------------------------

    def send_informational(self, stream_id: int, status: int, headers: Headers) -> None:
        block = messages.informational_block(status, headers)
        stream = self._table.find(stream_id)
        if stream is not None:
            self._outbound.inform(stream, block)
            self.output = True

    def send_headers(
        self, stream_id: int, status: int, headers: Headers, end_stream: bool = False
    ) -> None:
        stream = self._table.find(stream_id)
        if stream is not None:
            self._outbound.begin(stream, status, headers, end_stream)
            self.output = True

    def send_response(self, stream_id: int, status: int, headers: Headers, body: bytes) -> None:
        stream = self._table.find(stream_id)
        if stream is not None:
            self._outbound.respond(stream, status, headers, body)
            self.output = True

    def send_data(self, stream_id: int, data: bytes, end_stream: bool = False) -> None:
        stream = self._table.find(stream_id)
        if stream is not None:
            self._outbound.write(stream, data, end_stream)
            self.output = True

    def send_trailers(self, stream_id: int, headers: Headers) -> None:
        stream = self._table.find(stream_id)
        if stream is not None:
            self._outbound.write_trailers(stream, headers)
            self.output = True

    def accept_tunnel(
        self, stream_id: int, headers: Headers, sink: TunnelSink | None = None
    ) -> None:
        stream = self._table.find(stream_id)
        if stream is None:
            return
        if stream.protocol is None:
            raise LocalProtocolError(f"stream {stream_id} asks for no tunnel")
        self._turns.tunnelled(stream)
        self._outbound.begin(stream, 200, headers, ends=False)
        stream.is_tunnel = True
        self.output = True

    def push_stream(self, stream_id: int, target: bytes, headers: Headers) -> int | None:
        parent = self.streams.get(stream_id)
        if parent is None or not self.can_push:
            return None
        if self._pushes is None:
            self._pushes = Pushes(self._session, self._scheme)
        promise = self._pushes.promise(parent, target, headers)
        if promise is None:
            return None
        promised, request = promise
        stream = Stream(promised, "GET", False, self._initial_window, parent.authority)
        stream.is_pushed = True
        self._begin(stream)
        self.output = True
        self.event_queue.append(messages.request_event(promised, request, self._scheme, True))
        return promised

    def acknowledge(self, stream_id: int, n: int) -> None:
        stream = self.streams.get(stream_id)
        if stream is None or not n:
            return  # what a stream held was given back when it ended
        if self._inbound.acknowledge(stream, n):
            self._clocks.touch()
        self.output = True

    def reset_stream(self, stream_id: int, reason: str) -> None:
        stream = self.streams.get(stream_id)
        if stream is not None and (stream.is_tunnel or not stream.end_queued):
            # in a tunnel, CANCEL stands for a TCP reset (RFC 8441 §5)
            code = ErrorCode.CANCEL if stream.is_tunnel else ErrorCode.INTERNAL_ERROR
            self._session.reset(stream_id, code)
            self._orphan(stream)

    def release(self, stream_id: int) -> None:
        stream = self._table.release(stream_id)
        if stream is not None and stream.is_tunnel:
            self._inbound.leave(stream)
            self._clocks.touch()
            self.output = True

    def became_writable(self, stream_id: int) -> None:
        self.event_queue.append(StreamWritable(stream_id))

    # ---- streams end ---------------------------------------------------------------------

    def response_ended(self, stream: Stream) -> None:
        stream.response = DONE
        if stream.receiving and stream.is_tunnel:
            self._clocks.touch()  # each side ends for itself (RFC 8441 §5), but in time
            return
        if stream.receiving:  # RFC 9113 §8.1: nobody needs the rest of the request
            self._session.reset(stream.id, ErrorCode.NO_ERROR)
        self._forget(stream)

    def _close_stream(self, stream_id: int, reason: str) -> None:
        """The stream is lost; say so, unless the application has no part in it (any more)."""
        stream = self.streams.get(stream_id)
        if stream is not None:
            self._orphan(stream)
            if not stream.is_unread:
                self.event_queue.append(StreamClosed(stream_id, reason))

    def _orphan(self, stream: Stream) -> None:
        """The stream ends before its application has."""
        self._table.lose(stream)
        self._forget(stream)

    def _forget(self, stream: Stream) -> None:
        self._table.remove(stream)
        self._outbound.drop(stream)
        if stream.is_pushed and self._pushes is not None:
            self._pushes.ended()
        self._inbound.drop(stream)
        self.output = True
        if not self.streams:
            self._clocks.touch()
            self._check_end()

    # ---- the end of the connection -------------------------------------------------------

    def shutdown(self, grace: float = 0.0) -> None:
        if self._phase != _OPEN or self._ending.stage != SERVING:
            return
        self.output = True
        if self.streams or grace:
            self._ending.announce(patient=grace > 0)
        else:
            self._end_round_trip()
            self._close()  # nothing is under way that could be lost

    def _end_round_trip(self) -> None:
        """The client knows: name the last stream that is served."""
        self._ending.name_last()
        self.output = True
        self._check_end()

    def _check_end(self) -> None:
        """With nothing left in flight, a connection that is to end does."""
        if not self.streams and self._phase == _OPEN and self._ending.without_streams():
            self._finish()

    def _fail(self, code: ErrorCode, reason: str) -> None:
        """End the connection with a GOAWAY; nothing more is read."""
        self._inbound.stop()
        self._ending.name_last(code)
        for stream_id in sorted(self.streams):
            self._close_stream(stream_id, reason)
        if self._phase == _OPEN:
            self._finish()

    def _finish(self) -> None:
        self._collect()
        self._phase = _LINGER
        self._clocks.lingering = True
        self.output_finished = True
        self.wants_data = True
        self._clocks.touch()

    def _close(self) -> None:
        self._phase = _CLOSED
        self._clocks.next_look = None
        self.output_finished = True
        self.is_closed = True

    # ---- drains --------------------------------------------------------------------------

    def events(self) -> list[Event]:
        events = self.event_queue
        if events:
            self.event_queue = []
        return events

    @property
    def can_push(self) -> bool:
        ending = self._ending
        return (
            self._phase == _OPEN
            and self._session.allows_push
            and ending.stage == SERVING
            and not ending.peer_has_ended
        )

    @property
    def holds_output(self) -> bool:
        return self._outbound.waiting > 0

    def buffered(self, stream_id: int) -> int:
        stream = self.streams.get(stream_id)
        return 0 if stream is None else stream.queued

    def data_to_send(self) -> bytes:
        more = self._outbound.waiting > 0 and self._greeted and self._outbound.write_frames()
        self._collect()
        data = b"".join(self._out)
        self._out.clear()
        self._out_size = 0
        self.output = more
        if self._phase == _OPEN:
            self.wants_data = True
        waiting = self._outbound.waiting
        if waiting and (data or waiting != self._waited):
            self._clocks.touch()  # it may be credit that they wait for
        self._waited = waiting
        return data

    # ---- time ----------------------------------------------------------------------------

    def next_timeout(self) -> float | None:
        return self._clocks.next_look

    def handle_timeout(self, now: float) -> None:
        if self._phase == _CLOSED:
            return
        self._now = now
        late = self._clocks.look(now, self._session, self.streams)
        if late is Late.LINGER:
            self._close()
        elif late is Late.GOAWAY:
            self._end_round_trip()
        elif late is Late.SETTINGS:
            self._fail(ErrorCode.SETTINGS_TIMEOUT, late.value)
        elif late is not None:
            self._fail(ErrorCode.NO_ERROR, late.value)
        elif self._phase == _OPEN:
            if self.streams:
                self._cut_late_streams(now)
            elif not self._session.is_partial:
                self._rest()

    def _rest(self) -> None:
        """Nothing is under way: keep little."""
        self._collect()
        self._table.rest()
        self._turns.rest()
        self._session.rest()

    def _cut_late_streams(self, now: float) -> None:
        bodies, half_open, stalled = self._clocks.late_streams(
            now,
            self._session,
            self.streams,
            may_send=self._inbound.is_open,
            sent=self._outbound.sent,
        )
        for stream in bodies:
            self._cut_request(stream, RemoteProtocolError("request body not received in time", 408))
        for stream in half_open:
            self._session.reset(stream.id, ErrorCode.CANCEL)
            self._close_stream(stream.id, Late.HALF_OPEN.value)
        if not stalled:
            return
        for stream in stalled:
            if self._session.stream_window(stream.id) > 0:  # it is the connection's
                break
            self._session.reset(stream.id, ErrorCode.CANCEL)
            self._close_stream(stream.id, Late.STALLED.value)
        else:
            if self.streams:
                return
        self._fail(ErrorCode.ENHANCE_YOUR_CALM, Late.STALLED.value)
