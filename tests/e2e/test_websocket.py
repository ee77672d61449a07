"""WebSocket over HTTP/1.1 and real sockets, on every worker and with both engines.

What is the same over HTTP/2 is in test_websocket_http2.py.
"""

from __future__ import annotations

import json
import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.e2e.conftest import WORKERS
from tests.e2e.support import PATIENCE, Server
from tests.e2e.websocket_client import ACCEPT, DEFLATE, Socket, Variant, handshake, new_key, serve
from tests.engines import ws_frames as ws
from tests.engines.ws_frames import BINARY, NO_MASK, PING, PONG, TEXT, Frame

ENGINES = ["wsproto", "websockets"]
#: What has to do with frames is run with both engines, all else with one.
VARIANTS = [(worker, engine) for worker in WORKERS for engine in ENGINES]
OF_WORKERS = [("asyncio", "wsproto"), ("uvloop", "websockets"), ("trio", "websockets")]
MEGABYTE = 1_000_000


@pytest.fixture(scope="module")
def server_for() -> Iterator[Callable[[Variant], Server]]:
    """``server_for(variant)``: the probe, shared by the tests of one variant."""
    servers: dict[Variant, Server] = {}

    def get(variant: Variant) -> Server:
        if variant[0] not in WORKERS:
            pytest.skip(f"no {variant[0]} here")
        if variant not in servers:
            servers[variant] = serve(variant)
        server = servers[variant]
        assert server.process.poll() is None, f"an earlier test has ended it:\n{server.stderr}"
        return server

    yield get
    for server in servers.values():
        server.signal()
    for server in servers.values():
        with server:
            assert server.wait() == 0, str(server.stderr)
            assert "internal error" not in str(server.stderr)


@pytest.fixture(params=OF_WORKERS, ids="-".join)
def server(request: pytest.FixtureRequest, server_for: Callable[[Variant], Server]) -> Server:
    return server_for(request.param)


@pytest.fixture(params=VARIANTS, ids="-".join)
def any_server(request: pytest.FixtureRequest, server_for: Callable[[Variant], Server]) -> Server:
    return server_for(request.param)


@pytest.fixture
def key() -> str:
    return new_key()


# ---- the opening handshake -----------------------------------------------------------------------


def test_handshake(server: Server) -> None:
    lines = [
        "Sec-WebSocket-Protocol: chat, superchat",
        "sec-websocket-protocol: mqtt",
        "Origin: https://elsewhere.example",
        "X-Thing: 1",
    ]
    with Socket(server, "/seen?a=b%20c", *lines) as client:
        headers = client.response.headers
        assert headers["upgrade"].lower() == "websocket"
        assert headers["connection"].lower() == "upgrade"
        assert headers["sec-websocket-accept"] == ACCEPT
        assert not {"sec-websocket-protocol", "sec-websocket-extensions"} & set(headers)
        assert not {"content-length", "transfer-encoding"} & set(headers)
        scope = json_of(client.message())
        peer = list(client.client.sock.getsockname())
    assert (scope["type"], scope["http_version"], scope["scheme"]) == ("websocket", "1.1", "ws")
    assert "method" not in scope
    assert (scope["path"], scope["raw_path"], scope["query_string"]) == (
        "/seen",
        "/seen",
        "a=b%20c",
    )
    assert scope["subprotocols"] == ["chat", "superchat", "mqtt"]
    assert scope["client"] == peer
    assert scope["server"] == ["127.0.0.1", server.port]
    assert scope["extensions"] == {"websocket.http.response": {}}
    assert scope["asgi"] == {"version": "3.0", "spec_version": "2.5"}
    assert ["origin", "https://elsewhere.example"] in scope["headers"]
    assert ["x-thing", "1"] in scope["headers"]


def json_of(message: str | bytes) -> Any:
    return json.loads(message)


def test_fields_of_the_acceptance(server: Server) -> None:
    with server.connect() as client:
        client.send(handshake("/echo?subprotocol=mqtt", "sec-websocket-protocol: chat, mqtt"))
        lines = client.read_until(b"\r\n\r\n").decode().split("\r\n")
    assert lines[0] == "HTTP/1.1 101 Switching Protocols"
    assert lines.count("sec-websocket-protocol: mqtt") == 1
    ours = [line for line in lines if line.startswith(("x-probe", "set-cookie"))]
    assert ours == ["x-probe: 1", "set-cookie: a=1", "set-cookie: b=2"]


