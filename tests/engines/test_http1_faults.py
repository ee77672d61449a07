"""What a client must not send. Each fault: one answer, ``connection: close``, nothing parsed after.

The tables are RFC 9112's rules and the known ways to smuggle a request past one of two parsers.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from hyperserver.protocol.events import RequestReceived, RequestRefused
from hyperserver.protocol.interface import Limits
from tests.engines.playbook import (
    Peer,
    assert_body_fault,
    assert_refused,
    chunked_post,
    get,
    post,
    request,
)

# ---- the request line ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        b"GET / HTTP/1.1 ",
        b" GET / HTTP/1.1",
        b"GET  / HTTP/1.1",
        b"GET /  HTTP/1.1",
        b"GET\t/ HTTP/1.1",
        b"GET /\tHTTP/1.1",
        b"GET /",
        b"GET",
        b"GET / x HTTP/1.1",
        b"GET / HTTP/1.1x",
        b"GET / HTTP/1.10",
        b"GET / HTTP/1",
        b"GET / HTTP/1.",
        b"GET / HTTP/.1",
        b"GET / HTTP/+1.1",
        b"GET / http/1.1",
        b"GET / HTTPS/1.1",
        b"GET / HTTP 1.1",
        b"G@T / HTTP/1.1",
        b"G\xc9T / HTTP/1.1",
        b"(GET) / HTTP/1.1",
    ],
)
def test_malformed_request_lines(client: Peer, line: bytes) -> None:
    client.send(request(line, b"Host: a"))
    assert_refused(client, 400)


@pytest.mark.parametrize("version", [b"0.9", b"2.0", b"3.7", b"9.9"])
def test_another_major_version_is_505(client: Peer, version: bytes) -> None:
    client.send(request(b"GET / HTTP/" + version, b"Host: a"))
    assert_refused(client, 505)


@pytest.mark.parametrize(
    "target",
    [
        b"index.html",
        b"?q",
        b"a:80",
        b"http:/b/",
        b"http:b",
        b"http://",
        b"http:///x",
        b"http://:80/",
        b"http://user@b/",
        b"http://user:pass@b/",
        b"http://b:port/",
        b"http://b:123456/",
        b"ftp://b/",
        b"://b/",
        b"/#fragment",
        b"http://b/#f",
        b"/caf\xc3\xa9",
        b"/\x7f",
        b"/a\x00b",
        b"/a\x0bb",
        b"*",
        b"**",
        b"*/",
    ],
)
def test_bad_targets(client: Peer, target: bytes) -> None:
    client.send(get(target))
    assert_refused(client, 400)


@pytest.mark.parametrize("target", [b"a:80", b"/", b"*"])
def test_connect_is_501(client: Peer, target: bytes) -> None:
    client.send(request(b"CONNECT " + target + b" HTTP/1.1", b"Host: a:80"))
    assert_refused(client, 501)


@pytest.mark.parametrize(
    "lead", [b"\n", b"\r", b"\r\r\n", b"\n\r\n", b" \r\n", b"\r\n\n", b"\r\n" * 5, b"\r\n" * 100]
)
def test_what_may_not_precede_a_request(client: Peer, lead: bytes) -> None:
    client.send(lead + get())
    assert_refused(client, 400)


def test_a_refusal_tells_what_could_be_read(client: Peer) -> None:
    client.send(request(b"PUT /x HTTP/1.0", b"no colon"))
    (refusal,) = client.events
    assert isinstance(refusal, RequestRefused)
    assert (refusal.stream_id, refusal.method, refusal.target, refusal.http_version) == (
        1,
        "PUT",
        b"/x",
        "1.0",
    )


def test_a_refusal_without_a_request_line_tells_nothing(client: Peer) -> None:
    client.send(b"\x16\x03\x01\x02\x00\x01\x00")  # a TLS ClientHello, on a cleartext port
    (refusal,) = client.events
    assert isinstance(refusal, RequestRefused)
    assert (refusal.method, refusal.target) == ("", b"")


def test_the_first_fault_in_the_stream_answers(client: Peer) -> None:
    client.send(request(b"GET / HTTP/2.0", b"Host: a\x00"))
    assert_refused(client, 505)


def test_refusing_a_head_request_sends_no_body(client: Peer) -> None:
    client.send(request(b"HEAD / HTTP/1.1"))
    head, _, body = client.take().partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert b"\r\ncontent-length: " in head
    assert body == b""


# ---- field lines --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        b"no colon",
        b": empty name",
        b"X : space before colon",
        b"X\t: tab before colon",
        b" X: leading space",
        b"\tX: leading tab",
        b"X: folded\r\n line",
        b"X: folded\r\n\tline",
        b"X:\r\n folded",
        b" ",
        b"\t",
        b"X: y\r\n \r\nGET /smuggled HTTP/1.1\r\nY: z",
        b"X: y\r\n\t\r\nGET /smuggled HTTP/1.1\r\nY: z",
        b"X Y: space in name",
        b"X\xe9: not ASCII",
        b"X(): separators",
        b'"X": quoted',
        b"X\x00: y",
        b"X: a\x00b",
        b"X: a\x01b",
        b"X: a\x0bb",
        b"X: a\x0cb",
        b"X: a\x1bb",
        b"X: a\x7fb",
        b"X: bare\rCR",
        b"X: bare\nLF",
        b"X: CR at the end\r",
        b"X: LF first\n\r",
        b"X: smuggled\nY: z",
        b"X: smuggled\rY: z",
        b"\rX: y",
        b"\nX: y",
    ],
)
def test_malformed_field_lines(client: Peer, line: bytes) -> None:
    client.send(get(b"/", b"A: b", line, b"C: d"))
    assert_refused(client, 400)


@pytest.mark.parametrize("line", [b" Host: a", b"\tX: y", b" ", b"\t ", b":", b"X :y"])
def test_malformed_first_field_line(client: Peer, line: bytes) -> None:
    client.send(request(b"GET / HTTP/1.1", line, b"Host: a"))
    assert_refused(client, 400)


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\nHost: a\n\n",
        b"GET / HTTP/1.1\r\nHost: a\n\r\n",
        b"GET / HTTP/1.1\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\rHost: a\r\r",
        b"GET / HTTP/1.1\r\nHost: a\r\n\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n\rX",
    ],
)
def test_lines_end_in_crlf_only(client: Peer, head: bytes) -> None:
    client.send(head)
    assert_refused(client, 400)


@pytest.mark.parametrize(
    "hosts",
    [
        [],
        [b"a", b"a"],
        [b"a", b"b"],
        [b"", b""],
        [b"a/b"],
        [b"a, b"],
        [b"a b"],
        [b"user@a"],
        [b"http://a"],
        [b"a:b"],
        [b"a:80:80"],
        [b"a:123456"],
        [b"[::1"],
        [b"::1"],
        [b"[]"],
        [b"[::1]x"],
        [b"a?b"],
        [b"a#b"],
        [b"a\\b"],
        [b"%4"],
        [b"\xe9"],
        [b"<a>"],
    ],
)
def test_host_rules(client: Peer, hosts: list[bytes]) -> None:
    client.send(request(b"GET / HTTP/1.1", *[b"Host: " + host for host in hosts]))
    assert_refused(client, 400)


def test_absolute_form_still_needs_a_host_line(client: Peer) -> None:
    client.send(request(b"GET http://a/ HTTP/1.1"))
    assert_refused(client, 400)


def test_absolute_form_still_needs_a_valid_host_line(client: Peer) -> None:
    client.send(request(b"GET http://a/ HTTP/1.1", b"Host: x/y"))
    assert_refused(client, 400)


def test_a_repeated_host_is_bad_in_http_1_0_too(client: Peer) -> None:
    client.send(request(b"GET / HTTP/1.0", b"Host: a", b"Host: a"))
    assert_refused(client, 400)


@pytest.mark.parametrize("wish", [b"pay", b"100-continue, pay", b"200-ok", b""])
def test_unknown_expectations_are_417(client: Peer, wish: bytes) -> None:
    client.send(post(b"Expect: " + wish, b"Content-Length: 1"))
    assert_refused(client, 417)


# ---- framing: the smuggling table ---------------------------------------------------------

CL, TE = b"Content-Length: ", b"Transfer-Encoding: "


@pytest.mark.parametrize(
    ("status", "lines"),
    [
        (400, [CL + b"5", TE + b"chunked"]),
        (400, [TE + b"chunked", CL + b"5"]),
        (400, [TE + b"chunked", CL + b"0"]),
        (400, [TE + b"identity", CL + b"5"]),
        (400, [CL + b"5", CL + b"6"]),
        (400, [CL + b"5", CL + b"5"]),
        (400, [CL + b"0", CL + b"0"]),
        (400, [CL + b"5, 5"]),
        (400, [CL + b"5,5"]),
        (400, [CL + b"5,"]),
        (400, [CL + b"5, 6"]),
        (400, [CL + b"+5"]),
        (400, [CL + b"-5"]),
        (400, [CL + b"-0"]),
        (400, [CL + b"0x5"]),
        (400, [CL + b"1_0"]),
        (400, [CL + b"5 5"]),
        (400, [CL + b"5.0"]),
        (400, [CL + b"5e1"]),
        (400, [CL + b'"5"']),
        (400, [CL]),
        (400, [CL + b"five"]),
        (400, [CL + b"\xd9\xa5"]),
        (400, [CL + b"9" * 20]),
        (400, [CL + b"0" * 20]),
        (400, [b"Content-Length : 5"]),
        (400, [b"Content-Length\t: 5"]),
        (400, [TE + b"chunked, gzip"]),
        (400, [TE + b"chunked, identity"]),
        (400, [TE + b"chunked, chunked"]),
        (400, [TE + b"gzip, chunked, chunked"]),
        (400, [TE + b"chunked", TE + b"chunked"]),
        (400, [TE + b"chunked", TE + b"identity"]),
        (400, [TE + b"gzip", TE + b"chunked"]),
        (400, [TE]),
        (400, [TE + b","]),
        (400, [TE + b",chunked,"]),
        (400, [TE + b"chunked;x"]),
        (400, [TE + b"chunked x"]),
        (400, [TE + b'"chunked"']),
        (400, [TE + b"\x0bchunked"]),
        (400, [TE + b"chunked\x0c"]),
        (400, [TE + b"\x00chunked"]),
        (400, [TE + b"ch\xfcnked"]),
        (400, [b"Transfer-Encoding : chunked"]),
        (400, [b"Transfer-Encoding:\r\n chunked"]),
        (501, [TE + b"gzip"]),
        (501, [TE + b"gzip, chunked"]),
        (501, [TE + b"identity"]),
        (501, [TE + b"identity, chunked"]),
        (501, [TE + b"xchunked"]),
        (501, [TE + b"chunkedx"]),
        (501, [TE + b"chunked-x"]),
        (501, [TE + b"'chunked'"]),
    ],
)
@pytest.mark.parametrize("target", [b"/", b"/upgrade"])
def test_ambiguous_or_unknown_framing(
    client: Peer, status: int, lines: list[bytes], target: bytes
) -> None:
    upgrade = [b"Connection: upgrade", b"Upgrade: x"] if target == b"/upgrade" else []
    line = b"POST " + target + b" HTTP/1.1"
    body = b"5\r\nhello\r\n0\r\n\r\n" + get(b"/smuggled")
    client.send(request(line, b"Host: a", *upgrade, *lines, body=body))
    assert_refused(client, status)


@pytest.mark.parametrize("connection", [b"close", b"keep-alive"])
def test_transfer_encoding_in_http_1_0(client: Peer, connection: bytes) -> None:
    client.send(
        request(
            b"POST / HTTP/1.0", b"Host: a", b"Connection: " + connection, TE + b"chunked",
            body=b"0\r\n\r\n" + get(),
        )
    )  # fmt: skip
    assert_refused(client, 400)


@pytest.mark.parametrize("fault", [b"Host: x/y", b"Host: a", b"Bad Name: x"])
def test_an_unknown_coding_does_not_hide_another_fault(client: Peer, fault: bytes) -> None:
    """Both libraries refuse the coding or neither does: the answer is the same."""
    client.send(post(TE + b"gzip, chunked", fault))
    assert_refused(client, 501 if fault.startswith(b"Bad") else 400)


@pytest.mark.parametrize(
    "body",
    [
        b"\r\n",
        b" 5\r\nhello\r\n",
        b"5 \r\nhello\r\n",
        b"5\t\r\nhello\r\n",
        b"+5\r\nhello\r\n",
        b"-5\r\nhello\r\n",
        b"0x5\r\nhello\r\n",
        b"1_0\r\nhello\r\n",
        b"g\r\n",
        b"5g\r\nhello\r\n",
        b"\xd9\xa5\r\nhello\r\n",
        b";a=b\r\n",
        b"0" * 16 + b"5\r\nhello\r\n",
        b"F" * 17 + b"\r\n",
        b"5\nhello\r\n",
        b"5\rhello\r\n",
        b"5\r\r\nhello\r\n",
        b"5\r\nhello\n0\r\n\r\n",
        b"5\r\nhello\r0\r\n\r\n",
        b"5\r\nhelloo\r\n",
        b"5\r\nhello0\r\n\r\n",
        b"5;\r\nhello\r\n",
        b"5;;a\r\nhello\r\n",
        b"5;a=\r\nhello\r\n",
        b"5;a b\r\nhello\r\n",
        b'5;a="b\r\nhello\r\n',
        b"5;a\nb\r\nhello\r\n",
        b"5;a\rb\r\nhello\r\n",
        b"5;a=\x00\r\nhello\r\n",
        b"5;a=\x7f\r\nhello\r\n",
        b"5;" + b"a" * 1023 + b"\r\nhello\r\n",
        b"5;" + b"a" * 5000,
        (b"1;" + b"a" * 1000 + b"\r\nx\r\n") * 20,
        b"0\r\nno colon\r\n\r\n",
        b"0\r\n: empty\r\n\r\n",
        b"0\r\nX : y\r\n\r\n",
        b"0\r\n X: y\r\n\r\n",
        b"0\r\nX: y\r\n z\r\n\r\n",
        b"0\r\nX: y\n\r\n\r\n",
        b"0\r\nX: y\rz\r\n\r\n",
        b"0\r\nX: \x00\r\n\r\n",
        b"0\r\nX: \x7f\r\n\r\n",
        b"0\r\nX\xe9: y\r\n\r\n",
        b"0\n\r\n\r\n",
    ],
)
def test_malformed_chunked_bodies(client: Peer, body: bytes) -> None:
    client.send(chunked_post(body + get(b"/smuggled")))
    assert_body_fault(client, 400)


def test_an_extension_of_the_permitted_length(client: Peer) -> None:
    client.send(chunked_post(b"5;" + b"a" * 1022 + b"\r\nhello\r\n0\r\n\r\n"))
    assert (client.body, client.body_complete) == (b"hello", True)


def test_endless_trailers_are_431(connect: Callable[[Limits], Peer]) -> None:
    client = connect(Limits(max_head_size=4096))
    client.send(chunked_post(b"0\r\n" + b"X: y\r\n" * 700))
    assert_body_fault(client, 431)


def test_a_body_fault_after_the_response_has_begun_cuts_it_short(client: Peer) -> None:
    client.send(chunked_post(b""))
    client.start()
    client.data(1, b"part")
    client.send(b"ZZ\r\n")
    assert client.take().endswith(b"4\r\npart\r\n")
    assert client.lingers


def test_a_body_fault_after_the_response_only_closes(client: Peer) -> None:
    client.send(chunked_post(b""))
    client.answer()
    client.send(b"ZZ\r\n" + get())
    assert [type(e) for e in client.events] == [RequestReceived]
    assert client.lingers
