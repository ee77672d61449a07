"""The HTTP half of "HTTP & WebSocket ASGI Message Format" 2.5: what is sent, and the connection."""

from __future__ import annotations

import contextlib
import re
from typing import Any

import pytest

from tests.conformance.peers import (
    HTTP1,
    HTTP2,
    SENT,
    Answer,
    Exchange1,
    Peer,
    Peer1,
    Peer2,
    Served,
    Source,
    Step,
    body,
    must_send,
    refused,
    script_field,
    sends,
    start,
    whole,
)
from tests.e2e.support import PATIENCE, Client
from tests.engines import h2_frames as wire

#: Of a stream whose application has failed.
RESETS = {wire.INTERNAL_ERROR}


def written(
    script: list[Step], *lines: bytes, line: str = "GET / HTTP/1.1", key: str = ""
) -> bytes:
    """A request of HTTP/1 as it is written; ``lines`` are its fields."""
    fields = [b"%s: %s" % one for one in script_field(script, key)]
    return b"\r\n".join([line.encode(), *lines, *fields, b"", b""])


def exchange(client: Client, data: bytes, method: str = "GET") -> Answer:
    client.send(data)
    return Exchange1(client, method).answer()


def nothing_has_come(peer: Peer, stream_id: int = 1) -> bool:
    """Whether no byte of an answer has been sent until now."""
    if isinstance(peer, Peer1):
        peer.client.sock.setblocking(False)
        try:
            peer.client.fill()
        except BlockingIOError:
            return not peer.client.buffer
        finally:
            peer.client.sock.settimeout(PATIENCE)
        return False
    assert isinstance(peer, Peer2)
    peer.client.ping()
    return peer.client.reader.responses[stream_id].fields is None


def assert_cut(peer: Peer, answer: Answer) -> None:
    """A client can tell that this was not all (RFC 9112 §8, RFC 9113 §8.1)."""
    assert not answer.whole, answer
    if isinstance(peer, Peer1):
        assert peer.client.at_end()
    else:
        assert answer.reset in RESETS


# ---- the response's head -----------------------------------------------------------------------


def test_a_start_alone_sends_nothing(server: Served, peer: Peer, key: str) -> None:
    """Section "Response Start": a server "need not flush" it before the first body."""
    script = [*sends(start(201)), ("wait", key), *must_send(body(b"now"))]
    asked = peer.start(script=script, key=key + "n")
    assert server.notes(key + "n", 1) == [SENT]
    assert nothing_has_come(peer)
    server.open(key)
    answer = asked.answer()
    assert (answer.status, answer.body, answer.whole) == (201, b"now", True)


@pytest.mark.parametrize("steps", [[("fail",)], []], ids=["raises", "returns"])
@pytest.mark.parametrize("begun", [[], [start(201, [(b"x-a", b"1")])]], ids=["before", "started"])
def test_an_application_that_fails_before_the_body_is_a_500(
    peer: Peer, begun: list[Any], steps: list[Step]
) -> None:
    """An honest one, whole and by itself; the connection serves on."""
    answer = peer.ask(script=[*must_send(*begun), *steps])
    assert (answer.status, answer.whole, answer.all(b"x-a")) == (500, True, [])
    assert peer.ask(script=whole()).body == b"done"


@pytest.mark.parametrize("steps", [[("fail",)], []], ids=["raises", "returns"])
@pytest.mark.parametrize("sized", [False, True])
def test_a_failure_within_the_body_does_not_look_like_its_end(
    server: Served, peer: Peer, sized: bool, steps: list[Step]
) -> None:
    """RFC 9112 §8: neither a last chunk nor END_STREAM."""
    headers = [(b"content-length", b"10")] if sized else []
    answer = peer.ask(script=[*must_send(start(200, headers), body(b"half", more=True)), *steps])
    assert (answer.status, answer.body) == (200, b"half")
    assert_cut(peer, answer)
    assert server.is_well(peer.version)


