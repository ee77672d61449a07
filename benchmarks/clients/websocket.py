"""A WebSocket client that loads a server which echoes: one thread, raw sockets, nothing but the
standard library.

It does little for a message, so that the server has the work: a frame is masked once, before the
load, and what comes back is compared with the one echo that may. It offers no compression.

It loads for a time and prints one line of JSON: the fields of LoadResult.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import json
import os
import select
import socket
import sys
import time
from array import array
from collections.abc import Collection, Sequence
from statistics import quantiles
from urllib.parse import urlsplit

TEXT, CLOSE, PING, PONG = 0x81, 0x88, 0x89, 0x8A  # opcodes of final frames (RFC 6455 §5.2)

_PATIENCE = 5.0  # seconds without a byte from the server
_CLOSING = 3.0  # seconds until a server has closed all connections
_READ = 1 << 16  # a larger buffer would be mapped and unmapped for each call


class LoadFailure(Exception):
    """The server did not do what the load needs."""


def frame(first: int, payload: bytes, mask: bytes = b"") -> bytes:
    """A frame as the client sends it, with a ``mask`` of four bytes, or as the server does."""
    size, masked = len(payload), 0x80 if mask else 0
    if size < 126:
        head = bytes((first, masked | size))
    elif size < 65_536:
        head = bytes((first, masked | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((first, masked | 127)) + size.to_bytes(8, "big")
    if mask:
        payload = bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))
    return head + mask + payload


def handshake(url: str, timeout: float) -> tuple[socket.socket, int]:
    """A socket and the status of the server's answer; 101 for a WebSocket. Raises OSError."""
    target = urlsplit(url)
    sock = socket.create_connection((target.hostname, target.port), timeout)
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        key = base64.b64encode(os.urandom(16)).decode()
        sock.sendall(
            f"GET {target.path} HTTP/1.1\r\nHost: {target.netloc}\r\n"
            "Connection: Upgrade\r\nUpgrade: websocket\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode()
        )
        head = b""
        while b"\r\n\r\n" not in head:
            received = sock.recv(4096)
            if not received:
                raise ConnectionError("closed the connection without an answer")
            head += received
        return sock, int(head.split(None, 2)[1])
    except BaseException:
        sock.close()
        raise


def exchange(sock: socket.socket, request: bytes, echo: bytes) -> None:
    """Send one message and wait for its echo. Raises OSError or LoadFailure."""
    sock.sendall(request)
    received = b""
    while len(received) < len(echo):
        data = sock.recv(_READ)
        if not data:
            raise LoadFailure("the server closed a connection")
        received += data
    if received != echo:
        raise LoadFailure(f"no echo: {received[:20].hex(' ')}")


class Connection:
    """An open WebSocket. One message at a time is timed on it, from sending to its echo."""

    __slots__ = ("echoes", "pending", "sent_at", "sock", "timed")

    def __init__(self, url: str) -> None:
        self.sock, status = handshake(url, _PATIENCE)
        if status != 101:
            raise LoadFailure(f"the server answered {status}")
        self.sock.settimeout(None)  # epoll waits; what is in flight fits the socket's buffer
        self.pending = b""  # of an echo that has not come whole
        self.echoes = 0
        self.timed = 0  # the number of the echo that is waited for
        self.sent_at = 0.0

    def receive(self, echo: bytes) -> int:
        """Read what has come; how many echoes are whole with it. Raises LoadFailure."""
        data = self.sock.recv(_READ)
        if not data:
            raise LoadFailure("the server closed a connection")
        if self.pending:
            data = self.pending + data
        size = len(echo)
        count = len(data) // size
        if data[: count * size] != echo * count:
            data = self._answer_pings(data, echo)
            count = len(data) // size
        self.pending = data[count * size :]
        self.echoes += count
        return count

    def _answer_pings(self, data: bytes, echo: bytes) -> bytes:
        """``data`` without the pings in it. Raises LoadFailure where it is not all echoes then."""
        at = 0
        while at < len(data):
            if data[at] == PING:
                end = at + 2 + data[at + 1] if at + 1 < len(data) else len(data) + 1
                if end > len(data):
                    break
                self.sock.sendall(frame(PONG, data[at + 2 : end], os.urandom(4)))
                data = data[:at] + data[end:]
            elif echo.startswith(data[at : at + len(echo)]):
                at += len(echo)
            else:
                raise LoadFailure(f"no echo: {data[at : at + 20].hex(' ')}")
        return data


def close(connections: Collection[Connection]) -> None:
    """The closing handshakes, as far as the server takes part: not all of them end a connection."""
    deadline = time.monotonic() + _CLOSING
    for connection in connections:
        with contextlib.suppress(OSError):
            connection.sock.sendall(frame(CLOSE, (1000).to_bytes(2, "big"), os.urandom(4)))
    for connection in connections:
        with contextlib.suppress(OSError), connection.sock as sock:
            sock.settimeout(max(0.01, deadline - time.monotonic()))
            while sock.recv(_READ):
                pass


def load(url: str, connections: int, depth: int, size: int, seconds: float) -> dict[str, float]:
    """Keep ``depth`` messages of ``size`` bytes in flight on each connection for ``seconds``, then
    wait until all have come back.
    """
    payload = b"x" * size
    request, echo = frame(TEXT, payload, os.urandom(4)), frame(TEXT, payload)
    poll = select.epoll()
    opened: dict[int, Connection] = {}
    for _ in range(connections):
        connection = Connection(url)
        opened[connection.sock.fileno()] = connection
        poll.register(connection.sock, select.EPOLLIN)
    latencies = array("d")
    clock = time.perf_counter
    now = start = clock()
    for connection in opened.values():
        connection.timed, connection.sent_at = depth, clock()
        connection.sock.sendall(request * depth)
    end = start + seconds
    in_flight = connections * depth
    while in_flight:
        events = poll.poll(_PATIENCE)
        if not events:
            raise LoadFailure(f"{in_flight} messages were not echoed")
        for fd, _ in events:
            connection = opened[fd]
            count = connection.receive(echo)
            now = clock()
            if connection.echoes >= connection.timed:
                latencies.append(now - connection.sent_at)
                connection.timed, connection.sent_at = connection.echoes + depth, now
            if now < end:
                if count:
                    connection.sock.sendall(request * count)
            else:
                in_flight -= count
    messages = sum(connection.echoes for connection in opened.values())
    close(opened.values())
    return _result(messages, now - start, latencies)


def _result(messages: int, seconds: float, latencies: array[float]) -> dict[str, float]:
    percentiles = quantiles(latencies, n=100, method="inclusive")
    return {
        "requests": messages,
        "seconds": seconds,
        "latency_p50": percentiles[49] * 1e6,
        "latency_p99": percentiles[98] * 1e6,
    }


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url", help="http://host:port/path")
    parser.add_argument("--connections", type=int, required=True)
    parser.add_argument("--depth", type=int, default=1, help="messages in flight on each")
    parser.add_argument("--size", type=int, default=64, help="bytes in a message")
    parser.add_argument("--seconds", type=float, required=True)
    options = parser.parse_args(argv)
    given = (options.connections, options.depth, options.size, options.seconds)
    try:
        print(json.dumps(load(options.url, *given)))
    except (OSError, LoadFailure) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
