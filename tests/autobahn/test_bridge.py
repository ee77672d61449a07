"""The bridge between an HTTP/1.1 WebSocket client and a small HTTP/2 server that echoes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import h2.config
import h2.connection
import h2.events
import pytest
import trio
from h2.errors import ErrorCodes
from h2.settings import SettingCodes, Settings

from tests.autobahn import bridge

PATIENCE = 20.0
# RFC 6455 §1.3 has them as its example.
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


@dataclass
class EchoServer:
    """It does what the path says: echo, refuse, end, reset, or say nothing."""

    offers_connect: int = 1
    window: int = 65_535
    connections: int = 0
    requests: list[dict[str, str]] = field(default_factory=list)
    #: Of stream ids: bytes received, and how the client's side ended ("end" or an error code).
    received: dict[int, list[bytes]] = field(default_factory=dict)
    ends: dict[int, object] = field(default_factory=dict)

    async def serve(self, stream: trio.SocketStream) -> None:
        self.connections += 1
        config = h2.config.H2Configuration(client_side=False, header_encoding="utf-8")
        connection = h2.connection.H2Connection(config)
        connection.local_settings = Settings(
            client=False,
            initial_values={
                SettingCodes.ENABLE_CONNECT_PROTOCOL: self.offers_connect,
                SettingCodes.INITIAL_WINDOW_SIZE: self.window,
            },
        )
        connection.initiate_connection()
        waiting: dict[int, bytearray] = {}
        try:
            await stream.send_all(connection.data_to_send())
            while data := await stream.receive_some():
                for event in connection.receive_data(data):
                    self._handle(connection, event, waiting)
                for stream_id in list(waiting):
                    self._echo(connection, stream_id, waiting)
                await stream.send_all(connection.data_to_send())
        except trio.BrokenResourceError:
            pass

    def _handle(
        self,
        connection: h2.connection.H2Connection,
        event: h2.events.Event,
        waiting: dict[int, bytearray],
    ) -> None:
        if isinstance(event, h2.events.RequestReceived):
            request = {str(name): str(value) for name, value in event.headers}
            self.requests.append(request)
            self.received[event.stream_id] = []
            if request[":path"] == "/refuse":
                connection.send_headers(event.stream_id, [(":status", "403"), ("x-why", "no")])
                connection.send_data(event.stream_id, b"not you", end_stream=True)
            else:
                protocol = request.get("sec-websocket-protocol", "none").partition(",")[0]
                fields = [(":status", "200"), ("sec-websocket-protocol", protocol)]
                connection.send_headers(event.stream_id, fields)
                waiting[event.stream_id] = bytearray()
        elif isinstance(event, h2.events.DataReceived):
            self.received[event.stream_id].append(event.data)
            path = self.requests[list(self.received).index(event.stream_id)][":path"]
            if path == "/end" and len(self.received[event.stream_id]) == 1:
                connection.end_stream(event.stream_id)
            elif path == "/reset":
                connection.reset_stream(event.stream_id, ErrorCodes.INTERNAL_ERROR)
            elif path == "/echo":
                waiting[event.stream_id] += event.data
            connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.StreamEnded):
            self.ends[event.stream_id] = "end"
        elif isinstance(event, h2.events.StreamReset):
            self.ends[event.stream_id] = event.error_code
            waiting.pop(event.stream_id, None)

    def _echo(
        self, connection: h2.connection.H2Connection, stream_id: int, waiting: dict[int, bytearray]
    ) -> None:
        """What the windows let through; the end after all of it."""
        content = waiting[stream_id]
        while content:
            room = connection.local_flow_control_window(stream_id)
            size = min(room, connection.max_outbound_frame_size, len(content))
            if size == 0:
                return
            connection.send_data(stream_id, bytes(content[:size]))
            del content[:size]
        if self.ends.get(stream_id) == "end":
            del waiting[stream_id]
            path = self.requests[list(self.received).index(stream_id)][":path"]
            if path == "/echo":
                connection.end_stream(stream_id)


Connect = Callable[[], Awaitable[trio.SocketStream]]


@asynccontextmanager
async def bridged(server: EchoServer) -> AsyncIterator[Connect]:
    """Clients of a bridge to ``server``."""
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
            nursery.start_soon(trio.serve_listeners, server.serve, listeners)
            behind = listeners[0].socket.getsockname()[1]
            port: int = await nursery.start(bridge.serve, "127.0.0.1", behind)
            yield lambda: trio.open_tcp_stream("127.0.0.1", port)
            nursery.cancel_scope.cancel()


def handshake(path: str, *fields: str) -> bytes:
    lines = [f"GET {path} HTTP/1.1", "Host: example.org", "Upgrade: WebSocket"]
    lines += ["Connection: Upgrade", f"Sec-WebSocket-Key: {KEY}", "Sec-WebSocket-Version: 13"]
    return "\r\n".join([*lines, *fields, "", ""]).encode()


async def open_tunnel(connect: Connect, path: str, *fields: str) -> tuple[trio.SocketStream, str]:
    """A tunnel that was accepted, and the answer's head."""
    client = await connect()
    await client.send_all(handshake(path, *fields))
    head = await read_head(client)
    assert head.startswith("HTTP/1.1 101 "), head
    return client, head


