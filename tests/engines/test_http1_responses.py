"""What the server writes: heads, framing of bodies, interim responses, tunnels."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from hyperserver.errors import LocalProtocolError
from hyperserver.protocol.events import (
    DataReceived,
    Headers,
    InputClosed,
    RequestReceived,
    StreamWritable,
)
from hyperserver.protocol.fields import response_fields
from hyperserver.protocol.h1.connection import HTTP1Connection
from hyperserver.protocol.interface import HIGH_WATER, ByteConnection, Limits, ResponseDefaults
from hyperserver.protocol.negotiate import choose_engines, open_http1
from tests.engines.playbook import OK, OK_CLOSE, Peer, get, post, request, sized_post

DATE = b"Sun, 06 Nov 1994 08:49:37 GMT"
LENGTH_2 = (b"content-length", b"2")


def asked(peer: Peer, line: bytes = b"GET / HTTP/1.1", *fields: bytes) -> Peer:
    """``peer`` after it sent one request."""
    peer.send(request(line, b"Host: a", *fields))
    return peer


# ---- heads --------------------------------------------------------------------------------


def test_date_and_server_come_from_the_defaults_unless_the_application_sets_them(
    engine: str,
) -> None:
    defaults = ResponseDefaults(b"s", b"Sun, 06 Nov 1994 08:49:37 GMT")
    peer = Peer(engine)
    peer.connection = open_http1(choose_engines(engine), Limits(), defaults, "http", 0.0)
    peer.send(get())
    peer.answer(1)
    assert peer.take() == (
        b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n"
        b"date: Sun, 06 Nov 1994 08:49:37 GMT\r\nserver: s\r\n\r\n"
    )
    peer.send(get())
    peer.start(3, 204, (b"server", b"mine"), (b"date", b"never"), end=True)
    assert peer.take() == b"HTTP/1.1 204 No Content\r\nserver: mine\r\ndate: never\r\n\r\n"


def test_more_fields_of_a_listener_unless_the_application_sets_them(engine: str) -> None:
    more = [(b"strict-transport-security", b"max-age=1"), (b"alt-svc", b"clear")]
    peer = Peer(engine)
    defaults = ResponseDefaults(None, None, more)
    peer.connection = open_http1(choose_engines(engine), Limits(), defaults, "https", 0.0)
    lines = b"strict-transport-security: max-age=1\r\nalt-svc: clear\r\n"
    peer.send(get())
    peer.answer(1)
    assert peer.take() == b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n" + lines + b"\r\n"
    peer.send(get())
    peer.start(3, 204, end=True)
    assert peer.take() == b"HTTP/1.1 204 No Content\r\n" + lines + b"\r\n"
    peer.send(get())
    own = (b"strict-transport-security", b"max-age=0")
    peer.start(5, 200, own, (b"content-length", b"0"), (b"server", b"mine"), end=True)
    assert peer.take() == (
        b"HTTP/1.1 200 OK\r\nstrict-transport-security: max-age=0\r\ncontent-length: 0\r\n"
        b"server: mine\r\nalt-svc: clear\r\n\r\n"
    )
    peer.send(b"GET / HTTP/1.1\r\n\r\n")
    refusal = peer.take()
    assert refusal.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert lines in refusal


def test_any_field_may_be_one_of_them(engine: str) -> None:
    """Also one of which responses were sent before anybody was looking out for it."""
    name = b"x-added-by-" + engine.encode()
    for _ in range(3):
        assert not response_fields([(name, b"mine"), (b"content-length", b"0")]).steers
    defaults = ResponseDefaults(b"s", DATE, [(name, b"theirs"), (b"x-other", b"a, b")])
    peer = Peer(engine)
    peer.connection = open_http1(choose_engines(engine), Limits(), defaults, "https", 0.0)
    date = b"date: " + DATE + b"\r\nserver: s\r\n"
    for stream_id in (1, 3):
        peer.send(get())
        peer.start(stream_id, 200, (name, b"mine"), (b"content-length", b"0"), end=True)
        assert peer.take() == (
            b"HTTP/1.1 200 OK\r\n%b: mine\r\ncontent-length: 0\r\n%bx-other: a, b\r\n\r\n"
            % (name, date)
        )
    peer.send(get(b"/", b"Connection: upgrade", b"Upgrade: websocket"))
    peer.connection.accept_tunnel(5, [(b"server", b"mine"), (b"x-other", b"mine")])
    peer.drain()
    assert peer.take() == (
        b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
        b"server: mine\r\nx-other: mine\r\ndate: %b\r\n%b: theirs\r\n\r\n" % (DATE, name)
    )


@pytest.mark.parametrize(
    ("status", "line"),
    [(404, b"HTTP/1.1 404 Not Found"), (299, b"HTTP/1.1 299 "), (999, b"HTTP/1.1 999 ")],
)
def test_status_lines(peer: Peer, status: int, line: bytes) -> None:
    asked(peer).start(1, status, (b"content-length", b"0"), end=True)
    assert peer.take() == line + b"\r\ncontent-length: 0\r\n\r\n"


def test_fields_keep_their_order_and_repeats(peer: Peer) -> None:
    asked(peer).start(
        1, 200, (b"set-cookie", b"a"), LENGTH_2, (b"x", b""), (b"set-cookie", b"b"), end=False
    )
    assert peer.take() == (
        b"HTTP/1.1 200 OK\r\nset-cookie: a\r\ncontent-length: 2\r\nx: \r\nset-cookie: b\r\n\r\n"
    )


@pytest.mark.parametrize("value", [b"close", b"Close", b"x, close"])
def test_the_application_may_close(peer: Peer, value: bytes) -> None:
    asked(peer).start(1, 200, (b"connection", value), (b"content-length", b"0"), end=True)
    assert peer.take() == OK_CLOSE
    assert peer.lingers


def test_connection_fields_are_the_servers(peer: Peer) -> None:
    asked(peer).start(
        1,
        200,
        (b"connection", b"keep-alive, x"),
        (b"keep-alive", b"timeout=5"),
        (b"transfer-encoding", b"gzip, chunked"),
        (b"content-length", b"0"),
        end=True,
    )
    assert peer.take() == OK


# ---- bodies -------------------------------------------------------------------------------


def test_a_sized_response(peer: Peer) -> None:
    asked(peer).start(1, 200, LENGTH_2)
    peer.data(1, b"h")
    peer.data(1, b"")
    peer.data(1, b"i", end=True)
    assert peer.take() == b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"
    assert peer.send(get()) == [
        RequestReceived(3, "GET", b"/", [(b"host", b"a")], "1.1", "http", b"a", None, True)
    ]


def test_a_chunked_response(peer: Peer) -> None:
    asked(peer).start()
    peer.data(1, b"hello")
    peer.data(1, b"")  # an empty chunk would end the body
    peer.data(1, b"x" * 17, end=True)
    assert peer.take() == (
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
        b"5\r\nhello\r\n11\r\n" + b"x" * 17 + b"\r\n0\r\n\r\n"
    )
    assert not peer.connection.output_finished


def test_a_chunked_response_without_content(peer: Peer) -> None:
    asked(peer).start(end=True)
    assert peer.take() == b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"


@pytest.mark.parametrize("connection", [b"close", b"keep-alive"])
def test_http_1_0_never_gets_chunks(peer: Peer, connection: bytes) -> None:
    asked(peer, b"GET / HTTP/1.0", b"Connection: " + connection).start()
    peer.data(1, b"hello")
    peer.connection.send_trailers(1, [(b"x", b"y")])
    assert peer.take() == b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nhello"
    assert peer.lingers


@pytest.mark.parametrize(
    ("line", "status", "sent", "written"),
    [
        (b"HEAD / HTTP/1.1", 200, LENGTH_2, b"content-length: 2\r\n"),
        (b"HEAD / HTTP/1.1", 200, None, b""),
        (b"GET / HTTP/1.1", 204, LENGTH_2, b""),
        (b"GET / HTTP/1.1", 204, None, b""),
        (b"GET / HTTP/1.1", 304, LENGTH_2, b"content-length: 2\r\n"),
        (b"GET / HTTP/1.1", 304, None, b""),
    ],
)
def test_responses_without_a_body_stay_without(
    peer: Peer, line: bytes, status: int, sent: tuple[bytes, bytes] | None, written: bytes
) -> None:
    fields = [sent] if sent else []
    asked(peer, line).start(1, status, *fields)
    peer.data(1, b"hi")
    peer.data(1, b"", end=True)
    head = {200: b"200 OK", 204: b"204 No Content", 304: b"304 Not Modified"}[status]
    assert peer.take() == b"HTTP/1.1 " + head + b"\r\n" + written + b"\r\n"
    peer.send(get())
    peer.answer(3)
    assert peer.take() == OK


def test_head_over_http_1_0_can_keep_alive(peer: Peer) -> None:
    asked(peer, b"HEAD / HTTP/1.0", b"Connection: keep-alive").start(end=True)
    assert peer.take() == b"HTTP/1.1 200 OK\r\nconnection: keep-alive\r\n\r\n"


def test_trailers_follow_the_last_chunk(peer: Peer) -> None:
    asked(peer).start()
    peer.data(1, b"hi")
    peer.connection.send_trailers(1, [(b"x-sum", b"1"), (b"x", b"")])
    assert peer.take().endswith(b"2\r\nhi\r\n0\r\nx-sum: 1\r\nx: \r\n\r\n")
    peer.send(get())
    peer.answer(3)
    assert peer.take() == OK


def test_empty_trailers_are_an_ordinary_end(peer: Peer) -> None:
    asked(peer).start()
    peer.connection.send_trailers(1, [])
    assert peer.take().endswith(b"\r\n\r\n0\r\n\r\n")


@pytest.mark.parametrize("line", [b"GET / HTTP/1.1", b"HEAD / HTTP/1.1"])
def test_trailers_are_dropped_where_the_framing_has_none(peer: Peer, line: bytes) -> None:
    asked(peer, line).start(1, 200, (b"content-length", b"0"))
    peer.connection.send_trailers(1, [(b"x-sum", b"1")])
    assert peer.take() == OK


# ---- output buffers -----------------------------------------------------------------------


def test_a_ready_response_is_one_write(peer: Peer) -> None:
    peer.send(get())
    peer.connection.send_headers(1, 200, [LENGTH_2])
    peer.connection.send_data(1, b"hi", True)
    assert peer.connection.buffered(1) == len(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi")
    assert peer.connection.data_to_send().endswith(b"\r\n\r\nhi")
    assert peer.connection.data_to_send() == b""
    assert peer.connection.buffered(1) == 0


def test_a_large_body_is_handed_out_uncopied(peer: Peer) -> None:
    large = b"x" * HIGH_WATER
    peer.send(get())
    peer.connection.send_headers(1, 200, [])
    peer.connection.send_data(1, large, True)
    writes = list(iter(peer.connection.data_to_send, b""))
    assert any(write is large for write in writes)
    assert b"".join(writes).endswith(b"\r\n\r\n10000\r\n" + large + b"\r\n0\r\n\r\n")


@pytest.mark.parametrize(
    "sizes", [[HIGH_WATER], [HIGH_WATER * 2, 5], [60_000, 60_000], [1, HIGH_WATER, 1], [100] * 700]
)
@pytest.mark.parametrize("length", [None, b"1000000"])
def test_falling_below_high_water_is_reported_once(
    peer: Peer, sizes: list[int], length: bytes | None
) -> None:
    peer.send(get())
    peer.connection.events()
    peer.connection.send_headers(1, 200, [(b"content-length", length)] if length else [])
    for size in sizes:
        peer.connection.send_data(1, b"x" * size)
    assert peer.connection.buffered(1) >= HIGH_WATER
    reported = []
    while peer.connection.data_to_send():
        reported += [
            (e, peer.connection.buffered(1) < HIGH_WATER) for e in peer.connection.events()
        ]
    assert reported == [(StreamWritable(1), True)]


@pytest.mark.parametrize("whole", [True, False])
def test_a_response_that_has_ended_is_reported_too(peer: Peer, whole: bool) -> None:
    """Its application may wait for room after the last of it."""
    body = b"x" * (HIGH_WATER + 1)
    peer.send(get())
    peer.connection.events()
    if whole:
        peer.connection.send_response(1, 200, [], body)
    else:
        peer.connection.send_headers(1, 200, [])
        peer.connection.send_data(1, body, True)
    reported = []
    while peer.connection.data_to_send():
        reported += peer.connection.events()
    assert reported == [StreamWritable(1)]


def requests_in(connection: ByteConnection) -> list[int]:
    return [e.stream_id for e in connection.events() if isinstance(e, RequestReceived)]


@pytest.mark.parametrize("size", [10, 1000, 30_000, 200_000])
@pytest.mark.parametrize("closes", [False, True])
def test_who_asks_without_reading_is_not_answered_without_end(
    peer: Peer, size: int, closes: bool
) -> None:
    total = max(10, min(1000, 1_000_000 // size))
    connection = peer.connection
    connection.receive_data(get() * (total - 1), peer.now)
    connection.receive_data(get(b"/", b"Connection: close") if closes else get(), peer.now)
    answered: list[int] = []
    largest = 0
    output = b""
    while len(answered) < total:
        while asked := requests_in(connection):
            for stream_id in asked:
                connection.send_response(stream_id, 200, [], bytes(size))
                largest = max(largest, connection.buffered(stream_id))
            answered += asked
        data = connection.data_to_send()
        assert data
        output += data
    assert answered == list(range(1, 2 * total, 2))
    assert largest < HIGH_WATER + size + 1000
    output += peer.take()
    assert output.count(b"HTTP/1.1 200 OK\r\n") == total
    assert output.count(bytes(size)) == total
    assert connection.output_finished == closes


def test_what_waits_for_its_turn_is_bounded(peer: Peer) -> None:
    connection = peer.connection
    connection.receive_data(get(), peer.now)
    assert requests_in(connection) == [1]
    connection.send_response(1, 200, [], bytes(2 * HIGH_WATER))
    assert connection.wants_data
    connection.receive_data(get() * 4000, peer.now)
    assert not connection.wants_data
    assert requests_in(connection) == []
    while connection.data_to_send():
        pass
    assert requests_in(connection) == [3]


@pytest.mark.parametrize("pipelined", [False, True])
def test_half_closing_while_waiting_for_its_turn(peer: Peer, pipelined: bool) -> None:
    connection = peer.connection
    connection.receive_data(get() * (1 + pipelined), peer.now)
    connection.send_response(1, 200, [], bytes(2 * HIGH_WATER))
    assert requests_in(connection) == [1]
    connection.receive_eof(peer.now)
    assert not connection.output_finished
    output = peer.take()
    if pipelined:
        assert not connection.output_finished
        assert peer.requests[-1].stream_id == 3
        connection.send_response(3, 200, [], b"2")
        assert peer.take().endswith(b"\r\n1\r\n2\r\n0\r\n\r\n")
    assert len(output) > 2 * HIGH_WATER
    assert connection.output_finished


def test_shutdown_while_waiting_for_its_turn(peer: Peer) -> None:
    """The answer leaves; it has told the client that the connection stays, so a request may come."""
    connection = peer.connection
    connection.receive_data(get() * 2, peer.now)
    connection.send_response(1, 200, [], bytes(2 * HIGH_WATER))
    assert requests_in(connection) == [1]
    connection.shutdown()
    assert len(peer.take()) > 2 * HIGH_WATER
    assert peer.requests[-1].stream_id == 3
    connection.send_response(3, 200, [], b"2")
    assert b"connection: close" in peer.take()
    assert connection.output_finished


# ---- 1xx ----------------------------------------------------------------------------------


def test_100_continue_is_sent_once_and_when_asked(client: Peer) -> None:
    client.send(post(b"Expect: 100-Continue", b"Content-Length: 2"))
    assert client.take() == b""
    client.connection.send_informational(1, 100, [])
    client.connection.send_informational(1, 100, [])
    assert client.take() == b"HTTP/1.1 100 Continue\r\n\r\n"
    client.send(b"hi")
    client.answer()
    assert client.take() == OK


def test_no_100_once_the_body_has_begun_to_come(peer: Peer) -> None:
    peer.send(post(b"Expect: 100-continue", b"Content-Length: 2", body=b"h"))
    peer.connection.send_informational(1, 100, [])
    assert peer.take() == b""
    peer.send(b"i")
    peer.answer()
    assert peer.take() == OK


@pytest.mark.parametrize("fields", [[], [b"Expect: 100-continue"]])
def test_no_100_to_a_request_without_a_body(peer: Peer, fields: list[bytes]) -> None:
    peer.send(get(b"/", *fields))
    peer.connection.send_informational(1, 100, [])
    peer.answer()
    assert peer.take() == OK


def test_no_100_after_the_response_has_begun(peer: Peer) -> None:
    peer.send(post(b"Expect: 100-continue", b"Content-Length: 2"))
    peer.start(1, 200, LENGTH_2)
    peer.take()
    peer.connection.send_informational(1, 100, [])
    assert peer.take() == b""


def test_an_answer_in_place_of_100_closes(peer: Peer) -> None:
    """The client may send the body or not, so what follows cannot be told apart."""
    peer.send(post(b"Expect: 100-continue", b"Content-Length: 2"))
    peer.answer()
    assert peer.take() == OK_CLOSE
    peer.send(b"hi" + get(b"/smuggled"))
    assert len(peer.requests) == 1
    assert peer.lingers


def test_early_hints(peer: Peer) -> None:
    asked(peer)
    peer.connection.send_informational(1, 103, [(b"link", b"<x>"), (b"link", b"<y>")])
    peer.connection.send_informational(1, 103, [])
    peer.answer()
    hints = b"HTTP/1.1 103 Early Hints\r\nlink: <x>\r\nlink: <y>\r\n\r\n"
    assert peer.take() == hints + b"HTTP/1.1 103 Early Hints\r\n\r\n" + OK


def test_http_1_0_gets_no_interim_response(peer: Peer) -> None:
    asked(peer, b"GET / HTTP/1.0")
    peer.connection.send_informational(1, 103, [(b"link", b"<x>")])
    assert peer.take() == b""


def test_no_push_over_http_1(peer: Peer) -> None:
    assert asked(peer).connection.push_stream(1, b"/style.css", []) is None
    assert peer.take() == b""


# ---- tunnels ------------------------------------------------------------------------------


def tunnel(peer: Peer, early: bytes = b"") -> Peer:
    peer.send(get(b"/", b"Connection: upgrade", b"Upgrade: websocket") + early)
    peer.connection.accept_tunnel(1, [(b"sec-websocket-accept", b"x")])
    peer.drain()
    return peer


def test_accepting_a_tunnel_is_101_and_raw_both_ways(client: Peer) -> None:
    tunnel(client)
    assert client.take() == (
        b"HTTP/1.1 101 Switching Protocols\r\n"
        b"connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: x\r\n\r\n"
    )
    assert client.send(b"GET / HTTP/1.1\r\n\r\n") == [
        DataReceived(1, b"GET / HTTP/1.1\r\n\r\n", False)
    ]
    client.data(1, b"\x81\x00")
    assert client.take() == b"\x81\x00"


def test_bytes_that_came_before_the_acceptance_flow_into_the_tunnel(client: Peer) -> None:
    tunnel(client, early=b"early")
    assert client.body == b"early"


def test_the_end_of_a_tunnels_input(peer: Peer) -> None:
    assert tunnel(peer).eof() == [DataReceived(1, b"", True)]
    peer.data(1, b"bye", end=True)
    assert peer.take().endswith(b"bye")
    assert peer.connection.is_closed


def test_a_tunnel_accepted_after_half_close_has_ended(peer: Peer) -> None:
    peer.send(get() + b"early")
    assert peer.eof() == [InputClosed(1)]
    peer.connection.accept_tunnel(1, [])
    peer.drain()
    assert peer.body == b"early"
    assert peer.body_complete


def test_ending_a_tunnel_half_closes(peer: Peer) -> None:
    tunnel(peer).data(1, b"bye", end=True)
    assert peer.lingers
    assert peer.send(b"late") == []


def test_a_tunnel_has_backpressure(peer: Peer) -> None:
    tunnel(peer).send(b"x" * HIGH_WATER)
    assert not peer.connection.wants_data
    peer.connection.acknowledge(1, 1)
    assert peer.connection.wants_data


def test_a_tunnel_has_no_deadline(peer: Peer) -> None:
    tunnel(peer).wait(1e9)
    assert not peer.connection.is_closed


# ---- misuse -------------------------------------------------------------------------------

HEADERS = [LENGTH_2]
Misuse = Callable[[Peer], None]


def raises(peer: Peer, misuse: Misuse) -> None:
    """Misuse raises and changes nothing."""
    before = (peer.take(), len(peer.events), peer.connection.output_finished)
    with pytest.raises(LocalProtocolError):
        misuse(peer)
    assert (b"", *before[1:]) == (peer.take(), len(peer.events), peer.connection.output_finished)


COMMANDS: list[Misuse] = [
    lambda p: p.connection.send_headers(1, 200, HEADERS),
    lambda p: p.connection.send_data(1, b"hi"),
    lambda p: p.connection.send_trailers(1, []),
    lambda p: p.connection.send_informational(1, 103, []),
    lambda p: p.connection.accept_tunnel(1, []),
]


@pytest.mark.parametrize("command", COMMANDS)
def test_nothing_can_be_sent_before_a_request(peer: Peer, command: Misuse) -> None:
    raises(peer, command)
    peer.send(get()[:10])
    raises(peer, command)


@pytest.mark.parametrize("command", COMMANDS)
def test_nothing_can_be_sent_after_the_end(peer: Peer, command: Misuse) -> None:
    asked(peer).answer(1)
    raises(peer, command)
    peer.send(get())  # the stream that is open now is another
    raises(peer, command)


@pytest.mark.parametrize("command", COMMANDS)
def test_nothing_can_be_sent_on_a_closed_connection(peer: Peer, command: Misuse) -> None:
    peer.send(sized_post(b"hello")[:-1])
    peer.eof()
    raises(peer, command)


@pytest.mark.parametrize("command", COMMANDS)
def test_nothing_can_be_sent_after_a_fault(peer: Peer, command: Misuse) -> None:
    peer.send(post(b"Transfer-Encoding: chunked", body=b"ZZ\r\n"))
    raises(peer, command)


@pytest.mark.parametrize("command", COMMANDS[1:3])
def test_no_body_before_the_head(peer: Peer, command: Misuse) -> None:
    raises(asked(peer), command)


@pytest.mark.parametrize("command", [COMMANDS[0], COMMANDS[3], COMMANDS[4]])
def test_no_second_head(peer: Peer, command: Misuse) -> None:
    asked(peer).start(1, 200, LENGTH_2)
    raises(peer, command)


@pytest.mark.parametrize("status", [100, 101, 103, 199])
def test_a_final_response_is_not_1xx(peer: Peer, status: int) -> None:
    raises(asked(peer), lambda p: p.connection.send_headers(1, status, []))


@pytest.mark.parametrize("status", [99, 101, 200, 404])
def test_an_interim_response_is_1xx_but_not_101(peer: Peer, status: int) -> None:
    raises(asked(peer), lambda p: p.connection.send_informational(1, status, []))


def test_no_tunnel_while_a_body_is_coming(peer: Peer) -> None:
    peer.send(sized_post(b"hello")[:-1])
    raises(peer, lambda p: p.connection.accept_tunnel(1, []))


def test_a_stale_100_does_not_answer_the_next_request(peer: Peer) -> None:
    asked(peer).answer(1)
    peer.send(post(b"Expect: 100-continue", b"Content-Length: 2"))
    raises(peer, lambda p: p.connection.send_informational(1, 100, []))
    peer.connection.send_informational(3, 100, [])
    assert peer.take() == b"HTTP/1.1 100 Continue\r\n\r\n"


# ---- bytes that go another way -------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "headers", "before", "after"),
    [
        (b"GET / HTTP/1.1", [], b"7\r\n", b"\r\n0\r\n\r\n"),
        (b"GET / HTTP/1.1", [(b"content-length", b"7")], b"", b""),
        (b"GET / HTTP/1.0", [], b"", b""),
    ],
    ids=["chunks", "length", "close"],
)
def test_bytes_that_go_around_are_framed(
    peer: Peer, line: bytes, headers: Headers, before: bytes, after: bytes
) -> None:
    asked(peer, line)
    connection = peer.connection
    assert isinstance(connection, HTTP1Connection)
    peer.start(1, 200, *headers)
    peer.take()
    connection.send_around(1, 7)
    assert peer.take() == before
    connection.send_around(1, 0)
    peer.data(1, b"", end=True)
    assert peer.take() == after


def test_nothing_goes_around_out_of_turn(peer: Peer) -> None:
    asked(peer)
    connection = peer.connection
    assert isinstance(connection, HTTP1Connection)
    raises(peer, lambda _: connection.send_around(1, 7))
    peer.answer(1)
    raises(peer, lambda _: connection.send_around(1, 7))
