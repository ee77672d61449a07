"""Uploads or downloads of many bytes over HTTP/1.1: one connection, one after the other.

Nothing is kept of what comes. A transfer that has begun is finished, so the time may be longer than
was asked for.
"""

from __future__ import annotations

import argparse
import json
import socket
import sys
import time
from array import array
from collections.abc import Sequence
from statistics import quantiles
from urllib.parse import SplitResult, urlsplit

_PATIENCE = 30.0  # seconds without a byte moving
_PIECE = 1 << 18


class Broken(Exception):
    """The server did not answer as it should."""


def download(sock: socket.socket, target: SplitResult) -> int:
    """Bytes of the body. Raises OSError or Broken."""
    sock.sendall(f"GET {target.path} HTTP/1.1\r\nHost: {target.netloc}\r\n\r\n".encode())
    length, rest = _head(sock)
    buffer = bytearray(_PIECE)
    left = length - len(rest)
    while left > 0:
        received = sock.recv_into(buffer, min(left, _PIECE))
        if not received:
            raise Broken(f"the connection ended {left} bytes before the body did")
        left -= received
    return length


def upload(sock: socket.socket, target: SplitResult, size: int) -> int:
    """What the server says that it got. Raises OSError or Broken."""
    sock.sendall(
        f"POST {target.path} HTTP/1.1\r\nHost: {target.netloc}\r\n"
        f"Content-Type: application/octet-stream\r\nContent-Length: {size}\r\n\r\n".encode()
    )
    piece = memoryview(bytes(_PIECE))
    left = size
    while left:
        sock.sendall(piece[: min(left, _PIECE)])
        left -= min(left, _PIECE)
    length, rest = _head(sock)
    while len(rest) < length:
        received = sock.recv(length - len(rest))
        if not received:
            raise Broken("the connection ended before the answer did")
        rest += received
    return int(rest)


def _head(sock: socket.socket) -> tuple[int, bytes]:
    """The response's Content-Length, and what came after its head."""
    received = b""
    while b"\r\n\r\n" not in received:
        data = sock.recv(65_536)
        if not data:
            raise Broken("the connection ended without an answer")
        received += data
    head, _, rest = received.partition(b"\r\n\r\n")
    status, *lines = head.lower().split(b"\r\n")
    if b" 200" not in status:
        raise Broken(status.decode("ascii", "replace"))
    for line in lines:
        name, _, value = line.partition(b":")
        if name == b"content-length":
            return int(value), rest
    raise Broken("the answer has no Content-Length")


def load(url: str, size: int, seconds: float) -> dict[str, float]:
    """Upload ``size`` bytes again and again, or download where it is 0."""
    target = urlsplit(url)
    latencies = array("d")
    with socket.create_connection((target.hostname, target.port), _PATIENCE) as sock:
        start = now = time.perf_counter()
        while now < start + seconds:
            before = now
            if size and (got := upload(sock, target, size)) != size:
                raise Broken(f"the server got {got} of {size} bytes")
            if not size:
                download(sock, target)
            now = time.perf_counter()
            latencies.append(now - before)
    samples = latencies if len(latencies) > 1 else [*latencies, *latencies]
    percentiles = quantiles(samples, n=100, method="inclusive")
    return {
        "requests": len(latencies),
        "seconds": now - start,
        "latency_p50": percentiles[49] * 1e6,
        "latency_p99": percentiles[98] * 1e6,
    }


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url", help="http://host:port/path")
    parser.add_argument("--upload", type=int, default=0, metavar="BYTES", help="0 downloads")
    parser.add_argument("--seconds", type=float, required=True)
    options = parser.parse_args(argv)
    try:
        print(json.dumps(load(options.url, options.upload, options.seconds)))
    except (OSError, ValueError, Broken) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
