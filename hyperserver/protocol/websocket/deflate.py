"""permessage-deflate (RFC 7692): what is agreed on, deflating, and inflating within bounds.

Memory, per connection and only once a compressed message has been sent or received: deflating
needs ``2**(window bits + 2) + 2**(_MEM_LEVEL + 9)`` bytes, inflating ``2**window bits`` and about
10 KiB. With windows of 12 bits that is 32 KiB and 14 KiB. A client that cannot be asked for a
smaller window costs 32 KiB more. Without context takeover both are freed after each message.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from hyperserver.protocol.websocket.frames import INVALID_DATA, TOO_BIG, WebSocketFault

EXTENSION = "permessage-deflate"

_MEM_LEVEL = 5
_LEVEL = 6
#: What a sync flush ends with, and a message leaves out (RFC 7692 §7.2.1).
_TAIL = b"\x00\x00\xff\xff"
#: Inflated at a time.
_CHUNK = 65_536
#: A message may end its DEFLATE stream with a final block; each costs a new inflater.
_MAX_FINAL_BLOCKS = 16

#: zlib deflates with windows of 9 to 15 bits. RFC 7692 knows 8 as well: inflating takes it.
MIN_WINDOW_BITS, MAX_WINDOW_BITS = 9, 15

_NAME = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_PARAMETER = re.compile(rf'[ \t]*;[ \t]*({_NAME})(?:[ \t]*=[ \t]*(?:({_NAME})|"({_NAME})"))?')
_OFFER = re.compile(rf"[ \t]*({_NAME})((?:{_PARAMETER.pattern})*)[ \t]*")
_ELEMENT = re.compile(r'(?:[^,"]|"[^"]*")+')


@dataclass(frozen=True, slots=True)
class DeflateOptions:
    """What this side wants: windows of at most so many bits, and whether they outlive messages."""

    window_bits: int = 12
    context_takeover: bool = True


@dataclass(frozen=True, slots=True)
class Agreement:
    """What both sides have agreed on. ``server_*`` is for what the server sends."""

    server_window_bits: int
    client_window_bits: int
    server_takeover: bool
    client_takeover: bool
    #: The client has named its own window: otherwise we may not (RFC 7692 §7.1.2.2).
    names_client_window: bool = False
    #: The client has named ours: then we must (RFC 7692 §7.1.2.1).
    names_server_window: bool = False

    def response(self) -> bytes:
        """The value of Sec-WebSocket-Extensions that says so."""
        parts = [EXTENSION]
        if not self.server_takeover:
            parts.append("server_no_context_takeover")
        if not self.client_takeover:
            parts.append("client_no_context_takeover")
        if self.names_server_window or self.server_window_bits < MAX_WINDOW_BITS:
            parts.append(f"server_max_window_bits={self.server_window_bits}")
        if self.names_client_window and self.client_window_bits < MAX_WINDOW_BITS:
            parts.append(f"client_max_window_bits={self.client_window_bits}")
        return "; ".join(parts).encode()


def negotiate(header: str, options: DeflateOptions) -> Agreement | None:
    """Accept the first offer in Sec-WebSocket-Extensions that can be met.

    An offer with a parameter that is unknown, repeated or invalid is declined, what is no offer is
    passed over, and the next one is looked at (RFC 7692 §5, §7.1).
    """
    for name, parameters in _offers(header):
        if name == EXTENSION:
            agreement = _consider(parameters, options)
            if agreement is not None:
                return agreement
    return None


def _offers(header: str) -> Iterator[tuple[str, list[tuple[str, str | None]]]]:
    for element in _ELEMENT.findall(header):
        offer = _OFFER.fullmatch(element)
        if offer is not None:
            parameters = [(m[1].lower(), m[2] or m[3]) for m in _PARAMETER.finditer(offer[2])]
            yield offer[1].lower(), parameters


def _consider(
    parameters: list[tuple[str, str | None]], options: DeflateOptions
) -> Agreement | None:
    given = dict(parameters)
    if len(given) < len(parameters):
        return None
    server_takeover = client_takeover = options.context_takeover
    server_bits = options.window_bits
    client_bits = MAX_WINDOW_BITS
    for name, value in given.items():
        if name == "server_no_context_takeover" and value is None:
            server_takeover = False
        elif name == "client_no_context_takeover" and value is None:
            client_takeover = False
        elif name == "server_max_window_bits" and value is not None:
            bits = _window_bits(value)
            if bits is None or bits < MIN_WINDOW_BITS:
                return None
            server_bits = min(server_bits, bits)
        elif name == "client_max_window_bits":
            bits = MAX_WINDOW_BITS if value is None else _window_bits(value)
            if bits is None:
                return None
            client_bits = min(options.window_bits, bits)
        else:
            return None
    return Agreement(
        server_bits,
        client_bits,
        server_takeover,
        client_takeover,
        names_client_window="client_max_window_bits" in given,
        names_server_window="server_max_window_bits" in given,
    )


def _window_bits(value: str) -> int | None:
    """8 to 15, without leading zeros (RFC 7692 §7.1.2.1)."""
    return int(value) if value in {"8", "9", "10", "11", "12", "13", "14", "15"} else None


class Deflate:
    """Both directions of one connection."""

    __slots__ = ("_agreement", "_deflater", "_final_blocks", "_inflater")

    def __init__(self, agreement: Agreement) -> None:
        self._agreement = agreement
        self._deflater: zlib._Compress | None = None
        self._inflater: zlib._Decompress | None = None
        self._final_blocks = 0

    def deflate(self, message: bytes) -> bytes:
        """A whole message as the payload of one frame (RFC 7692 §7.2.1)."""
        deflater = self._deflater
        if deflater is None:
            bits = self._agreement.server_window_bits
            deflater = zlib.compressobj(_LEVEL, zlib.DEFLATED, -bits, _MEM_LEVEL)
            if self._agreement.server_takeover:
                self._deflater = deflater
        return (deflater.compress(message) + deflater.flush(zlib.Z_SYNC_FLUSH)).removesuffix(_TAIL)

    def inflate(self, payload: bytes, room: int, *, ends: bool) -> Iterator[bytes]:
        """The next part of a message, ``room`` bytes of it at most, in chunks (RFC 7692 §7.2.2).

        Raises WebSocketFault as soon as there is more, or what comes is not DEFLATE.
        """
        data = payload + _TAIL if ends else payload
        while True:
            inflater = self._inflater
            if inflater is None:
                inflater = zlib.decompressobj(-self._agreement.client_window_bits)
                self._inflater = inflater
            size = min(room + 1, _CHUNK)
            try:
                chunk = inflater.decompress(data, size)
            except zlib.error as error:
                raise WebSocketFault(f"not DEFLATE: {error}", INVALID_DATA) from None
            room -= len(chunk)
            if room < 0:
                raise WebSocketFault("message too big", TOO_BIG)
            if chunk:
                yield chunk
            if inflater.eof:
                self._final_block()
                data = inflater.unused_data
            else:
                data = inflater.unconsumed_tail
                if not data and len(chunk) < size:  # a full chunk may leave some output behind
                    break
        if ends:
            self._final_blocks = 0
            if not self._agreement.client_takeover:
                self._inflater = None

    def _final_block(self) -> None:
        """What follows a final block is another DEFLATE stream (RFC 7692 §7.2.3.4)."""
        self._inflater = None
        self._final_blocks += 1
        if self._final_blocks > _MAX_FINAL_BLOCKS:
            raise WebSocketFault("too many final blocks", INVALID_DATA)
