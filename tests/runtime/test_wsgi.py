"""Threads that call WSGI applications, and the tasks at their service, on each event loop."""

from __future__ import annotations

import contextvars
import logging
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from importlib.util import find_spec
from typing import Any

import anyio
import pytest

from hyperserver.errors import ClientDisconnected, LocalProtocolError
from hyperserver.runtime import wsgi
from hyperserver.runtime.wsgi import WSGI, Threads

LOOPS: dict[str, dict[str, Any]] = {
    "asyncio": {"backend": "asyncio"},
    "uvloop": {"backend": "asyncio", "backend_options": {"use_uvloop": True}},
    "trio": {"backend": "trio"},
}
#: How long anything may take before a test gives up on it.
PATIENCE = 10.0
OK = ("200 OK", [("Content-Type", "text/plain")])

Main = Callable[[], Awaitable[None]]
Run = Callable[[Main], None]


@pytest.fixture(params=LOOPS)
def run(request: pytest.FixtureRequest) -> Run:
    if request.param == "uvloop" and find_spec("uvloop") is None:
        pytest.skip("uvloop is not installed")

    async def bounded(main: Main) -> None:
        with anyio.fail_after(PATIENCE):
            await main()

    return lambda main: anyio.run(bounded, main, **LOOPS[request.param])


@pytest.fixture(autouse=True)
def no_thread_is_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(wsgi, "_IDLE", 0.05)
    yield
    wait_until(lambda: not our_threads(), "the threads end")


def our_threads() -> list[threading.Thread]:
    return [one for one in threading.enumerate() if one.name == "hyperserver-wsgi"]


def wait_until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"not within {PATIENCE:g} s: {what}"
        time.sleep(0.005)


async def until(condition: Callable[[], object]) -> None:
    """Within the bound of the whole scenario."""
    while not condition():
        await anyio.sleep(0.005)


def scope_of(path: str = "/", **more: Any) -> dict[str, Any]:
    return {
        "type": "http",
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"shop.test")],
        "client": ("192.0.2.7", 50123),
        "server": ("192.0.2.1", 8000),
        **more,
    }


class Exchange:
    """One request as its stream would offer it, with a client that takes what it ``allows``."""

    def __init__(self, *body: bytes, waits: bool = False) -> None:
        self.sent: list[Any] = []
        self.allowed = anyio.Event()
        if not waits:
            self.allowed.set()
        self.gone = False
        self._body = list(body)
        self._changed = anyio.Event()
        self._ended = False

    def feed(self, data: bytes | None) -> None:
        """More of the body; None when the client leaves."""
        if data is None:
            self.gone = True
        else:
            self._body.append(data)
        self._changed.set()
        self._changed = anyio.Event()

    async def receive(self) -> dict[str, Any]:
        """A message that is ready comes without a checkpoint; an empty chunk is the last."""
        while not self.gone:
            if self._body:
                data = self._body.pop(0)
                return {"type": "http.request", "body": data, "more_body": bool(data)}
            await self._changed.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        if self.gone:
            raise ClientDisconnected
        if message.get("status") == 599:
            raise LocalProtocolError("refused")
        self.sent.append(message)
        await self.allowed.wait()

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent)


def served(app: Any, threads: int = 2) -> WSGI:
    return WSGI(app, threads, multiprocess=False)


async def get(server: WSGI, exchange: Exchange, path: str = "/") -> None:
    await server(scope_of(path), exchange.receive, exchange.send)


# ---- one call --------------------------------------------------------------------------------


def test_a_call_has_a_thread_and_the_context_of_its_task(run: Run) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")
    seen = []

    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        seen.append((variable.get(), threading.current_thread().name))
        variable.set("the application's")
        start_response(*OK)
        yield b"hello"
        seen.append((variable.get(), threading.current_thread().name))

    async def main() -> None:
        variable.set("the task's")
        exchange = Exchange()
        await get(served(app), exchange)
        assert (exchange.status, exchange.body) == (200, b"hello")
        assert seen == [
            ("the task's", "hyperserver-wsgi"),
            ("the application's", "hyperserver-wsgi"),
        ]
        assert variable.get() == "the task's"

    run(main)