# ---- Content-Length ------------------------------------------------------------------------------

TEN = [(b"content-length", b"10")]


def test_a_body_longer_than_its_length_raises_and_is_not_sent(
    server: Served, peer: Peer, key: str
) -> None:
    """RFC 9112 §6.3: what is beyond would be read as the next response."""
    script = [
        *must_send(start(200, TEN), body(b"12345", more=True)),
        *sends(body(b"6789012345")),
    ]
    answer = peer.ask(script=script, key=key)
    assert (answer.status, answer.body) == (200, b"12345")
    assert_cut(peer, answer)
    assert refused(server.notes(key)[0])


def test_a_whole_body_of_the_wrong_length_is_a_500(server: Served, peer: Peer, key: str) -> None:
    """Nothing has been sent yet, so the client can be told."""
    for data in (b"12345678901", b"123456789"):
        answer = peer.ask(script=must_send(start(200, TEN), body(data)))
        assert (answer.status, answer.whole) == (500, True)
    assert peer.ask(script=whole(b"1234567890", headers=TEN)).body == b"1234567890"


@pytest.mark.parametrize("last", [[body()], []], ids=["last", "returns"])
def test_a_body_shorter_than_its_length_does_not_look_whole(
    server: Served, peer: Peer, last: list[Any]
) -> None:
    """RFC 9112 §6.3, RFC 9113 §8.1.1."""
    answer = peer.ask(script=must_send(start(200, TEN), body(b"12345", more=True), *last))
    assert (answer.status, answer.body) == (200, b"12345")
    assert_cut(peer, answer)


def test_a_body_of_unknown_length_is_framed(server: Served, version: str) -> None:
    """RFC 9112 §6.1, §6.3: chunked in HTTP/1.1, ended by the connection in HTTP/1.0; DATA in
    HTTP/2.
    """
    script = must_send(start(), body(b"one", more=True), body(b"", more=True), body(b"two"))
    with server.peer(version) as peer:
        answer = peer.ask(script=script)
        assert (answer.body, answer.whole) == (b"onetwo", True)
        assert answer.all(b"transfer-encoding") == ([b"chunked"] if version == HTTP1 else [])
        assert answer.all(b"content-length") == []
        assert peer.ask(script=whole()).whole
    if version == HTTP1:
        with server.connect() as client:
            answer = exchange(client, written(script, line="GET / HTTP/1.0"))
            assert (answer.body, answer.all(b"transfer-encoding")) == (b"onetwo", [])
            assert client.at_end()


def test_a_body_in_one_message_gets_its_length(peer: Peer) -> None:
    """RFC 9110 §8.6; an application's own is kept, and there is one."""
    assert peer.ask(script=whole()).all(b"content-length") == [b"4"]
    assert peer.ask(script=whole(b"")).all(b"content-length") == [b"0"]
    headers = [(b"content-length", b"4")]
    assert peer.ask(script=whole(headers=headers)).all(b"content-length") == [b"4"]


@pytest.mark.parametrize("coding", [b"chunked", b"gzip, chunked", b"identity", b"nonsense"])
def test_transfer_encoding_is_the_servers_own(peer: Peer, coding: bytes) -> None:
    """The text: "You may send a Transfer-Encoding header in this message, but the server must ignore it"."""
    headers = [(b"transfer-encoding", coding), (b"x-a", b"1")]
    answer = peer.ask(script=whole(headers=headers))
    assert (answer.body, answer.whole, answer.all(b"x-a")) == (b"done", True, [b"1"])
    assert (answer.all(b"transfer-encoding"), answer.all(b"content-length")) == ([], [b"4"])
    script = must_send(start(200, headers), body(b"a", more=True), body(b"b"))
    answer = peer.ask(script=script)
    assert (answer.body, answer.whole) == (b"ab", True)
    assert answer.all(b"transfer-encoding") == [b"chunked"] * (peer.version == HTTP1)
    both = [(b"content-length", b"4"), *headers]
    assert peer.ask(script=whole(headers=both)).all(b"transfer-encoding") == []


