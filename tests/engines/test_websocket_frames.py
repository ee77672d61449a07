"""Frames: what is read of them, and what a client must not send (RFC 6455 §5)."""

from __future__ import annotations

from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hyperserver.protocol.negotiate import WEBSOCKET_ENGINES
from hyperserver.protocol.websocket.connection import WebSocketOptions
from tests.engines.playbook import FEEDS
from tests.engines.ws_peer import (
    BINARY,
    CLOSE,
    CONTINUATION,
    INVALID_CODES,
    KEY,
    PING,
    PONG,
    RSV1,
    RSV2,
    RSV3,
    TEXT,
    VALID_CODES,
    Connect,
    Message,
    Peer,
    binary,
    close,
    fragmented,
    frame,
    masked,
    text,
)


@pytest.fixture(params=WEBSOCKET_ENGINES)
def connect(request: pytest.FixtureRequest, feed_name: str) -> Connect:
    return partial(Peer, request.param, feed=FEEDS[feed_name])


@pytest.fixture(params=WEBSOCKET_ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


# ---- good ones ----------------------------------------------------------------------------


def test_the_examples_of_the_rfc(connect: Connect) -> None:
    """RFC 6455 §5.7."""
    peer = connect().receive(bytes.fromhex("818537fa213d7f9f4d5158"))
    assert peer.messages == ["Hello"]
    peer.receive(bytes.fromhex("898537fa213d7f9f4d5158"))
    assert peer.pongs == [b"Hello"]


@pytest.mark.parametrize("length", [0, 1, 2, 3, 4, 5, 125, 126, 127, 128, 255, 256, 65_535, 65_536])
def test_every_form_of_a_length(connect: Connect, length: int) -> None:
    message = bytes(i % 251 for i in range(length))
    peer = connect().receive(binary(message), text("x" * length))
    assert peer.messages == [message, "x" * length]


@pytest.mark.parametrize("key", [bytes(4), b"\xff" * 4, b"\x00\x00\x00\x01", b"\x01\x02\x03\x04"])
def test_every_mask(connect: Connect, key: bytes) -> None:
    message = bytes(range(256)) + b"odd"
    peer = connect().receive(
        frame(BINARY, message, key=key),
        frame(PING, message[:125], key=key),
        frame(TEXT, b"key \xe2\x82\xac", key=key),
    )
    assert peer.messages == [message, "key €"]
    assert peer.pongs == [message[:125]]


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536, 70_000, 200_000])
def test_what_is_sent_is_what_was_meant(engine: str, size: int) -> None:
    peer = Peer(engine)
    assert peer.ws.send("é" * size) == size * 2
    assert peer.ws.send(bytes(size)) == size
    assert peer.flush().sent_messages == ["é" * size, bytes(size)]


def test_text_that_has_no_utf8_is_not_sent(engine: str) -> None:
    peer = Peer(engine)
    with pytest.raises(UnicodeEncodeError):
        peer.ws.send("\ud800")
    assert peer.flush().sent == []
    peer.assert_open()


@pytest.mark.parametrize("inner", [text("inner"), close(), frame(PING, b"in"), b"\xff" * 20])
@pytest.mark.parametrize("opcode", [TEXT, BINARY, PING])
@pytest.mark.parametrize("extra", [0, 1, 40])
def test_a_payload_that_looks_like_a_frame_is_a_payload(
    engine: str, inner: bytes, opcode: int, extra: int
) -> None:
    """On the wire, that is, and at the beginning of what is received."""
    payload = masked(inner + b"\x00" * extra)
    if opcode == TEXT:
        payload = b"ok" + bytes(octet & 0x7F for octet in payload)
    head = frame(opcode, length=len(payload))
    for cut in range(len(head)):
        peer = Peer(engine)
        peer.receive(head[:cut]).receive(head[cut:] + masked(payload))
        if opcode == PING:
            assert peer.pongs == [payload]
        else:
            assert peer.messages == [payload.decode() if opcode == TEXT else payload]
        peer.assert_open()


