"""The opening handshake: what a request must say, and what the answer says (RFC 6455 §4.2).

HTTP/1.1 and HTTP/2 differ here and nowhere else. By HTTP/1.1 the request is a GET with Upgrade
and proves, through its key, that the server has read it as a handshake. By HTTP/2 it is an
extended CONNECT, which needs no such proof (RFC 8441 §5).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from hyperserver.errors import LocalProtocolError, RemoteProtocolError
from hyperserver.protocol.events import Headers, RequestReceived
from hyperserver.protocol.fields import response_fields
from hyperserver.protocol.websocket.deflate import Agreement, DeflateOptions, negotiate

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_VERSION = b"13"
_KEY_SIZE = 16

#: Response fields that are the handshake's own, or have no place in its answer.
_OURS = frozenset(
    (
        b"connection",
        b"content-length",
        b"sec-websocket-accept",
        b"sec-websocket-extensions",
        b"sec-websocket-key",
        b"sec-websocket-protocol",
        b"sec-websocket-version",
        b"transfer-encoding",
        b"upgrade",
    )
)


class HandshakeRefused(RemoteProtocolError):
    """The request is no handshake that can be accepted; ``headers`` go with the answer."""

    def __init__(self, reason: str, status: int = 400, headers: Headers | None = None) -> None:
        super().__init__(reason, status)
        self.headers: Headers = headers or []


@dataclass(slots=True)
class Handshake:
    """A request for a WebSocket that could be accepted.

    ``subprotocols`` are the client's, the preferred one first. ``agreement`` is what will be
    agreed on for permessage-deflate, None for no compression.
    """

    subprotocols: list[str]
    accept: bytes | None  # the value of Sec-WebSocket-Accept, by HTTP/1.1
    agreement: Agreement | None

    def response(self, subprotocol: str | None, headers: Iterable[Iterable[bytes]]) -> Headers:
        """The answer's fields but for those of the HTTP version. Raises LocalProtocolError."""
        admitted = response_fields(headers)
        for name, _ in admitted:
            if name in _OURS:
                raise LocalProtocolError(f"header {name!r} is the handshake's own")
        fields: Headers = []
        if self.accept is not None:
            fields.append((b"sec-websocket-accept", self.accept))
        if subprotocol is not None:
            if subprotocol not in self.subprotocols:
                raise LocalProtocolError(
                    f"the client has not offered the subprotocol {subprotocol!r}"
                )
            fields.append((b"sec-websocket-protocol", subprotocol.encode("latin-1")))
        if self.agreement is not None:
            fields.append((b"sec-websocket-extensions", self.agreement.response()))
        return fields + admitted


def read_handshake(request: RequestReceived, deflate: DeflateOptions | None) -> Handshake:
    """Check a request with ``protocol="websocket"``. Raises HandshakeRefused."""
    keys: list[bytes] = []
    versions: list[bytes] = []
    subprotocols: list[str] = []
    extensions: list[str] = []
    for name, value in request.headers:
        if name[:14] != b"sec-websocket-":
            continue
        if name == b"sec-websocket-key":
            keys.append(value)
        elif name == b"sec-websocket-version":
            versions.append(value)
        elif name == b"sec-websocket-protocol":
            elements = (element.strip() for element in value.decode("latin-1").split(","))
            subprotocols += [element for element in elements if element]
        elif name == b"sec-websocket-extensions":
            extensions.append(value.decode("latin-1"))
    agreement = negotiate(", ".join(extensions), deflate) if extensions and deflate else None
    if request.http_version == "2":
        if versions != [_VERSION]:
            raise HandshakeRefused(
                "unsupported WebSocket version", 400, [(b"sec-websocket-version", _VERSION)]
            )
        return Handshake(subprotocols, None, agreement)
    if request.method != "GET":
        raise HandshakeRefused("a WebSocket begins with GET", 405, [(b"allow", b"GET")])
    if versions != [_VERSION]:  # RFC 6455 §4.4, RFC 9110 §15.5.22
        raise HandshakeRefused(
            "unsupported WebSocket version",
            426,
            [(b"sec-websocket-version", _VERSION), (b"upgrade", b"websocket")],
        )
    if len(keys) != 1 or not _is_key(keys[0]):
        raise HandshakeRefused("invalid Sec-WebSocket-Key")
    return Handshake(subprotocols, _accept(keys[0]), agreement)


def _is_key(key: bytes) -> bool:
    try:
        return len(base64.b64decode(key, validate=True)) == _KEY_SIZE
    except binascii.Error:
        return False


def _accept(key: bytes) -> bytes:
    """Proof of having read ``key`` (RFC 6455 §4.2.2)."""
    digest = hashlib.sha1(key + _GUID, usedforsecurity=False).digest()
    return base64.b64encode(digest)
