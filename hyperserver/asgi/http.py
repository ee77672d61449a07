"""One HTTP request and its response: ASGI messages on one side, engine commands on the other.

The order of messages that an application may send is this machine:

    START ──http.response.start──► HELD ──body──► BODY ──last body──► COMPLETE
                                     └──last body────────────────────────▲
                    (with trailers: True)  …last body ──► TRAILERS ──trailers──┘

``http.response.start`` is held until the first body message. So a response that is ready leaves
as one write, a Content-Length can be added where the whole body is known, and an application
that fails in between still gets an honest 500.

A message that is refused raises and changes nothing, except where bytes have gone out that can
no longer be made right: then the stream is reset as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from hyperserver.asgi.types import Message, PlainMessage
from hyperserver.errors import ClientDisconnected, LocalProtocolError
from hyperserver.protocol import fields
from hyperserver.protocol.events import Headers, RequestReceived
from hyperserver.protocol.response_fields import ResponseFields

if TYPE_CHECKING:
    from hyperserver.asgi.files import FilePart
    from hyperserver.protocol.interface import AnyConnection

#: All that a request target may hold (RFC 3986 §3.3, §3.4) but letters and digits.
_PATH_AS_IT_IS = "/?%!$&'()*+,;=:@-._~[]|"

#: ``FILE`` is ``files.FileCycle``'s. What comes from ``COMPLETE`` on is not taken (now).
START: Final = 0
HELD: Final = 1
BODY: Final = 2
TRAILERS: Final = 3
COMPLETE: Final = 4
FILE: Final = 5

#: Messages that are known, and offered where they work.
EXTENSIONS = frozenset(
    (
        "http.response.early_hint",
        "http.response.pathsend",
        "http.response.push",
        "http.response.zerocopysend",
    )
)

_ERROR_BODY: Final = b"500: Internal Server Error\n"
_ERROR_HEADERS = fields.response_fields(
    [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", b"%d" % len(_ERROR_BODY)),
    ]
)


def plain(message: Message) -> PlainMessage:
    """``message`` as a dict and nothing more, so that what is compiled reads it as what is not does."""
    return message if type(message) is dict else dict(message)


def may_push(request: RequestReceived) -> bool:
    """Whether a push may be promised along with the response (RFC 9113 §8.4): the stream must be
    the client's own.
    """
    return request.http_version == "2" and request.stream_id & 1 == 1


class HTTPCycle:
    """Turns one stream's events into ``receive()`` messages and ``send()`` messages into commands.

    Synchronous throughout: ``next_message`` answers None where the application has to wait.
    ``status`` and ``bytes_sent`` are for the access log: the status sent (0 if none) and the
    body bytes handed to the engine. The runtime's ``Stream`` is one of these that can wait.
    """

    __slots__ = (
        "_continue_due",
        "_ended",
        "_engine",
        "_headers",
        "_input_closed",
        "_part",
        "_pieces",
        "_state",
        "_trailer_fields",
        "_wants_trailers",
        "bytes_sent",
        "gone",
        "request",
        "request_complete",
        "status",
        "stream_id",
    )

    # known once the response has started
    _headers: ResponseFields
    _wants_trailers: bool
    _trailer_fields: Headers
    # in FILE only
    _part: FilePart

    def __init__(self, engine: AnyConnection, request: RequestReceived) -> None:
        self._engine = engine
        self.request = request
        self.stream_id = request.stream_id
        #: The client cannot be reached: send() raises.
        self.gone = False
        self.status = 0
        self.bytes_sent = 0
        self._state = START
        self._input_closed = False
        self._ended = False  # the final http.request has been handed out
        self.request_complete = request.end_stream
        if request.end_stream:
            self._pieces: list[bytes] | None = None
            self._continue_due = False
        else:
            self._pieces = []  # body received and not yet handed out
            self._continue_due = request.http_version != "1.0"

    # ---- from the engine -----------------------------------------------------------------

    def data_received(self, data: bytes, end_stream: bool) -> None:
        self._continue_due = False
        if data and self._pieces is not None:
            self._pieces.append(data)
        if end_stream:
            self.request_complete = True

    def input_closed(self) -> None:
        self._input_closed = True

    def closed(self, status: int = 0) -> None:
        """The stream is gone; ``status`` is what the engine answered in our place, if it did."""
        self.gone = True
        self._pieces = None
        if status:
            self.status = status

    # ---- to and from the application -----------------------------------------------------

    @property
    def complete(self) -> bool:
        """The application has sent its whole response."""
        return self._state == COMPLETE

    @property
    def note(self) -> str:
        """For the access log: how it ended, unless well."""
        return "disconnected" if self.gone else ""

    @property
    def content_sent(self) -> int:
        """Body bytes of the response; what an application gives for a HEAD is not sent."""
        return self.bytes_sent if self._has_content() else 0

    def next_message(self) -> dict[str, Any] | None:
        """The next message, or None if there is none yet."""
        if self.gone or self._state == COMPLETE:
            return {"type": "http.disconnect"}
        if not self._ended:
            pieces = self._pieces
            if pieces:
                body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
                pieces.clear()
                self._engine.acknowledge(self.stream_id, len(body))
            elif self.request_complete:
                body = b""
            elif self._input_closed:
                self.gone = True
                return {"type": "http.disconnect"}
            else:
                if self._continue_due:
                    self._send_continue()
                return None
            self._ended = self.request_complete
            return {"type": "http.request", "body": body, "more_body": not self._ended}
        if self._input_closed:
            # Told that its client has left, the application may expect send() to fail (2.4).
            self.gone = True
            return {"type": "http.disconnect"}
        return None

    def _send_continue(self) -> None:
        """The application wants the body: tell a client that waits for the word (RFC 9110 §10.1.1)."""
        self._continue_due = False
        for name, _ in self.request.headers:
            if name == b"expect":
                self._engine.send_informational(self.stream_id, 100, [])
                return

    def take(self, message: PlainMessage) -> bool | FilePart:
        """Take one message; whether it made the engine do anything.

        Not taken is what comes while a file is being sent, and what asks for one: the answer is
        the file, which the caller has to send (see ``files``).

        Raises ClientDisconnected once the client is gone, LocalProtocolError for a message
        that is malformed, unknown, not offered or out of order.
        """
        if self._state >= COMPLETE:
            if self._state == FILE:
                return self._part
            return False  # "any further messages on the channel will be ignored"
        if self.gone:
            raise ClientDisconnected
        kind = message.get("type")
        if kind == "http.response.start":
            self._send_start(message)
            return False
        if kind == "http.response.body":
            self._send_body(message)
        elif kind == "http.response.trailers":
            self._send_trailers(message)
        else:
            return self.take_extension(kind, message)
        return True

    def take_extension(self, kind: object, message: PlainMessage) -> bool | FilePart:
        if kind == "http.response.early_hint" and self.request.http_version != "1.0":
            self._send_early_hint(message)
            return True
        if kind == "http.response.push" and self.has_push:
            self._send_push(message)
            return True
        if kind is None:
            raise LocalProtocolError("an ASGI message needs a 'type'")
        if isinstance(kind, str) and kind in EXTENSIONS:
            raise LocalProtocolError(
                f"{kind!r} was not offered: it is not in scope['extensions'] of this request"
            )
        raise LocalProtocolError(f"unknown ASGI message type {kind!r} in an http scope")

    def _send_start(self, message: PlainMessage) -> None:
        if self._state != START:
            raise LocalProtocolError("http.response.start was sent already")
        status = message.get("status")
        if type(status) is not int:
            if not isinstance(status, int) or isinstance(status, bool):
                raise LocalProtocolError(
                    f"http.response.start needs an integer 'status', not {status!r}"
                )
            status = int(status)  # an IntEnum such as HTTPStatus
        if not 200 <= status <= 999:
            raise LocalProtocolError(f"{status} is not the status of a final response")
        self._headers = fields.response_fields(message.get("headers") or ())
        self.status = status
        # to HTTP/1.0, where they are not offered, a key like any other that is unknown
        self._wants_trailers = message.get("trailers", False) and self.request.http_version != "1.0"
        self._state = HELD

    def _send_body(self, message: PlainMessage) -> None:
        body = message.get("body", b"")
        if type(body) is not bytes:
            if not isinstance(body, bytes | bytearray | memoryview):
                raise LocalProtocolError(
                    f"http.response.body needs bytes in 'body', not {type(body).__name__}"
                )
            body = bytes(body)
        more_body = message.get("more_body", False)
        state = self._state
        if state != HELD and state != BODY:
            raise LocalProtocolError(
                "http.response.body before http.response.start"
                if state == START
                else "http.response.body after the last one"
            )
        length = self._headers.content_length
        sent = self.bytes_sent + len(body)
        if length is not None and sent != length:
            self._check_length(length, sent, more_body)
        ends = not more_body and not self._wants_trailers
        if state == HELD:
            if ends:
                if length is None:
                    self._add_content_length(len(body))
                self._state = COMPLETE
                self.bytes_sent = sent
                self._engine.send_response(self.stream_id, self.status, self._headers, body)
                return
            self._state = BODY
            self._engine.send_headers(self.stream_id, self.status, self._headers)
        if body or ends:
            self._engine.send_data(self.stream_id, body, ends)
            self.bytes_sent = sent
        if ends:
            self._state = COMPLETE
        elif not more_body:
            self._state = TRAILERS
            self._trailer_fields = []

    def _check_length(self, length: int, sent: int, more_body: bool) -> None:
        """A body that is not as long as its Content-Length says (RFC 9112 §6.3, RFC 9113 §8.1.1)."""
        if (sent < length and more_body) or not self._has_content():
            return  # for a HEAD, whatever the application sends
        if self._state == BODY:
            self.gone = True
            self.reset("wrong content length")
        which = "longer" if sent > length else "shorter"
        raise LocalProtocolError(f"the body is {which} than its content-length of {length}")

    def _has_content(self) -> bool:
        return self.request.method != "HEAD" and self.status != 204 and self.status != 304

    def _add_content_length(self, size: int) -> None:
        """The body is whole: say how long it is, as a GET would have been told for a HEAD."""
        if self.status != 204 and self.status != 304 and (size or self.request.method != "HEAD"):
            self._headers = self._headers.with_content_length(size)

    def _send_trailers(self, message: PlainMessage) -> None:
        if self._state != TRAILERS:
            raise LocalProtocolError(
                "http.response.trailers must follow the last body of a response "
                "that was started with trailers: True"
            )
        self._trailer_fields += fields.trailer_fields(message.get("headers") or ())
        if message.get("more_trailers", False):
            return
        wanted = any(
            name == b"te" and b"trailers" in fields.tokens(value)
            for name, value in self.request.headers
        )
        self._state = COMPLETE
        self._engine.send_trailers(self.stream_id, self._trailer_fields if wanted else [])

    def _send_early_hint(self, message: PlainMessage) -> None:
        """103 before the final head (RFC 8297); also before the start, as frameworks send it."""
        if self._state > HELD:
            return
        links = fields.response_fields((b"link", link) for link in message.get("links") or ())
        if links:
            self._engine.send_informational(self.stream_id, 103, links)

    @property
    def has_push(self) -> bool:
        """``http.response.push`` was offered. A client may have come to want none since."""
        return may_push(self.request)

    def _send_push(self, message: PlainMessage) -> None:
        """Promise a request; a client that takes none gets none, and the application never knows."""
        path = message.get("path")
        if not isinstance(path, str):
            raise LocalProtocolError(f"http.response.push needs a string 'path', not {path!r}")
        headers = fields.response_fields(message.get("headers") or ())
        # The specification has the path decoded; what callers have encoded is left as it is.
        self._engine.push_stream(self.stream_id, quote(path, _PATH_AS_IT_IS).encode(), headers)

    # ---- the end -------------------------------------------------------------------------

    def reset(self, reason: str) -> None:
        """Cut the response, so that the client can tell; what it was sent so far stays sent."""
        self._engine.reset_stream(self.stream_id, reason)

    def finish(self, failed: bool) -> bool:
        """The application has returned, or ``failed``: make the best of what is missing.

        A 500 if no head has gone out, else a reset, so that the client can tell a cut
        response from a whole one. Returns whether the response had been complete.
        """
        if self._state == COMPLETE:
            return True
        if not self.gone:
            if self._state <= HELD:
                self.status = 500
                self._engine.send_response(self.stream_id, 500, _ERROR_HEADERS, _ERROR_BODY)
                self.bytes_sent = len(_ERROR_BODY)
            else:
                self.reset("application error")
        self._state = COMPLETE
        return False
