"""Server push (RFC 9113 §8.4): how much of it a client gets."""

from __future__ import annotations

from hyperserver.protocol.events import Headers
from hyperserver.protocol.h2 import messages
from hyperserver.protocol.h2.messages import Request
from hyperserver.protocol.h2.session import Session
from hyperserver.protocol.h2.streams import DONE, Stream

#: Pushes promised on one stream, and in progress on a connection.
_MAX_PUSHES = 100


class Pushes:
    """Counts what is promised, per stream and in progress.

    Pushed streams have no place against the concurrency limit, which is the client's: it has set
    one of its own for them.
    """

    __slots__ = ("_in_progress", "_scheme", "_session")

    def __init__(self, session: Session, scheme: str) -> None:
        self._session = session
        self._scheme = scheme
        self._in_progress = 0

    def promise(
        self, parent: Stream, target: bytes, headers: Headers
    ) -> tuple[int, Request] | None:
        """The promised stream's id and its request; None where no (more) pushes are taken.

        Raises LocalProtocolError for a target or fields that cannot be promised.
        """
        session = self._session
        if (
            parent.response == DONE
            or parent.end_queued
            or parent.is_pushed
            or parent.pushes >= _MAX_PUSHES
            or self._in_progress >= min(session.max_peer_streams, _MAX_PUSHES)
        ):
            return None
        request = messages.promised_request(target, headers, parent.authority)
        promised = session.push(parent.id, messages.promise_block(request, self._scheme))
        if promised is None:
            return None
        parent.pushes += 1
        self._in_progress += 1
        return promised, request

    def ended(self) -> None:
        """A pushed stream is gone."""
        self._in_progress -= 1
