"""HTTP messages in HTTP/2: field sections with pseudo-headers, checked and translated (RFC 9113 §8).

What a request may not be is decided here for every HTTP/2 engine, whatever its library already
refused. Two ways to say no: *malformed* requests are stream errors of type PROTOCOL_ERROR
(RFC 9113 §8.1.1), which is what status 400 means here; others are answered with their status.
"""

from __future__ import annotations

from typing import NamedTuple

from hyperserver.errors import LocalProtocolError, RemoteProtocolError
from hyperserver.protocol import fields
from hyperserver.protocol.events import Headers, RequestReceived, RequestRefused
from hyperserver.protocol.fields import CONNECTION_SPECIFIC
from hyperserver.protocol.interface import Limits, ResponseDefaults
from hyperserver.protocol.response_fields import ResponseFields

_REQUEST_PSEUDO = frozenset((b":method", b":scheme", b":authority", b":path", b":protocol"))
_STEERING = frozenset((b"host", b"content-length", b"cookie", b"expect", b"priority"))
#: What a promised request does not say: it has no body, and its authority is its parent's.
_NOT_PROMISED = CONNECTION_SPECIFIC | {
    b"host",
    b"te",
    b"trailer",
    b"expect",
    b"content-length",
    b"content-type",
    b"date",
    b"server",
}
_NO_CONTENT = frozenset((204, 304))
#: What RFC 9113 §6.5.2 counts for each field beside its name and value.
_FIELD_OVERHEAD = 32

_STATUSES = {status: (b":status", b"%d" % status) for status in range(100, 600)}
#: Field names that passed the check; bounded, and emptied when full.
_known_names: set[bytes] = set()
_MAX_KNOWN_NAMES = 1024


class Request(NamedTuple):
    """A request's field section; ``headers`` begin with ``host`` and hold one cookie at most."""

    method: str
    target: bytes
    headers: Headers
    authority: bytes
    protocol: str | None
    content_length: int | None
    priority: bytes | None  # the value of the field of RFC 9218 §5


class Refused(RemoteProtocolError):
    """Well-formed, yet refused with a response, even where the status is 400."""


def is_malformed(error: RemoteProtocolError) -> bool:
    """Whether to reset the stream rather than to answer with ``error.status``."""
    return error.status == 400 and not isinstance(error, Refused)


def read_request(block: Headers, limits: Limits) -> Request:
    """Check a request's field section and translate it. Raises RemoteProtocolError."""
    pseudo: dict[bytes, bytes] = {}
    headers: Headers = [(b"host", b"")]
    cookies: list[bytes] = []
    cookie_at = 0
    host: bytes | None = None
    length: bytes | None = None
    expect: bytes | None = None
    priority: bytes | None = None
    for name, value in block:
        if name[:1] == b":":
            if len(headers) > 1 or host is not None:
                raise RemoteProtocolError("pseudo-header after a regular field")
            if name not in _REQUEST_PSEUDO or name in pseudo:
                raise RemoteProtocolError("undefined or repeated pseudo-header")
            pseudo[name] = value
            continue
        _check_field(name, value)
        if name not in _STEERING:
            headers.append((name, value))
        elif name == b"host":
            if host is not None:
                raise RemoteProtocolError("repeated Host")
            host = value
        elif name == b"cookie":  # crumbs, cut for compression (RFC 9113 §8.2.3)
            if not cookies:
                cookie_at = len(headers)
                headers.append((name, value))
            cookies.append(value)
        else:
            headers.append((name, value))
            if name == b"content-length":
                if length is not None:
                    raise RemoteProtocolError("repeated Content-Length")
                length = value
            elif name == b"expect":
                expect = value
            else:  # one that is sent in several lines is a list (RFC 9110 §5.3)
                priority = value if priority is None else priority + b", " + value
    if len(cookies) > 1:
        headers[cookie_at] = (b"cookie", b"; ".join(cookies))
    method, target, authority, protocol = _read_pseudo(pseudo, host)
    content_length = None if length is None else fields.content_length(length)
    if len(target) > limits.max_target_size:
        raise RemoteProtocolError("request target too long", 414)
    check_size(block, limits)
    if not authority:  # RFC 9110 §4.2.1: a host is a must
        raise Refused("neither :authority nor Host", 400)
    if method == "CONNECT" and protocol != "websocket":
        raise RemoteProtocolError("this server opens no such tunnels", 501)
    if expect is not None:
        fields.expects_continue(expect)
    maximum = limits.max_body_size
    if maximum is not None and content_length is not None and content_length > maximum:
        raise RemoteProtocolError("request body too large", 413)
    headers[0] = (b"host", authority)
    return Request(method, target, headers, authority, protocol, content_length, priority)


