"""The driver: what it writes, and how often."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Any

import anyio
import pytest
import trio

from hyperserver.config.schema import Config, Log
from hyperserver.runtime.connection import Connection
from hyperserver.runtime.listeners import OpenSocket
from hyperserver.runtime.worker import Worker
from tests.engines import h2_frames as wire

STREAMS = 16


class Transport:
    """Takes everything, and remembers each write."""

    congested = False
    can_lend = False
    held = 0

    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.together: list[tuple[int, int]] = []

    def write(self, data: bytes) -> None:
        if data:
            self.writes.append(data)

    def write_together(self, first: bytes, second: bytes) -> None:
        self.together.append((len(first), len(second)))
        self.write(first + second)

    def unsent(self) -> int:
        return 0

    def undelivered(self) -> int:
        return 0

    def is_broken(self) -> bool:
        return False

    def write_eof(self) -> None: ...
    def settle(self) -> None: ...
    def lend(self) -> int:
        raise NotImplementedError

    def reclaim(self) -> None: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
    def close(self) -> None: ...
    def abort(self) -> None: ...


async def at_once(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": scope["path"].encode()})


def accept(worker: Worker, transport: Transport) -> Connection:
    with socket.socket() as listener, socket.socket() as accepted:
        acceptor = worker.acceptor(OpenSocket(listener, ("127.0.0.1", 0), "", 1))
        return acceptor.accept(transport, accepted)


def requests() -> bytes:
    writer = wire.Writer()
    head = [(b":method", b"GET"), (b":scheme", b"http"), (b":authority", b"a")]
    return wire.PREFACE + wire.settings() + b"".join(
        writer.headers(1 + 2 * n, [*head, (b":path", b"/%d" % n)], end=True)
        for n in range(STREAMS)
    )  # fmt: skip


@pytest.mark.parametrize("library", ["asyncio", "trio"])
def test_streams_that_answer_in_one_turn_share_a_write(library: str) -> None:
    """The preface is one, all of the answers another; HEADERS and DATA are never apart."""
    transport = Transport()

    async def serve(sleep: Any) -> None:
        worker = Worker(at_once, Config(log=Log(access=False)))
        async with worker.backend.running(worker.streams):
            connection = accept(worker, transport)
            connection.data_received(requests())
            for _ in range(1000):
                if not connection.streams and b"/15" in b"".join(transport.writes):
                    return
                await sleep(0)
        pytest.fail("the streams were not all answered")

    if library == "asyncio":
        asyncio.run(serve(asyncio.sleep))
    else:
        trio.run(serve, trio.sleep)
    assert len(transport.writes) <= 3
    for n in range(STREAMS):
        assert sum(b"/%d" % n in write for write in transport.writes) >= 1


GET = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"


def drive(library: str, app: Any, talk: Callable[[Worker], Awaitable[None]]) -> None:
    """Run ``talk`` beside a worker that has ``app``."""

    async def run() -> None:
        worker = Worker(app, Config(log=Log(access=False)))
        with anyio.fail_after(20):
            async with worker.backend.running(worker.streams):
                await talk(worker)

    anyio.run(run, backend=library)


@pytest.mark.parametrize("library", ["asyncio", "trio"])
@pytest.mark.filterwarnings("error")
def test_what_goes_wrong_after_an_application_costs_its_connection_only(
    library: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A bug of ours in logging a request, say."""

    def failing(self: Worker, stream: object) -> None:
        raise RuntimeError("a bug")

    async def talk(worker: Worker) -> None:
        worker.watches_ends = True
        with monkeypatch.context() as patch:
            patch.setattr(Worker, "stream_ended", failing)
            accept(worker, Transport()).data_received(GET)
            while worker.streams:
                await anyio.sleep(0)
        transport = Transport()
        accept(worker, transport).data_received(GET)
        while not transport.writes:
            await anyio.sleep(0)

    with caplog.at_level(logging.ERROR, "hyperserver"):
        drive(library, at_once, talk)
    assert "internal error" in caplog.text


