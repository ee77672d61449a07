"""What an HTTP/2 engine remembers of a stream, and the bytes that wait to leave on it."""

from __future__ import annotations

from collections import deque

from hyperserver.protocol.events import Headers
from hyperserver.protocol.h2.priority import DEFAULT

# the response
NOT_STARTED, SENDING, DONE = range(3)


class Stream:
    """One stream from its request to the moment when both sides have ended.

    The request side is ``receiving`` until END_STREAM. Credit for received bytes is given back
    as the application takes them: ``unacknowledged`` are held, ``credit`` are taken and not yet
    announced to the peer, whose window was last set to ``window``. ``deadline`` is the body's, or a
    tunnel's after our side has ended.
    """

    __slots__ = (
        "_pieces",
        "authority",
        "content_length",
        "credit",
        "deadline",
        "end_queued",
        "has_content",
        "id",
        "is_pushed",
        "is_released",
        "is_tunnel",
        "is_unread",
        "method",
        "priority",
        "protocol",
        "pushes",
        "queued",
        "received",
        "receiving",
        "response",
        "sent",
        "sent_before",
        "stalled_since",
        "trailers",
        "unacknowledged",
        "window",
    )

    def __init__(
        self, stream_id: int, method: str, receiving: bool, window: int, authority: bytes
    ) -> None:
        self.id = stream_id
        self.method = method
        self.authority = authority
        self.receiving = receiving
        self.window = window
        self.protocol: str | None = None
        self.priority = DEFAULT
        self.is_pushed = False
        self.is_tunnel = False
        self.is_released = False  # its application's call has returned
        self.is_unread = False  # the engine has answered it, or its tunnel has been left
        self.pushes = 0  # promised on this stream
        # the request's body
        self.content_length: int | None = None
        self.received = 0
        self.unacknowledged = 0
        self.credit = 0
        self.deadline: float | None = None
        # the response
        self.response = NOT_STARTED
        self.has_content = True
        self._pieces: deque[memoryview | bytes] = deque()
        self.queued = 0
        self.sent = 0
        self.end_queued = False
        self.trailers: Headers | None = None
        self.stalled_since: float | None = None
        self.sent_before = 0

    def queue(self, data: bytes) -> None:
        self._pieces.append(data)
        self.queued += len(data)

    def take(self, limit: int) -> bytes | memoryview:
        """Up to ``limit`` of the queued bytes; small pieces are joined, large ones only viewed."""
        pieces = self._pieces
        if not pieces:
            return b""
        data: bytes | memoryview
        first = pieces[0]
        size = len(first)
        if size >= limit or len(pieces) == 1:
            if size <= limit:
                data = pieces.popleft()
            else:
                view = memoryview(first)
                data = view[:limit]
                pieces[0] = view[limit:]
        else:
            taken: list[bytes | memoryview] = []
            left = limit
            while pieces and left:
                piece = pieces.popleft()
                if len(piece) > left:
                    view = memoryview(piece)
                    pieces.appendleft(view[left:])
                    piece = view[:left]
                taken.append(piece)
                left -= len(piece)
            data = b"".join(taken)
        self.queued -= len(data)
        self.sent += len(data)
        return data

    def drop_queue(self) -> None:
        self._pieces.clear()
        self.queued = 0
        self.end_queued = False
        self.trailers = None
