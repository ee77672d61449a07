"""Reading heads: the checks around the library, and the library as a splitter."""

from __future__ import annotations

import gc
from dataclasses import replace

import pytest

from hyperserver.errors import RemoteProtocolError
from hyperserver.protocol.events import Headers
from hyperserver.protocol.h1.head import (
    Head,
    RequestLine,
    SplitFields,
    check_block,
    read_framing,
    read_head,
    read_request_line,
)
from hyperserver.protocol.interface import Limits
from hyperserver.protocol.negotiate import HTTP1_ENGINES, choose_engines

LINE = RequestLine("GET", b"/", None, 1)


@pytest.fixture(params=HTTP1_ENGINES)
def split(request: pytest.FixtureRequest) -> SplitFields:
    return choose_engines(request.param).make_splitter()


def read(split: SplitFields, *lines: bytes, line: RequestLine = LINE) -> Head:
    return read_head(line, block(*lines), split, Limits())


def block(*lines: bytes) -> bytes:
    return b"".join(line + b"\r\n" for line in lines) + b"\r\n"


# ---- the raw block ------------------------------------------------------------------------


def test_control_bytes_are_refused_but_tab_and_line_endings() -> None:
    def clean(byte: int) -> bool:
        try:
            check_block(b"a" + bytes([byte]) + b"a")
        except RemoteProtocolError:
            return False
        return True

    assert [c for c in range(256) if clean(c)] == [9, *range(0x20, 0x7F), *range(0x80, 0x100)]


@pytest.mark.parametrize("good", [b"", b"a", b"a\r\nb\r\n\r\n", b"\r\n", b"a:\t\r\n"])
def test_clean_blocks(good: bytes) -> None:
    check_block(good)
    check_block(bytearray(good))


@pytest.mark.parametrize(
    "bad", [b"\n", b"\r", b"\r\r\n", b"\r\r\n\n", b"\n\r", b"\r\n\n", b"a\nb\r\n", b"\xa0\n"]
)
def test_bare_line_endings(bad: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        check_block(bad)


# ---- the request line ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"GET /x?y HTTP/1.1", RequestLine("GET", b"/x?y", None, 1)),
        (b"PUT / HTTP/1.0", RequestLine("PUT", b"/", None, 0)),
        (b"GET / HTTP/1.7", RequestLine("GET", b"/", None, 1)),
        (b"GET http://a/b HTTP/1.1", RequestLine("GET", b"/b", b"a", 1)),
    ],
)
def test_request_lines(line: bytes, expected: RequestLine) -> None:
    assert read_request_line(line, Limits()) == expected


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b"", 400),
        (b"GET", 400),
        (b"GET / ", 400),
        (b"GET / HTTP/1.1 ", 400),
        (b"GET / HTTP/11", 400),
        (b"GET / HTTP/2.0", 505),
        (b"GET /" + b"x" * 20 + b" HTTP/1.1", 414),
        (b"G" * 300 + b" / HTTP/1.1", 414),
        (b"CONNECT a:1 HTTP/1.1", 501),
        (b"GET a:1 HTTP/1.1", 400),
    ],
)
def test_refused_request_lines(line: bytes, status: int) -> None:
    with pytest.raises(RemoteProtocolError) as error:
        read_request_line(line, Limits(max_target_size=20))
    assert error.value.status == status


# ---- the field section --------------------------------------------------------------------


def test_a_head(split: SplitFields) -> None:
    assert read(split, b"Host: a", b"X: y") == Head(
        headers=[(b"host", b"a"), (b"x", b"y")],
        authority=b"a",
        content_length=0,
        chunked=False,
        keep_alive=True,
        expects_continue=False,
        upgrade=None,
    )


def test_values_of_framing_fields_are_what_was_sent(split: SplitFields) -> None:
    head = read(split, b"Host: a", b"Transfer-Encoding: \tChunked ")
    assert head.headers[1] == (b"transfer-encoding", b"Chunked")
    assert head.chunked


