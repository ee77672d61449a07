"""What a client, or an application, can make the server keep: so much and no more."""

from __future__ import annotations

import tracemalloc
import zlib
from collections.abc import Iterator
from functools import partial

import pytest

from hyperserver.protocol.negotiate import WEBSOCKET_ENGINES
from hyperserver.protocol.websocket.connection import WebSocket, WebSocketOptions
from hyperserver.protocol.websocket.deflate import Agreement, Deflate
from tests.engines.ws_peer import (
    BINARY,
    CONTINUATION,
    FULL,
    NO_CHANGE,
    PING,
    RSV1,
    TAIL,
    TEXT,
    Connect,
    Peer,
    binary,
    close,
    fragmented,
    frame,
    make_reader,
    text,
)

KIB = 1024
MIB = 1024 * KIB
#: What is kept besides messages: a chunk being inflated, zlib's own, pieces on their way.
CONSTANT = 512 * KIB


@pytest.fixture(params=WEBSOCKET_ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def connect(engine: str) -> Connect:
    return partial(Peer, engine)


class Meter:
    """How much more memory was in use at the worst moment than at the beginning."""

    def __init__(self) -> None:
        tracemalloc.reset_peak()
        self._before = tracemalloc.get_traced_memory()[0]

    @property
    def peak(self) -> int:
        return tracemalloc.get_traced_memory()[1] - self._before

    @property
    def now(self) -> int:
        return tracemalloc.get_traced_memory()[0] - self._before


@pytest.fixture
def meter() -> Iterator[type[Meter]]:
    tracemalloc.start()
    try:
        yield Meter
    finally:
        tracemalloc.stop()


def pieces(data: bytes, size: int = 65_536) -> Iterator[bytes]:
    for at in range(0, len(data), size):
        yield data[at : at + size]


def bomb(size: int) -> bytes:
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
    made = b"".join(deflater.compress(bytes(MIB)) for _ in range(size // MIB))
    return (made + deflater.flush(zlib.Z_SYNC_FLUSH)).removesuffix(TAIL)


BOMB = bomb(300 * MIB)  # of 300 KiB


# ---- messages -----------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [MIB // 2, MIB, 4 * MIB])
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("parts", [1, 20])
def test_a_bomb_is_stopped_while_it_goes_off(
    connect: Connect, meter: type[Meter], limit: int, opcode: int, parts: int
) -> None:
    """Its declared length says nothing; as text it is valid all along."""
    peer = connect(WebSocketOptions(limit, ping_interval=0), FULL)
    data = fragmented(opcode, BOMB, parts, rsv=RSV1, key=NO_CHANGE)
    before = meter()
    for piece in pieces(data):
        peer.receive(piece)
    assert before.peak < limit * 9 // 8 + CONSTANT  # a bytearray grows by an eighth
    peer.assert_failed(1009)
    assert before.now < CONSTANT


def test_a_small_bomb_for_a_small_limit(connect: Connect, meter: type[Meter]) -> None:
    peer = connect(WebSocketOptions(1000, ping_interval=0), FULL)
    data = frame(BINARY, bomb(MIB)[:900], rsv=RSV1)
    before = meter()
    peer.receive(data)
    assert before.peak < CONSTANT // 4
    peer.assert_failed(1009)


def test_a_bomb_in_one_piece_as_well(connect: Connect, meter: type[Meter]) -> None:
    data = frame(BINARY, BOMB, rsv=RSV1, key=NO_CHANGE)
    peer = connect(WebSocketOptions(2 * MIB, ping_interval=0), FULL)
    before = meter()
    peer.receive(data)
    assert before.peak < 2 * MIB * 9 // 8 + 4 * len(data) + CONSTANT
    peer.assert_failed(1009)


@pytest.mark.parametrize("parts", [1, 2, 1000])
def test_a_message_of_the_greatest_size_is_kept_twice_at_most(
    connect: Connect, meter: type[Meter], parts: int
) -> None:
    """While the application is given one."""
    peer = connect(WebSocketOptions(4 * MIB, ping_interval=0))
    data = fragmented(BINARY, bytes(4 * MIB), parts, key=NO_CHANGE)
    before = meter()
    for piece in pieces(data):
        peer.receive(piece)
    assert [len(message) for message in peer.messages] == [4 * MIB]
    assert before.peak < 2 * 4 * MIB * 9 // 8 + CONSTANT
    peer.messages.clear()
    assert before.now < CONSTANT


def test_a_declared_length_reserves_nothing(connect: Connect, meter: type[Meter]) -> None:
    peer = connect(WebSocketOptions(2**40, ping_interval=0))
    before = meter()
    peer.receive(frame(BINARY, b"x" * 10, length=2**40))
    assert before.peak < CONSTANT and peer.ws.is_open


# ---- fragments ----------------------------------------------------------------------------


def test_many_small_fragments_cost_what_they_hold(connect: Connect, meter: type[Meter]) -> None:
    peer = connect()
    data = frame(BINARY, b"x", fin=False) + frame(CONTINUATION, b"x", fin=False) * 20_000
    before = meter()
    for piece in pieces(data, 4000):
        peer.receive(piece)
    assert before.peak < CONSTANT
    assert peer.receive(frame(CONTINUATION)).messages == [b"x" * 20_001]


@pytest.mark.parametrize(("payload", "thousands"), [(b"", 5), (b"x", 200)])
def test_fragments_without_end_are_too_many(
    connect: Connect, payload: bytes, thousands: int
) -> None:
    """The sooner if there is nothing in them."""
    peer = connect().receive(frame(BINARY, payload, fin=False))
    some = frame(CONTINUATION, payload, fin=False) * 1000
    for _ in range(thousands):
        peer.receive(some)
        if peer.ws.finished:
            break
    else:
        pytest.fail("there is no end to the fragments of a message")
    peer.assert_failed(1008)


def test_as_many_fragments_as_there_are_messages_for(connect: Connect) -> None:
    """The bounds are one message's."""
    peer = connect()
    for _ in range(10):
        peer.receive(
            frame(TEXT, fin=False), frame(CONTINUATION, fin=False) * 500, frame(CONTINUATION)
        )
    assert peer.messages == [""] * 10
    peer.assert_open()


# ---- the queue ----------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 10, 100, 125, 126, 1000, 4000])
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("at_a_time", [1, 7, 1000])
def test_an_application_that_does_not_read_is_sent_no_more(
    connect: Connect, opcode: int, size: int, at_a_time: int
) -> None:
    """However small its messages are, and however they come."""
    peer = connect(reads=False)
    one = frame(opcode, b"x" * size)
    received = 0
    while not peer.ws.is_behind:
        assert received * (size + 50) < 200_000, "the queue has no bound"
        peer.receive(one * at_a_time)
        received += at_a_time
    waiting = len(peer.ws.messages)
    assert waiting * (size + 100) >= 16_384
    assert waiting * size <= 70_000 and waiting <= 2000
    peer.receive(one * 1000)
    assert len(peer.ws.messages) == waiting
    assert len(peer.take().messages) == received + 1000


def test_one_large_message_is_enough(connect: Connect) -> None:
    peer = connect(reads=False)
    assert peer.receive(binary(bytes(60_000))).ws.is_behind is False
    assert peer.receive(binary(bytes(200_000))).ws.is_behind is True
    peer.receive(text("next"))
    peer.take(1)
    assert peer.ws.is_behind
    peer.take(1)
    assert not peer.ws.is_behind
    assert [len(message) for message in peer.take().messages] == [60_000, 200_000, 4]


def test_reading_goes_on_in_turns(connect: Connect) -> None:
    """Each time the application has caught up, the next ones of those held are read."""
    peer = connect(reads=False)
    numbered = [b"%06d" % i * 100 for i in range(2000)]
    for message in numbered:
        peer.receive(frame(BINARY, message, key=NO_CHANGE))
    turns = 0
    while peer.ws.messages:
        turns += 1
        waiting = len(peer.ws.messages)
        assert waiting * 600 < 70_000
        peer.take(waiting)
    assert turns > 10 and not peer.ws.is_behind
    assert peer.messages == numbered


def test_control_frames_wait_as_well_then(connect: Connect) -> None:
    peer = connect(reads=False).receive(binary(bytes(100_000)), frame(PING, b"1"))
    assert peer.ws.is_behind and peer.pongs == []
    peer.take().flush()
    assert peer.pongs == [b"1"]
    peer.receive(close(1000))
    assert peer.ws.closed == (1000, "")


def test_a_fault_behind_the_queue_is_found_when_it_is_read(connect: Connect) -> None:
    peer = connect(reads=False).receive(binary(bytes(100_000)), frame(3))
    assert peer.ws.is_open and peer.ws.closed is None
    peer.take().flush()
    assert peer.ws.closed is not None and peer.ws.closed[0] == 1002
    assert peer.messages == [bytes(100_000)]


def test_a_message_that_waits_does_not_hold_back_what_we_send(connect: Connect) -> None:
    peer = connect(reads=False).receive(binary(bytes(100_000)))
    peer.ws.send("out")
    assert peer.flush().sent_messages == ["out"]


# ---- pongs --------------------------------------------------------------------------------


def test_pongs_that_cannot_be_sent_are_not_kept(connect: Connect, meter: type[Meter]) -> None:
    """RFC 6455 §5.5.3: of many pings, the last is to be answered."""
    peer = connect()
    before = meter()
    for i in range(0, 10_000, 100):
        peer.ws.receive_data(
            b"".join(
                frame(PING, b"%06d" % j + bytes(100), key=NO_CHANGE) for j in range(i, i + 100)
            )
        )
    assert before.peak < CONSTANT
    pongs = [int(pong[:6]) for pong in peer.flush().pongs]
    assert pongs == sorted(set(pongs))
    assert pongs[-1] == 9_999 and len(pongs) < 2000
    assert peer.receive(frame(PING, b"again")).pongs[-1] == b"again"


def test_small_pongs_are_bounded_as_well(connect: Connect, meter: type[Meter]) -> None:
    peer = connect()
    before = meter()
    for _ in range(50):
        peer.ws.receive_data(frame(PING) * 1000)
    assert before.peak < 2 * MIB
    peer.ws.receive_data(frame(PING, b"last"))
    assert len(peer.flush().pongs) < 35_000 and peer.pongs[-1] == b"last"


# ---- an idle one --------------------------------------------------------------------------


def test_an_idle_connection_costs_little(engine: str, meter: type[Meter]) -> None:
    def open_one() -> WebSocket:
        return WebSocket(make_reader(engine), WebSocketOptions(), Deflate(FULL))

    open_one()  # whatever is cached
    before = meter()
    idle = [open_one() for _ in range(50)]
    assert before.now / 50 < 4 * KIB
    for ws in idle:
        ws.receive_data(text("x" * 100))
        assert ws.next_message()
        ws.send("x")
        ws.data_to_send()
    assert before.now / 50 < 4 * KIB


@pytest.mark.parametrize("takeover", [True, False])
def test_what_compression_costs_is_what_is_said(meter: type[Meter], takeover: bool) -> None:
    """With windows of 12 bits 32 KiB and 14 KiB; nothing between messages without takeover."""
    agreed = Agreement(12, 12, server_takeover=takeover, client_takeover=takeover)
    before = meter()
    used = [Deflate(agreed) for _ in range(20)]
    for deflate in used:
        deflate.deflate(b"Hello" * 20)
    deflating = before.now / 20
    for deflate in used:
        for _ in deflate.inflate(bytes.fromhex("f248cdc9c90700"), 100, ends=True):
            pass
    inflating = before.now / 20 - deflating
    if takeover:
        assert 24 * KIB < deflating < 40 * KIB
        assert 4 * KIB < inflating < 18 * KIB
    else:
        assert deflating < KIB and inflating < KIB
