"""WebSocket over streams of HTTP/2 (RFC 8441), in cleartext and over TLS, on every worker."""

from __future__ import annotations

import json
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Certificate, MakeClientContext
from tests.e2e.conftest import WORKERS
from tests.e2e.http2_client import HTTP2Client
from tests.e2e.support import PATIENCE, Server, wait_until
from tests.e2e.websocket_client import Tunnel, connect, new_key, serve
from tests.engines import h2_frames as h2
from tests.engines import ws_frames as ws
from tests.engines.ws_frames import BINARY, NO_MASK, PING, PONG, TEXT, Frame

MEGABYTE = 1_000_000
#: Each engine once, at least: what reads frames knows nothing of HTTP.
VARIANTS = [
    variant
    for variant in [("asyncio", "websockets"), ("uvloop", "wsproto"), ("trio", "websockets")]
    if variant[0] in WORKERS
]


@pytest.fixture(scope="module", params=VARIANTS, ids="-".join)
def variant(request: pytest.FixtureRequest) -> tuple[str, str]:
    worker, engine = request.param
    return worker, engine


@pytest.fixture(scope="module")
def shared(variant: tuple[str, str]) -> Iterator[Server]:
    with serve(variant) as server:
        yield server
        assert server.stop() == 0, str(server.stderr)
        assert "internal error" not in str(server.stderr)


@pytest.fixture
def server(shared: Server) -> Server:
    """The probe in cleartext, shared by the tests of one variant."""
    assert shared.process.poll() is None, f"an earlier test has ended it:\n{shared.stderr}"
    return shared


@pytest.fixture(scope="module")
def secure(variant: tuple[str, str], certificate: Certificate) -> Iterator[Server]:
    """The same behind TLS."""
    options = ["--tls-certificate", str(certificate.chain), "--tls-key", str(certificate.key)]
    with serve(variant, *options) as server:
        yield server
        assert server.stop() == 0, str(server.stderr)
        assert "internal error" not in str(server.stderr)


Dial = Callable[..., HTTP2Client]


def dial(server: Server, context: ssl.SSLContext | None = None, **options: Any) -> HTTP2Client:
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 262_144)
    sock.connect(("127.0.0.1", server.port))
    if context is None:
        return HTTP2Client(sock, options.pop("settings", None), **options)
    wrapped = context.wrap_socket(sock, server_hostname="localhost")
    assert wrapped.selected_alpn_protocol() == "h2"
    return HTTP2Client(wrapped, options.pop("settings", None), scheme=b"https", **options)


@pytest.fixture
def client(server: Server) -> Iterator[HTTP2Client]:
    """A connection by prior knowledge."""
    with dial(server) as client:
        yield client
        assert not client.ended
        assert not client.goaways


@pytest.fixture
def key() -> str:
    return new_key()


# ---- the opening handshake -----------------------------------------------------------------------


def test_the_server_says_that_it_can(client: HTTP2Client) -> None:
    assert client.reader.server_settings is not None
    assert client.reader.server_settings[h2.ENABLE_CONNECT_PROTOCOL] == 1


@pytest.mark.parametrize("tls", [False, True])
def test_handshake(
    server: Server, secure: Server, make_client_context: MakeClientContext, tls: bool
) -> None:
    context = make_client_context("h2") if tls else None
    with dial(secure if tls else server, context) as client:
        offers = [(b"sec-websocket-protocol", b"a, b"), (b"sec-websocket-protocol", b"c")]
        tunnel = Tunnel(client, "/seen?x=1", *offers, (b"origin", b"https://elsewhere"))
        fields = dict(tunnel.answer.fields or [])
        assert not {b"sec-websocket-accept", b"content-length", b"upgrade"} & set(fields)
        scope = json.loads(tunnel.message())
        peer = list(client.sock.getsockname())
        tunnel.send_text("hello")
        assert tunnel.message() == "hello"
        assert client.fetch("/hello") == b"Hello"  # beside it
        page = json.loads(client.fetch("/seen"))
    assert (scope["type"], scope["http_version"]) == ("websocket", "2")
    assert scope["scheme"] == ("wss" if tls else "ws")
    assert "method" not in scope
    assert (scope["path"], scope["query_string"]) == ("/seen", "x=1")
    assert scope["subprotocols"] == ["a", "b", "c"]
    assert scope["headers"][0] == ["host", "test"]
    assert ["origin", "https://elsewhere"] in scope["headers"]
    assert not any(name.startswith(":") for name, _ in scope["headers"])
    assert scope["client"] == page["client"] == peer