def _read_pseudo(
    pseudo: dict[bytes, bytes], host: bytes | None
) -> tuple[str, bytes, bytes, str | None]:
    """``(method, target, authority, protocol)`` (RFC 9113 §8.3.1, §8.5, RFC 8441 §4)."""
    get = pseudo.get
    raw_method, scheme, path = get(b":method"), get(b":scheme"), get(b":path")
    authority, protocol = get(b":authority"), get(b":protocol")
    if raw_method is None:
        raise RemoteProtocolError("missing :method")
    method = fields.request_method(raw_method)
    if method == "CONNECT" and protocol is None:
        if scheme is not None or path is not None or not authority:
            raise RemoteProtocolError("CONNECT takes :authority and nothing else")
        fields.check_authority(authority)
        return method, b"", authority, None
    if scheme is None or path is None:
        raise RemoteProtocolError("missing :scheme or :path")
    if protocol is not None:
        if method != "CONNECT":
            raise RemoteProtocolError(":protocol without CONNECT")
        if not fields.is_token(protocol):
            raise RemoteProtocolError("invalid :protocol")
    if scheme.lower() not in (b"http", b"https"):
        raise RemoteProtocolError("unknown :scheme")
    if path[:1] != b"/" and path != b"*":
        raise RemoteProtocolError("invalid :path")
    target, _ = fields.request_target(method, path)
    if host is not None:
        fields.check_authority(host)
    if authority is None:
        authority = host or b""
    else:
        fields.check_authority(authority)
        if host is not None and host.lower() != authority.lower():
            raise RemoteProtocolError("Host differs from :authority")
    return method, target, authority, None if protocol is None else protocol.decode("ascii").lower()


def check_size(block: Headers, limits: Limits) -> None:
    """Refuse more than SETTINGS_MAX_HEADER_LIST_SIZE allows, and too many fields (431)."""
    size = len(block) * _FIELD_OVERHEAD
    for name, value in block:
        size += len(name) + len(value)
    if size > limits.max_head_size or len(block) > limits.max_fields:
        raise RemoteProtocolError("request header fields too large", 431)


def read_trailers(block: Headers, limits: Limits) -> Headers:
    """Check a request's trailer section, in which every pseudo-header is malformed."""
    for name, value in block:
        _check_field(name, value)
    check_size(block, limits)
    return [(name, value) for name, value in block]


def _check_field(name: bytes, value: bytes) -> None:
    """A regular field, in lower case, clean, and not specific to a connection (RFC 9113 §8.2)."""
    if name not in _known_names:
        _check_name(name)
    if value and (not fields.is_field_value(value) or value != value.strip(b" \t")):
        raise RemoteProtocolError("invalid field value")
    if name == b"te" and value.lower() != b"trailers":
        raise RemoteProtocolError("TE may say trailers only")


def _check_name(name: bytes) -> None:
    if not fields.is_token(name) or name != name.lower():
        raise RemoteProtocolError("invalid field name")
    if name in CONNECTION_SPECIFIC:
        raise RemoteProtocolError("connection-specific field")
    if len(_known_names) >= _MAX_KNOWN_NAMES:
        _known_names.clear()
    _known_names.add(name)


