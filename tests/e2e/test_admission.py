"""More connections, requests and descriptors than there may be, on every event loop."""

from __future__ import annotations

import resource
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.e2e.http2_client import HTTP2Client
from tests.e2e.support import PATIENCE, Client, Server, limit_files, wait_until

APP = "tests.e2e.apps.probe:app"


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def start(stack: ExitStack, worker: str, *options: str) -> Server:
    return stack.enter_context(Server(APP, worker, "--no-access-log", *options))


def served(stack: ExitStack, server: Server) -> Client:
    """A connection that was accepted, and stays."""
    client = stack.enter_context(server.connect())
    assert client.request("GET", "/hello").status == 200
    return client


def asked(stack: ExitStack, server: Server) -> Client:
    """A connection with a request that may have to wait."""
    client = stack.enter_context(server.connect())
    client.send(b"GET /hello HTTP/1.1\r\nhost: test\r\n\r\n")
    return client


def is_waiting(client: Client) -> bool:
    """No answer has come, and no end."""
    client.sock.settimeout(0.3)
    try:
        client.fill()
    except TimeoutError:
        return True
    else:
        return False
    finally:
        client.sock.settimeout(PATIENCE)


def test_connections_over_the_limit_wait(stack: ExitStack, worker: str) -> None:
    server = start(stack, worker, "--limits-connections", "2")
    first, second = served(stack, server), served(stack, server)
    waiting = [asked(stack, server) for _ in range(3)]
    assert all(is_waiting(client) for client in waiting)
    assert second.request("GET", "/hello").status == 200
    first.close()
    assert waiting[0].response().status == 200
    assert is_waiting(waiting[1])
    waiting[0].close()
    assert waiting[1].response().status == 200
    second.reset()
    assert waiting[2].response().status == 200
    said = "2 connections are open, more have to wait: `limits.connections`"
    assert str(server.stderr).count(said) == 1
    for client in waiting:
        client.close()
    assert server.stop() == 0


def test_a_server_that_is_full_can_be_stopped(stack: ExitStack, worker: str) -> None:
    server = start(stack, worker, "--limits-connections", "1")
    first = served(stack, server)
    asked(stack, server)
    server.signal()
    assert first.at_end()
    assert server.wait() == 0


def test_one_address_does_not_take_it_all(stack: ExitStack, worker: str) -> None:
    server = start(stack, worker, "--limits-connections-per-address", "2")
    first = served(stack, server)
    served(stack, server)
    assert asked(stack, server).at_end()
    elsewhere = stack.enter_context(from_another_address(server))
    assert elsewhere.request("GET", "/hello").status == 200
    first.close()
    wait_until(lambda: not refused(server), "there is room for another")
    assert "127.0.0.1 has 2 connections, more are closed" in str(server.stderr)
    assert server.stop() == 0


def from_another_address(server: Server) -> Client:
    client = Client.__new__(Client)
    client.sock = socket.create_connection(
        ("127.0.0.1", server.port), 20, source_address=("127.0.0.2", 0)
    )
    client.buffer = b""
    return client


def refused(server: Server) -> bool:
    with server.connect() as client:
        try:
            client.send(b"GET /hello HTTP/1.1\r\nhost: test\r\n\r\n")
            return client.at_end()
        except ConnectionError:
            return True


def test_requests_over_the_limit_are_answered_with_503(stack: ExitStack, worker: str) -> None:
    server = start(stack, worker, "--limits-requests", "1")
    slow = stack.enter_context(server.connect())
    slow.send(b"POST /echo HTTP/1.1\r\nhost: test\r\ncontent-length: 2\r\n\r\na")
    other = stack.enter_context(server.connect())
    wait_until(lambda: other.request("GET", "/hello").status == 503, "the first one runs")
    response = other.request("GET", "/hello")
    assert response.headers["retry-after"] == "1"
    assert response.body.startswith(b"503 Service Unavailable: too many requests in progress")
    with HTTP2Client(socket.create_connection(("127.0.0.1", server.port))) as http2:
        assert http2.response(http2.get("/hello")).status == 503
    slow.send(b"b")
    assert slow.response().status == 200
    wait_until(lambda: other.request("GET", "/hello").status == 200, "it has ended")
    assert server.stop() == 0


def test_a_request_counts_until_its_response_has_left(stack: ExitStack, worker: str) -> None:
    """Its application has returned long since."""
    server = start(stack, worker, "--limits-requests", "1")
    slow = stack.enter_context(server.connect(receive_buffer=65_536))
    slow.send(b"GET /big?size=30000000&key=k HTTP/1.1\r\nhost: test\r\n\r\n")
    other = stack.enter_context(server.connect())
    wait_until(lambda: other.request("GET", "/hello").status == 503, "the first one is on its way")
    assert other.request("GET", "/hello").status == 503
    assert len(slow.response().body) == 30_000_000
    wait_until(lambda: other.request("GET", "/hello").status == 200, "it has left")
    assert server.stop() == 0


needs_prlimit = pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="prlimit is Linux's")


@needs_prlimit
def test_without_descriptors_connections_wait_and_nothing_spins(
    stack: ExitStack, worker: str
) -> None:
    """As when the application has opened all there are: the limit could not foresee it."""
    server = start(stack, worker)
    first = served(stack, server)
    limit_files(server.open_files() + 4, server.pid)
    clients = [asked(stack, server) for _ in range(20)]
    answered: list[Client] = []
    wait_until(lambda: "cannot accept connections" in str(server.stderr), "descriptors run out")
    assert first.request("GET", "/hello").status == 200
    spent = server.cpu_seconds()
    until = time.monotonic() + 1.0
    wait_until(lambda: time.monotonic() > until, "a second passes")
    assert server.cpu_seconds() - spent < 0.2
    for client in clients:  # each makes room for one that waits
        assert client.response().status == 200
        answered.append(client)
        client.close()
    assert len(answered) == 20
    said = [line for line in server.stderr.lines if "connections" in line]
    assert len(said) == 1
    assert "they have to wait: " in said[0]
    assert "Too many open files" in said[0]
    assert "Traceback" not in str(server.stderr)
    assert server.stop() == 0


@needs_prlimit
def test_it_goes_on_by_itself_when_there_are_descriptors_again(
    stack: ExitStack, worker: str
) -> None:
    server = start(stack, worker)
    before = resource.prlimit(server.pid, resource.RLIMIT_NOFILE)[0]
    limit_files(server.open_files(), server.pid)
    client = asked(stack, server)
    wait_until(lambda: "cannot accept connections" in str(server.stderr), "descriptors run out")
    limit_files(before, server.pid)
    assert client.response().status == 200
    client.close()
    assert server.stop() == 0


@needs_prlimit
def test_some_descriptors_are_left_to_the_application(stack: ExitStack, worker: str) -> None:
    server = stack.enter_context(Server(APP, worker, "--no-access-log", files=80))
    clients = [asked(stack, server) for _ in range(100)]
    said = "connections are open, more have to wait: the limit of open files; raise it with"
    wait_until(lambda: said in str(server.stderr), "the bound is reached")
    assert server.open_files() <= 80 - 8 + 2
    for client in clients:
        assert client.response().status == 200
        client.close()
    assert str(server.stderr).count("limit of open files") == 1
    assert server.stop() == 0