# ---- responses without content -------------------------------------------------------------------


def bodies() -> list[list[Step]]:
    """The same response in every shape, all of a body of four bytes."""
    sized = [(b"content-length", b"4")]
    return [
        whole(),
        whole(headers=sized),
        must_send(start(200, sized), body(b"do", more=True), body(b"ne")),
        must_send(start(), body(b"do", more=True), body(b"ne")),
    ]


def test_head_has_the_fields_of_get_and_no_body(peer: Peer) -> None:
    """RFC 9110 §9.3.2; the next response on the connection is read as what it is."""
    for script in bodies():
        head, get = (peer.ask(method=method, script=script) for method in ("HEAD", "GET"))
        assert head.whole and not head.body
        assert get.body == b"done"
        drop = {b"date", b"transfer-encoding"}
        assert [one for one in head.fields if one[0] not in drop] == [
            one for one in get.fields if one[0] not in drop
        ]
    headers = [(b"content-length", b"1000")]  # an application need not send what is not sent
    answer = peer.ask(method="HEAD", script=whole(b"", headers=headers))
    assert (answer.status, answer.all(b"content-length")) == (200, [b"1000"])
    assert peer.ask(script=whole()).body == b"done"


@pytest.mark.parametrize("status", [204, 304])
def test_204_and_304_have_no_body(peer: Peer, status: int) -> None:
    """RFC 9110 §8.6, §15.3.5, §15.4.5: whatever the application sends; 304 may say a length."""
    for data in (b"", b"not sent"):
        length = b"%d" % (len(data) or 7)
        for headers in ([], [(b"content-length", length)]):
            answer = peer.ask(script=whole(data, status, headers))
            assert (answer.status, answer.body, answer.whole) == (status, b"", True)
            assert answer.all(b"transfer-encoding") == []
            lengths = [length] if headers and status == 304 else []
            assert answer.all(b"content-length") == lengths
    script = must_send(start(status), body(b"not ", more=True), body(b"sent"))
    answer = peer.ask(script=script)
    assert (answer.status, answer.body, answer.whole) == (status, b"", True)
    assert not answer.all(b"transfer-encoding")
    assert peer.ask(script=whole()).body == b"done"


@pytest.mark.parametrize("status", [100, 101, 103, 199, 0, 99, 1000, -200])
def test_only_final_statuses_can_be_started(peer: Peer, status: int) -> None:
    """RFC 9110 §15.2: 1xx are the server's, or an extension's."""
    answer = peer.ask(script=[*sends(start(status)), ("reply",)])
    assert refused(answer.literal[0]), answer


# ---- fields --------------------------------------------------------------------------------------

INJECTIONS = [
    (b"x-a", b"1\r\nx-injected: 2"),
    (b"x-a", b"1\nx-injected: 2"),
    (b"x-a", b"1\r"),
    (b"x-a", b"1\0"),
    (b"x-a\r\nx-injected", b"2"),
    (b"x-a: 1\r\nx-injected", b"2"),
    (b"x a", b"1"),
    (b"x-a:", b"1"),
    (b":status", b"201"),
    (b":path", b"/"),
]


@pytest.mark.parametrize("line", INJECTIONS, ids=repr)
def test_a_field_cannot_smuggle_another(peer: Peer, line: tuple[bytes, bytes]) -> None:
    """RFC 9112 §11.1, RFC 9113 §8.2.1; and "Pseudo headers … must not be present"."""
    answer = peer.ask(script=[*sends(start(headers=[line])), ("reply",)])
    assert refused(answer.literal[0])
    assert not answer.all(b"x-injected") and not answer.all(b"x-a")


