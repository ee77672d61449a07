"""The order of ASGI messages, on a recording engine: what is sent down, and what is refused."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import pytest

from hyperserver.errors import ClientDisconnected, LocalProtocolError
from tests.asgi.http_cycle import (
    DISCONNECT,
    ERROR_500,
    ERROR_BODY,
    body,
    make,
    start,
    trailers,
)

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
