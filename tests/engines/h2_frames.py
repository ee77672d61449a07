"""HTTP/2 as bytes, for a client that can write anything and reads strictly.

``frame`` and the functions after it build frames from raw parts, so that a broken one is as easy
to build as a good one. ``Reader`` turns what a server sends back into frame objects, and fails
the test at the first frame that a server must not send: every test that looks at output is
thereby a test of RFC 9113's rules for senders.

Nothing here is shared with the engines but ``hpack``.
"""

from __future__ import annotations

import struct
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

import hpack

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

# Types of frames (RFC 9113 §6, RFC 9218 §7.1)
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE = range(6)
PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(6, 10)
PRIORITY_UPDATE = 0x10

END_STREAM = ACK = 0x1
END_HEADERS, PADDED, HAS_PRIORITY = 0x4, 0x8, 0x20

# Settings (RFC 9113 §6.5.2, RFC 8441 §3, RFC 9218 §2.1)
HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS = 1, 2, 3
INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE, MAX_HEADER_LIST_SIZE = 4, 5, 6
ENABLE_CONNECT_PROTOCOL, NO_RFC7540_PRIORITIES = 8, 9

# Error codes (RFC 9113 §7)
NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR = range(4)
SETTINGS_TIMEOUT, STREAM_CLOSED, FRAME_SIZE_ERROR, REFUSED_STREAM = range(4, 8)
CANCEL, COMPRESSION_ERROR, CONNECT_ERROR, ENHANCE_YOUR_CALM = range(8, 12)

MAX_ID: Final = 2**31 - 1
DEFAULT_WINDOW: Final = 65_535
DEFAULT_FRAME_SIZE: Final = 16_384

Field = tuple[bytes, bytes]
Fields = list[Field]

AUTHORITY = b"example.org"


# ---- building -----------------------------------------------------------------------------


def u32(number: int) -> bytes:
    return struct.pack("!I", number)


def frame(
    kind: int, stream_id: int = 0, payload: bytes = b"", flags: int = 0, length: int | None = None
) -> bytes:
    """Any frame; with ``length`` one whose header does not tell the truth."""
    size = len(payload) if length is None else length
    return struct.pack("!I", size)[1:] + struct.pack("!BBI", kind, flags, stream_id) + payload


def padded(payload: bytes, pad: int | None) -> bytes:
    return payload if pad is None else bytes([pad]) + payload + bytes(pad)


def data(stream_id: int, content: bytes, end: bool = False, pad: int | None = None) -> bytes:
    flags = END_STREAM * end | PADDED * (pad is not None)
    return frame(DATA, stream_id, padded(content, pad), flags)


def dependency(on: int = 0, weight: int = 16, exclusive: bool = False) -> bytes:
    """The five bytes of an RFC 7540 priority; weights are 1 to 256."""
    return struct.pack("!IB", on | exclusive << 31, weight - 1)


def priority(stream_id: int, on: int = 0, weight: int = 16, exclusive: bool = False) -> bytes:
    return frame(PRIORITY, stream_id, dependency(on, weight, exclusive))


def priority_update(target: int, value: bytes, stream_id: int = 0) -> bytes:
    return frame(PRIORITY_UPDATE, stream_id, u32(target) + value)


def reset(stream_id: int, error: int = CANCEL) -> bytes:
    return frame(RST_STREAM, stream_id, u32(error))


def settings(values: Mapping[int, int] | Iterable[tuple[int, int]] = ()) -> bytes:
    pairs = values.items() if isinstance(values, Mapping) else values
    return frame(SETTINGS, 0, b"".join(struct.pack("!HI", *pair) for pair in pairs))


def settings_ack() -> bytes:
    return frame(SETTINGS, flags=ACK)


def ping(payload: bytes = b"12345678", ack: bool = False) -> bytes:
    return frame(PING, 0, payload, ACK * ack)


def goaway(last: int = 0, error: int = NO_ERROR, debug: bytes = b"") -> bytes:
    return frame(GOAWAY, 0, u32(last) + u32(error) + debug)


def window_update(stream_id: int, increment: int) -> bytes:
    return frame(WINDOW_UPDATE, stream_id, u32(increment))


def head(
    method: bytes | None = b"GET",
    path: bytes | None = b"/",
    *fields: Field,
    scheme: bytes | None = b"https",
    authority: bytes | None = AUTHORITY,
    protocol: bytes | None = None,
) -> Fields:
    """A request's field section; a pseudo-header field that is None is left out."""
    pseudo = {
        b":method": method,
        b":scheme": scheme,
        b":authority": authority,
        b":path": path,
        b":protocol": protocol,
    }
    return [(name, value) for name, value in pseudo.items() if value is not None] + [*fields]


