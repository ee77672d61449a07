"""The one validator of methods, targets, field names and values (RFC 9110 §5, §7.2, §9.1).

Smuggling and header-injection bugs come from two parsers with two rules, so every engine and
every response goes through these functions and no other. Checks work on whole values with
``bytes.translate`` (one pass in C): deleting every permitted byte must leave nothing.

Names, authorities and short response fields repeat from request to request; the caches that
remember valid ones are bounded, in entries and in their size, and simply emptied when full.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from hyperserver.errors import LocalProtocolError, RemoteProtocolError
from hyperserver.protocol.events import Headers
from hyperserver.protocol.response_fields import ResponseFields

# RFC 9110 §5.6.2: tchar
_TCHAR = b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
# RFC 9110 §5.5: field-content is VCHAR, obs-text, SP and HTAB
_FIELD_VALUE = bytes([9, *range(0x20, 0x7F), *range(0x80, 0x100)])
# RFC 9112 §3: the target holds neither space, control bytes nor raw non-ASCII, and has no
# fragment. Other characters that RFC 3986 excludes (such as "|") are common and harmless.
_TARGET = bytes(c for c in range(0x21, 0x7F) if c != 0x23)

_AUTHORITY = re.compile(
    rb"(?:\[(?:[0-9A-Fa-f:.]+|v[0-9A-Fa-f]+\.[\w\-.~!$&'()*+,;=:]+)\]"
    rb"|(?:[A-Za-z0-9\-._~!$&'()*+,;=]|%[0-9A-Fa-f]{2})*)(?::\d{0,5})?",
    re.ASCII,
)
_ABSOLUTE_FORM = re.compile(rb"([A-Za-z][A-Za-z0-9+\-.]*)://([^/?]*)(.*)", re.DOTALL)

METHODS = {
    m.encode(): m for m in ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE")
}

#: Request fields that steer a message rather than describe it; engines look at these only.
STEERING = frozenset(
    (b"host", b"content-length", b"transfer-encoding", b"connection", b"expect", b"upgrade")
)

#: Fields that belong to one connection (RFC 9110 §7.6.1, RFC 9113 §8.2.2).
CONNECTION_SPECIFIC = frozenset(
    (b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade")
)

#: Response fields that engines look at: those that say how, not what, and those that the server
#: adds where an application has not (``look_out_for``).
RESPONSE_STEERING = set(CONNECTION_SPECIFIC | {b"content-length", b"date", b"server"})

#: Fields a trailer section must not carry: framing, routing, authentication, response control
#: and content description (RFC 9110 §6.5.1).
NOT_IN_TRAILERS = CONNECTION_SPECIFIC | {
    b"content-length",
    b"host",
    b"te",
    b"trailer",
    b"expect",
    b"max-forwards",
    b"authorization",
    b"proxy-authorization",
    b"proxy-authenticate",
    b"www-authenticate",
    b"set-cookie",
    b"cookie",
    b"cache-control",
    b"age",
    b"date",
    b"expires",
    b"location",
    b"retry-after",
    b"vary",
    b"range",
    b"content-range",
    b"content-type",
    b"content-encoding",
}


_CACHE_SIZE: Final = 1024
_MAX_KNOWN: Final = 128  # bytes
_names: dict[bytes, bytes] = {}
_authorities: set[bytes] = set()
#: Response fields as applications write them → (as they are sent, the Content-Length it says or
#: one of the two below).
_known_fields: dict[tuple[bytes, bytes], tuple[tuple[bytes, bytes], int]] = {}
_PLAIN: Final = -1
_STEERS: Final = -2
#: Whole responses' fields, of those whose every field was known: an application that answers in
#: a new way each time leaves nothing here.
_known_responses: Final[dict[tuple[Iterable[bytes], ...], ResponseFields]] = {}
_MAX_KNOWN_RESPONSES: Final = 256
_MAX_KNOWN_RESPONSE: Final = 32  # fields


def look_out_for(names: Iterable[bytes]) -> None:
    """Have engines see where an application sets one of these response fields itself.

    It is never undone: to look at one more than needed costs the responses that have it a little.
    """
    new = set(names) - RESPONSE_STEERING
    if new:
        RESPONSE_STEERING.update(new)
        _known_fields.clear()
        _known_responses.clear()


def is_token(value: bytes) -> bool:
    """Whether ``value`` is a token (RFC 9110 §5.6.2)."""
    return bool(value) and not value.translate(None, _TCHAR)


def is_field_value(value: bytes) -> bool:
    """Whether ``value`` holds no control byte but HTAB (RFC 9110 §5.5)."""
    return not value.translate(None, _FIELD_VALUE)


def request_method(raw: bytes) -> str:
    """The method as text, case kept (RFC 9110 §9.1). Raises RemoteProtocolError."""
    method = METHODS.get(raw)
    if method is None:
        if not is_token(raw):
            raise RemoteProtocolError("invalid method")
        method = raw.decode("ascii")
    return method


def request_target(method: str, raw: bytes) -> tuple[bytes, bytes | None]:
    """``(target in origin-form or "*", authority or None)`` (RFC 9112 §3.2).

    Raises RemoteProtocolError for a target that is not one of the four forms, or that does
    not go with the method.
    """
    if raw.translate(None, _TARGET):
        raise RemoteProtocolError("invalid character in request target")
    if raw[:1] == b"/":
        return raw, None
    if raw == b"*":
        if method != "OPTIONS":
            raise RemoteProtocolError("request target * needs the method OPTIONS")
        return raw, None
    absolute = _ABSOLUTE_FORM.fullmatch(raw)
    if absolute is None:
        raise RemoteProtocolError("invalid request target")
    scheme, authority, rest = absolute.groups()
    if scheme.lower() not in (b"http", b"https") or authority[:1] in (b"", b":"):
        raise RemoteProtocolError("invalid request target")  # RFC 9110 §4.2.1: a host is a must
    check_authority(authority)
    if method == "OPTIONS" and not rest:  # RFC 9110 §4.2.3: here an empty path is not "/"
        return b"*", authority
    return (rest if rest[:1] == b"/" else b"/" + rest), authority


def check_authority(value: bytes) -> None:
    """``uri-host [":" port]``, possibly empty, never userinfo (RFC 9110 §7.2)."""
    if value in _authorities:
        return
    if _AUTHORITY.fullmatch(value) is None:
        raise RemoteProtocolError("invalid Host")
    if len(value) <= _MAX_KNOWN:
        if len(_authorities) >= _CACHE_SIZE:
            _authorities.clear()
        _authorities.add(value)


def content_length(value: bytes) -> int:
    """``1*DIGIT`` of at most 19 digits (RFC 9110 §8.6). Raises RemoteProtocolError."""
    if not value.isdigit() or len(value) > 19:
        raise RemoteProtocolError("invalid Content-Length")
    return int(value)


def tokens(value: bytes) -> list[bytes]:
    """The lower-cased elements of a comma-separated list (RFC 9110 §5.6.1)."""
    return [t for t in (part.strip(b" \t").lower() for part in value.split(b",")) if t]


def expects_continue(value: bytes) -> bool:
    """Whether Expect asks for 100-continue (RFC 9110 §10.1.1); any other wish gets 417."""
    if value.lower() == b"100-continue":
        return True
    raise RemoteProtocolError("unknown expectation", 417)


def _admit_name(name: bytes) -> bytes:
    """Validate a response field name once and remember its lower-case form."""
    if not isinstance(name, bytes):
        raise LocalProtocolError(f"header name {name!r} must be bytes, not {type(name).__name__}")
    if not is_token(name):
        hint = ": pseudo-headers are the server's" if name[:1] == b":" else ""
        raise LocalProtocolError(f"invalid header name {name!r}{hint}")
    lower = name.lower()
    if len(name) <= _MAX_KNOWN:
        if len(_names) >= _CACHE_SIZE:
            _names.clear()
        _names[name] = lower
    return lower


def _admit_field(name: bytes, value: bytes) -> tuple[tuple[bytes, bytes], int]:
    """Validate a response field and, if it is short, remember what it is."""
    lower = _names.get(name) or _admit_name(name)
    if not isinstance(value, bytes):
        raise LocalProtocolError(
            f"value {value!r} of header {name!r} must be bytes, not {type(value).__name__}"
        )
    role = _PLAIN
    if lower == b"content-length":
        if not value.isdigit():
            raise LocalProtocolError(f"invalid content-length {value!r}")
        role = int(value)
    # the quickest test, but false for HTAB and some of obs-text as well
    elif not value.decode("latin-1").isprintable() and not is_field_value(value):
        raise LocalProtocolError(f"invalid value {value!r} of header {name!r}: control characters")
    elif lower in RESPONSE_STEERING:
        role = _STEERS
    if len(name) <= _MAX_KNOWN and len(value) <= _MAX_KNOWN:
        if len(_known_fields) >= _CACHE_SIZE:
            _known_fields.clear()
        _known_fields[(name, value)] = ((lower, value), role)
    return (lower, value), role


def response_fields(headers: Iterable[Iterable[bytes]]) -> ResponseFields:
    """The application's response fields as a list of byte pairs, names in lower case.

    Raises LocalProtocolError for anything that is not a pair of bytes, for a name that is not
    a token and for a value with a control byte: an application cannot inject header lines.
    """
    try:
        given = tuple(headers)
        try:
            known = _known_responses.get(given)
        except TypeError:  # pairs that are lists cannot be looked up
            known = None
        return known or _admit_response(given)
    except (TypeError, ValueError, AttributeError):
        raise LocalProtocolError(
            "headers must be an iterable of (name, value) pairs of bytes"
        ) from None


def _admit_response(given: tuple[Iterable[bytes], ...]) -> ResponseFields:
    """Validate a response's fields and, if there is nothing new among them, remember them all."""
    fields = ResponseFields()
    fields.content_length = None
    fields.steers = False
    fields.written = fields.longer = None
    all_known = True
    for field in given:
        if type(field) is not tuple or (found := _known_fields.get(field)) is None:
            found = _admit_field(*field)
            all_known = False
        admitted, role = found
        fields.append(admitted)
        if role != _PLAIN:
            if role == _STEERS:
                fields.steers = True
            elif fields.content_length is None:
                fields.content_length = role
            else:
                raise LocalProtocolError("content-length appears twice")
    if all_known and len(given) <= _MAX_KNOWN_RESPONSE:
        if len(_known_responses) >= _MAX_KNOWN_RESPONSES:
            _known_responses.clear()
        _known_responses[given] = fields
    return fields


def check_request_headers(headers: Headers) -> None:
    """Names are lower-case tokens and values clean, as HTTP/2 asks (RFC 9113 §8.2.1)."""
    for name, value in headers:
        if not is_token(name) or name != name.lower():
            raise RemoteProtocolError("invalid header name")
        if not is_field_value(value) or value != value.strip(b" \t"):
            raise RemoteProtocolError("invalid header value")


def trailer_fields(headers: Iterable[Iterable[bytes]]) -> Headers:
    """The application's trailer fields; what may not stand in trailers raises (RFC 9110 §6.5.1)."""
    fields = response_fields(headers)
    for name, _ in fields:
        if name in NOT_IN_TRAILERS:
            raise LocalProtocolError(f"header {name!r} is not allowed in trailers")
    return fields
