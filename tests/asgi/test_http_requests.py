"""A request, until its client is gone; and what becomes of it when the application fails."""

from __future__ import annotations

from typing import Any

import pytest

from hyperserver.errors import ClientDisconnected
from tests.asgi.http_cycle import (
    DISCONNECT,
    ERROR_500,
    body,
    make,
    request,
    start,
    trailers,
)

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
