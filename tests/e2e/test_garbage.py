"""What is left of connections that have ended: nothing for the garbage collector to find.

It runs rarely in a server, and until it has run, what connections held would be kept.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable

import pytest

from tests.conftest import Certificate, MakeClientContext
from tests.e2e.http2_client import HTTP2Client
from tests.e2e.support import Client, Server, TLSClient, wait_until
from tests.e2e.websocket_client import Socket

#: The h2 library's connection is a ring by itself; nothing else of a connection hangs on it.
OF_THE_LIBRARY = {
    "hyperserver.protocol.h2.h2_engine._Library",
    "hyperserver.protocol.h2.hpack_codec.FieldDecoder",
    "hyperserver.protocol.h2.hpack_codec.FieldEncoder",
    "hyperserver.protocol.h2.hpack_codec.Queue",
    "hyperserver.protocol.h2.hpack_codec._Memo",
}
APP = "tests.e2e.apps.garbage:app"


def garbage_after(connect: Callable[[], Client]) -> set[str]:
    """Of all connections but the one that asks, when they have ended."""
    found: set[str] = set()

    def alone() -> bool:
        with connect() as client:
            count, lost = json.loads(client.request("GET", "/left", b"").body)
        found.update(lost)
        return bool(count == 1)

    wait_until(alone, "the others have ended")
    return found


def http1(connect: Callable[[], Client]) -> None:
    """Connections that end in their several ways."""
    with connect() as client:  # closed by the client
        assert client.request("GET", "/", b"").body == b"0"
        assert client.request("POST", "/", b"12345").body == b"5"
    with connect() as client:  # by the server
        assert client.request("GET", "/", b"", connection="close").body == b"0"
        assert client.at_end()
    with connect() as client:  # refused
        client.send(b"GET / HTTP/1.1\r\n\r\n")
        assert client.head().status == 400
    with connect() as client:  # within a head
        client.send(b"GET / HTTP/1.1\r\n")
    with connect() as client:  # within a body
        client.send(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\n123")
    with connect() as client:  # reset
        client.request("GET", "/", b"")
        client.reset()
    with connect():  # nothing was asked
        pass


def http2(client: Client) -> None:
    with HTTP2Client(client.sock) as connection:
        for _ in range(3):
            assert connection.fetch("/") == b"0"
        connection.upload(connection.post("/"), bytes(100_000), end=False)
        connection.reset(connection.post("/"))


@pytest.mark.parametrize("engine", ["nghttp2", "h2"])
def test_cleartext(worker: str, engine: str) -> None:
    if engine == "nghttp2":
        pytest.importorskip("hyperserver.protocol.h2._nghttp2")
    with Server(APP, worker, "--no-access-log", "--http2-engine", engine) as server:
        garbage_after(server.connect)  # of the beginning
        for _ in range(2):
            http1(server.connect)
            http2(server.connect())
            with Socket(server, "/") as websocket:
                websocket.send_text("hello")
                assert websocket.message() == "hello"
        assert garbage_after(server.connect) <= (OF_THE_LIBRARY if engine == "h2" else set())
        assert server.stop() == 0


def test_tls(worker: str, certificate: Certificate, make_client_context: MakeClientContext) -> None:
    files = ["--tls-certificate", str(certificate.chain), "--tls-key", str(certificate.key)]
    with Server(APP, worker, "--no-access-log", *files) as server:
        address = ("127.0.0.1", server.port)

        def dial(context: ssl.SSLContext) -> Callable[[], TLSClient]:
            return lambda: TLSClient(address, context)

        secure = dial(make_client_context("http/1.1"))
        garbage_after(secure)  # of the beginning
        for _ in range(2):
            http1(secure)
            http2(dial(make_client_context("h2"))())
            with Client(address):  # no handshake
                pass
            with Client(address) as client:  # not the whole of one
                client.send(b"\x16\x03\x01\x02\x00\x01")
            with Client(address) as client:  # not TLS
                client.send(b"GET / HTTP/1.1\r\n\r\n")
                assert client.fill()
            with pytest.raises(ssl.SSLError):  # who does not trust us
                TLSClient(address, ssl.create_default_context())
        assert garbage_after(secure) == set()
        assert server.stop() == 0
