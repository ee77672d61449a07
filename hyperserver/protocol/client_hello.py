"""Reading a TLS ClientHello before its handshake begins (RFC 8446 §4.1.2, RFC 5246 §7.4.1.2).

What a connection's TLS context decides (the certificate, who must show one in turn, the
protocols on offer) depends on the server name that the client asks for. ``ssl`` has a callback
that changes the context in the middle of a handshake, but then the first context's verify mode
and protocol versions stay in force, and a session begun under one name may be resumed under
another. Whoever reads the hello first can choose the context before there is a handshake.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import IntEnum

#: Bytes, record headers included, within which a ClientHello must end. Real ones have up to two
#: thousand, with post-quantum key shares and a ticket.
MAX_SIZE = 65_536

_HANDSHAKE = 22  # the content type of its records
_CLIENT_HELLO = 1
_MAX_RECORD = 16_384
_SERVER_NAME = 0
_HOST_NAME = 0
_SIGNATURE_ALGORITHMS = 13
_ALPN = 16

#: The underscore is no letter of host names, yet some have it.
_NAME = re.compile(r"[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*")


class Alert(IntEnum):
    """Reasons to end a handshake, by their codes (RFC 8446 §6.2)."""

    UNEXPECTED_MESSAGE = 10
    RECORD_OVERFLOW = 22
    ILLEGAL_PARAMETER = 47
    DECODE_ERROR = 50
    INTERNAL_ERROR = 80
    UNRECOGNIZED_NAME = 112
    NO_APPLICATION_PROTOCOL = 120


class NotTLS(Exception):
    """The first bytes begin no TLS record."""


class HandshakeRefused(Exception):
    """The handshake is malformed or not wanted; the peer is told by a fatal ``alert``."""

    def __init__(self, reason: str, alert: Alert) -> None:
        super().__init__(reason)
        self.reason = reason
        self.alert = alert


@dataclass(slots=True)
class ClientHello:
    """What a server must know to choose a context.

    ``server_name`` is the host name asked for (RFC 6066 §3), in lower case and without a final
    dot; None if the client names none. ``alpn`` are the protocols it offers (RFC 7301), the
    preferred one first; empty if it offers none. ``signature_schemes`` are the codes of the
    signatures it can verify (RFC 8446 §4.2.3); with several certificates they decide which is sent.
    """

    server_name: str | None
    alpn: list[bytes]
    signature_schemes: list[int] = field(default_factory=list, compare=False)


class ClientHelloReader:
    """Collects a ClientHello from bytes, however records and reads cut it.

    ``received`` is all that was fed, for the handshake that is to begin with it.
    """

    __slots__ = ("_message", "_next_record", "received")

    def __init__(self) -> None:
        self.received = bytearray()
        self._next_record = 0
        self._message = bytearray()

    def receive(self, data: bytes) -> ClientHello | None:
        """Feed bytes; None while more are needed. Raises NotTLS and HandshakeRefused."""
        received = self.received
        received += data
        if (received and received[0] != _HANDSHAKE) or (len(received) > 1 and received[1] != 3):
            raise NotTLS
        while len(received) - self._next_record >= 5:
            kind, major, _, *length = received[self._next_record : self._next_record + 5]
            size = int.from_bytes(bytes(length))
            if kind != _HANDSHAKE or major != 3:
                raise HandshakeRefused("not a handshake record", Alert.UNEXPECTED_MESSAGE)
            if size == 0:  # RFC 8446 §5.1
                raise HandshakeRefused("an empty handshake record", Alert.UNEXPECTED_MESSAGE)
            if size > _MAX_RECORD:
                raise HandshakeRefused("record too large", Alert.RECORD_OVERFLOW)
            start = self._next_record + 5
            if len(received) < start + size:
                break
            self._message += received[start : start + size]
            self._next_record = start + size
            hello = self._read_message()
            if hello is not None:
                return hello
        if len(received) > MAX_SIZE:
            raise HandshakeRefused("ClientHello too large", Alert.DECODE_ERROR)
        return None

    def _read_message(self) -> ClientHello | None:
        message = self._message
        if message[0] != _CLIENT_HELLO:
            raise HandshakeRefused("not a ClientHello", Alert.UNEXPECTED_MESSAGE)
        if len(message) < 4:
            return None
        end = 4 + int.from_bytes(message[1:4])
        if end > MAX_SIZE:
            raise HandshakeRefused("ClientHello too large", Alert.DECODE_ERROR)
        return parse_client_hello(bytes(message[4:end])) if len(message) >= end else None


def parse_client_hello(body: bytes) -> ClientHello:
    """A ClientHello without its handshake header. Raises HandshakeRefused."""
    reader = _Reader(body)
    reader.take(2 + 32)  # legacy_version, random
    reader.vector(1)  # legacy_session_id
    reader.vector(2)  # cipher_suites
    reader.vector(1)  # legacy_compression_methods
    hello = ClientHello(None, [])
    if not reader.left:  # TLS 1.2 allows for none
        return hello
    extensions = _Reader(reader.vector(2))
    if reader.left:
        raise HandshakeRefused("bytes behind the ClientHello's extensions", Alert.DECODE_ERROR)
    seen: set[int] = set()
    while extensions.left:
        kind = extensions.number(2)
        content = extensions.vector(2)
        if kind in seen:  # RFC 8446 §4.2
            raise HandshakeRefused(f"extension {kind} twice", Alert.ILLEGAL_PARAMETER)
        seen.add(kind)
        if kind == _SERVER_NAME:
            hello.server_name = _server_name(_Reader(content))
        elif kind == _ALPN:
            hello.alpn = _protocols(_Reader(content))
        elif kind == _SIGNATURE_ALGORITHMS:
            hello.signature_schemes = _schemes(_Reader(content))
    return hello


def _server_name(extension: _Reader) -> str | None:
    names = _only_list(extension)
    found = None
    while names.left:
        kind = names.number(1)
        name = names.vector(2)
        if kind != _HOST_NAME:
            continue
        if found is not None:
            raise HandshakeRefused("more than one server name", Alert.ILLEGAL_PARAMETER)
        found = name.decode("latin-1").lower().removesuffix(".")
        if len(found) > 253 or _NAME.fullmatch(found) is None:
            raise HandshakeRefused("the server name is no host name", Alert.ILLEGAL_PARAMETER)
    return found


def _protocols(extension: _Reader) -> list[bytes]:
    names = _only_list(extension)
    found = []
    while names.left:
        name = names.vector(1)
        if not name:
            raise HandshakeRefused("an application protocol without a name", Alert.DECODE_ERROR)
        found.append(name)
    return found


def _schemes(extension: _Reader) -> list[int]:
    codes = _only_list(extension)
    return [codes.number(2) for _ in range((codes.left + 1) // 2)]


def _only_list(extension: _Reader) -> _Reader:
    """The one list, not empty, of which an extension consists."""
    content = _Reader(extension.vector(2))
    if extension.left or not content.left:
        raise HandshakeRefused("an extension of the wrong length", Alert.DECODE_ERROR)
    return content


class _Reader:
    """Takes TLS's presentation language (RFC 8446 §3) apart; cut short it raises."""

    __slots__ = ("_data", "_position", "left")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0
        #: Bytes not taken yet.
        self.left = len(data)

    def take(self, n: int) -> bytes:
        if n > self.left:
            raise HandshakeRefused("the ClientHello ends within a field", Alert.DECODE_ERROR)
        start = self._position
        self._position += n
        self.left -= n
        return self._data[start : start + n]

    def number(self, n: int) -> int:
        """An unsigned integer of ``n`` bytes."""
        return int.from_bytes(self.take(n))

    def vector(self, n: int) -> bytes:
        """As many bytes as the number in the ``n`` bytes before them says."""
        return self.take(int.from_bytes(self.take(n)))
