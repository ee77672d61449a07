"""A WebSocket that the application refuses."""

from __future__ import annotations

from typing import Any

import pytest

from hyperserver.errors import ClientDisconnected, LocalProtocolError
from tests.asgi.websocket_cycle import (
    Make,
    accept,
    close,
    deny,
    deny_body,
    disconnect,
    refused,
    send,
)


@pytest.mark.parametrize("extra", [{}, {"code": 4000, "reason": "no"}, {"code": None}])
def test_close_before_accept(make: Make, extra: dict[str, Any]) -> None:
    cycle, engine = make()
    cycle.next_message()
    assert cycle.take(close(**extra))
    assert engine.take() == [refused(403), ("data", b"", True)]
    assert cycle.status == 403
    assert cycle.next_message() == disconnect(1006)
    assert cycle.take(close()) is False
    for message in (accept(), send(text="a"), deny()):
        with pytest.raises(OSError, match="disconnected"):
            cycle.take(message)
    assert cycle.finish(failed=False)
    assert engine.take() == []


@pytest.mark.parametrize("failed", [False, True])
def test_no_decision_is_a_500(make: Make, failed: bool) -> None:
    cycle, engine = make()
    cycle.next_message()
    assert not cycle.finish(failed=failed)
    [(kind, status, _, end), (_, _, whole)] = engine.take()
    assert (kind, status, end, whole) == ("headers", 500, False, True)
    assert cycle.status == 500


def test_denial(make: Make) -> None:
    cycle, engine = make()
    cycle.next_message()
    cycle.take(deny(401, [(b"www-authenticate", b"Basic")]))
    assert engine.take() == []  # as for any response, the first body decides the framing
    cycle.take(deny_body(b"who are you?"))
    assert engine.take() == [
        (
            "headers",
            401,
            [(b"www-authenticate", b"Basic"), (b"content-length", b"12")],
            False,
        ),
        ("data", b"who are you?", True),
    ]
    assert (cycle.status, cycle.content_sent) == (401, 12)
    assert cycle.next_message() == disconnect(1006)
    assert cycle.finish(failed=False)


def test_a_denial_may_be_streamed(make: Make) -> None:
    cycle, engine = make()
    cycle.take(deny(503))
    for piece in (b"\xff\x00", bytearray(b"two"), memoryview(b"three")):
        cycle.take(deny_body(piece, more_body=True))
    cycle.take(deny_body())
    assert engine.take() == [
        ("headers", 503, [], False),
        ("data", b"\xff\x00", False),
        ("data", b"two", False),
        ("data", b"three", False),
        ("data", b"", True),
    ]
    assert cycle.content_sent == 10


def test_a_denial_waits_for_its_end(make: Make) -> None:
    cycle, _ = make()
    cycle.next_message()
    cycle.take(deny())
    assert cycle.next_message() is None
    cycle.take(deny_body(b"a", more_body=True))
    assert cycle.next_message() is None
    cycle.take(deny_body())
    assert cycle.next_message() == disconnect(1006)


@pytest.mark.parametrize("status", [204, 304])
def test_a_denial_that_has_no_content(make: Make, status: int) -> None:
    cycle, engine = make()
    cycle.take(deny(status))
    cycle.take({"type": "websocket.http.response.body"})
    assert engine.take() == [("headers", status, [], False), ("data", b"", True)]
    assert cycle.content_sent == 0


def test_a_denial_without_a_body(make: Make) -> None:
    cycle, engine = make()
    cycle.take(deny(404))
    cycle.take({"type": "websocket.http.response.body"})
    assert engine.take() == [refused(404), ("data", b"", True)]


@pytest.mark.parametrize(
    "message",
    [
        deny("404"),
        deny(None),
        deny(101),
        deny(100),
        deny(1000),
        {"type": "websocket.http.response.start"},
        deny(404, [("x", b"a")]),
        deny(404, [(b"x", b"a\nb")]),
    ],
)
def test_a_malformed_denial_changes_nothing(make: Make, message: dict[str, Any]) -> None:
    cycle, engine = make()
    cycle.next_message()
    with pytest.raises(LocalProtocolError):
        cycle.take(message)
    assert (engine.take(), cycle.status) == ([], 0)
    cycle.take(accept())


def test_what_cannot_be_sent_within_a_denial(make: Make) -> None:
    cycle, engine = make()
    cycle.take(deny())
    wrong = [accept(), send(text="a"), close(), deny(), {}, {"type": "http.response.body"}]
    for message in wrong:
        with pytest.raises(LocalProtocolError):
            cycle.take(message)
    cycle.take(deny_body(b"a", more_body=True))
    for message in wrong:
        with pytest.raises(LocalProtocolError):
            cycle.take(message)
    with pytest.raises(LocalProtocolError):
        cycle.take(deny_body("text"))
    engine.take()
    cycle.take(deny_body(b"b"))
    assert engine.take() == [("data", b"b", True)]


def test_a_denial_that_is_started_and_left(make: Make) -> None:
    """Nothing has gone out yet: as for a response, the honest answer is 500."""
    cycle, engine = make()
    cycle.take(deny(404))
    assert not cycle.finish(failed=True)
    assert engine.take()[0][:2] == ("headers", 500)


def test_a_denial_that_is_left_halfway(make: Make) -> None:
    cycle, engine = make()
    cycle.take(deny(404))
    cycle.take(deny_body(b"half", more_body=True))
    engine.take()
    assert not cycle.finish(failed=True)
    assert [call[0] for call in engine.take()] == ["reset"]


def test_a_denial_that_is_not_as_long_as_it_says(make: Make) -> None:
    cycle, engine = make()
    cycle.take(deny(404, [(b"content-length", b"3")]))
    cycle.take(deny_body(b"ab", more_body=True))
    engine.take()
    with pytest.raises(LocalProtocolError, match="longer"):
        cycle.take(deny_body(b"cd"))
    assert [call[0] for call in engine.take()] == ["reset"]


def test_the_client_leaves_within_a_denial(make: Make) -> None:
    cycle, engine = make()
    cycle.next_message()
    cycle.take(deny())
    cycle.take(deny_body(b"a", more_body=True))
    engine.take()
    cycle.closed()
    assert cycle.next_message() == disconnect(1006)
    with pytest.raises(ClientDisconnected):
        cycle.take(deny_body(b"b"))
    assert not cycle.finish(failed=True)
    assert engine.take() == []
