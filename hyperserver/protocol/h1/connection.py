"""An HTTP/1 connection as a state machine that speaks HTTP/2's vocabulary.

One request at a time is a *stream* (1, 3, 5…). What the connection is doing is its *phase*:

    HEAD ──head──► BODY ──body ends──► WAIT ──response ends──► HEAD (stream id + 2)
      │  └────────(no body)──────────────▲ │
      │                                    └─ or, if the connection is not kept: LINGER, CLOSED
      └─► TUNNEL (101)     any fault ─► an error response ─► LINGER ─► CLOSED

The two halves of a stream end independently. ``_phase`` is where the *request* is; ``_response``
is where the *response* is. The next head is read only when both have ended, so pipelined bytes
wait in ``_buffer`` and answers keep their order (RFC 9112 §9.3.2). If the response ends first,
the rest of the request body is read and thrown away, within bounds, else the connection closes.

LINGER is the staged close of RFC 9112 §9.6: the sending side is shut, what still arrives is
discarded until the peer closes or the time is up. Closing at once with unread bytes would make
TCP reset the connection and could destroy the response on its way.

What leaves, and how the end of a body is marked, is ``output``'s; deadlines are ``clock``'s.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from hyperserver.errors import LocalProtocolError, RemoteProtocolError
from hyperserver.protocol.events import (
    DataReceived,
    Event,
    Headers,
    InputClosed,
    ProtocolSwitched,
    RequestReceived,
    StreamClosed,
    StreamWritable,
    TrailersReceived,
)
from hyperserver.protocol.fields import response_fields
from hyperserver.protocol.h1 import upgrade, wire
from hyperserver.protocol.h1.chunked import ChunkedDecoder
from hyperserver.protocol.h1.head import Head, SplitFields
from hyperserver.protocol.h1.head_reader import HeadReader
from hyperserver.protocol.h1.output import LARGE, Output
from hyperserver.protocol.h1.sized import SizedDecoder
from hyperserver.protocol.h1.wire import BY_CHUNKS, BY_CLOSE, BY_LENGTH, BY_NOTHING
from hyperserver.protocol.interface import (
    HIGH_WATER,
    ByteConnection,
    Limits,
    ResponseDefaults,
    Successor,
    TunnelSink,
)
from hyperserver.protocol.response_fields import ResponseFields

# phases
_HEAD: Final = 0
_BODY: Final = 1
_WAIT: Final = 2
_TUNNEL: Final = 3
_LINGER: Final = 4
_CLOSED: Final = 5
# the response
_NOT_STARTED: Final = 0
_SENDING: Final = 1
_DONE: Final = 2

#: A request body that the application left unread is drained up to this size.
_MAX_DISCARD: Final = 262_144


class HTTP1Connection(Output):
    """The HTTP/1 engine, given a library's way to split field sections.

    ``make_splitter`` is called for each connection and after requests with a body.
    ``now`` is the time of the connection's first moment: its first request head is awaited
    from then on.
    """

    __slots__ = (
        "_body",
        "_buffer",
        "_continue_due",
        "_defaults",
        "_discarded",
        "_eof",
        "_expects_usual",
        "_grace",
        "_heads",
        "_http10",
        "_keep_alive",
        "_limits",
        "_method",
        "_phase",
        "_response",
        "_scheme",
        "_sink",
        "_stream_id",
        "_successor",
        "_unacknowledged",
        "aborted",
        "can_push",
        "event_queue",
        "holds_output",
        "http_version",
        "is_closed",
        "output_finished",
        "wants_data",
    )
    stands_aside = False  # it is no layer

    def __init__(
        self,
        make_splitter: Callable[[], SplitFields],
        limits: Limits,
        defaults: ResponseDefaults,
        scheme: str,
        now: float,
        successor: Successor | None = None,
    ) -> None:
        Output.__init__(self, now + limits.request_head_timeout)
        self.http_version = "1.1"
        self.can_push = False
        self.wants_data = True
        self.holds_output = False
        self.output_finished = False
        self.is_closed = False
        self.aborted = False
        self._heads = HeadReader(make_splitter, limits)
        self._limits = limits
        self._defaults = defaults
        self._scheme = scheme
        self._successor = successor
        self.event_queue: list[Event] = []
        self._buffer = bytearray()
        self._phase = _HEAD
        self._response = _DONE  # there is no request that could be answered
        self._stream_id = 1
        self._grace: float | None = None  # once draining, how long a request is waited for
        self._eof = False
        # the request
        self._method = ""
        self._http10 = False
        self._keep_alive = False
        #: It has ended, and of the response there is nothing to decide but by the response.
        self._expects_usual = False
        self._sink: TunnelSink | None = None
        # its body, valid in _BODY and _TUNNEL only
        self._continue_due = False
        self._body: ChunkedDecoder | SizedDecoder
        self._discarded = 0
        self._unacknowledged = 0

    # ---- bytes in ------------------------------------------------------------------------

    def receive_data(self, data: bytes, now: float) -> None:
        phase = self._phase
        if phase == _TUNNEL:
            if self._sink is None or not self._sink(data):
                self._tunnel(data)
            return
        if phase == _HEAD and not self._buffer and 0 <= data.find(b"\r\n\r\n") == len(data) - 4:
            self._read_head(data, now)  # by far the most frequent case: one read, one head
            return
        if phase >= _LINGER or not data:
            return
        if phase == _HEAD and not self._buffer:
            self._start_clock(self._limits.request_head_timeout, now)
        elif self._pending is not None:
            self._start_clock(self._pending, now)
        if phase == _BODY and not self._buffer and self._body.takes(data):
            self._body_read(data, len(data), now)
        else:
            self._buffer += data
            self._advance(now)

    def _tunnel(self, data: bytes) -> None:
        if self._sink is None:
            self._deliver(data, False)
        else:  # it has them, and has yet to acknowledge
            self._unacknowledged += len(data)
            self._update_wants_data()

    def receive_eof(self, now: float) -> None:
        self._eof = True
        self._input_ended()

    def lost(self) -> None:
        self._sink = None  # it knows of us

    def _input_ended(self) -> None:
        """What the end of input means depends on what it interrupts."""
        if self._phase == _HEAD:
            if self._buffer:
                self._refuse(RemoteProtocolError("incomplete request head"))
            else:
                self._close()
        elif self._phase == _BODY:
            if self._response != _DONE:
                self.event_queue.append(StreamClosed(self._stream_id, "incomplete request body"))
            self._cut()
        elif self._phase == _WAIT:
            self.event_queue.append(InputClosed(self._stream_id))
        elif self._phase == _TUNNEL:
            self._phase = _WAIT
            self.event_queue.append(DataReceived(self._stream_id, b"", True))
        else:
            self._close()

    def _advance(self, now: float | None) -> None:
        """Read as much of ``_buffer`` as the phases allow. ``now`` is None within a command."""
        while self._buffer:
            if self._phase == _HEAD:
                try:
                    block = self._heads.take(self._buffer)
                except RemoteProtocolError as error:
                    if self._successor is None or not upgrade.may_be_preface(
                        self._buffer, self._stream_id
                    ):
                        self._refuse(error)
                    break
                if block is None:
                    break
                self._read_head(block, now)
            elif self._phase != _BODY or not self._read_body(now):
                break
        self._update_wants_data()

    def _read_head(self, block: bytes, now: float | None) -> None:
        """Act on a complete head: a request event, or a refusal."""
        try:
            found = self._heads.read(block)
        except RemoteProtocolError as error:
            if self._successor is not None and upgrade.is_preface(block, self._stream_id):
                assert now is not None  # the first bytes of all are not read within a command
                self._give_way(self._successor.after_preface(block + self._buffer, now))
            elif self._successor is not None and upgrade.is_foreign(block, self._stream_id):
                self._close()
            else:
                self._refuse(error)
            return
        if found is None:
            return
        line, head, headers = found
        self._method = line.method
        self._http10 = line.minor == 0
        self._keep_alive = head.keep_alive
        self._response = _NOT_STARTED
        self._pending = None
        has_body = head.chunked or head.content_length > 0
        if has_body:
            self._expects_usual = False
            self._expect_body(head, now)
        else:
            self._expects_usual = head.keep_alive and not self._http10 and line.method != "HEAD"
            self._phase = _WAIT
            self._deadline = None
        request = RequestReceived(
            self._stream_id,
            line.method,
            line.target,
            headers,
            "1.1" if line.minor else "1.0",
            self._scheme,
            head.authority,
            None,
            not has_body,
        )
        if head.upgrade is not None and self._upgrade(request, head, now):
            return
        self.event_queue.append(request)

    def _upgrade(self, request: RequestReceived, head: Head, now: float | None) -> bool:
        """Take ``Upgrade: h2c``, where it is wanted, or let the application see its WebSocket."""
        assert head.upgrade is not None
        if self._successor is not None and now is not None:
            data = bytes(self._buffer)
            engine = upgrade.to_http2(self._successor, request, head.upgrade, data, now)
            if engine is not None:
                self._write(upgrade.SWITCHING)
                self._give_way(engine)
                return True
        if upgrade.wants_websocket(request, head.upgrade):
            request.protocol = upgrade.WEBSOCKET
            self._continue_due = head.expects_continue
            self._keep_alive = self._expects_usual = False  # what comes next may not be HTTP
        return False

    def _give_way(self, engine: ByteConnection) -> None:
        """``engine`` has all that was received, and the connection from here on."""
        self._buffer.clear()
        self._phase = _CLOSED
        self._response = _DONE
        self._deadline = self._pending = None
        self.event_queue.append(ProtocolSwitched(engine))

    def _expect_body(self, head: Head, now: float | None) -> None:
        self._phase = _BODY
        self._body = (
            ChunkedDecoder(self._limits.max_head_size, self._limits.max_body_size)
            if head.chunked
            else SizedDecoder(head.content_length)
        )
        self._discarded = self._unacknowledged = 0
        self._continue_due = head.expects_continue
        self._start_clock(self._limits.request_body_timeout, now)

    def _read_body(self, now: float | None) -> bool:
        """Read body bytes from ``_buffer``; False if more are needed."""
        buffer = self._buffer
        body = self._body
        before = len(buffer)
        try:
            data = body.decode(buffer)
        except RemoteProtocolError as error:
            self._refuse(error)
            return False
        self._body_read(data, before - len(buffer), now)
        return body.done  # and not the next request's, which may have begun

    def _body_read(self, data: bytes, size: int, now: float | None) -> None:
        """``size`` bytes of the body have come, and were this content."""
        self._continue_due = False
        done = self._body.done
        if now is not None:
            latest = now + self._limits.request_body_timeout
            self._extend_clock(size, self._limits.min_body_rate, latest)
        if not data and not done:
            return
        if done:
            self._phase = _WAIT
            self._deadline = None
            self._expects_usual = self._keep_alive and not self._http10 and self._method != "HEAD"
        if self._response == _DONE:
            self._discarded += len(data)
            if done:
                self._take_turn()
            elif self._discarded > _MAX_DISCARD:
                self._finish_output()
            return
        if done and self._body.trailers:
            if data:
                self._deliver(data, False)
            self.event_queue.append(TrailersReceived(self._stream_id, self._body.trailers))
        else:
            self._deliver(data, done)

    def _deliver(self, data: bytes, end_stream: bool) -> None:
        self._unacknowledged += len(data)
        self.event_queue.append(DataReceived(self._stream_id, data, end_stream))
        self._update_wants_data()

    def _update_wants_data(self) -> None:
        if self._phase == _WAIT:
            wanted = len(self._buffer) < HIGH_WATER
        elif self._phase == _BODY or self._phase == _TUNNEL:
            wanted = self._response == _DONE or self._unacknowledged < HIGH_WATER
        else:
            wanted = True
        if self._phase == _BODY and wanted != self.wants_data:
            # the peer cannot make progress while we do not read: its clock stops
            if wanted:
                self._start_clock(self._limits.request_body_timeout, None)
            else:
                self._deadline = self._pending = None
        self.wants_data = wanted

    # ---- faults --------------------------------------------------------------------------

    def _refuse(self, error: RemoteProtocolError) -> None:
        """Answer a fault where the response has not begun, and close. Nothing more is parsed."""
        in_request = self._phase != _HEAD
        if self._response != _DONE and in_request:
            status = error.status if self._response == _NOT_STARTED else 0
            self.event_queue.append(StreamClosed(self._stream_id, error.reason, status))
        if not in_request:
            self.event_queue.append(self._heads.refused(self._stream_id, error))
        if self._response == _SENDING:
            self._cut()
            return
        if self._response == _NOT_STARTED or not in_request:
            method = self._heads.line.method if self._heads.line else ""
            self._write(wire.refusal(error.status, error.reason, self._defaults, method == "HEAD"))
        self._finish_output()

    def _cut(self) -> None:
        """End the connection in the middle of a response, so that the client can tell."""
        if self._framing == BY_CLOSE and self._response == _SENDING:
            self.aborted = True
            self._close()
        else:
            self._finish_output()

    def _finish_output(self) -> None:
        """Begin the staged close."""
        self._buffer.clear()
        self._response = _DONE
        self.output_finished = True
        self.wants_data = True
        if self._eof:
            self._close()
        else:
            self._phase = _LINGER
            self._start_clock(self._limits.linger_timeout, None)

    def _close(self) -> None:
        self._phase = _CLOSED
        self._deadline = None
        self._pending = None
        self.output_finished = True
        self.is_closed = True

    # ---- commands ------------------------------------------------------------------------

    def send_informational(self, stream_id: int, status: int, headers: Headers) -> None:
        if not 100 <= status <= 199 or status == 101:
            raise LocalProtocolError(f"status {status} is not an informational response")
        if status == 100 and (not self._continue_due or self._response != _NOT_STARTED):
            return
        self._check_stream(stream_id, _NOT_STARTED)
        if status == 100:
            self._continue_due = False
        if not self._http10:  # RFC 9110 §15.2: never to HTTP/1.0
            self._write(wire.informational_head(status, headers))

    def send_headers(
        self, stream_id: int, status: int, headers: Headers, end_stream: bool = False
    ) -> None:
        self._write(self._begin_response(stream_id, status, headers))
        if end_stream:
            self._end_response()

    def send_response(self, stream_id: int, status: int, headers: Headers, body: bytes) -> None:
        if (
            self._expects_usual
            and self._response == _NOT_STARTED
            and stream_id == self._stream_id
            and type(headers) is ResponseFields
            and (written := headers.written) is not None  # it went the long way, see ``wire``
            and (line := wire.CONTENT_LINES.get(status)) is not None
            and len(body) < LARGE
            and not self.output
            and self._grace is None
            and not self._eof
        ):
            data = b"".join((line, written, self._defaults.head_end, body))
            self.output.append(data)
            self._output_size += len(data)
            self._response = _DONE
            self._next_stream()
            return
        data = self._begin_response(stream_id, status, headers)
        if self._framing == BY_LENGTH and len(body) < LARGE:
            data += body
        elif body and self._framing != BY_NOTHING:
            self._write(data)
            self.send_data(stream_id, body, True)
            return
        self._write(data)
        self._end_response()

    def _begin_response(self, stream_id: int, status: int, headers: Headers) -> bytes:
        """The head of the response; from here on its framing and the connection's end are set."""
        if stream_id != self._stream_id or self._response != _NOT_STARTED:
            self._check_stream(stream_id, _NOT_STARTED)
        if status < 200:
            raise LocalProtocolError(f"status {status} does not begin a final response")
        if type(headers) is not ResponseFields:
            headers = response_fields(headers)
        # Without the 100 that it waits for, the client may or may not send the body: what
        # follows cannot be told apart (RFC 9110 §10.1.1).
        keep_alive = (
            self._keep_alive
            and self._grace is None
            and not self._continue_due
            and (not self._eof or bool(self._buffer))
        )
        head, self._framing, self._keep_alive = wire.response_head(
            status, headers, self._defaults, self._method, self._http10, keep_alive
        )
        self._response = _SENDING
        return head

    def send_data(self, stream_id: int, data: bytes, end_stream: bool = False) -> None:
        if stream_id != self._stream_id or self._response != _SENDING:
            self._check_stream(stream_id, _SENDING)
        if self._framing == BY_CHUNKS and 0 < len(data) < LARGE:  # as most pieces of a stream are
            data = b"%x\r\n%b\r\n" % (len(data), data)
            self.output.append(data)
            self._output_size += len(data)
        elif data and self._framing != BY_NOTHING:
            self._write_content(data)
        if end_stream:
            self._end_response()

    def send_around(self, stream_id: int, n: int) -> None:
        """See ``DirectConnection``."""
        self._check_stream(stream_id, _SENDING)
        if self._framing == BY_CHUNKS:
            self._write(b"%x\r\n" % n if n else b"\r\n")

    def send_trailers(self, stream_id: int, headers: Headers) -> None:
        self._check_stream(stream_id, _SENDING)
        if headers:
            self._write_trailers(headers)
        self._end_response()

    def accept_tunnel(
        self, stream_id: int, headers: Headers, sink: TunnelSink | None = None
    ) -> None:
        self._check_stream(stream_id, _NOT_STARTED)
        if self._phase != _WAIT:  # what follows would be body, not the new protocol
            raise LocalProtocolError(f"stream {stream_id} is still receiving a request body")
        self.send_informational(stream_id, 100, [])  # if expected, before the 101 (RFC 9110 §7.8)
        self._write(wire.switching_head(headers, self._defaults))
        self._response = _SENDING
        self._framing = BY_CLOSE
        self._keep_alive = False
        self._phase = _TUNNEL
        self._unacknowledged = 0
        self._sink = sink
        if self._buffer:
            data = bytes(self._buffer)
            self._buffer.clear()
            self._deliver(data, False)
        if self._eof:
            self._input_ended()

    def push_stream(self, stream_id: int, target: bytes, headers: Headers) -> int | None:
        return None

    def acknowledge(self, stream_id: int, n: int) -> None:
        if stream_id == self._stream_id and n:
            self._unacknowledged -= n
            if not self.wants_data:
                self._update_wants_data()

    def reset_stream(self, stream_id: int, reason: str) -> None:
        if stream_id == self._stream_id and self._response != _DONE:
            self._cut()

    def release(self, stream_id: int) -> None:
        """The next request waits for its turn anyway."""

    def shutdown(self, grace: float = 0.0) -> None:
        self._grace = grace
        if self._phase == _HEAD and not self._buffer:
            self._start_clock(grace, None)
            if not grace:
                self._close()

    def _check_stream(self, stream_id: int, response: int) -> None:
        if stream_id != self._stream_id or self._response != response:
            raise LocalProtocolError(f"stream {stream_id} is not in a state to send this")

    def _end_response(self) -> None:
        if self._framing == BY_CHUNKS:
            self._write(wire.LAST_CHUNK)
        self._response = _DONE
        if self._output_size > HIGH_WATER:
            self._ended.append(self._stream_id)
        if not self._keep_alive:
            self._finish_output()
        elif self._phase == _WAIT:
            self._take_turn()
        elif self._body.remaining > _MAX_DISCARD:
            self._finish_output()
        else:  # read the rest of the body and throw it away
            self._unacknowledged = 0
            self.wants_data = True
            self._start_clock(self._limits.linger_timeout, None)

    def _take_turn(self) -> None:
        """Both halves are done. Who asks on without reading waits until most answers have left."""
        if self._output_size > HIGH_WATER:
            self._update_wants_data()
        else:
            self._next_stream()

    def _next_stream(self) -> None:
        """Wait for the next request, or read the one that waits."""
        # A client that was told to keep the connection may have sent its next request already.
        if not self._keep_alive or (self._grace == 0 and not self._buffer):
            self._finish_output()
            return
        self._stream_id += 2
        self._phase = _HEAD
        self._heads.line = None
        if self._buffer:
            self._start_clock(self._limits.request_head_timeout, None)
            self._advance(None)
        else:
            self._deadline = 0.0
            self._pending = self._limits.keep_alive_timeout if self._grace is None else self._grace
            self.wants_data = True
        if self._eof:
            self._input_ended()
        elif self._grace is not None and self._phase == _HEAD and not self._buffer:
            self.shutdown(self._grace)  # what waited were empty lines

    # ---- drains --------------------------------------------------------------------------

    def events(self) -> list[Event]:
        events, self.event_queue = self.event_queue, []
        return events

    def _large_output_left(self) -> None:
        if self._output_size < HIGH_WATER:
            current = [self._stream_id] if self._response == _SENDING else []
            self.event_queue += [StreamWritable(stream_id) for stream_id in self._ended + current]
            self._ended.clear()
            if self._phase == _WAIT and self._response == _DONE:
                self._next_stream()

    # ---- time ----------------------------------------------------------------------------

    def handle_timeout(self, now: float) -> None:
        if self._pending is not None:
            self._start_clock(self._pending, now)
            if self._phase == _HEAD:
                self._heads.forget()
                return
        if self._deadline is None or now < self._deadline:
            return
        self._deadline = None
        if self._phase == _HEAD and not self._buffer:
            self._close()  # idle: nothing was asked, nothing is answered
        elif self._phase == _HEAD:
            self._refuse(RemoteProtocolError("request head not received in time", 408))
        elif self._phase == _BODY and self._response != _DONE:
            self._refuse(RemoteProtocolError("request body not received in time", 408))
        else:
            self._close()
