"""What is decided about a frame before a library sees it, whichever library that is.

Libraries judge these more harshly than a server should, or do not know them: what a client says of
priorities, its GOAWAY, and what still comes for streams that we have reset.
"""

from __future__ import annotations

from typing import Protocol

from hyperserver.protocol.h2 import frames
from hyperserver.protocol.h2.abuse import Abuse
from hyperserver.protocol.h2.frames import ConnectionFault, ErrorCode
from hyperserver.protocol.h2.priority import Dependency, Priority, parse_priority_update
from hyperserver.protocol.h2.streams import Stream
from hyperserver.protocol.interface import HTTP2Options, Limits

#: A field block may be this many times what we announce before it costs the connection: in between,
#: the request is answered with 431.
BLOCK_FACTOR = 4
#: CONTINUATION frames of one field block.
MAX_FRAGMENTS = 128
#: SETTINGS_NO_RFC7540_PRIORITIES (RFC 9218 §2.1).
NO_RFC7540_PRIORITIES = 0x9
_MAX_CONCURRENT_STREAMS, _INITIAL_WINDOW_SIZE = 0x3, 0x4
_MAX_FRAME_SIZE, _MAX_HEADER_LIST_SIZE, _ENABLE_CONNECT_PROTOCOL = 0x5, 0x6, 0x8
_NO_PRIORITIES = NO_RFC7540_PRIORITIES.to_bytes(2, "big")
_BOOLEANS = (bytes(4), b"\0\0\0\1")
#: Streams that we have reset, for which frames may still be on their way.
_MAX_CUT = 1024
#: Bytes of connection window for dropped DATA that are given back in one piece.
_LOST_CREDIT = 16_384


class Listener(Protocol):
    """The connection, as far as it is told of frames here."""

    streams: dict[int, Stream]

    def on_goaway(self) -> None: ...
    def on_priority(self, stream_id: int, signal: Priority | Dependency) -> None: ...
    def stream_error(self, stream_id: int, code: ErrorCode, reason: str) -> None: ...


class Gated(Protocol):
    """The session that the gate is for."""

    @property
    def receive_window(self) -> int:
        """What the library thinks that the client may send."""

    def is_idle(self, stream_id: int) -> bool:
        """The stream was neither opened nor left out (RFC 9113 §5.1.1)."""

    def write(self, frame: bytes) -> None:
        """Send a frame of which the library does not know, after all that it has written."""


