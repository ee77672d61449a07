"""Responses on their way out: heads at once, bytes as they get credit and their turn."""

from __future__ import annotations

from typing import Protocol

from hyperserver.errors import LocalProtocolError
from hyperserver.protocol.events import Headers
from hyperserver.protocol.h2 import messages
from hyperserver.protocol.h2.abuse import Abuse
from hyperserver.protocol.h2.session import Session
from hyperserver.protocol.h2.streams import NOT_STARTED, SENDING, Stream
from hyperserver.protocol.h2.turns import Turns
from hyperserver.protocol.interface import HIGH_WATER, ResponseDefaults

#: Bytes of DATA that are handed to the transport together: what is more urgent waits for so many, and each
#: piece costs a system call. Below 128 KiB, from where on malloc maps memory anew each time.
_AT_ONCE = 114_688
#: Bytes of a DATA frame that is no small one, though a window made it smaller than it could be.
_WORTH = 1024


class Owner(Protocol):
    """The connection, as far as it is told of what is sent."""

    def response_ended(self, stream: Stream) -> None:
        """END_STREAM has been written."""

    def became_writable(self, stream_id: int) -> None:
        """The stream has fallen below the high-water mark."""


class Outbound:
    """Writes what an application says on a stream, or raises LocalProtocolError where that is not
    in order.

    DATA frames are cut as the transport asks for them, not before: so a stream of more urgency can
    still go first, and PING goes before all.

    ``waiting`` counts the streams with bytes.
    """

    __slots__ = (
        "_abuse",
        "_defaults",
        "_owner",
        "_session",
        "_streams",
        "_turns",
        "sent",
        "waiting",
    )

    def __init__(
        self,
        session: Session,
        turns: Turns,
        streams: dict[int, Stream],
        defaults: ResponseDefaults,
        abuse: Abuse,
        owner: Owner,
    ) -> None:
        self._session = session
        self._turns = turns
        self._streams = streams
        self._defaults = defaults
        self._abuse = abuse
        self._owner = owner
        self.waiting = 0
        self.sent = 0  # bytes, on all streams

    # ---- what applications say -----------------------------------------------------------

    def inform(self, stream: Stream, block: Headers) -> None:
        """A 1xx response."""
        if stream.response != NOT_STARTED:
            raise LocalProtocolError(f"stream {stream.id} has its final response already")
        self._session.send_headers(stream.id, block, end_stream=False)

    def begin(self, stream: Stream, status: int, headers: Headers, ends: bool) -> None:
        """A response's head, and with ``ends`` all of it."""
        block = self._head(stream, status, headers)
        self._session.send_headers(stream.id, block, ends)
        if ends:
            self._owner.response_ended(stream)

    def respond(self, stream: Stream, status: int, headers: Headers, body: bytes) -> None:
        """A whole response."""
        block = self._head(stream, status, headers)
        ends = not body or not stream.has_content
        self._session.send_headers(stream.id, block, ends)
        if ends:
            self._owner.response_ended(stream)
        else:
            self._queue(stream, body)
            stream.end_queued = True

    def resume(self, stream: Stream, body: bytes) -> None:
        """Of a whole response, the head has been written before."""
        stream.response = SENDING
        self._queue(stream, body)
        stream.end_queued = True

    def _head(self, stream: Stream, status: int, headers: Headers) -> Headers:
        if stream.response != NOT_STARTED:
            raise LocalProtocolError(f"stream {stream.id} has its response already")
        block = messages.response_block(status, headers, self._defaults)
        stream.response = SENDING
        stream.has_content = messages.has_content(stream.method, status)
        self._turns.answered(stream, headers)
        return block

    def write(self, stream: Stream, data: bytes, ends: bool) -> None:
        """Bytes of the body, or of a tunnel."""
        self._check(stream)
        if data and stream.has_content:
            self._queue(stream, data)
        if ends:
            self._end(stream)

    def write_trailers(self, stream: Stream, headers: Headers) -> None:
        self._check(stream)
        stream.trailers = headers
        self._end(stream)

    def _check(self, stream: Stream) -> None:
        if stream.response != SENDING or stream.end_queued:
            raise LocalProtocolError(f"stream {stream.id} is not in a state to send this")

    def _queue(self, stream: Stream, data: bytes) -> None:
        if not stream.queued:
            self.waiting += 1
        stream.queue(data)
        self._turns.scheduler.push(stream.id)

    def _end(self, stream: Stream) -> None:
        """Nothing more is queued after this: END_STREAM, with trailers if there are any."""
        stream.end_queued = True
        if not stream.queued:
            self._write_end(stream)

    # ---- what goes -----------------------------------------------------------------------

    def drop(self, stream: Stream) -> None:
        """The stream is gone."""
        self._turns.scheduler.close(stream.id)
        if stream.queued:
            self.waiting -= 1
            stream.drop_queue()

    def close(self) -> None:
        """Nobody is told of anything any more."""
        del self._owner

    def window_opened(self, stream_id: int) -> None:
        """Credit has come for a stream, or with 0 perhaps for all."""
        if stream_id:
            stream = self._streams.get(stream_id)
            if stream is not None and stream.queued:
                self._turns.scheduler.push(stream_id)
        elif self.waiting:
            for stream in self._streams.values():
                if stream.queued:
                    self._turns.scheduler.push(stream.id)

    def write_frames(self) -> bool:
        """Write what windows allow, up to ``_AT_ONCE``; whether more may follow."""
        session = self._session
        sent = 0
        while sent < _AT_ONCE and session.connection_window > 0:
            stream_id = self._turns.scheduler.pop()
            if stream_id is None:
                return False
            sent += self._write_data(self._streams[stream_id], _AT_ONCE - sent)
        return sent >= _AT_ONCE

    def _write_data(self, stream: Stream, most: int) -> int:
        """DATA, as much as the windows allow: one frame, or several where no other stream would have a
        turn in between. Its size.
        """
        session = self._session
        before = stream.queued
        frame_size = session.max_frame_size
        if self.waiting > 1 and not self._turns.scheduler.goes_on(stream.id):
            most = frame_size
        size = min(
            before,
            max(frame_size, most),
            session.stream_window(stream.id),
            session.connection_window,
        )
        if size <= 0:
            return 0  # it is pushed again when its window opens
        ends = size == before and stream.end_queued and not stream.trailers
        session.send_data(stream.id, stream.take(size), ends)
        self.sent += size
        if size == before or size >= _WORTH:
            self._abuse.data_sent(-(-size // frame_size))
        if before > HIGH_WATER >= stream.queued:
            self._owner.became_writable(stream.id)
        if stream.queued:
            self._turns.scheduler.push(stream.id)
            return size
        self.waiting -= 1
        if ends:
            self._owner.response_ended(stream)
        elif stream.end_queued:
            self._write_end(stream)
        return size

    def _write_end(self, stream: Stream) -> None:
        if stream.trailers:
            self._session.send_headers(stream.id, stream.trailers, end_stream=True)
        else:
            self._session.send_data(stream.id, b"", end_stream=True)
        self._owner.response_ended(stream)
