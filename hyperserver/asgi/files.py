"""Files as response bodies: the extensions ``http.response.pathsend`` and ``zerocopysend``.

The cycle decides and does not wait: to such a message ``take`` answers with a ``FilePart``, and
whoever drives the cycle opens the file, says how much of it there is, and sends it:

    HELD, BODY ──pathsend, zerocopysend──► FILE ──send_small──► as after such a body
                                            │ ├─begin_file, file_data…(last)──────▲
                                            │ └─leave_file──► as before: it could not be opened
                                            └─cut_file──► the stream is reset

A file is part of the body like any other bytes. It may be of another size than it was when the
application looked, so how long the response is has been settled before its head goes out: the
application's Content-Length is neither exceeded nor silently missed.
"""

from __future__ import annotations

from typing import Any

from hyperserver.asgi.http import BODY, COMPLETE, FILE, HELD, TRAILERS, HTTPCycle
from hyperserver.asgi.types import PlainMessage
from hyperserver.errors import ClientDisconnected, LocalProtocolError


class FilePart:
    """What of which file the application wants to be sent.

    ``path`` is a pathsend's, ``file`` a zerocopysend's: a descriptor or an object with
    ``fileno()``. Without ``offset`` it begins at the file's position, without ``count`` it goes to
    the file's end, or to ``limit``: the bytes that the Content-Length leaves, if there is one.
    ``has_content`` is false where all that is of interest is the size, as for a HEAD.
    """

    __slots__ = (
        "begun",
        "count",
        "file",
        "has_content",
        "limit",
        "more_body",
        "offset",
        "path",
        "state",
    )

    has_content: bool
    limit: int | None
    state: int  # of the cycle, without the part

    def __init__(
        self,
        path: str | None = None,
        file: Any = None,
        offset: int | None = None,
        count: int | None = None,
        more_body: bool = False,
    ) -> None:
        self.path = path
        self.file = file
        self.offset = offset
        self.count = count
        self.more_body = more_body
        #: Somebody sends it.
        self.begun = False

    def size_of(self, available: int) -> int:
        """Bytes to send where ``available`` are between the beginning and the file's end."""
        size = max(0, available)
        bound = self.limit if self.count is None else self.count
        return size if bound is None else min(size, bound)


def _path_part(message: PlainMessage) -> FilePart:
    path = message.get("path")
    if not isinstance(path, str):
        raise LocalProtocolError(f"http.response.pathsend needs a string 'path', not {path!r}")
    return FilePart(path)


def _file_part(message: PlainMessage) -> FilePart:
    file = message.get("file")
    if isinstance(file, bool) or not (isinstance(file, int) or hasattr(file, "fileno")):
        raise LocalProtocolError(
            "http.response.zerocopysend needs a 'file': a descriptor or an object with fileno(), "
            f"not {file!r}"
        )
    for key in ("offset", "count"):
        value = message.get(key)
        if value is not None and (
            not isinstance(value, int) or isinstance(value, bool) or value < 0
        ):
            raise LocalProtocolError(
                f"http.response.zerocopysend needs '{key}' to be a number of bytes, not {value!r}"
            )
    return FilePart(
        None, file, message.get("offset"), message.get("count"), bool(message.get("more_body"))
    )


class FileCycle(HTTPCycle):
    """An ``HTTPCycle`` that takes files."""

    __slots__ = ()

    @property
    def has_zero_copy(self) -> bool:
        """``http.response.zerocopysend`` was offered."""
        return False

    def take_extension(self, kind: object, message: PlainMessage) -> bool | FilePart:
        if kind == "http.response.pathsend":
            part = _path_part(message)
        elif kind == "http.response.zerocopysend" and self.has_zero_copy:
            part = _file_part(message)
        else:
            return HTTPCycle.take_extension(self, kind, message)
        state = self._state
        if state != HELD and (state != BODY or part.path is not None):
            if state < HELD:
                raise LocalProtocolError(f"{kind} before http.response.start")
            raise LocalProtocolError(
                "http.response.pathsend is a response's only body"
                if state == BODY
                else f"{kind} after the last body"
            )
        length = self._headers.content_length
        part.has_content = self._has_content()
        part.limit = length - self.bytes_sent if length is not None and part.has_content else None
        part.state = state
        self._part = part
        self._state = FILE
        return part

    @property
    def sends_file(self) -> bool:
        """A file is being opened or sent, and the client is there."""
        return self._state == FILE and not self.gone

    def _resume(self) -> FilePart:
        """The part, its cycle as if there were none. Raises ClientDisconnected if that is over."""
        if not self.sends_file:
            raise ClientDisconnected
        part = self._part
        self._state = part.state
        return part

    def send_small(self, data: bytes) -> None:
        """All of the part is at hand: it is a body like any other."""
        part = self._resume()
        self._send_body({"body": data, "more_body": part.more_body})

    def begin_file(self, size: int) -> None:
        """The part has ``size`` bytes; send the head, if that is still due.

        Raises LocalProtocolError, and nothing is sent, where the body would not be as long as its
        Content-Length.
        """
        part = self._resume()
        length = self._headers.content_length
        sent = self.bytes_sent + size
        if length is not None and sent != length:
            self._check_length(length, sent, part.more_body)
        if self._state == HELD:
            if length is None and not part.more_body and not self._wants_trailers:
                self._add_content_length(size)
            self._engine.send_headers(self.stream_id, self.status, self._headers)
        part.state = BODY
        self._state = FILE

    def file_data(self, data: bytes, last: bool) -> None:
        """The next bytes of the part; with ``last``, perhaps none."""
        part = self._resume()
        ends = last and not part.more_body and not self._wants_trailers
        if data or ends:
            self._engine.send_data(self.stream_id, data, ends)
            self.bytes_sent += len(data)
        if not last:
            self._state = FILE
        elif ends:
            self._state = COMPLETE
        elif not part.more_body:
            self._state = TRAILERS
            self._trailer_fields = []

    def leave_file(self, part: FilePart) -> None:
        """The part will not be sent, or has been; by now it may be another's turn."""
        if self._state == FILE and self._part is part:
            self._state = part.state

    def cut_file(self, part: FilePart) -> None:
        """Nothing can follow on a part that was begun and is not whole, if it is not."""
        if self._state == FILE and self._part is part and not self.gone:
            self.gone = True
            self.reset("the file was not sent to its end")
