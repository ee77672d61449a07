"""Every timeout, with small values, by the clock of the client."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import WORKERS
from tests.e2e.support import Client, Server

CONFIG = """
[timeouts]
request_head = "1s"
request_body = "1s"
keep_alive = "1500ms"
linger = "500ms"
min_body_rate = 1000
"""
#: Two sweeps of half a second, and a busy machine.
LATE = 2.5


@pytest.fixture(scope="module", params=WORKERS)
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    folder: Path = tmp_path_factory.mktemp("timeouts")
    with Server("tests.e2e.apps.probe:app", request.param, config=CONFIG, folder=folder) as server:
        yield server
        assert server.stop() == 0
        assert "Traceback" not in str(server.stderr)


def drip(client: Client, data: bytes, pause: float = 0.1) -> float:
    """Send byte by byte until the server says or closes something; the seconds that took."""
    begun = time.monotonic()
    client.sock.settimeout(pause)
    for byte in data:
        try:
            client.send(bytes((byte,)))
            client.fill()
        except TimeoutError:
            continue
        except ConnectionError:
            pass
        client.sock.settimeout(10)
        return time.monotonic() - begun
    raise AssertionError("the server took everything")


def test_dripped_head(server: Server) -> None:
    """The timeout is that of the whole head: progress does not extend it."""
    with server.connect() as client:
        seconds = drip(client, b"GET /hello HTTP/1.1\r\nhost: test\r\nx: " + b"y" * 100)
        assert 0.9 <= seconds < 1 + LATE
        response = client.response()
        assert response.status == 408
        assert response.headers["connection"] == "close"
        assert client.at_end()


def test_dripped_second_head(server: Server) -> None:
    with server.connect() as client:
        assert client.request("GET", "/hello").status == 200
        seconds = drip(client, b"GET /hello HTTP/1.1\r\nhost: test\r\nx: " + b"y" * 100)
        assert 0.9 <= seconds < 1 + LATE
        assert client.response().status == 408


def test_silent_connection(server: Server) -> None:
    with server.connect() as client:
        begun = time.monotonic()
        assert client.read_rest() == b""  # nothing was asked, nothing is answered
        assert 0.9 <= time.monotonic() - begun < 1 + LATE


def test_idle_connection(server: Server) -> None:
    with server.connect() as client:
        assert client.request("GET", "/hello").status == 200
        begun = time.monotonic()
        assert client.read_rest() == b""
        assert 1.4 <= time.monotonic() - begun < 1.5 + LATE


def test_waiting_for_the_application_is_not_idle(server: Server) -> None:
    with server.connect() as asking, server.connect() as sending:
        for client, begin in (
            (asking, b"GET /pause?seconds=2.2 HTTP/1.1\r\nhost: test\r\n\r\n"),
            (
                sending,
                b"POST /echo?delay=2.2 HTTP/1.1\r\nhost: test\r\ncontent-length: 4\r\n\r\nbody",
            ),
        ):
            client.send(begin)
        assert asking.response().body == b"slept"
        assert sending.response().body == b"body"


@pytest.mark.parametrize("framing", ["content-length: 1000", "transfer-encoding: chunked"])
def test_stalled_body(server: Server, framing: str) -> None:
    key = f"stalled {framing[:8]}"
    with server.connect() as client:
        request = (
            f"POST /upload?key={key.replace(' ', '+')} HTTP/1.1\r\nhost: t\r\n{framing}\r\n\r\n"
        )
        begun = time.monotonic()
        client.send(request.encode() + b"5\r\nfirst\r\n")
        assert client.response().status == 408
        assert 0.9 <= time.monotonic() - begun < 1 + LATE
        assert client.at_end()
    assert server.wait_report(key.replace(" ", "+"), "disconnected after") < 20


def test_slow_body(server: Server) -> None:
    """Progress below the minimum rate buys no more than its own time."""
    with server.connect() as client:
        client.send(b"POST /upload?key=slow HTTP/1.1\r\nhost: t\r\ncontent-length: 9999\r\n\r\n")
        seconds = drip(client, b"x" * 100)
        assert 0.9 <= seconds < 1 + LATE
        assert client.response().status == 408


def test_steady_body(server: Server) -> None:
    """Faster than the minimum rate: it may take longer than the timeout."""
    with server.connect() as client:
        client.send(b"POST /upload?key=steady HTTP/1.1\r\nhost: t\r\ncontent-length: 5000\r\n\r\n")
        for _ in range(25):
            client.send(b"x" * 200)
            time.sleep(0.1)
        assert client.response().body.startswith(b"5000 ")


def test_lingering_ends(server: Server) -> None:
    """A client that does not close after the last response is not waited for without end."""
    with server.connect() as client:
        assert client.request("GET", "/hello", connection="close").status == 200
        assert client.read_rest() == b""
        deadline = time.monotonic() + 1 + LATE
        with pytest.raises(ConnectionError):
            while time.monotonic() < deadline:
                client.send(b"still here")
                time.sleep(0.1)


def test_a_long_answer_outlasts_the_linger_timeout(server: Server) -> None:
    """An early answer to an upload, read slowly: the staged close waits until it has arrived."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        sock.settimeout(10)
        sock.connect(("127.0.0.1", server.port))
        sock.sendall(
            b"POST /big?key=linger&size=7000000 HTTP/1.1\r\nhost: test\r\ncontent-length: 100000000\r\n\r\n"
        )
        received = 0
        begun = time.monotonic()
        while data := sock.recv(65_536):
            received += len(data)
            try:
                sock.send(b"u" * 1000, socket.MSG_DONTWAIT)  # the upload goes on
            except BlockingIOError:
                pass
            time.sleep(len(data) / 4e6)  # a client this slow
    assert received > 7_000_000
    assert time.monotonic() - begun > 1  # linger is half a second
