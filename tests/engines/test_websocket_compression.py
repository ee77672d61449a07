"""Compressed messages on a connection (RFC 7692 §6, §7.2)."""

from __future__ import annotations

import random
import zlib
from functools import partial

import pytest

from hyperserver.protocol.negotiate import WEBSOCKET_ENGINES
from hyperserver.protocol.websocket.connection import WebSocketOptions
from hyperserver.protocol.websocket.deflate import Agreement
from tests.engines.playbook import FEEDS
from tests.engines.ws_peer import (
    BINARY,
    CLOSE,
    CONTINUATION,
    FULL,
    PING,
    PONG,
    RSV1,
    RSV2,
    RSV3,
    TAIL,
    TEXT,
    Connect,
    Peer,
    binary,
    close,
    fragmented,
    frame,
    text,
)


@pytest.fixture(params=WEBSOCKET_ENGINES)
def connect(request: pytest.FixtureRequest, feed_name: str) -> Connect:
    return partial(Peer, request.param, agreement=FULL, feed=FEEDS[feed_name])


@pytest.fixture(params=WEBSOCKET_ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


class Deflater:
    """A client's, with any of zlib's ways to do it."""

    def __init__(
        self,
        bits: int = 15,
        level: int = 6,
        strategy: int = zlib.Z_DEFAULT_STRATEGY,
        *,
        takeover: bool = True,
    ) -> None:
        self._make = partial(
            zlib.compressobj, level, zlib.DEFLATED, -bits, zlib.DEF_MEM_LEVEL, strategy
        )
        self._takeover = takeover
        self._deflater = self._make()

    def __call__(self, message: str | bytes) -> bytes:
        data = message.encode() if isinstance(message, str) else message
        made = self._deflater.compress(data) + self._deflater.flush(zlib.Z_SYNC_FLUSH)
        if not self._takeover:
            self._deflater = self._make()
        return made.removesuffix(TAIL) or b"\x00"

    def text(self, message: str, pieces: int = 1) -> bytes:
        return fragmented(TEXT, self(message), pieces, rsv=RSV1)

    def binary(self, message: bytes, pieces: int = 1) -> bytes:
        return fragmented(BINARY, self(message), pieces, rsv=RSV1)


CONTENTS = ["", "x", "Hello", "Hello", "é€𝄞" * 200, "Hello" * 1000]
HELLO = bytes.fromhex("f248cdc9c90700")


# ---- theirs -------------------------------------------------------------------------------


@pytest.mark.parametrize("pieces", [1, 2, 3, 50])
@pytest.mark.parametrize("takeover", [True, False])
@pytest.mark.parametrize("level", [0, 1, 9])
def test_messages_of_every_kind(connect: Connect, pieces: int, takeover: bool, level: int) -> None:
    deflater = Deflater(level=level, takeover=takeover)
    data = b"".join(
        deflater.text(content, pieces) + deflater.binary(content.encode(), pieces)
        for content in CONTENTS
    )
    peer = connect(agreement=Agreement(15, 15, True, takeover)).receive(data)
    assert peer.messages == [kind for text in CONTENTS for kind in (text, text.encode())]


@pytest.mark.parametrize("strategy", [zlib.Z_FIXED, zlib.Z_HUFFMAN_ONLY, zlib.Z_RLE])
@pytest.mark.parametrize("bits", [9, 12, 15])
def test_every_way_to_deflate(engine: str, strategy: int, bits: int) -> None:
    deflater = Deflater(bits, strategy=strategy)
    peer = Peer(engine, agreement=Agreement(15, bits, True, True))
    messages = [random.Random(i).randbytes(5000) * 3 for i in range(3)]
    peer.receive(*map(deflater.binary, messages))
    assert peer.messages == messages


def test_a_window_smaller_than_the_agreed_one(engine: str) -> None:
    deflater = Deflater(9)
    peer = Peer(engine, agreement=FULL)
    messages = [random.Random(i).randbytes(2000) * 3 for i in range(3)]
    assert peer.receive(*map(deflater.binary, messages)).messages == messages


def test_compressed_or_not_is_each_messages_own(connect: Connect) -> None:
    deflater = Deflater()
    peer = connect().receive(
        deflater.text("Hello"), text("plain"), deflater.text("Hello"),
        binary(b"plain", 3), deflater.binary(b"Hello", 3), text("plain"), text("again", 2),
    )  # fmt: skip
    assert peer.messages == ["Hello", "plain", "Hello", b"plain", b"Hello", "plain", "again"]
    peer.assert_open()


def test_control_frames_between_compressed_fragments(connect: Connect) -> None:
    data = HELLO
    peer = connect().receive(
        frame(TEXT, data[:2], fin=False, rsv=RSV1),
        frame(PING, b"1"),
        frame(CONTINUATION, b"", fin=False),
        frame(PONG, b"2"),
        frame(CONTINUATION, data[2:], fin=False),
        frame(PING, b"3"),
        frame(CONTINUATION),
    )
    assert peer.messages == ["Hello"] and peer.pongs == [b"1", b"3"]
    peer.assert_open()


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        ("f248cdc9c90700", b"Hello"),
        ("000500faff48656c6c6f00", b"Hello"),  # stored
        ("f348cdc9c9070000", b"Hello"),  # final
        ("f24805000000ffffcac9c90700", b"Hello"),  # two blocks
        ("00", b""),
        ("0000 00ffff" * 20 + "00", b""),
        ("f348cdc9c90700" * 3 + "00", b"HelloHelloHello"),
    ],
)
@pytest.mark.parametrize("pieces", [1, 2, 30])
def test_the_blocks_of_the_rfc(
    connect: Connect, payload: str, expected: bytes, pieces: int
) -> None:
    """RFC 7692 §7.2.3; and whatever they were, the next message is read."""
    data = fragmented(BINARY, bytes.fromhex(payload), pieces, rsv=RSV1)
    peer = connect().receive(data, data, frame(TEXT, HELLO, rsv=RSV1))
    assert peer.messages == [expected, expected, "Hello"]


