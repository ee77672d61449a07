"""Connections that are open and silent: one request or message on each, then nothing.

They are opened a few at a time. When all are open, one line of JSON is printed, and they stay open until
standard input ends.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import sys
import time
from array import array
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from statistics import quantiles
from urllib.parse import urlsplit

from benchmarks.clients.websocket import TEXT, LoadFailure, exchange, frame, handshake

_PATIENCE = 10.0  # seconds without a byte from the server
_OPENING = 90.0  # seconds to open all
_AT_A_TIME = 8  # connections that are being opened
_SETTLE = 0.5  # seconds for the server to come to rest with the connections open
_READ = 1 << 16

# HTTP/2 (RFC 9113): the frames of one request, and those of an answer.
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _RST_STREAM, _SETTINGS, _GOAWAY = 0, 3, 4, 7
_END_STREAM, _ACK, _END_HEADERS = 0x1, 0x1, 0x4
_HEADERS = 1


def http1(url: str) -> socket.socket:
    """A connection on which one GET has been answered. Raises OSError or LoadFailure."""
    target = urlsplit(url)
    sock = socket.create_connection((target.hostname, target.port), _PATIENCE)
    sock.sendall(f"GET {target.path} HTTP/1.1\r\nHost: {target.netloc}\r\n\r\n".encode())
    received = b""
    while not received.endswith(b"!"):  # the end of "Hello, world!"
        data = sock.recv(_READ)
        if not data:
            raise LoadFailure("the server closed a connection")
        received += data
    if b" 200" not in received[:16]:
        raise LoadFailure(received[:40].decode("latin-1"))
    return sock


def http2_frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """RFC 9113 §4.1."""
    return (
        len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload
    )


def http2(url: str) -> socket.socket:
    """The same with prior knowledge."""
    target = urlsplit(url)
    authority = target.netloc.encode()
    # By HPACK's static table (RFC 7541 App. A): GET, http, /, and :authority with its value.
    head = b"\x82\x86\x84\x01" + bytes((len(authority),)) + authority
    sock = socket.create_connection((target.hostname, target.port), _PATIENCE)
    sock.sendall(
        _PREFACE
        + http2_frame(_SETTINGS, 0, 0)
        + http2_frame(_HEADERS, _END_STREAM | _END_HEADERS, 1, head)
    )
    received = b""
    while True:
        data = sock.recv(_READ)
        if not data:
            raise LoadFailure("the server closed a connection")
        received += data
        while len(received) >= 9:
            end = 9 + int.from_bytes(received[:3], "big")
            if len(received) < end:
                break
            kind, flags = received[3], received[4]
            received = received[end:]
            if kind == _SETTINGS and not flags & _ACK:
                sock.sendall(http2_frame(_SETTINGS, _ACK, 0))
            elif kind in {_RST_STREAM, _GOAWAY}:
                raise LoadFailure("the server refused a request")
            elif kind in {_DATA, _HEADERS} and flags & _END_STREAM:
                return sock


def websocket(url: str) -> socket.socket:
    """A WebSocket on which one message has been echoed."""
    payload = b"x" * 64
    sock, status = handshake(url, _PATIENCE)
    if status != 101:
        raise LoadFailure(f"the server answered {status}")
    exchange(sock, frame(TEXT, payload, os.urandom(4)), frame(TEXT, payload))
    return sock


PROTOCOLS: dict[str, Callable[[str], socket.socket]] = {
    "http1": http1,
    "http2": http2,
    "websocket": websocket,
}


def hold(
    url: str, opening: Callable[[str], socket.socket], connections: int
) -> tuple[dict[str, float], list[socket.socket]]:
    """Open them. Raises OSError or LoadFailure."""
    latencies = array("d")
    start = time.perf_counter()

    def open_one(number: int) -> socket.socket:
        before = time.perf_counter()
        if before > start + _OPENING:
            raise LoadFailure(f"{number} connections were open after {_OPENING:.0f} seconds")
        sock = opening(url)
        latencies.append(time.perf_counter() - before)
        return sock

    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        try:
            opened = list(pool.map(open_one, range(connections)))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    seconds = time.perf_counter() - start
    time.sleep(_SETTLE)
    closed = sum(_is_closed(sock) for sock in opened)
    if closed:
        raise LoadFailure(f"the server closed {closed} of {connections} idle connections")
    percentiles = quantiles(latencies, n=100, method="inclusive")
    return {
        "requests": connections,
        "seconds": seconds,
        "latency_p50": percentiles[49] * 1e6,
        "latency_p99": percentiles[98] * 1e6,
    }, opened


def _is_closed(sock: socket.socket) -> bool:
    sock.setblocking(False)
    try:
        return not sock.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url", help="http://host:port/path")
    parser.add_argument("--protocol", choices=sorted(PROTOCOLS), required=True)
    parser.add_argument("--connections", type=int, required=True)
    options = parser.parse_args(argv)
    try:
        result, opened = hold(options.url, PROTOCOLS[options.protocol], options.connections)
    except (OSError, LoadFailure) as error:
        print(error, file=sys.stderr)
        return 1
    print(json.dumps(result), flush=True)
    sys.stdin.read()
    for sock in opened:
        sock.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
