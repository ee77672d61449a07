"""The end of a WebSocket: by either side, by the server, by silence."""

from __future__ import annotations

from typing import Any

import pytest

from hyperserver.errors import ClientDisconnected, LocalProtocolError
from tests.asgi.websocket_cycle import (
    ACCEPT,
    NOW,
    Make,
    Opened,
    accept,
    close,
    close_frame,
    disconnect,
    received,
    refused,
    send,
)
from tests.engines import ws_frames as ws
from tests.engines.ws_frames import PING, PONG, Frame

# ---- the end -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "reason"), [(1000, ""), (1001, "going"), (3000, "ü"), (4999, "x" * 123)]
)
def test_the_client_closes(opened: Opened, code: int, reason: str) -> None:
    cycle, engine = opened()
    cycle.data_received(ws.text("last") + ws.close(code, reason) + ws.text("beyond"), False)
    [closing, end] = engine.take()
    assert closing.payload[:2] == code.to_bytes(2, "big")
    assert end == ("end",)
    assert cycle.next_message() == received("last")
    assert cycle.next_message() == disconnect(code, reason)
    assert cycle.next_message() == disconnect(code, reason)


def test_the_client_closes_without_a_code(opened: Opened) -> None:
    cycle, engine = opened()
    cycle.data_received(ws.close(), False)
    assert engine.take() == [close_frame(None), ("end",)]
    assert cycle.next_message() == disconnect(1005)


@pytest.mark.parametrize("how", ["closed", "end_stream"])
def test_the_client_is_lost(opened: Opened, how: str) -> None:
    cycle, _ = opened()
    cycle.data_received(ws.text("last"), False)
    if how == "closed":
        cycle.closed()
    else:
        cycle.data_received(b"", True)
    assert cycle.next_message() == received("last")
    assert cycle.next_message() == disconnect(1006)


@pytest.mark.parametrize("how", ["close", "lost", "end", "fault"])
def test_send_after_the_end_is_an_os_error(opened: Opened, how: str) -> None:
    cycle, engine = opened()
    if how == "close":
        cycle.data_received(ws.close(1000), False)
    elif how == "lost":
        cycle.closed()
    elif how == "end":
        cycle.data_received(b"", True)
    else:
        cycle.data_received(ws.frame(0x7), False)
    engine.take()
    assert cycle.gone
    for _ in range(2):
        for message in (send(text="a"), send(bytes=b"a"), close(), close(code=4000)):
            with pytest.raises(OSError, match="disconnected"):
                cycle.take(message)
    assert engine.take() == []


def test_what_is_malformed_is_so_to_anybody(opened: Opened) -> None:
    cycle, _ = opened()
    cycle.closed()
    with pytest.raises(LocalProtocolError):
        cycle.take(send())


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ({}, close_frame(1000)),
        ({"code": None, "reason": None}, close_frame(1000)),
        ({"code": 1001}, close_frame(1001)),
        ({"code": 4321, "reason": "ü"}, close_frame(4321, "ü")),
        ({"reason": "why"}, close_frame(1000, "why")),
        ({"reason": "x" * 130}, close_frame(1000, "x" * 123)),
        ({"reason": "x" + "ü" * 100}, close_frame(1000, "x" + "ü" * 61)),
        ({"reason": "\U0001f600" * 40}, close_frame(1000, "\U0001f600" * 30)),
    ],
)
def test_the_application_closes(opened: Opened, message: dict[str, Any], expected: Frame) -> None:
    cycle, engine = opened()
    assert cycle.take(close(**message))
    assert engine.take() == [expected]  # the tunnel ends once the client has answered
    assert cycle.take(close()) is False
    with pytest.raises(ClientDisconnected):
        cycle.take(send(text="a"))


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 2999, 5000, 65_536, -1])
def test_codes_that_cannot_be_sent(opened: Opened, code: int) -> None:
    cycle, engine = opened()
    with pytest.raises(LocalProtocolError, match="close code"):
        cycle.take(close(code=code))
    assert engine.take() == []
    cycle.take(close(code=1000))


@pytest.mark.parametrize("extra", [{"code": "1000"}, {"code": True}, {"reason": b"why"}])
def test_a_malformed_close(opened: Opened, extra: dict[str, Any]) -> None:
    cycle, engine = opened()
    with pytest.raises(LocalProtocolError):
        cycle.take(close(**extra))
    assert engine.take() == []


