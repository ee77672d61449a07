"""The order of a WebSocket's ASGI messages, on a recording engine and a real state machine."""

from __future__ import annotations

from typing import Any

import pytest

from hyperserver.errors import ClientDisconnected, LocalProtocolError
from hyperserver.protocol.events import Headers
from hyperserver.protocol.interface import HIGH_WATER
from tests.asgi.websocket_cycle import (
    ACCEPT,
    CONNECT,
    Make,
    Opened,
    accept,
    close,
    close_frame,
    deny,
    deny_body,
    disconnect,
    received,
    send,
)
from tests.engines import ws_frames as ws
from tests.engines.ws_frames import BINARY, PING, PONG, TEXT, Frame

# ---- before the application has decided --------------------------------------------------------


@pytest.mark.parametrize("version", ["1.1", "2"])
def test_connect_comes_first_and_once_and_sends_nothing(make: Make, version: str) -> None:
    cycle, engine = make(version=version)
    assert cycle.next_message() == CONNECT
    assert cycle.next_message() is None
    assert engine.take() == []
    assert (cycle.status, cycle.gone) == (0, False)


def test_accept_may_come_before_connect_is_received(make: Make) -> None:
    cycle, engine = make()
    cycle.take(accept())
    assert engine.take() == [("accept", [ACCEPT])]


@pytest.mark.parametrize(
    ("version", "expected", "status"), [("1.1", [ACCEPT], 101), ("2", [], 200)]
)
def test_accept(make: Make, version: str, expected: Headers, status: int) -> None:
    cycle, engine = make(version=version)
    cycle.next_message()
    assert cycle.take(accept())
    assert engine.take() == [("accept", expected)]
    assert cycle.status == status
    assert cycle.next_message() is None


@pytest.mark.parametrize("missing", [{}, {"subprotocol": None, "headers": []}, {"headers": None}])
def test_accept_has_only_optional_keys(make: Make, missing: dict[str, Any]) -> None:
    cycle, engine = make()
    cycle.take(accept(**missing))
    assert engine.take() == [("accept", [ACCEPT])]


def test_accept_headers_keep_their_order_and_repetitions(make: Make) -> None:
    headers = [(b"set-cookie", b"a=1"), [b"x-b", b"2"], (b"set-cookie", b"c=3")]
    cycle, engine = make()
    cycle.take(accept(headers=iter(headers)))
    assert engine.take() == [
        ("accept", [ACCEPT, (b"set-cookie", b"a=1"), (b"x-b", b"2"), (b"set-cookie", b"c=3")])
    ]


def test_subprotocol(make: Make) -> None:
    """Of all the client's fields; what is agreed on is sent as the client has written it."""
    offers = [(b"sec-websocket-protocol", b"chat, Super"), (b"sec-websocket-protocol", b"mqtt")]
    for subprotocol in ("chat", "Super", "mqtt"):
        cycle, engine = make(*offers)
        cycle.take(accept(subprotocol=subprotocol))
        [(_, headers)] = engine.take()
        assert (b"sec-websocket-protocol", subprotocol.encode()) in headers


@pytest.mark.parametrize("offers", [[], [(b"sec-websocket-protocol", b"chat, super")]])
@pytest.mark.parametrize("wrong", ["soap", "Chat", "", "chat, super", b"chat", 1])
def test_a_subprotocol_that_was_not_offered(make: Make, offers: Any, wrong: Any) -> None:
    cycle, engine = make(*offers)
    with pytest.raises(LocalProtocolError, match="subprotocol"):
        cycle.take(accept(subprotocol=wrong))
    assert engine.take() == []
    cycle.take(accept())  # nothing has happened
    assert engine.take() == [("accept", [ACCEPT])]


@pytest.mark.parametrize(
    "name",
    [
        b"sec-websocket-protocol",
        b"Sec-WebSocket-Protocol",
        b"sec-websocket-accept",
        b"sec-websocket-extensions",
        b":status",
    ],
)
def test_accept_headers_that_are_not_the_applications(make: Make, name: bytes) -> None:
    cycle, engine = make((b"sec-websocket-protocol", b"chat"))
    with pytest.raises(LocalProtocolError):
        cycle.take(accept(headers=[(name, b"chat")]))
    assert engine.take() == []
    cycle.take(accept())