async def read_head(client: trio.SocketStream) -> str:
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        piece = await client.receive_some(1)
        assert piece, head
        head += piece
    return head.decode()


async def read_exactly(client: trio.SocketStream, size: int) -> bytes:
    received = bytearray()
    while len(received) < size:
        piece = await client.receive_some(size - len(received))
        assert piece, f"the end after {len(received)} bytes"
        received += piece
    return bytes(received)


async def read_rest(client: trio.SocketStream) -> bytes:
    return b"".join([piece async for piece in client])


async def wait_for(condition: Callable[[], object]) -> None:
    """Bounded by ``bridged``."""
    while not condition():
        await trio.sleep(0.005)


def run(test: Callable[[], Awaitable[None]]) -> None:
    trio.run(test)


def test_handshake_is_translated() -> None:
    async def test() -> None:
        server = EchoServer()
        async with bridged(server) as connect:
            client, head = await open_tunnel(
                connect,
                "/echo?a=b%20c",
                "Sec-WebSocket-Protocol: chat, talk",
                "Sec-WebSocket-Extensions: permessage-deflate",
                "Keep-Alive: 5",
            )
            async with client:
                assert f"sec-websocket-accept: {ACCEPT}\r\n" in head
                assert "upgrade: websocket\r\nconnection: upgrade\r\n" in head
                assert "sec-websocket-protocol: chat\r\n" in head
                assert "status" not in head
        assert server.requests == [
            {
                ":method": "CONNECT",
                ":protocol": "websocket",
                ":scheme": "http",
                ":path": "/echo?a=b%20c",
                ":authority": "example.org",
                "sec-websocket-version": "13",
                "sec-websocket-protocol": "chat, talk",
                "sec-websocket-extensions": "permessage-deflate",
            }
        ]

    run(test)


def test_pieces_become_frames() -> None:
    """Also those that the client sends before it is answered."""

    async def test() -> None:
        server = EchoServer()
        async with bridged(server) as connect:
            client = await connect()
            async with client:
                await client.send_all(handshake("/echo") + b"early")
                await read_head(client)
                assert await read_exactly(client, 5) == b"early"
                for piece in (b"a", b"bc", b"def"):
                    await client.send_all(piece)
                    assert await read_exactly(client, len(piece)) == piece
                assert server.received[1] == [b"early", b"a", b"bc", b"def"]

    run(test)


def test_client_ends_first() -> None:
    async def test() -> None:
        server = EchoServer()
        async with bridged(server) as connect:
            client, _ = await open_tunnel(connect, "/echo")
            async with client:
                await client.send_all(b"last words")
                await client.send_eof()
                assert await read_rest(client) == b"last words"
            assert server.ends == {1: "end"}

    run(test)


def test_server_ends_first() -> None:
    async def test() -> None:
        server = EchoServer()
        async with bridged(server) as connect:
            client, _ = await open_tunnel(connect, "/end")
            async with client:
                await client.send_all(b"bye")
                assert await read_rest(client) == b""
                await client.send_all(b"still there")  # only its own side has ended
                await client.send_eof()
                await wait_for(lambda: server.ends == {1: "end"})
            assert b"".join(server.received[1]) == b"byestill there"

    run(test)