@pytest.mark.parametrize(
    ("connection", "minor", "upgrade"),
    [
        (b"upgrade", 1, b"a, b, c"),
        (b"keep-alive, Upgrade", 1, b"a, b, c"),
        (b"keep-alive", 1, None),
        (b"upgrade", 0, None),
    ],
)
def test_upgrade_needs_its_connection_option_and_http_1_1(
    split: SplitFields, connection: bytes, minor: int, upgrade: bytes | None
) -> None:
    head = read(
        split,
        b"Host: a",
        b"Connection: " + connection,
        b"Upgrade: a, b",
        b"Upgrade: c",
        line=replace(LINE, minor=minor),
    )
    assert head.upgrade == upgrade


def test_upgrade_without_connection(split: SplitFields) -> None:
    assert read(split, b"Host: a", b"Upgrade: a").upgrade is None


@pytest.mark.parametrize(
    ("length", "coding", "minor", "expected"),
    [
        (None, None, 1, (0, False)),
        (b"5", None, 1, (5, False)),
        (b"5", None, 0, (5, False)),
        (None, b"chunked", 1, (0, True)),
        (None, b" CHUNKED ,", 1, (0, True)),
        (b"5", b"chunked", 1, 400),
        (None, b"chunked", 0, 400),
        (None, b"", 1, 400),
        (None, b"chunked, gzip", 1, 400),
        (None, b"chunked, chunked", 1, 400),
        (None, b"a b", 1, 400),
        (None, b"gzip", 1, 501),
        (None, b"gzip, chunked", 1, 501),
    ],
)
def test_framing(
    length: bytes | None, coding: bytes | None, minor: int, expected: tuple[int, bool] | int
) -> None:
    if isinstance(expected, tuple):
        assert read_framing(length, coding, minor) == expected
    else:
        with pytest.raises(RemoteProtocolError) as error:
            read_framing(length, coding, minor)
        assert error.value.status == expected


# ---- libraries as splitters ---------------------------------------------------------------


def test_one_splitter_serves_many_sections(split: SplitFields) -> None:
    sections: list[tuple[bytes, Headers]] = [
        (block(), []),
        (block(b"A: b"), [(b"a", b"b")]),
        (block(b"Proxy-Connection: close"), [(b"proxy-connection", b"close")]),
        (block(b"Connection: close"), [(b"connection", b"close")]),
        (
            block(b"Connection: upgrade", b"Upgrade: x"),
            [(b"connection", b"upgrade"), (b"upgrade", b"x")],
        ),
        (block(b"Content-Length: 0"), [(b"content-length", b"0")]),
        (block(b"E:", b"F: \t"), [(b"e", b""), (b"f", b"")]),
        (block(b"A: b"), [(b"a", b"b")]),
    ]
    assert [split(section) for section, _ in sections] == [headers for _, headers in sections]


@pytest.mark.parametrize("engine", HTTP1_ENGINES)
def test_a_splitter_does_not_wait_for_the_garbage_collector(engine: str) -> None:
    make_splitter = choose_engines(engine).make_splitter
    gc.collect()
    gc.disable()
    try:
        split = make_splitter()
        split(block(b"A: b"))
        del split
        assert gc.collect() == 0
    finally:
        gc.enable()


@pytest.mark.parametrize(
    "line",
    [
        b"no colon",
        b": x",
        b"A : b",
        b"A B: c",
        b"\xe9: x",
        b"(: x",
        b" ",
        b"\t",
        b" folded",
        b"\tfolded",
        b" Indented: x",
        b" \r\nGET / HTTP/1.1\r\nA: b",
        b"\t\r\nGET / HTTP/1.1\r\nA: b",
    ],
)
def test_splitters_refuse_and_recover(split: SplitFields, line: bytes) -> None:
    with pytest.raises(ValueError):
        split(block(b"Ok: ok", line))
    with pytest.raises(ValueError):
        split(block(line, b"Ok: ok"))
    assert split(block(b"A: b")) == [(b"a", b"b")]


def test_a_fault_of_ours_comes_before_one_of_the_librarys(split: SplitFields) -> None:
    with pytest.raises(RemoteProtocolError, match="invalid Host"):
        read(split, b"No Name: x", b"Host: a/b")
    with pytest.raises(RemoteProtocolError, match="malformed"):
        read(split, b"No Name: x", b"Host: a")