def websocket(*fields: Field, path: bytes = b"/chat") -> Fields:
    """An extended CONNECT (RFC 8441 §5)."""
    return head(b"CONNECT", path, (b"sec-websocket-version", b"13"), *fields, protocol=b"websocket")


def literal(name: bytes, value: bytes) -> bytes:
    """One field line that leaves HPACK's table alone, without Huffman coding (RFC 7541 §6.2.2)."""
    return b"\x00" + _string(name) + _string(value)


def _string(value: bytes) -> bytes:
    return bytes(hpack.hpack.encode_integer(len(value), 7)) + value


class Writer:
    """What a client sends and its server has to decode: it keeps the HPACK encoder's state."""

    def __init__(self) -> None:
        self.encoder = hpack.Encoder()
        #: The next stream that the client may open.
        self.next_id = 1

    def block(self, fields: Iterable[Field]) -> bytes:
        return bytes(self.encoder.encode(list(fields)))

    def headers(
        self,
        stream_id: int,
        fields: Iterable[Field],
        end: bool = False,
        *,
        pad: int | None = None,
        depends: bytes = b"",
        split: int = 16_000,
    ) -> bytes:
        """HEADERS, and CONTINUATION for what is larger than ``split``."""
        self.next_id = max(self.next_id, stream_id + 2)
        block = self.block(fields)
        fragments = [block[i : i + split] for i in range(0, len(block), split)] or [b""]
        first = padded(depends + fragments[0], pad)
        flags = END_STREAM * end | PADDED * (pad is not None) | HAS_PRIORITY * bool(depends)
        frames = [(HEADERS, first, flags)] + [(CONTINUATION, part, 0) for part in fragments[1:]]
        kind, last, flags = frames[-1]
        frames[-1] = (kind, last, flags | END_HEADERS)
        return b"".join(frame(kind, stream_id, part, flags) for kind, part, flags in frames)


# ---- reading ------------------------------------------------------------------------------


def brief(content: bytes) -> str:
    """For messages of failed tests."""
    return repr(content) if len(content) <= 40 else f"<{len(content)} bytes>"


@dataclass(frozen=True, slots=True)
class Data:
    stream_id: int
    content: bytes
    end: bool = False

    def __repr__(self) -> str:
        return f"Data({self.stream_id}, {brief(self.content)}, end={self.end})"


@dataclass(frozen=True, slots=True)
class Headers:
    """A whole field section, however many CONTINUATION frames it took."""

    stream_id: int
    fields: Fields
    end: bool = False

    def get(self, name: bytes) -> bytes | None:
        return next((value for key, value in self.fields if key == name), None)


@dataclass(frozen=True, slots=True)
class Reset:
    stream_id: int
    error: int


@dataclass(frozen=True, slots=True)
class Settings:
    values: dict[int, int]
    ack: bool = False


@dataclass(frozen=True, slots=True)
class Push:
    stream_id: int
    promised: int
    fields: Fields


@dataclass(frozen=True, slots=True)
class Ping:
    payload: bytes
    ack: bool = False


@dataclass(frozen=True, slots=True)
class GoAway:
    last: int
    error: int


@dataclass(frozen=True, slots=True)
class Window:
    stream_id: int
    increment: int


Frame = Data | Headers | Reset | Settings | Push | Ping | GoAway | Window


@dataclass(slots=True)
class Response:
    """What the client knows of one stream."""

    interim: list[Fields] = field(default_factory=list)
    fields: Fields | None = None
    body: bytes = b""
    trailers: Fields | None = None
    complete: bool = False
    reset: int | None = None

    def __repr__(self) -> str:
        return (
            f"Response({self.fields}, {brief(self.body)}, interim={self.interim}, "
            f"trailers={self.trailers}, complete={self.complete}, reset={self.reset})"
        )

    @property
    def status(self) -> int:
        """That of the final head; 0 while there is none."""
        return int(self.fields[0][1]) if self.fields else 0

    def get(self, name: bytes) -> bytes | None:
        return next((value for key, value in self.fields or [] if key == name), None)


_CONNECTION_SPECIFIC = {
    b"connection",
    b"keep-alive",
    b"proxy-connection",
    b"transfer-encoding",
    b"upgrade",
    b"te",
}


