"""ClientHellos, real and crafted, in any split."""

from __future__ import annotations

import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hyperserver.protocol.client_hello import (
    MAX_SIZE,
    Alert,
    ClientHello,
    ClientHelloReader,
    HandshakeRefused,
    NotTLS,
    parse_client_hello,
)
from tests.engines.playbook import FEEDS, Feed

EVERY_FEED = pytest.mark.parametrize("feed", FEEDS.values(), ids=FEEDS)


def real_hello(
    name: str | None, *alpn: str, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3
) -> bytes:
    """What Python's own client sends first."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.maximum_version = version
    if alpn:
        context.set_alpn_protocols(list(alpn))
    outgoing = ssl.MemoryBIO()
    client = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


# ---- crafted ones ------------------------------------------------------------------------------


def vector(size: int, *content: bytes) -> bytes:
    joined = b"".join(content)
    return len(joined).to_bytes(size) + joined


def extension(kind: int, content: bytes) -> bytes:
    return kind.to_bytes(2) + vector(2, content)


def names(*entries: tuple[int, bytes]) -> bytes:
    """A server_name extension with these entries."""
    return extension(0, vector(2, *(bytes([kind]) + vector(2, name) for kind, name in entries)))


def protocols(*entries: bytes) -> bytes:
    return extension(16, vector(2, *(vector(1, name) for name in entries)))


def body(*extensions: bytes) -> bytes:
    head = b"\x03\x03" + bytes(32) + vector(1, b"session") + vector(2, b"\x13\x01") + b"\x01\x00"
    return head + vector(2, *extensions)


def message(content: bytes) -> bytes:
    return b"\x01" + vector(3, content)


def records(content: bytes, size: int = 16_384) -> bytes:
    return b"".join(
        b"\x16\x03\x01" + vector(2, content[at : at + size]) for at in range(0, len(content), size)
    )


def read(data: bytes, feed: Feed = FEEDS["whole"]) -> ClientHello | None:
    """What a reader finds at the end of ``data``, and not before."""
    reader = ClientHelloReader()
    found = None
    for piece in feed(data):
        assert found is None
        found = reader.receive(piece)
    assert reader.received == data
    return found


def refusal(data: bytes, feed: Feed = FEEDS["whole"]) -> HandshakeRefused:
    reader = ClientHelloReader()
    with pytest.raises(HandshakeRefused) as caught:
        for piece in feed(data):
            assert reader.receive(piece) is None
    return caught.value


# ---- what is right -----------------------------------------------------------------------------


@EVERY_FEED
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_real_one(feed: Feed, version: ssl.TLSVersion) -> None:
    data = real_hello("Shop.Example.TEST", "h2", "http/1.1", version=version)
    assert read(data, feed) == ClientHello("shop.example.test", [b"h2", b"http/1.1"])


@EVERY_FEED
def test_one_that_says_neither(feed: Feed) -> None:
    assert read(real_hello(None), feed) == ClientHello(None, [])


def test_the_signatures_that_a_client_can_verify() -> None:
    schemes = extension(13, vector(2, b"\x04\x03", b"\x08\x04"))
    found = read(records(message(body(schemes))))
    assert found is not None
    assert found.signature_schemes == [0x0403, 0x0804]
    assert refusal(records(message(body(extension(13, vector(2, b"\x04")))))).alert == (
        Alert.DECODE_ERROR
    )


def test_one_without_extensions() -> None:
    assert read(records(message(body()[:-2]))) == ClientHello(None, [])
    assert read(records(message(body()))) == ClientHello(None, [])


@EVERY_FEED
@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 100])
def test_a_message_in_several_records(feed: Feed, size: int) -> None:
    data = records(message(body(names((0, b"a.test")), protocols(b"h2"))), size)
    assert read(data, feed) == ClientHello("a.test", [b"h2"])


def test_what_follows_is_kept_for_the_handshake() -> None:
    data = real_hello("a.test") + b"\x14\x03\x03\x00\x01\x01 and more"
    reader = ClientHelloReader()
    assert reader.receive(data) == ClientHello("a.test", [])
    assert reader.received == data


def test_more_is_needed_until_the_last_byte() -> None:
    data = real_hello("a.test", "h2")
    for end in range(len(data)):
        assert read(data[:end]) is None
    assert read(data) is not None


@pytest.mark.parametrize(
    ("name", "found"),
    [
        (b"a.test", "a.test"),
        (b"A.TEST.", "a.test"),
        (b"xn--bcher-kva.example", "xn--bcher-kva.example"),
        (b"a_b.test", "a_b.test"),
        (b"localhost", "localhost"),
        (b"127.0.0.1", "127.0.0.1"),
        (b"x" * 63 + b".test", "x" * 63 + ".test"),
        (b"abc." * 63 + b"d", "abc." * 63 + "d"),
    ],
)
def test_a_server_name(name: bytes, found: str) -> None:
    assert parse_client_hello(body(names((0, name)))) == ClientHello(found, [])


def test_names_of_an_unknown_type_are_passed_over() -> None:
    hello = parse_client_hello(body(names((7, b"\xff\x00"), (0, b"a.test"), (9, b""))))
    assert hello.server_name == "a.test"
    assert parse_client_hello(body(names((7, b"?")))).server_name is None


def test_other_extensions_are_passed_over() -> None:
    grease = extension(0x1A1A, b"")
    padding = extension(21, bytes(500))
    hello = parse_client_hello(body(grease, protocols(b"\x1a\x1a", b"h2"), padding))
    assert hello.alpn == [b"\x1a\x1a", b"h2"]


def test_a_large_one() -> None:
    data = records(message(body(extension(51, bytes(60_000)), names((0, b"a.test")))))
    assert read(data) == ClientHello("a.test", [])


# ---- what is no TLS ----------------------------------------------------------------------------


@EVERY_FEED
@pytest.mark.parametrize(
    "data", [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x02\x01\x00\x00", b"\x80\x2e\x01", b"\x00", b"\x17\x03"]
)  # fmt: skip
def test_what_is_no_tls(feed: Feed, data: bytes) -> None:
    reader = ClientHelloReader()
    with pytest.raises(NotTLS):
        for piece in feed(data):
            assert reader.receive(piece) is None
    assert data.startswith(reader.received)


# ---- what is wrong -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "alert"),
    [
        (records(b"\x02" + bytes(10)), Alert.UNEXPECTED_MESSAGE),  # a ServerHello
        (b"\x16\x03\x01\x00\x00", Alert.UNEXPECTED_MESSAGE),
        (b"\x16\x03\x01\x40\x01", Alert.RECORD_OVERFLOW),
        (b"\x16\x03\x01\xff\xff", Alert.RECORD_OVERFLOW),
        (records(b"\x01\x00") + b"\x15\x03\x01\x00\x02", Alert.UNEXPECTED_MESSAGE),
        (records(b"\x01\x00") + b"\x16\x02\x01\x00\x02", Alert.UNEXPECTED_MESSAGE),
        (records(b"\x01\x01\x00\x00"), Alert.DECODE_ERROR),  # says that it has 64 KiB
        (records(b"\x01\xff\xff\xff"), Alert.DECODE_ERROR),
        (records(message(b"")), Alert.DECODE_ERROR),
        (records(message(b"\x03\x03")), Alert.DECODE_ERROR),
    ],
)
@EVERY_FEED
def test_a_wrong_beginning(feed: Feed, data: bytes, alert: Alert) -> None:
    assert refusal(data, feed).alert == alert


@pytest.mark.parametrize(
    ("extensions", "alert"),
    [
        # server names
        ([names((0, b""))], Alert.ILLEGAL_PARAMETER),
        ([names((0, b"."))], Alert.ILLEGAL_PARAMETER),
        ([names((0, b"a..b"))], Alert.ILLEGAL_PARAMETER),
        ([names((0, b"a.b.."))], Alert.ILLEGAL_PARAMETER),
        ([names((0, b".a"))], Alert.ILLEGAL_PARAMETER),
        ([names((0, b"::1"))], Alert.ILLEGAL_PARAMETER),
        ([names((0, b"a b"))], Alert.ILLEGAL_PARAMETER),
        ([names((0, b"a\0.test"))], Alert.ILLEGAL_PARAMETER),
        ([names((0, b"a.test\n"))], Alert.ILLEGAL_PARAMETER),
        ([names((0, b"*.test"))], Alert.ILLEGAL_PARAMETER),
        ([names((0, "bücher.test".encode()))], Alert.ILLEGAL_PARAMETER),
        ([names((0, b"x" * 64))], Alert.ILLEGAL_PARAMETER),
        ([names((0, b"abc." * 63 + b"de"))], Alert.ILLEGAL_PARAMETER),
        ([names((0, b"a"), (0, b"a"))], Alert.ILLEGAL_PARAMETER),
        ([names()], Alert.DECODE_ERROR),
        ([extension(0, b"")], Alert.DECODE_ERROR),
        ([extension(0, b"\x00\x05\x00\x00\x09a.")], Alert.DECODE_ERROR),
        ([extension(0, vector(2, b"\x00", vector(2, b"a")) + b"?")], Alert.DECODE_ERROR),
        # protocols
        ([protocols()], Alert.DECODE_ERROR),
        ([protocols(b"h2", b"")], Alert.DECODE_ERROR),
        ([extension(16, b"\x00\x03\x05h2")], Alert.DECODE_ERROR),
        ([extension(16, vector(2, vector(1, b"h2")) + b"?")], Alert.DECODE_ERROR),
        # extensions as such
        ([names((0, b"a")), names((0, b"b"))], Alert.ILLEGAL_PARAMETER),
        ([extension(99, b""), extension(99, b"")], Alert.ILLEGAL_PARAMETER),
        ([b"\x00"], Alert.DECODE_ERROR),
        ([b"\x00\x00\x00\x05abc"], Alert.DECODE_ERROR),
    ],
)
def test_a_wrong_extension(extensions: list[bytes], alert: Alert) -> None:
    assert refusal(records(message(body(*extensions)))).alert == alert


def test_bytes_behind_the_extensions() -> None:
    assert refusal(records(message(body() + b"?"))).alert == Alert.DECODE_ERROR


@pytest.mark.parametrize("end", range(1, len(body()) - 2))
def test_a_body_that_ends_too_soon(end: int) -> None:
    with pytest.raises(HandshakeRefused):
        parse_client_hello(body()[:end])


def test_one_that_never_ends() -> None:
    reader = ClientHelloReader()
    piece = records(b"\x01\x00\xff\xfc" + bytes(60_000), 1)
    with pytest.raises(HandshakeRefused, match="too large"):
        for at in range(0, len(piece), 1000):
            assert reader.receive(piece[at : at + 1000]) is None
    assert len(reader.received) <= MAX_SIZE + 1000


# ---- anything at all ---------------------------------------------------------------------------


def judge(data: bytes) -> object:
    try:
        return read(data)
    except NotTLS:
        return "no TLS"
    except HandshakeRefused as refused:
        return refused.reason


@given(st.binary(max_size=300))
def test_any_bytes_have_a_verdict(data: bytes) -> None:
    judge(data)
    judge(records(message(data)))
    judge(records(message(body(data))))
    judge(records(message(body(extension(0, data), extension(16, data)))))


@given(st.data())
def test_the_verdict_does_not_depend_on_how_the_bytes_are_cut(data: st.DataObject) -> None:
    changed = bytearray(records(message(body(names((0, b"a.test")), protocols(b"h2"))), 40))
    for _ in range(data.draw(st.integers(0, 3))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    expected = judge(bytes(changed))
    reader = ClientHelloReader()
    found: object = None
    try:
        for at in range(len(changed)):
            found = reader.receive(bytes(changed[at : at + 1]))
            if found is not None:
                break
    except NotTLS:
        found = "no TLS"
    except HandshakeRefused as refused:
        found = refused.reason
    assert found == expected
