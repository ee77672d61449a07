"""Which streams a connection has, and how many calls of the application they stand for."""

from __future__ import annotations

from hyperserver.errors import LocalProtocolError
from hyperserver.protocol.h2.streams import DONE, Stream


class StreamTable:
    """Counts two things that are not the same.

    * ``streams``: those on which either side still has something to say. A stream leaves when both
      sides have ended, or at a reset.
    * places against the concurrency limit: a request has one until its response has been sent, or
      its stream was reset *and* the application's call has returned (``release``). So a client that
      opens and resets streams cannot have more calls running than one that behaves.

    Streams that we have pushed have no place: the limit is the client's.
    """

    __slots__ = ("_most", "_orphans", "places", "streams")

    def __init__(self, max_concurrent_streams: int) -> None:
        self.streams: dict[int, Stream] = {}
        self._most = max_concurrent_streams
        #: By stream. A dict, as is less than a set where nothing is in it.
        self.places: dict[int, None] = {}
        #: Calls whose stream was reset before they returned: what they still send is dropped.
        self._orphans: set[int] | None = None

    def has_place(self, n: int = 1) -> bool:
        """Whether ``n`` more requests stay within the limit."""
        return len(self.places) + n <= self._most

    def add(self, stream: Stream) -> None:
        self.streams[stream.id] = stream
        if not stream.is_pushed:
            self.places[stream.id] = None

    def find(self, stream_id: int) -> Stream | None:
        """The stream of a command; None if it was reset, which its application has yet to see.

        Raises LocalProtocolError for any other that is gone.
        """
        stream = self.streams.get(stream_id)
        if stream is None and (self._orphans is None or stream_id not in self._orphans):
            raise LocalProtocolError(f"stream {stream_id} is not in a state to send this")
        return stream

    def lose(self, stream: Stream) -> None:
        """The stream ends, or does for its application, before that has."""
        if not stream.is_released:
            if self._orphans is None:
                self._orphans = set()
            self._orphans.add(stream.id)

    def remove(self, stream: Stream) -> None:
        """The stream is gone. After its response, what the application does is its own affair."""
        del self.streams[stream.id]
        if stream.is_released or stream.response == DONE:
            self.places.pop(stream.id, None)

    def release(self, stream_id: int) -> Stream | None:
        """The application's call has returned; its stream, if that has not ended yet."""
        if self._orphans is not None:
            self._orphans.discard(stream_id)
        stream = self.streams.get(stream_id)
        if stream is None:
            self.places.pop(stream_id, None)
        else:
            stream.is_released = True
        return stream

    def rest(self) -> None:
        """Where nothing is left, keep no room for it."""
        for left in (self.streams, self.places):
            if not left:
                left.clear()
        self._orphans = self._orphans or None