def test_the_order_of_fields_is_kept_and_cookies_are_not_merged(peer: Peer) -> None:
    """The text: "Order must be preserved in the HTTP response"; "cannot be concatenated"."""
    headers = [
        (b"x-b", b"1"),
        (b"set-cookie", b"a=1"),
        (b"x-a", b"2"),
        (b"set-cookie", b"b=2"),
        (b"x-b", b"3"),
        (b"x-c", b"\xe4\xff"),
    ]
    for script in (whole(headers=headers), must_send(start(200, headers), body(b"", True), body())):
        fields = peer.ask(script=script).fields
        names = {name for name, _ in headers}
        assert [one for one in fields if one[0] in names] == headers


def test_fields_may_be_any_iterable_of_pairs(peer: Peer) -> None:
    """The text: "An iterable of [name, value] two-item iterables"."""
    headers = Source("iter([[b'x-a', b'1'], (b'x-b', b'2'), iter([b'x-c', b'3'])])")
    script = must_send(start() | {"headers": headers}, body(b"done"))
    answer = peer.ask(script=script)
    assert [answer.all(name) for name in (b"x-a", b"x-b", b"x-c")] == [[b"1"], [b"2"], [b"3"]]
    assert peer.ask(script=must_send({"type": "http.response.start", "status": 200}, body())).whole


@pytest.mark.parametrize("status", [200, 204, 304, 301, 404, 500])
def test_a_response_is_dated_unless_the_application_did(peer: Peer, status: int) -> None:
    """RFC 9110 §6.6.1."""
    (date,) = peer.ask(script=whole(b"", status)).all(b"date")
    assert re.fullmatch(rb"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", date)
    assert peer.ask(script=whole(b"", status, [(b"date", b"never")])).all(b"date") == [b"never"]


# ---- the body ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["bytes", "bytearray", "memoryview"])
def test_a_body_may_be_any_byte_string(peer: Peer, kind: str) -> None:
    """``body`` is a byte string; frameworks also send views."""
    one, two = Source(f"{kind}(b'one ')"), Source(f"{kind}(b'two')")
    answer = peer.ask(script=must_send(start(), body(one, more=True), body(two)))
    assert (answer.body, answer.whole) == (b"one two", True)
    assert peer.ask(script=must_send(start(), body(two))).body == b"two"


def test_body_and_more_body_are_optional(peer: Peer) -> None:
    """Section "Response Body": ``b""`` and False where they are missing."""
    last = {"type": "http.response.body"}
    assert peer.ask(script=must_send(start(204), last)).whole
    answer = peer.ask(script=must_send(start(), last | {"more_body": True}, last | {"body": b"x"}))
    assert (answer.body, answer.whole) == (b"x", True)


def test_a_piece_leaves_when_it_is_sent(server: Served, peer: Peer, key: str) -> None:
    """The text: "Protocol servers must flush any data passed to them into the send buffer"."""
    script = [*must_send(start(), body(b"first", more=True)), ("wait", key), *must_send(body(b"!"))]
    asked = peer.start(script=script)
    assert asked.until(5) == b"first"
    server.open(key)
    assert asked.answer().body == b"first!"


def test_send_waits_for_a_client_that_does_not_read(server: Served, version: str, key: str) -> None:
    """No more is buffered than a high-water mark and what the kernel takes."""
    piece = Source("{'type': 'http.response.body', 'body': bytes(65_536), 'more_body': True}")
    script = [*must_send(start()), ("fill", piece, 1000), ("wait", key)]
    options: dict[str, Any] = {"receive_buffer": 4096}
    if version == HTTP2:
        options["grants"] = False
    with server.peer(version, **options) as peer:
        peer.start(script=script, key=key)
        if version == HTTP2:
            assert isinstance(peer, Peer2)
            peer.client.ping()
        (filled,) = server.notes(key, 1)
        server.open(key)
    # 64 MB were asked for; a loopback's buffers take some of it by HTTP/1
    assert filled["waits after"] is not None
    assert filled["waits after"] < (200 if version == HTTP1 else 8)


# ---- 100 (Continue) ------------------------------------------------------------------------------

EXPECT = (b"expect", b"100-continue")


