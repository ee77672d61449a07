"""Noise, storms and half-done things: the server goes on answering and has nothing to log."""

from __future__ import annotations

import contextlib
import random
import resource
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import WORKERS
from tests.e2e.support import Client, Server, wait_until

SEED = 20_240_607
GET = b"GET /hello HTTP/1.1\r\nhost: test\r\n\r\n"


@pytest.fixture(scope="module", params=[*WORKERS, "asyncio+h11", "trio+h11", "trio+tasks"])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    worker, app = request.param, "tests.e2e.apps.probe:app"
    if worker == "trio+tasks":
        worker, app = "trio", "tests.e2e.apps.portable:app"
    folder: Path = tmp_path_factory.mktemp("robustness")
    config = '[timeouts]\nlinger = "1s"\nrequest_head = "30s"'
    with Server(app, worker, config=config, folder=folder) as server:
        yield server
        assert server.stop() == 0


@pytest.fixture(autouse=True)
def _unmoved(request: pytest.FixtureRequest) -> Iterator[None]:
    """After every test: still answering, no sockets left, nothing in the log."""
    if "server" not in request.fixturenames:
        yield
        return
    server: Server = request.getfixturevalue("server")
    server.get("/hello")
    files = server.open_files()
    lines = len(server.stderr.lines)
    yield
    assert server.get("/hello").body == b"Hello"
    wait_until(lambda: server.open_files() <= files, "every socket is closed")
    assert server.stderr.lines[lines:] == []


def ignore_resets(client: Client, data: bytes) -> None:
    with contextlib.suppress(ConnectionError):
        client.send(data)


@pytest.mark.parametrize("number", range(4))
def test_garbage(server: Server, number: int) -> None:
    seed = SEED + number
    source = random.Random(seed)
    pieces = [b"GET ", b"POST ", b" HTTP/1.1", b"\r\n", b"\n", b"host: test", b":", b"\0", b"0"]
    pieces += [b"content-length: 5", b"transfer-encoding: chunked", b"\r\n\r\n", b"/echo", b";"]
    for attempt in range(40):
        if source.random() < 0.5:
            data = source.randbytes(source.randrange(1, 3000))
        else:
            data = b"".join(source.choices(pieces, k=source.randrange(1, 40)))
        with server.connect() as client:
            try:
                half = source.randrange(len(data))
                client.send(data[:half])
                client.send(data[half:])
                client.send_end()
                answer = client.read_rest()
            except TimeoutError:
                raise AssertionError(f"no end: seed {seed}, attempt {attempt}") from None
            except ConnectionError:
                continue
            assert not answer or answer.startswith(b"HTTP/1.1 "), (seed, attempt, answer)


@pytest.mark.parametrize("number", range(2))
def test_damaged_requests(server: Server, number: int) -> None:
    """A good request with a few bytes changed, sent in pieces."""
    seed = SEED + 100 + number
    source = random.Random(seed)
    good = (
        b"POST /echo HTTP/1.1\r\nhost: test\r\nx-field: some value\r\n"
        b"transfer-encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n" + GET
    )
    for attempt in range(60):
        data = bytearray(good)
        for _ in range(source.randrange(1, 4)):
            data[source.randrange(len(data))] = source.randrange(256)
        with server.connect() as client:
            try:
                for start in range(0, len(data), 40):
                    client.send(bytes(data[start : start + 40]))
                client.send_end()
                answer = client.read_rest()
            except TimeoutError:
                raise AssertionError(f"no end: seed {seed}, attempt {attempt}") from None
            except ConnectionError:
                continue
            assert answer.startswith(b"HTTP/1.1 "), (seed, attempt, answer)


def test_tls_client_hello(server: Server) -> None:
    hello = bytes.fromhex("16030100c8010000c40303") + random.Random(SEED).randbytes(193)
    with server.connect() as client:
        client.send(hello)
        assert client.response().status == 400
        assert client.at_end()


def test_connect_and_reset_storm(server: Server) -> None:
    for number in range(300):
        client = server.connect()
        if number % 3:
            client.send(GET if number % 3 == 1 else GET[:20])
        client.reset()


def test_leaving_in_the_middle_of_everything(server: Server) -> None:
    """The moment of leaving is varied, by the clock and by the request."""
    source = random.Random(SEED)
    targets = [b"/hello", b"/download?chunks=50", b"/events", b"/pause?seconds=0.01", b"/context"]
    for number in range(150):
        client = server.connect()
        client.send(b"GET %b HTTP/1.1\r\nhost: test\r\n\r\n" % source.choice(targets) * 3)
        if number % 2:
            time.sleep(source.random() / 100)
        if number % 4 < 2:
            client.reset()
        else:
            client.close()


def test_uploads_that_break_off(server: Server) -> None:
    source = random.Random(SEED)
    for number in range(100):
        client = server.connect()
        target = source.choice([b"/echo", b"/ignore", b"/upload?key=x"])
        client.send(b"POST %b HTTP/1.1\r\nhost: test\r\ncontent-length: 500000\r\n\r\n" % target)
        ignore_resets(client, bytes(source.randrange(400_000)))
        if number % 2:
            client.reset()
        else:
            client.close()


def test_many_half_open_requests(server: Server) -> None:
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(server.connect()) for _ in range(400)]
        for number, client in enumerate(clients):
            client.send(GET[: number % len(GET)])
        begun = time.monotonic()
        for _ in range(20):
            assert server.get("/hello").body == b"Hello"
        assert time.monotonic() - begun < 5
        for number, client in enumerate(clients):
            client.send(GET[number % len(GET) :])
        for client in clients:
            assert client.response().body == b"Hello"


def test_endless_head(server: Server) -> None:
    with server.connect() as client:
        client.send(b"GET / HTTP/1.1\r\nhost: test\r\n")
        sent = 0
        with contextlib.suppress(ConnectionError):
            while sent < 5_000_000:
                client.send(b"x-%d: y\r\n" % sent * 100)
                sent += 1000
                client.sock.settimeout(0.001)
                with contextlib.suppress(TimeoutError):
                    client.fill()
                client.sock.settimeout(20)
                if client.buffer:
                    break
        assert client.response().status == 431


def test_endless_chunk_extensions(server: Server) -> None:
    with server.connect() as client:
        client.send(b"POST /upload?key=x HTTP/1.1\r\nhost: t\r\ntransfer-encoding: chunked\r\n\r\n")
        ignore_resets(client, b"1;%b\r\nx\r\n" % (b"a" * 500) * 200)
        assert client.response().status == 400


def test_out_of_descriptors(worker: str) -> None:
    """It says so, does not spin, and recovers."""
    with Server("tests.e2e.apps.probe:app", worker) as server:
        assert server.get("/hello").status == 200
        limit = server.open_files() + 10
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (limit, limit))
        with contextlib.ExitStack() as stack:
            for _ in range(30):
                stack.enter_context(server.connect())
            before = server.cpu_seconds()
            time.sleep(1.5)
            assert server.cpu_seconds() - before < 0.3
        assert len(server.stderr.lines) < 1000

        def recovered() -> bool:
            try:
                return server.get("/hello").body == b"Hello"
            except (AssertionError, OSError):
                return False

        wait_until(recovered, "connections are accepted again")
        assert server.stop() == 0