def test_takeover_refers_to_messages_before(connect: Connect) -> None:
    """§7.2.3.2."""
    again = frame(TEXT, bytes.fromhex("f200110000"), rsv=RSV1)
    peer = connect().receive(frame(TEXT, HELLO, rsv=RSV1), text("between"), again)
    assert peer.messages == ["Hello", "between", "Hello"]
    peer = connect(agreement=Agreement(15, 15, True, False))
    peer.receive(frame(TEXT, HELLO, rsv=RSV1), again).assert_failed(1007, ["Hello"])


# ---- theirs, and broken -------------------------------------------------------------------


@pytest.mark.parametrize("opcode", [CLOSE, PING, PONG])
def test_control_frames_are_not_compressed(connect: Connect, opcode: int) -> None:
    """RFC 7692 §6.1."""
    connect().receive(frame(opcode, b"\x03\xe8", rsv=RSV1)).assert_failed(1002)


@pytest.mark.parametrize("first", [RSV1, 0])
@pytest.mark.parametrize("fin", [True, False])
def test_only_the_first_frame_says_that_it_is_compressed(
    connect: Connect, first: int, fin: bool
) -> None:
    """RFC 7692 §6.1."""
    data = frame(TEXT, HELLO[:3] if first else b"x", fin=False, rsv=first)
    data += frame(CONTINUATION, HELLO[3:], rsv=RSV1, fin=fin)
    connect().receive(data).assert_failed(1002)


@pytest.mark.parametrize("rsv", [RSV2, RSV3, RSV1 | RSV2, RSV1 | RSV3, RSV2 | RSV3])
@pytest.mark.parametrize("opcode", [TEXT, BINARY, PING])
def test_the_other_bits_mean_nothing(connect: Connect, rsv: int, opcode: int) -> None:
    connect().receive(frame(opcode, HELLO, rsv=rsv)).assert_failed(1002)


def test_a_compressed_message_without_an_agreement(connect: Connect) -> None:
    data = text("before") + frame(TEXT, HELLO, rsv=RSV1)
    connect(agreement=None).receive(data).assert_failed(1002, ["before"])


@pytest.mark.parametrize("payload", ["ff", "0600", "0000000000ff", "f200110000", "07"])
@pytest.mark.parametrize("pieces", [1, 2])
def test_what_cannot_be_inflated(connect: Connect, payload: str, pieces: int) -> None:
    data = fragmented(BINARY, bytes.fromhex(payload), pieces, rsv=RSV1)
    connect().receive(text("1"), data).assert_failed(1007, ["1"])


def test_it_is_known_before_the_message_has_ended(connect: Connect) -> None:
    connect().receive(frame(BINARY, b"\xff" * 10, fin=False, rsv=RSV1)).assert_failed(1007)
    connect().receive(frame(BINARY, b"\xff" * 50, rsv=RSV1)[:20]).assert_failed(1007)


@pytest.mark.parametrize("bad", [b"ok \xff", b"\xc3\xa9\xc0\xaf ok", b"cut \xe2\x82"])
@pytest.mark.parametrize("pieces", [1, 2, 30])
def test_text_that_is_none_when_inflated(connect: Connect, bad: bytes, pieces: int) -> None:
    data = fragmented(TEXT, Deflater(level=0)(bad), pieces, rsv=RSV1)
    connect().receive(data).assert_failed(1007)