@pytest.mark.parametrize(
    ("lines", "status", "headers"),
    [
        (["sec-websocket-version: 12"], 426, {"sec-websocket-version": "13"}),
        (["sec-websocket-version: 8, 13"], 426, {"sec-websocket-version": "13"}),
        (["sec-websocket-version:"], 426, {"upgrade": "websocket"}),
        (["sec-websocket-key:"], 400, {}),
        (["sec-websocket-key: dGhlIHNhbXBsZSBub25j"], 400, {}),
        (["sec-websocket-key: not base64 at all!"], 400, {}),
        ([f"x-first: 1\r\nsec-websocket-key: {'A' * 22}=="], 400, {}),  # the second one
    ],
)
def test_a_handshake_that_is_refused(
    server: Server, lines: list[str], status: int, headers: dict[str, str]
) -> None:
    with server.connect() as client:
        client.send(handshake("/echo", *lines) + ws.text("in vain"))
        response = client.response()
        assert (response.status, response.complete) == (status, True)
        assert response.headers.items() >= headers.items()
        assert {"close", "upgrade"} & set(response.headers["connection"].lower().split(", "))
        if status == 426:
            assert "upgrade" in response.headers["connection"].lower()  # RFC 9110 §7.8
        client.send_end()
        assert client.at_end()


@pytest.mark.parametrize("method", ["POST", "PUT", "OPTIONS"])
def test_a_handshake_is_a_get(server: Server, method: str) -> None:
    with server.connect() as client:
        client.send(handshake("/echo", method=method))
        response = client.response(method)
        assert (response.status, response.headers["allow"]) == (405, "GET")
        assert client.at_end()


@pytest.mark.parametrize(
    "lines",
    [
        ["upgrade: WebSocket"],
        ["connection: keep-alive , UPGRADE,foo"],
        ["upgrade: h2c, websocket"],
    ],
)
def test_ways_to_ask(server: Server, lines: list[str]) -> None:
    with Socket(server, "/echo", *lines) as client:
        client.send_text("well")
        assert client.message() == "well"


@pytest.mark.parametrize(
    ("lines", "version"),
    [
        (["upgrade: fancy/2"], "1.1"),
        (["upgrade: h2c"], "1.1"),
        (["upgrade: websockets"], "1.1"),
        (["connection: keep-alive"], "1.1"),  # nobody has asked this hop to switch
        (["connection: keep-alive, upgrade"], "1.0"),
    ],
)
def test_another_upgrade_is_ignored(server: Server, lines: list[str], version: str) -> None:
    with server.connect() as client:
        request = handshake("/body", *lines, "content-length: 4", method="POST", version=version)
        for _ in range(2):  # the connection is kept
            client.send(request + b"body")
            response = client.response()
            assert (response.status, response.body) == (200, b"POST body")
        client.send(handshake("/body", *lines, version=version))
        assert client.response().body == b"GET "


def test_a_request_with_a_body_is_no_handshake(server: Server) -> None:
    with server.connect() as client:
        client.send(handshake("/body", "content-length: 4") + b"body")
        assert client.response().body == b"GET body"


def test_100_before_101(server: Server) -> None:
    """RFC 9110 §7.8."""
    with server.connect() as client:
        client.send(handshake("/echo", "expect: 100-continue"))
        assert client.head().status == 100
        assert client.head().status == 101


def test_a_handshake_after_a_request(server: Server) -> None:
    with server.connect() as client:
        client.send(b"GET /hello HTTP/1.1\r\nhost: a\r\n\r\n" + handshake("/echo") + ws.text("hi"))
        assert client.response().body == b"Hello"
        assert client.head().status == 101
        assert client.read_exactly(4) == b"\x81\x02hi"


# ---- what the application decides ----------------------------------------------------------------


def test_close_before_accept(server: Server, key: str) -> None:
    with server.connect() as client:
        client.send(handshake(f"/refuse?key={key}"))
        response = client.response()
        assert (response.status, response.complete) == (403, True)
        assert not {"upgrade", "sec-websocket-accept"} & set(response.headers)
        assert client.at_end()
    assert server.wait_report(key, "disconnect") == [1006, ""]


