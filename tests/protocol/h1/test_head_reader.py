"""What a reader remembers must not show in what it says."""

from __future__ import annotations

from itertools import permutations

import pytest

from hyperserver.errors import RemoteProtocolError
from hyperserver.protocol.h1.head_reader import HeadReader
from hyperserver.protocol.interface import Limits
from hyperserver.protocol.negotiate import HTTP1_ENGINES, choose_engines

LIMITS = Limits(max_body_size=10)
LINES = (
    b"GET / HTTP/1.1",
    b"POST / HTTP/1.1",
    b"GET / HTTP/1.0",
    b"GET http://b/ HTTP/1.1",
    b"GET /\x00 HTTP/1.1",
)
SECTIONS = (
    b"Host: a\r\n\r\n",
    b"Host: a\r\nContent-Length: 3\r\n\r\n",
    b"Host: a\r\nContent-Length: 11\r\n\r\n",
    b"Host: a\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n",
    b"Host: a\r\nConnection: upgrade, close\r\nUpgrade: websocket\r\n\r\n",
    b"Host: a\r\nHost: a\r\n\r\n",
)
HEADS = tuple(line + b"\r\n" + section for line in LINES for section in SECTIONS)


def said(reader: HeadReader, head: bytes) -> object:
    try:
        found = reader.read(head)
    except RemoteProtocolError as error:
        return error.status, error.reason
    assert found is not None
    return found


@pytest.mark.parametrize("engine", HTTP1_ENGINES)
def test_a_head_means_the_same_after_any_other(engine: str) -> None:
    make_splitter = choose_engines(engine).make_splitter
    fresh = {head: said(HeadReader(make_splitter, LIMITS), head) for head in HEADS}
    for before, head in permutations(HEADS, 2):
        reader = HeadReader(make_splitter, LIMITS)
        assert said(reader, before) == fresh[before]
        assert said(reader, head) == fresh[head]
        assert said(reader, head) == fresh[head]


@pytest.mark.parametrize("engine", HTTP1_ENGINES)
def test_nothing_is_remembered_once_told_to_forget(engine: str) -> None:
    split = choose_engines(engine).make_splitter()
    sections: list[bytes] = []

    def counting(section: bytes) -> list[tuple[bytes, bytes]]:
        sections.append(section)
        return split(section)

    reader = HeadReader(lambda: counting, LIMITS)
    for _ in range(3):
        reader.read(HEADS[0])
    assert len(sections) == 1
    reader.forget()
    reader.read(HEADS[0])
    assert len(sections) == 2