@pytest.mark.parametrize("answers", [True, False])
def test_a_task_that_an_application_leaves_behind_is_told_of_the_end(answers: bool) -> None:
    """It waits in receive(), for what can no longer come."""
    left: list[asyncio.Task[Any]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        left.append(asyncio.ensure_future(receive()))
        await asyncio.sleep(0)
        if answers:
            await at_once(scope, receive, send)

    async def talk(worker: Worker) -> None:
        accept(worker, Transport()).data_received(GET)
        while not left:
            await anyio.sleep(0)
        assert await left[0] == {"type": "http.disconnect"}

    drive("asyncio", app, talk)


@pytest.mark.parametrize("library", ["asyncio", "trio"])
@pytest.mark.parametrize("version", ["1.1", "2"])
def test_send_returns_when_a_large_response_has_been_taken(library: str, version: str) -> None:
    """Not when the connection ends: an application may have work to do after its response."""
    returned: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": bytes(1_000_000)})
        returned.append(scope["path"])

    async def talk(worker: Worker) -> None:
        connection = accept(worker, Transport())
        if version == "1.1":
            connection.data_received(GET)
        else:
            grown = wire.window_update(0, 100_000_000), wire.settings({4: 2**30})
            connection.data_received(requests() + b"".join(grown))
        while len(returned) < (1 if version == "1.1" else STREAMS):
            await anyio.sleep(0)

    drive(library, app, talk)


class FullTransport(Transport):
    """The client reads nothing."""

    def write(self, data: bytes) -> None:
        super().write(data)
        self.congested = True


@pytest.mark.parametrize("library", ["asyncio", "trio"])
@pytest.mark.parametrize("version", ["1.1", "2"])
@pytest.mark.parametrize("more", [True, False], ids=["more", "last"])
def test_only_the_last_send_does_not_wait_for_a_slow_client(
    library: str, version: str, more: bool
) -> None:
    """Behind it comes nothing that would have to be held back. Its request goes on until it has left."""
    steps: list[str] = []
    body = b"x" * 1_000_000

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": body, "more_body": more})
        steps.append("returned")
        await send({"type": "http.response.body"})

    async def talk(worker: Worker) -> None:
        transport = FullTransport()
        connection = accept(worker, transport)
        if version == "1.1":
            connection.data_received(GET)
        else:
            window = wire.settings({4: 2**30}) + wire.window_update(0, 100_000_000)
            request = wire.Writer().headers(1, wire.head(b"GET", b"/"), end=True)
            connection.data_received(wire.PREFACE + window + request)
        while not (any(len(data) > 100 for data in transport.writes) or steps):
            transport.congested = False
            connection.writable()
            await anyio.sleep(0)
        for _ in range(100):
            await anyio.sleep(0)
        assert steps == ([] if more else ["returned"])
        assert len(worker.streams) == 1  # the request is in progress
        while b"".join(transport.writes).count(b"x") < len(body):
            transport.congested = False
            connection.writable()
            await anyio.sleep(0)
        while worker.streams:
            transport.congested = False
            connection.writable()
            await anyio.sleep(0)

    drive(library, app, talk)


def two_http2_requests() -> list[bytes]:
    writer = wire.Writer()
    first, second = (writer.headers(n, wire.head(b"GET", b"/"), end=True) for n in (1, 3))
    return [wire.PREFACE + wire.settings() + wire.settings_ack() + first, second]


@pytest.mark.parametrize("sent", [[GET, GET], two_http2_requests()], ids=["http1", "http2"])
def test_a_sweep_that_finds_a_connection_idle_puts_it_to_rest(sent: list[bytes]) -> None:
    """It keeps nothing for requests, of which the next is served like the one before."""
    transport = Transport()

    async def talk(worker: Worker) -> None:
        connection = accept(worker, transport)
        for octets in sent:
            transport.writes.clear()
            connection.data_received(octets)
            while connection.streams or not transport.writes:
                await anyio.sleep(0)
            assert connection.context.template is not None
            connection.sweep(monotonic())
            assert connection.context.template is None
            assert b"".join(transport.writes).endswith(b"/")

    drive("asyncio", at_once, talk)


@pytest.mark.parametrize("library", ["asyncio", "trio"])
def test_a_head_and_a_large_body_leave_together(library: str) -> None:
    """Uncopied, and not as two packets."""
    transport = Transport()
    body = bytes(1_000_000)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": body})

    async def talk(worker: Worker) -> None:
        connection = accept(worker, transport)
        for n in range(1, 4):
            connection.data_received(GET)
            while len(transport.writes) < n:
                await anyio.sleep(0)

    drive(library, app, talk)
    assert [second for _, second in transport.together] == [len(body)] * 3
    assert all(write.endswith(b"\r\n\r\n" + body) for write in transport.writes)
