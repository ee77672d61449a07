"""One way to speak to the server for HTTP/1.1 and HTTP/2, so that a statement is tested on both.

A ``Peer`` is a connection, an ``Exchange`` one request on it, an ``Answer`` what came of it.
"""

from __future__ import annotations

import ast
import random
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from socket import IPPROTO_TCP, TCP_NODELAY
from typing import Any, Self
from urllib.parse import quote

from tests.e2e.http2_client import HTTP2Client
from tests.e2e.support import Client, Server, TLSClient, wait_until
from tests.e2e.websocket_client import FrameClient, Socket, Tunnel, new_key
from tests.engines import h2_frames as wire
from tests.engines.h2_frames import Field, Fields

APP = "tests.conformance.app:app"
HTTP1, HTTP2 = "1.1", "2"

Step = tuple[Any, ...]


class Source:
    """Python in a script that is no literal."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


# ---- what scripts are written in -------------------------------------------------------------


def start(status: int = 200, headers: Sequence[Any] = (), **more: Any) -> dict[str, Any]:
    return {
        "type": "http.response.start",
        "status": status,
        "headers": list(headers),
        **more,
    }


def body(data: Any = b"", more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": data, "more_body": more}


def sends(*messages: dict[str, Any]) -> list[Step]:
    """Steps that note what came of each."""
    return [("send", message) for message in messages]


def must_send(*messages: dict[str, Any]) -> list[Step]:
    """Steps without a note, that end the call if a message is refused."""
    return [("must_send", message) for message in messages]


def whole(data: bytes = b"done", status: int = 200, headers: Sequence[Any] = ()) -> list[Step]:
    return must_send(start(status, headers), body(data))


def script_field(script: Sequence[Step], key: str = "") -> Fields:
    return [(b"script", quote(repr(list(script))).encode()), (b"key", key.encode())]


RETURNED = "returned"
SENT = "sent"


def refused(note: Any) -> bool:
    """Whether send() raised, and not because the client had gone."""
    return isinstance(note, dict) and "raised" in note and not note["os"]


def lost(note: Any) -> bool:
    """Whether send() raised what it does once the client has gone."""
    return isinstance(note, dict) and note.get("raised") == "ClientDisconnected" and note["os"]


# ---- answers -----------------------------------------------------------------------------------


@dataclass
class Answer:
    """``whole``: it ended as its version ends a response. ``reset`` is the code of a RST_STREAM."""

    status: int = 0
    fields: Fields = field(default_factory=list)
    body: bytes = b""
    interim: list[tuple[int, Fields]] = field(default_factory=list)
    trailers: Fields = field(default_factory=list)
    whole: bool = False
    reset: int | None = None
    version: str = ""

    def all(self, name: bytes) -> list[bytes]:
        return [value for key, value in self.fields if key == name]

    @property
    def literal(self) -> Any:
        """The body as a Python literal."""
        assert (self.status, self.whole) == (200, True), self
        return ast.literal_eval(self.body.decode())


class Exchange:
    """One request."""

    def send(self, data: bytes, end: bool = False) -> None:
        """A piece of the body of a request that was started with ``streams``."""
        raise NotImplementedError

    def head(self) -> Answer:
        """The answer up to its body."""
        raise NotImplementedError

    def until(self, count: int) -> bytes:
        """The first ``count`` bytes of the body of an answer whose head was awaited."""
        raise NotImplementedError

    def answer(self) -> Answer:
        """The answer up to its end, or to where it was cut."""
        raise NotImplementedError

    def leave(self) -> None:
        """Be gone: a TCP reset, or RST_STREAM."""
        raise NotImplementedError


class Peer:
    """One connection; ``start`` takes what is the same in both versions."""

    version: str
    #: Port and host of this end.
    address: tuple[Any, ...]

    def start(
        self,
        target: str = "/",
        *fields: Field,
        method: str = "GET",
        content: bytes | None = None,
        streams: bool = False,
        script: Sequence[Step] = (),
        key: str = "",
        host: bytes = b"test",
    ) -> Exchange:
        raise NotImplementedError

    def ask(self, target: str = "/", *fields: Field, **more: Any) -> Answer:
        return self.start(target, *fields, **more).answer()

    def run(self, script: Sequence[Step], *fields: Field, **more: Any) -> list[Any]:
        """The notes of a script that answers with them."""
        answer = self.ask("/", *fields, script=[*script, ("reply",)], **more)
        notes: list[Any] = answer.literal
        return notes

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        raise NotImplementedError


# ---- HTTP/1 ------------------------------------------------------------------------------------


class Exchange1(Exchange):
    def __init__(self, client: Client, method: str) -> None:
        self.client = client
        self.method = method
        self._answer: Answer | None = None

    def send(self, data: bytes, end: bool = False) -> None:
        octets = b"%x\r\n%s\r\n" % (len(data), data) if data else b""
        self.client.send(octets + b"0\r\n\r\n" * end)

    def _head(self) -> tuple[int, Fields, str]:
        first, *lines = self.client.read_until(b"\r\n\r\n")[:-4].split(b"\r\n")
        fields = []
        for line in lines:
            name, _, value = line.partition(b": ")
            fields.append((name, value))
        return int(first[9:12]), fields, first[5:8].decode()

    def head(self) -> Answer:
        if self._answer is None:
            answer = Answer()
            answer.status, answer.fields, answer.version = self._head()
            while answer.status < 200 and answer.status != 101:
                answer.interim.append((answer.status, answer.fields))
                answer.status, answer.fields, answer.version = self._head()
            self._answer = answer
        return self._answer

    def until(self, count: int) -> bytes:
        answer = self.head()
        while len(answer.body) < count:
            answer.body += (
                self.client.chunk()
                if answer.all(b"transfer-encoding")
                else self.client.read_exactly(count)
            )
        return answer.body

    def answer(self) -> Answer:
        answer = self.head()
        if self.method == "HEAD" or answer.status in {101, 204, 304}:
            answer.whole = True
            return answer
        try:
            self._body(answer)
        except (AssertionError, ConnectionResetError):
            answer.body, self.client.buffer = answer.body + self.client.buffer, b""
            answer.whole = False
        return answer

    def _body(self, answer: Answer) -> None:
        if answer.all(b"transfer-encoding"):
            assert answer.all(b"transfer-encoding") == [b"chunked"]
            while size := int(self.client.read_until(b"\r\n"), 16):
                answer.body += self.client.read_exactly(size + 2)[:-2]
            while line := self.client.read_until(b"\r\n")[:-2]:
                name, _, value = line.partition(b": ")
                answer.trailers.append((name, value))
        elif lengths := answer.all(b"content-length"):
            assert len(lengths) == 1, lengths
            left = int(lengths[0]) - len(answer.body)
            answer.body += self.client.read_exactly(left)
        else:
            answer.body += self.client.read_rest()
        answer.whole = True

    def leave(self) -> None:
        self.client.reset()


class Peer1(Peer):
    version = HTTP1

    def __init__(self, client: Client) -> None:
        self.client = client
        self.address = client.sock.getsockname()

    def start(
        self,
        target: str = "/",
        *fields: Field,
        method: str = "GET",
        content: bytes | None = None,
        streams: bool = False,
        script: Sequence[Step] = (),
        key: str = "",
        host: bytes = b"test",
    ) -> Exchange1:
        every = [(b"host", host), *script_field(script, key), *fields]
        if content is not None:
            every.append((b"content-length", b"%d" % len(content)))
        elif streams:
            every.append((b"transfer-encoding", b"chunked"))
        lines = b"".join(b"%s: %s\r\n" % one for one in every)
        self.client.send(f"{method} {target} HTTP/1.1\r\n".encode() + lines + b"\r\n")
        if content:
            self.client.send(content)
        return Exchange1(self.client, method)

    def close(self) -> None:
        self.client.close()


# ---- HTTP/2 ------------------------------------------------------------------------------------


class Exchange2(Exchange):
    def __init__(self, client: HTTP2Client, stream_id: int) -> None:
        self.client = client
        self.stream_id = stream_id

    def send(self, data: bytes, end: bool = False) -> None:
        if data:
            self.client.upload(self.stream_id, data, end)
        else:
            self.client.data(self.stream_id, b"", end)

    @property
    def _response(self) -> wire.Response:
        return self.client.reader.responses[self.stream_id]

    def head(self) -> Answer:
        response = self._response
        self.client.until(
            lambda: response.fields is not None or response.reset is not None, "a head"
        )
        return self._made()

    def _made(self) -> Answer:
        response = self._response
        return Answer(
            status=response.status,
            fields=(response.fields or [])[1:],
            body=bytes(self.client.bodies[self.stream_id]),
            interim=[(int(fields[0][1]), fields[1:]) for fields in response.interim],
            trailers=response.trailers or [],
            # one that is whole may be followed by a reset of the request (RFC 9113 §8.1)
            whole=response.complete and response.reset in {None, wire.NO_ERROR},
            reset=response.reset,
            version=HTTP2,
        )

    def until(self, count: int) -> bytes:
        content = self.client.bodies[self.stream_id]
        self.client.until(lambda: len(content) >= count, f"{count} bytes")
        return bytes(content)

    def answer(self) -> Answer:
        self.client.response(self.stream_id)
        return self._made()

    def leave(self) -> None:
        self.client.reset(self.stream_id)


class Peer2(Peer):
    version = HTTP2

    def __init__(self, client: HTTP2Client) -> None:
        self.client = client
        self.address = client.sock.getsockname()

    def start(
        self,
        target: str = "/",
        *fields: Field,
        method: str = "GET",
        content: bytes | None = None,
        streams: bool = False,
        script: Sequence[Step] = (),
        key: str = "",
        host: bytes = b"test",
    ) -> Exchange2:
        client = self.client
        every = [*script_field(script, key), *fields]
        if content is not None:
            every.append((b"content-length", b"%d" % len(content)))
        head = wire.head(
            method.encode(), target.encode(), *every, scheme=client.scheme, authority=host
        )
        stream_id = client.writer.next_id
        client.send(client.writer.headers(stream_id, head, end=not content and not streams))
        if content:
            client.upload(stream_id, content)
        return Exchange2(client, stream_id)

    def close(self) -> None:
        self.client.sock.close()


# ---- the server --------------------------------------------------------------------------------


class Served(Server):
    """The application of ``app.py``, on every kind of listener that was configured."""

    #: Made by the fixture, for the listener with TLS.
    contexts: dict[str, ssl.SSLContext]

    def listeners(self, count: int) -> list[str]:
        """The URLs of all listeners, in the order of the configuration."""

        def urls() -> list[str]:
            lines = [line.partition("listening on ")[2] for line in self.stderr.lines]
            return [url for url in lines if url]

        wait_until(lambda: len(urls()) == count, f"{count} listeners")
        return urls()

    def connect(self, **options: Any) -> Client:
        client = super().connect(**options)
        client.sock.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)  # wait for no acknowledgements
        return client

    def connect_secure(self, version: str) -> TLSClient:
        client = TLSClient(("127.0.0.1", self.secure_port), self.contexts[version])
        client.sock.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
        return client

    def peer(self, version: str, *, secure: bool = False, **options: Any) -> Peer:
        if secure:
            tls = self.connect_secure(version)
            if version == HTTP1:
                return Peer1(tls)
            return Peer2(HTTP2Client(tls.tls, options.get("settings"), scheme=b"https"))
        client = self.connect(receive_buffer=options.pop("receive_buffer", 0))
        if version == HTTP1:
            return Peer1(client)
        return Peer2(HTTP2Client(client.sock, options.pop("settings", None), **options))

    @property
    def secure_port(self) -> int:
        url = next(url for url in self.listeners(4) if url.startswith("https"))
        return int(url.rpartition(":")[2])

    def notes(self, key: str, count: int = 1 << 30) -> list[Any]:
        """What the call of ``key`` has noted, once there is so much of it or it has ended."""
        with Peer1(self.connect()) as peer:
            fields = (b"notes", b"%d" % count)
            notes: list[Any] = peer.ask("/report", fields, key=key).literal
        assert notes, "no notes"
        return notes

    def open(self, gate: str) -> None:
        with Peer1(self.connect()) as peer:
            assert peer.ask(script=[("open", gate), *whole()]).status == 200

    def is_well(self, version: str) -> bool:
        """It serves on."""
        with self.peer(version) as peer:
            return peer.ask(script=whole()).body == b"done"


# ---- WebSockets --------------------------------------------------------------------------------

ACCEPT = {"type": "websocket.accept"}
SEND = {"type": "websocket.send"}
CLOSE = {"type": "websocket.close"}


def dial(
    server: Served,
    version: str,
    script: Sequence[Step],
    *fields: Field,
    target: str = "/",
    key: str = "",
    wait: bool = True,
    early: bytes = b"",
    secure: bool = False,
) -> FrameClient:
    """A WebSocket by a connection of its own."""
    every = [*script_field(script, key), *fields]
    if version == HTTP1:
        lines = [f"{name.decode()}: {value.decode('latin-1')}" for name, value in every]
        source: Any = Secure(server) if secure else server
        return Socket(source, target, *lines, wait=wait, early=early)
    peer = server.peer(version, secure=secure)
    assert isinstance(peer, Peer2)
    return Tunnel(peer.client, target, *every, wait=wait, early=early)


class Secure:
    """Connects where there is TLS."""

    def __init__(self, server: Served) -> None:
        self.server = server

    def connect(self, **_: Any) -> Client:
        return self.server.connect_secure(HTTP1)


def fields_of(socket: FrameClient) -> Fields:
    """Of the answer that accepted it."""
    if isinstance(socket, Socket):
        return [(name.encode(), value.encode()) for name, value in socket.response.headers.items()]
    assert isinstance(socket, Tunnel)
    return (socket.answer.fields or [])[1:]


def denial(
    server: Served, version: str, script: Sequence[Step], *fields: Field, key: str = ""
) -> Answer:
    """The answer to a handshake that is not accepted."""
    socket = dial(server, version, script, *fields, key=key, wait=False)
    with hung_up(socket):
        if isinstance(socket, Socket):
            answer = Exchange1(socket.client, "GET").answer()
            assert socket.client.at_end(), "the connection goes on after a denial"
            return answer
        assert isinstance(socket, Tunnel)
        return Exchange2(socket.client, socket.stream_id).answer()


class hung_up:  # noqa: N801 - reads as a phrase
    """Closes a socket's connection at the end of a test."""

    def __init__(self, socket: FrameClient) -> None:
        self.socket = socket

    def __enter__(self) -> FrameClient:
        return self.socket

    def __exit__(self, *_: object) -> None:
        if isinstance(self.socket, Socket):
            self.socket.client.close()
        elif isinstance(self.socket, Tunnel):
            self.socket.client.sock.close()


def write_file(folder: Path, size: int) -> tuple[Path, bytes]:
    """A file of ``size`` random bytes, and these."""
    content = random.Random(size).randbytes(size)
    path = folder / new_key()
    path.write_bytes(content)
    return path, content