def test_an_application_may_run_a_loop_of_its_own(run: Run) -> None:
    async def body() -> bytes:
        await anyio.sleep(0)
        return b"from a loop"

    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response(*OK)
        return [anyio.run(body), anyio.run(body, backend="trio")]

    async def main() -> None:
        exchange = Exchange()
        await get(served(app), exchange)
        assert exchange.body == b"from a loop" * 2

    run(main)


def test_reading_blocks_its_thread_alone(run: Run) -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response(*OK)
        return [b"read " + environ["wsgi.input"].read()]

    async def main() -> None:
        exchange = Exchange()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(get, served(app), exchange)
            for data in (b"one ", b"two ", b"three", b""):
                await anyio.sleep(0.01)
                assert not exchange.sent
                exchange.feed(data)
        assert exchange.body == b"read one two three"

    run(main)


def test_a_slow_client_blocks_the_thread(run: Run) -> None:
    asked: list[int] = []

    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response(*OK)
        for number in range(3):
            asked.append(number)
            yield b"%d" % number

    async def main() -> None:
        exchange = Exchange(waits=True)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(get, served(app), exchange)
            await until(lambda: exchange.sent)
            await anyio.sleep(0.05)
            assert asked == [0]
            exchange.allowed.set()
        assert asked == [0, 1, 2]
        assert exchange.body == b"012"

    run(main)


def test_the_response_ends_before_close_is_called(run: Run) -> None:
    may_close = threading.Event()
    closed = []

    class Blocks(list[bytes]):
        def close(self) -> None:
            closed.append(may_close.wait(PATIENCE))

    def app(environ: Any, start_response: Any) -> Blocks:
        start_response(*OK)
        return Blocks([b"hello"])

    async def main() -> None:
        exchange = Exchange()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(get, served(app), exchange)
            await until(lambda: len(exchange.sent) == 2)
            assert exchange.sent[-1] == {
                "type": "http.response.body",
                "body": b"hello",
                "more_body": False,
            }
            assert not closed
            may_close.set()
        assert closed == [True]  # the call is not over before

    run(main)


@pytest.mark.parametrize("error", [ZeroDivisionError, SystemExit, KeyError])
def test_what_an_application_raises_is_raised(run: Run, error: type[BaseException]) -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        raise error("oh")

    async def main() -> None:
        with pytest.raises(error) as caught:
            await get(served(app), Exchange())
        assert "oh" in str(caught.value)
        assert any(entry.name == "app" for entry in caught.traceback)

    run(main)


@pytest.mark.parametrize("whole", [True, False])
def test_a_message_that_is_refused_fails_the_call(run: Run, whole: bool) -> None:
    closed = []

    class Blocks(list[bytes]):
        def close(self) -> None:
            closed.append(True)

    def app(environ: Any, start_response: Any) -> Any:
        start_response("599 Refused", [])
        return Blocks([b"hello"] if whole else [b"hello", b"more"])

    async def main() -> None:
        with pytest.raises(LocalProtocolError, match="refused"):
            await get(served(app), Exchange())
        assert closed == [True]

    run(main)


# ---- clients that leave, tasks that are cancelled --------------------------------------------


def endless(seen: list[str]) -> Any:
    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response(*OK)
        try:
            while True:
                yield b"more"
        except GeneratorExit:
            seen.append("closed")
            raise

    return app


def reading(seen: list[str]) -> Any:
    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        try:
            environ["wsgi.input"].read()
        except OSError as error:
            seen.append(str(error))
            raise
        finally:
            seen.append("closed")
        yield b""

    return app


@pytest.mark.parametrize("make", [endless, reading])
def test_a_client_that_leaves(run: Run, make: Callable[[list[str]], Any]) -> None:
    seen: list[str] = []

    async def main() -> None:
        exchange = Exchange(b"some")

        async def call() -> None:
            with pytest.raises(ClientDisconnected):
                await get(served(make(seen)), exchange)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(call)
            await anyio.sleep(0.02)
            exchange.feed(None)
        assert seen in (["closed"], ["the client has disconnected", "closed"])

    run(main)


