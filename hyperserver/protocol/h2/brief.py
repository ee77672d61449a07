"""Brief exchanges: a request without a body, and a response that is said in one command.

Nearly all requests are that, and need next to nothing of what an ``HTTP2Connection`` keeps about a
stream. So a session that can (``BriefSession``) opens such a request without a ``Stream``: it puts
the event into the queue, takes a place in the table, and remembers the request. Is it answered by a
short whole response, that goes out, and no ``Stream`` was ever made.

Whatever else happens to the stream, or to the connection as a whole, first *settles* it: it becomes
a stream like any other, in the state that it would be in had it been one from the start. So no rule
of HTTP/2 is written down a second time; only the frequent case is left out of the books.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from hyperserver.protocol.events import Headers, RequestReceived
from hyperserver.protocol.h2.abuse import Abuse
from hyperserver.protocol.h2.connection import HTTP2Connection
from hyperserver.protocol.h2.ending import SERVING
from hyperserver.protocol.h2.frames import ErrorCode
from hyperserver.protocol.h2.messages import Request
from hyperserver.protocol.h2.priority import Dependency, Priority
from hyperserver.protocol.h2.session import Session
from hyperserver.protocol.h2.streams import Stream
from hyperserver.protocol.interface import HTTP2Options, Limits, ResponseDefaults, TunnelSink


class Answer(Protocol):
    """A response whose head is written, and its body is not."""

    @property
    def request(self) -> Request: ...
    @property
    def body(self) -> bytes: ...

    #: The application has returned.
    is_released: bool


class BriefSession(Session, Protocol):
    """A session that keeps brief exchanges to itself."""

    @property
    def highest(self) -> int:
        """The newest stream of the client's."""

    @property
    def brief(self) -> dict[int, Request]:
        """Requests without an answer, by stream."""

    @property
    def answers(self) -> dict[int, Answer]:
        """Requests that have one, by stream."""

    def attend(self, places: dict[int, None], defaults: ResponseDefaults, scheme: str) -> None:
        """Begin to keep brief exchanges; each has a place in ``places``."""

    def respond(self, stream_id: int, status: int, headers: Headers, body: bytes) -> bool:
        """Answer one of ``brief``; False, and nothing is done, where that takes more than the
        session knows.
        """

    def send_answers(self) -> bool:
        """Write all ``answers``; False, and nothing is done, where they need more of an order than
        that of their streams, or windows leave too little room.
        """


MakeSession = Callable[[HTTP2Connection, Limits, HTTP2Options, Abuse], BriefSession]


class BriefConnection(HTTP2Connection):
    """An ``HTTP2Connection`` over a session that keeps brief exchanges to itself."""

    __slots__ = ("_answers", "_brief", "_keeper", "_uses_urgency")

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
        def make(
            connection: HTTP2Connection, limits: Limits, options: HTTP2Options, abuse: Abuse
        ) -> BriefSession:
            session = make_session(connection, limits, options, abuse)
            self._keep(session)
            return session

        self._uses_urgency = options.priorities == "rfc9218"
        super().__init__(make, limits, options, defaults, scheme, now, upgrade)
        self._keeper.attend(self._table.places, defaults, scheme)

    def _keep(self, session: BriefSession) -> None:
        self._keeper = session
        self._brief = session.brief
        self._answers = session.answers

    # ---- what the session asks and tells -------------------------------------------------

    def takes_brief(self) -> bool:
        """Whether requests may be brief. Not near the end of the connection, where each counts,
        and not where some were announced by their priority.
        """
        ending = self._ending
        return (
            self._uses_urgency
            and self._greeted
            and ending.stage == SERVING
            and not ending.peer_has_ended
            and not self._turns.scheduler.announced
        )

    def on_brief(self, stream_id: int) -> None:
        """Brief requests have come, the last of them on this stream."""
        self._ending.last_id = stream_id
        self._clocks.busy()

    def on_brief_ended(self) -> None:
        """The last one has been answered."""
        if not self.streams:
            self._clocks.touch()

    def settle(self, stream_id: int) -> None:
        """If the stream is a brief one, make it like any other."""
        request = self._brief.pop(stream_id, None)
        answer: Answer | None = None
        if request is None:
            answer = self._answers.pop(stream_id, None)
            if answer is None:
                return
            request = answer.request
        stream = Stream(stream_id, request.method, False, self._initial_window, request.authority)
        self._begin(stream, request.priority)
        if answer is not None:
            stream.is_released = answer.is_released
            self._outbound.resume(stream, answer.body)

    def settle_all(self) -> None:
        for stream_id in sorted((*self._brief, *self._answers)):
            self.settle(stream_id)

    # ---- what happens to one of them -----------------------------------------------------

    def send_response(self, stream_id: int, status: int, headers: Headers, body: bytes) -> None:
        if stream_id in self._brief:
            if self._keeper.respond(stream_id, status, headers, body):
                self.output = True
                return
            self.settle(stream_id)
        super().send_response(stream_id, status, headers, body)

    def send_informational(self, stream_id: int, status: int, headers: Headers) -> None:
        self.settle(stream_id)
        super().send_informational(stream_id, status, headers)

    def send_headers(
        self, stream_id: int, status: int, headers: Headers, end_stream: bool = False
    ) -> None:
        self.settle(stream_id)
        super().send_headers(stream_id, status, headers, end_stream)

    def send_data(self, stream_id: int, data: bytes, end_stream: bool = False) -> None:
        if stream_id not in self.streams:
            self.settle(stream_id)
        super().send_data(stream_id, data, end_stream)

    def send_trailers(self, stream_id: int, headers: Headers) -> None:
        self.settle(stream_id)
        super().send_trailers(stream_id, headers)

    def accept_tunnel(
        self, stream_id: int, headers: Headers, sink: TunnelSink | None = None
    ) -> None:
        self.settle(stream_id)
        super().accept_tunnel(stream_id, headers, sink)

    def push_stream(self, stream_id: int, target: bytes, headers: Headers) -> int | None:
        self.settle(stream_id)
        return super().push_stream(stream_id, target, headers)

    def reset_stream(self, stream_id: int, reason: str) -> None:
        self.settle(stream_id)
        super().reset_stream(stream_id, reason)

    def release(self, stream_id: int) -> None:
        answer = self._answers.get(stream_id)
        if answer is not None:
            answer.is_released = True
        else:
            self.settle(stream_id)
            super().release(stream_id)

    def buffered(self, stream_id: int) -> int:
        answer = self._answers.get(stream_id)
        return super().buffered(stream_id) if answer is None else len(answer.body)

    # ---- what happens to all of them -----------------------------------------------------

    def data_to_send(self) -> bytes:
        if self._answers and (self._outbound.waiting or not self._keeper.send_answers()):
            self.settle_all()
        return super().data_to_send()

    def on_priority(self, stream_id: int, signal: Priority | Dependency) -> None:
        self.settle_all()
        self._turns.passed_by(self._keeper.highest)
        super().on_priority(stream_id, signal)

    def on_goaway(self) -> None:
        self.settle_all()
        super().on_goaway()

    def receive_eof(self, now: float) -> None:
        self.settle_all()
        super().receive_eof(now)

    def shutdown(self, grace: float = 0.0) -> None:
        self.settle_all()
        super().shutdown(grace)

    def handle_timeout(self, now: float) -> None:
        self.settle_all()
        super().handle_timeout(now)

    def _fail(self, code: ErrorCode, reason: str) -> None:
        self.settle_all()
        super()._fail(code, reason)
