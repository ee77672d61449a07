"""What a supervisor and a worker's process say to each other, over a pair of sockets.

Downwards go pickles, upwards lines of JSON: a worker may run with fewer rights than its supervisor,
which therefore must not unpickle what comes from it.
"""

from __future__ import annotations

import json
import pickle
import socket
import struct
from collections.abc import Iterator
from typing import Any

_LENGTH = struct.Struct("!I")
#: Seconds that the other side may leave its end unread.
_PATIENCE = 5.0
#: Bytes of a report: a traceback may be long, but has an end.
_MAX_LINE = 1 << 20


class Upper:
    """The supervisor's end: gives orders, takes reports. ``ended`` says that no more will come."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.ended = False
        self._received = b""

    def order(self, *order: Any) -> None:
        """Give an order; one that cannot be given is dropped, the worker will be found dead."""
        data = pickle.dumps(order)
        self.sock.settimeout(_PATIENCE)
        try:
            self.sock.sendall(_LENGTH.pack(len(data)) + data)
        except OSError:
            pass

    def reports(self) -> Iterator[list[Any]]:
        """What has come, without waiting."""
        self.sock.setblocking(False)
        while not self.ended:
            try:
                data = self.sock.recv(65_536)
            except BlockingIOError:
                break
            except OSError:
                data = b""
            self.ended = not data
            self._received += data
            *lines, self._received = self._received.split(b"\n")
            yield from filter(None, map(_report, lines))
            if len(self._received) > _MAX_LINE:
                self.ended = True

    def close(self) -> None:
        self.sock.close()


def _report(line: bytes) -> list[Any] | None:
    try:
        report = json.loads(line)
    except ValueError:
        return None
    return report if isinstance(report, list) and report else None


class Lower:
    """The worker's end: takes orders, gives reports."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._received = b""

    def first_order(self) -> tuple[Any, ...]:
        """Wait for an order. Raises EOFError if the supervisor is gone."""
        self.sock.setblocking(True)
        while (order := self._next()) is None:
            self._fill()
        return order

    def orders(self) -> Iterator[tuple[Any, ...]]:
        """What has come, without waiting. Raises EOFError after the last."""
        self.sock.setblocking(False)
        try:
            self._fill()
        except BlockingIOError:
            return
        finally:
            while (order := self._next()) is not None:
                yield order

    def _fill(self) -> None:
        try:
            data = self.sock.recv(65_536)
        except ConnectionError:
            data = b""
        if not data:
            raise EOFError
        self._received += data

    def _next(self) -> tuple[Any, ...] | None:
        start = _LENGTH.size
        if len(self._received) < start:
            return None
        (length,) = _LENGTH.unpack_from(self._received)
        if len(self._received) < start + length:
            return None
        order: tuple[Any, ...] = pickle.loads(self._received[start : start + length])  # noqa: S301 - our parent's
        self._received = self._received[start + length :]
        return order

    def report(self, *report: Any) -> None:
        """Tell the supervisor; where it does not listen any more, nobody is told."""
        try:
            self.sock.setblocking(False)
            self.sock.sendall(json.dumps(report).encode() + b"\n")
        except OSError:
            pass