def test_fields_of_the_acceptance(client: HTTP2Client) -> None:
    tunnel = Tunnel(client, "/echo?subprotocol=b", (b"sec-websocket-protocol", b"a, b"))
    assert [
        field
        for field in tunnel.answer.fields or []
        if field[0] in {b"sec-websocket-protocol", b"x-probe", b"set-cookie"}
    ] == [
        (b"sec-websocket-protocol", b"b"),
        (b"x-probe", b"1"),
        (b"set-cookie", b"a=1"),
        (b"set-cookie", b"b=2"),
    ]


@pytest.mark.parametrize("version", [b"12", b"8, 13"])
def test_another_version(client: HTTP2Client, version: bytes) -> None:
    stream_id = connect(client, "/echo", (b"sec-websocket-version", version))
    response = client.response(stream_id)
    assert (response.status, response.get(b"sec-websocket-version")) == (400, b"13")
    assert response.complete
    assert client.fetch("/hello") == b"Hello"


def test_another_protocol(client: HTTP2Client) -> None:
    stream_id = connect(client, "/echo", protocol=b"connect-udp")
    assert client.response(stream_id).status == 501
    assert client.fetch("/hello") == b"Hello"


def test_only_connect_has_a_protocol(client: HTTP2Client) -> None:
    stream_id = client.writer.next_id
    head = h2.head(b"GET", b"/hello", scheme=b"http", authority=b"test", protocol=b"websocket")
    client.send(client.writer.headers(stream_id, head, end=True))
    assert client.response(stream_id).reset == h2.PROTOCOL_ERROR
    assert client.fetch("/hello") == b"Hello"


# ---- what the application decides ----------------------------------------------------------------


def answer(client: HTTP2Client, target: str) -> tuple[int, bytes, h2.Response]:
    """The whole of a response that is no acceptance."""
    stream_id = connect(client, target)
    response = client.reader.responses[stream_id]
    client.until(lambda: response.complete, f"a whole response: {response}")
    return response.status, bytes(client.bodies[stream_id]), response


def test_close_before_accept(server: Server, client: HTTP2Client, key: str) -> None:
    status, body, _ = answer(client, f"/refuse?key={key}")
    assert (status, body) == (403, b"")
    assert server.wait_report(key, "disconnect") == [1006, ""]
    assert client.fetch("/hello") == b"Hello"


@pytest.mark.parametrize(
    ("query", "size"),
    [
        ("status=404", 0),
        ("status=401&pieces=3", 3072),
        ("status=500&pieces=200", 204_800),
        ("status=302&pieces=2&length=2048", 2048),
        ("status=304", 0),
    ],
)
def test_denial(server: Server, client: HTTP2Client, key: str, query: str, size: int) -> None:
    status, body, response = answer(client, f"/deny?key={key}&{query}")
    assert (status, body) == (int(query[7:10]), b"\xff" * size)
    assert response.get(b"x-denied") == b"yes"
    assert server.wait_report(key, "disconnect") == [1006, ""]
    assert client.fetch("/hello") == b"Hello"


def test_a_denial_without_content(server: Server, client: HTTP2Client, key: str) -> None:
    """2xx accepts a CONNECT, so END_STREAM is what says that nothing was opened."""
    status, body, response = answer(client, f"/deny?key={key}&status=204&pieces=2")
    assert (status, body) == (204, b"")
    assert response.get(b"content-length") is None
    assert server.wait_report(key, "disconnect") == [1006, ""]


