"""A WebSocket as a state machine: bytes of a tunnel in, messages out, and the other way (RFC 6455).

It knows nothing of HTTP and nothing of ASGI. Its states:

    OPEN ──our Close──► CLOSING ──their Close, the end of input, or too late──► CLOSED
      └──their Close (echoed), a fault of theirs, the end of input────────────────▲

CLOSED means that there is nothing more to send: ``finished`` tells the tunnel to end its side
once ``output`` has been taken. What the application is told is ``closed``, a close code with its
reason. Where the end is ours but not the application's (a shutdown, a fault of the peer's), it is
told at once and does not wait for the peer's answer.

Reading stops while ``_MAX_QUEUED`` bytes of whole messages wait for the application; what arrives
then is kept as it is, and the tunnel learns from ``is_behind`` that it must give no more credit.
So memory is bounded by one message of the greatest size, the queue, and the tunnel's window,
whatever is sent: fragments are joined, and messages inflated, as they arrive.

Time is told, not asked for: ``look(now)`` at ``next_look`` or later sends pings and finds what is
late. What a call starts begins at the next look.
"""

from __future__ import annotations

from codecs import IncrementalDecoder, getincrementaldecoder
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from hyperserver.protocol.interface import HIGH_WATER
from hyperserver.protocol.websocket import frames
from hyperserver.protocol.websocket.deflate import Deflate
from hyperserver.protocol.websocket.frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    FIN,
    INVALID_DATA,
    PING,
    PONG,
    RSV1,
    RSV2_RSV3,
    SHORT,
    TEXT,
    TOO_BIG,
    MakeFrameReader,
    WebSocketFault,
)

if TYPE_CHECKING:
    from hyperserver.protocol.negotiate import AnyFrameReader

_OPEN: Final = 0
_CLOSING: Final = 1
_CLOSED: Final = 2

#: Whole messages that may wait for the application: bytes, each message counting for a few more.
_MAX_QUEUED: Final = HIGH_WATER
_MESSAGE_OVERHEAD: Final = 64
#: A message may come in so many fragments, of which so many may be empty.
_MAX_FRAGMENTS: Final = 131_072
_MAX_EMPTY_FRAGMENTS: Final = 1024
#: Pongs that may wait to be sent; beyond them only the last ping is answered (RFC 6455 §5.5.3).
_MAX_PONGS: Final = 1024
#: A payload from here on is not copied behind its header.
_LARGE: Final = 65_536
#: Messages shorter than this are not worth deflating.
_MIN_DEFLATED: Final = 32

_FIN_TEXT: Final = FIN | TEXT
#: The headers of short text messages, by their length.
_TEXT_HEADS: Final = [frames.head(_FIN_TEXT, length) for length in range(126)]

_NOT_UTF8: Final = "the text is not UTF-8"

_make_decoder = getincrementaldecoder("utf-8")


@dataclass(frozen=True, slots=True)
class WebSocketOptions:
    """Sizes in bytes, times in seconds; ``ping_interval`` 0 sends no pings."""

    max_message_size: int = 16_777_216
    ping_interval: float = 20.0
    ping_timeout: float = 20.0
    close_timeout: float = 10.0