def test_100_is_sent_when_the_application_asks_for_the_body(
    server: Served, peer: Peer, key: str
) -> None:
    """RFC 9110 §10.1.1; in HTTP/2 as well."""
    script = [("wait", key), ("body",), ("reply",)]
    asked = peer.start("/", EXPECT, method="POST", streams=True, script=script)
    assert nothing_has_come(peer)
    server.open(key)
    if isinstance(peer, Peer1):
        assert peer.client.read_until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    else:
        assert isinstance(peer, Peer2)
        response = peer.client.reader.responses[1]
        peer.client.until(lambda: response.interim, "100")
        assert response.interim == [[(b":status", b"100")]]
    asked.send(b"content", end=True)
    answer = asked.answer()
    assert b"".join(message["body"] for message in answer.literal[0]) == b"content"
    assert len(answer.interim) <= 1


def test_no_100_where_the_body_is_there_or_not_wanted(server: Served, peer: Peer, key: str) -> None:
    """RFC 9110 §10.1.1: "MAY omit"; an answer in its place is final."""
    script = [("wait", key), ("body",), ("reply",)]
    asked = peer.start("/", EXPECT, method="POST", streams=True, script=script)
    asked.send(b"early", end=True)
    if isinstance(peer, Peer2):
        peer.client.ping()
    else:
        server.is_well(HTTP1)
    server.open(key)
    assert asked.answer().interim == []
    with server.peer(peer.version) as other:
        asked = other.start("/", EXPECT, method="POST", streams=True, script=whole(b"no", 413))
        answer = asked.answer()
        assert (answer.status, answer.body, answer.interim) == (413, b"no", [])
        if isinstance(other, Peer1):  # the body that was not asked for can no longer be told apart
            assert answer.all(b"connection") == [b"close"]


def test_expect_of_http10_is_ignored(server: Served, worker: str) -> None:
    """RFC 9110 §10.1.1: "A server that receives a 100-continue expectation in an HTTP/1.0 request
    MUST ignore that expectation".
    """
    script = [("body",), ("reply",)]
    with server.connect() as client:
        lines = [b"expect: 100-continue", b"content-length: 2"]
        data = written(script, *lines, line="POST / HTTP/1.0")
        client.send(data)
        assert nothing_has_come(Peer1(client))
        answer = exchange(client, b"ok")
    assert answer.interim == []
    assert answer.literal[0][-1]["body"] == b"ok"


def test_another_expectation_is_not_met(server: Served, version: str) -> None:
    """RFC 9110 §10.1.1: 417, and no application is called."""
    with server.peer(version) as peer:
        answer = peer.ask("/", (b"expect", b"200-ok"), script=whole())
    assert answer.status == 417


# ---- the connection ------------------------------------------------------------------------------


def test_pipelined_requests_are_answered_in_order_one_at_a_time(
    server: Served, worker: str, key: str
) -> None:
    """RFC 9112 §9.3.2; no call begins before the one before has answered."""
    host = b"host: test"
    first = written([("wait", key), *whole(b"first")], host)
    second = written([("receive",), *whole(b"second")], host, key=key + "2")
    third = written(whole(b"third"), host)
    with server.connect() as client:
        client.send(first + second + third)
        with server.connect() as other:
            fields = [b"key: %s2" % key.encode(), b"notes: 0", host]
            line = "GET /report HTTP/1.1"
            assert exchange(other, written([], *fields[1:], line=line, key=key + "2")).body == b"[]"
        server.open(key)
        answers = [Exchange1(client, "GET").answer().body for _ in range(3)]
    assert answers == [b"first", b"second", b"third"]


def test_a_body_that_was_not_read_is_never_a_request(server: Served, peer: Peer) -> None:
    """RFC 9112 §9.3: it is read and dropped, or the connection ends."""
    hidden = written(whole(b"hidden"), b"host: test")
    answer = peer.ask(method="POST", content=hidden, script=whole())
    assert (answer.status, answer.body) == (200, b"done")
    with contextlib.suppress(AssertionError, OSError):
        assert peer.ask(script=whole(b"next")).body == b"next"
        return
    assert isinstance(peer, Peer1) and peer.client.at_end()


