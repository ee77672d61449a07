"""Serialising: status lines, heads, framing."""

from __future__ import annotations

import pytest

from hyperserver.protocol.events import Headers
from hyperserver.protocol.fields import response_fields
from hyperserver.protocol.h1 import wire
from hyperserver.protocol.interface import ResponseDefaults

NOTHING = ResponseDefaults(None)


def head(
    status: int = 200,
    headers: Headers | None = None,
    *,
    method: str = "GET",
    http10: bool = False,
    keep_alive: bool = True,
) -> tuple[bytes, int, bool]:
    return wire.response_head(
        status, response_fields(headers or []), NOTHING, method, http10, keep_alive
    )


@pytest.mark.parametrize(
    ("status", "line"),
    [
        (100, b"HTTP/1.1 100 Continue\r\n"),
        (200, b"HTTP/1.1 200 OK\r\n"),
        (418, b"HTTP/1.1 418 I'm a Teapot\r\n"),
        (599, b"HTTP/1.1 599 \r\n"),
        (600, b"HTTP/1.1 600 \r\n"),
    ],
)
def test_status_line(status: int, line: bytes) -> None:
    assert wire.status_line(status) == line


LENGTH: Headers = [(b"content-length", b"5")]


@pytest.mark.parametrize(
    ("headers", "method", "status", "http10", "framing", "kept"),
    [
        (LENGTH, "GET", 200, False, wire.BY_LENGTH, True),
        (LENGTH, "GET", 200, True, wire.BY_LENGTH, True),
        ([], "GET", 200, False, wire.BY_CHUNKS, True),
        ([], "GET", 200, True, wire.BY_CLOSE, False),
        (LENGTH, "HEAD", 200, False, wire.BY_NOTHING, True),
        ([], "HEAD", 200, True, wire.BY_NOTHING, True),
        (LENGTH, "GET", 204, False, wire.BY_NOTHING, True),
        ([], "GET", 304, True, wire.BY_NOTHING, True),
    ],
)
def test_framing(
    headers: Headers, method: str, status: int, http10: bool, framing: int, kept: bool
) -> None:
    written, *decided = head(status, headers, method=method, http10=http10)
    assert decided == [framing, kept]
    assert (b"transfer-encoding: chunked\r\n" in written) == (framing == wire.BY_CHUNKS)
    assert (b"content-length" in written) == (headers is LENGTH and status != 204)


@pytest.mark.parametrize(
    ("http10", "keep_alive", "line"),
    [
        (False, True, b""),
        (False, False, b"connection: close\r\n"),
        (True, True, b"connection: keep-alive\r\n"),
        (True, False, b"connection: close\r\n"),
    ],
)
def test_the_connection_line(http10: bool, keep_alive: bool, line: bytes) -> None:
    written, _, kept = head(200, LENGTH, http10=http10, keep_alive=keep_alive)
    assert written == b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n" + line + b"\r\n"
    assert kept is keep_alive


@pytest.mark.parametrize(
    ("value", "kept"), [(b"close", False), (b"X, CLOSE", False), (b"closed", True), (b"", True)]
)
def test_close_in_the_applications_connection_field(value: bytes, kept: bool) -> None:
    written, _, decided = head(200, [*LENGTH, (b"connection", value)])
    assert decided is kept
    assert written.count(b"connection") == (not kept)


def test_informational_head() -> None:
    assert wire.informational_head(103, [(b"link", b"<x>")]) == (
        b"HTTP/1.1 103 Early Hints\r\nlink: <x>\r\n\r\n"
    )


@pytest.mark.parametrize("head_only", [False, True])
def test_a_refusal_closes_and_has_a_length(head_only: bool) -> None:
    message = wire.refusal(400, "why", NOTHING, head_only)
    written, _, body = message.partition(b"\r\n\r\n")
    assert body == (b"" if head_only else b"400 Bad Request: why\n")
    assert written.split(b"\r\n") == [
        b"HTTP/1.1 400 Bad Request",
        b"content-type: text/plain; charset=utf-8",
        b"content-length: 21",
        b"connection: close",
    ]


@pytest.mark.parametrize("keep_alive", [True, False])
def test_an_upgrade_field_is_named_by_connection(keep_alive: bool) -> None:
    fields: Headers = [(b"upgrade", b"websocket"), (b"content-length", b"0")]
    written, _, kept = head(426, fields, keep_alive=keep_alive)
    assert b"\r\nupgrade: websocket\r\n" in written
    assert b"\r\nconnection: upgrade\r\n" in written
    assert (b"\r\nconnection: close\r\n" in written) is not keep_alive
    assert kept is keep_alive
