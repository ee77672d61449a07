"""Transports that lend their sockets: when, and what they do meanwhile."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from typing import Any, cast

import anyio
import pytest
import trio

from hyperserver.config.schema import Config, Log
from hyperserver.protocol.interface import HIGH_WATER
from hyperserver.runtime.listeners import OpenSocket
from hyperserver.runtime.transport_asyncio import AsyncioTransport
from hyperserver.runtime.transport_trio import TrioBackend, TrioTransport
from hyperserver.runtime.worker import Worker

LOOPS = ["asyncio", "trio"] + ["uvloop"] * (find_spec("uvloop") is not None)


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    theirs.settimeout(10)
    with theirs:
        yield ours, theirs


async def app(scope: Any, receive: Any, send: Any) -> None:
    pytest.fail("nobody has asked for anything")


async def until(condition: Any) -> None:
    with anyio.fail_after(10):
        while not condition():
            await anyio.sleep(0.001)


async def lend(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    worker = Worker(app, Config(log=Log(access=False)))
    with socket.socket() as listener:
        acceptor = worker.acceptor(OpenSocket(listener, ("127.0.0.1", 0), "", 1))
    async with worker.backend.running(worker.streams):
        transport: AsyncioTransport | TrioTransport
        if isinstance(worker.backend, TrioBackend):
            transport = TrioTransport(ours, worker.backend)
            transport.open(acceptor)
        else:
            loop = asyncio.get_running_loop()
            transport = AsyncioTransport(acceptor)
            protocol = cast("asyncio.Protocol", transport)
            await loop.connect_accepted_socket(lambda: protocol, ours)
        assert transport.can_lend

        # what waits is little, and ordinarily no reason to wait
        transport.write(bytes(HIGH_WATER // 2))
        assert transport.unsent()
        assert not transport.congested
        transport.settle()
        assert transport.congested
        received = len(theirs.recv(4096))
        await anyio.sleep(0)
        assert transport.congested
        while received < HIGH_WATER // 2:
            received += len(await anyio.to_thread.run_sync(theirs.recv, HIGH_WATER))
        await until(lambda: not transport.congested)
        transport.settle()
        assert not transport.congested, "there is nothing to wait for"

        number = transport.lend()
        assert transport.congested
        assert os.write(number, b"around") == 6
        assert theirs.recv(100) == b"around"
        assert transport.unsent() == 0
        transport.held = 1  # somebody waits for the client
        assert transport.unsent() >= 1
        os.close(number)
        transport.reclaim()
        assert not transport.congested
        assert transport.unsent() == 0

        transport.write(bytes(HIGH_WATER // 2))
        assert not transport.congested, "a little is little again"
        transport.abort()
        await until(lambda: not worker._connections)
        with pytest.raises(OSError, match="closed"):
            transport.lend()
        transport.settle()
        transport.reclaim()


@pytest.mark.parametrize("loop", LOOPS)
def test_a_transport_lends_its_socket(loop: str, pair: tuple[socket.socket, socket.socket]) -> None:
    if loop == "trio":
        trio.run(lend, pair)
    elif loop == "uvloop":
        import_module("uvloop").run(lend(pair))
    else:
        asyncio.run(lend(pair))
