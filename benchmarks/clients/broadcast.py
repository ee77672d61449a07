"""A WebSocket client of which one socket speaks and all listen: one thread, raw sockets.

The next message is sent when the last has reached every socket. What is counted is messages that
came in, so a broadcast to a thousand counts as a thousand; its latency is until the last of them.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import sys
import time
from array import array
from collections.abc import Sequence
from statistics import quantiles

from benchmarks.clients.websocket import TEXT, Connection, LoadFailure, close, frame

_PATIENCE = 10.0  # seconds without a byte from the server


def load(url: str, sockets: int, size: int, seconds: float) -> dict[str, float]:
    payload = b"x" * size
    request, copy = frame(TEXT, payload, os.urandom(4)), frame(TEXT, payload)
    opened = {}
    for _ in range(sockets):
        connection = Connection(url)
        opened[connection.sock.fileno()] = connection
    with select.epoll() as poll:
        for fd in opened:
            poll.register(fd, select.EPOLLIN)
        speaker = next(iter(opened.values()))
        latencies = array("d")
        start = time.perf_counter()
        now = start
        while now < start + seconds or len(latencies) < 2:
            sent = time.perf_counter()
            speaker.sock.sendall(request)
            waiting = sockets
            while waiting:
                events = poll.poll(_PATIENCE)
                if not events:
                    raise LoadFailure(f"{waiting} of {sockets} sockets did not get a message")
                for fd, _ in events:
                    waiting -= opened[fd].receive(copy)
            now = time.perf_counter()
            latencies.append(now - sent)
    close(opened.values())
    percentiles = quantiles(latencies, n=100, method="inclusive")
    return {
        "requests": len(latencies) * sockets,
        "seconds": now - start,
        "latency_p50": percentiles[49] * 1e6,
        "latency_p99": percentiles[98] * 1e6,
    }


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url", help="http://host:port/path")
    parser.add_argument("--sockets", type=int, required=True)
    parser.add_argument("--size", type=int, default=64, help="bytes in a message")
    parser.add_argument("--seconds", type=float, required=True)
    options = parser.parse_args(argv)
    try:
        print(json.dumps(load(options.url, options.sockets, options.size, options.seconds)))
    except (OSError, LoadFailure) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
