"""WebSocket clients that see every frame: one over HTTP/1.1, one over a stream of HTTP/2."""

from __future__ import annotations

import os
import zlib
from collections import deque
from typing import Any, Self

from tests.e2e.http2_client import HTTP2Client
from tests.e2e.support import PATIENCE, Client, Response, Server
from tests.engines import h2_frames as h2
from tests.engines import ws_frames as ws
from tests.engines.h2_frames import Field
from tests.engines.ws_frames import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Frame

PROBE = "tests.e2e.apps.websocket_probe:app"
DEFLATE = "sec-websocket-extensions: permessage-deflate; client_max_window_bits"

#: The example of RFC 6455 §1.3.
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


#: A worker, and an engine.
Variant = tuple[str, str]


def serve(variant: Variant, *options: str, **more: Any) -> Server:
    """The probe application."""
    worker, engine = variant
    return Server(PROBE, worker, "--websocket-engine", engine, "--no-access-log", *options, **more)


def handshake(target: str, *lines: str, method: str = "GET", version: str = "1.1") -> bytes:
    """A client's opening handshake; one of ``lines`` replaces what has the same name."""
    fields = {
        "host": "host: test",
        "connection": "connection: keep-alive, Upgrade",
        "upgrade": "upgrade: websocket",
        "sec-websocket-version": "sec-websocket-version: 13",
        "sec-websocket-key": f"sec-websocket-key: {KEY}",
    }
    extra = []
    for line in lines:
        name = line.partition(":")[0].lower()
        if name in fields:
            fields[name] = line
        else:
            extra.append(line)
    chosen = [line for line in [*fields.values(), *extra] if line.partition(":")[2]]
    return "\r\n".join([f"{method} {target} HTTP/{version}", *chosen, "", ""]).encode()


class FrameClient:
    """What is the same whatever the frames go through."""

    def __init__(self) -> None:
        self.reader = ws.Reader()
        self.frames: deque[Frame] = deque()
        self._inflater = zlib.decompressobj(-15)
        #: The tunnel was ended by the server.
        self.ended = False

    def send(self, data: bytes) -> None:
        raise NotImplementedError

    def fill(self) -> bytes:
        """Wait for more bytes; b"" sets ``ended``."""
        raise NotImplementedError

    def send_text(self, message: str) -> None:
        self.send(ws.text(message))

    def send_binary(self, message: bytes) -> None:
        self.send(ws.binary(message))

    def frame(self) -> Frame:
        while not self.frames:
            data = self.fill()
            self.frames += self.reader.feed(data)
            assert not self.ended or self.frames, "the tunnel ended before a frame"
        return self.frames.popleft()

    def message(self) -> str | bytes:
        """The next message, which must be the next frames."""
        frame = self.frame()
        assert frame.opcode in {TEXT, BINARY}, frame
        text, deflated = frame.opcode == TEXT, frame.rsv1
        payload = frame.payload
        while not frame.fin:
            frame = self.frame()
            assert frame.opcode == CONTINUATION, frame
            payload += frame.payload
        if deflated:
            payload = self._inflater.decompress(payload + b"\x00\x00\xff\xff")
        return payload.decode() if text else payload

    def closed(self) -> tuple[int | None, str]:
        """Code and reason of a Close, which must be the next frame."""
        frame = self.frame()
        assert frame.opcode == CLOSE, frame
        return read_close(frame)

    def until_closed(self) -> tuple[int | None, str]:
        """The same, whatever comes before."""
        while (frame := self.frame()).opcode != CLOSE:
            pass
        return read_close(frame)

    def ping(self, payload: bytes = b"1") -> None:
        """A round trip; messages that come before the answer are dropped."""
        self.send(ws.frame(PING, payload))
        while (frame := self.frame()).opcode != PONG:
            pass
        assert frame.payload == payload

    def assert_ended(self) -> None:
        """The server says nothing more, and ends the tunnel."""
        assert not self.frames
        while not self.ended:
            data = self.fill()
            assert not data, data
        assert not self.reader.buffer


def read_close(frame: Frame) -> tuple[int | None, str]:
    if not frame.payload:
        return None, ""
    return int.from_bytes(frame.payload[:2], "big"), frame.payload[2:].decode()


class Socket(FrameClient):
    """A WebSocket over HTTP/1.1, by a TCP connection of its own.

    Without ``wait`` the answer is awaited by ``opened``. ``early`` is sent together with the
    handshake, of which ``until`` can leave the end to the caller.
    """

    def __init__(
        self,
        server: Server,
        target: str,
        *lines: str,
        early: bytes = b"",
        wait: bool = True,
        until: int | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        self.client: Client = server.connect(**options)
        self.client.send(handshake(target, *lines)[:until] + early)
        if wait:
            self.opened()

    def opened(self) -> None:
        self.response: Response = self.client.head()
        assert self.response.status == 101, self.response
        self.reader.deflates = "sec-websocket-extensions" in self.response.headers
        self.frames += self.reader.feed(self.client.buffer)
        self.client.buffer = b""

    @property
    def pending(self) -> bool:
        """Nothing has been answered yet."""
        self.client.sock.setblocking(False)
        try:
            self.client.fill()
        except BlockingIOError:
            return not self.client.buffer
        finally:
            self.client.sock.settimeout(PATIENCE)
        return False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()

    def send(self, data: bytes) -> None:
        self.client.send(data)

    def fill(self) -> bytes:
        self.client.fill()
        data, self.client.buffer = self.client.buffer, b""
        self.ended = not data
        return data

    def end(self) -> None:
        self.client.send_end()

    def reset(self) -> None:
        self.client.reset()


class Tunnel(FrameClient):
    """A WebSocket over one stream of HTTP/2 (RFC 8441)."""

    def __init__(
        self,
        client: HTTP2Client,
        target: str,
        *fields: Field,
        early: bytes = b"",
        wait: bool = True,
    ) -> None:
        self.client = client
        self.stream_id = connect(client, target, *fields)
        if early:
            client.data(self.stream_id, early)
        super().__init__()
        if wait:
            self.opened()

    def opened(self) -> None:
        answer = self.answer
        self.client.until(lambda: answer.fields is not None or answer.reset is not None, "200")
        assert answer.status == 200, answer
        assert not answer.complete

    @property
    def answer(self) -> h2.Response:
        return self.client.reader.responses[self.stream_id]

    def send(self, data: bytes) -> None:
        self.client.upload(self.stream_id, data, end=False)

    def fill(self) -> bytes:
        client, answer = self.client, self.answer
        body = client.bodies[self.stream_id]
        client.until(
            lambda: body or answer.complete or answer.reset is not None, "data in the tunnel"
        )
        data = bytes(body)
        body.clear()
        self.ended = not data
        return data

    def end(self) -> None:
        """END_STREAM."""
        self.client.data(self.stream_id, b"", end=True)

    def reset(self) -> None:
        self.client.reset(self.stream_id)


def connect(client: HTTP2Client, target: str, *fields: Field, **pseudo: Any) -> int:
    """Ask for a WebSocket; the id of the stream."""
    stream_id = client.writer.next_id
    if not any(name == b"sec-websocket-version" for name, _ in fields):
        fields = ((b"sec-websocket-version", b"13"), *fields)
    chosen = {"scheme": client.scheme, "authority": b"test", "protocol": b"websocket", **pseudo}
    head = h2.head(b"CONNECT", target.encode(), *fields, **chosen)
    client.send(client.writer.headers(stream_id, head))
    return stream_id


def new_key() -> str:
    return os.urandom(8).hex()
