"""The order of ASGI messages, on a recording engine: what is sent down, and what is refused."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import pytest

from hyperserver.asgi.http import HTTPCycle
from hyperserver.errors import ClientDisconnected, LocalProtocolError
from hyperserver.protocol.events import Event, Headers, RequestReceived
from hyperserver.protocol.interface import TunnelSink

DISCONNECT = {"type": "http.disconnect"}
BODY = {"type": "http.response.body"}
ERROR_BODY = b"500: Internal Server Error\n"
ERROR_500: list[tuple[object, ...]] = [
    (
        "headers",
        500,
        [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"27")],
        False,
    ),
    ("data", ERROR_BODY, True),
]


class Engine:
    """Takes every command and remembers it in ``calls``."""

    http_version = "1.1"
    can_push = False
    is_closed = False

    def __init__(self) -> None:
        self.calls: list[tuple[object, ...]] = []
        self.acknowledged = 0

    def take(self) -> list[tuple[object, ...]]:
        calls, self.calls = self.calls, []
        return calls

    def buffered(self, stream_id: int) -> int:
        return 0

    def send_informational(self, stream_id: int, status: int, headers: Headers) -> None:
        self.calls.append(("informational", status, headers))

    def send_headers(
        self, stream_id: int, status: int, headers: Headers, end_stream: bool = False
    ) -> None:
        self.calls.append(("headers", status, headers, end_stream))

    def send_data(self, stream_id: int, data: bytes, end_stream: bool = False) -> None:
        self.calls.append(("data", data, end_stream))

    def send_response(self, stream_id: int, status: int, headers: Headers, body: bytes) -> None:
        self.send_headers(stream_id, status, headers)
        self.send_data(stream_id, body, True)

    def send_trailers(self, stream_id: int, headers: Headers) -> None:
        self.calls.append(("trailers", headers))

    def accept_tunnel(
        self, stream_id: int, headers: Headers, sink: TunnelSink | None = None
    ) -> None:
        raise NotImplementedError

    def push_stream(self, stream_id: int, target: bytes, headers: Headers) -> int | None:
        self.calls.append(("push", target, list(headers)))
        return None

    def acknowledge(self, stream_id: int, n: int) -> None:
        self.acknowledged += n

    def reset_stream(self, stream_id: int, reason: str) -> None:
        self.calls.append(("reset", reason))

    def release(self, stream_id: int) -> None:
        raise NotImplementedError

    def shutdown(self, grace: float = 0.0) -> None:
        raise NotImplementedError

    @property
    def event_queue(self) -> list[Event]:
        return []

    def events(self) -> list[Event]:
        return []

    def next_timeout(self) -> float | None:
        return None

    def handle_timeout(self, now: float) -> None:
        raise NotImplementedError


def make(
    method: str = "GET",
    headers: Headers | None = None,
    *,
    version: str = "1.1",
    body: bool = False,
    stream_id: int = 1,
) -> tuple[HTTPCycle, Engine]:
    engine = Engine()
    event = RequestReceived(
        stream_id=stream_id,
        method=method,
        target=b"/",
        headers=[(b"host", b"a"), *(headers or [])],
        http_version=version,
        scheme="http",
        authority=b"a",
        protocol=None,
        end_stream=not body,
    )
    return HTTPCycle(engine, event), engine


def start(status: Any = 200, headers: Any = (), **more: Any) -> dict[str, Any]:
    return {"type": "http.response.start", "status": status, "headers": headers, **more}


def body(data: Any = b"", more_body: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": data, "more_body": more_body}


def trailers(headers: Any = (), **more: Any) -> dict[str, Any]:
    return {"type": "http.response.trailers", "headers": headers, **more}


def request(data: bytes, more_body: bool = False) -> dict[str, Any]:
    return {"type": "http.request", "body": data, "more_body": more_body}


# ---- the order of messages ---------------------------------------------------------------------


def test_the_start_is_held_and_leaves_with_the_first_body() -> None:
    cycle, engine = make()
    assert cycle.take(start(201, [(b"x-a", b"1")])) is False
    assert engine.take() == []
    assert cycle.take(body(b"one", more_body=True)) is True
    assert engine.take() == [
        ("headers", 201, [(b"x-a", b"1")], False),
        ("data", b"one", False),
    ]
    assert not cycle.complete


def test_a_streamed_response_is_one_command_per_message() -> None:
    cycle, engine = make()
    cycle.take(start())
    for data in (b"one", b"two"):
        cycle.take(body(data, more_body=True))
    cycle.take(body(b"three"))
    assert engine.take() == [
        ("headers", 200, [], False),
        ("data", b"one", False),
        ("data", b"two", False),
        ("data", b"three", True),
    ]
    assert cycle.complete
    assert (cycle.status, cycle.bytes_sent) == (200, 11)


def test_an_empty_piece_sends_the_head_but_no_data() -> None:
    cycle, engine = make()
    cycle.take(start())
    cycle.take(body(b"", more_body=True))
    assert engine.take() == [("headers", 200, [], False)]
    cycle.take(body(b"", more_body=True))
    assert engine.take() == []


def test_a_body_message_may_leave_its_keys_out() -> None:
    cycle, engine = make()
    cycle.take({"type": "http.response.start", "status": 200})
    cycle.take({"type": "http.response.body"})
    assert engine.take() == [
        ("headers", 200, [(b"content-length", b"0")], False),
        ("data", b"", True),
    ]


def test_unknown_keys_are_ignored() -> None:
    cycle, engine = make()
    cycle.take(start(200, [], reason="Fine", x=1))
    cycle.take({**body(b"x"), "flush": True})
    assert len(engine.take()) == 2
    assert cycle.complete


@pytest.mark.parametrize("message", [body(b"x"), trailers()], ids=["body", "trailers"])
def test_nothing_may_come_before_the_start(message: dict[str, Any]) -> None:
    cycle, engine = make()
    with pytest.raises(LocalProtocolError):
        cycle.take(message)
    assert engine.take() == []


@pytest.mark.parametrize("held", [True, False])
def test_a_second_start_is_refused_and_the_first_stands(held: bool) -> None:
    cycle, engine = make()
    cycle.take(start(200))
    if not held:
        cycle.take(body(b"", more_body=True))
    with pytest.raises(LocalProtocolError, match=r"http\.response\.start was sent already"):
        cycle.take(start(404))
    cycle.take(body(b"x"))
    assert engine.take()[0][:2] == ("headers", 200)
    assert cycle.status == 200


@pytest.mark.parametrize("message", [start(500), body(b"late"), trailers(), {"type": "what"}, {}])
def test_whatever_follows_a_complete_response_is_ignored(message: dict[str, Any]) -> None:
    cycle, engine = make()
    cycle.take(start())
    cycle.take(body(b"x"))
    engine.take()
    assert cycle.take(message) is False
    assert engine.take() == []


@pytest.mark.parametrize(
    ("kind", "version", "stream_id"),
    [
        ("http.response.push", "1.0", 1),
        ("http.response.push", "1.1", 1),
        ("http.response.push", "2", 2),  # a pushed stream
        ("http.response.early_hint", "1.0", 1),
        ("http.response.pathsend", "1.1", 1),  # in a denial, for one
        ("http.response.zerocopysend", "1.1", 1),
    ],
)
def test_an_extension_that_was_not_offered(kind: str, version: str, stream_id: int) -> None:
    cycle, engine = make(version=version, stream_id=stream_id)
    cycle.take(start())
    with pytest.raises(LocalProtocolError, match=f"{kind}' was not offered"):
        cycle.take({"type": kind, "path": "/", "links": [b"</>"], "file": 0})
    assert engine.take() == []


def test_to_http_1_0_there_are_no_trailers_to_wait_for() -> None:
    cycle, engine = make(version="1.0", headers=[(b"te", b"trailers")])
    cycle.take(start(trailers=True))
    cycle.take(body(b"x"))
    assert cycle.complete
    assert len(engine.take()) == 2
    assert cycle.take(trailers([(b"x-a", b"1")])) is False  # an application need not look
    assert engine.take() == []


def test_a_push_is_promised_with_its_target_encoded() -> None:
    cycle, engine = make(version="2")
    headers = [(b"Accept", b"text/css")]
    cycle.take({"type": "http.response.push", "path": "/ä b?x=%20&y", "headers": headers})
    assert engine.take() == [("push", b"/%C3%A4%20b?x=%20&y", [(b"accept", b"text/css")])]


@pytest.mark.parametrize(
    "message", [{}, {"path": b"/x"}, {"path": "/x", "headers": [(b"a b", b"")]}]
)
def test_a_push_that_is_malformed(message: dict[str, Any]) -> None:
    cycle, engine = make(version="2")
    with pytest.raises(LocalProtocolError):
        cycle.take({"type": "http.response.push", **message})
    assert engine.take() == []


@pytest.mark.parametrize(
    "kind", ["http.response.zerocopysend", "http.response.pathsend",
             "http.response.debug", "websocket.send", "http.request", "", 7]
)  # fmt: skip
def test_an_unknown_or_unoffered_message_is_refused_by_name(kind: object) -> None:
    cycle, _ = make()
    with pytest.raises(LocalProtocolError) as caught:
        cycle.take({"type": kind})
    assert repr(kind) in str(caught.value)
    cycle.take(start())
    cycle.take(body(b"x"))
    assert cycle.complete


def test_a_message_without_a_type_is_refused() -> None:
    cycle, _ = make()
    with pytest.raises(LocalProtocolError, match="'type'"):
        cycle.take({"status": 200})


# ---- what a start may say ----------------------------------------------------------------------


@pytest.mark.parametrize("status", [None, "200", 200.0, b"200", True, [200]])
def test_a_status_that_is_no_integer_is_refused(status: object) -> None:
    cycle, _ = make()
    with pytest.raises(LocalProtocolError, match="integer 'status'"):
        cycle.take(start(status))


def test_a_start_without_status_is_refused() -> None:
    cycle, _ = make()
    with pytest.raises(LocalProtocolError, match="'status'"):
        cycle.take({"type": "http.response.start"})


@pytest.mark.parametrize("status", [-1, 0, 99, 100, 101, 103, 199, 1000])
def test_a_status_that_is_not_final_is_refused(status: int) -> None:
    cycle, _ = make()
    with pytest.raises(LocalProtocolError, match=str(status)):
        cycle.take(start(status))


@pytest.mark.parametrize("status", [200, 299, 404, 599, 600, 999])
def test_every_final_status_is_sent(status: int) -> None:
    cycle, engine = make()
    cycle.take(start(status))
    cycle.take(body(b"x"))
    assert engine.take()[0][1] == status
    assert cycle.status == status


def test_an_http_status_member_is_an_integer() -> None:
    cycle, engine = make()
    cycle.take(start(HTTPStatus.NOT_FOUND))
    cycle.take(body(b"x"))
    status = engine.take()[0][1]
    assert (status, type(status)) == (404, int)


@pytest.mark.parametrize(
    "field",
    [
        (b"x", b"a\r\nset-cookie: b"),
        (b"x", b"a\nb"),
        (b"x", b"a\rb"),
        (b"x", b"a\0b"),
        (b"x", b"\x7f"),
        (b"x\r\ny", b"a"),
        (b"x y", b"a"),
        (b"x:", b"a"),
        (b"", b"a"),
        (b":status", b"200"),
        (b"x\xe9", b"a"),
    ],
)
def test_a_field_cannot_inject_anything(field: tuple[bytes, bytes]) -> None:
    cycle, engine = make()
    with pytest.raises(LocalProtocolError, match="invalid"):
        cycle.take(start(200, [(b"x-good", b"1"), field]))
    assert engine.take() == []


@pytest.mark.parametrize(
    "headers",
    [
        [("x", b"a")],
        [(b"x", "a")],
        [(b"x", 1)],
        [(b"x", None)],
        [(1, b"a")],
        [(b"x",)],
        [(b"x", b"a", b"b")],
        [b"xy"],
        [None],
        {b"x-name": b"a"},
        5,
        "x",
    ],
)
def test_headers_must_be_pairs_of_bytes(headers: object) -> None:
    cycle, engine = make()
    with pytest.raises(LocalProtocolError, match="bytes"):
        cycle.take(start(200, headers))
    assert engine.take() == []


def test_headers_may_be_any_iterable_of_any_pairs() -> None:
    cycle, engine = make()
    pairs: list[list[bytes]] = [[b"X-B", b"2"], [b"x-a", b"\xe9"], [b"X-b", b"3"]]
    cycle.take(start(200, (pair for pair in pairs)))
    cycle.take(body(b"", more_body=True))
    assert engine.take() == [
        ("headers", 200, [(b"x-b", b"2"), (b"x-a", b"\xe9"), (b"x-b", b"3")], False)
    ]


def test_repeated_fields_keep_their_order_and_are_not_merged() -> None:
    cookies = [(b"set-cookie", b"a=1"), (b"x", b""), (b"set-cookie", b"b=2")]
    cycle, engine = make()
    cycle.take(start(200, cookies))
    cycle.take(body(b"", more_body=True))
    assert engine.take()[0][2] == cookies


def test_the_applications_own_list_is_left_alone() -> None:
    headers = [(b"x", b"1")]
    cycle, _ = make()
    cycle.take(start(200, headers))
    cycle.take(body(b"x"))
    assert headers == [(b"x", b"1")]


def test_a_refused_start_changes_nothing() -> None:
    cycle, engine = make()
    with pytest.raises(LocalProtocolError):
        cycle.take(start(200, [("x", b"str")]))
    assert cycle.status == 0
    cycle.take(start(404, []))
    cycle.take(body(b"x"))
    assert engine.take() == [
        ("headers", 404, [(b"content-length", b"1")], False),
        ("data", b"x", True),
    ]


def test_an_application_that_gives_up_after_a_refusal_gets_a_500() -> None:
    cycle, engine = make()
    with pytest.raises(LocalProtocolError):
        cycle.take(start(200, [("x", b"str")]))
    assert cycle.finish(failed=False) is False
    assert engine.take() == ERROR_500


# ---- the body and its length -------------------------------------------------------------------


@pytest.mark.parametrize("data", [b"abc", bytearray(b"abc"), memoryview(b"xabcx")[1:4]])
def test_a_body_may_be_any_kind_of_bytes(data: object) -> None:
    cycle, engine = make()
    cycle.take(start())
    cycle.take(body(data))
    sent = engine.take()[1]
    assert sent == ("data", b"abc", True)
    assert type(sent[1]) is bytes


@pytest.mark.parametrize("data", ["text", None, 5, [b"a"]])
def test_a_body_that_is_not_bytes_is_refused_and_can_be_mended(data: object) -> None:
    cycle, engine = make()
    cycle.take(start())
    with pytest.raises(LocalProtocolError, match=type(data).__name__):
        cycle.take(body(data))
    assert engine.take() == []
    cycle.take(body(b"x"))
    assert cycle.complete


def test_a_single_body_gets_its_content_length() -> None:
    cycle, engine = make()
    cycle.take(start(200, [(b"x", b"1")]))
    cycle.take(body(b"hello"))
    assert engine.take() == [
        ("headers", 200, [(b"x", b"1"), (b"content-length", b"5")], False),
        ("data", b"hello", True),
    ]


def test_a_content_length_that_was_given_is_not_added_again() -> None:
    cycle, engine = make()
    cycle.take(start(200, [(b"Content-Length", b"5")]))
    cycle.take(body(b"hello"))
    assert engine.take()[0][2] == [(b"content-length", b"5")]


@pytest.mark.parametrize("value", [b"", b"-1", b"+5", b"5 ", b"0x5", b"5, 5", b"5.0", b"\xb2"])
def test_a_content_length_that_is_no_number_is_refused(value: bytes) -> None:
    cycle, _ = make()
    with pytest.raises(LocalProtocolError, match="content-length"):
        cycle.take(start(200, [(b"content-length", value)]))


def test_two_content_lengths_are_refused_even_if_equal() -> None:
    cycle, _ = make()
    with pytest.raises(LocalProtocolError, match="twice"):
        cycle.take(start(200, [(b"content-length", b"5"), (b"Content-Length", b"5")]))


@pytest.mark.parametrize("data", [b"four", b"sixsix"])
def test_a_single_body_of_the_wrong_length_is_refused_before_anything_is_sent(data: bytes) -> None:
    cycle, engine = make()
    cycle.take(start(200, [(b"content-length", b"5")]))
    with pytest.raises(LocalProtocolError, match="content-length of 5"):
        cycle.take(body(data))
    assert engine.take() == []
    cycle.finish(failed=False)
    assert engine.take() == ERROR_500
    assert (cycle.status, cycle.bytes_sent) == (500, len(ERROR_BODY))


def test_a_first_piece_that_is_too_long_is_refused_and_can_be_mended() -> None:
    cycle, engine = make()
    cycle.take(start(200, [(b"content-length", b"5")]))
    with pytest.raises(LocalProtocolError, match="longer"):
        cycle.take(body(b"sixsix", more_body=True))
    assert engine.take() == []
    cycle.take(body(b"fives"))
    assert cycle.complete


def test_a_later_piece_that_is_too_long_is_not_sent_and_resets_the_stream() -> None:
    cycle, engine = make()
    cycle.take(start(200, [(b"content-length", b"5")]))
    cycle.take(body(b"abc", more_body=True))
    engine.take()
    with pytest.raises(LocalProtocolError, match="longer"):
        cycle.take(body(b"def", more_body=True))
    assert engine.take() == [("reset", "wrong content length")]
    assert cycle.finish(failed=False) is False
    assert engine.take() == []
    assert (cycle.status, cycle.bytes_sent) == (200, 3)


def test_a_body_that_ends_too_early_resets_the_stream() -> None:
    cycle, engine = make()
    cycle.take(start(200, [(b"content-length", b"5")]))
    cycle.take(body(b"abc", more_body=True))
    engine.take()
    with pytest.raises(LocalProtocolError, match="shorter"):
        cycle.take(body(b""))
    assert engine.take() == [("reset", "wrong content length")]
    assert not cycle.complete


def test_after_a_reset_the_application_sees_a_client_that_is_gone() -> None:
    cycle, _ = make()
    cycle.take(start(200, [(b"content-length", b"1")]))
    cycle.take(body(b"", more_body=True))
    with pytest.raises(LocalProtocolError):
        cycle.take(body(b"xx"))
    with pytest.raises(ClientDisconnected):
        cycle.take(body(b"x"))
    assert cycle.next_message() == DISCONNECT


def test_a_body_of_exactly_its_length_in_pieces_is_complete() -> None:
    cycle, engine = make()
    cycle.take(start(200, [(b"content-length", b"5")]))
    cycle.take(body(b"abc", more_body=True))
    cycle.take(body(b"de", more_body=True))
    cycle.take(body())
    assert engine.take()[1:] == [
        ("data", b"abc", False),
        ("data", b"de", False),
        ("data", b"", True),
    ]
    assert cycle.complete


# ---- responses without a body ------------------------------------------------------------------


@pytest.mark.parametrize("sent", [b"", b"hello"])
def test_head_keeps_the_content_length_that_get_would_have(sent: bytes) -> None:
    cycle, engine = make("HEAD")
    cycle.take(start(200, [(b"content-length", b"5")]))
    cycle.take(body(sent))
    assert engine.take()[0] == ("headers", 200, [(b"content-length", b"5")], False)
    assert cycle.complete


def test_head_with_the_body_of_get_is_told_its_length() -> None:
    cycle, engine = make("HEAD")
    cycle.take(start())
    cycle.take(body(b"hello"))
    assert engine.take()[0][2] == [(b"content-length", b"5")]


def test_head_without_a_body_is_not_told_a_length_that_may_be_wrong() -> None:
    cycle, engine = make("HEAD")
    cycle.take(start())
    cycle.take(body())
    assert engine.take()[0][2] == []


@pytest.mark.parametrize("status", [204, 304])
@pytest.mark.parametrize("sent", [b"", b"unexpected"])
def test_204_and_304_are_not_given_a_content_length(status: int, sent: bytes) -> None:
    cycle, engine = make()
    cycle.take(start(status))
    cycle.take(body(sent))
    assert engine.take()[0] == ("headers", status, [], False)
    assert cycle.complete


def test_304_may_tell_the_length_of_what_it_does_not_send() -> None:
    cycle, engine = make()
    cycle.take(start(304, [(b"content-length", b"1000")]))
    cycle.take(body())
    assert engine.take()[0][2] == [(b"content-length", b"1000")]
    assert cycle.complete


# ---- failures of the application ---------------------------------------------------------------


def test_no_message_at_all_becomes_a_500() -> None:
    cycle, engine = make()
    assert cycle.finish(failed=False) is False
    assert engine.take() == ERROR_500
    assert (cycle.status, cycle.bytes_sent) == (500, 27)


def test_a_start_that_was_never_followed_becomes_a_500() -> None:
    cycle, engine = make()
    cycle.take(start(200, [(b"x-secret", b"1")]))
    assert cycle.finish(failed=False) is False
    assert engine.take() == ERROR_500
    assert cycle.status == 500


def test_a_response_cut_short_is_reset_and_never_ended() -> None:
    cycle, engine = make()
    cycle.take(start())
    cycle.take(body(b"part", more_body=True))
    engine.take()
    assert cycle.finish(failed=False) is False
    assert engine.take() == [("reset", "application error")]
    assert cycle.status == 200


def test_a_complete_response_is_finished_without_another_command() -> None:
    cycle, engine = make()
    cycle.take(start())
    cycle.take(body(b"x"))
    engine.take()
    assert cycle.finish(failed=False) is True
    assert engine.take() == []


def test_nothing_is_sent_to_a_client_that_is_gone() -> None:
    cycle, engine = make()
    cycle.closed()
    assert cycle.finish(failed=False) is False
    assert engine.take() == []
    assert cycle.status == 0


def test_each_500_has_a_header_list_of_its_own() -> None:
    first, engine = make()
    first.finish(failed=False)
    headers = engine.take()[0][2]
    assert isinstance(headers, list)
    before = list(headers)
    second, engine = make()
    second.finish(failed=False)
    assert engine.take()[0][2] == before


# ---- the request body --------------------------------------------------------------------------


def test_a_request_without_a_body_is_one_empty_message_at_once() -> None:
    cycle, _ = make()
    assert cycle.next_message() == request(b"")
    assert cycle.next_message() is None  # wait: the client is still there


def test_a_body_arrives_in_pieces_with_exactly_one_last_message() -> None:
    cycle, engine = make("POST", body=True)
    assert cycle.next_message() is None
    cycle.data_received(b"one", False)
    assert cycle.next_message() == request(b"one", more_body=True)
    assert cycle.next_message() is None
    cycle.data_received(b"two", True)
    assert cycle.next_message() == request(b"two")
    assert cycle.next_message() is None
    assert engine.acknowledged == 6


def test_pieces_that_are_waiting_are_handed_out_together() -> None:
    cycle, engine = make("POST", body=True)
    for data in (b"a", b"b", b"c"):
        cycle.data_received(data, False)
    assert engine.acknowledged == 0
    assert cycle.next_message() == request(b"abc", more_body=True)
    assert engine.acknowledged == 3


def test_an_end_without_data_is_an_empty_last_message() -> None:
    cycle, _ = make("POST", body=True)
    cycle.data_received(b"all", False)
    assert cycle.next_message() == request(b"all", more_body=True)
    cycle.data_received(b"", True)
    assert cycle.next_message() == request(b"")
    assert cycle.next_message() is None


def test_a_body_that_was_not_read_is_not_acknowledged() -> None:
    cycle, engine = make("POST", body=True)
    cycle.data_received(b"unread", True)
    cycle.take(start())
    cycle.take(body(b"x"))
    assert cycle.next_message() == DISCONNECT
    assert engine.acknowledged == 0


@pytest.mark.parametrize("read_first", [True, False])
def test_a_truncated_body_ends_in_a_disconnect_and_never_in_a_last_piece(read_first: bool) -> None:
    cycle, _ = make("POST", body=True)
    cycle.data_received(b"part", False)
    if read_first:
        assert cycle.next_message() == request(b"part", more_body=True)
    cycle.closed(400)
    assert cycle.next_message() == DISCONNECT
    assert cycle.next_message() == DISCONNECT
    assert cycle.status == 400


def test_what_the_engine_answered_itself_is_the_status() -> None:
    cycle, engine = make("POST", body=True)
    cycle.closed(408)
    assert cycle.finish(failed=False) is False
    assert cycle.status == 408
    assert engine.take() == []


def test_receive_after_the_response_is_a_disconnect_every_time() -> None:
    cycle, _ = make()
    cycle.take(start())
    cycle.take(body(b"x"))
    assert [cycle.next_message(), cycle.next_message()] == [DISCONNECT, DISCONNECT]


def test_receive_before_the_response_is_complete_waits() -> None:
    cycle, _ = make()
    cycle.next_message()
    cycle.take(start())
    cycle.take(body(b"x", more_body=True))
    assert cycle.next_message() is None


def test_a_half_closed_client_is_still_answered() -> None:
    cycle, engine = make()
    cycle.input_closed()
    assert cycle.next_message() == request(b"")
    cycle.take(start())
    cycle.take(body(b"x"))
    assert cycle.complete
    assert len(engine.take()) == 2


def test_an_application_that_asks_is_told_that_the_client_has_closed_its_side() -> None:
    cycle, _ = make()
    assert cycle.next_message() == request(b"")
    assert cycle.next_message() is None
    cycle.input_closed()
    assert cycle.next_message() == DISCONNECT
    assert cycle.next_message() == DISCONNECT


# ---- a client that is gone ---------------------------------------------------------------------


@pytest.mark.parametrize("message", [start(), body(b"x"), trailers(), {"type": "what"}])
@pytest.mark.parametrize("after", ["nothing", "start", "body"])
def test_send_raises_an_os_error_of_our_own_when_the_client_is_gone(
    message: dict[str, Any], after: str
) -> None:
    cycle, engine = make()
    if after != "nothing":
        cycle.take(start())
    if after == "body":
        cycle.take(body(b"x", more_body=True))
    engine.take()
    cycle.closed()
    with pytest.raises(ClientDisconnected) as caught:
        cycle.take(message)
    assert isinstance(caught.value, OSError)
    assert type(caught.value) is not OSError
    assert engine.take() == []


def test_receive_says_disconnect_when_the_client_is_gone_even_if_a_body_waited() -> None:
    cycle, engine = make("POST", body=True)
    cycle.data_received(b"x", True)
    cycle.closed()
    assert cycle.next_message() == DISCONNECT
    assert engine.acknowledged == 0


def test_send_after_a_complete_response_is_ignored_even_if_the_client_is_gone() -> None:
    cycle, _ = make()
    cycle.take(start())
    cycle.take(body(b"x"))
    cycle.closed()
    assert cycle.take(body(b"late")) is False


# ---- 100-continue ------------------------------------------------------------------------------

EXPECT = [(b"expect", b"100-continue")]


def test_the_first_receive_sends_100_continue_once() -> None:
    cycle, engine = make("POST", EXPECT, body=True)
    assert engine.take() == []
    assert cycle.next_message() is None
    assert engine.take() == [("informational", 100, [])]
    assert cycle.next_message() is None
    assert engine.take() == []


def test_no_100_where_it_was_not_expected() -> None:
    cycle, engine = make("POST", body=True)
    cycle.next_message()
    assert engine.take() == []


def test_no_100_once_the_body_has_begun() -> None:
    cycle, engine = make("POST", EXPECT, body=True)
    cycle.data_received(b"eager", False)
    cycle.next_message()
    assert cycle.next_message() is None
    assert engine.take() == []


def test_no_100_for_http_1_0() -> None:
    cycle, engine = make("POST", EXPECT, version="1.0", body=True)
    cycle.next_message()
    assert engine.take() == []


def test_no_100_for_a_request_without_a_body() -> None:
    cycle, engine = make("GET", EXPECT)
    cycle.next_message()
    cycle.next_message()
    assert engine.take() == []


def test_no_100_where_the_application_answers_without_reading() -> None:
    cycle, engine = make("POST", EXPECT, body=True)
    cycle.take(start(403))
    cycle.take(body(b"no"))
    assert cycle.next_message() == DISCONNECT
    assert [call[0] for call in engine.take()] == ["headers", "data"]


def test_an_application_that_has_a_start_held_may_still_ask_for_the_body() -> None:
    cycle, engine = make("POST", EXPECT, body=True)
    cycle.take(start())
    assert cycle.next_message() is None
    assert engine.take() == [("informational", 100, [])]


# ---- trailers ----------------------------------------------------------------------------------

TE = [(b"te", b"trailers")]


@pytest.mark.parametrize(
    "te", [b"trailers", b"Trailers", b"gzip;q=0.5, TRAILERS", b"trailers ,deflate"]
)
def test_trailers_are_sent_to_a_client_that_takes_them(te: bytes) -> None:
    cycle, engine = make(headers=[(b"te", te)])
    cycle.take(start(200, [], trailers=True))
    cycle.take(body(b"x"))
    assert engine.take() == [("headers", 200, [], False), ("data", b"x", False)]
    assert not cycle.complete
    assert cycle.next_message() == request(b"")
    cycle.take(trailers([(b"X-Sum", b"1")]))
    assert engine.take() == [("trailers", [(b"x-sum", b"1")])]
    assert cycle.complete
    assert cycle.finish(failed=False) is True


@pytest.mark.parametrize("headers", [[], [(b"te", b"gzip")], [(b"te", b"x-trailers")]])
def test_without_te_trailers_the_response_ends_normally(headers: Headers) -> None:
    cycle, engine = make(headers=headers)
    cycle.take(start(200, [], trailers=True))
    cycle.take(body(b"x"))
    engine.take()
    cycle.take(trailers([(b"x-sum", b"1")]))
    assert engine.take() == [("trailers", [])]
    assert cycle.complete


def test_more_trailers_gathers_them() -> None:
    cycle, engine = make(headers=TE)
    cycle.take(start(200, [], trailers=True))
    cycle.take(body(b"x"))
    engine.take()
    cycle.take(trailers([(b"a", b"1")], more_trailers=True))
    assert engine.take() == []
    cycle.take(trailers([(b"b", b"2")]))
    assert engine.take() == [("trailers", [(b"a", b"1"), (b"b", b"2")])]


def test_trailers_that_were_not_announced_are_refused() -> None:
    cycle, _ = make(headers=TE)
    cycle.take(start())
    cycle.take(body(b"x", more_body=True))
    with pytest.raises(LocalProtocolError, match="trailers: True"):
        cycle.take(trailers([(b"a", b"1")]))
    cycle.take(body())
    assert cycle.complete


def test_trailers_before_the_last_body_are_refused() -> None:
    cycle, _ = make(headers=TE)
    cycle.take(start(200, [], trailers=True))
    cycle.take(body(b"x", more_body=True))
    with pytest.raises(LocalProtocolError, match="last body"):
        cycle.take(trailers())


def test_a_body_after_the_last_one_is_refused() -> None:
    cycle, engine = make(headers=TE)
    cycle.take(start(200, [], trailers=True))
    cycle.take(body(b"x"))
    engine.take()
    with pytest.raises(LocalProtocolError, match="after the last one"):
        cycle.take(body(b"y"))
    assert engine.take() == []


@pytest.mark.parametrize(
    "name", [b":status", b"content-length", b"Transfer-Encoding", b"host", b"te", b"trailer",
             b"connection", b"authorization", b"set-cookie", b"content-type", b"date"]
)  # fmt: skip
def test_a_field_that_may_not_stand_in_trailers_is_refused(name: bytes) -> None:
    cycle, engine = make(headers=TE)
    cycle.take(start(200, [], trailers=True))
    cycle.take(body(b"x"))
    engine.take()
    with pytest.raises(LocalProtocolError):
        cycle.take(trailers([(name, b"1")]))
    assert engine.take() == []
    cycle.take(trailers([(b"x-sum", b"1")]))
    assert cycle.complete


def test_an_application_that_omits_the_promised_trailers_is_reset() -> None:
    cycle, engine = make(headers=TE)
    cycle.take(start(200, [], trailers=True))
    cycle.take(body(b"x"))
    engine.take()
    assert cycle.finish(failed=False) is False
    assert engine.take() == [("reset", "application error")]


def test_the_length_is_checked_with_trailers_too() -> None:
    cycle, engine = make(headers=TE)
    cycle.take(start(200, [(b"content-length", b"5")], trailers=True))
    with pytest.raises(LocalProtocolError, match="shorter"):
        cycle.take(body(b"x"))
    assert engine.take() == []


# ---- early hints -------------------------------------------------------------------------------


def hint(*links: Any) -> dict[str, Any]:
    return {"type": "http.response.early_hint", "links": links}


@pytest.mark.parametrize("held", [False, True])
def test_early_hints_come_before_the_head_with_a_line_per_link(held: bool) -> None:
    cycle, engine = make()
    if held:
        cycle.take(start())
    assert cycle.take(hint(b"</a>; rel=preload", b"</b>")) is True
    assert cycle.take(hint(b"</c>")) is True
    assert engine.take() == [
        ("informational", 103, [(b"link", b"</a>; rel=preload"), (b"link", b"</b>")]),
        ("informational", 103, [(b"link", b"</c>")]),
    ]


def test_early_hints_after_the_head_are_too_late_and_ignored() -> None:
    cycle, engine = make()
    cycle.take(start())
    cycle.take(body(b"x", more_body=True))
    engine.take()
    cycle.take(hint(b"</a>"))
    assert engine.take() == []


def test_early_hints_without_links_are_not_sent() -> None:
    cycle, engine = make()
    cycle.take(hint())
    cycle.take({"type": "http.response.early_hint"})
    assert engine.take() == []


@pytest.mark.parametrize("link", ["</a>", b"</a>\r\nx: y", 5])
def test_early_hints_cannot_inject_anything(link: object) -> None:
    cycle, engine = make()
    with pytest.raises(LocalProtocolError):
        cycle.take(hint(link))
    assert engine.take() == []
