"""Collecting request heads out of a stream of bytes, however the stream is cut.

A head that arrives in pieces is judged as it grows, so that garbage is refused at once and not
when the timeout ends it; what was looked at before is not looked at again. What is said of a head
must not depend on the cut: a fault in the request line answers before one in the fields.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from hyperserver.errors import RemoteProtocolError
from hyperserver.protocol.events import Headers, RequestRefused
from hyperserver.protocol.h1.head import (
    Head,
    RequestLine,
    SplitFields,
    check_block,
    check_line_length,
    known_lines,
    read_head,
    read_request_line,
)
from hyperserver.protocol.interface import Limits

#: Empty lines tolerated before a request line (RFC 9112 §2.2), in bytes.
_MAX_LEADING_CRLF: Final = 8
#: A field section up to this size is remembered until the connection is idle. Clients that keep a
#: connection repeat themselves from request to request, which is what HPACK lives on in HTTP/2:
#: comparing a section with the one before costs a twentieth of reading it again.
_MAX_KNOWN_SECTION: Final = 2048


class HeadReader:
    """``take`` cuts a complete head off a buffer, ``read`` says what it means.

    ``line`` is the request line of the head in progress or last read, as far as it is known;
    the connection resets it when it begins to wait for the next request.
    """

    __slots__ = (
        "_known_head",
        "_known_section",
        "_leading",
        "_limits",
        "_make_splitter",
        "_scanned",
        "_split_fields",
        "line",
    )

    def __init__(self, make_splitter: Callable[[], SplitFields], limits: Limits) -> None:
        self._make_splitter = make_splitter
        self._split_fields = make_splitter()
        self._limits = limits
        self.line: RequestLine | None = None
        self._leading = 0
        self._scanned = 0
        self._known_section = b""
        self._known_head: Head

    def forget(self) -> None:
        """The connection is idle: keep nothing for it."""
        self._known_section = b""

    def take(self, buffer: bytearray) -> bytes | None:
        """Cut one complete head off ``buffer``; None if more is needed.

        Raises RemoteProtocolError as soon as what is there can be part of no valid head.
        """
        while buffer[:2] == b"\r\n" and self._leading < _MAX_LEADING_CRLF:
            del buffer[:2]
            self._leading += 2
            self._scanned = 0
        limit = self._limits.max_head_size
        # what was looked at before is not looked at again, but for a line ending cut in two
        start = max(0, self._scanned - 3)
        end = buffer.find(b"\r\n\r\n", start, limit + 4)
        if end >= 0:
            head = bytes(buffer[: end + 4])
            del buffer[: end + 4]
            self._scanned = 0
            return head
        # nor is what lies behind the limit: it may be a body
        stop = min(len(buffer), limit)
        stop -= buffer[stop - 1 : stop] == b"\r"
        if self.line is None:
            line_end = buffer.find(b"\r\n", start)
            if line_end >= 0:
                self.line = read_request_line(bytes(buffer[:line_end]), self._limits)
        check_block(buffer[start - (buffer[start - 1 : start + 1] == b"\r\n") : stop])
        if self.line is None:
            check_line_length(stop, self._limits)
        if len(buffer) > limit:
            raise RemoteProtocolError("request head too large", 431)
        self._scanned = len(buffer)
        return None

    def read(self, block: bytes) -> tuple[RequestLine, Head, Headers] | None:
        """Read a complete head; None if it was nothing but empty lines.

        The list of headers may be that of other requests, too: it is not to be changed. Raises
        RemoteProtocolError.
        """
        first, _, section = block.partition(b"\r\n")
        if not first:  # a leading empty line arrived together with its request
            return self._skip_leading(block)
        self._leading = 0
        line = self.line = known_lines.get(first) or read_request_line(first, self._limits)
        usual = line.minor == 1 and line.authority is None
        if usual and section == self._known_section:
            head = self._known_head
            return line, head, head.headers
        if len(block) > self._limits.max_head_size:
            raise RemoteProtocolError("request head too large", 431)
        head = read_head(line, section, self._split_fields, self._limits)
        maximum = self._limits.max_body_size
        if maximum is not None and head.content_length > maximum:
            raise RemoteProtocolError("request body too large", 413)
        if head.chunked or head.content_length:
            self._split_fields = self._make_splitter()  # they end at the first body
        if usual and len(section) <= _MAX_KNOWN_SECTION:
            self._known_section = section
            self._known_head = head
        return line, head, head.headers

    def refused(self, stream_id: int, error: RemoteProtocolError) -> RequestRefused:
        """The head in progress is refused: the event for it, with what is known of the request."""
        line = self.line
        return RequestRefused(
            stream_id,
            error.status,
            error.reason,
            line.method if line else "",
            line.target if line else b"",
            "1.1" if line is None or line.minor else "1.0",
        )

    def _skip_leading(self, block: bytes) -> tuple[RequestLine, Head, Headers] | None:
        rest = b"" if block == b"\r\n\r\n" else block[2:]
        self._leading += len(block) - len(rest)
        if self._leading > _MAX_LEADING_CRLF:
            raise RemoteProtocolError("empty lines instead of a request")
        return self.read(rest) if rest else None
