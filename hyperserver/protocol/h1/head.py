"""Reading a request head strictly, whichever library splits its field lines.

Two engines with two ideas of a valid request would be two servers, and the difference between
them a smuggling bug. So a library is asked only to split the field section; what surrounds that
is decided here, once:

* before it, the request line by RFC 9112 §3 (libraries know too few methods and too many
  versions), and on every block: line endings are CRLF and nothing else, no control bytes;
* after it, on the fields: Host, the framing of the body, Connection, Expect, Upgrade.

A library may still refuse what we would have refused for another reason. Then the fields are
split plainly and our rules answer first, so that both engines give the same status.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from hyperserver.errors import RemoteProtocolError
from hyperserver.protocol import fields
from hyperserver.protocol.events import Headers
from hyperserver.protocol.interface import Limits

#: Splits a field section: takes b"Name: value\r\n…\r\n\r\n", gives (lower-case name, value) pairs in
#: order. Raises ValueError on what it does not like, which includes all that ``check_block`` refuses.
SplitFields = Callable[[bytes], Headers]

#: What a head may hold besides line endings.
_VISIBLE = bytes([9, *range(0x20, 0x7F), *range(0x80, 0x100)])
_MINOR_VERSIONS = {b"HTTP/1.1": 1, b"HTTP/1.0": 0}
_VERSION = re.compile(rb"HTTP/(\d)\.(\d)")
#: Room in a request line for what is not its target: a method and a version.
_MAX_METHOD: Final = 256


@dataclass(slots=True)
class RequestLine:
    """Not to be changed, as it is shared; a frozen one, or a named tuple, would cost far more."""

    method: str
    target: bytes
    authority: bytes | None  # of an absolute-form target
    minor: int  # 0 or 1; a higher minor version is served as 1.1 (RFC 9110 §2.5)


@dataclass(slots=True)
class Head:
    """What the connection needs to know of a field section. Not to be changed, either."""

    headers: Headers
    authority: bytes
    content_length: int  # 0 where there is no body, ignored if chunked
    chunked: bool
    keep_alive: bool
    expects_continue: bool
    upgrade: bytes | None  # the Upgrade field, where Connection names it


#: Clients ask for the same things again and again: short lines that were valid.
known_lines: Final[dict[bytes, RequestLine]] = {}
_MAX_KNOWN_LINES: Final = 1024
#: Shorter than any limit that can be configured, so that no limit is missed.
_MAX_KNOWN_LINE: Final = 256


def check_block(block: bytes | bytearray) -> None:
    """Refuse control bytes, bare CR and bare LF anywhere in ``block``.

    ``block`` must not end between a CR and its LF. Raises RemoteProtocolError.
    """
    rest = block.replace(b"\r\n", b"")
    # The quickest test Python has; it is false for HTAB and some of obs-text as well.
    if not rest.decode("latin-1").isprintable():
        stray = rest.translate(None, _VISIBLE)
        if stray:
            raise RemoteProtocolError(
                "control character in request head"
                if stray.strip(b"\r\n")
                else "lines must end in CRLF"
            )


def check_line_length(length: int, limits: Limits) -> None:
    """Refuse a request line, complete or not, of which ``length`` bytes are known."""
    if length > limits.max_target_size + _MAX_METHOD:
        raise RemoteProtocolError("request line too long", 414)


def read_request_line(line: bytes, limits: Limits) -> RequestLine:
    """Parse ``method SP target SP version`` (RFC 9112 §3), and remember it in ``known_lines``.

    Raises RemoteProtocolError.
    """
    check_line_length(len(line), limits)
    try:
        parsed = _parse_request_line(line, limits)
    except RemoteProtocolError:
        check_block(line)  # a line that parses has no control bytes; of others, this is said first
        raise
    if len(line) <= _MAX_KNOWN_LINE:
        if len(known_lines) >= _MAX_KNOWN_LINES:
            known_lines.clear()
        known_lines[line] = parsed
    return parsed


def _parse_request_line(line: bytes, limits: Limits) -> RequestLine:
    try:
        raw_method, raw_target, raw_version = line.split(b" ")
    except ValueError:
        raise RemoteProtocolError("malformed request line") from None
    minor = _MINOR_VERSIONS.get(raw_version)
    if minor is None:
        version = _VERSION.fullmatch(raw_version)
        if version is None:
            raise RemoteProtocolError("malformed HTTP version")
        if version[1] != b"1":
            raise RemoteProtocolError("unsupported HTTP version", 505)
        minor = 1
    method = fields.METHODS.get(raw_method) or fields.request_method(raw_method)
    if len(raw_target) > limits.max_target_size:
        raise RemoteProtocolError("request target too long", 414)
    if method == "CONNECT":
        raise RemoteProtocolError("CONNECT is not supported", 501)
    target, authority = fields.request_target(method, raw_target)
    return RequestLine(method, target, authority, minor)


def read_head(
    line: RequestLine, field_block: bytes, split_fields: SplitFields, limits: Limits
) -> Head:
    """Read the field section under ``line``. Raises RemoteProtocolError.

    ``field_block`` is everything after the request line, final empty line included.
    """
    refused = False
    try:
        headers = split_fields(field_block)
    except ValueError:
        check_block(field_block)
        headers = _split_plainly(field_block)
        refused = True
    if len(headers) > limits.max_fields:
        raise RemoteProtocolError("too many header fields", 431)
    minor = line.minor
    host: bytes | None = None
    length: bytes | None = None
    coding: bytes | None = None
    upgrade: bytes | None = None
    connection: list[bytes] = []
    expects_continue = False
    steering = fields.STEERING
    for name, value in headers:
        if name not in steering:
            continue
        if name == b"host":
            if host is not None:
                raise RemoteProtocolError("repeated Host")
            fields.check_authority(value)
            host = value
        elif name == b"connection":
            connection += fields.tokens(value)
        elif name == b"content-length":
            if length is not None:
                raise RemoteProtocolError("repeated Content-Length")
            length = value
        elif name == b"transfer-encoding":
            if coding is not None:
                raise RemoteProtocolError("repeated Transfer-Encoding")
            coding = value
        elif name == b"expect":
            if minor == 1:  # RFC 9110 §10.1.1: ignored in HTTP/1.0
                expects_continue = fields.expects_continue(value)
        else:
            upgrade = value if upgrade is None else upgrade + b", " + value
    if host is None:
        if minor == 1:
            raise RemoteProtocolError("missing Host")
        host = b""
    if line.authority is not None:
        # RFC 9112 §3.2.2: the target's authority replaces the received Host
        host = line.authority
        headers = [(b"host", host), *(h for h in headers if h[0] != b"host")]
    if length is None and coding is None:
        body_length, chunked = 0, False
    else:
        body_length, chunked = read_framing(length, coding, minor)
    if refused:
        raise RemoteProtocolError("malformed header field")
    if connection:  # "close" beats "keep-alive" wherever each stands (RFC 9112 §9.3)
        keep_alive = b"close" not in connection and (minor == 1 or b"keep-alive" in connection)
        if minor == 0 or b"upgrade" not in connection:  # RFC 9110 §7.8
            upgrade = None
    else:
        keep_alive = minor == 1
        upgrade = None
    return Head(headers, host, body_length, chunked, keep_alive, expects_continue, upgrade)


def read_framing(length: bytes | None, coding: bytes | None, minor: int) -> tuple[int, bool]:
    """``(content length, chunked)`` of a request body (RFC 9112 §6.3).

    Raises RemoteProtocolError: 400 where the length is ambiguous, 501 for a coding we lack.
    """
    if coding is None:
        return (0 if length is None else fields.content_length(length)), False
    if length is not None:
        raise RemoteProtocolError("both Transfer-Encoding and Content-Length")
    if minor == 0:
        raise RemoteProtocolError("Transfer-Encoding in HTTP/1.0")
    codings = fields.tokens(coding)
    if codings == [b"chunked"]:
        return 0, True
    if (codings[-1:] != [b"chunked"] and b"chunked" in codings) or codings.count(b"chunked") > 1:
        raise RemoteProtocolError("chunked must be the last transfer coding, once")
    if not codings or not all(fields.is_token(c) for c in codings):
        raise RemoteProtocolError("invalid Transfer-Encoding")
    raise RemoteProtocolError("unknown transfer coding", 501)


def _split_plainly(field_block: bytes) -> Headers:
    """Split a section that a library refused, well enough to see what our rules say of it."""
    headers: Headers = []
    for line in field_block[:-4].split(b"\r\n"):
        name, _, value = line.partition(b":")
        headers.append((name.lower(), value.strip(b" \t")))
    return headers
