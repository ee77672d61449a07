"""One way to speak to a server, whichever HTTP version it goes over."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import httpx
import websockets.sync.client
from websockets.sync.client import ClientConnection

from tests.e2e.http2_client import HTTP2Client
from tests.e2e.support import PATIENCE, Client, Response, Server
from tests.e2e.websocket_client import Socket, Tunnel, handshake
from tests.engines import h2_frames as wire
from tests.engines import ws_frames as ws

HTTP_VERSIONS = ["1.1", "2"]


def browse(server: Server, http: str) -> httpx.Client:
    """A client for whole exchanges, over this version alone."""
    return httpx.Client(
        base_url=server.url, timeout=PATIENCE, http1=http == "1.1", http2=http == "2"
    )


def connect(server: Server, *, push: bool = False) -> HTTP2Client:
    sock = socket.create_connection(("127.0.0.1", server.port), PATIENCE)
    return HTTP2Client(sock, {wire.ENABLE_PUSH: int(push)})


# ---- a response that is read as it comes ---------------------------------------------------------


class Visit(Protocol):
    """A GET, of which each step is seen. ``hints`` are the links of 103 (Early Hints)."""

    status: int
    hints: list[str]

    def headers(self) -> dict[str, str]:
        """The final head; sets ``status`` and ``hints``."""
        ...

    def piece(self) -> bytes:
        """What comes next of the body."""
        ...

    def leave(self) -> None:
        """Close the connection."""
        ...

    def cancel(self) -> None:
        """Take no more, in the way that is ruder: a TCP reset; RST_STREAM."""
        ...


class HTTP1Visit:
    def __init__(self, server: Server, target: str) -> None:
        self.status, self.hints = 0, list[str]()
        self._client: Client = server.connect()
        self._client.send(f"GET {target} HTTP/1.1\r\nhost: test\r\n\r\n".encode())

    def headers(self) -> dict[str, str]:
        response: Response = self._client.head()
        while response.status < 200:
            self.hints.append(response.headers["link"])
            response = self._client.head()
        self.status = response.status
        return response.headers

    def piece(self) -> bytes:
        return self._client.chunk()

    def leave(self) -> None:
        self._client.close()

    def cancel(self) -> None:
        self._client.reset()


class HTTP2Visit:
    def __init__(self, server: Server, target: str) -> None:
        self.status, self.hints = 0, list[str]()
        self._client = connect(server)
        self._stream_id = self._client.get(target)

    def headers(self) -> dict[str, str]:
        response = self._client.reader.responses[self._stream_id]
        self._client.until(lambda: response.fields is not None, "the head of a response")
        assert response.fields is not None
        self.status = response.status
        for interim in response.interim:
            self.hints += [value.decode() for name, value in interim if name == b"link"]
        return {name.decode(): value.decode() for name, value in response.fields}

    def piece(self) -> bytes:
        body = self._client.bodies[self._stream_id]
        self._client.until(lambda: body, "a piece of the body")
        piece = bytes(body)
        body.clear()
        return piece

    def leave(self) -> None:
        self._client.sock.close()

    def cancel(self) -> None:
        self._client.reset(self._stream_id)
        self._client.ping()
        self._client.sock.close()


def visit(server: Server, http: str, target: str) -> Visit:
    return HTTP1Visit(server, target) if http == "1.1" else HTTP2Visit(server, target)


# ---- WebSocket -----------------------------------------------------------------------------------


class Chat(Protocol):
    def say(self, message: str | bytes) -> None: ...
    def hear(self) -> str | bytes: ...


class HTTP1Chat:
    """By the ``websockets`` library, with compression."""

    def __init__(self, client: ClientConnection) -> None:
        self._client = client

    def say(self, message: str | bytes) -> None:
        self._client.send(message)

    def hear(self) -> str | bytes:
        return self._client.recv(timeout=PATIENCE)


class HTTP2Chat:
    """Over a stream of HTTP/2 (RFC 8441)."""

    def __init__(self, tunnel: Tunnel) -> None:
        self._tunnel = tunnel

    def say(self, message: str | bytes) -> None:
        if isinstance(message, str):
            self._tunnel.send_text(message)
        else:
            self._tunnel.send_binary(message)

    def hear(self) -> str | bytes:
        return self._tunnel.message()


@contextmanager
def chat(server: Server, http: str, target: str) -> Iterator[Chat]:
    """An open WebSocket, which is closed in order at the end."""
    if http == "1.1":
        url = f"ws://127.0.0.1:{server.port}{target}"
        with websockets.sync.client.connect(url, proxy=None, max_size=None) as client:
            yield HTTP1Chat(client)
            client.close(1000)
            assert client.close_code == 1000
    else:
        with connect(server) as connection:
            tunnel = Tunnel(connection, target)
            yield HTTP2Chat(tunnel)
            tunnel.send(ws.close(1000))
            assert tunnel.until_closed()[0] == 1000


def vanish(server: Server, http: str, target: str) -> None:
    """Open a WebSocket, and end what it goes over once it has said something."""
    if http == "1.1":
        with Socket(server, target) as client:
            client.message()
            client.reset()
    else:
        with connect(server) as connection:
            tunnel = Tunnel(connection, target)
            tunnel.message()
            tunnel.reset()
            connection.ping()


def refusal(server: Server, http: str, target: str) -> tuple[int, bytes]:
    """Status and body of the answer to a WebSocket's handshake that is not taken."""
    if http == "1.1":
        with server.connect() as client:
            client.send(handshake(target))
            response = client.response()
            return response.status, response.body
    with connect(server) as connection:
        tunnel = Tunnel(connection, target, wait=False)
        answer = connection.response(tunnel.stream_id)
        return answer.status, bytes(connection.bodies[tunnel.stream_id])
