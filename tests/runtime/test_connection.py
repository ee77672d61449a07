"""The driver: what it writes, and how often."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

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

    def write(self, data: bytes) -> None:
        if data:
            self.writes.append(data)

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
