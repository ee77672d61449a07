"""How a connection ends without losing a request that is on its way (RFC 9113 §6.8)."""

from __future__ import annotations

from hyperserver.protocol.h2.clocks import Clocks
from hyperserver.protocol.h2.frames import MAX_STREAM_ID, ErrorCode
from hyperserver.protocol.h2.session import Session

# the stages
SERVING, GOING, GONE = range(3)

_PING = b"goaway\0\0"


class Ending:
    """``stage`` is SERVING; GOING, after a GOAWAY that names no stream and a PING to learn when it
    was read; GONE, after one that names the last stream that is served.

    A connection is over when it is GONE and nothing is in flight. Where the client is the one to
    end it, or nothing is in flight anyway, the first GOAWAY is left out. A *patient* end waits for
    the PING's answer in any case, so that clients need not send again what they had on its way.
    """

    __slots__ = ("_clocks", "_patient", "_session", "last_id", "peer_has_ended", "stage")

    def __init__(self, session: Session, clocks: Clocks) -> None:
        self._session = session
        self._clocks = clocks
        self._patient = False
        self.stage = SERVING
        #: The client will open no more streams, nor take any.
        self.peer_has_ended = False
        #: The last of the client's streams that was not refused for the end's sake.
        self.last_id = 0

    def announce(self, *, patient: bool) -> None:
        """The first GOAWAY. A client may open streams until it has read it."""
        self.stage = GOING
        self._patient = patient
        self._clocks.going = True
        self._clocks.touch()
        self._session.goaway(MAX_STREAM_ID, ErrorCode.NO_ERROR)
        self._session.ping(_PING)

    def is_answer(self, payload: bytes) -> bool:
        """Whether a PING's acknowledgement says that the first GOAWAY was read."""
        return self.stage == GOING and payload == _PING

    def name_last(self, code: ErrorCode = ErrorCode.NO_ERROR) -> None:
        """The final GOAWAY."""
        self.stage = GONE
        self._clocks.going = False
        self._clocks.touch()  # streams go on, and so do their clocks
        self._session.goaway(self.last_id, code)

    def without_streams(self) -> bool:
        """Nothing is in flight: whether that was the end."""
        if self.stage == GOING and self._patient and not self.peer_has_ended:
            return False
        if self.stage == GOING or (self.peer_has_ended and self.stage == SERVING):
            self.name_last()
        return self.stage == GONE