@pytest.mark.parametrize("inner", [text("inner"), frame(BINARY), frame(BINARY, bytes(125))])
def test_a_payload_that_comes_on_its_own_and_looks_like_a_frame(engine: str, inner: bytes) -> None:
    payload = masked(inner)
    data = frame(BINARY, payload)
    peer = Peer(engine).receive(data[: -len(inner)]).receive(data[-len(inner) :])
    assert peer.messages == [payload]
    peer.assert_open()


def test_the_rest_of_a_frame_that_looks_like_a_frame(engine: str) -> None:
    one = frame(BINARY, b"p", key=b"\x80abc")
    assert one[1:3] == b"\x81\x80"  # an empty text
    peer = Peer(engine).receive(one[:1]).receive(one[1:])
    assert peer.messages == [b"p"]
    rest = text("inner")
    ping = frame(PING, masked(rest))
    peer.receive(ping[: -len(rest)]).receive(rest)
    assert peer.pongs == [masked(rest)]
    peer.assert_open()


@pytest.mark.parametrize("size", [0, 1, 100, 121])
def test_a_frame_without_a_mask_in_as_many_bytes_as_if_it_had_one(engine: str, size: int) -> None:
    """Whatever follows it in the same read."""
    Peer(engine).receive(frame(TEXT, b"x" * size, key=None) + b"next").assert_failed(1002)


@pytest.mark.parametrize("between", [b"", frame(PING)])
def test_a_whole_frame_on_its_own_is_not_a_message_within_another(
    engine: str, between: bytes
) -> None:
    peer = Peer(engine).receive(frame(BINARY, fin=False))
    if between:
        peer.receive(between)
    peer.receive(text("x")).assert_failed(1002)


# ---- broken ones --------------------------------------------------------------------------

FAULTS: dict[str, tuple[bytes, int]] = {
    "no mask": (frame(TEXT, b"x", key=None), 1002),
    "no mask, empty": (frame(TEXT, key=None), 1002),
    "no mask, ping": (frame(PING, key=None), 1002),
    "no mask, close": (frame(CLOSE, b"\x03\xe8", key=None), 1002),
    "no mask, 16 bits": (frame(BINARY, bytes(200), key=None), 1002),
    **{f"opcode {o:#x}": (frame(o, b"x"), 1002) for o in (3, 4, 5, 6, 7, *range(0xB, 0x10))},
    **{
        f"rsv {rsv:#x} on {opcode}": (frame(opcode, b"\x03\xe8", rsv=rsv), 1002)
        for rsv in (RSV1, RSV2, RSV3, RSV2 | RSV3, RSV1 | RSV2 | RSV3)
        for opcode in (TEXT, BINARY, CLOSE, PING, PONG)
    },
    "rsv on a fragment": (frame(TEXT, b"x", fin=False, rsv=RSV2), 1002),
    "rsv1 on a continuation": (
        frame(TEXT, b"x", fin=False) + frame(CONTINUATION, b"x", rsv=RSV1),
        1002,
    ),
    "rsv3 on a continuation": (
        frame(TEXT, b"x", fin=False) + frame(CONTINUATION, b"x", rsv=RSV3),
        1002,
    ),
    "16 bits for 125": (frame(BINARY, bytes(125), form=16), 1002),
    "16 bits for 0": (frame(BINARY, form=16), 1002),
    "64 bits for 125": (frame(BINARY, bytes(125), form=64), 1002),
    "64 bits for 0": (frame(TEXT, form=64), 1002),
    "64 bits for 65535": (frame(BINARY, bytes(65_535), form=64), 1002),
    "negative length": (frame(BINARY, length=2**63, form=64), 1002),
    "most negative length": (frame(BINARY, length=2**64 - 1, form=64), 1002),
    **{
        f"long control frame {opcode}": (frame(opcode, b"\x03\xe8" + bytes(124)), 1002)
        for opcode in (CLOSE, PING, PONG)
    },
    "control frame of 16 bits": (frame(PING, b"x", form=16), 1002),
    "control frame of 64 bits": (frame(PING, b"x", form=64), 1002),
    "huge ping": (frame(PING, length=2**40, form=64), 1002),
    **{
        f"fragmented control frame {opcode}": (frame(opcode, b"\x03\xe8", fin=False), 1002)
        for opcode in (CLOSE, PING, PONG)
    },
    "nothing to continue": (frame(CONTINUATION, b"x"), 1002),
    "nothing to continue, not even the end": (frame(CONTINUATION, b"x", fin=False), 1002),
    "nothing to continue any more": (
        frame(TEXT, b"", fin=False) + frame(CONTINUATION) + frame(CONTINUATION),
        1002,
    ),
    "a message within another": (frame(TEXT, b"x", fin=False) + frame(TEXT, b"y"), 1002),
    "an empty message within another": (frame(BINARY, fin=False) + frame(BINARY), 1002),
    "text within binary": (frame(BINARY, b"x", fin=False) + frame(TEXT, b"y", fin=False), 1002),
    "half a close code": (frame(CLOSE, b"\x03"), 1002),
    **{f"close code {code}": (close(code), 1002) for code in INVALID_CODES},
    "close reason": (close(1000, b"\xff"), 1007),
    "close reason, cut": (close(1000, b"x" * 121 + b"\xe2\x82"), 1007),
    "close reason, surrogate": (close(1000, b"\xed\xa0\x80"), 1007),
}
# What stands between them does not change that; a fault within a message has no whole one before.


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_ends_it_with_its_code(connect: Connect, fault: str) -> None:
    data, code = FAULTS[fault]
    peer = connect().receive(text("before"), data, text("after"))
    if fault == "nothing to continue any more":
        peer.messages.remove("")
    peer.assert_failed(code, ["before"])


