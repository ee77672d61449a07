"""The order of a WebSocket's ASGI messages, on a recording engine and a real state machine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from hyperserver.asgi.websocket import WebSocketCycle
from hyperserver.errors import ClientDisconnected, LocalProtocolError
from hyperserver.protocol.events import Event, Headers, RequestReceived
from hyperserver.protocol.interface import HIGH_WATER, TunnelSink
from hyperserver.protocol.websocket.connection import WebSocket, WebSocketOptions
from hyperserver.protocol.websocket.frames import MakeFrameReader
from hyperserver.protocol.websocket.handshake import read_handshake
from hyperserver.protocol.websocket.websockets_engine import FrameReader as WebsocketsReader
from hyperserver.protocol.websocket.wsproto_engine import FrameReader as WsprotoReader
from tests.engines import ws_frames as ws
from tests.engines.ws_frames import BINARY, CLOSE, PING, PONG, TEXT, Frame

CONNECT = {"type": "websocket.connect"}
KEY = (b"sec-websocket-key", b"dGhlIHNhbXBsZSBub25jZQ==")
VERSION = (b"sec-websocket-version", b"13")
#: The answer to KEY, as RFC 6455 §1.3 works it out.
ACCEPT = (b"sec-websocket-accept", b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")

NOW = 1000.0


class Engine:
    """Takes every command and remembers it in ``calls``; what a tunnel is sent, as frames."""

    can_push = False
    is_closed = False

    def __init__(self, http_version: str) -> None:
        self.http_version = http_version
        self.calls: list[tuple[object, ...]] = []
        self.acknowledged = 0
        self.backlog = 0
        self.tunnel = False
        self._frames = ws.Reader()

    def take(self) -> list[Any]:
        calls, self.calls = self.calls, []
        return calls

    def buffered(self, stream_id: int) -> int:
        return self.backlog

    def send_informational(self, stream_id: int, status: int, headers: Headers) -> None:
        self.calls.append(("informational", status, headers))

    def send_headers(
        self, stream_id: int, status: int, headers: Headers, end_stream: bool = False
    ) -> None:
        self.calls.append(("headers", status, list(headers), end_stream))

    def send_response(self, stream_id: int, status: int, headers: Headers, body: bytes) -> None:
        self.send_headers(stream_id, status, headers)
        self.send_data(stream_id, body, True)

    def send_data(self, stream_id: int, data: bytes, end_stream: bool = False) -> None:
        if not self.tunnel:
            self.calls.append(("data", data, end_stream))
            return
        self.calls += self._frames.feed(data)
        if end_stream:
            self.calls.append(("end",))
            assert not self._frames.buffer, "the tunnel ends within a frame"

    def send_trailers(self, stream_id: int, headers: Headers) -> None:
        raise NotImplementedError

    def accept_tunnel(
        self, stream_id: int, headers: Headers, sink: TunnelSink | None = None
    ) -> None:
        self.calls.append(("accept", list(headers)))
        self.tunnel = True

    def push_stream(self, stream_id: int, target: bytes, headers: Headers) -> int | None:
        raise NotImplementedError

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


Made = tuple[WebSocketCycle, Engine]
Make = Callable[..., Made]


@pytest.fixture(params=["wsproto", "websockets"])
def make_reader(request: pytest.FixtureRequest) -> MakeFrameReader:
    return WsprotoReader if request.param == "wsproto" else WebsocketsReader


@pytest.fixture
def make(make_reader: MakeFrameReader) -> Make:
    """``make(*fields, version="1.1", …)``: a cycle whose handshake is well-formed."""

    def make(*fields: tuple[bytes, bytes], version: str = "1.1", **options: Any) -> Made:
        engine = Engine(version)
        http1 = version == "1.1"
        request = RequestReceived(
            stream_id=1,
            method="GET" if http1 else "CONNECT",
            target=b"/chat",
            headers=[(b"host", b"a"), VERSION, *([KEY] if http1 else []), *fields],
            http_version=version,
            scheme="http",
            authority=b"a",
            protocol="websocket",
            end_stream=http1,
        )
        handshake = read_handshake(request, None)
        settings = WebSocketOptions(**options)
        cycle = WebSocketCycle(
            engine, request, handshake, lambda _: WebSocket(make_reader, settings, None)
        )
        return cycle, engine

    return make


@pytest.fixture
def opened(make: Make) -> Callable[..., Made]:
    """``opened(…)``: the same, accepted, with the acceptance taken from the engine."""

    def opened(**options: Any) -> Made:
        cycle, engine = make(**options)
        assert cycle.next_message() == CONNECT
        assert cycle.take(accept())
        engine.take()
        return cycle, engine

    return opened


Opened = Callable[..., Made]


def accept(**more: Any) -> dict[str, Any]:
    return {"type": "websocket.accept", **more}


def send(**more: Any) -> dict[str, Any]:
    return {"type": "websocket.send", **more}


def close(**more: Any) -> dict[str, Any]:
    return {"type": "websocket.close", **more}


def deny(status: Any = 404, headers: Any = (), **more: Any) -> dict[str, Any]:
    return {"type": "websocket.http.response.start", "status": status, "headers": headers, **more}


def deny_body(body: Any = b"", more_body: bool = False) -> dict[str, Any]:
    return {"type": "websocket.http.response.body", "body": body, "more_body": more_body}


def received(message: str | bytes) -> dict[str, Any]:
    return {
        "type": "websocket.receive",
        "bytes": message if isinstance(message, bytes) else None,
        "text": message if isinstance(message, str) else None,
    }


def disconnect(code: int, reason: str = "") -> dict[str, Any]:
    return {"type": "websocket.disconnect", "code": code, "reason": reason}


def close_frame(code: int | None, reason: str = "") -> Frame:
    return Frame(CLOSE, b"" if code is None else code.to_bytes(2, "big") + reason.encode())


def refused(status: int) -> tuple[object, ...]:
    return ("headers", status, [(b"content-length", b"0")], False)


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


# ---- refusing ----------------------------------------------------------------------------------


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