def test_and_that_is_known_early_as_well(connect: Connect) -> None:
    data = fragmented(TEXT, Deflater(level=0)(b"ok \xff"), 1, rsv=RSV1)
    unfinished = bytes([data[0] & 0x7F]) + data[1:]
    connect().receive(unfinished).assert_failed(1007)


# ---- sizes --------------------------------------------------------------------------------


@pytest.mark.parametrize("pieces", [1, 2, 10])
@pytest.mark.parametrize("content", ["x", "é"])
def test_the_greatest_message_is_what_is_inflated(
    connect: Connect, pieces: int, content: str
) -> None:
    options = WebSocketOptions(1000, ping_interval=0)
    size = len(content.encode())
    good = content * (1000 // size)
    peer = connect(options).receive(
        Deflater(takeover=False).text(good, pieces), Deflater().binary(good.encode(), pieces)
    )
    assert peer.messages == [good, good.encode()]
    connect(options).receive(Deflater().text(good + "x", pieces)).assert_failed(1009)
    connect(options).receive(Deflater().binary(bytes(5000), pieces)).assert_failed(1009)


@pytest.mark.parametrize("size", [1, 100, 1000, 65_535, 65_536, 65_537, 300_000])
@pytest.mark.parametrize("pieces", [1, 2, 10])
@pytest.mark.parametrize("level", [0, 6])
def test_what_cannot_be_made_smaller_may_be_a_little_larger(
    engine: str, size: int, pieces: int, level: int
) -> None:
    message = random.Random(size).randbytes(size)
    peer = Peer(engine, WebSocketOptions(size, ping_interval=0), FULL)
    deflater = Deflater(level=level)
    expected = [message, message]
    assert peer.receive(*(deflater.binary(one, pieces) for one in expected)).messages == expected


def test_a_client_that_deflates_badly_is_not_refused_for_it(engine: str) -> None:
    message = bytes(range(144, 256)) * 100
    bits = "010"  # a block of fixed codes
    bits += "".join(f"{0b110010000 + octet - 144:09b}" for octet in message)
    bits += "0000000" + "000"  # its end, and the beginning of the one that is left out
    payload = bytes(int(bits[i : i + 8][::-1], 2) for i in range(0, len(bits), 8))
    assert len(payload) > len(message) * 9 // 8
    peer = Peer(engine, WebSocketOptions(len(message), ping_interval=0), FULL)
    assert peer.receive(frame(BINARY, payload, rsv=RSV1)).messages == [message]


def test_a_compressed_frame_can_be_too_long_at_once(connect: Connect) -> None:
    """Before any of it is read, where nothing that is not too big could be so long."""
    peer = connect(WebSocketOptions(1000, ping_interval=0))
    peer.receive(frame(BINARY, rsv=RSV1, length=100_000)[:10]).assert_failed(1009)


# ---- ours ---------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [9, 12, 15])
@pytest.mark.parametrize("takeover", [True, False])
def test_what_is_sent_can_be_inflated(engine: str, bits: int, takeover: bool) -> None:
    peer = Peer(engine, agreement=Agreement(bits, 15, takeover, True))
    messages: list[str | bytes] = [*CONTENTS, *(content.encode() for content in CONTENTS)]
    messages += [random.Random(1).randbytes(100_000), bytes(1_000_000), "é" * 70_000]
    for message in messages:
        size = len(message.encode() if isinstance(message, str) else message)
        assert peer.ws.send(message) == size
    assert peer.flush().sent_messages == messages
    assert any(sent.compressed for sent in peer.sent)
    assert sum(len(sent.payload) for sent in peer.sent) < 200_000


def test_nothing_is_compressed_that_was_not_agreed_on(engine: str) -> None:
    peer = Peer(engine)
    peer.ws.send("x" * 10_000)
    assert not peer.flush().sent[0].compressed


def test_a_close_and_a_pong_are_not_compressed(engine: str) -> None:
    peer = Peer(engine, agreement=FULL).receive(frame(PING, b"x" * 125))
    peer.ws.close(1000, "x" * 123)
    assert peer.flush().pongs == [b"x" * 125]
    assert peer.sent_close == (1000, "x" * 123)


def test_messages_are_inflated_and_read_over_behind_our_close(connect: Connect) -> None:
    deflater = Deflater()
    peer = connect()
    peer.ws.close(1000)
    peer.flush().receive(deflater.text("Hello"), deflater.text("Hello", 3), close(1000))
    assert peer.ws.closed == (1000, "") and peer.messages == []