def header(data: bytes, size: int) -> bytes:
    return data[: len(data) - size]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (frame(3, length=100)[:2], 1002),
        (frame(0xF, length=100)[:2], 1002),
        (frame(PING, length=1, fin=False)[:2], 1002),
        (frame(PING, length=126, form=16)[:2], 1002),
        (frame(PING, length=1, rsv=RSV1)[:2], 1002),
        (frame(TEXT, length=100, rsv=RSV2)[:2], 1002),
        (frame(TEXT, length=100, rsv=RSV1)[:2], 1002),
        (frame(TEXT, length=100, key=None), 1002),
        (frame(CONTINUATION, length=100)[:2], 1002),
        (frame(TEXT, b"", fin=False) + frame(TEXT, length=100)[:2], 1002),
        (frame(BINARY, length=125, form=16)[:4], 1002),
        (frame(BINARY, length=65_535, form=64)[:10], 1002),
        (frame(BINARY, length=2**63, form=64)[:10], 1002),
        (frame(BINARY, length=2**63 - 1)[:10], 1009),
        (frame(BINARY, length=1001)[:4], 1009),
        (frame(TEXT, length=1001)[:4], 1009),
        (frame(TEXT, b"x" * 500, fin=False) + frame(CONTINUATION, length=501)[:4], 1009),
        (frame(TEXT, b"x" * 1000, fin=False) + frame(CONTINUATION, length=1)[:2], 1009),
    ],
)
def test_a_header_alone_is_enough_to_know(connect: Connect, data: bytes, code: int) -> None:
    """And nothing of the payload is waited for, or kept."""
    connect(WebSocketOptions(1000, ping_interval=0)).receive(data).assert_failed(code)


@pytest.mark.parametrize("cut", range(1, 14))
def test_a_header_that_has_not_come_whole_is_waited_for(engine: str, cut: int) -> None:
    data = binary(bytes(65_536))
    peer = Peer(engine).receive(data[:cut])
    assert peer.ws.is_open and peer.sent == [] and peer.messages == []
    assert peer.receive(data[cut:]).messages == [bytes(65_536)]


def test_nothing_can_be_sent_for_a_frame_that_was_not_ours_to_answer(engine: str) -> None:
    peer = Peer(engine).receive(frame(3), frame(PING, b"late"), close(1000))
    assert [sent.opcode for sent in peer.sent] == [CLOSE]


