"""WebSocket with the clients that people use."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
import websockets
import websockets.sync.client

from tests.e2e.conftest import WORKERS
from tests.e2e.support import PATIENCE, Server
from tests.e2e.websocket_client import new_key, serve

VARIANTS = [(worker, engine) for worker in WORKERS for engine in ("wsproto", "websockets")]


@pytest.fixture(scope="module", params=VARIANTS, ids="-".join)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    with serve(request.param) as server:
        yield server
        assert server.stop() == 0, str(server.stderr)
        assert "internal error" not in str(server.stderr)


@pytest.fixture
def key() -> str:
    return new_key()


@pytest.mark.parametrize("compression", ["deflate", None])
def test_websockets_client(server: Server, key: str, compression: str | None) -> None:
    url = f"ws://127.0.0.1:{server.port}/echo?key={key}&subprotocol=b"
    subprotocols = [websockets.Subprotocol("a"), websockets.Subprotocol("b")]
    with websockets.sync.client.connect(
        url, compression=compression, subprotocols=subprotocols, proxy=None
    ) as client:
        assert client.subprotocol == "b"
        assert bool(client.protocol.extensions) is (compression is not None)
        for message in ("", b"", "ü" * 1000, bytes(100_000), "x" * 300_000):
            client.send(message)
            assert client.recv(timeout=PATIENCE) == message
        client.send(["frag", "mented ", "", "message"])
        assert client.recv(timeout=PATIENCE) == "fragmented message"
        assert client.ping().wait(PATIENCE)
        client.close(4001, "enough")
    assert server.wait_report(key, "disconnect") == [4001, "enough"]


def test_websockets_client_refused(server: Server) -> None:
    for path, status in (("refuse", 403), ("deny?status=401&pieces=1", 401)):
        with (
            pytest.raises(websockets.InvalidStatus) as caught,
            websockets.sync.client.connect(f"ws://127.0.0.1:{server.port}/{path}", proxy=None),
        ):
            pass
        assert caught.value.response.status_code == status


@pytest.mark.parametrize("compress", [0, 15])
def test_aiohttp_client(server: Server, key: str, compress: int) -> None:
    aiohttp = pytest.importorskip("aiohttp")

    async def talk() -> None:
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(
                f"{server.url}/echo?key={key}", compress=compress, autoping=True
            ) as client,
        ):
            assert client.compress == (12 if compress else 0)
            for text in ("", "ü" * 1000, "x" * 100_000):
                await client.send_str(text)
                assert await client.receive_str(timeout=PATIENCE) == text
            await client.send_bytes(bytes(200_000))
            assert await client.receive_bytes(timeout=PATIENCE) == bytes(200_000)
            await client.close(code=4002, message=b"enough")
            assert client.close_code == 4002

    asyncio.run(talk())
    assert server.wait_report(key, "disconnect") == [4002, "enough"]


def test_many_clients_at_once(server: Server) -> None:
    url = f"ws://127.0.0.1:{server.port}/echo"

    async def talk(number: int) -> None:
        async with websockets.connect(url, proxy=None) as client:
            for turn in range(20):
                await client.send(f"{number}.{turn}" * 20)
                assert await client.recv() == f"{number}.{turn}" * 20

    async def talk_all() -> None:
        async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as tasks:
            for number in range(50):
                tasks.create_task(talk(number))

    asyncio.run(talk_all())
