"""Request bytes on their way in: what they may be, and the credit that is given for them."""

from __future__ import annotations

from hyperserver.errors import RemoteProtocolError
from hyperserver.protocol.h2.session import Session
from hyperserver.protocol.h2.streams import Stream
from hyperserver.protocol.interface import HTTP2Options, Limits


class Inbound:
    """Received bytes are owed to two windows, the stream's and the connection's, and given back as
    the application takes them, or when the stream that holds them ends.
    """

    __slots__ = (
        "_credit",
        "_limits",
        "_options",
        "_session",
        "_spare",
        "_stopped",
        "_unacknowledged",
    )

    def __init__(self, session: Session, limits: Limits, options: HTTP2Options) -> None:
        self._session = session
        self._limits = limits
        self._options = options
        self._unacknowledged = 0
        self._credit = 0
        self._stopped = False
        #: What windows may grow by, together: the rest of the connection's is for those that have
        #: not grown, so that streams which nobody reads never take all of it.
        self._spare = max(
            0, options.connection_window - options.max_concurrent_streams * options.initial_window
        )

    def start(self) -> None:
        """Open the connection's window beyond what every connection begins with."""
        increment = self._options.connection_window - 65_535
        if increment > 0:
            self._session.open_window(0, increment)

    @property
    def is_open(self) -> bool:
        """The connection's window lets the client send."""
        return self._unacknowledged + self._credit < self._options.connection_window

    def received(self, stream: Stream, size: int, flow_length: int) -> None:
        """``size`` bytes of body, in a frame that counts as ``flow_length`` (RFC 9113 §6.9.1)."""
        if flow_length > size:  # padding is taken at once
            self.return_credit(flow_length - size)
            stream.credit += flow_length - size
            self._offer(stream)
        stream.received += size
        stream.unacknowledged += size
        self._unacknowledged += size

    def check(self, stream: Stream, *, ends: bool) -> None:
        """Content-Length tells the truth (RFC 9113 §8.1.1), and the body is not too large.

        Raises RemoteProtocolError.
        """
        length = stream.content_length
        received = stream.received
        if length is not None and (received > length or (ends and received != length)):
            raise RemoteProtocolError("the body is not as long as its content-length")
        maximum = self._limits.max_body_size
        if maximum is not None and received > maximum and stream.protocol is None:
            raise RemoteProtocolError("request body too large", 413)

    def acknowledge(self, stream: Stream, n: int) -> bool:
        """The application has taken ``n`` bytes; whether the stream's window was opened."""
        n = min(n, stream.unacknowledged)  # what a tunnel held was given back when it was left
        stream.unacknowledged -= n
        self._unacknowledged -= n
        self.return_credit(n)
        stream.credit += n
        return self._offer(stream)

    def discard(self, stream: Stream, flow_length: int) -> None:
        """Nobody takes these bytes. More are of use only in a tunnel, whose end comes after them."""
        self.return_credit(flow_length)
        if stream.is_tunnel:
            stream.credit += flow_length
            self._offer(stream)

    def leave(self, stream: Stream) -> None:
        """A tunnel's application has left: nobody takes what it holds and what still comes."""
        stream.is_unread = True
        self.acknowledge(stream, stream.unacknowledged)

    def _offer(self, stream: Stream) -> bool:
        """Open the stream's window where half of it is credit."""
        if not stream.receiving or stream.credit * 2 < stream.window:
            return False
        increment = stream.credit
        stream.credit = 0
        room = min(self._options.stream_window - stream.window, self._spare)
        if room > 0 and not stream.unacknowledged:
            # The application keeps up with its client: it is the window that limits them.
            growth = min(room, stream.window)
            stream.window += growth
            self._spare -= growth
            increment += growth
        self._session.open_window(stream.id, increment)
        return True

    def drop(self, stream: Stream) -> None:
        """The stream is gone; what it held is nobody's."""
        self._spare += stream.window - self._options.initial_window
        if stream.unacknowledged:
            self._unacknowledged -= stream.unacknowledged
            self.return_credit(stream.unacknowledged)

    def stop(self) -> None:
        """The connection is over: nobody is given credit any more."""
        self._stopped = True

    def return_credit(self, n: int) -> None:
        """``n`` bytes are ours no more: open the connection's window, now and then."""
        self._credit += n
        if not self._stopped and self._credit * 2 >= self._options.connection_window:
            self._session.open_window(0, self._credit)
            self._credit = 0