# ---- messages of several frames -----------------------------------------------------------

CONTENTS = ["", "x", "Hello", "é€𝄞" * 7, "x" * 300]


@pytest.mark.parametrize("pieces", [1, 2, 3, 10])
@pytest.mark.parametrize("content", CONTENTS)
def test_fragments_are_one_message(connect: Connect, content: str, pieces: int) -> None:
    data = content.encode()
    expected: list[Message] = [content, data, content]
    peer = connect().receive(text(content, pieces), binary(data, pieces), text(content))
    assert peer.messages == expected


def test_empty_fragments_are_fragments(connect: Connect) -> None:
    empty = frame(CONTINUATION, fin=False)
    peer = connect().receive(
        frame(TEXT, fin=False), empty, frame(CONTINUATION, b"x", fin=False), empty,
        frame(CONTINUATION),
        frame(BINARY, fin=False), frame(CONTINUATION),
    )  # fmt: skip
    assert peer.messages == ["x", b""]


def test_control_frames_between_fragments(connect: Connect) -> None:
    """RFC 6455 §5.4; in the middle of a character as well."""
    peer = connect().receive(
        frame(TEXT, b"1\xe2", fin=False),
        frame(PING, b"a"),
        frame(CONTINUATION, b"\x82", fin=False),
        frame(PONG, b"nobody asked"),
        frame(PING, b""),
        frame(CONTINUATION, b"\xac2"),
        frame(PING, b"b" * 125),
    )
    assert peer.messages == ["1€2"]
    assert peer.pongs == [b"a", b"", b"b" * 125]
    peer.assert_open()


def test_a_close_between_fragments_ends_it(connect: Connect) -> None:
    peer = connect().receive(frame(TEXT, b"1", fin=False), close(1001), frame(CONTINUATION, b"2"))
    assert peer.messages == []
    assert peer.ws.closed == (1001, "") and peer.sent_close == (1001, "")


@pytest.mark.parametrize("code", VALID_CODES)
def test_a_close_is_echoed(connect: Connect, code: int) -> None:
    peer = connect().receive(text("before"), close(code, "bye €"), text("after"))
    assert peer.messages == ["before"]
    assert peer.ws.closed == (code, "bye €")
    assert peer.sent_close is not None and peer.sent_close[0] == code
    assert peer.ws.finished and not peer.ws.aborted


# ---- UTF-8 --------------------------------------------------------------------------------

GOOD_TEXTS = [
    "κόσμε",
    "\x00\x7f\x80\u07ff\u0800\uffff",
    "\U00010000\U0010ffff\ud7ff\ue000\ufffe\ufeff",
    "\ufdd0 \U0001ffff",
    "é",
    "x" * 200 + "𝄞",
]
#: Bytes of which the last is the one that cannot be. (Python waits for all three of a surrogate.)
BAD_TEXTS = [
    "80", "bf", "c0", "c1", "f5", "ff", "fe", "f8", "fc",
    "c328", "c3c3", "e228", "e28228", "e282e2", "f09d8428", "f09df0",
    "e080", "e09f", "eda080", "edbfbf", "f080", "f08f", "f490", "f4bf",
    "cebae1bdb9cf83cebcceb5eda080", "c3a980",
]  # fmt: skip


@pytest.mark.parametrize("content", GOOD_TEXTS)
@pytest.mark.parametrize("pieces", [1, 2, 3, 7, 1000])
def test_text_may_be_cut_anywhere(connect: Connect, content: str, pieces: int) -> None:
    assert connect().receive(text(content, pieces)).messages == [content]


@pytest.mark.parametrize("content", BAD_TEXTS)
@pytest.mark.parametrize("pieces", [1, 2, 100])
def test_text_that_is_none(connect: Connect, content: str, pieces: int) -> None:
    data = b"ok " + bytes.fromhex(content)
    connect().receive(fragmented(TEXT, data, pieces)).assert_failed(1007)
    connect().receive(fragmented(TEXT, data + b"\x80 ok", pieces)).assert_failed(1007)
    peer = connect().receive(fragmented(BINARY, data, pieces))
    assert peer.messages == [data]
    peer.assert_open()