def test_a_denial_that_is_cut(client: HTTP2Client) -> None:
    stream_id = connect(client, "/deny?status=404&pieces=2&end=fail")
    response = client.response(stream_id)
    assert (response.status, response.complete) == (404, False)
    assert response.reset == h2.INTERNAL_ERROR
    assert client.fetch("/hello") == b"Hello"


@pytest.mark.parametrize("how", ["raise", "return"])
def test_no_decision(client: HTTP2Client, how: str) -> None:
    status, body, _ = answer(client, f"/fail?when=before&how={how}")
    assert (status, body) == (500, b"")
    assert client.fetch("/hello") == b"Hello"


@pytest.mark.parametrize(("how", "code"), [("raise", 1011), ("return", 1000)])
def test_the_application_leaves(client: HTTP2Client, how: str, code: int) -> None:
    tunnel = Tunnel(client, f"/fail?when=after&how={how}")
    assert tunnel.closed() == (code, "")
    tunnel.send(ws.close(code))
    tunnel.assert_ended()
    assert tunnel.answer.complete
    tunnel.end()
    assert client.fetch("/hello") == b"Hello"


# ---- messages ------------------------------------------------------------------------------------


@pytest.mark.parametrize("tls", [False, True])
def test_messages_of_all_sizes(
    server: Server, secure: Server, make_client_context: MakeClientContext, tls: bool
) -> None:
    context = make_client_context("h2") if tls else None
    with dial(secure if tls else server, context) as client:
        tunnel = Tunnel(client, "/echo")
        for size in (0, 1, 125, 126, 65_535, 65_536, 200_000, 2 * MEGABYTE):
            tunnel.send(ws.frame(BINARY, b"\xfe" * size))
            assert tunnel.message() == b"\xfe" * size
            tunnel.send_text("ü" * (size // 2))
            assert tunnel.message() == "ü" * (size // 2)


def test_many_sockets_beside_requests(server: Server, client: HTTP2Client, key: str) -> None:
    tunnels = [Tunnel(client, f"/echo?key={key}{n}", wait=False) for n in range(50)]
    for tunnel in tunnels:
        tunnel.opened()
    for turn in range(5):
        pages = [client.get("/hello") for _ in range(10)]
        for number, tunnel in enumerate(tunnels):
            tunnel.send_text(f"{number}.{turn}")
        for number, tunnel in enumerate(tunnels):
            assert tunnel.message() == f"{number}.{turn}"
        assert [client.body(page) for page in pages] == [b"Hello"] * 10
    for number, tunnel in enumerate(tunnels):
        tunnel.send(ws.close(4000 + number))
        assert tunnel.closed() == (4000 + number, "")
        tunnel.assert_ended()
        tunnel.end()
    for number in range(50):
        assert server.wait_report(f"{key}{number}", "disconnect") == [4000 + number, ""]
    # their places are free again, all of them
    assert client.reader.server_settings is not None
    limit = client.reader.server_settings[h2.MAX_CONCURRENT_STREAMS]
    again = [Tunnel(client, "/echo", wait=False) for _ in range(limit)]
    for tunnel in again:
        tunnel.opened()
        tunnel.reset()


def test_frames_together_with_the_handshake(server: Server, client: HTTP2Client, key: str) -> None:
    early = ws.text("one") + ws.frame(PING, b"2") + ws.text("three")
    tunnel = Tunnel(client, f"/gated?key={key}", early=early, wait=False)
    server.wait_report(key, "connecting")
    client.ping()
    assert tunnel.answer.fields is None  # nothing before the application has decided
    tunnel.send_text("four")
    assert client.fetch(f"/open?key={key}") == b"open"
    tunnel.opened()
    assert sorted(tunnel.frame() for _ in range(4)) == sorted(
        [Frame(TEXT, b"one"), Frame(PONG, b"2"), Frame(TEXT, b"three"), Frame(TEXT, b"four")]
    )
    assert server.report(key)["received"] == ["one", "three", "four"]


@pytest.mark.parametrize("target", ["ticks", "deaf"])
def test_pings_are_answered(server: Server, client: HTTP2Client, key: str, target: str) -> None:
    """Whether the application only sends, or does nothing at all."""
    tunnel = Tunnel(client, f"/{target}?key={key}")
    tunnel.send_text("unread")
    for number in range(3):
        tunnel.ping(b"%d" % number)
    assert client.fetch(f"/open?key={key}") == b"open"
    tunnel.send(ws.close(1000))
    assert tunnel.until_closed() == (1000, "")
    tunnel.end()
    assert server.wait_report(key, "disconnect") == [1000, ""]


# ---- the end -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("code", "reason"), [(1000, ""), (4711, "because ü"), (None, "")])
def test_the_client_closes(
    server: Server, client: HTTP2Client, key: str, code: int | None, reason: str
) -> None:
    """Both ends of the tunnel close with END_STREAM (RFC 8441 §5), and neither is reset."""
    tunnel = Tunnel(client, f"/echo?key={key}")
    tunnel.send(ws.close(code, reason))
    assert tunnel.closed()[0] == code
    tunnel.assert_ended()
    assert (tunnel.answer.complete, tunnel.answer.reset) == (True, None)
    tunnel.end()
    client.ping()
    assert tunnel.answer.reset in {None, h2.NO_ERROR}
    assert server.wait_report(key, "disconnect") == [1005 if code is None else code, reason]


def test_a_close_that_comes_with_the_end(server: Server, client: HTTP2Client, key: str) -> None:
    tunnel = Tunnel(client, f"/echo?key={key}")
    client.data(tunnel.stream_id, ws.close(1001), end=True)
    assert tunnel.closed() == (1001, "")
    tunnel.assert_ended()
    assert (tunnel.answer.complete, tunnel.answer.reset) == (True, None)
    assert server.wait_report(key, "disconnect") == [1001, ""]


@pytest.mark.parametrize(
    ("query", "code", "reason"), [("", 1000, ""), ("&code=4000&reason=because", 4000, "because")]
)
def test_the_application_closes(
    server: Server, client: HTTP2Client, key: str, query: str, code: int, reason: str
) -> None:
    tunnel = Tunnel(client, f"/close?key={key}{query}")
    assert tunnel.closed() == (code, reason)
    tunnel.send_text("unread")
    assert not tunnel.answer.complete
    tunnel.send(ws.close(code, "answered"))
    tunnel.assert_ended()
    assert (tunnel.answer.complete, tunnel.answer.reset) == (True, None)
    tunnel.end()
    assert server.wait_report(key, "disconnect") == [code, "answered"]
    assert client.fetch("/hello") == b"Hello"


@pytest.mark.parametrize("how", ["reset", "end"])
def test_the_client_vanishes(server: Server, client: HTTP2Client, key: str, how: str) -> None:
    tunnel = Tunnel(client, f"/echo?key={key}")
    tunnel.send_text("here")
    assert tunnel.message() == "here"
    getattr(tunnel, how)()
    assert server.wait_report(key, "send") == "ClientDisconnected"
    assert server.report(key)["disconnect"] == [1006, ""]
    if how == "end":
        tunnel.assert_ended()
    assert client.fetch("/hello") == b"Hello"


@pytest.mark.parametrize("how", ["reset", "end"])
def test_the_client_vanishes_while_connecting(
    server: Server, client: HTTP2Client, key: str, how: str
) -> None:
    tunnel = Tunnel(client, f"/undecided?key={key}", wait=False)
    server.wait_report(key, "connecting")
    getattr(tunnel, how)()
    server.wait_report(key, "done")
    note = server.report(key)
    assert note["disconnect"] == [1006, ""]
    assert note["websocket.accept"] == note["websocket.close"] == "ClientDisconnected"
    assert client.fetch("/hello") == b"Hello"


def test_the_connection_vanishes(server: Server, key: str) -> None:
    with dial(server) as client:
        for number in range(3):
            Tunnel(client, f"/echo?key={key}{number}")
    for number in range(3):
        assert server.wait_report(f"{key}{number}", "disconnect") == [1006, ""]


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (ws.frame(TEXT, b"no mask", mask=None), 1002),
        (ws.frame(TEXT, b"\xff"), 1007),
        (ws.frame(BINARY, b"", length=1 << 40), 1009),
    ],
)
def test_faults(server: Server, client: HTTP2Client, key: str, fault: bytes, code: int) -> None:
    tunnel = Tunnel(client, f"/count?key={key}")
    tunnel.send(fault)
    assert tunnel.closed()[0] == code
    tunnel.assert_ended()
    assert (tunnel.answer.complete, tunnel.answer.reset) == (True, None)
    assert server.wait_report(key, "disconnect")[0] == code
    assert client.fetch("/hello") == b"Hello"


# ---- flow ----------------------------------------------------------------------------------------


def test_a_client_waits_for_an_application_that_does_not_receive(
    server: Server, client: HTTP2Client, key: str
) -> None:
    """Its stream has no credit left; all others go on."""
    message = ws.frame(BINARY, bytes(1000), mask=NO_MASK)
    tunnel = Tunnel(client, f"/deaf?key={key}")
    before = server.status("VmRSS")
    stream_id, sent = tunnel.stream_id, 0
    while True:
        client.ping()  # what credit there is has come
        credit = client.credit(stream_id)
        if not credit:
            break
        assert sent < 5 * MEGABYTE
        while credit:
            start = sent % len(message)
            piece = message[start : start + credit]
            client.data(stream_id, piece)
            sent += len(piece)
            credit -= len(piece)
    assert sent > 65_536
    assert server.status("VmRSS") - before < 3 * MEGABYTE
    assert client.fetch("/hello") == b"Hello"
    other = Tunnel(client, "/echo")
    other.send_binary(bytes(300_000))
    assert other.message() == bytes(300_000)
    assert client.credit(stream_id) == 0
    assert client.fetch(f"/open?key={key}") == b"open"
    tunnel.send(message[sent % len(message) :] + ws.close(1000))
    assert tunnel.closed() == (1000, "")
    tunnel.end()
    assert server.wait_report(key, "disconnect") == [1000, ""]
    assert server.report(key)["messages"] == sent // len(message) + 1


@pytest.mark.parametrize("chunk", [100, 65_536, 1_000_000])
def test_an_application_waits_for_a_client_that_gives_no_credit(
    server: Server, key: str, chunk: int
) -> None:
    with dial(server, grants=False) as client:
        tunnel = Tunnel(client, f"/flood?key={key}&chunk={chunk}")
        server.wait_report(key, "sent")
        before = server.status("VmRSS")
        assert_stalls(lambda: int(server.report(key)["sent"]))
        assert server.status("VmRSS") - before < 4 * MEGABYTE
        assert server.report(key)["sent"] < 3 * MEGABYTE
        tunnel.reset()
        assert server.wait_report(key, "ended") == "ClientDisconnected"
        assert server.wait_report(key, "disconnect")[0] == 1006


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


# ---- the server stops ----------------------------------------------------------------------------


@pytest.fixture
def own(variant: tuple[str, str], tmp_path: Path) -> Iterator[Callable[[str], Server]]:
    """``own(toml)``: a server that may be stopped."""
    servers: list[Server] = []

    def get(config: str) -> Server:
        servers.append(serve(variant, config=config, folder=tmp_path))
        return servers[-1]

    yield get
    for server in servers:
        with server:
            pass
        assert "internal error" not in str(server.stderr)
        assert "Traceback" not in str(server.stderr)


def test_pongs_that_had_to_wait_for_credit(own: Callable[[str], Server], key: str) -> None:
    """They go out as soon as they can, with no further cause; nor is one the server's own ping."""
    server = own('[websocket]\nping_interval = "1h"\n[timeouts]\nrequest_head = "100ms"\n')
    with dial(server, grants=False) as client:
        size = 500_000
        tunnel = Tunnel(client, f"/big?key={key}&size={size}")
        server.wait_report(key, "sending")
        client.until(lambda: len(client.bodies[tunnel.stream_id]) == h2.DEFAULT_WINDOW, "a window")
        with server.connect() as idle:
            assert idle.at_end()  # the server has looked at its clocks, and at that of the tunnel
        tunnel.send(ws.frame(PING, b"answer me"))
        client.ping()
        client.grant(0, size)
        client.grant(tunnel.stream_id, size)
        client.sock.settimeout(2)
        assert tunnel.message() == bytes(size)
        assert tunnel.frame() == Frame(PONG, b"answer me")


def test_shutdown(own: Callable[[str], Server], key: str) -> None:
    server = own("")
    with dial(server) as client:
        tunnels = [Tunnel(client, f"/echo?key={key}{n}") for n in range(3)]
        gate = client.get("/hello")
        assert client.body(gate) == b"Hello"
        server.signal()
        for tunnel in tunnels:
            assert tunnel.closed() == (1012, "")
            tunnel.send(ws.close(1012))
            tunnel.assert_ended()
            assert (tunnel.answer.complete, tunnel.answer.reset) == (True, None)
            tunnel.end()
        client.read_rest()
        assert [goaway.error for goaway in client.goaways][-1] == h2.NO_ERROR
        assert client.goaways[-1].last >= tunnels[-1].stream_id
    assert server.wait() == 0
    assert time.monotonic() - server.signalled_at < 3


def test_shutdown_with_a_client_that_does_not_answer(own: Callable[[str], Server]) -> None:
    server = own('[websocket]\nclose_timeout = "500ms"\n[timeouts]\nlinger = "500ms"\n')
    with dial(server) as client:
        tunnel = Tunnel(client, "/echo")
        server.signal()
        assert tunnel.closed() == (1012, "")
        client.read_rest()
        assert tunnel.answer.reset is not None
    assert server.wait() == 0
    assert time.monotonic() - server.signalled_at < 5


def test_a_socket_that_begins_between_the_goaways(own: Callable[[str], Server]) -> None:
    """What the client had sent before it saw the first GOAWAY is served (RFC 9113 §6.8)."""
    server = own("")
    with dial(server) as client:
        first = Tunnel(client, "/echo")
        stream_id = client.writer.next_id
        head = h2.websocket(path=b"/echo")
        server.signal()
        wait_until(lambda: "finishing what is in flight" in str(server.stderr), "it stops")
        client.send(client.writer.headers(stream_id, head))
        response = client.reader.responses[stream_id]
        client.until(lambda: response.fields or response.reset is not None, "an answer")
        assert first.closed() == (1012, "")
        first.send(ws.close(1012))
        first.end()
        if response.reset is not None:
            assert response.reset == h2.REFUSED_STREAM
            return
        assert response.status == 200
        client.sock.settimeout(2)
        client.until(lambda: client.bodies[stream_id], "a Close")
        assert ws.Reader().feed(bytes(client.bodies[stream_id])) == [
            Frame(ws.CLOSE, (1012).to_bytes(2, "big"))
        ]


# ---- keepalive -----------------------------------------------------------------------------------


def test_keepalive(own: Callable[[str], Server], key: str) -> None:
    """A client whose sockets are silent is asked on each; the connection stays."""
    server = own('[websocket]\nping_interval = "1s"\nping_timeout = "1s"\n')
    with dial(server) as client:
        lively = Tunnel(client, f"/echo?key={key}lively")
        silent = Tunnel(client, f"/echo?key={key}silent")
        ping = lively.frame()
        assert ping.opcode == PING
        lively.send(ws.frame(PONG, ping.payload))
        assert silent.frame().opcode == PING
        assert silent.closed()[0] == 1011
        silent.assert_ended()
        assert server.wait_report(f"{key}silent", "disconnect")[0] == 1011
        ping = lively.frame()
        assert ping.opcode == PING
        lively.send(ws.frame(PONG, ping.payload) + ws.text("here"))
        assert lively.message() == "here"
        assert "disconnect" not in json.loads(client.fetch(f"/report?key={key}lively"))
