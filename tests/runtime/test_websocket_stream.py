"""WebSockets in a worker without a socket: who waits for what, who is woken, what is forgotten."""

from __future__ import annotations

import logging
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

from hyperserver.config.schema import Config, Log
from hyperserver.runtime.connection import Connection
from hyperserver.runtime.listeners import OpenSocket
from hyperserver.runtime.worker import Worker
from tests.engines import h2_frames as h2
from tests.engines import ws_frames as ws
from tests.engines.ws_frames import CLOSE, TEXT, Frame

HANDSHAKE = (
    b"GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
    b"sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
ACCEPT = {"type": "websocket.accept"}
App = Callable[[Any, Any, Any], Awaitable[None]]


class Transport:
    """Takes what it is given, unless it is ``congested``; nothing is read while ``paused``."""

    can_lend = False
    held = 0

    def __init__(self) -> None:
        self.congested = False
        self.paused = False
        self.writes: list[bytes] = []
        self.ended = False

    def write(self, data: bytes) -> None:
        assert not self.congested, "a write into a full transport"
        if data:
            self.writes.append(data)

    def write_together(self, first: bytes, second: bytes) -> None:
        self.write(first + second)

    def take(self) -> bytes:
        data = b"".join(self.writes)
        self.writes.clear()
        return data

    def unsent(self) -> int:
        return 0

    def undelivered(self) -> int:
        return 0

    def is_broken(self) -> bool:
        return False

    def write_eof(self) -> None:
        self.ended = True

    def settle(self) -> None:
        raise NotImplementedError

    def lend(self) -> int:
        raise NotImplementedError

    def reclaim(self) -> None:
        raise NotImplementedError

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False

    def close(self) -> None:
        self.ended = True

    def abort(self) -> None:
        self.ended = True


class Wire:
    """A client's end of a worker's connection."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.transport = Transport()
        with socket.socket() as listener, socket.socket() as accepted:
            acceptor = worker.acceptor(OpenSocket(listener, ("127.0.0.1", 0), "", 1))
            self.connection: Connection = acceptor.accept(self.transport, accepted)
        self.reader = ws.Reader()

    def feed(self, data: bytes) -> None:
        assert not self.transport.paused, "the server does not read"
        self.connection.data_received(data)

    def opened(self) -> None:
        head, _, rest = self.transport.take().partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 "), head
        assert not rest

    def opened_with_close(self) -> None:
        _, _, rest = self.transport.take().partition(b"\r\n\r\n")
        assert self.reader.feed(rest) == [Frame(CLOSE, (1000).to_bytes(2, "big"))]

    def frames(self) -> list[Frame]:
        return self.reader.feed(self.transport.take())

    @property
    def forgotten(self) -> bool:
        """The server holds nothing that belongs to a stream."""
        connection = self.connection
        return not (connection.streams or connection.websockets or self.worker.streams)


async def settle() -> None:
    """Let everything that can run do so."""
    for _ in range(50):
        await anyio.sleep(0)


@pytest.fixture(params=["asyncio", "trio"])
def serve(request: pytest.FixtureRequest) -> Callable[..., None]:
    """``serve(app, talk)``: run ``talk(wire)`` beside a worker that has ``app``."""

    def serve(app: App, talk: Callable[[Wire], Awaitable[None]]) -> None:
        async def run() -> None:
            worker = Worker(app, Config(log=Log(access=False)))
            async with worker.backend.running(worker.streams):
                try:
                    with anyio.fail_after(20):
                        await talk(Wire(worker))
                finally:
                    worker.backend.cancel(worker.streams)

        anyio.run(run, backend=request.param)

    return serve


Serve = Callable[[App, Callable[[Wire], Awaitable[None]]], None]


async def echo(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send(ACCEPT)
    while (message := await receive())["type"] == "websocket.receive":
        await send({**message, "type": "websocket.send"})


# ---- receive -------------------------------------------------------------------------------------


def test_a_message_that_is_there_is_received_without_a_checkpoint(serve: Serve) -> None:
    """Frameworks ask within a scope that is cancelled already."""
    got = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send(ACCEPT)
        await settle()
        for _ in range(3):
            with anyio.CancelScope() as scope_:
                scope_.cancel()
                got.append((await receive())["type"])

    async def talk(wire: Wire) -> None:
        wire.feed(HANDSHAKE)
        wire.feed(ws.text("a") + ws.text("b") + ws.close(1000))
        await settle()
        await settle()
        assert got == ["websocket.receive", "websocket.receive", "websocket.disconnect"]

    serve(app, talk)


def test_a_cancelled_receive_loses_nothing(serve: Serve) -> None:
    got = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send(ACCEPT)
        for _ in range(3):
            with anyio.CancelScope() as waiting:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(cancel_soon, waiting)
                    await receive()
        got.append((await receive())["text"])

    async def cancel_soon(scope: anyio.CancelScope) -> None:
        await anyio.sleep(0)
        scope.cancel()

    async def talk(wire: Wire) -> None:
        wire.feed(HANDSHAKE)
        await settle()
        wire.feed(ws.text("kept"))
        await settle()
        assert got == ["kept"]

    serve(app, talk)


def test_replies_to_what_came_together_leave_together(serve: Serve) -> None:
    async def talk(wire: Wire) -> None:
        wire.feed(HANDSHAKE)
        await settle()
        wire.opened()
        wire.feed(b"".join(ws.text(str(n)) for n in range(10)))
        await settle()
        assert len(wire.transport.writes) <= 2
        assert wire.frames() == [Frame(TEXT, b"%d" % n) for n in range(10)]

    serve(echo, talk)


def test_reading_stops_and_goes_on(serve: Serve) -> None:
    go = [False]

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send(ACCEPT)
        while not go[0]:
            await anyio.sleep(0)
        for n in range(2000):
            assert (await receive())["text"] == f"{n:0100}"
        await send({"type": "websocket.send", "text": "all"})

    async def talk(wire: Wire) -> None:
        wire.feed(HANDSHAKE)
        await settle()
        wire.opened()
        sent = 0
        while not wire.transport.paused:
            wire.feed(ws.text(f"{sent:0100}"))
            sent += 1
        assert sent < 1500
        go[0] = True
        while sent < 2000:
            await settle()
            wire.feed(ws.text(f"{sent:0100}"))
            sent += 1
        await settle()
        assert wire.frames()[0] == Frame(TEXT, b"all")

    serve(app, talk)


# ---- send ----------------------------------------------------------------------------------------


def test_a_full_transport_makes_send_wait(serve: Serve) -> None:
    count = [0]

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send(ACCEPT)
        while True:
            await send({"type": "websocket.send", "bytes": bytes(1000)})
            count[0] += 1

    async def talk(wire: Wire) -> None:
        wire.feed(HANDSHAKE)
        await settle()
        wire.transport.congested = True
        await settle()
        before = count[0]
        await settle()
        assert count[0] == before
        wire.transport.congested = False
        wire.connection.writable()
        await settle()
        assert count[0] > before

    serve(app, talk)


def test_an_application_that_never_has_to_wait_gives_way(serve: Serve) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send(ACCEPT)
        while True:
            await send({"type": "websocket.send", "text": "."})

    async def talk(wire: Wire) -> None:
        wire.feed(HANDSHAKE)
        await settle()  # would not come back
        assert len(wire.transport.writes) > 50

    serve(app, talk)


def test_sends_of_several_tasks_do_not_mix(serve: Serve) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send(ACCEPT)

        async def sender(number: int) -> None:
            for _ in range(20):
                await send({"type": "websocket.send", "bytes": bytes([number]) * 100_000})

        async with anyio.create_task_group() as tasks:
            for number in range(5):
                tasks.start_soon(sender, number)

    async def talk(wire: Wire) -> None:
        wire.feed(HANDSHAKE)
        await settle()
        wire.transport.writes[0] = wire.transport.writes[0].partition(b"\r\n\r\n")[2]
        frames: list[Frame] = []
        while len(frames) < 101:
            await settle()
            frames += wire.frames()
        assert frames.pop().opcode == CLOSE
        assert all(len(f.payload) == 100_000 and len(set(f.payload)) == 1 for f in frames)

    serve(app, talk)


# ---- the end -------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["close", "eof", "lost"])
def test_nothing_is_left_of_it(serve: Serve, end: str) -> None:
    async def talk(wire: Wire) -> None:
        wire.feed(HANDSHAKE)
        await settle()
        wire.opened()
        assert not wire.forgotten
        if end == "close":
            wire.feed(ws.close(1000))
        elif end == "eof":
            wire.connection.eof_received()
        else:
            wire.connection.connection_lost()
        await settle()
        assert wire.forgotten
        assert wire.transport.ended or end == "lost"

    serve(echo, talk)


def test_nothing_is_left_when_the_application_goes_first(serve: Serve) -> None:
    """But the closing handshake is still awaited."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send(ACCEPT)

    async def talk(wire: Wire) -> None:
        wire.feed(HANDSHAKE)
        await settle()
        wire.opened_with_close()
        assert not wire.worker.streams
        assert not wire.transport.ended
        wire.feed(ws.close(1000))
        await settle()
        assert wire.forgotten
        assert wire.transport.ended

    serve(app, talk)


@pytest.mark.parametrize("version", ["1.1", "2"])
def test_who_waits_is_told_that_another_task_has_refused(serve: Serve, version: str) -> None:
    """``receive`` in one task, ``websocket.close`` in another, and a client that stays."""
    got: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()

        async def listen() -> None:
            got.append(await receive())

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(listen)
            await settle()
            await send({"type": "websocket.close"})

    async def talk(wire: Wire) -> None:
        if version == "1.1":
            wire.feed(HANDSHAKE)
        else:
            block = h2.Writer().headers(1, h2.websocket())
            wire.feed(h2.PREFACE + h2.settings() + block)
        await settle()
        await settle()
        await settle()
        assert got == [{"type": "websocket.disconnect", "code": 1006, "reason": ""}]

    serve(app, talk)


def test_news_of_the_client_is_no_error(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    """Not where the application lets it out, nor in a group of its tasks."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send(ACCEPT)
        await receive()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(send, {"type": "websocket.send", "text": "late"})

    async def talk(wire: Wire) -> None:
        wire.feed(HANDSHAKE)
        await settle()
        wire.connection.connection_lost()
        await settle()
        assert wire.forgotten

    with caplog.at_level(logging.WARNING):
        serve(app, talk)
    assert not caplog.records


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_failure_is_logged_and_answered(
    serve: Serve, caplog: pytest.LogCaptureFixture, when: str
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        if when == "after":
            await send(ACCEPT)
        raise RuntimeError("on purpose")

    async def talk(wire: Wire) -> None:
        wire.feed(HANDSHAKE)
        await settle()
        data = wire.transport.take()
        assert data.startswith(b"HTTP/1.1 101" if when == "after" else b"HTTP/1.1 500")
        if when == "after":
            closing = ws.Reader().feed(data.partition(b"\r\n\r\n")[2])
            assert closing == [Frame(CLOSE, (1011).to_bytes(2, "big"))]

    with caplog.at_level(logging.WARNING):
        serve(app, talk)
    assert [record.exc_info is not None for record in caplog.records] == [True]