@pytest.mark.parametrize("content", BAD_TEXTS)
def test_it_is_known_within_a_frame_that_has_not_ended(connect: Connect, content: str) -> None:
    bad = bytes.fromhex(content)
    data = frame(TEXT, b"ok " + bad + bytes(100))
    connect().receive(data[: 6 + 3 + len(bad)]).assert_failed(1007)


@pytest.mark.parametrize("content", BAD_TEXTS)
def test_it_is_known_within_a_message_that_has_not_ended(connect: Connect, content: str) -> None:
    peer = connect()
    for octet in b"ok" + bytes.fromhex(content):
        assert peer.ws.is_open
        peer.receive(
            frame(TEXT if not peer.ws._fragments else CONTINUATION, bytes([octet]), fin=False)
        )
    peer.assert_failed(1007)


@pytest.mark.parametrize("content", ["c3", "e2", "e282", "f0", "f09d", "f09d84"])
@pytest.mark.parametrize("pieces", [1, 2, 100])
def test_text_that_ends_too_early(connect: Connect, content: str, pieces: int) -> None:
    data = b"ok " + bytes.fromhex(content)
    connect().receive(fragmented(TEXT, data, pieces)).assert_failed(1007)
    unfinished = frame(TEXT, data, fin=False)
    connect().receive(unfinished, frame(CONTINUATION)).assert_failed(1007)
    peer = connect().receive(unfinished)
    assert peer.ws.is_open


def test_each_text_is_its_own(connect: Connect) -> None:
    """No half a character is carried over, whether its message was finished or not."""
    peer = connect().receive(text("é", 2), binary(b"\xc3", 1), text("é", 1), binary(b"\xc3\xff", 2))
    assert peer.messages == ["é", b"\xc3", "é", b"\xc3\xff"]


@given(st.binary(max_size=12), st.integers(1, 12), st.sampled_from(WEBSOCKET_ENGINES))
def test_text_is_what_python_says_it_is(data: bytes, pieces: int, name: str) -> None:
    peer = Peer(name).receive(fragmented(TEXT, data, pieces))
    try:
        expected = data.decode()
    except UnicodeDecodeError:
        peer.assert_failed(1007)
    else:
        assert peer.messages == [expected]


# ---- sizes --------------------------------------------------------------------------------


@pytest.mark.parametrize("pieces", [1, 2, 7, 999])
def test_the_greatest_message_is_in_bytes(connect: Connect, pieces: int) -> None:
    options = WebSocketOptions(1000, ping_interval=0)
    for good in (text("x" * 1000, pieces), text("é" * 500, pieces), binary(bytes(1000), pieces)):
        peer = connect(options).receive(good, text("€"))
        assert len(peer.messages) == 2
    for bad in (text("x" * 1001, pieces), text("é" * 501, pieces), binary(bytes(1001), pieces)):
        connect(options).receive(text("€"), bad).assert_failed(1009, ["€"])


def test_sizes_are_not_added_up_over_messages(connect: Connect) -> None:
    peer = connect(WebSocketOptions(10, ping_interval=0))
    peer.receive(*(text("x" * 10, pieces) for pieces in (1, 2, 3, 10, 1, 4)))
    assert peer.messages == ["x" * 10] * 6


def test_control_frames_are_not_counted(connect: Connect) -> None:
    peer = connect(WebSocketOptions(1, ping_interval=0))
    peer.receive(frame(TEXT, b"x", fin=False), frame(PING, bytes(125)), frame(CONTINUATION))
    assert peer.messages == ["x"] and peer.pongs == [bytes(125)]


def test_a_key_is_not_taken_for_another_frames(connect: Connect) -> None:
    peer = connect().receive(
        frame(BINARY, b"abcde", key=b"1234", fin=False),
        frame(PING, b"fgh", key=b"5678"),
        frame(CONTINUATION, b"ijklm", key=KEY),
    )
    assert peer.messages == [b"abcdeijklm"] and peer.pongs == [b"fgh"]
