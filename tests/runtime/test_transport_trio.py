"""The poller of trio's byte path: whom it serves, and when."""

from __future__ import annotations

import select
import socket
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from typing import Any, cast

import pytest
import trio

from hyperserver.config.schema import Config, Log
from hyperserver.runtime.listeners import OpenSocket
from hyperserver.runtime.transport_trio import TrioBackend, TrioTransport
from hyperserver.runtime.worker import Worker

pytestmark = pytest.mark.skipif(not hasattr(select, "epoll"), reason="the poller needs epoll")

Clients = Callable[[], socket.socket]
PIPELINED = 1000


def request(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nhost: a\r\n\r\n".encode()


def serve(
    scenario: Callable[[Clients], Awaitable[None]],
    on_request: Callable[[str], None] = lambda path: None,
) -> list[str]:
    """The paths in the order in which they were served, once all that ``scenario`` sent were."""
    served: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        served.append(scope["path"])
        on_request(scope["path"])
        await send({"type": "http.response.start", "status": 204})
        await send({"type": "http.response.body"})

    async def main() -> None:
        worker = Worker(app, Config(log=Log(access=False)))
        with socket.socket() as listener:
            acceptor = worker.acceptor(OpenSocket(listener, ("127.0.0.1", 0), "", 1))
        backend = worker.backend
        assert isinstance(backend, TrioBackend)
        with ExitStack() as sockets:

            def connect() -> socket.socket:
                ours, theirs = map(sockets.enter_context, socket.socketpair())
                ours.setblocking(False)
                TrioTransport(ours, backend).open(acceptor)
                return theirs

            async with backend.running(worker.streams):
                with trio.fail_after(20):
                    await scenario(connect)
                    while len(served) < PIPELINED + 1:
                        await trio.sleep(0)

    trio.run(main)
    assert served.count("/greedy") == PIPELINED
    return served


def test_a_pipelining_client_does_not_go_before_others() -> None:
    async def scenario(connect: Clients) -> None:
        greedy, modest = connect(), connect()
        greedy.sendall(request("/greedy") * PIPELINED)
        modest.sendall(request("/modest"))

    assert serve(scenario).index("/modest") <= 1


def test_the_poller_polls_again_while_applications_are_due() -> None:
    late: list[socket.socket] = []

    def on_request(path: str) -> None:
        if late:  # the poller has just begun with what it found
            late.pop().sendall(request("/late"))

    async def scenario(connect: Clients) -> None:
        greedy = connect()
        late.append(connect())
        greedy.sendall(request("/greedy") * PIPELINED)

    assert serve(scenario, on_request).index("/late") < 200


def test_a_cancellation_is_one_though_nurseries_have_grouped_it() -> None:
    backend = TrioBackend()
    judged = []

    async def main() -> None:
        with trio.CancelScope() as scope:
            scope.cancel()
            try:
                async with trio.open_nursery() as outer, trio.open_nursery() as inner:
                    outer.start_soon(trio.sleep_forever)
                    inner.start_soon(trio.sleep_forever)
            except BaseExceptionGroup as error:
                mixed = BaseExceptionGroup("", [error, ValueError("beside it")])
                judged.extend([backend.is_cancellation(error), backend.is_cancellation(mixed)])
                raise

    trio.run(main)
    assert judged == [True, False]


@pytest.mark.parametrize("takes", [0, 3, 10, 12, 30, None])
def test_what_is_written_together_keeps_its_order(takes: int | None) -> None:
    """However much of it the kernel takes at once."""
    first, second = b"0123456789", b"abcdefghijklmnopqrst"

    class Socket:
        taken = b""
        calls = 0

        def sendmsg(self, pieces: tuple[bytes, ...]) -> int:
            return self.send(b"".join(pieces))

        def send(self, data: bytes | memoryview) -> int:
            self.calls += 1
            size = len(data) if takes is None else takes - len(self.taken)
            if size <= 0:
                raise BlockingIOError
            self.taken += bytes(data[:size])
            return min(size, len(data))

    class Backend:
        def start(self, task: object) -> None: ...

    sock = Socket()
    transport = TrioTransport(cast("Any", sock), cast("Any", Backend()))
    transport.write_together(first, second)
    kept = b"".join(transport._unsent)
    assert sock.taken + kept == first + second
    assert transport._unsent_size == len(kept)
    if takes is None:
        assert sock.calls == 1
