"""A client's half of a connection, in the few words that the tests of engines need.

A ``Peer`` plays client, driver and application: bytes go in by a feeding style, every call is
followed by a drain of both outputs, and the clock is a number that only the test moves.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from functools import cache

from hyperserver.protocol.events import (
    DataReceived,
    Event,
    RequestReceived,
    RequestRefused,
    StreamClosed,
    TrailersReceived,
)
from hyperserver.protocol.interface import Limits, ResponseDefaults
from hyperserver.protocol.negotiate import choose_engines, open_http1

Feed = Callable[[bytes], Iterable[bytes]]

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
OK_CLOSE = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


def whole(data: bytes) -> Iterable[bytes]:
    return [data] if data else []


def byte_by_byte(data: bytes) -> Iterable[bytes]:
    return [data[i : i + 1] for i in range(len(data))]


def random_splits(seed: int) -> Feed:
    """Pieces of any size, many of them small; the same for the same seed."""

    def split(data: bytes) -> Iterator[bytes]:
        chance = random.Random(seed)
        position = 0
        while position < len(data):
            size = chance.choice((1, 2, 3, 4, 7, 16, 50, 1000))
            yield data[position : position + size]
            position += size

    return split


FEEDS: dict[str, Feed] = {
    "whole": whole,
    "byte-by-byte": byte_by_byte,
    **{f"splits-seed-{seed}": random_splits(seed) for seed in (1, 2, 3)},
}


def request(line: bytes = b"GET / HTTP/1.1", *fields: bytes, body: bytes = b"") -> bytes:
    """A request with exactly these lines."""
    return b"\r\n".join((line, *fields)) + b"\r\n\r\n" + body


def get(target: bytes = b"/", *fields: bytes) -> bytes:
    """A good HTTP/1.1 GET, plus ``fields``."""
    return request(b"GET " + target + b" HTTP/1.1", b"Host: a", *fields)


def post(*fields: bytes, body: bytes = b"") -> bytes:
    """An HTTP/1.1 POST with Host, plus ``fields`` and raw ``body``."""
    return request(b"POST / HTTP/1.1", b"Host: a", *fields, body=body)


def chunked_post(body: bytes) -> bytes:
    return post(b"Transfer-Encoding: chunked", body=body)


def sized_post(body: bytes) -> bytes:
    return post(b"Content-Length: %d" % len(body), body=body)


#: ``choose_engines``, which looks for installed libraries, asked once as a worker does.
engines_of = cache(choose_engines)


class Peer:
    """One connection; everything it ever reported is in ``events`` and ``output``."""

    def __init__(self, engine: str, feed: Feed = whole, limits: Limits | None = None) -> None:
        self.now = 1000.0
        self.feed = feed
        self.events: list[Event] = []
        self.output = b""
        self.connection = open_http1(
            engines_of(engine), limits or Limits(), ResponseDefaults(None), "http", self.now
        )

    # ---- the client ----------------------------------------------------------------------

    def send(self, data: bytes) -> list[Event]:
        """Feed ``data``; the events that it caused, adjacent body pieces joined."""
        before = len(self.events)
        for piece in self.feed(data):
            self.connection.receive_data(piece, self.now)
            self.drain()
        return joined(self.events[before:])

    def eof(self) -> list[Event]:
        before = len(self.events)
        self.connection.receive_eof(self.now)
        self.drain()
        return self.events[before:]

    def wait(self, seconds: float) -> list[Event]:
        """Let time pass; only a deadline that is due is acted on."""
        before = len(self.events)
        self.now += seconds
        self.drain()
        return self.events[before:]

    def drain(self) -> None:
        """What a driver does after every call: look at the clock, take events and output."""
        while (due := self.connection.next_timeout()) is not None and due <= self.now:
            self.connection.handle_timeout(self.now)
        self.events += self.connection.events()
        while data := self.connection.data_to_send():
            self.output += data
        self.events += self.connection.events()

    def take(self) -> bytes:
        """The output since last taken."""
        self.drain()
        output, self.output = self.output, b""
        return output

    # ---- the application -----------------------------------------------------------------

    def start(
        self, stream_id: int = 1, status: int = 200, *fields: tuple[bytes, bytes], end: bool = False
    ) -> None:
        self.connection.send_headers(stream_id, status, list(fields), end)
        self.drain()

    def data(self, stream_id: int, data: bytes, end: bool = False) -> None:
        self.connection.send_data(stream_id, data, end)
        self.drain()

    def answer(self, stream_id: int = 1) -> None:
        """The shortest whole response: ``OK`` or ``OK_CLOSE`` on the wire."""
        self.start(stream_id, 200, (b"content-length", b"0"), end=True)

    # ---- what the tests look at ----------------------------------------------------------

    @property
    def requests(self) -> list[RequestReceived]:
        return [e for e in self.events if isinstance(e, RequestReceived)]

    @property
    def body(self) -> bytes:
        return b"".join(e.data for e in self.events if isinstance(e, DataReceived))

    @property
    def body_complete(self) -> bool:
        last = self.events[-1]
        return isinstance(last, TrailersReceived) or (
            isinstance(last, DataReceived) and last.end_stream
        )

    @property
    def lingers(self) -> bool:
        """Half-closed after the last output, waiting for the client to close."""
        return self.connection.output_finished and not self.connection.is_closed


def joined(events: Iterable[Event]) -> list[Event]:
    """``events`` with adjacent body pieces of a stream joined: cuts are nobody's promise."""
    result: list[Event] = []
    for event in events:
        last = result[-1] if result else None
        if (
            isinstance(event, DataReceived)
            and isinstance(last, DataReceived)
            and last.stream_id == event.stream_id
        ):
            result[-1] = DataReceived(event.stream_id, last.data + event.data, event.end_stream)
        else:
            result.append(event)
    return result


def statuses(output: bytes) -> list[int]:
    """The status codes of all responses in ``output``."""
    return [int(part[:3]) for part in output.split(b"HTTP/1.1 ")[1:]]


def assert_refused(peer: Peer, status: int) -> None:
    """One refusal with ``status`` was the whole answer, and the connection is closing."""
    assert [type(e) for e in peer.events] == [RequestRefused]
    refusal = peer.events[0]
    assert isinstance(refusal, RequestRefused)
    assert refusal.status == status, refusal.reason
    assert_error_response(peer, status)


def assert_body_fault(peer: Peer, status: int = 400) -> None:
    """A request began, its body was at fault, and a response said so."""
    assert isinstance(peer.events[0], RequestReceived)
    assert all(isinstance(e, DataReceived) and not e.end_stream for e in peer.events[1:-1])
    closed = peer.events[-1]
    assert isinstance(closed, StreamClosed)
    assert (closed.stream_id, closed.status) == (1, status), closed.reason
    assert_error_response(peer, status)


def assert_error_response(peer: Peer, status: int) -> None:
    head, _, body = peer.output.partition(b"\r\n\r\n")
    assert statuses(peer.output) == [status]
    assert b"\r\nconnection: close" in head
    assert b"\r\ncontent-length: %d\r\n" % len(body) in head
    assert peer.lingers
    # nothing behind a fault is ever parsed
    events, output = len(peer.events), len(peer.output)
    peer.send(get())
    assert (len(peer.events), len(peer.output)) == (events, output)