class WebSocket:
    """One open WebSocket. Messages are whole; text is ``str``."""

    __slots__ = (
        "_awaited_pong",
        "_compressed",
        "_deflate",
        "_empty_fragments",
        "_excused",
        "_fragments",
        "_held",
        "_in_frame",
        "_input_ended",
        "_late_pong",
        "_message",
        "_next_ping",
        "_opcode",
        "_options",
        "_pings",
        "_queued",
        "_reader",
        "_received",
        "_received_before",
        "_rsv1",
        "_sent_code",
        "_state",
        "_takes_short",
        "_utf8",
        "aborted",
        "closed",
        "is_behind",
        "is_open",
        "messages",
        "next_look",
        "output",
    )

    def __init__(
        self, make_reader: MakeFrameReader, options: WebSocketOptions, deflate: Deflate | None
    ) -> None:
        self._options = options
        self._deflate = deflate
        #: Until the end, from which on nothing is read.
        self._reader: AnyFrameReader | None = make_reader(self._admit)
        self._takes_short = options.max_message_size >= SHORT
        self._state = _OPEN
        #: Messages may be sent.
        self.is_open = True
        #: What waits for the application: to look at, and to be taken by ``next_message`` or,
        #: unless this side ``is_behind``, by hand.
        self.messages: list[str | bytes] = []
        self._queued = 0  # bytes since there were none
        #: Some of what was received is not read before the application has taken messages.
        self.is_behind = False
        self._held: list[bytes] = []
        self._input_ended = False
        #: ``(code, reason)`` for the application, when there will be no more messages.
        self.closed: tuple[int, str] | None = None
        self._sent_code = frames.ABNORMAL
        #: The peer does not answer: cut the tunnel off.
        self.aborted = False
        self.output: list[bytes] = []
        self._late_pong: bytes | None = None
        # the frame and the message that are being read
        self._rsv1 = False
        self._in_frame = False
        self._message: bytearray | None = None
        self._opcode = CONTINUATION  # of the message, if there is one
        self._compressed = False
        self._utf8: IncrementalDecoder | None = None
        self._fragments = 0
        self._empty_fragments = 0
        # time
        self._received = 0
        self._received_before = 0
        self._excused = False
        self._pings = 0
        self._awaited_pong: bytes | None = None
        self._next_ping = 0.0
        #: When to call ``look``, 0.0 for as soon as possible; None for never.
        self.next_look: float | None = 0.0 if options.ping_interval else None

    @property
    def finished(self) -> bool:
        """Nothing more will be sent, nor read."""
        return self._state == _CLOSED

    # ---- bytes in ------------------------------------------------------------------------

    def receive_data(self, data: bytes) -> None:
        """Take bytes from the tunnel."""
        reader = self._reader
        if reader is None:
            return
        if self.is_open and self._message is None and not self.is_behind and self._takes_short:
            piece = reader.alone(data)
            if piece is not None:
                opcode, payload, _, _ = piece
                try:
                    message = payload.decode() if opcode == TEXT else payload
                except UnicodeDecodeError:
                    self._fail(INVALID_DATA, _NOT_UTF8)
                    return
                if not self.messages:  # short as it is, it alone is never too much
                    self.messages.append(message)
                    self._queued = len(payload) + _MESSAGE_OVERHEAD
                else:
                    self._queue(message)
                    self.is_behind = self._queued > _MAX_QUEUED
                return
        self._received += len(data)
        if self.is_behind:
            self._held.append(data)
        else:
            reader.feed(data)
            self._read(reader)

    def receive_end(self) -> None:
        """The tunnel brings nothing more."""
        self._input_ended = True
        if not self.is_behind and self._state != _CLOSED:
            self._end(frames.ABNORMAL, "")

    def _read(self, reader: AnyFrameReader) -> None:
        """Read frames until more bytes are needed, or until the queue is full."""
        try:
            while self._state != _CLOSED:
                piece = reader.read()
                if piece is not None:
                    opcode, payload, ends, fin = piece
                    if opcode >= CLOSE:
                        self._control(opcode, payload)
                    elif fin and ends and self._opcode == CONTINUATION and not self._rsv1:
                        self._queue(payload.decode() if opcode == TEXT else payload)
                    else:
                        self._data(opcode, payload, ends=ends, fin=fin)
                    if self._queued > _MAX_QUEUED and self._state == _OPEN:
                        self.is_behind = True
                        return
                elif self._held:
                    reader.feed(b"".join(self._held))
                    self._held.clear()
                else:
                    break
        except UnicodeDecodeError:
            self._fail(INVALID_DATA, _NOT_UTF8)
        except WebSocketFault as fault:
            self._fail(fault.code, fault.reason)
        self.is_behind = False
        if self._input_ended and self._state != _CLOSED:
            self._end(frames.ABNORMAL, "")

    def _read_on(self) -> None:
        if self._reader is not None:
            self._read(self._reader)

    def _admit(self, opcode: int, rsv: int, length: int) -> None:
        """See ``frames.Admit``."""
        if opcode >= CLOSE:
            if rsv:
                raise WebSocketFault("reserved bits in a control frame")
            return
        limit = self._options.max_message_size
        if opcode == CONTINUATION:
            if self._message is None:
                raise WebSocketFault("nothing to continue")
            if rsv:
                raise WebSocketFault("reserved bits in a continuation")
            limit -= len(self._message)
            compressed = self._compressed
        else:
            if self._message is not None:
                raise WebSocketFault("a new message within another")
            compressed = self._rsv1 = rsv != 0
            if rsv & RSV2_RSV3 or (rsv and self._deflate is None):
                raise WebSocketFault("reserved bits without a meaning")
        if compressed:  # a literal may take nine bits (RFC 1951 §3.2.6)
            limit += (limit >> 3) + 64
        if length > limit:
            raise WebSocketFault("message too big", TOO_BIG)

    def _data(self, opcode: int, payload: bytes, *, ends: bool, fin: bool) -> None:
        """A piece of a message that does not come whole, or compressed."""
        if not self._in_frame:
            self._begin_frame(opcode, empty=not payload and not fin)
        self._in_frame = not ends
        last = ends and fin
        message = self._message
        assert message is not None
        utf8 = self._utf8
        if self._compressed:
            assert self._deflate is not None
            room = self._options.max_message_size - len(message)
            for chunk in self._deflate.inflate(payload, room, ends=last):
                message += chunk
                if utf8 is not None:
                    utf8.decode(chunk)
        else:
            message += payload
            if utf8 is not None:
                utf8.decode(payload)
        if last:
            self._message = self._utf8 = None
            self._opcode = CONTINUATION
            self._rsv1 = False
            # of which all but the end, perhaps, is known to be UTF-8
            self._queue(bytes(message) if utf8 is None else message.decode())

    def _begin_frame(self, opcode: int, *, empty: bool) -> None:
        if opcode != CONTINUATION:
            self._opcode = opcode
            self._compressed = self._rsv1
            self._message = bytearray()
            self._utf8 = _make_decoder() if opcode == TEXT else None
            self._fragments = self._empty_fragments = 0
        self._fragments += 1
        self._empty_fragments += empty
        if self._fragments > _MAX_FRAGMENTS or self._empty_fragments > _MAX_EMPTY_FRAGMENTS:
            raise WebSocketFault("too many fragments", frames.POLICY_VIOLATION)

    def _queue(self, message: str | bytes) -> None:
        if self._state == _OPEN:
            if not self.messages:
                self._queued = 0
            self.messages.append(message)
            self._queued += len(message) + _MESSAGE_OVERHEAD

    def _control(self, opcode: int, payload: bytes) -> None:
        if opcode == PING:
            if len(self.output) < _MAX_PONGS:
                self.output.append(bytes((FIN | PONG, len(payload))) + payload)
            else:
                self._late_pong = payload
        elif opcode == CLOSE:
            code, reason = frames.read_close(payload)
            if self._state == _OPEN:
                self._send_close(code, "")  # the same code (RFC 6455 §5.5.1)
            elif code is None:
                code = self._sent_code
            self._end(frames.NO_STATUS if code is None else code, reason)
        elif payload == self._awaited_pong and self._state == _OPEN:
            self._awaited_pong = None
            self.next_look = self._next_ping

    # ---- the application's side ----------------------------------------------------------

    def next_message(self) -> str | bytes:
        """Take the oldest of ``messages``; the last one makes room for those behind it."""
        message = self.messages.pop(0)
        if self.is_behind and not self.messages:
            self._queued = 0
            self._excused = True  # that no pong was seen is our doing
            self._read_on()
        return message

    def send(self, message: str | bytes) -> int:
        """Send a message, as one frame; only while ``is_open``. Returns its size in bytes.

        Raises UnicodeEncodeError for text that has no UTF-8.
        """
        if isinstance(message, str):
            payload = message.encode()
            first = _FIN_TEXT
        else:
            payload = message
            first = FIN | BINARY
        length = size = len(payload)
        if size < 126 and first == _FIN_TEXT and self._deflate is None:
            self.output.append(_TEXT_HEADS[size] + payload)  # by far the most frequent case
            return size
        if self._deflate is not None and length >= _MIN_DEFLATED:
            payload = self._deflate.deflate(payload)
            first |= RSV1
            size = len(payload)
        if size < 126:
            self.output.append(bytes((first, size)) + payload)
        elif size < _LARGE:
            self.output.append(frames.head(first, size) + payload)
        else:
            self.output.append(frames.head(first, size))
            self.output.append(payload)
        return length

    def close(self, code: int, reason: str = "", *, at_once: bool = False) -> None:
        """Begin the closing handshake; nothing happens where it has begun.

        ``at_once``: the application, which has not asked for it, need not wait for the peer.
        Otherwise it has no use for further messages.
        """
        if self._state != _OPEN:
            return
        self._send_close(code, reason)
        self._state = _CLOSING
        self.is_open = False
        self.next_look = 0.0
        if at_once:
            self.closed = code, reason
        else:
            self.messages.clear()
            self._queued = 0
        if self.is_behind:
            self._read_on()

    def _send_close(self, code: int | None, reason: str) -> None:
        payload = frames.close_payload(code, reason)
        self.output.append(bytes((FIN | CLOSE, len(payload))) + payload)
        self._sent_code = frames.NO_STATUS if code is None else code

    def _fail(self, code: int, reason: str) -> None:
        """Fail the connection (RFC 6455 §7.1.7): say why, and read nothing more."""
        if self._state == _OPEN:
            self._send_close(code, reason)
            self._end(code, reason)
        else:
            self._end(self._sent_code, "")

    def _end(self, code: int, reason: str) -> None:
        if self._state == _CLOSED:
            return
        self._state = _CLOSED
        self.is_open = self.is_behind = False
        self._held.clear()
        self._reader = None  # nothing more is read; and it knows of us
        self._message = self._utf8 = self._deflate = self._late_pong = None
        self.next_look = None
        if self.closed is None:
            self.closed = code, reason

    # ---- bytes out -----------------------------------------------------------------------

    def data_to_send(self) -> list[bytes]:
        """Take the bytes that are to go into the tunnel, in pieces."""
        if self._late_pong is not None:
            self.output.append(bytes((FIN | PONG, len(self._late_pong))) + self._late_pong)
            self._late_pong = None
        output, self.output = self.output, []
        return output

    # ---- time ----------------------------------------------------------------------------

    def look(self, now: float) -> None:
        """At ``next_look`` or later: send the ping that is due, act on what is late."""
        options = self._options
        starts = not self.next_look
        if self._state == _CLOSING:
            if starts:
                self.next_look = now + options.close_timeout
            else:
                self.aborted = True
                self._end(frames.ABNORMAL, "")
        elif starts:
            self.next_look = now + options.ping_interval
        elif self._awaited_pong is None:
            self._pings += 1
            self._awaited_pong = b"%d" % self._pings
            self.output.append(bytes((FIN | PING, len(self._awaited_pong))) + self._awaited_pong)
            self._received_before = self._received
            self._excused = False
            self._next_ping = now + options.ping_interval
            self.next_look = now + options.ping_timeout
        # A pong cannot come within a frame, nor be seen while we do not read.
        elif (
            self.is_behind
            or self._excused
            or (self._in_frame and self._received != self._received_before)
        ):
            self._received_before = self._received
            self._excused = False
            self.next_look = now + options.ping_timeout
        else:
            self._fail(frames.INTERNAL_ERROR, "keepalive ping timeout")
