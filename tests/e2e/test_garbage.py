"""What a connection has held goes with it: memory that waits for the garbage collector is memory that
a server of many short connections does not have.
"""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.conftest import Certificate, MakeClientContext
from tests.e2e.conftest import HTTP2_VARIANTS, WORKERS
from tests.e2e.http2_client import HTTP2Client
from tests.e2e.support import Client, Server, wait_until
from tests.e2e.websocket_client import handshake
from tests.engines import h2_frames as wire

APP = "tests.e2e.apps.garbage:app"
TIMES = 3
#: asyncio's transports know themselves.
ASYNCIO = {
    "asyncio.selector_events._SelectorSocketTransport", "asyncio.trsock.TransportSocket",
    "builtins.dict", "collections.deque", "builtins.method", "builtins.tuple", "socket.socket",
}  # fmt: skip


def say_nothing(client: Client) -> None:
    client.send(b"GET / HT")


def get_and_close(client: Client) -> None:
    assert client.request("GET", "/").status == 200


def get_and_reset(client: Client) -> None:
    client.send(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
    client.reset()


def post_in_part(client: Client) -> None:
    client.send(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\npart")


def post_in_chunks(client: Client) -> None:
    client.send(b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n")
    client.send(b"4\r\nbody\r\n0\r\n\r\n")
    assert client.response().status == 200


def speak_nonsense(client: Client) -> None:
    client.send(b"\x00\x01\x02\r\n\r\n")
    assert client.response().status == 400


def open_a_websocket(client: Client) -> None:
    client.send(handshake("/"))
    assert client.head().status == 101


def break_http2(client: Client) -> None:
    client.send(wire.PREFACE + wire.settings({}) + wire.frame(wire.DATA, 1, b"of no stream"))
    client.read_rest()


def speak_http2(client: Client) -> None:
    speaking = HTTP2Client(client.sock)
    for _ in range(3):
        speaking.fetch("/")
    upload = speaking.post("/")
    speaking.upload(upload, bytes(100_000))
    speaking.body(upload)
    speaking.post("/")  # without its body
    speaking.reset(speaking.get("/"))


HTTP1 = (
    say_nothing, get_and_close, get_and_reset, post_in_part, post_in_chunks, speak_nonsense,
    open_a_websocket,
)  # fmt: skip
HTTP2 = (break_http2, speak_http2)

#: A new connection for a protocol by its ALPN name.
Connect = Callable[[str], Client]


def assert_nothing_left(server: Server, connect: Connect) -> None:
    def talk() -> None:
        for protocol, ways in (("http/1.1", HTTP1), ("h2", HTTP2)):
            for way in ways:
                with connect(protocol) as client:
                    way(client)

    def ask(target: str) -> object:
        with connect("http/1.1") as client:
            return json.loads(client.request("GET", target).body)

    talk()  # what is made once is not what this is about
    ask("/begin")
    for _ in range(TIMES):
        talk()
    wait_until(lambda: ask("/connections") == 1, "no connection but the one that asks")
    left = ask("/left")
    assert isinstance(left, list)
    assert set(left) <= (ASYNCIO if "asyncio, HTTP" in str(server.stderr) else set())
    assert server.stop() == 0
    assert "internal error" not in str(server.stderr)


@pytest.mark.parametrize("worker", [*HTTP2_VARIANTS, "trio+h11"])
def test_no_connection_waits_for_the_garbage_collector(worker: str) -> None:
    with Server(APP, worker, "--no-access-log") as server:
        assert_nothing_left(server, lambda _: server.connect())


@pytest.mark.parametrize("worker", WORKERS)
def test_nor_does_one_with_tls(
    worker: str, certificate: Certificate, make_client_context: MakeClientContext
) -> None:
    contexts = {protocol: make_client_context(protocol) for protocol in ("http/1.1", "h2")}

    def connect(protocol: str) -> Client:
        client = server.connect()
        context = contexts[protocol]
        client.sock = context.wrap_socket(client.sock, server_hostname="localhost")
        return client

    files = ("--tls-certificate", str(certificate.chain), "--tls-key", str(certificate.key))
    with Server(APP, worker, "--no-access-log", *files) as server:
        for _ in range(TIMES):
            with server.connect() as client:
                client.send(b"\x16\x03\x01")  # of a ClientHello
        assert_nothing_left(server, connect)
