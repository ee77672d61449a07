"""WebSocket as bytes, for a client that can write anything and reads strictly.

``frame`` and ``close`` build frames from raw parts, so that a broken one is as easy to build as a
good one. ``Reader`` turns what a server sends back into messages, and fails the test at the first
frame that a server must not send: every test that looks at output is thereby a test of the RFC's
rules for senders. ``Peer`` is that client, and the application behind the server as well.

Nothing here is shared with the engines but their interface.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from typing import Final, Self

from hyperserver.protocol.negotiate import choose_engines
from hyperserver.protocol.websocket.connection import WebSocket, WebSocketOptions
from hyperserver.protocol.websocket.deflate import Agreement, Deflate
from hyperserver.protocol.websocket.frames import MakeFrameReader
from tests.engines.playbook import Feed, whole

Connect = Callable[..., "Peer"]
Message = str | bytes

# Opcodes (RFC 6455 §11.8)
CONTINUATION, TEXT, BINARY = 0x0, 0x1, 0x2
CLOSE, PING, PONG = 0x8, 0x9, 0xA

# Reserved bits, as they stand in the first byte
RSV1, RSV2, RSV3 = 0x40, 0x20, 0x10

KEY: Final = bytes.fromhex("37fa213d")  # RFC 6455 §5.7
#: A mask that changes nothing, for what is sent by the megabyte.
NO_CHANGE: Final = bytes(4)

VALID_CODES = (*range(1000, 1004), *range(1007, 1015), 3000, 3999, 4000, 4999)
INVALID_CODES = (0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535)

#: What a sync flush ends with (RFC 7692 §7.2.1).
TAIL: Final = b"\x00\x00\xff\xff"

#: Both sides compress as they like.
FULL = Agreement(15, 15, server_takeover=True, client_takeover=True)
QUIET = WebSocketOptions(ping_interval=0)


# ---- building -----------------------------------------------------------------------------


def masked(payload: bytes, key: bytes = KEY) -> bytes:
    """RFC 6455 §5.3, as it is written there."""
    if key == NO_CHANGE:
        return payload
    return bytes(octet ^ key[i % 4] for i, octet in enumerate(payload))


def frame(
    opcode: int,
    payload: bytes = b"",
    *,
    fin: bool = True,
    rsv: int = 0,
    key: bytes | None = KEY,
    length: int | None = None,
    form: int | None = None,
) -> bytes:
    """One frame. ``key`` None: not masked; ``length``: the one declared; ``form``: in how many
    bits (7, 16, 64)."""
    if length is None:
        length = len(payload)
    if form is None:
        form = 7 if length < 126 else 16 if length < 65_536 else 64
    mask_bit = 0 if key is None else 0x80
    head = bytes([(0x80 if fin else 0) | rsv | opcode])
    if form == 7:
        head += bytes([mask_bit | length])
    elif form == 16:
        head += bytes([mask_bit | 126]) + struct.pack("!H", length)
    else:
        head += bytes([mask_bit | 127]) + struct.pack("!Q", length)
    return head + payload if key is None else head + key + masked(payload, key)


def close(code: int | None = 1000, reason: str | bytes = "") -> bytes:
    encoded = reason.encode() if isinstance(reason, str) else reason
    return frame(CLOSE, (b"" if code is None else struct.pack("!H", code)) + encoded)


def text(message: str, pieces: int = 1) -> bytes:
    return fragmented(TEXT, message.encode(), pieces)


def binary(message: bytes, pieces: int = 1) -> bytes:
    return fragmented(BINARY, message, pieces)


def fragmented(
    opcode: int, payload: bytes, pieces: int, *, rsv: int = 0, key: bytes = KEY
) -> bytes:
    """A message in so many frames, the last ones empty where there is not enough of it."""
    size = -(-len(payload) // pieces) or 1
    made = b""
    for i in range(pieces):
        part = payload[i * size : (i + 1) * size]
        fin = i == pieces - 1
        made += frame(CONTINUATION if i else opcode, part, fin=fin, rsv=0 if i else rsv, key=key)
    return made


# ---- reading ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Frame:
    opcode: int
    payload: bytes
    compressed: bool = False


class Reader:
    """Reads what a server sends, and keeps it to its rules."""

    def __init__(self, agreement: Agreement | None = None) -> None:
        self._agreement = agreement
        self._inflater = self._make_inflater()
        self._data = b""
        self.frames: list[Frame] = []
        #: Whole messages, inflated.
        self.messages: list[Message] = []
        #: ``(code, reason)`` of the Close frame; ``(None, "")`` where it has none.
        self.close: tuple[int | None, str] | None = None

    def _make_inflater(self) -> zlib._Decompress | None:
        if self._agreement is None:
            return None
        return zlib.decompressobj(-self._agreement.server_window_bits)

    def feed(self, pieces: Iterable[bytes]) -> None:
        """All that there is to send: whole frames."""
        self._data = b"".join(pieces)
        while self._data:
            self._read()

    def _read(self) -> None:
        data = self._data
        first, second = data[0], data[1]
        opcode, length, at = first & 0x0F, second & 0x7F, 2
        assert not second & 0x80, "a server must not mask (§5.1)"
        assert not first & (RSV2 | RSV3), "nothing was agreed on these bits (§5.2)"
        assert first & 0x80, "this server does not fragment"
        if length >= 126:
            at, least = (4, 126) if length == 126 else (10, 65_536)
            length = int.from_bytes(data[2:at], "big")
            assert least <= length < 2**63, "not minimal (§5.2)"
        payload = data[at : at + length]
        assert len(payload) == length, "the frame was cut"
        self._data = data[at + length :]
        compressed = bool(first & RSV1)
        self.frames.append(Frame(opcode, payload, compressed))
        if opcode >= CLOSE:
            assert opcode <= PONG
            assert not compressed, "control frames are not compressed (RFC 7692 §6.1)"
            assert length <= 125, "a control frame is too long (§5.5)"
            if opcode == CLOSE:
                assert self.close is None, "a second Close"
                self.close = _read_close(payload)
        else:
            assert opcode in {TEXT, BINARY}
            assert self.close is None, "data behind a Close (§5.5.1)"
            if compressed:
                payload = self._inflate(payload)
            self.messages.append(payload.decode() if opcode == TEXT else payload)

    def _inflate(self, payload: bytes) -> bytes:
        assert self._agreement is not None and self._inflater is not None, "was not agreed on"
        message = self._inflater.decompress(payload + TAIL)
        assert not self._inflater.unconsumed_tail
        if not self._agreement.server_takeover:
            self._inflater = self._make_inflater()
        return message


def _read_close(payload: bytes) -> tuple[int | None, str]:
    if not payload:
        return None, ""
    assert len(payload) >= 2
    code = int.from_bytes(payload[:2], "big")
    assert code in VALID_CODES or 3000 <= code <= 4999, f"{code} must not be sent (§7.4)"
    return code, payload[2:].decode()


@cache
def make_reader(engine: str) -> MakeFrameReader:
    return choose_engines(websocket=engine).make_frame_reader


# ---- both sides ---------------------------------------------------------------------------


class Peer:
    """A client of one WebSocket, and its application, which takes messages while ``reads``."""

    def __init__(
        self,
        engine: str,
        options: WebSocketOptions = QUIET,
        agreement: Agreement | None = None,
        *,
        feed: Feed = whole,
        reads: bool = True,
    ) -> None:
        deflate = None if agreement is None else Deflate(agreement)
        self.ws = WebSocket(make_reader(engine), options, deflate)
        self._feed = feed
        self._reader = Reader(agreement)
        self.reads = reads
        #: What the application has been given.
        self.messages: list[Message] = []

    def receive(self, *data: bytes) -> Self:
        for piece in self._feed(b"".join(data)):
            self.ws.receive_data(piece)
            if self.reads:
                self.take()
        return self.flush()

    def end(self) -> Self:
        self.ws.receive_end()
        if self.reads:
            self.take()
        return self.flush()

    def take(self, count: int = -1) -> Self:
        while count and self.ws.messages:
            message = self.ws.next_message()
            self.messages.append(message)
            count -= 1
        return self

    def flush(self) -> Self:
        self._reader.feed(self.ws.data_to_send())
        if self.ws.finished:
            assert self.ws.data_to_send() == []
            assert self.ws.closed is not None
            assert self.ws.next_look is None
            assert not self.ws.is_behind
            assert not self.ws.is_open
        return self

    def look(self, now: float) -> Self:
        """As the runtime does: only when it is due."""
        due = self.ws.next_look
        if due is not None and due <= now:
            self.ws.look(now)
        return self.flush()

    @property
    def sent(self) -> list[Frame]:
        """What the server has sent."""
        return self._reader.frames

    @property
    def sent_messages(self) -> list[Message]:
        return self._reader.messages

    @property
    def sent_close(self) -> tuple[int | None, str] | None:
        return self._reader.close

    @property
    def pongs(self) -> list[bytes]:
        return [sent.payload for sent in self.sent if sent.opcode == PONG]

    @property
    def pings(self) -> list[bytes]:
        return [sent.payload for sent in self.sent if sent.opcode == PING]

    def assert_failed(self, code: int, messages: Iterable[Message] = ()) -> None:
        """The server has said ``code``, on the wire and to the application, and reads no more."""
        expected = list(messages)
        assert self.messages == expected
        assert self.ws.closed is not None and self.ws.closed[0] == code
        assert self.sent_close is not None and self.sent_close[0] == code
        assert self.ws.finished
        sent = len(self.sent)
        self.receive(text("more"), frame(PING, b"?"), close())
        assert len(self.sent) == sent and self.messages == expected

    def assert_open(self) -> None:
        assert self.ws.is_open and not self.ws.finished
        assert self.ws.closed is None and self.sent_close is None
        taken = len(self.messages)
        self.receive(text("still here"))
        assert self.messages[taken:] == ["still here"]
