"""Clients that never stop asking, and remember every request that was not answered as it should be."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from tests.e2e.http2_client import HTTP2Client
from tests.e2e.support import Client

#: Seconds between two requests of a client: machines have few processors and other work.
_PAUSE = 0.01


@dataclass
class Lost:
    """A request without its answer: ``worker`` is who has answered before on that connection."""

    kind: str
    error: str
    at: float
    worker: int | None


@dataclass
class Record:
    answered: int = 0
    longest: float = 0.0
    lost: list[Lost] = field(default_factory=list)
    workers: set[int] = field(default_factory=set)


class Load:
    """Runs while entered: ``new`` clients that connect for each request, ``kept`` that keep their
    connection for as long as the server does, ``http2`` that do so by HTTP/2.
    """

    def __init__(
        self, port: int, target: str, *, new: int = 2, kept: int = 2, http2: int = 2
    ) -> None:
        self._address = ("127.0.0.1", port)
        self._target = target
        self._ending = threading.Event()
        self._lock = threading.Lock()
        self.records = {"new": Record(), "kept": Record(), "http2": Record()}
        kinds: list[tuple[str, Callable[[str], None]]] = []
        kinds += [("new", self._new)] * new
        kinds += [("kept", self._kept)] * kept
        kinds += [("http2", self._http2)] * http2
        self._threads = [
            threading.Thread(target=run, args=(kind,), daemon=True) for kind, run in kinds
        ]

    @property
    def clients(self) -> int:
        return len(self._threads)

    @property
    def lost(self) -> list[Lost]:
        with self._lock:
            return [one for record in self.records.values() for one in record.lost]

    @property
    def longest(self) -> dict[str, float]:
        """The longest that a client of each kind has waited for an answer, in milliseconds."""
        return {kind: round(r.longest * 1000, 1) for kind, r in self.records.items()}

    @property
    def answered(self) -> int:
        with self._lock:
            return sum(record.answered for record in self.records.values())

    def workers(self) -> set[int]:
        """Who has answered since this was last asked."""
        with self._lock:
            found = {pid for record in self.records.values() for pid in record.workers}
            for record in self.records.values():
                record.workers.clear()
        return found

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join(20)
            assert not thread.is_alive(), "a client waits for an answer that does not come"

    def _answer(self, kind: str, began: float, body: bytes) -> int:
        worker = int(body)
        with self._lock:
            record = self.records[kind]
            record.answered += 1
            record.longest = max(record.longest, time.monotonic() - began)
            record.workers.add(worker)
        self._ending.wait(_PAUSE)
        return worker

    def _lose(self, kind: str, error: BaseException, worker: int | None) -> None:
        with self._lock:
            what = f"{type(error).__name__}: {error}"
            self.records[kind].lost.append(Lost(kind, what, time.monotonic(), worker))
        self._ending.wait(_PAUSE)

    def _new(self, kind: str) -> None:
        while not self._ending.is_set():
            began = time.monotonic()
            try:
                with Client(self._address) as client:
                    response = client.request("GET", self._target, b"", connection="close")
                    assert (response.status, response.complete) == (200, True)
            except (OSError, AssertionError) as error:
                self._lose(kind, error, None)
            else:
                self._answer(kind, began, response.body)

    def _kept(self, kind: str) -> None:
        client: Client | None = None
        worker: int | None = None
        while not self._ending.is_set():
            began = time.monotonic()
            try:
                if client is None:
                    worker = None
                    client = Client(self._address)
                response = client.request("GET", self._target)
                assert (response.status, response.complete) == (200, True)
            except (OSError, AssertionError) as error:
                self._lose(kind, error, worker)
                _close(client)
                client = None
            else:
                if response.headers.get("connection") == "close":
                    _close(client)
                    client = None
                worker = self._answer(kind, began, response.body)
        _close(client)

    def _http2(self, kind: str) -> None:
        client: HTTP2Client | None = None
        worker: int | None = None
        while not self._ending.is_set():
            began = time.monotonic()
            try:
                if client is None:
                    worker = None
                    client = self._connect()
                if client.goaways:  # a PING's answer has said that we know: it is not for us
                    client.sock.close()
                    client = None
                    continue
                body = client.fetch(self._target)
            except (OSError, AssertionError) as error:
                self._lose(kind, error, worker)
                _close(client)
                client = None
            else:
                if client.goaways:  # it was served nevertheless; the next one goes elsewhere
                    _close(client)
                    client = None
                worker = self._answer(kind, began, body)
        _close(client)

    def _connect(self) -> HTTP2Client:
        sock = socket.create_connection(self._address, 20)
        try:
            # A request may follow an acknowledgement at once, without waiting for TCP's.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return HTTP2Client(sock)
        except BaseException:  # the worker may be gone before it has said anything
            sock.close()
            raise


def _close(client: Client | HTTP2Client | None) -> None:
    if client is not None:
        client.sock.close()
