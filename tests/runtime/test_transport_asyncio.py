"""The byte path on asyncio: whom it serves, and when."""

from __future__ import annotations

import asyncio
import socket
from typing import Any, cast

import pytest

from hyperserver.config.schema import Config, Limits, Log
from hyperserver.runtime.backend_asyncio import AsyncioBackend
from hyperserver.runtime.listeners import OpenSocket
from hyperserver.runtime.transport_asyncio import AsyncioTransport
from hyperserver.runtime.worker import Worker

PIPELINED = 1000


def test_a_pipelining_client_does_not_go_before_others() -> None:
    served: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        served.append(scope["path"])
        await send({"type": "http.response.start", "status": 204})
        await send({"type": "http.response.body"})

    async def main() -> None:
        worker = Worker(app, Config(log=Log(access=False)))
        with socket.socket() as listener:
            acceptor = worker.acceptor(OpenSocket(listener, ("127.0.0.1", 0), "", 1))
        assert isinstance(worker.backend, AsyncioBackend)
        loop = asyncio.get_running_loop()
        clients: list[socket.socket] = []
        transports: list[asyncio.Transport] = []
        async with worker.backend.running(worker.streams):
            for path, count in (("/greedy", PIPELINED), ("/modest", 1)):
                ours, theirs = socket.socketpair()
                theirs.sendall(f"GET {path} HTTP/1.1\r\nhost: a\r\n\r\n".encode() * count)
                clients.append(theirs)
                transport, _ = await loop.connect_accepted_socket(
                    lambda: cast("asyncio.Protocol", AsyncioTransport(acceptor)), ours
                )
                transports.append(transport)
            async with asyncio.timeout(20):
                while len(served) < PIPELINED + 1:
                    await asyncio.sleep(0)
            for transport in transports:
                transport.abort()
            await asyncio.sleep(0)
        for client in clients:
            client.close()

    asyncio.run(main())
    assert served.count("/greedy") == PIPELINED
    assert served.index("/modest") < 20  # a few turns of the loop, to accept and to read


@pytest.mark.parametrize("limits", [Limits(), Limits(connections=1)])
def test_connections_are_accepted_where_the_loop_cannot_tell_of_them(
    monkeypatch: pytest.MonkeyPatch, limits: Limits
) -> None:
    """As on Windows."""

    def refuse(*_: Any) -> None:
        raise NotImplementedError

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 204})
        await send({"type": "http.response.body"})

    async def ask(address: Any) -> bytes:
        reader, writer = await asyncio.open_connection(*address)
        writer.write(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        return answer

    async def main() -> list[bytes]:
        worker = Worker(app, Config(log=Log(access=False), limits=limits))
        sock = socket.create_server(("127.0.0.1", 0))
        sock.setblocking(False)
        address = sock.getsockname()
        acceptor = worker.acceptor(OpenSocket(sock, address, "", 1))
        loop = asyncio.get_running_loop()
        async with worker.backend.running(worker.streams), asyncio.timeout(20):
            with monkeypatch.context() as patch:
                patch.setattr(loop, "add_reader", refuse)  # it has an inner one
                listener = await worker.backend.listen(sock, acceptor, 5)
                answers = await asyncio.gather(*(ask(address) for _ in range(5)))
                listener.close()
        return answers

    answers = asyncio.run(main())
    assert [answer[:12] for answer in answers] == [b"HTTP/1.1 204"] * 5
