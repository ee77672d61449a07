"""A client that writes HTTP/2 frame by frame over a real socket, and reads strictly."""

from __future__ import annotations

import socket
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Self

from tests.e2e.support import PATIENCE, Server
from tests.engines import h2_frames as wire
from tests.engines.h2_frames import Data, Field, GoAway, Ping, Reader, Response, Settings, Window


class HTTP2Client:
    """One connection with prior knowledge; ``sock`` may be one of TLS.

    ``settings`` are the client's. What comes is credited at once, unless ``grants`` is False, and
    pings are answered. Bodies are in ``bodies``, taken out of the reader's responses, which would
    copy a large one with every frame.
    """

    def __init__(
        self,
        sock: socket.socket,
        settings: Mapping[int, int] | None = None,
        *,
        grants: bool = True,
        scheme: bytes = b"http",
    ) -> None:
        self.sock = sock
        self.scheme = scheme
        sock.settimeout(PATIENCE)
        self.grants = grants
        self.writer = wire.Writer()
        self.reader = Reader()
        self.bodies: defaultdict[int, bytearray] = defaultdict(bytearray)
        self.pongs: list[bytes] = []
        self.ended = False
        #: What the server lets us send; a stream has as much as the server's settings say.
        self._credit = wire.DEFAULT_WINDOW
        self._stream_credit: defaultdict[int, int] = defaultdict(int)
        self.reader.sent_settings(settings or {})
        self.send(wire.PREFACE + wire.settings(settings or {}))
        self.until(lambda: self.reader.server_settings is not None, "the server's settings")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    # ---- bytes ---------------------------------------------------------------------------

    def send(self, octets: bytes) -> None:
        self.sock.sendall(octets)

    def fill(self) -> None:
        """Wait for bytes and act on them; the connection's end sets ``ended``."""
        try:
            octets = self.sock.recv(65_536)
        except ConnectionResetError:
            octets = b""
        self.ended = not octets
        reply = b""
        for frame in self.reader.feed(octets):
            if isinstance(frame, Data):
                self.bodies[frame.stream_id] += frame.content
                self.reader.responses[frame.stream_id].body = b""
                if self.grants and frame.content:
                    reply += self._grant(0, len(frame.content))
                    if not frame.end:
                        reply += self._grant(frame.stream_id, len(frame.content))
            elif isinstance(frame, Settings) and not frame.ack:
                reply += wire.settings_ack()
            elif isinstance(frame, Ping) and frame.ack:
                self.pongs.append(frame.payload)
            elif isinstance(frame, Ping):
                reply += wire.ping(frame.payload, ack=True)
            elif isinstance(frame, Window):
                if frame.stream_id:
                    self._stream_credit[frame.stream_id] += frame.increment
                else:
                    self._credit += frame.increment
        if reply and not any(goaway.error for goaway in self.reader.goaways):
            self.send(reply)

    def _grant(self, stream_id: int, increment: int) -> bytes:
        self.reader.granted(stream_id, increment)
        return wire.window_update(stream_id, increment)

    def until(self, condition: Callable[[], object], what: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert not self.ended, f"the connection ended before {what}: {self.goaways}"
            assert time.monotonic() < deadline, f"not within {PATIENCE:g} s: {what}"
            self.fill()

    def read_rest(self) -> None:
        """Everything up to the end of the connection."""
        deadline = time.monotonic() + PATIENCE
        while not self.ended:
            assert time.monotonic() < deadline, "the connection goes on"
            self.fill()

    # ---- requests ------------------------------------------------------------------------

    def open(self, method: bytes, target: str, *fields: Field, end: bool) -> int:
        """The id of a new stream."""
        stream_id = self.writer.next_id
        head = wire.head(method, target.encode(), *fields, scheme=self.scheme, authority=b"test")
        self.send(self.writer.headers(stream_id, head, end))
        return stream_id

    def get(self, target: str, *fields: Field) -> int:
        return self.open(b"GET", target, *fields, end=True)

    def post(self, target: str, *fields: Field) -> int:
        """A request whose body is still to come."""
        return self.open(b"POST", target, *fields, end=False)

    def credit(self, stream_id: int) -> int:
        assert self.reader.server_settings is not None
        initial = self.reader.server_settings.get(wire.INITIAL_WINDOW_SIZE, wire.DEFAULT_WINDOW)
        return min(self._credit, initial + self._stream_credit[stream_id])

    def data(self, stream_id: int, content: bytes, end: bool = False) -> None:
        """One DATA frame, whatever credit there is."""
        self._credit -= len(content)
        self._stream_credit[stream_id] -= len(content)
        self.send(wire.data(stream_id, content, end))

    def upload(self, stream_id: int, content: bytes, end: bool = True) -> None:
        """A body in frames as large as may be, as credit comes."""
        sent = 0
        while sent < len(content):
            self.until(lambda: self.credit(stream_id) > 0, "credit")
            size = min(wire.DEFAULT_FRAME_SIZE, self.credit(stream_id))
            piece = content[sent : sent + size]
            sent += len(piece)
            self.data(stream_id, piece, end and sent == len(content))

    def grant(self, stream_id: int, increment: int) -> None:
        self.send(self._grant(stream_id, increment))

    def reset(self, stream_id: int, error: int = wire.CANCEL) -> None:
        self.send(wire.reset(stream_id, error))

    def ping(self) -> None:
        """A round trip: what the server had to say until now has come."""
        count = len(self.pongs) + 1
        self.send(wire.ping(b"%08d" % count))
        self.until(lambda: len(self.pongs) == count, "an answer to a ping")

    # ---- answers -------------------------------------------------------------------------

    @property
    def goaways(self) -> list[GoAway]:
        return self.reader.goaways

    def response(self, stream_id: int) -> Response:
        """A response that is whole, or was reset; its body is in ``bodies``."""
        response = self.reader.responses[stream_id]
        self.until(
            lambda: response.complete or response.reset is not None,
            f"a response on stream {stream_id}, {response}",
        )
        return response

    def body(self, stream_id: int) -> bytes:
        """The body of a response that must be whole."""
        response = self.response(stream_id)
        assert (response.complete, response.reset) == (True, None), response
        return bytes(self.bodies[stream_id])

    def fetch(self, target: str) -> bytes:
        """The body of a GET that must be answered with 200."""
        stream_id = self.get(target)
        body = self.body(stream_id)
        assert self.reader.responses[stream_id].status == 200
        return body


def connect(
    server: Server,
    settings: dict[int, int] | None = None,
    *,
    grants: bool = True,
    receive_buffer: int = 0,
) -> HTTP2Client:
    """In cleartext, to what the server listens on."""
    sock = socket.socket()
    if receive_buffer:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    sock.connect(("127.0.0.1", server.port))
    return HTTP2Client(sock, settings, grants=grants)
