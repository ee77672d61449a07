"""WebSocket and time: pings, Closes that nobody answers, and a server that stops."""

from __future__ import annotations

import fcntl
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import WORKERS
from tests.e2e.support import Client, Server, wait_until
from tests.e2e.websocket_client import DEFLATE, Socket, new_key, serve
from tests.engines import ws_frames as ws
from tests.engines.ws_frames import BINARY, PING, PONG

#: Each worker, and each engine.
OF_WORKERS = [("asyncio", "wsproto"), ("uvloop", "websockets"), ("trio", "websockets")]


@pytest.fixture(params=OF_WORKERS, ids="-".join)
def configured(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[str], Server]]:
    """``configured(toml)``: a server with settings of its own."""
    servers: list[Server] = []
    if request.param[0] not in WORKERS:
        pytest.skip(f"no {request.param[0]} here")

    def get(config: str) -> Server:
        servers.append(serve(request.param, config=config, folder=tmp_path))
        return servers[-1]

    yield get
    for server in servers:
        with server:
            pass
        assert "internal error" not in str(server.stderr)
        assert "Traceback" not in str(server.stderr)


@pytest.fixture
def key() -> str:
    return new_key()


# ---- keepalive -----------------------------------------------------------------------------------

IMPATIENT = """
[websocket]
ping_interval = "1s"
ping_timeout = "1s"
close_timeout = "1s"
max_message_size = "1KiB"
compression = false
"""


def test_settings(configured: Callable[[str], Server], key: str) -> None:
    """Pings that must be answered, Closes too, sizes, and no compression; all side by side."""
    server = configured(IMPATIENT)
    with (
        Socket(server, f"/deaf?key={key}silent", DEFLATE) as silent,
        Socket(server, f"/echo?key={key}lively") as lively,
        Socket(server, f"/close?key={key}closed") as closed,
        Socket(server, f"/count?key={key}big") as big,
    ):
        assert "sec-websocket-extensions" not in silent.response.headers
        big.send(ws.frame(BINARY, bytes(1025)))
        assert big.until_closed()[0] == 1009
        assert closed.closed() == (1000, "")
        started = time.monotonic()
        for _ in range(2):  # a client that answers stays
            ping = lively.frame()
            assert ping.opcode == PING
            lively.send(ws.frame(PONG, ping.payload))
        lively.send_text("here")
        assert lively.message() == "here"
        assert silent.frame().opcode == PING
        code, reason = silent.until_closed()
        assert (code, reason != "") == (1011, True)
        silent.assert_ended()
        assert 1 < time.monotonic() - started < 6
        assert server.get(f"/open?key={key}silent").body == b"open"
        assert server.wait_report(f"{key}silent", "disconnect")[0] == 1011
        # nobody has answered the Close
        assert server.wait_report(f"{key}closed", "disconnect") == [1006, ""]
        assert closed.client.at_end()


# ---- the server stops ----------------------------------------------------------------------------


def test_shutdown(configured: Callable[[str], Server], key: str) -> None:
    """All are told at once; an application that does not listen has its grace."""
    server = configured('[timeouts]\ndrain = "1s"\n')
    with (
        Socket(server, f"/echo?key={key}") as client,
        Socket(server, f"/deaf?key={key}deaf") as deaf,
        server.connect() as other,
    ):
        server.wait_report(f"{key}deaf", "accepted")
        other.send(f"GET /report?key={key} HTTP/1.1\r\nhost: a\r\n".encode())
        wait_arrived(other)
        server.signal()
        for told in (client, deaf):
            assert told.closed() == (1012, "")
            told.send(ws.close(1012))
            told.assert_ended()
            told.client.close()
        other.send(b"\r\n")
        note = other.response().json
        assert (note["disconnect"], note["send"]) == ([1012, ""], "ClientDisconnected")
    assert server.wait() == 1
    assert 1 < time.monotonic() - server.signalled_at < 4


def wait_arrived(client: Client) -> None:
    """What the client has sent is with the server's process, or all but: its kernel has it."""
    queue = bytearray(4)
    wait_until(
        lambda: fcntl.ioctl(client.sock, termios.TIOCOUTQ, queue) == 0 and not any(queue),
        "the bytes are acknowledged",
    )


def test_shutdown_is_quick(configured: Callable[[str], Server]) -> None:
    server = configured("")
    clients = [Socket(server, "/echo") for _ in range(3)]
    server.signal()
    for client in clients:
        assert client.closed() == (1012, "")
        client.send(ws.close(1012))
        client.assert_ended()
        client.client.close()
    assert server.wait() == 0
    assert time.monotonic() - server.signalled_at < 2
    assert server.stderr.lines[-1] == "lifespan ends"


def test_shutdown_with_clients_that_do_not_answer(configured: Callable[[str], Server]) -> None:
    server = configured('[websocket]\nclose_timeout = "500ms"\n[timeouts]\nlinger = "500ms"\n')
    clients = [Socket(server, "/echo") for _ in range(3)]
    server.signal()
    for client in clients:
        assert client.closed() == (1012, "")
    assert server.wait() == 0
    assert time.monotonic() - server.signalled_at < 5
    for client in clients:
        client.client.close()


def test_accepted_during_shutdown(configured: Callable[[str], Server], key: str) -> None:
    server = configured("")
    with Socket(server, f"/gated?key={key}", wait=False) as client, server.connect() as other:
        server.wait_report(key, "connecting")
        other.send(b"GET /open?key=%b HTTP/1.1\r\nhost: a\r\n" % key.encode())
        wait_arrived(other)
        server.signal()
        wait_until(lambda: "finishing what is in flight" in str(server.stderr), "it stops")
        other.send(b"\r\n")
        assert other.response().body == b"open"
        client.opened()
        assert client.closed() == (1012, "")
        client.send(ws.close(1012))
        client.assert_ended()
    assert server.wait() == 0
    assert time.monotonic() - server.signalled_at < 3


def test_a_handshake_that_comes_to_its_end_during_shutdown(
    configured: Callable[[str], Server],
) -> None:
    server = configured("")
    with Socket(server, "/echo", wait=False, until=-2) as client:
        wait_arrived(client.client)
        server.signal()
        wait_until(lambda: "finishing what is in flight" in str(server.stderr), "it stops")
        client.send(b"\r\n")
        client.opened()
        client.client.sock.settimeout(2)
        assert client.closed() == (1012, "")
        client.send(ws.close(1012))
        client.assert_ended()
    assert server.wait() == 0