class Reader:
    """What a client makes of a server's bytes; a frame that must not be sent is an assertion.

    Settings of ours bind the server from its acknowledgement on (RFC 9113 §6.5.3), so ``sent``
    queues them until that is read.
    """

    def __init__(self) -> None:
        #: Nobody has kept account of what this client allows: do not hold the server to it.
        self.trusting = False
        self.buffer = b""
        self.largest_frame = 0
        self.responses: defaultdict[int, Response] = defaultdict(Response)
        self.server_settings: dict[int, int] | None = None
        self.goaways: list[GoAway] = []
        self.promised: list[int] = []
        #: Flow-control windows that bind the server; 0 is the connection's.
        self.windows: dict[int, int] = {0: DEFAULT_WINDOW}
        self._initial_window = DEFAULT_WINDOW
        self._max_frame_size = DEFAULT_FRAME_SIZE
        self._push_enabled = True
        self._unacknowledged: list[dict[int, int]] = []
        self._decoder = hpack.Decoder(max_header_list_size=1 << 24)
        self._block: tuple[int, int, int, bytes] | None = None
        self._cut: set[int] = set()

    # ---- what the client has said --------------------------------------------------------

    def sent_settings(self, values: Mapping[int, int]) -> None:
        self._unacknowledged.append(dict(values))

    def sent_reset(self, stream_id: int) -> None:
        self._cut.add(stream_id)

    def window(self, stream_id: int) -> int:
        return self.windows.setdefault(stream_id, self._initial_window)

    def granted(self, stream_id: int, increment: int) -> None:
        self.windows[stream_id] = self.window(stream_id) + increment

    # ---- what the server says ------------------------------------------------------------

    def feed(self, octets: bytes) -> list[Frame]:
        self.buffer += octets
        frames: list[Frame] = []
        while len(self.buffer) >= 9:
            length = int.from_bytes(self.buffer[:3], "big")
            if len(self.buffer) < 9 + length:
                break
            kind, flags, stream_id = struct.unpack("!BBI", self.buffer[3:9])
            payload, self.buffer = self.buffer[9 : 9 + length], self.buffer[9 + length :]
            if not self.trusting:
                assert length <= self._max_frame_size, f"frame of {length} bytes, type {kind}"
            assert stream_id <= MAX_ID, "the reserved bit is set"
            self.largest_frame = max(self.largest_frame, length)
            if (parsed := self._frame(kind, flags, stream_id, payload)) is not None:
                frames.append(parsed)
        return frames

    def _frame(self, kind: int, flags: int, stream_id: int, payload: bytes) -> Frame | None:
        if self.server_settings is None:
            assert kind == SETTINGS and not flags & ACK, "SETTINGS must come first (§3.4)"
        if self._block is not None:
            assert kind == CONTINUATION and stream_id == self._block[1], "a block is cut (§6.10)"
        on_connection = kind in {SETTINGS, PING, GOAWAY}
        assert on_connection == (stream_id == 0) or kind == WINDOW_UPDATE, f"type {kind} there"
        if kind in {HEADERS, PUSH_PROMISE, CONTINUATION}:
            return self._fragment(kind, flags, stream_id, payload)
        if kind == DATA:
            return self._data(flags, stream_id, payload)
        if kind == RST_STREAM:
            (error,) = struct.unpack("!I", payload)
            self.responses[stream_id].reset = error
            return Reset(stream_id, error)
        if kind == SETTINGS:
            return self._settings(flags, payload)
        if kind == PING:
            assert len(payload) == 8
            return Ping(payload, bool(flags & ACK))
        if kind == GOAWAY:
            goaway = GoAway(*struct.unpack("!II", payload[:8]))
            assert not self.goaways or goaway.last <= self.goaways[-1].last, "§6.8"
            self.goaways.append(goaway)
            return goaway
        assert kind == WINDOW_UPDATE, f"a server has no business with type {kind}"
        (increment,) = struct.unpack("!I", payload)
        assert 0 < increment <= MAX_ID
        self._must_be_open(stream_id)
        return Window(stream_id, increment)

    def _must_be_open(self, stream_id: int) -> None:
        response = self.responses.get(stream_id)
        assert response is None or response.reset is None, "sent after RST_STREAM (§5.1)"
        assert stream_id not in self._cut, "sent after the client's RST_STREAM (§5.1)"
        if stream_id and not stream_id & 1:
            assert stream_id in self.promised, "an even stream needs a promise (§8.4)"

    def _data(self, flags: int, stream_id: int, payload: bytes) -> Data:
        self._must_be_open(stream_id)
        response = self.responses[stream_id]
        assert response.fields is not None, "DATA before HEADERS (§8.1)"
        assert not response.complete, "DATA after END_STREAM (§5.1)"
        for owner in (0, stream_id):
            self.windows[owner] = self.window(owner) - len(payload)
            if not self.trusting:
                assert self.windows[owner] >= 0 or not payload, f"window of {owner} (§6.9.1)"
        if flags & PADDED:
            payload = payload[1 : len(payload) - payload[0]]
        response.body += payload
        response.complete = bool(flags & END_STREAM)
        return Data(stream_id, payload, response.complete)

    def _fragment(self, kind: int, flags: int, stream_id: int, payload: bytes) -> Frame | None:
        if kind == CONTINUATION:
            assert self._block is not None, "CONTINUATION of nothing"
            kind, _, first_flags, before = self._block
            payload = before + payload
        else:
            self._must_be_open(stream_id)
            first_flags = flags
            if flags & PADDED:
                payload = payload[1 : len(payload) - payload[0]]
            assert not flags & HAS_PRIORITY, "servers send no priorities"
        if not flags & END_HEADERS:
            self._block = (kind, stream_id, first_flags, payload)
            return None
        self._block = None
        if kind == PUSH_PROMISE:
            return self._push(stream_id, payload)
        fields = self._decode(payload)
        end = bool(first_flags & END_STREAM)
        self._response_fields(self.responses[stream_id], fields, end)
        return Headers(stream_id, fields, end)

    def _decode(self, block: bytes) -> Fields:
        if self.trusting:
            self._decoder.max_allowed_table_size = 1 << 32
        fields = [(bytes(name), bytes(value)) for name, value in self._decoder.decode(block, True)]
        for name, value in fields:
            assert name == name.lower() and name not in _CONNECTION_SPECIFIC, name  # §8.2
            assert not {0, 10, 13} & set(value), value
            assert value == value.strip(b" \t"), value
        return fields

    def _response_fields(self, response: Response, fields: Fields, end: bool) -> None:
        assert not response.complete, "HEADERS after END_STREAM (§5.1)"
        pseudo = [name for name, _ in fields if name[:1] == b":"]
        if response.fields is not None:
            assert end, "trailers end the stream (§8.1)"
            assert not pseudo, "pseudo-header field in trailers (§8.1)"
            response.trailers = fields
        else:
            assert pseudo == [b":status"] and fields[0][0] == b":status", fields  # §8.3.2
            status = int(fields[0][1])
            assert 100 <= status <= 999 and status != 101, fields[0]  # §8.6
            if status < 200:
                assert not end, "an interim response ends nothing (§8.1)"
                response.interim.append(fields)
            else:
                response.fields = fields
        response.complete = end

    def _push(self, stream_id: int, payload: bytes) -> Push:
        assert self._push_enabled or self.trusting, "push is disabled (§8.4)"
        assert stream_id & 1, "on a stream of the client's (§6.6)"
        assert not self.responses[stream_id].complete, "the parent has ended (§8.4)"
        (promised,) = struct.unpack("!I", payload[:4])
        assert not promised & 1 and promised > max(self.promised, default=0), promised  # §5.1.1
        self.promised.append(promised)
        return Push(stream_id, promised, self._decode(payload[4:]))

    def _settings(self, flags: int, payload: bytes) -> Settings:
        if flags & ACK:
            assert not payload
            if not self.trusting:
                assert self._unacknowledged, "an acknowledgement of nothing"
                self._apply(self._unacknowledged.pop(0))
            return Settings({}, ack=True)
        pairs = list(struct.iter_unpack("!HI", payload))
        values = dict(pairs)
        assert len(values) == len(pairs), "a setting twice"
        assert ENABLE_PUSH not in values, "not a server's setting (§6.5.2)"
        self.server_settings = (self.server_settings or {}) | values
        return Settings(values)

    def _apply(self, values: Mapping[int, int]) -> None:
        if INITIAL_WINDOW_SIZE in values:
            change = values[INITIAL_WINDOW_SIZE] - self._initial_window
            self._initial_window += change
            for stream_id in self.windows:
                self.windows[stream_id] += change if stream_id else 0  # §6.9.2
        self._max_frame_size = values.get(MAX_FRAME_SIZE, self._max_frame_size)
        self._push_enabled = bool(values.get(ENABLE_PUSH, self._push_enabled))
        if HEADER_TABLE_SIZE in values:
            self._decoder.max_allowed_table_size = values[HEADER_TABLE_SIZE]
