"""Writing HTTP/1 messages: status lines, response heads, the framing of response bodies."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from hyperserver.protocol.events import Headers
from hyperserver.protocol.fields import (
    CONNECTION_SPECIFIC,
    response_fields,
    tokens,
)
from hyperserver.protocol.interface import ResponseDefaults
from hyperserver.protocol.response_fields import ResponseFields

_PHRASES = {status.value: status.phrase.encode() for status in HTTPStatus}
_STATUS_LINES: dict[int, bytes] = {
    code: b"HTTP/1.1 %d %s\r\n" % (code, _PHRASES.get(code, b"")) for code in range(100, 600)
}

#: Of those final responses that have content, whatever was asked by another method than HEAD.
CONTENT_LINES: Final = {
    code: line
    for code, line in _STATUS_LINES.items()
    if code >= 200 and code != 204 and code != 304
}

#: Connection-specific fields that the server writes itself, if at all.
_REPLACED = CONNECTION_SPECIFIC - {b"upgrade"}

#: How the end of a response body is marked (RFC 9112 §6.3).
BY_NOTHING: Final = 0
BY_LENGTH: Final = 1
BY_CHUNKS: Final = 2
BY_CLOSE: Final = 3

LAST_CHUNK: Final = b"0\r\n\r\n"


def status_line(status: int) -> bytes:
    """``HTTP/1.1 200 OK`` and CRLF; codes without a registered phrase have an empty one."""
    try:
        return _STATUS_LINES[status]
    except KeyError:
        return b"HTTP/1.1 %d \r\n" % status


def field_lines(headers: Headers) -> bytes:
    return b"".join([b"%b: %b\r\n" % field for field in headers])


def response_head(
    status: int,
    headers: ResponseFields,
    defaults: ResponseDefaults,
    method: str,
    http10: bool,
    keep_alive: bool,
) -> tuple[bytes, int, bool]:
    """Write a final response's head: ``(bytes, framing, keep_alive)``.

    The server owns the framing and the connection (RFC 9112 §6, §9.6): the application's
    Transfer-Encoding is dropped, its Connection is read for ``close`` only.
    """
    line = status_line(status)
    body = not (method == "HEAD" or status == 204 or status == 304 or status < 200)
    if body and headers.content_length is not None and not (headers.steers or http10):
        # by far the most frequent case: nothing to decide
        written = headers.written
        if written is None:
            written = headers.written = field_lines(headers)
        end = defaults.head_end if keep_alive else defaults.last_head_end
        return b"".join((line, written, end)), BY_LENGTH, keep_alive
    date = defaults.date_line
    server = defaults.server_line
    more = defaults.more_lines
    upgrades = False
    fields: Headers = headers
    if headers.steers:
        names = {name for name, _ in headers}
        date = b"" if b"date" in names else date
        server = b"" if b"server" in names else server
        more = more and field_lines([field for field in defaults.more if field[0] not in names])
        keep_alive = keep_alive and not _asks_to_close(headers)
        fields = [field for field in headers if field[0] not in _REPLACED]
        upgrades = b"upgrade" in names
    end = b"\r\n"
    if headers.content_length is not None:
        framing = BY_LENGTH if body else BY_NOTHING
        if status == 204 or status < 200:  # RFC 9110 §8.6
            fields = [field for field in fields if field[0] != b"content-length"]
    elif not body:
        framing = BY_NOTHING
    elif http10:
        framing = BY_CLOSE
        keep_alive = False
    else:
        framing = BY_CHUNKS
        end = b"transfer-encoding: chunked\r\n\r\n"
    if upgrades:  # RFC 9110 §7.8: a 426 names what to upgrade to, and Connection names Upgrade
        end = (b"" if keep_alive else b"connection: close\r\n") + b"connection: upgrade\r\n" + end
    elif not keep_alive:
        end = b"connection: close\r\n" + end
    elif http10:
        end = b"connection: keep-alive\r\n" + end
    return b"".join((line, field_lines(fields), date, server, more, end)), framing, keep_alive


def _asks_to_close(headers: Headers) -> bool:
    return any(name == b"connection" and b"close" in tokens(value) for name, value in headers)


def informational_head(status: int, headers: Headers) -> bytes:
    """A 1xx response, complete (RFC 9110 §15.2)."""
    return status_line(status) + field_lines(headers) + b"\r\n"


def switching_head(headers: Headers, defaults: ResponseDefaults) -> bytes:
    """101 for a WebSocket (RFC 6455 §4.2.2)."""
    names = {name for name, _ in headers}
    return b"".join(
        (
            status_line(101),
            b"connection: upgrade\r\nupgrade: websocket\r\n",
            field_lines(headers),
            b"" if b"date" in names else defaults.date_line,
            b"" if b"server" in names else defaults.server_line,
            field_lines([field for field in defaults.more if field[0] not in names]),
            b"\r\n",
        )
    )


def refusal(status: int, reason: str, defaults: ResponseDefaults, head_only: bool) -> bytes:
    """The server's own answer to a request it will not serve; it always closes."""
    body = f"{status} {_PHRASES.get(status, b'Error').decode()}: {reason}\n".encode()
    headers = response_fields(
        [
            (b"content-type", b"text/plain; charset=utf-8"),
            (b"content-length", b"%d" % len(body)),
        ]
    )
    head, _, _ = response_head(status, headers, defaults, "GET", False, False)
    return head if head_only else head + body