@pytest.mark.parametrize("make", [endless, reading])
def test_a_call_that_is_cancelled_ends(
    run: Run, make: Callable[[list[str]], Any], caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[str] = []

    async def main() -> None:
        exchange = Exchange(b"some", waits=True)
        with anyio.move_on_after(0.05) as scope:
            await get(served(make(seen)), exchange)
        assert scope.cancelled_caught
        assert seen in (["closed"], ["the client has disconnected", "closed"])

    run(main)
    assert not caplog.records


def test_a_call_that_hangs_is_left_behind(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    may_go_on = threading.Event()
    seen = []

    def app(environ: Any, start_response: Any) -> list[bytes]:
        may_go_on.wait(PATIENCE)
        try:
            environ["wsgi.input"].read()
        except OSError as error:
            seen.append(error)
        start_response(*OK)
        return [b"too late"]

    async def main() -> None:
        began = time.monotonic()
        exchange = Exchange()
        with anyio.move_on_after(0.05):
            await get(served(app), exchange, "/hang")
        assert time.monotonic() - began < 5
        may_go_on.set()
        await until(lambda: not our_threads())
        assert not exchange.sent

    with caplog.at_level(logging.ERROR):
        run(main)
    assert [record.getMessage() for record in caplog.records] == [
        "the application does not return, its thread is left behind: GET /hang"
    ]
    assert len(seen) == 1


def test_a_thread_that_outlives_its_loop_ends(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    may_go_on = threading.Event()
    seen = []

    def app(environ: Any, start_response: Any) -> list[bytes]:
        may_go_on.wait(PATIENCE)
        for _ in range(2):
            try:
                environ["wsgi.input"].read()
            except OSError as error:
                seen.append(error)
        return []

    async def main() -> None:
        with anyio.move_on_after(0.05):
            await get(served(app), Exchange())

    run(main)
    may_go_on.set()
    wait_until(lambda: len(seen) == 2, "the application is told")


# ---- the pool --------------------------------------------------------------------------------


def test_more_calls_than_threads_take_turns(run: Run) -> None:
    running: list[int] = []
    most = []

    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        running.append(1)
        most.append(len(running))
        start_response(*OK)
        yield environ["PATH_INFO"].encode()
        time.sleep(0.002)
        running.pop()

    async def main() -> None:
        server = served(app, threads=3)
        exchanges = [Exchange(b"") for _ in range(50)]
        async with anyio.create_task_group() as tasks:
            for number, exchange in enumerate(exchanges):
                tasks.start_soon(get, server, exchange, f"/{number}")
            await until(lambda: most)
            assert len(our_threads()) <= 3
        assert [exchange.body for exchange in exchanges] == [b"/%d" % n for n in range(50)]
        assert 1 < max(most) <= 3

    run(main)


def test_a_thread_is_used_again(run: Run) -> None:
    threads = set()

    def app(environ: Any, start_response: Any) -> list[bytes]:
        threads.add(threading.get_ident())
        start_response(*OK)
        return []

    async def main() -> None:
        server = served(app, threads=10)
        for _ in range(20):
            await get(server, Exchange())
            await anyio.sleep(0)
        assert len(threads) < 10

    run(main)


@pytest.mark.parametrize("body", [b"", b"some"])
def test_who_waits_for_a_thread_and_leaves_is_not_served(run: Run, body: bytes) -> None:
    may_go_on = threading.Event()
    paths = []

    def app(environ: Any, start_response: Any) -> list[bytes]:
        paths.append(environ["PATH_INFO"])
        may_go_on.wait(PATIENCE)
        read = environ["wsgi.input"].read() if "body" in environ["PATH_INFO"] else b""
        start_response(*OK)
        return [read]

    async def main() -> None:
        server = served(app, threads=1)
        first, left, second = Exchange(), Exchange(body), Exchange(body, b"more", b"")

        async def leaves() -> None:
            with pytest.raises(ClientDisconnected):
                await get(server, left, "/left")

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(get, server, first, "/first")
            await until(lambda: paths)
            tasks.start_soon(leaves)
            await anyio.sleep(0.01)
            tasks.start_soon(get, server, second, "/body")
            await anyio.sleep(0.01)
            left.feed(None)
            may_go_on.set()
        assert paths == ["/first", "/body"]
        assert second.body == (b"somemore" if body else b"")

    run(main)


def test_a_call_that_is_cancelled_while_it_waits_is_never_made(run: Run) -> None:
    may_go_on = threading.Event()
    paths = []

    def app(environ: Any, start_response: Any) -> list[bytes]:
        paths.append(environ["PATH_INFO"])
        may_go_on.wait(PATIENCE)
        start_response(*OK)
        return []

    async def main() -> None:
        server = served(app, threads=1)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(get, server, Exchange(), "/first")
            await until(lambda: paths)
            with anyio.move_on_after(0.05):
                await get(server, Exchange(), "/second")
            may_go_on.set()
        await get(server, Exchange(), "/third")
        assert paths == ["/first", "/third"]

    run(main)


def test_threads_without_work_end_and_others_begin() -> None:
    threads = Threads(2)
    for _ in range(3):
        done = threading.Event()
        threads.submit(done.set)
        assert done.wait(PATIENCE)
        wait_until(lambda: not our_threads(), "it ends")


def test_closing_ends_the_threads_that_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wsgi, "_IDLE", 1000.0)
    threads = Threads(4)
    barrier = threading.Barrier(3)
    for _ in range(3):
        threads.submit(lambda: barrier.wait(PATIENCE))
    wait_until(lambda: threads._free == 3, "they wait")
    may_go_on, done = threading.Event(), threading.Event()
    threads.submit(lambda: may_go_on.wait(3 * PATIENCE))
    wait_until(lambda: threads._free == 2, "one works")
    threads.close()
    wait_until(lambda: len(our_threads()) == 1, "the others end")
    threads.submit(done.set)  # which is done all the same
    assert done.wait(PATIENCE)
    may_go_on.set()
    wait_until(lambda: not our_threads(), "it ends when it has done its work")


def test_a_machine_without_threads_to_spare(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    threads = Threads(2)
    may_go_on, done = threading.Event(), threading.Event()
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", start)
        with pytest.raises(RuntimeError, match="can't start new thread"):
            threads.submit(done.set)
    threads.submit(lambda: may_go_on.wait(PATIENCE))
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", start)
        threads.submit(done.set)  # the one that there is will do it
    assert not done.is_set()
    may_go_on.set()
    assert done.wait(PATIENCE)


# ---- what is not HTTP ------------------------------------------------------------------------


def no_application(environ: Any, start_response: Any) -> list[bytes]:
    raise AssertionError


def test_its_lifespan_ends_its_threads(run: Run) -> None:
    async def main() -> None:
        def app(environ: Any, start_response: Any) -> list[bytes]:
            start_response(*OK)
            return []

        server = served(app)
        await get(server, Exchange())
        inbox = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
        sent: list[Any] = []

        async def receive() -> Any:
            return inbox.pop(0)

        async def send(message: Any) -> None:
            sent.append(message)

        await server({"type": "lifespan"}, receive, send)
        assert sent == [
            {"type": "lifespan.startup.complete"},
            {"type": "lifespan.shutdown.complete"},
        ]
        await until(lambda: not our_threads())

    wsgi._IDLE = 1000.0  # the fixture sets it back
    run(main)


def test_a_websocket_is_denied(run: Run) -> None:
    async def main() -> None:
        sent: list[Any] = []

        async def receive() -> Any:
            return {"type": "websocket.connect"}

        async def send(message: Any) -> None:
            sent.append(message)

        await served(no_application)({"type": "websocket"}, receive, send)
        assert [message["type"] for message in sent] == [
            "websocket.http.response.start",
            "websocket.http.response.body",
        ]
        assert sent[0]["status"] == 403
        assert sent[1]["body"] == b"403: This application has no WebSockets\n"

    run(main)


def test_what_is_the_same_for_all_requests(run: Run) -> None:
    seen = []

    def app(environ: Any, start_response: Any) -> list[bytes]:
        seen.append(tuple(environ[f"wsgi.{name}"] for name in names))
        environ["wsgi.errors"].write("")
        start_response(*OK)
        return []

    names = ("multithread", "multiprocess", "run_once")

    async def main() -> None:
        await get(WSGI(app, 1, multiprocess=True), Exchange())
        await get(WSGI(app, 2, multiprocess=False), Exchange())

    run(main)
    assert seen == [(False, True, False), (True, False, False)]
