"""What a client may send, and what the application then sees of it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from hyperserver.protocol.events import (
    DataReceived,
    Headers,
    RequestReceived,
    TrailersReceived,
)
from hyperserver.protocol.interface import Limits
from tests.engines.playbook import (
    OK,
    OK_CLOSE,
    Peer,
    assert_body_fault,
    assert_refused,
    chunked_post,
    get,
    post,
    request,
    sized_post,
)

HOST_A: Headers = [(b"host", b"a")]


def test_a_plain_get_is_one_event(client: Peer) -> None:
    client.send(get(b"/p%20q?x=1?y"))
    assert client.events == [
        RequestReceived(
            stream_id=1,
            method="GET",
            target=b"/p%20q?x=1?y",
            headers=[(b"host", b"a")],
            http_version="1.1",
            scheme="http",
            authority=b"a",
            protocol=None,
            end_stream=True,
        )
    ]
    assert client.take() == b""


def test_fields_keep_order_and_repeats_with_lower_case_names_and_trimmed_values(
    client: Peer,
) -> None:
    client.send(
        get(b"/", b"X-B: 1", b"x-a:  two words\t ", b"X-b:2", b"X-Empty:", b"X-Blank: \t ",
            b"X-Text: \xe9\xff", b"!#$%&'*+-.^_`|~9: tchar")
    )  # fmt: skip
    assert client.requests[0].headers == [
        (b"host", b"a"),
        (b"x-b", b"1"),
        (b"x-a", b"two words"),
        (b"x-b", b"2"),
        (b"x-empty", b""),
        (b"x-blank", b""),
        (b"x-text", b"\xe9\xff"),
        (b"!#$%&'*+-.^_`|~9", b"tchar"),
    ]


def test_inner_white_space_of_a_value_is_untouched(client: Peer) -> None:
    client.send(get(b"/", b"X: a \t  b"))
    assert client.requests[0].headers[1] == (b"x", b"a \t  b")


@pytest.mark.parametrize("fields", [[b"Content-Length: 100000"], [b"Transfer-Encoding: chunked"]])
def test_content_that_comes_alone_is_not_copied(engine: str, fields: list[bytes]) -> None:
    """For a large upload, copies are most of what it costs."""
    peer = Peer(engine)
    peer.send(post(*fields, body=b"186a0\r\n" if b"chunked" in fields[0] else b""))
    content = b"x" * 60_000
    (event,) = peer.send(content)
    assert isinstance(event, DataReceived)
    assert event.data is content
    assert not event.end_stream


@pytest.mark.parametrize("method", ["GET", "PUT", "TRACE", "BREW", "get", "M-SEARCH", "!~", "PRI"])
def test_any_token_is_a_method_in_its_own_case(client: Peer, method: str) -> None:
    client.send(request(method.encode() + b" / HTTP/1.1", b"Host: a"))
    assert [r.method for r in client.requests] == [method]


@pytest.mark.parametrize(
    ("version", "seen"), [(b"1.0", "1.0"), (b"1.1", "1.1"), (b"1.2", "1.1"), (b"1.9", "1.1")]
)
def test_a_higher_minor_version_is_served_as_1_1(client: Peer, version: bytes, seen: str) -> None:
    client.send(request(b"GET / HTTP/" + version, b"Host: a"))
    assert [r.http_version for r in client.requests] == [seen]


def test_http_1_0_needs_no_host(client: Peer) -> None:
    client.send(request(b"GET / HTTP/1.0"))
    (received,) = client.requests
    assert (received.authority, received.headers) == (b"", [])


# ---- targets and authorities --------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "target", "authority"),
    [
        (b"GET http://b/x?y HTTP/1.1", b"/x?y", b"b"),
        (b"GET HTTP://b:80 HTTP/1.1", b"/", b"b:80"),
        (b"GET https://b?q HTTP/1.1", b"/?q", b"b"),
        (b"GET http://[::1]:8000/ HTTP/1.1", b"/", b"[::1]:8000"),
        (b"OPTIONS http://b HTTP/1.1", b"*", b"b"),
        (b"OPTIONS http://b/ HTTP/1.1", b"/", b"b"),
    ],
)
def test_absolute_form_is_split_and_its_authority_replaces_host(
    client: Peer, line: bytes, target: bytes, authority: bytes
) -> None:
    client.send(request(line, b"X: 1", b"Host: a"))
    (received,) = client.requests
    assert (received.target, received.authority) == (target, authority)
    assert received.headers == [(b"host", authority), (b"x", b"1")]


def test_absolute_form_gives_an_old_request_its_host(client: Peer) -> None:
    client.send(request(b"GET http://b/ HTTP/1.0"))
    assert client.requests[0].headers == [(b"host", b"b")]


@pytest.mark.parametrize("target", [b"//x", b"/../%2e%00", b"/a;b=c|d^{}", b"/http://x/", b"/?"])
def test_origin_form_is_never_normalised(client: Peer, target: bytes) -> None:
    client.send(get(target))
    assert client.requests[0].target == target


def test_options_star(client: Peer) -> None:
    client.send(request(b"OPTIONS * HTTP/1.1", b"Host: a"))
    assert client.requests[0].target == b"*"


@pytest.mark.parametrize(
    "host", [b"", b"a", b"A.Example", b"a:", b"a:8080", b"127.0.0.1", b"[::1]:1", b"a_b", b"%41"]
)
def test_valid_hosts(client: Peer, host: bytes) -> None:
    client.send(request(b"GET / HTTP/1.1", b"Host: " + host))
    assert [r.authority for r in client.requests] == [host]


# ---- bodies -------------------------------------------------------------------------------


def test_a_sized_body(client: Peer) -> None:
    events = client.send(sized_post(b"hello\r\n\x00"))
    assert not client.requests[0].end_stream
    assert events[1:] == [DataReceived(1, b"hello\r\n\x00", True)]


@pytest.mark.parametrize("length", [b"0", b"000", b"\t0 \t"])
def test_a_body_of_length_zero_is_no_body(client: Peer, length: bytes) -> None:
    client.send(post(b"Content-Length: " + length))
    assert [r.end_stream for r in client.requests] == [True]


def test_content_length_with_leading_zeros(client: Peer) -> None:
    client.send(post(b"Content-Length: 002", body=b"hi"))
    assert (client.body, client.body_complete) == (b"hi", True)


@pytest.mark.parametrize(
    "wire",
    [
        b"5\r\nhello\r\n0\r\n\r\n",
        b"1\r\nh\r\n4\r\nello\r\n0\r\n\r\n",
        b"0000000000000005\r\nhello\r\n00\r\n\r\n",
        b"5;a\r\nhello\r\n0;last=1\r\n\r\n",
        b'5 ; a = b;c="\\"q;\t" ;d\r\nhello\r\n0\r\n\r\n',
    ],
)
def test_chunked_bodies(client: Peer, wire: bytes) -> None:
    client.send(chunked_post(wire))
    assert (client.body, client.body_complete) == (b"hello", True)
    client.answer()
    assert client.take() == OK


def test_chunk_sizes_are_hexadecimal_in_either_case(client: Peer) -> None:
    client.send(chunked_post(b"a\r\n0123456789\r\nB\r\n0123456789a\r\n0\r\n\r\n"))
    assert client.body == b"01234567890123456789a"


def test_an_empty_chunked_body_ends_with_an_event(client: Peer) -> None:
    events = client.send(chunked_post(b"0\r\n\r\n"))
    assert not client.requests[0].end_stream
    assert events[1:] == [DataReceived(1, b"", True)]


@pytest.mark.parametrize("coding", [b"chunked", b"Chunked", b"\tCHUNKED \t"])
def test_the_chunked_coding_in_any_spelling(client: Peer, coding: bytes) -> None:
    client.send(post(b"Transfer-Encoding: " + coding, body=b"2\r\nhi\r\n0\r\n\r\n"))
    assert (client.body, client.body_complete) == (b"hi", True)


def test_request_trailers_end_the_stream(client: Peer) -> None:
    events = client.send(chunked_post(b"2\r\nhi\r\n0\r\nX-Sum: 1 \r\nx-sum:2\r\n\r\n"))
    assert events[1:] == [
        DataReceived(1, b"hi", False),
        TrailersReceived(1, [(b"x-sum", b"1"), (b"x-sum", b"2")]),
    ]


@pytest.mark.parametrize(
    "name", [b"Content-Length", b"Host", b"Transfer-Encoding", b"Authorization", b"Cookie"]
)
def test_trailers_that_would_steer_are_dropped(client: Peer, name: bytes) -> None:
    events = client.send(chunked_post(b"0\r\n" + name + b": 9\r\nX: y\r\n\r\n" + get()))
    assert events[1:] == [TrailersReceived(1, [(b"x", b"y")])]
    client.answer(1)
    assert [r.headers for r in client.requests[1:]] == [HOST_A]


def test_only_dropped_trailers_leave_an_ordinary_end(client: Peer) -> None:
    events = client.send(chunked_post(b"2\r\nhi\r\n0\r\nHost: b\r\n\r\n"))
    assert events[1:] == [DataReceived(1, b"hi", True)]


# ---- keep-alive and pipelining ------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "connection", "kept"),
    [
        (b"1.1", [], True),
        (b"1.1", [b"close"], False),
        (b"1.1", [b"CLOSE"], False),
        (b"1.1", [b"x, Close\t,y"], False),
        (b"1.1", [b"keep-alive, close"], False),
        (b"1.1", [b"keep-alive", b"close"], False),
        (b"1.1", [b"closed, close-not, x"], True),
        (b"1.0", [], False),
        (b"1.0", [b"Keep-Alive"], True),
        (b"1.0", [b"x", b"keep-alive"], True),
        (b"1.0", [b"keep-alive, close"], False),
        (b"1.0", [b"x"], False),
    ],
)
def test_keep_alive(client: Peer, version: bytes, connection: list[bytes], kept: bool) -> None:
    lines = [b"Connection: " + value for value in connection]
    client.send(request(b"GET / HTTP/" + version, b"Host: a", *lines))
    client.answer()
    said = {
        (b"1.1", True): b"",
        (b"1.0", True): b"connection: keep-alive\r\n",
    }.get((version, kept), b"connection: close\r\n")
    assert client.take() == b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n" + said + b"\r\n"
    assert client.lingers != kept
    client.send(get(b"/next"))
    assert len(client.requests) == 1 + kept


@pytest.mark.parametrize("line", [b"Proxy-Connection: close", b"Keep-Alive: timeout=0"])
def test_other_fields_do_not_close(client: Peer, line: bytes) -> None:
    client.send(get(b"/1", line))
    client.answer(1)
    client.send(get(b"/2"))
    client.answer(3)
    assert client.take() == OK + OK


def test_pipelined_requests_wait_their_turn(client: Peer) -> None:
    client.send(get(b"/1") + sized_post(b"two") + chunked_post(b"1\r\n3\r\n0\r\n\r\n") + get(b"/4"))
    assert [r.stream_id for r in client.requests] == [1]
    client.answer(1)
    assert [r.stream_id for r in client.requests] == [1, 3]
    assert client.body == b"two"
    client.answer(3)
    assert client.body == b"two3"
    client.answer(5)
    client.answer(7)
    assert [r.target for r in client.requests] == [b"/1", b"/", b"/", b"/4"]
    assert client.take() == OK * 4


def test_pipelined_requests_are_answered_after_the_client_has_closed(client: Peer) -> None:
    client.send(get(b"/1") + get(b"/2") + get(b"/3"))
    client.eof()
    client.answer(1)
    client.answer(3)
    assert not client.connection.is_closed
    client.answer(5)
    assert client.take() == OK + OK + OK_CLOSE
    assert client.connection.is_closed


def test_nothing_behind_a_closing_request_is_parsed(client: Peer) -> None:
    client.send(get(b"/1", b"Connection: close") + get(b"/2") + b"\x00garbage")
    client.answer()
    client.send(get(b"/3"))
    assert client.take() == OK_CLOSE
    assert [r.target for r in client.requests] == [b"/1"]


def test_a_pipelined_fault_is_answered_after_the_good_request(client: Peer) -> None:
    client.send(get(b"/1") + b"GARBAGE\r\n\r\n" + get(b"/3"))
    assert client.take() == b""
    client.answer()
    assert client.take().startswith(OK + b"HTTP/1.1 400 ")
    assert [r.target for r in client.requests] == [b"/1"]
    assert client.lingers


@pytest.mark.parametrize("lines", [1, 2, 4])
def test_a_few_empty_lines_before_a_request_are_skipped(client: Peer, lines: int) -> None:
    client.send(b"\r\n" * lines + get(b"/1"))
    client.answer(1)
    client.send(b"\r\n" * lines + get(b"/2"))
    client.answer(3)
    assert client.take() == OK + OK


def test_empty_lines_are_counted_for_each_request(peer: Peer) -> None:
    for stream_id in range(1, 21, 2):
        peer.connection.receive_data(b"\r\n" + get(), 1.0)
        peer.connection.send_response(stream_id, 204, [], b"")
    assert len(peer.connection.events()) == 10


# ---- Upgrade and Expect -------------------------------------------------------------------


@pytest.mark.parametrize("protocol", [b"h2c", b"TLS/1.0", b"foo, bar/2"])
def test_an_unknown_upgrade_is_ignored(client: Peer, protocol: bytes) -> None:
    client.send(
        post(
            b"Connection: Upgrade, HTTP2-Settings",
            b"Upgrade: " + protocol,
            b"HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA",
            b"Content-Length: 2",
            body=b"hi",
        )
    )
    assert (client.requests[0].protocol, client.body) == (None, b"hi")
    client.answer(1)
    client.send(get(b"/next"))
    client.answer(3)
    assert client.take() == OK + OK


def test_expect_is_ignored_in_http_1_0(client: Peer) -> None:
    client.send(
        request(
            b"POST / HTTP/1.0",
            b"Expect: 100-continue",
            b"Connection: keep-alive",
            b"Content-Length: 2",
        )
    )
    client.connection.send_informational(1, 100, [])
    assert client.take() == b""
    client.send(b"hi")
    assert client.body_complete


# ---- limits: what is exactly at the bound is good ------------------------------------------


@pytest.mark.parametrize(("excess", "status"), [(0, None), (1, 414)])
def test_target_size(connect: Callable[[Limits], Peer], excess: int, status: int | None) -> None:
    client = connect(Limits(max_target_size=100))
    client.send(get(b"/" * (100 + excess)))
    served_or_refused(client, status)


@pytest.mark.parametrize(("excess", "status"), [(0, None), (1, 431), (5000, 431)])
def test_head_size(connect: Callable[[Limits], Peer], excess: int, status: int | None) -> None:
    client = connect(Limits(max_head_size=1000))
    head = get(b"/", b"X: ")
    client.send(head.replace(b"X: ", b"X: " + b"x" * (1000 + excess - len(head))))
    served_or_refused(client, status)


@pytest.mark.parametrize(("count", "status"), [(10, None), (11, 431)])
def test_field_count(connect: Callable[[Limits], Peer], count: int, status: int | None) -> None:
    client = connect(Limits(max_fields=10))
    client.send(get(b"/", *[b"X: y"] * (count - 1)))
    served_or_refused(client, status)


def test_a_request_line_without_end_is_refused_before_it_fills_memory(
    connect: Callable[[Limits], Peer],
) -> None:
    client = connect(Limits(max_target_size=100))
    client.send(b"GET /" + b"x" * 1000)
    assert_refused(client, 414)


def test_an_endless_method_is_refused(connect: Callable[[Limits], Peer]) -> None:
    client = connect(Limits(max_target_size=100))
    client.send(request(b"M" * 1000 + b" / HTTP/1.1", b"Host: a"))
    assert_refused(client, 414)


def test_a_head_without_end_is_refused_before_it_fills_memory(
    connect: Callable[[Limits], Peer],
) -> None:
    client = connect(Limits(max_head_size=1000))
    client.send(get(b"/", b"X: " + b"x" * 1000)[:1001])
    assert_refused(client, 431)


def test_a_head_over_the_limit_is_not_judged_by_the_body_behind_it(
    connect: Callable[[Limits], Peer],
) -> None:
    client = connect(Limits(max_head_size=1000))
    client.send(post(b"Content-Length: 2", b"X: " + b"x" * 1000, body=b"\x00\n"))
    assert_refused(client, 431)


@pytest.mark.parametrize(("size", "status"), [(10, None), (11, 413)])
def test_sized_body_limit(connect: Callable[[Limits], Peer], size: int, status: int | None) -> None:
    client = connect(Limits(max_body_size=10))
    client.send(sized_post(b"x" * size))
    served_or_refused(client, status)


def test_chunked_body_limit(connect: Callable[[Limits], Peer]) -> None:
    client = connect(Limits(max_body_size=10))
    client.send(chunked_post(b"5\r\nhello\r\n6\r\nworld!\r\n0\r\n\r\n"))
    assert_body_fault(client, 413)


def served_or_refused(client: Peer, status: int | None) -> None:
    if status is not None:
        assert_refused(client, status)
    else:
        client.answer()
        assert client.take() == OK


# ---- a repeated field section --------------------------------------------------------------


@pytest.mark.parametrize(
    "line", [b"GET http://b/ HTTP/1.1", b"GET / HTTP/1.0", b"OPTIONS * HTTP/1.1"]
)
def test_a_repeated_field_section_means_what_its_request_line_makes_of_it(
    peer: Peer, line: bytes
) -> None:
    section = b"\r\nHost: a\r\n\r\n"
    seen = []
    for request_line in (b"GET / HTTP/1.1", line, b"GET / HTTP/1.1"):
        peer.connection.receive_data(request_line + section, 1.0)
        for event in peer.connection.events():
            assert isinstance(event, RequestReceived)
            seen.append((event.authority, event.http_version, event.headers))
            peer.connection.send_response(event.stream_id, 204, [], b"")
    authority = b"b" if b"http:" in line else b"a"
    assert seen[0] == (b"a", "1.1", [(b"host", b"a")])
    assert seen[1] == (authority, line[-3:].decode(), [(b"host", authority)])
    assert seen[2:] == ([] if line.endswith(b"1.0") else [seen[0]])