@pytest.mark.parametrize(
    "headers",
    [[(b"x", b"a\r\nb: c")], [("x", b"a")], [(b"x", "a")], [(b"x y", b"a")], [(b"x", b"\0")]],
)
def test_malformed_accept_headers(make: Make, headers: Any) -> None:
    cycle, engine = make()
    with pytest.raises(LocalProtocolError):
        cycle.take(accept(headers=headers))
    assert engine.take() == []


@pytest.mark.parametrize(
    "message",
    [
        {"type": "websocket.send", "text": "early"},
        {"type": "websocket.http.response.body", "body": b""},
        {"type": "http.response.start", "status": 200},
        {"type": "websocket.receive"},
        {"type": "nonsense"},
        {"type": None},
        {},
    ],
)
def test_what_cannot_be_sent_before_accept(make: Make, message: dict[str, Any]) -> None:
    cycle, engine = make()
    cycle.next_message()
    with pytest.raises(LocalProtocolError):
        cycle.take(message)
    assert engine.take() == []
    cycle.take(accept())


def test_unknown_keys_are_ignored(make: Make) -> None:
    cycle, engine = make()
    cycle.take(accept(flavour="salt"))
    cycle.take(send(text="a", compress=False))
    cycle.take(close(wait=True))
    assert engine.take() == [("accept", [ACCEPT]), Frame(TEXT, b"a"), close_frame(1000)]


# ---- the client is faster, or leaves -----------------------------------------------------------


def test_frames_before_accept_are_held_and_delivered(make: Make) -> None:
    cycle, engine = make()
    cycle.next_message()
    cycle.data_received(ws.text("one")[:3], False)
    cycle.data_received(ws.text("one")[3:] + ws.binary(b"two"), False)
    assert cycle.next_message() is None
    assert engine.acknowledged == 0  # the tunnel's window is what bounds them
    cycle.take(accept())
    assert cycle.next_message() == received("one")
    assert cycle.next_message() == received(b"two")
    assert cycle.next_message() is None
    assert engine.acknowledged == len(ws.text("one") + ws.binary(b"two"))


def test_what_is_held_is_credited_when_it_is_not_wanted(make: Make) -> None:
    for message in (close(), deny()):
        cycle, engine = make(version="2")
        cycle.data_received(bytes(1000), False)
        cycle.take(message)
        assert engine.acknowledged == 1000
        cycle.data_received(bytes(500), False)
        assert engine.acknowledged == 1500


@pytest.mark.parametrize("how", ["closed", "input_closed", "end_stream"])
def test_leaving_before_accept(make: Make, how: str) -> None:
    cycle, engine = make(version="2")
    if how == "end_stream":
        cycle.data_received(b"", True)
    else:
        getattr(cycle, how)()
    assert cycle.next_message() == CONNECT
    assert cycle.next_message() == disconnect(1006)
    assert cycle.next_message() == disconnect(1006)
    for message in (accept(), close(), deny()):
        with pytest.raises(ClientDisconnected):
            cycle.take(message)
    assert not cycle.finish(failed=False)
    assert engine.take() == []


def test_a_bad_frame_before_accept_is_answered_after_it(make: Make) -> None:
    cycle, engine = make()
    cycle.next_message()
    cycle.data_received(ws.text("good") + ws.frame(0x3), False)
    cycle.take(accept())
    assert engine.take()[1].payload[:2] == (1002).to_bytes(2, "big")
    assert cycle.next_message() == received("good")
    message = cycle.next_message()
    assert message is not None
    assert message["code"] == 1002


# ---- messages ----------------------------------------------------------------------------------


@pytest.mark.parametrize("message", ["text", b"bytes", "", b"", "ü\U0001f600", b"\xff" * 70_000])
def test_receive_has_both_keys(opened: Opened, message: str | bytes) -> None:
    cycle, _ = opened()
    opcode, payload = (TEXT, message.encode()) if isinstance(message, str) else (BINARY, message)
    cycle.data_received(ws.frame(opcode, payload), False)
    assert cycle.next_message() == received(message)
    assert cycle.next_message() is None


