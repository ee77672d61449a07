"""Leaving HTTP/1: for HTTP/2 without TLS, by its preface or ``h2c``; for a WebSocket."""

from __future__ import annotations

import re

from hyperserver.protocol.events import RequestReceived
from hyperserver.protocol.fields import tokens
from hyperserver.protocol.interface import ByteConnection, Successor

#: The part of the connection preface that looks like a request head (RFC 9113 §3.4).
_PREFACE_HEAD = b"PRI * HTTP/2.0\r\n\r\n"

#: Settings are six octets each, so no padding is ever needed (RFC 7540 §3.2.1).
_BASE64URL = re.compile(rb"[A-Za-z0-9_-]*")

SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n"

WEBSOCKET = "websocket"


def is_preface(head: bytes, stream_id: int) -> bool:
    """Whether the connection began with HTTP/2's preface."""
    return stream_id == 1 and head == _PREFACE_HEAD


def may_be_preface(head: bytearray, stream_id: int) -> bool:
    """Whether what has come of a first head can become the preface."""
    return stream_id == 1 and _PREFACE_HEAD.startswith(head)


def is_foreign(head: bytes, stream_id: int) -> bool:
    """Whether a connection began with a line that is no request of any HTTP/1, however broken.

    It was meant for HTTP/2, perhaps, where a wrong preface gets no answer (RFC 9113 §3.4).
    """
    words = head.partition(b"\r\n")[0].split(b" ")
    return (
        stream_id == 1
        and len(words) == 3
        and not words[2].upper().startswith(b"HTTP")
        and words[1][:1] not in (b"/", b"*")
        and b"://" not in words[1]
    )


def http2_settings(request: RequestReceived, protocols: bytes) -> bytes | None:
    """The value of HTTP2-Settings, if the request asks for ``h2c`` as it should.

    ``protocols`` is its Upgrade field. A request with a body is served where it is: the body
    would have to end before anything else could be sent (RFC 7540 §3.2).
    """
    if not request.end_stream or request.http_version != "1.1" or b"h2c" not in tokens(protocols):
        return None
    settings = [value for name, value in request.headers if name == b"http2-settings"]
    connection = [value for name, value in request.headers if name == b"connection"]
    if len(settings) != 1 or not _BASE64URL.fullmatch(settings[0]):
        return None
    if not any(b"http2-settings" in tokens(value) for value in connection):
        return None
    return settings[0]


def to_http2(
    successor: Successor, request: RequestReceived, protocols: bytes, data: bytes, now: float
) -> ByteConnection | None:
    """The engine for a request that asks for ``h2c`` as it should, where that is taken."""
    if not successor.upgrades:
        return None
    settings = http2_settings(request, protocols)
    return None if settings is None else successor.after_upgrade(settings, request, data, now)


def wants_websocket(request: RequestReceived, protocols: bytes) -> bool:
    """Whether the request asks for a WebSocket (RFC 6455 §4.2.1), rightly or wrongly.

    One with a body is served as what it is without its Upgrade (RFC 9110 §7.8): no WebSocket
    client sends one, and what follows it would have to wait.
    """
    return request.end_stream and b"websocket" in tokens(protocols)
