from __future__ import annotations

from hyperserver.protocol.h1.output import LARGE, Output
from tests.compiled import from_source


def taken(output: Output) -> list[bytes]:
    pieces: list[bytes] = []
    while output.output:
        pieces.append(output.data_to_send())
    return pieces


def queue(*pieces: bytes) -> Output:
    output = Output(None)
    for piece in pieces:
        output._write(piece)
    return output


def test_small_pieces_leave_together() -> None:
    output = queue(b"a", b"b", b"c")
    assert output.buffered(1) == 3
    assert taken(output) == [b"abc"]
    assert output.buffered(1) == 0
    assert output.data_to_send() == b""


def test_a_large_piece_is_not_copied() -> None:
    large = bytes(LARGE)
    pieces = taken(queue(b"head", large, b"tail", b"end"))
    assert pieces == [b"head", large, b"tailend"]
    assert pieces[1] is large


def test_many_small_pieces_are_cut_into_writes() -> None:
    pieces = taken(queue(*[bytes(1000)] * 200))
    assert sum(map(len, pieces)) == 200_000
    assert all(len(piece) < LARGE for piece in pieces)


@from_source
def test_what_is_left_is_known_when_the_hook_is_called() -> None:
    class Watched(Output):
        __slots__ = ("left",)

        def _large_output_left(self) -> None:
            self.left = self.buffered(1)

    output = Watched(None)
    output._write(bytes(LARGE))
    output._write(b"rest")
    output.data_to_send()
    assert output.left == 4