def test_a_close_reason_that_cannot_be_encoded(opened: Opened) -> None:
    """It raises as 'text' does: LocalProtocolError, for an application's own fault."""
    cycle, _ = opened()
    with pytest.raises(LocalProtocolError):
        cycle.take(close(reason="\ud800"))


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (ws.close(1000), disconnect(1000)),
        (ws.close(4000, "mine"), disconnect(4000, "mine")),
        (ws.close(), disconnect(3333)),
    ],
)
def test_after_its_close_the_application_is_told_the_clients(
    opened: Opened, answer: bytes, told: dict[str, Any]
) -> None:
    cycle, engine = opened()
    cycle.data_received(ws.text("unread"), False)
    cycle.take(close(code=3333))
    assert cycle.next_message() is None
    cycle.data_received(ws.text("discarded") + ws.frame(PING, b"1"), False)
    assert cycle.next_message() is None
    assert engine.take() == [close_frame(3333), Frame(PONG, b"1")]
    cycle.data_received(answer, False)
    assert engine.take() == [("end",)]
    assert cycle.next_message() == told
    assert cycle.is_over


def test_a_client_that_does_not_answer_a_close(opened: Opened) -> None:
    cycle, engine = opened(close_timeout=10.0)
    cycle.take(close())
    engine.take()
    assert cycle.next_look == 0.0
    cycle.look(NOW)
    assert cycle.next_look == NOW + 10
    assert not cycle.is_over
    cycle.look(NOW + 10)
    assert [call[0] for call in engine.take()] == ["reset"]
    assert cycle.is_over
    assert cycle.next_message() == disconnect(1006)


@pytest.mark.parametrize(("failed", "code"), [(False, 1000), (True, 1011)])
def test_the_application_leaves_the_socket_open(opened: Opened, failed: bool, code: int) -> None:
    cycle, engine = opened()
    assert cycle.finish(failed=failed)
    assert engine.take() == [close_frame(code)]
    assert not cycle.is_over
    cycle.data_received(ws.close(code), False)
    assert engine.take() == [("end",)]
    assert cycle.is_over


def test_the_application_leaves_after_its_close(opened: Opened) -> None:
    cycle, engine = opened()
    cycle.take(close(code=4000))
    assert cycle.finish(failed=True)
    assert engine.take() == [close_frame(4000)]


def test_the_application_leaves_after_the_clients_close(opened: Opened) -> None:
    cycle, engine = opened()
    cycle.data_received(ws.close(1001), False)
    engine.take()
    assert cycle.finish(failed=False)
    assert engine.take() == []
    assert cycle.is_over


# ---- the server stops --------------------------------------------------------------------------


def test_shutdown(opened: Opened) -> None:
    """The application is told at once, behind what it has not received yet."""
    cycle, engine = opened()
    cycle.data_received(ws.text("before"), False)
    cycle.shutdown()
    assert engine.take() == [close_frame(1012)]
    assert cycle.next_message() == received("before")
    assert cycle.next_message() == disconnect(1012)
    with pytest.raises(ClientDisconnected):
        cycle.take(send(text="a"))
    cycle.data_received(ws.close(1012), False)
    assert engine.take() == [("end",)]
    assert cycle.next_message() == disconnect(1012)


def test_accepted_during_shutdown(make: Make) -> None:
    cycle, engine = make()
    cycle.next_message()
    cycle.shutdown()
    assert (engine.take(), cycle.next_message()) == ([], None)
    cycle.take(accept())
    assert engine.take() == [("accept", [ACCEPT]), close_frame(1012)]
    assert cycle.next_message() == disconnect(1012)


def test_refused_during_shutdown(make: Make) -> None:
    cycle, engine = make()
    cycle.next_message()
    cycle.shutdown()
    cycle.take(close())
    assert engine.take()[0] == refused(403)


def test_a_stop_that_has_waited_long_enough(make: Make) -> None:
    """As its grace ends, an application that has not decided is told that it is too late."""
    cycle, _ = make()
    cycle.next_message()
    cycle.shutdown()
    cycle.input_closed()
    assert cycle.next_message() == disconnect(1006)


def test_shutdown_after_the_close(opened: Opened) -> None:
    cycle, engine = opened()
    cycle.take(close(code=4000))
    cycle.shutdown()
    assert engine.take() == [close_frame(4000)]


# ---- keepalive ---------------------------------------------------------------------------------


def test_pings(opened: Opened) -> None:
    cycle, engine = opened(ping_interval=20.0, ping_timeout=5.0)
    cycle.look(NOW)
    assert (engine.take(), cycle.next_look) == ([], NOW + 20)
    cycle.look(NOW + 20)
    [ping] = engine.take()
    assert (ping.opcode, cycle.next_look) == (PING, NOW + 25)
    cycle.data_received(ws.frame(PONG, ping.payload), False)
    assert cycle.next_look == NOW + 40
    cycle.look(NOW + 40)
    assert engine.take()[0].opcode == PING
    cycle.look(NOW + 45)
    [closing, end] = engine.take()
    assert closing.payload[:2] == (1011).to_bytes(2, "big")
    assert end == ("end",)
    message = cycle.next_message()
    assert message is not None
    assert message["code"] == 1011


def test_no_pings(make: Make, opened: Opened) -> None:
    assert make()[0].next_look is None
    assert opened(ping_interval=0)[0].next_look is None