class Gate:
    """``handle`` deals with the frames that no library is shown; ``cut`` are the streams that were
    reset, with the bytes that may still come for each.

    Raises ConnectionFault.
    """

    __slots__ = ("_abuse", "_connection", "_lost", "_session", "_streams", "cut")

    def __init__(self, session: Gated, connection: Listener, abuse: Abuse) -> None:
        self._session = session
        self._connection = connection
        self._streams = connection.streams
        self._abuse = abuse
        self._lost = 0
        self.cut: dict[int, int] = {}

    def close(self) -> None:
        del self._session, self._connection

    # ---- streams that were reset ---------------------------------------------------------

    def remember_cut(self, stream_id: int, window: int) -> None:
        """The stream is reset, while ``window`` bytes may be on their way."""
        self.cut[stream_id] = window
        if len(self.cut) > _MAX_CUT:
            del self.cut[next(iter(self.cut))]

    def drop_data(self, stream_id: int, length: int, now: float) -> None:
        """DATA of ``length`` bytes for one of ``cut``."""
        self.cut[stream_id] -= length
        if not length or self.cut[stream_id] < 0:  # more than its window had room for
            self._abuse.control(now)
        self.lose(length)

    def lose(self, length: int) -> None:
        """Bytes that nobody takes go back to the connection's window, now and then."""
        self._lost += length
        if self._lost > self._session.receive_window:
            raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "window exceeded")
        if self._lost >= _LOST_CREDIT:
            # the library was not shown these bytes, and is not shown what they earn
            self._session.write(frames.window_update(0, self._lost))
            self._lost = 0

    def rst_stream(self, stream_id: int, now: float) -> None:
        if stream_id in self._streams:
            self._abuse.reset(now)
        else:
            self._abuse.control(now)
            if self._session.is_idle(stream_id):
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "RST_STREAM on an idle stream")

    # ---- windows and settings ------------------------------------------------------------

    def window_update(self, stream_id: int, increment: int, now: float) -> bool:
        """Whether the library is to see it."""
        self._abuse.window_update(now)
        if stream_id not in self._streams:
            if stream_id and self._session.is_idle(stream_id):
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "WINDOW_UPDATE on an idle stream")
            return increment != 0 or not stream_id  # or is it of a stream that is gone
        if not increment:
            self._connection.stream_error(stream_id, ErrorCode.PROTOCOL_ERROR, "zero increment")
            return False
        return True

    def settings(self, flags: int, frame: bytes, now: float) -> bytes:
        """SETTINGS as the library is to see it: without NO_RFC7540_PRIORITIES, which it does not
        know or allows to be said once.
        """
        is_ack = flags & frames.ACK
        self._abuse.control(now, 1 if is_ack else 10)
        if is_ack and len(frame) > frames.HEADER_SIZE:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "SETTINGS ack with a payload")
        if (len(frame) - frames.HEADER_SIZE) % 6:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "SETTINGS of a broken size")
        kept = frame
        for offset in range(len(frame) - 6, frames.HEADER_SIZE - 1, -6):
            if frame[offset : offset + 2] == _NO_PRIORITIES:
                if frame[offset + 2 : offset + 6] not in _BOOLEANS:
                    raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "neither 0 nor 1")
                kept = kept[:offset] + kept[offset + 6 :]
        if kept is frame:
            return frame
        return (len(kept) - frames.HEADER_SIZE).to_bytes(3, "big") + kept[3:]

    # ---- frames that no library is shown -------------------------------------------------

    def handle(self, kind: int, stream_id: int, frame: bytes, now: float) -> None:
        """A frame of any type but those of which ``Gated`` makes something."""
        if kind == frames.PRIORITY:
            self._priority(stream_id, frame, now)
        elif kind == frames.PRIORITY_UPDATE:
            self._priority_update(stream_id, frame, now)
        elif kind == frames.GOAWAY:
            self._goaway(stream_id, frame, now)
        elif kind == frames.PUSH_PROMISE:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "clients do not push")
        else:
            self._abuse.control(now)  # RFC 9113 §5.5: unknown, to be ignored

    def _goaway(self, stream_id: int, frame: bytes, now: float) -> None:
        self._abuse.control(now)
        if stream_id:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "GOAWAY on a stream")
        if len(frame) < frames.HEADER_SIZE + 8:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "GOAWAY too short")
        self._connection.on_goaway()

    def _priority(self, stream_id: int, frame: bytes, now: float) -> None:
        """Check it, and tell the scheduler; a library may take some of these for fatal."""
        self._abuse.priority(now)
        if not stream_id:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "PRIORITY without a stream")
        if len(frame) != frames.HEADER_SIZE + 5:
            self._priority_error(stream_id, ErrorCode.FRAME_SIZE_ERROR, now)
        elif frames.payload_long(frame) == stream_id:
            self._priority_error(stream_id, ErrorCode.PROTOCOL_ERROR, now)
        else:
            exclusive = frame[frames.HEADER_SIZE] >= 0x80
            self._connection.on_priority(
                stream_id, Dependency(frames.payload_long(frame), frame[-1] + 1, exclusive)
            )

    def _priority_error(self, stream_id: int, code: ErrorCode, now: float) -> None:
        if stream_id in self._streams:
            self._connection.stream_error(stream_id, code, "invalid PRIORITY")
        elif self._session.is_idle(stream_id):  # which cannot be reset (RFC 9113 §6.4)
            raise ConnectionFault(code, "invalid PRIORITY")
        else:
            self._abuse.reset(now)
            self._session.write(frames.rst_stream(stream_id, code))

    def _priority_update(self, stream_id: int, frame: bytes, now: float) -> None:
        self._abuse.priority(now)
        if stream_id:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "PRIORITY_UPDATE on a stream")
        if len(frame) < frames.HEADER_SIZE + 4:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "PRIORITY_UPDATE too short")
        prioritized, priority = parse_priority_update(frame[frames.HEADER_SIZE :])
        if not prioritized or (prioritized % 2 == 0 and self._session.is_idle(prioritized)):
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "PRIORITY_UPDATE of no stream")
        self._connection.on_priority(prioritized, priority)


def server_settings(limits: Limits, options: HTTP2Options) -> dict[int, int]:
    """What our SETTINGS say."""
    settings = {
        _MAX_CONCURRENT_STREAMS: options.max_concurrent_streams,
        _INITIAL_WINDOW_SIZE: options.initial_window,
        _MAX_FRAME_SIZE: options.max_frame_size,
        _MAX_HEADER_LIST_SIZE: limits.max_head_size,
        _ENABLE_CONNECT_PROTOCOL: 1,
    }
    if options.priorities == "rfc9218":
        settings[NO_RFC7540_PRIORITIES] = 1
    return settings


def unwrap(flags: int, stream_id: int, frame: bytes) -> tuple[bytes, Dependency | None, bool]:
    """``(fragment, dependency, depends on itself)`` of a HEADERS frame (RFC 9113 §6.2)."""
    start = frames.HEADER_SIZE
    end = len(frame)
    dependency: Dependency | None = None
    spoiled = False
    if flags & frames.PADDED:
        if start == end:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "HEADERS too short")
        end -= frame[start]
        start += 1
    if flags & frames.PRIORITIZED:
        if len(frame) < start + 5:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "HEADERS too short")
        depends_on = frames.payload_long(frame, start)
        spoiled = depends_on == stream_id  # RFC 7540 §5.3.1
        if not spoiled:
            exclusive = frame[start] >= 0x80
            dependency = Dependency(depends_on, frame[start + 4] + 1, exclusive)
        start += 5
    if start > end:
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "more padding than payload")
    return frame[start:end], dependency, spoiled
