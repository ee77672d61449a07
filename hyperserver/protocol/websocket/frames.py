"""The base framing protocol's vocabulary (RFC 6455 §5.2, §7.4), and the writing of frames.

Frames are written here, for every engine alike: a server's are not masked, which leaves a few
bytes of header. Reading them is the engines' part; see ``FrameReader``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from hyperserver.errors import LocalProtocolError

# opcodes (RFC 6455 §11.8)
CONTINUATION: Final = 0x0
TEXT: Final = 0x1
BINARY: Final = 0x2
CLOSE: Final = 0x8
PING: Final = 0x9
PONG: Final = 0xA

# the first byte of a frame
FIN: Final = 0x80
RSV1: Final = 0x40
RSV2_RSV3: Final = 0x30

# close codes (RFC 6455 §7.4.1)
NORMAL: Final = 1000
PROTOCOL_ERROR: Final = 1002
NO_STATUS: Final = 1005
ABNORMAL: Final = 1006
INVALID_DATA: Final = 1007
POLICY_VIOLATION: Final = 1008
TOO_BIG: Final = 1009
INTERNAL_ERROR: Final = 1011
SERVICE_RESTART: Final = 1012

#: A message of which ``FrameReader.alone`` may tell is no longer than this.
SHORT: Final = 125
#: What a control frame may carry (RFC 6455 §5.5), and a close reason beside its code.
MAX_CONTROL: Final = 125
MAX_REASON: Final = 123
#: Registered codes that may stand in a Close frame; 3000 to 4999 are anybody's.
_SENDABLE: Final = frozenset((1000, 1001, 1002, 1003, *range(1007, 1015)))


class WebSocketFault(Exception):
    """The peer broke the protocol; ``code`` is what it is told."""

    def __init__(self, reason: str, code: int = PROTOCOL_ERROR) -> None:
        super().__init__(reason)
        self.reason = reason
        self.code = code


#: ``admit(opcode, rsv, length)`` is asked about each frame before any of its payload is read, with
#: the reserved bits as they stand in the first byte. It may be asked again about the same frame
#: where its header arrives in parts. Raises WebSocketFault.
Admit = Callable[[int, int, int], None]

#: ``(opcode, payload, ends, fin)``: a frame, or as much of it as there is. ``ends`` says that it is
#: the frame's last piece, ``fin`` is the frame's FIN bit. The opcode of a data frame's pieces after
#: the first means nothing.
Piece = tuple[int, bytes, bool, bool]


class FrameReader(Protocol):
    """Cuts received bytes into unmasked frames, by a library.

    What it refuses itself: frames without a mask, unknown opcodes, control frames that are
    fragmented or too long, and lengths that are negative or longer written than they need be
    (RFC 6455 §5.2).
    """

    def alone(self, data: bytes) -> Piece | None:
        """The piece that ``data`` is, where that is the quickest way: a short whole message.

        None where it is not, or where earlier bytes have not been read to their end: ``feed`` it
        then. Nobody is asked to admit the frame, which is unfragmented and has no reserved bits.
        """

    def feed(self, data: bytes) -> None:
        """Take received bytes, after all earlier ones have been read to their end."""

    def read(self) -> Piece | None:
        """The next piece; None where more bytes are needed. Raises WebSocketFault.

        A control frame is one piece; an empty frame is one as well.
        """


MakeFrameReader = Callable[[Admit], FrameReader]


def is_sendable(code: int) -> bool:
    """Whether ``code`` may stand in a Close frame (RFC 6455 §7.4)."""
    return code in _SENDABLE or 3000 <= code <= 4999


def head(first: int, length: int) -> bytes:
    """The header of a server's frame; ``first`` is its FIN, RSV and opcode."""
    if length < 126:
        return bytes((first, length))
    if length < 65_536:
        return bytes((first, 126, length >> 8, length & 0xFF))
    return bytes((first, 127)) + length.to_bytes(8, "big")


def close_payload(code: int | None, reason: str) -> bytes:
    """Code and reason, the latter cut to what fits, between characters; b"" without a code."""
    if code is None:
        return b""
    encoded = reason.encode()
    if len(encoded) > MAX_REASON:
        encoded = encoded[:MAX_REASON].decode("utf-8", "ignore").encode()
    return code.to_bytes(2, "big") + encoded


def read_close(payload: bytes) -> tuple[int | None, str]:
    """``(code, reason)`` of a Close frame; the code is None where it has none.

    Raises WebSocketFault.
    """
    if not payload:
        return None, ""
    if len(payload) == 1:
        raise WebSocketFault("a Close frame with half a code")
    code = int.from_bytes(payload[:2], "big")
    if not is_sendable(code):
        raise WebSocketFault(f"invalid close code {code}")
    try:
        return code, payload[2:].decode()
    except UnicodeDecodeError:
        raise WebSocketFault("the close reason is not UTF-8", INVALID_DATA) from None


def check_code(code: object) -> int:
    """A close code as an application gives it. Raises LocalProtocolError."""
    if not isinstance(code, int) or isinstance(code, bool) or not is_sendable(code):
        raise LocalProtocolError(f"{code!r} is not a close code that may be sent (RFC 6455 §7.4)")
    return int(code)