@pytest.mark.parametrize(
    ("query", "size"),
    [
        ("status=404", 0),
        ("status=401&pieces=3", 3072),
        ("status=500&pieces=200", 204_800),
        ("status=302&pieces=2&length=2048", 2048),
        ("status=204", 0),
        ("status=204&pieces=2", 0),
        ("status=304", 0),
    ],
)
def test_denial(server: Server, key: str, query: str, size: int) -> None:
    with server.connect() as client:
        client.send(handshake(f"/deny?key={key}&{query}") + ws.text("too early"))
        response = client.response()
        assert (response.status, response.complete) == (int(query[7:10]), True)
        assert response.body == b"\xff" * size
        assert response.headers["x-denied"] == "yes"
        assert response.headers["connection"] == "close"
        if response.status == 204:
            assert not {"content-length", "transfer-encoding"} & set(response.headers)
        assert client.at_end()
    assert server.wait_report(key, "disconnect") == [1006, ""]


def test_a_denial_that_is_cut(server: Server) -> None:
    with server.connect() as client:
        client.send(handshake("/deny?status=404&pieces=2&end=fail"))
        response = client.response()
        assert (response.status, response.complete) == (404, False)


@pytest.mark.parametrize("how", ["raise", "return"])
def test_no_decision(server: Server, how: str) -> None:
    with server.connect() as client:
        client.send(handshake(f"/fail?when=before&how={how}"))
        response = client.response()
        assert (response.status, response.complete) == (500, True)
        assert client.at_end()


@pytest.mark.parametrize(("how", "code"), [("raise", 1011), ("return", 1000)])
def test_the_application_leaves(server: Server, how: str, code: int) -> None:
    with Socket(server, f"/fail?when=after&how={how}") as client:
        assert client.closed() == (code, "")
        client.send(ws.close(code))
        client.assert_ended()


# ---- messages ------------------------------------------------------------------------------------