def test_server_resets() -> None:
    async def test() -> None:
        async with bridged(EchoServer()) as connect:
            client, _ = await open_tunnel(connect, "/reset")
            async with client:
                await client.send_all(b"?")
                with pytest.raises(trio.BrokenResourceError) as caught:
                    await read_rest(client)
                assert isinstance(caught.value.__cause__, ConnectionResetError)

    run(test)


def test_client_resets() -> None:
    async def test() -> None:
        server = EchoServer()
        async with bridged(server) as connect:
            client, _ = await open_tunnel(connect, "/echo")
            bridge.reset_on_close(client)
            await client.aclose()
            await wait_for(lambda: server.ends == {1: ErrorCodes.CANCEL})
            other, _ = await open_tunnel(connect, "/echo")
            async with other:
                await other.send_all(b"go on")
                assert await read_exactly(other, 5) == b"go on"
        assert server.connections == 1

    run(test)


def test_refusal_is_passed_on() -> None:
    async def test() -> None:
        async with bridged(EchoServer()) as connect, await connect() as client:
            await client.send_all(handshake("/refuse"))
            assert await read_head(client) == (
                "HTTP/1.1 403 Forbidden\r\nx-why: no\r\nconnection: close\r\n\r\n"
            )
            assert await read_rest(client) == b"not you"

    run(test)


@pytest.mark.parametrize("window", [65_535, 1_000])
def test_streams_share_a_connection(window: int) -> None:
    """More than fits into any window, both ways, on several streams at once; one does not read."""
    content = bytes(range(256)) * 2_000
    flood = bytes(64 << 20)  # more than what sockets and windows hold

    async def exchange(connect: Connect, equal: list[bool]) -> None:
        client, _ = await open_tunnel(connect, "/echo")
        async with client, trio.open_nursery() as nursery:
            nursery.start_soon(client.send_all, content)
            equal.append(await read_exactly(client, len(content)) == content)

    async def test() -> None:
        server = EchoServer(window=window)
        async with bridged(server) as connect:
            stalled, _ = await open_tunnel(connect, "/echo")
            equal: list[bool] = []
            async with stalled, trio.open_nursery() as outer:
                outer.start_soon(stalled.send_all, flood)
                async with trio.open_nursery() as nursery:
                    for _ in range(3):
                        nursery.start_soon(exchange, connect, equal)
                assert equal == [True] * 3
                outer.cancel_scope.cancel()
        assert server.connections == 1

    run(test)


def test_server_without_extended_connect() -> None:
    async def test() -> None:
        async with bridged(EchoServer(offers_connect=0)) as connect, await connect() as client:
            await client.send_all(handshake("/echo"))
            answer = await read_rest(client)
            assert answer.startswith(b"HTTP/1.1 502 Bad Gateway\r\n")
            assert answer.endswith(b"bridge: the server does not offer extended CONNECT\n")

    run(test)


def test_no_server() -> None:
    async def test() -> None:
        (gone,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = gone.socket.getsockname()[1]
        await gone.aclose()
        with trio.fail_after(PATIENCE):
            async with trio.open_nursery() as nursery:
                front: int = await nursery.start(bridge.serve, "127.0.0.1", port)
                async with await trio.open_tcp_stream("127.0.0.1", front) as client:
                    await client.send_all(handshake("/echo"))
                    assert (await read_rest(client)).startswith(b"HTTP/1.1 502 ")
                nursery.cancel_scope.cancel()

    run(test)


@pytest.mark.parametrize(
    "head",
    [
        "POST / HTTP/1.1\r\nupgrade: websocket\r\nsec-websocket-key: x",
        "GET / HTTP/1.1\r\nhost: x",
        "GET / HTTP/1.1\r\nupgrade: websocket",
        "GET / HTTP/1.0\r\nupgrade: websocket\r\nsec-websocket-key: x",
    ],
)
def test_no_handshake(head: str) -> None:
    with pytest.raises(bridge.Refused) as refused:
        bridge.translate(head.encode())
    assert refused.value.args[0] == 400


def test_handshake_must_be_whole_and_small() -> None:
    async def test() -> None:
        async with bridged(EchoServer()) as connect, await connect() as client:
            await client.send_all(b"GET / HTTP/1.1\r\nhost:")
            await client.send_eof()
            assert (await read_rest(client)).startswith(b"HTTP/1.1 400 ")

    run(test)