def test_a_large_body_that_was_not_read_does_not_cost_the_answer(
    server: Served, version: str
) -> None:
    """RFC 9112 §9.6, RFC 9113 §8.1: the client reads it, having sent all or not."""
    with server.peer(version) as peer:
        asked = peer.start(method="POST", streams=True, script=whole(b"enough", 413))
        if version == HTTP1:
            with contextlib.suppress(ConnectionError):
                for _ in range(64):
                    asked.send(bytes(16_384))
        answer = asked.answer()
        assert (answer.status, answer.body) == (413, b"enough")
        if isinstance(peer, Peer2):
            assert answer.reset in {None, wire.NO_ERROR}
            assert peer.ask(script=whole()).whole


@pytest.mark.parametrize("value", [b"close", b"Close", b"keep-alive, close", b"x-a,CLOSE"])
def test_connection_close_is_answered_and_obeyed(server: Served, worker: str, value: bytes) -> None:
    """RFC 9112 §9.6; what comes after it is ignored, and destroys nothing."""
    request = written(whole(), b"host: test", b"connection: " + value)
    with server.connect() as client:
        answer = exchange(client, request + b"anything at all \0\r\n\r\n")
        assert (answer.status, answer.body, answer.all(b"connection")) == (200, b"done", [b"close"])
        assert client.at_end()


def test_an_application_can_close_the_connection(server: Served, worker: str) -> None:
    """RFC 9112 §9.6; HTTP/2 has no such field (RFC 9113 §8.2.2)."""
    script = whole(headers=[(b"connection", b"close")])
    with server.peer(HTTP1) as peer:
        answer = peer.ask(script=script)
        assert answer.all(b"connection") == [b"close"]
        assert isinstance(peer, Peer1) and peer.client.at_end()
    with server.peer(HTTP2) as peer:
        assert peer.ask(script=script).all(b"connection") == []
        assert peer.ask(script=whole()).whole


def test_http10_keeps_a_connection_if_asked_and_if_the_length_is_known(
    server: Served, worker: str
) -> None:
    """RFC 9112 §9.3: and says so."""
    unknown = must_send(start(), body(b"a", more=True), body(b"b"))
    line, asked = "GET / HTTP/1.0", b"connection: keep-alive"
    with server.connect() as client:
        for _ in range(2):
            answer = exchange(client, written(whole(), asked, line=line))
            assert (answer.body, answer.all(b"connection")) == (b"done", [b"keep-alive"])
        answer = exchange(client, written(unknown, asked, line=line))
        assert (answer.body, answer.all(b"connection")) in [(b"ab", []), (b"ab", [b"close"])]
    with server.connect() as client:
        answer = exchange(client, written(whole(), line=line))
        assert answer.all(b"connection") in ([], [b"close"])
        assert client.at_end()


def test_an_error_arrives_though_there_is_more_to_read(server: Served, version: str) -> None:
    """RFC 9112 §9.6: the server ends its own side and reads on for a while; else a reset would
    take the answer away from its client.
    """
    if version == HTTP1:
        with server.connect() as client:
            client.send(b"GET / HTTP/1.1\r\nno colon\r\n\r\n" + bytes(100_000))
            answer = Exchange1(client, "GET").answer()
            assert (answer.status, answer.all(b"connection")) == (400, [b"close"])
            with contextlib.suppress(ConnectionError):
                client.send(bytes(100_000))
        return
    with server.peer(version) as peer:
        assert isinstance(peer, Peer2)
        peer.client.send(wire.frame(wire.PING, 0, b"short") + bytes(100_000))
        peer.client.read_rest()
        assert [goaway.error for goaway in peer.client.goaways] == [wire.FRAME_SIZE_ERROR]
