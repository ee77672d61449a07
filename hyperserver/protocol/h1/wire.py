"""Writing HTTP/1 messages: status lines, response heads, the framing of response bodies."""

from __future__ import annotations

from http import HTTPStatus

from hyperserver.protocol.events import Headers
from hyperserver.protocol.fields import tokens
from hyperserver.protocol.interface import ResponseDefaults

_PHRASES = {status.value: status.phrase.encode() for status in HTTPStatus}
_STATUS_LINES: dict[int, bytes] = {
    code: b"HTTP/1.1 %d %s\r\n" % (code, _PHRASES.get(code, b"")) for code in range(100, 600)
}

#: Response fields that ``response_head`` does not simply copy.
_STEERING = frozenset(
    (b"content-length", b"date", b"server", b"connection", b"transfer-encoding", b"keep-alive")
)

#: How the end of a response body is marked (RFC 9112 §6.3).
BY_NOTHING, BY_LENGTH, BY_CHUNKS, BY_CLOSE = range(4)

LAST_CHUNK = b"0\r\n\r\n"


def status_line(status: int) -> bytes:
    """``HTTP/1.1 200 OK`` and CRLF; codes without a registered phrase have an empty one."""
    return _STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status


def has_body(method: str, status: int) -> bool:
    """Whether a response to ``method`` with ``status`` carries content (RFC 9110 §6.4.1)."""
    return method != "HEAD" and status >= 200 and status != 204 and status != 304


def field_lines(headers: Headers) -> bytes:
    return b"".join([b"%b: %b\r\n" % field for field in headers])


def response_head(
    status: int,
    headers: Headers,
    defaults: ResponseDefaults,
    *,
    method: str,
    http10: bool,
    keep_alive: bool,
) -> tuple[bytes, int, bool]:
    """Write a final response's head: ``(bytes, framing, keep_alive)``.

    The server owns the framing and the connection (RFC 9112 §6, §9.6): the application's
    Transfer-Encoding is dropped, its Connection is read for ``close`` only.
    """
    parts = [status_line(status)]
    framing = BY_NOTHING
    date = defaults.date_line
    server = defaults.server_line
    body = has_body(method, status)
    length_allowed = status >= 200 and status != 204
    for field in headers:
        name = field[0]
        if name in _STEERING:
            if name == b"content-length":
                if not length_allowed:
                    continue
                framing = BY_LENGTH
            elif name == b"date":
                date = b""
            elif name == b"server":
                server = b""
            else:
                if name == b"connection" and b"close" in tokens(field[1]):
                    keep_alive = False
                continue
        parts.append(b"%b: %b\r\n" % field)
    if framing == BY_NOTHING and body:
        if http10:
            framing = BY_CLOSE
            keep_alive = False
        else:
            framing = BY_CHUNKS
            parts.append(b"transfer-encoding: chunked\r\n")
    elif framing == BY_LENGTH and not body:
        framing = BY_NOTHING
    if not keep_alive:
        end = b"connection: close\r\n\r\n"
    elif http10:
        end = b"connection: keep-alive\r\n\r\n"
    else:
        end = b"\r\n"
    parts += (date, server, end)
    return b"".join(parts), framing, keep_alive


def informational_head(status: int, headers: Headers) -> bytes:
    """A 1xx response, complete (RFC 9110 §15.2)."""
    return status_line(status) + field_lines(headers) + b"\r\n"


def chunk(data: bytes) -> bytes:
    """One chunk around ``data``, which must not be empty."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def refusal(status: int, reason: str, defaults: ResponseDefaults, head_only: bool) -> bytes:
    """The server's own answer to a request it will not serve; it always closes."""
    body = f"{status} {_PHRASES.get(status, b'Error').decode()}: {reason}\n".encode()
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", b"%d" % len(body)),
    ]
    head, _, _ = response_head(
        status, headers, defaults, method="GET", http10=False, keep_alive=False
    )
    return head if head_only else head + body
