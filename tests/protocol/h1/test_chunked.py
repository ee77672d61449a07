"""The chunked decoder by itself; what faults it answers is in the engines' suite."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hyperserver.errors import RemoteProtocolError
from hyperserver.protocol.h1.chunked import ChunkedDecoder


def decoder(max_trailers: int = 1000) -> ChunkedDecoder:
    return ChunkedDecoder(max_trailers)


def feed(chunks: ChunkedDecoder, data: bytes) -> tuple[bytes, bytes]:
    """What was decoded of ``data``, and what was left of it."""
    buffer = bytearray(data)
    return chunks.decode(buffer), bytes(buffer)


def test_content_of_several_chunks_is_joined() -> None:
    chunks = decoder()
    assert feed(chunks, b"2\r\nab\r\n3;x=y\r\ncde\r\n0\r\n\r\n") == (b"abcde", b"")
    assert chunks.done


def test_bytes_after_the_body_stay() -> None:
    chunks = decoder()
    assert feed(chunks, b"0\r\n\r\nGET /") == (b"", b"GET /")
    assert chunks.done


def test_nothing_is_consumed_once_done() -> None:
    chunks = decoder()
    feed(chunks, b"0\r\n\r\n")
    assert feed(chunks, b"5\r\nhello\r\n") == (b"", b"5\r\nhello\r\n")


def test_content_is_given_as_it_comes_and_the_rest_waits() -> None:
    chunks = decoder()
    assert feed(chunks, b"a\r\n0123") == (b"0123", b"")
    assert feed(chunks, b"45") == (b"45", b"")
    assert feed(chunks, b"6789\r") == (b"6789", b"\r")
    assert feed(chunks, b"\r\n1") == (b"", b"1")
    assert not chunks.done


def test_trailers_are_lower_cased_and_trimmed() -> None:
    chunks = decoder()
    feed(chunks, b"0\r\nX-A: 1 \r\nx-a:\r\nHost: no\r\n\r\n")
    assert chunks.trailers == [(b"x-a", b"1"), (b"x-a", b"")]


@pytest.mark.parametrize(("size", "fits"), [(100, True), (99, False)])
def test_the_trailer_section_is_bounded(size: int, fits: bool) -> None:
    block = b"X: " + b"y" * 93 + b"\r\n\r\n"
    assert len(block) == 100
    chunks = decoder(max_trailers=size)
    if fits:
        feed(chunks, b"0\r\n" + block)
        assert chunks.done
    else:
        with pytest.raises(RemoteProtocolError) as error:
            feed(chunks, b"0\r\n" + block)
        assert error.value.status == 431


@pytest.mark.parametrize("beginning", [b"\r", b" ", b"-", b"+", b";", b"\x00"])
def test_a_wrong_first_byte_need_not_wait_for_the_line(beginning: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        feed(decoder(), beginning)


def test_extensions_are_bounded_over_the_whole_body() -> None:
    with pytest.raises(RemoteProtocolError):
        feed(decoder(), (b"1;" + b"a" * 500 + b"\r\nx\r\n") * 100)


def test_many_small_chunks_without_extensions_are_fine() -> None:
    assert feed(decoder(), b"1\r\nx\r\n" * 20_000)[0] == b"x" * 20_000


@given(
    pieces=st.lists(st.binary(min_size=1, max_size=40), max_size=5),
    cuts=st.lists(st.integers(0, 400), max_size=8),
)
def test_any_content_survives_any_cuts(pieces: list[bytes], cuts: list[int]) -> None:
    wire = b"".join(b"%X\r\n%b\r\n" % (len(p), p) for p in pieces) + b"0\r\nX: y\r\n\r\n"
    chunks, buffer, content, start = decoder(), bytearray(), b"", 0
    for end in (*sorted(min(c, len(wire)) for c in cuts), len(wire)):
        buffer += wire[start:end]
        content += chunks.decode(buffer)
        start = end
    assert content == b"".join(pieces)
    assert (chunks.done, chunks.trailers, buffer) == (True, [(b"x", b"y")], bytearray())


def test_what_is_content_from_end_to_end_is_taken_as_it_is() -> None:
    chunks = decoder()
    assert not chunks.takes(b"a")  # a size
    assert feed(chunks, b"a\r\n0") == (b"0", b"")
    assert chunks.takes(b"12345")
    assert not chunks.takes(b"6789")  # the end of a chunk is for decode() to see
    assert not chunks.takes(b"6789\r\n0\r\n\r\n")
    assert feed(chunks, b"6789\r\n0\r\n\r\n") == (b"6789", b"")
    assert chunks.done
    assert not chunks.takes(b"GET")


def test_what_is_taken_as_it_is_counts_as_well() -> None:
    chunks = ChunkedDecoder(1000, 10)
    feed(chunks, b"ff\r\n")
    assert chunks.takes(b"12345")
    assert not chunks.takes(b"678901")
    with pytest.raises(RemoteProtocolError, match="too large"):
        feed(chunks, b"678901")
