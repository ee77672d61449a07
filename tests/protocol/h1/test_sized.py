"""The decoder of bodies whose length is known."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hyperserver.protocol.h1.sized import SizedDecoder


@given(length=st.integers(1, 30), cuts=st.lists(st.integers(1, 9)), rest=st.binary(max_size=9))
def test_a_body_is_the_same_however_it_comes(length: int, cuts: list[int], rest: bytes) -> None:
    """By either way, also where the next request begins in the same read."""
    sized = SizedDecoder(length)
    body = bytes(range(length))
    stream = body + rest
    got = b""
    for size in [*cuts, len(stream)]:
        if sized.done:
            break
        piece, stream = stream[:size], stream[size:]
        if sized.takes(piece):
            got += piece
        else:
            buffer = bytearray(piece)
            got += sized.decode(buffer)
            assert sized.done
            stream = bytes(buffer) + stream
        assert sized.remaining == length - len(got)
    assert got == body
    assert stream == rest