def test_messages_of_all_sizes(any_server: Server) -> None:
    with Socket(any_server, "/echo") as client:
        for size in (0, 1, 125, 126, 127, 65_535, 65_536, 100_000, 3 * MEGABYTE):
            client.send_binary(b"\xfe" * size)
            assert client.message() == b"\xfe" * size
            client.send_text("ü" * (size // 2))
            assert client.message() == "ü" * (size // 2)


def test_many_messages_at_once(any_server: Server) -> None:
    """More than is taken in at a time, so that they go out as the application keeps up."""
    numbers = range(20_000)
    data = b"".join(ws.frame(TEXT, b"%d" % n, mask=NO_MASK) for n in numbers)
    with Socket(any_server, "/echo") as client:
        sender = threading.Thread(target=client.send, args=(data,))
        sender.start()
        assert [client.message() for _ in numbers] == [str(n) for n in numbers]
        sender.join()


def test_bytes_one_by_one(any_server: Server) -> None:
    with any_server.connect() as client:
        client.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        frames = [
            ws.frame(TEXT, b"a\xc3", fin=False),
            ws.frame(PING, b"!"),
            ws.frame(0, b"\xbcb"),
            ws.frame(BINARY, bytes(200)),
        ]
        for byte in handshake("/echo") + b"".join(frames):
            client.send(bytes((byte,)))
        assert client.head().status == 101
        reader = ws.Reader()
        received: list[Frame] = []
        while len(received) < 3:
            received += reader.feed(client.buffer)
            client.buffer = b""
            if len(received) < 3:
                client.fill()
    assert received == [Frame(PONG, b"!"), Frame(TEXT, "aüb".encode()), Frame(BINARY, bytes(200))]


def test_frames_together_with_the_handshake(any_server: Server, key: str) -> None:
    early = ws.text("one") + ws.frame(PING, b"2") + ws.text("three")
    with Socket(any_server, f"/gated?key={key}", early=early, wait=False) as client:
        any_server.wait_report(key, "connecting")
        assert client.pending
        client.send_text("four")
        assert any_server.get(f"/open?key={key}").body == b"open"
        client.opened()
        frames = [client.frame() for _ in range(4)]
        assert sorted(frames) == sorted(
            [Frame(TEXT, b"one"), Frame(PONG, b"2"), Frame(TEXT, b"three"), Frame(TEXT, b"four")]
        )
        assert any_server.report(key)["received"] == ["one", "three", "four"]


def test_pings_are_answered_while_the_application_only_sends(server: Server, key: str) -> None:
    with Socket(server, f"/ticks?key={key}") as client:
        for number in range(3):
            client.ping(b"%d" % number)
            assert client.message() == "tick"
        client.send(ws.frame(PONG, b"unasked"))
        client.ping()
        client.send(ws.close(1000))
        assert client.until_closed() == (1000, "")
    assert server.wait_report(key, "disconnect") == [1000, ""]
    assert server.report(key)["ended"] == "ClientDisconnected"


def test_pings_are_answered_while_the_application_does_not_receive(
    server: Server, key: str
) -> None:
    with Socket(server, f"/deaf?key={key}") as client:
        client.send_text("unread")
        for number in range(3):
            client.ping(b"%d" % number)
        assert server.get(f"/open?key={key}").body == b"open"
        client.send(ws.close(1000))
        assert client.closed() == (1000, "")
    assert server.wait_report(key, "disconnect") == [1000, ""]
    assert server.report(key)["messages"] == 1


def test_pings_that_the_client_sends_without_reading(any_server: Server, key: str) -> None:
    """Of those that cannot be answered in time only the latest need be (RFC 6455 §5.5.3)."""
    pings = b"".join(ws.frame(PING, b"%0100d" % n) for n in range(50_000))
    with Socket(any_server, f"/big?key={key}&size=20000000", receive_buffer=65_536) as client:
        any_server.wait_report(key, "sending")
        before = any_server.status("VmRSS")
        client.send(pings)
        assert any_server.status("VmRSS") - before < 10 * MEGABYTE
        assert client.message() == bytes(20 * MEGABYTE)
        last = b"%0100d" % 49_999
        count = 1
        while (frame := client.frame()).payload != last:
            assert frame.opcode == PONG
            count += 1
        client.ping()


# ---- the end -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("code", "reason"), [(1000, ""), (1001, "bye ü"), (4711, "x" * 123)])
def test_the_client_closes(any_server: Server, key: str, code: int, reason: str) -> None:
    with Socket(any_server, f"/echo?key={key}") as client:
        client.send(ws.close(code, reason) + ws.text("beyond"))
        assert client.closed()[0] == code
        client.assert_ended()  # the server closes first (RFC 6455 §7.1.1)
    assert any_server.wait_report(key, "send") == "ClientDisconnected"
    assert any_server.report(key)["disconnect"] == [code, reason]


def test_the_client_closes_without_a_code(server: Server, key: str) -> None:
    with Socket(server, f"/echo?key={key}") as client:
        client.send(ws.close())
        assert client.closed() == (None, "")
        client.assert_ended()
    assert server.wait_report(key, "disconnect") == [1005, ""]


@pytest.mark.parametrize("how", ["reset", "end"])
def test_the_client_vanishes(server: Server, key: str, how: str) -> None:
    with Socket(server, f"/echo?key={key}") as client:
        client.send_text("here")
        assert client.message() == "here"
        getattr(client, how)()
        assert server.wait_report(key, "send") == "ClientDisconnected"
    assert server.report(key)["disconnect"] == [1006, ""]


@pytest.mark.parametrize("how", ["reset", "end"])
def test_the_client_vanishes_while_connecting(server: Server, key: str, how: str) -> None:
    with server.connect() as client:
        client.send(handshake(f"/undecided?key={key}"))
        server.wait_report(key, "connecting")
        if how == "reset":
            client.reset()
        else:
            client.send_end()
        server.wait_report(key, "done")
    assert server.report(key) == {
        "connecting": True,
        "disconnect": [1006, ""],
        "websocket.accept": "ClientDisconnected",
        "websocket.close": "ClientDisconnected",
        "done": True,
    }


@pytest.mark.parametrize(
    ("query", "code", "reason"),
    [
        ("", 1000, ""),
        ("&code=4000&reason=because", 4000, "because"),
        ("&reason=" + "%C3%BC" * 100, 1000, "ü" * 61),
    ],
)
def test_the_application_closes(
    server: Server, key: str, query: str, code: int, reason: str
) -> None:
    with Socket(server, f"/close?key={key}{query}") as client:
        assert client.closed() == (code, reason)
        client.send_text("unread")
        client.send(ws.close(code, "answered"))
        client.assert_ended()
    assert server.wait_report(key, "disconnect") == [code, "answered"]
    assert server.report(key)["messages"] == 0


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (ws.frame(TEXT, b"no mask", mask=None), 1002),
        (ws.frame(0x3), 1002),
        (ws.frame(TEXT, b"\xff"), 1007),
        (ws.frame(BINARY, b"", length=1 << 40), 1009),
        (ws.close(1005), 1002),
    ],
)
def test_faults(any_server: Server, key: str, fault: bytes, code: int) -> None:
    """The frames themselves are tested in tests/engines; these show that their end is the same."""
    with Socket(any_server, f"/count?key={key}") as client:
        client.send_text("good")
        assert str(client.message()).startswith("text 4 ")
        client.send(fault + ws.text("beyond"))
        assert client.closed()[0] == code
        client.assert_ended()
    assert any_server.wait_report(key, "disconnect")[0] == code


# ---- flow ----------------------------------------------------------------------------------------


def test_a_client_waits_for_an_application_that_does_not_receive(
    any_server: Server, key: str
) -> None:
    piece = ws.frame(BINARY, bytes(1000), mask=NO_MASK) * 100
    with Socket(any_server, f"/deaf?key={key}") as client:
        any_server.wait_report(key, "accepted")
        before = any_server.status("VmRSS")
        client.client.sock.settimeout(0.5)
        sent = 0
        with pytest.raises(TimeoutError):
            while sent < 120 * MEGABYTE:
                sent += client.client.sock.send(piece[sent % len(piece) :])
        # what the kernel holds, which is a few megabytes at the most, is not the server's
        assert any_server.status("VmRSS") - before < 3 * MEGABYTE
        assert sent < 20 * MEGABYTE
        client.client.sock.settimeout(PATIENCE)
        assert any_server.get(f"/open?key={key}").body == b"open"
        client.send(piece[sent % len(piece) :] + ws.close(1000))
        assert client.closed() == (1000, "")
    assert any_server.wait_report(key, "disconnect") == [1000, ""]
    whole = sent + len(piece) - sent % len(piece)
    assert any_server.report(key)["messages"] == whole // len(piece) * 100


@pytest.mark.parametrize("chunk", [100, 65_536, 1_000_000])
def test_an_application_waits_for_a_client_that_does_not_read(
    any_server: Server, key: str, chunk: int
) -> None:
    with Socket(any_server, f"/flood?key={key}&chunk={chunk}", receive_buffer=65_536) as client:
        any_server.wait_report(key, "sent")
        before = any_server.status("VmRSS")
        assert_stalls(lambda: int(any_server.report(key)["sent"]))
        assert any_server.status("VmRSS") - before < 8 * MEGABYTE
        assert any_server.report(key)["sent"] < 20 * MEGABYTE
        for _ in range(50):
            assert client.message() == bytes(chunk)
        client.reset()
        assert any_server.wait_report(key, "ended") == "ClientDisconnected"
    assert any_server.wait_report(key, "disconnect")[0] == 1006


def assert_stalls(progress: Callable[[], int]) -> None:
    """What goes on at first stands still for half a second."""
    deadline = time.monotonic() + PATIENCE
    last, since = -1, time.monotonic()
    while time.monotonic() - since < 0.5:
        assert time.monotonic() < deadline, f"it goes on: {last}"
        now = progress()
        if now != last:
            last, since = now, time.monotonic()
        time.sleep(0.02)


def test_an_application_waits_although_a_message_waits_for_it(server: Server, key: str) -> None:
    with Socket(server, f"/flood?key={key}&chunk=1000000", receive_buffer=65_536) as client:
        client.send_text("never received")
        server.wait_report(key, "sent")
        before = server.status("VmRSS")
        assert_stalls(lambda: int(server.report(key)["sent"]))
        assert server.status("VmRSS") - before < 8 * MEGABYTE
        assert server.report(key)["sent"] < 20 * MEGABYTE


def test_a_client_that_vanishes_while_nobody_reads(any_server: Server, key: str) -> None:
    """What it has sent before is delivered first."""
    piece = ws.frame(BINARY, bytes(1000), mask=NO_MASK) * 300
    with Socket(any_server, f"/deaf?key={key}") as client:
        any_server.wait_report(key, "accepted")
        client.send(piece)
        client.end()
        assert any_server.get(f"/open?key={key}").body == b"open"
        assert any_server.wait_report(key, "disconnect") == [1006, ""]
    assert any_server.report(key)["messages"] == 300


@pytest.fixture(params=OF_WORKERS, ids="-".join)
def own(request: pytest.FixtureRequest) -> Iterator[Server]:
    """One for each test: its application may be left waiting."""
    if request.param[0] not in WORKERS:
        pytest.skip(f"no {request.param[0]} here")
    with serve(request.param) as server:
        yield server
        assert "internal error" not in str(server.stderr)


def test_what_comes_before_the_acceptance_is_bounded(own: Server, key: str) -> None:
    piece = ws.frame(BINARY, bytes(1000), mask=NO_MASK) * 100
    with Socket(own, f"/undecided?key={key}", wait=False) as client:
        own.wait_report(key, "connecting")
        before = own.status("VmRSS")
        client.client.sock.settimeout(0.5)
        sent = 0
        with pytest.raises(TimeoutError):
            while sent < 120 * MEGABYTE:
                sent += client.client.sock.send(piece)
        assert sent < 20 * MEGABYTE
        assert own.status("VmRSS") - before < 2 * MEGABYTE


def test_a_reset_is_noticed_while_reading_has_stopped(
    request: pytest.FixtureRequest, own: Server, key: str
) -> None:
    """At what has come too early; the application waits for news, and cannot take that yet."""
    if "trio" not in request.node.name:
        reason = "asyncio's transports watch nothing while they are paused"
        request.applymarker(pytest.mark.xfail(raises=AssertionError, reason=reason))
    early = ws.frame(BINARY, bytes(1000), mask=NO_MASK) * 200
    with Socket(own, f"/undecided?key={key}", early=early, wait=False) as client:
        own.wait_report(key, "connecting")
        client.reset()
        assert own.wait_report(key, "disconnect", timeout=2) == [1006, ""]


# ---- compression ---------------------------------------------------------------------------------


def test_compression(any_server: Server) -> None:
    with Socket(any_server, "/echo", DEFLATE) as client:
        assert client.response.headers["sec-websocket-extensions"].startswith("permessage-deflate")
        client.send(ws.frame(TEXT, ws.deflated(b"word " * 1000), rsv1=True))
        frame = client.frame()
        assert frame.rsv1
        assert len(frame.payload) < 1000


def test_a_bomb(any_server: Server, key: str) -> None:
    """300 MB in 300 kB: it costs no more than a message may have, and is over at once."""
    deflater = zlib.compressobj(wbits=-15)
    first, again = (
        deflater.compress(bytes(MEGABYTE)) + deflater.flush(zlib.Z_SYNC_FLUSH) for _ in range(2)
    )
    bomb = first + again * 299
    assert len(bomb) < 400_000
    with Socket(any_server, f"/count?key={key}", DEFLATE) as client:
        client.send(ws.frame(BINARY, ws.deflated(b"small"), rsv1=True))
        client.message()
        any_server.reset_peak()
        before = any_server.status("VmHWM")
        client.send(ws.frame(BINARY, bomb, rsv1=True, mask=NO_MASK))
        assert client.closed()[0] == 1009
        assert any_server.status("VmHWM") - before < 16_777_216 + 6 * MEGABYTE
    assert any_server.wait_report(key, "disconnect")[0] == 1009


def test_a_message_may_be_as_large_as_it_may_be(any_server: Server) -> None:
    with Socket(any_server, "/count", DEFLATE) as client:
        most = bytes(16_777_216)
        client.send(ws.frame(BINARY, ws.deflated(most), rsv1=True, mask=NO_MASK))
        assert str(client.message()).startswith("bytes 16777216 ")
        client.send(ws.frame(BINARY, most, mask=NO_MASK))
        assert str(client.message()).startswith("bytes 16777216 ")
        client.send(ws.frame(BINARY, ws.deflated(most + b"!"), rsv1=True, mask=NO_MASK))
        assert client.closed()[0] == 1009