def test_fragments_are_one_message(opened: Opened) -> None:
    cycle, engine = opened()
    pieces = [
        ws.frame(TEXT, b"a\xc3", fin=False),
        ws.frame(PING, b"between"),
        ws.frame(0, b"", fin=False),
        ws.frame(0, b"\xbcb"),
    ]
    for piece in pieces:
        assert cycle.next_message() is None
        cycle.data_received(piece, False)
    assert cycle.next_message() == received("aüb")
    assert engine.take() == [Frame(PONG, b"between")]


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ({"text": "ü"}, Frame(TEXT, b"\xc3\xbc")),
        ({"text": ""}, Frame(TEXT, b"")),
        ({"text": "a", "bytes": None}, Frame(TEXT, b"a")),
        ({"bytes": b"\xff"}, Frame(BINARY, b"\xff")),
        ({"bytes": b"", "text": None}, Frame(BINARY, b"")),
        ({"bytes": bytearray(b"a")}, Frame(BINARY, b"a")),
        ({"bytes": memoryview(b"a")}, Frame(BINARY, b"a")),
        ({"bytes": bytes(70_000)}, Frame(BINARY, bytes(70_000))),
    ],
)
def test_send(opened: Opened, message: dict[str, Any], expected: Frame) -> None:
    cycle, engine = opened()
    assert cycle.take(send(**message))
    assert engine.take() == [expected]
    assert cycle.content_sent == len(expected.payload)


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"text": None},
        {"bytes": None, "text": None},
        {"bytes": b"a", "text": "a"},
        {"bytes": b"", "text": ""},
        {"bytes": "a"},
        {"text": b"a"},
        {"text": 1},
        {"bytes": [1]},
        {"text": "\ud800"},
    ],
)
def test_send_needs_one_of_bytes_and_text(opened: Opened, message: dict[str, Any]) -> None:
    cycle, engine = opened()
    with pytest.raises(LocalProtocolError):
        cycle.take(send(**message))
    assert engine.take() == []
    cycle.take(send(text="still open"))
    assert engine.take() == [Frame(TEXT, b"still open")]


@pytest.mark.parametrize(
    "message",
    [accept(), deny(), deny_body(), {"type": "http.response.body"}, {"type": None}, {}],
)
def test_what_cannot_be_sent_after_accept(opened: Opened, message: dict[str, Any]) -> None:
    cycle, engine = opened()
    with pytest.raises(LocalProtocolError):
        cycle.take(message)
    assert engine.take() == []
    cycle.take(send(text="still open"))


# ---- credit ------------------------------------------------------------------------------------


def test_credit_comes_as_the_application_takes_messages(opened: Opened) -> None:
    """Once as much as may be has been taken in, the rest waits, and the sender with it."""
    cycle, engine = opened()
    frame = ws.binary(bytes(1000))
    given = 0
    while engine.acknowledged == given:
        cycle.data_received(frame, False)
        given += len(frame)
    assert given <= HIGH_WATER + len(frame)
    for _ in range(1000):
        cycle.data_received(frame, False)
        given += len(frame)
    assert engine.acknowledged <= HIGH_WATER + len(frame)
    taken = 0
    while (message := cycle.next_message()) is not None:
        assert message == received(bytes(1000))
        taken += len(frame)
        assert engine.acknowledged <= taken + 2 * HIGH_WATER or engine.acknowledged == given
    assert taken == engine.acknowledged == given


def test_a_message_in_the_making_is_credited(opened: Opened) -> None:
    """Its end could not come otherwise; ``max_message_size`` is what bounds it."""
    cycle, engine = opened()
    frame = ws.binary(bytes(500_000))
    for start in range(0, 400_000, 50_000):
        cycle.data_received(frame[start : start + 50_000], False)
        assert engine.acknowledged == start + 50_000


@pytest.mark.parametrize("declared", [1001, 10_000, 1 << 62])
def test_a_message_that_is_too_big_is_refused_by_its_header(opened: Opened, declared: int) -> None:
    cycle, engine = opened(max_message_size=1000)
    cycle.data_received(ws.frame(BINARY, b"the beginning", length=declared), False)
    [closing, end] = engine.take()
    assert closing.payload[:2] == (1009).to_bytes(2, "big")
    assert end == ("end",)
    message = cycle.next_message()
    assert message is not None
    assert (message["type"], message["code"]) == ("websocket.disconnect", 1009)


def test_pongs_wait_while_the_client_does_not_read(opened: Opened) -> None:
    cycle, engine = opened()
    engine.backlog = HIGH_WATER + 1
    for number in range(5000):
        cycle.data_received(ws.frame(PING, b"%0125d" % number), False)
    assert engine.take() == []
    engine.backlog = 0
    cycle.settle()
    pongs = engine.take()
    assert all(pong.opcode == PONG for pong in pongs)
    assert pongs[-1].payload == b"%0125d" % 4999  # the latest is owed an answer (§5.5.3)
    assert sum(len(pong.payload) for pong in pongs) <= 2 * HIGH_WATER
