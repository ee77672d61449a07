"""The WebSocket half of "HTTP & WebSocket ASGI Message Format" 2.5, over HTTP/1.1 and HTTP/2."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from tests.conformance.conftest import serve
from tests.conformance.peers import (
    ACCEPT,
    CLOSE,
    HTTP1,
    HTTP2,
    RETURNED,
    SEND,
    SENT,
    Served,
    Source,
    Step,
    denial,
    dial,
    fields_of,
    hung_up,
    lost,
    must_send,
    refused,
    sends,
)
from tests.e2e.support import wait_until
from tests.e2e.websocket_client import Socket, Tunnel, new_key
from tests.engines import ws_frames as ws
from tests.engines.ws_frames import BINARY, CONTINUATION, TEXT

CONNECT = {"type": "websocket.connect"}
#: The beginning of most scripts.
OPEN: list[Step] = [("receive",), ("must_send", ACCEPT)]
UNTIL_END: Step = ("until", "websocket.disconnect")
ABNORMAL = {"type": "websocket.disconnect", "code": 1006, "reason": ""}


def disconnect(code: int, reason: str = "") -> dict[str, Any]:
    return {"type": "websocket.disconnect", "code": code, "reason": reason}


# ---- the scope -----------------------------------------------------------------------------------


def test_the_scope_is_that_of_http_without_a_method(server: Served, version: str, key: str) -> None:
    """Section "Websocket Connection Scope": ``type``, ``http_version``, ``scheme``, and the rest."""
    for secure in (False, True):
        name = f"{key}{secure}"
        fields = [(b"x-one", b"1"), (b"x-one", b"2")]
        with hung_up(
            dial(
                server,
                version,
                [("show",), *OPEN],
                *fields,
                target="/a%20b?q=%20?",
                key=name,
                secure=secure,
            )
        ):
            scope = server.notes(name)[0]
        assert (scope["type"], scope["http_version"]) == ("websocket", version)
        assert scope["scheme"] == ("wss" if secure else "ws")
        assert (scope["path"], scope["raw_path"]) == ("/a b", b"/a%20b")
        assert (scope["query_string"], scope["root_path"]) == (b"q=%20?", "")
        assert [line for line in scope["headers"] if line[0] == b"x-one"] == fields
        assert [value for name, value in scope["headers"] if name == b"host"] == [b"test"]
        assert not [name for name, _ in scope["headers"] if name[:1] == b":"]
        assert scope["client"][0] == scope["server"][0] == "127.0.0.1"
        assert scope["subprotocols"] == []
        assert scope["state"] == {"list": scope["state"]["list"]}
        assert "method" not in scope


def test_subprotocols_are_those_of_every_line_in_order(
    server: Served, version: str, key: str
) -> None:
    """``subprotocols``; RFC 6455 §11.3.4: the field may appear several times."""
    lines = [b"b, a", b"c", b"d,e"]
    fields = [(b"sec-websocket-protocol", line) for line in lines]
    with hung_up(dial(server, version, [("show",), *OPEN], *fields, key=key)):
        assert server.notes(key)[0]["subprotocols"] == ["b", "a", "c", "d", "e"]


# ---- the handshake -------------------------------------------------------------------------------


def test_connect_comes_first_and_the_handshake_waits_for_accept(
    server: Served, version: str, key: str
) -> None:
    """Section "Connect": the handshake "will be completed" with ``websocket.accept``, not before."""
    script = [("receive",), ("poll",), ("wait", key), *must_send(ACCEPT), ("echo",)]
    socket = dial(server, version, script, key=key + "n", wait=False)
    with hung_up(socket):
        assert server.notes(key + "n", 2) == [CONNECT, None]
        if isinstance(socket, Socket):
            assert socket.pending
        else:
            assert isinstance(socket, Tunnel)
            socket.client.ping()
            assert socket.answer.fields is None
        server.open(key)
        socket.opened()
        socket.send_text("hello")
        assert socket.message() == "hello"


def test_accept_answers_with_its_subprotocol_and_fields(server: Served, version: str) -> None:
    """Section "Accept": 101, or 200 by RFC 8441; ``headers`` in order."""
    headers = [(b"x-b", b"1"), (b"set-cookie", b"a=1"), (b"x-a", b"2")]
    script = [("receive",), ("must_send", ACCEPT | {"subprotocol": "b", "headers": headers})]
    offer = (b"sec-websocket-protocol", b"a, b")
    socket = dial(server, version, script, offer)
    with hung_up(socket):
        fields = fields_of(socket)
        assert (b"sec-websocket-protocol", b"b") in fields
        names = {name for name, _ in headers}
        assert [one for one in fields if one[0] in names] == headers
        if isinstance(socket, Socket):
            assert socket.response.status == 101
        else:
            assert isinstance(socket, Tunnel) and socket.answer.status == 200


@pytest.mark.parametrize(
    "more",
    [
        {"subprotocol": "c"},
        {"subprotocol": ""},
        {"subprotocol": 1},
        {"headers": [(b"sec-websocket-protocol", b"a")]},
        {"headers": [(b"Sec-WebSocket-Protocol", b"a")]},
        {"headers": [(b":status", b"200")]},
        {"headers": [(b"x-a", b"1\r\nx-b: 2")]},
        {"headers": [("x-a", "1")]},
        {"headers": [(b"sec-websocket-accept", b"1")]},
        {"headers": [(b"sec-websocket-extensions", b"x")]},
    ],
    ids=repr,
)
def test_an_accept_that_cannot_be_sent_raises(
    server: Served, version: str, key: str, more: dict[str, Any]
) -> None:
    """Section "Accept": neither a subprotocol that was not offered (RFC 6455 §4.2.2) nor fields that are
    the server's; what is sent after it counts.
    """
    script = [("receive",), *sends(ACCEPT | more, ACCEPT | {"subprotocol": "a"})]
    with hung_up(dial(server, version, script, (b"sec-websocket-protocol", b"a, b"), key=key)) as s:
        _, first, second, _ = server.notes(key)
        assert refused(first)
        assert second == SENT
        assert [value for name, value in fields_of(s) if name == b"sec-websocket-protocol"] == [
            b"a"
        ]


def test_close_before_accept_is_a_403(server: Served, version: str, key: str) -> None:
    """Section "Close": "the server must close the connection with a HTTP 403 error code"; the application
    is told that it has ended, abnormally.
    """
    script = [("receive",), *sends(CLOSE | {"code": 4000, "reason": "no"}), ("receive",)]
    answer = denial(server, version, script, key=key)
    assert (answer.status, answer.whole) == (403, True)
    assert not [name for name, _ in answer.fields if name == b"upgrade"]
    assert server.notes(key) == [CONNECT, SENT, ABNORMAL, RETURNED]


@pytest.mark.parametrize("steps", [[("fail",)], []], ids=["raises", "returns"])
@pytest.mark.parametrize("begun", [[], [("receive",)]], ids=["at-once", "connected"])
def test_an_application_that_does_not_answer_is_a_500(
    server: Served, version: str, begun: list[Step], steps: list[Step]
) -> None:
    """An honest error in place of a handshake."""
    answer = denial(server, version, [*begun, *steps])
    assert (answer.status, answer.whole) == (500, True)


def test_frames_that_come_before_accept_are_delivered_after_it(
    server: Served, version: str, key: str
) -> None:
    """A client need not wait (RFC 8441 §5), and TCP may bring both at once."""
    script = [("receive",), ("wait", key), *must_send(ACCEPT), ("echo",)]
    early = ws.text("one") + ws.binary(b"two")
    socket = dial(server, version, script, wait=False, early=early)
    with hung_up(socket):
        server.open(key)
        socket.opened()  # type: ignore[attr-defined]
        socket.send_text("three")
        assert [socket.message() for _ in range(3)] == ["one", b"two", "three"]


@pytest.mark.parametrize("how", ["reset", "end"])
def test_a_client_that_leaves_while_it_connects(
    server: Served, version: str, key: str, how: str
) -> None:
    """Section "Disconnect" with 1006; an accept that comes too late raises, and so does a message."""
    script = [("receive",), ("receive",), *sends(ACCEPT, SEND | {"text": "x"}), ("receive",)]
    socket: Any = dial(server, version, script, key=key, wait=False)
    with hung_up(socket):
        server.notes(key, 1)
        getattr(socket, how)()
        _, told, accept, send, again, _ = server.notes(key)
    assert told == again == ABNORMAL
    assert lost(accept) and lost(send)


# ---- messages ------------------------------------------------------------------------------------


def test_a_received_message_has_both_keys_and_one_value(
    server: Served, version: str, key: str
) -> None:
    """Section "Receive": frameworks index either; "exactly one must be non-None"."""
    script = [*OPEN, ("receive",), ("receive",)]
    with hung_up(dial(server, version, script, key=key)) as socket:
        socket.send_text("text é")
        socket.send_binary(b"\xff\0")
        _, text, data, _ = server.notes(key)
    assert text == {"type": "websocket.receive", "text": "text é", "bytes": None}
    assert data == {"type": "websocket.receive", "text": None, "bytes": b"\xff\0"}


def test_empty_messages_are_messages(server: Served, version: str) -> None:
    """Both ways."""
    with hung_up(dial(server, version, [*OPEN, ("echo",)])) as socket:
        for message in ("", b"", "after"):
            socket.send(ws.text(message) if isinstance(message, str) else ws.binary(message))
            assert socket.message() == message


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"text": None, "bytes": None},
        {"text": "a", "bytes": b"a"},
        {"text": "", "bytes": b""},
        {"text": b"a"},
        {"bytes": "a"},
        {"text": 1},
        {"text": "\ud800"},
    ],
    ids=repr,
)
def test_a_message_is_either_text_or_bytes(
    server: Served, version: str, key: str, more: dict[str, Any]
) -> None:
    """Section "Send": "at least one … must be non-None", and both would be two messages."""
    script = [*OPEN, *sends(SEND | more, SEND | {"text": "right", "bytes": None})]
    with hung_up(dial(server, version, script, key=key)) as socket:
        assert socket.message() == "right"
    assert [refused(note) for note in server.notes(key)[1:3]] == [True, False]


@pytest.mark.parametrize("kind", ["bytes", "bytearray", "memoryview"])
def test_bytes_may_be_any_byte_string(server: Served, version: str, kind: str) -> None:
    message = SEND | {"bytes": Source(f"{kind}(b'data')"), "text": None}
    with hung_up(dial(server, version, [*OPEN, *must_send(message)])) as socket:
        assert socket.message() == b"data"


def test_fragments_are_one_message(server: Served, version: str, key: str) -> None:
    """The text: "Protocol servers should handle message fragmentation themselves"; a Ping in between is
    answered by them as well.
    """
    script = [*OPEN, ("receive",), ("receive",)]
    with hung_up(dial(server, version, script, key=key)) as socket:
        socket.send(ws.frame(TEXT, "é".encode()[:1], fin=False))
        socket.ping(b"between")
        socket.send(ws.frame(CONTINUATION, "é".encode()[1:], fin=False))
        socket.send(ws.frame(CONTINUATION, b"!"))
        socket.send(ws.frame(BINARY, b"a", fin=False) + ws.frame(CONTINUATION, b"b"))
        assert [(note["text"], note["bytes"]) for note in server.notes(key)[1:3]] == [
            ("é!", None),
            (None, b"ab"),
        ]


# ---- how it ends ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        (ws.close(1000), disconnect(1000)),
        (ws.close(4321, "because é"), disconnect(4321, "because é")),
        (ws.close(1001, "x" * 123), disconnect(1001, "x" * 123)),
        (ws.close(), disconnect(1005)),
    ],
    ids=["1000", "4321", "longest", "none"],
)
def test_the_clients_code_and_reason_are_told(
    server: Served, version: str, key: str, sent: bytes, told: dict[str, Any]
) -> None:
    """Section "Disconnect": 1005 where there was no code (RFC 6455 §7.1.5); the Close is echoed, and what
    the application sends then raises.
    """
    script = [*OPEN, ("receive",), *sends(SEND | {"text": "late"}), ("receive",)]
    with hung_up(dial(server, version, script, key=key)) as socket:
        socket.send(sent)
        code = None if told["code"] == 1005 else told["code"]
        assert socket.closed()[0] == code
        socket.assert_ended()
    _, first, raised, second, ended = server.notes(key)
    assert first == second == told
    assert lost(raised)
    assert ended == RETURNED


@pytest.mark.parametrize("how", ["reset", "end"])
def test_a_connection_that_is_lost_is_1006(
    server: Served, version: str, key: str, how: str
) -> None:
    """RFC 6455 §7.1.5: without a closing handshake."""
    socket: Any = dial(server, version, [*OPEN, ("receive",), ("receive",)], key=key)
    with hung_up(socket):
        getattr(socket, how)()
        assert server.notes(key)[1:] == [ABNORMAL, ABNORMAL, RETURNED]


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (ws.frame(TEXT, b"x", mask=None), 1002),
        (ws.frame(3, b"reserved"), 1002),
        (ws.frame(TEXT, b"\xff\xfe"), 1007),
        (ws.frame(BINARY, bytes(2000)), 1009),
    ],
    ids=["unmasked", "opcode", "utf-8", "size"],
)
def test_a_fault_is_the_same_code_for_the_client_and_the_application(
    tailored: Served, version: str, key: str, sent: bytes, code: int
) -> None:
    """RFC 6455 §7.4.1; the limit of a message is set to 1 KiB here."""
    script = [*OPEN, ("receive",), ("receive",)]
    with hung_up(dial(tailored, version, script, key=key)) as socket:
        socket.send(sent)
        assert socket.closed()[0] == code
        notes = tailored.notes(key)
    assert [note["code"] for note in notes[1:3]] == [code, code]


@pytest.mark.parametrize(
    ("more", "code", "reason"),
    [
        ({}, 1000, ""),
        ({"code": None, "reason": None}, 1000, ""),
        ({"code": 4000, "reason": "why é"}, 4000, "why é"),
        ({"code": 1001, "reason": "é" * 100}, 1001, "é" * 61),
        ({"code": 3999, "reason": "x" * 200}, 3999, "x" * 123),
    ],
    ids=["default", "none", "both", "cut-between-characters", "cut"],
)
def test_the_applications_code_and_reason_are_sent(
    server: Served, version: str, more: dict[str, Any], code: int, reason: str
) -> None:
    """Section "Close": 1000 by default; RFC 6455 §5.5: a reason has 123 bytes of UTF-8 at most."""
    with hung_up(dial(server, version, [*OPEN, *must_send(CLOSE | more)])) as socket:
        assert socket.closed() == (code, reason)


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 2999, 5000, -1, "1000", 1e3])
def test_a_code_that_cannot_be_sent_raises(
    server: Served, version: str, key: str, code: Any
) -> None:
    """RFC 6455 §7.4: some are reserved, and not to be sent; a right one may follow."""
    script = [*OPEN, *sends(CLOSE | {"code": code}, CLOSE | {"code": 4001})]
    with hung_up(dial(server, version, script, key=key)) as socket:
        assert socket.closed()[0] == 4001
    assert [refused(note) for note in server.notes(key)[1:3]] == [True, False]


@pytest.mark.parametrize(
    ("answer", "told"),
    [(ws.close(4002, "mine"), 4002), (ws.close(4000), 4000), (ws.close(), 4000), (b"", 1006)],
    ids=["another", "echo", "none", "nothing"],
)
def test_after_its_own_close_an_application_is_told_of_the_clients(
    server: Served, version: str, key: str, answer: bytes, told: int
) -> None:
    """The code that came back, or the application's own where a Close came back without one;
    1006 without a Close (RFC 6455 §7.1.5).
    """
    script = [*OPEN, *must_send(CLOSE | {"code": 4000}), UNTIL_END, UNTIL_END]
    socket: Any = dial(server, version, script, key=key)
    with hung_up(socket):
        assert socket.closed()[0] == 4000
        if answer:
            socket.send(answer)
        else:
            socket.end()
        _, first, second, ended = server.notes(key)
    assert first[-1]["code"] == second[-1]["code"] == told
    assert ended == RETURNED


def test_send_after_its_own_close(server: Served, version: str, key: str) -> None:
    """Section "Disconnected Client": an OSError, never anything else; a second close is no fault."""
    more: list[Any] = [SEND | {"text": "late"}, CLOSE, SEND | {"bytes": b"late"}]
    with hung_up(dial(server, version, [*OPEN, *sends(CLOSE, *more)], key=key)) as socket:
        assert socket.closed()[0] == 1000
        _, closed, first, again, second, ended = server.notes(key)
    assert closed == again == SENT
    assert lost(first) and lost(second)
    assert ended == RETURNED


def test_an_application_that_raises_closes_with_1011(server: Served, version: str) -> None:
    """RFC 6455 §7.4.1: "an unexpected condition"."""
    with hung_up(dial(server, version, [*OPEN, ("fail",)])) as socket:
        assert socket.closed()[0] == 1011


def test_an_application_that_returns_closes_with_1000(server: Served, version: str) -> None:
    """The text: "if the application dies the socket should be closed"; it did what it had to do."""
    with hung_up(dial(server, version, OPEN)) as socket:
        assert socket.closed()[0] == 1000
        socket.send(ws.close(1000))
        socket.assert_ended()


def test_a_server_that_stops_says_so(worker: str) -> None:
    """RFC 6455 §7.4.2 (1012, in the registry): the application is told with it, the closing
    handshake is awaited, and only then the server ends.
    """
    script = [*OPEN, UNTIL_END, ("tell",)]
    with serve(worker) as server:
        keys = {version: new_key() for version in (HTTP1, HTTP2)}
        sockets = {
            version: dial(server, version, script, key=keys[version]) for version in (HTTP1, HTTP2)
        }
        for key in keys.values():
            server.notes(key, 1)
        server.signal(signal.SIGTERM)
        for socket in sockets.values():
            assert socket.closed()[0] == 1012
        assert server.process.poll() is None  # it waits for the handshakes
        for socket in sockets.values():
            socket.send(ws.close(1012))
            socket.assert_ended()
            with hung_up(socket):
                pass
        assert server.wait() == 0
        wait_until(lambda: str(server.stderr).count("'code': 1012") == 2, "both are told")