def response_block(status: int, headers: Headers, defaults: ResponseDefaults) -> Headers:
    """A final response's field section; what is specific to a connection is dropped.

    Raises LocalProtocolError.
    """
    if status < 200:
        raise LocalProtocolError(f"status {status} does not begin a final response")
    if not isinstance(headers, ResponseFields):
        headers = fields.response_fields(headers)
    block: Headers = [_STATUSES.get(status) or (b":status", b"%d" % status)]
    date = defaults.date
    server = defaults.server
    more = defaults.more
    if headers.steers:
        if more:
            more = [field for field in more if all(field[0] != name for name, _ in headers)]
        for field in headers:
            name = field[0]
            if name in CONNECTION_SPECIFIC or name == b"te":
                continue
            if status == 204 and name == b"content-length":  # RFC 9110 §8.6
                continue
            if name == b"date":
                date = None
            elif name == b"server":
                server = None
            block.append(field)
    elif status == 204 and headers.content_length is not None:
        block += [field for field in headers if field[0] != b"content-length"]
    else:
        block += headers
    if date:
        block.append((b"date", date))
    if server:
        block.append((b"server", server))
    if more:
        block += more
    return block


def informational_block(status: int, headers: Headers) -> Headers:
    """A 1xx response's field section (RFC 9110 §15.2). Raises LocalProtocolError."""
    if not 100 <= status <= 199 or status == 101:
        raise LocalProtocolError(f"status {status} is not an informational response")
    return [_STATUSES[status], *headers]


def request_event(
    stream_id: int, request: Request, scheme: str, end_stream: bool
) -> RequestReceived:
    return RequestReceived(
        stream_id,
        request.method,
        request.target,
        request.headers,
        "2",
        scheme,
        request.authority,
        request.protocol,
        end_stream,
    )


def refused_event(stream_id: int, block: Headers, error: RemoteProtocolError) -> RequestRefused:
    """For the log: what could be read of a request that the application will not see."""
    said = dict(block)
    method = said.get(b":method", b"").decode("latin-1")
    status = 0 if is_malformed(error) else error.status
    target = said.get(b":path", b"")
    return RequestRefused(stream_id, status, error.reason, method, target, "2")


def refusal(status: int, reason: str) -> tuple[ResponseFields, bytes]:
    """The server's own answer to a request that it will not serve."""
    body = f"{status}: {reason}\n".encode()
    headers = fields.response_fields(
        [
            (b"content-type", b"text/plain; charset=utf-8"),
            (b"content-length", b"%d" % len(body)),
        ]
    )
    return headers, body


def promised_request(target: bytes, headers: Headers, authority: bytes) -> Request:
    """The request to promise (RFC 9113 §8.4): a GET of the same authority, and what one may say.

    Raises LocalProtocolError for a target that is not a path, and for invalid fields.
    """
    try:
        fields.request_target("GET", target)
    except RemoteProtocolError as error:
        raise LocalProtocolError(f"cannot push {target!r}: {error.reason}") from None
    if target[:1] != b"/":
        raise LocalProtocolError(f"cannot push {target!r}: a path begins with /")
    admitted = fields.response_fields(headers)
    regular = [field for field in admitted if field[0] not in _NOT_PROMISED]
    return Request("GET", target, [(b"host", authority), *regular], authority, None, None, None)


def promise_block(request: Request, scheme: str) -> Headers:
    return [
        (b":method", b"GET"),
        (b":scheme", scheme.encode()),
        (b":authority", request.authority),
        (b":path", request.target),
        *request.headers[1:],  # but for host
    ]


def has_content(method: str, status: int) -> bool:
    """Whether the response may have a body (RFC 9110 §6.4.1)."""
    return method != "HEAD" and status not in _NO_CONTENT
