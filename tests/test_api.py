"""``hyperserver.serve`` inside running programs, ``hyperserver.run`` as a whole one."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
import trio

import hyperserver
from hyperserver import Config
from hyperserver.asgi.types import Receive, Scope, Send
from hyperserver.config import Listen, Log
from hyperserver.errors import AppError, ConfigError, HyperserverError, ListenError

ROOT = Path(__file__).resolve().parent.parent
LOOPS: dict[str, dict[str, Any]] = {
    "asyncio": {"backend": "asyncio"},
    "uvloop": {"backend": "asyncio", "backend_options": {"use_uvloop": True}},
    "trio": {"backend": "trio"},
}
QUIET = {"access": False}
ANYWHERE: dict[str, Any] = {"listen": [{"bind": ["127.0.0.1:0"]}], "log": QUIET}
PATIENCE = 10.0

Main = Callable[[], Awaitable[None]]


@pytest.fixture(params=LOOPS)
def run(request: pytest.FixtureRequest) -> Callable[[Main], None]:
    """Runs a coroutine function to its end on each event loop, within a bound."""
    if request.param == "uvloop":
        pytest.importorskip("uvloop")

    async def bounded(main: Main) -> None:
        with anyio.fail_after(PATIENCE):
            await main()

    return lambda main: anyio.run(bounded, main, **LOOPS[request.param])


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello"})


class Lively:
    """Has a lifespan, and remembers it and the states that its requests saw."""

    def __init__(self, state: dict[str, Any] | None = None) -> None:
        self.state = state or {}
        self.log: list[str] = []
        self.seen: list[dict[str, Any]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            scope["state"].update(self.state)
            for stage in ("startup", "shutdown"):
                assert await receive() == {"type": f"lifespan.{stage}"}
                self.log.append(stage)
                await send({"type": f"lifespan.{stage}.complete"})
            return
        self.log.append("request")
        self.seen.append(scope["state"])
        scope["state"]["mine"] = len(self.seen)
        await hello(scope, receive, send)


def port_of(url: str) -> int:
    match = re.fullmatch(r"http://127\.0\.0\.1:(\d+)", url)
    assert match
    return int(match[1])


async def connect(url: str, target: str = "/") -> anyio.abc.SocketStream:
    stream = await anyio.connect_tcp("127.0.0.1", port_of(url))
    request = f"GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    await stream.send(request.encode())
    return stream


async def read_all(stream: anyio.abc.SocketStream) -> bytes:
    parts = []
    async with stream:
        try:
            while True:
                parts.append(await stream.receive())
        except anyio.EndOfStream:
            return b"".join(parts)


async def fetch(url: str, target: str = "/") -> bytes:
    return await read_all(await connect(url, target))


async def assert_refused(url: str) -> None:
    with pytest.raises(OSError):
        await anyio.connect_tcp("127.0.0.1", port_of(url))


# ---- starting ----------------------------------------------------------------------------------


def test_a_task_group_gets_the_urls_and_requests_are_served(run: Callable[[Main], None]) -> None:
    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            urls = await tasks.start(hyperserver.serve, hello, ANYWHERE)
            assert len(urls) == 1
            answer = await fetch(urls[0])
            assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
            assert answer.endswith(b"\r\n\r\nhello")
            tasks.cancel_scope.cancel()
        await assert_refused(urls[0])

    run(main)


def test_a_trio_nursery_starts_it_as_well() -> None:
    async def main() -> None:
        with trio.fail_after(PATIENCE):
            async with trio.open_nursery() as nursery:
                urls = await nursery.start(hyperserver.serve, hello, ANYWHERE)
                assert (await fetch(urls[0])).endswith(b"hello")
                nursery.cancel_scope.cancel()

    trio.run(main)


def test_a_plain_asyncio_task_runs_it_as_well() -> None:
    async def main() -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        config = {"listen": [{"bind": [f"127.0.0.1:{port}"]}], "log": QUIET}
        app = Lively()
        task = asyncio.create_task(hyperserver.serve(app, config))
        while "startup" not in app.log:
            await asyncio.sleep(0)
        assert (await fetch(f"http://127.0.0.1:{port}")).endswith(b"hello")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelled()

    asyncio.run(asyncio.wait_for(main(), PATIENCE))


def test_every_address_has_its_url(run: Callable[[Main], None], tmp_path: Path) -> None:
    path = tmp_path / "s.sock"
    config = {
        "listen": [{"bind": ["127.0.0.1:0", f"unix:{path}"]}, {"bind": ["127.0.0.1:0"]}],
        "log": QUIET,
    }

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            urls = await tasks.start(hyperserver.serve, hello, config)
            assert urls[1] == f"unix:{path}"
            assert port_of(urls[0]) != port_of(urls[2])
            for url in (urls[0], urls[2]):
                assert (await fetch(url)).endswith(b"hello")
            tasks.cancel_scope.cancel()
        assert not path.exists()

    run(main)


def test_two_servers_live_in_one_program(run: Callable[[Main], None]) -> None:
    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            (first,) = await tasks.start(hyperserver.serve, hello, ANYWHERE)
            async with anyio.create_task_group() as others:
                (second,) = await others.start(hyperserver.serve, hello, ANYWHERE)
                assert (await fetch(second)).endswith(b"hello")
                others.cancel_scope.cancel()
            await assert_refused(second)
            assert (await fetch(first)).endswith(b"hello")
            tasks.cancel_scope.cancel()

    run(main)


@pytest.mark.parametrize(
    "config",
    [
        ANYWHERE,
        Config(listen=(Listen(bind=("127.0.0.1:0",)),), log=Log(access=False)),
    ],
    ids=["mapping", "Config"],
)
def test_the_configuration_is_a_mapping_or_a_config(
    run: Callable[[Main], None], config: Config | dict[str, Any]
) -> None:
    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            (url,) = await tasks.start(hyperserver.serve, hello, config)
            assert (await fetch(url)).endswith(b"hello")
            tasks.cancel_scope.cancel()

    run(main)


def test_the_access_log_goes_to_standard_output(
    run: Callable[[Main], None], capsys: pytest.CaptureFixture[str]
) -> None:
    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            (url,) = await tasks.start(
                hyperserver.serve, hello, {"listen": [{"bind": ["127.0.0.1:0"]}]}
            )
            await fetch(url)
            tasks.cancel_scope.cancel()

    run(main)
    output = capsys.readouterr().out
    assert re.fullmatch(r'127\.0\.0\.1:\d+ "GET / HTTP/1\.1" 200 5 \d+\.\dms\n', output)


# ---- the lifespan ------------------------------------------------------------------------------


def test_the_lifespan_surrounds_the_requests(run: Callable[[Main], None]) -> None:
    app = Lively()

    async def main() -> None:
        stop = anyio.Event()
        async with anyio.create_task_group() as tasks:

            async def serve(*, task_status: anyio.abc.TaskStatus[list[str]]) -> None:
                await hyperserver.serve(
                    app, ANYWHERE, task_status=task_status, shutdown_trigger=stop.wait
                )
                app.log.append("returned")

            (url,) = await tasks.start(serve)
            assert app.log == ["startup"]
            await fetch(url)
            stop.set()

    run(main)
    assert app.log == ["startup", "request", "shutdown", "returned"]


def test_the_state_is_copied_for_each_request(run: Callable[[Main], None]) -> None:
    pool = object()
    app = Lively({"pool": pool})

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            (url,) = await tasks.start(hyperserver.serve, app, ANYWHERE)
            await fetch(url)
            await fetch(url)
            tasks.cancel_scope.cancel()

    run(main)
    assert app.seen == [{"pool": pool, "mine": 1}, {"pool": pool, "mine": 2}]
    assert app.seen[0]["pool"] is pool


def test_the_state_is_kept_where_the_lifespan_ends_right_after_startup(
    run: Callable[[Main], None],
) -> None:
    seen: list[object] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            scope["state"]["key"] = "value"
            await receive()
            await send({"type": "lifespan.startup.complete"})
            return
        seen.append(scope.get("state"))
        await hello(scope, receive, send)

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            (url,) = await tasks.start(hyperserver.serve, app, ANYWHERE)
            await fetch(url)
            tasks.cancel_scope.cancel()

    run(main)
    assert seen == [{"key": "value"}]


def test_without_lifespan_support_there_is_no_state(run: Callable[[Main], None]) -> None:
    seen: list[bool] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http"
        seen.append("state" in scope)
        await hello(scope, receive, send)

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            (url,) = await tasks.start(hyperserver.serve, app, ANYWHERE)
            await fetch(url)
            tasks.cancel_scope.cancel()

    run(main)
    assert seen == [False]


# ---- ending ------------------------------------------------------------------------------------


class Slow:
    """Answers when it is released, and tells how it ended."""

    def __init__(self) -> None:
        self.entered = anyio.Event()
        self.release = anyio.Event()
        self.end = ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        self.entered.set()
        try:
            await self.release.wait()
            await hello(scope, receive, send)
        except anyio.get_cancelled_exc_class():
            self.end = "cancelled"
            raise
        self.end = "answered"


def test_the_trigger_lets_requests_in_flight_finish(run: Callable[[Main], None]) -> None:
    async def main() -> None:
        app = Slow()
        stop = anyio.Event()
        async with anyio.create_task_group() as tasks:

            async def serve(*, task_status: anyio.abc.TaskStatus[list[str]]) -> None:
                await hyperserver.serve(
                    app, ANYWHERE, task_status=task_status, shutdown_trigger=stop.wait
                )

            (url,) = await tasks.start(serve)
            stream = await connect(url)
            await app.entered.wait()
            stop.set()
            while True:  # it stops listening before it finishes what it has
                try:
                    probe = await anyio.connect_tcp("127.0.0.1", port_of(url))
                except OSError:
                    break
                await probe.aclose()
                await anyio.sleep(0.01)
            app.release.set()
            answer = await read_all(stream)
        assert answer.endswith(b"hello")
        assert app.end == "answered"

    run(main)


def test_cancelling_ends_it_at_once_with_requests_in_flight(run: Callable[[Main], None]) -> None:
    async def main() -> None:
        app = Slow()
        async with anyio.create_task_group() as tasks:
            (url,) = await tasks.start(hyperserver.serve, app, ANYWHERE)
            stream = await connect(url)
            await app.entered.wait()
            tasks.cancel_scope.cancel()
        assert app.end == "cancelled"
        await stream.aclose()
        await assert_refused(url)

    run(main)


def test_what_outlives_the_drain_is_cancelled(run: Callable[[Main], None]) -> None:
    async def main() -> None:
        app = Slow()
        stop = anyio.Event()
        config = {**ANYWHERE, "timeouts": {"drain": "50ms"}}
        async with anyio.create_task_group() as tasks:

            async def serve(*, task_status: anyio.abc.TaskStatus[list[str]]) -> None:
                await hyperserver.serve(
                    app, config, task_status=task_status, shutdown_trigger=stop.wait
                )

            (url,) = await tasks.start(serve)
            stream = await connect(url)
            await app.entered.wait()
            stop.set()
        assert app.end == "cancelled"
        await stream.aclose()

    run(main)


def test_signal_handlers_are_not_touched(run: Callable[[Main], None]) -> None:
    def handlers() -> list[object]:
        return [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]

    async def main() -> None:
        before = handlers()
        async with anyio.create_task_group() as tasks:
            await tasks.start(hyperserver.serve, hello, ANYWHERE)
            assert handlers() == before
            tasks.cancel_scope.cancel()
        assert handlers() == before

    run(main)


# ---- several applications ----------------------------------------------------------------------


mounted = Lively({"of": "the mount"})


def test_mounts_beside_an_application_and_alone(run: Callable[[Main], None]) -> None:
    mount = [{"path": "/api", "app": f"{__name__}:mounted"}]
    mounted.log.clear()
    mounted.seen.clear()
    app = Lively()

    async def main() -> None:
        for main_app in (app, None):
            async with anyio.create_task_group() as tasks:
                config = {**ANYWHERE, "mount": mount}
                (url,) = await tasks.start(hyperserver.serve, main_app, config)
                await fetch(url)
                assert b" 200 OK" in await fetch(url, "/api/x")
                tasks.cancel_scope.cancel()

    run(main)
    assert app.log == ["startup", "request"]
    assert mounted.log == ["startup", "request"] * 2
    assert [state["of"] for state in mounted.seen] == ["the mount"] * 2
    assert "of" not in app.seen[0]


# ---- what can go wrong -------------------------------------------------------------------------


async def refuses(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "no database"})


async def never_starts(scope: Scope, receive: Receive, send: Send) -> None:
    await anyio.sleep_forever()


@pytest.mark.parametrize(
    ("app", "config", "kind", "message"),
    [
        (refuses, {}, AppError, "the application failed to start: no database"),
        (None, {}, AppError, "there is no application to serve: give one, or mount some"),
        (
            hello,
            {"mount": [{"path": "/api", "app": f"{__name__}:refuses"}]},
            AppError,
            "the application at /api failed to start: no database",
        ),
        (
            hello,
            {"mount": [{"path": "/api", "app": f"{__name__}:none"}]},
            AppError,
            f"cannot load '{__name__}:none'",
        ),
        (hello, {"lifespan": "on"}, AppError, "the application does not support lifespan: Assert"),
        (
            never_starts,
            {"timeouts": {"startup": "50ms"}},
            AppError,
            "the application's startup took longer than 0.05 s",
        ),
        (hello, {"wroker": "trio"}, ConfigError, "configuration: unknown key `wroker`"),
        (
            hello,
            {"listen": [{"bind": ["nonsense"]}]},
            ConfigError,
            "configuration: `listen[0].bind`: 'nonsense' is not",
        ),
        (
            hello,
            {"listen": [{"bind": ["unix:/no/such/directory/s.sock"]}]},
            ListenError,
            "cannot listen on unix:/no/such/directory/s.sock: no such file",
        ),
    ],
)
def test_errors_are_raised_as_they_are(
    run: Callable[[Main], None],
    app: Any,
    config: dict[str, Any],
    kind: type[HyperserverError],
    message: str,
) -> None:
    async def main() -> None:
        with pytest.raises(kind) as caught:
            await hyperserver.serve(app, {**ANYWHERE, **config})
        assert type(caught.value) is kind
        assert str(caught.value).startswith(message)

    run(main)


def test_an_address_in_use_is_raised_as_it_is(run: Callable[[Main], None]) -> None:
    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            (url,) = await tasks.start(hyperserver.serve, hello, ANYWHERE)
            with pytest.raises(ListenError, match="address already in use"):
                await hyperserver.serve(
                    hello, {"listen": [{"bind": [url.removeprefix("http://")]}]}
                )
            assert (await fetch(url)).endswith(b"hello")
            tasks.cancel_scope.cancel()

    run(main)


def test_a_failed_start_leaves_nothing_behind(run: Callable[[Main], None], tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "s.sock"
        with pytest.raises(AppError):
            await hyperserver.serve(refuses, {"listen": [{"bind": [f"unix:{path}"]}]})
        assert not path.exists()

    run(main)


def test_a_trigger_during_startup_ends_it_after_the_startup(run: Callable[[Main], None]) -> None:
    app = Lively()

    async def at_once() -> None:
        return

    async def main() -> None:
        await hyperserver.serve(app, ANYWHERE, shutdown_trigger=at_once)

    run(main)
    assert app.log == ["startup", "shutdown"]


# ---- the package -------------------------------------------------------------------------------


def test_the_public_names() -> None:
    assert sorted(hyperserver.__all__) == ["Config", "__version__", "run", "serve"]
    for name in hyperserver.__all__:
        assert getattr(hyperserver, name) is not None
    with pytest.raises(AttributeError, match="nothing_like_it"):
        hyperserver.nothing_like_it  # noqa: B018


def test_importing_the_package_loads_no_event_loop() -> None:
    code = (
        "import sys, hyperserver; "
        "print(sorted({'anyio', 'asyncio', 'trio', 'uvloop', 'h11'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT, capture_output=True, text=True, check=True, timeout=PATIENCE,
    )  # fmt: skip
    assert done.stdout == "[]\n"


PROGRAM = """
import sys
import hyperserver

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        for stage in ("startup", "shutdown"):
            await receive()
            await send({{"type": f"lifespan.{{stage}}.complete"}})
            print(stage, flush=True)

config = {{"worker": {worker!r}, "listen": [{{"bind": ["127.0.0.1:0"]}}]}}
code = hyperserver.run({app}, config)
print("returned", code, flush=True)
"""


@pytest.mark.parametrize("worker", LOOPS)
@pytest.mark.parametrize("app", ["app", '"__main__:app"'])
def test_run_is_a_whole_program(worker: str, app: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(worker=worker, app=app)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "startup\n"
            process.terminate()
            rest, _ = process.communicate(timeout=PATIENCE)
        finally:
            process.kill()
    # Ready or only just about to be: a signal then ends it either way, cleanly.
    assert rest in {"shutdown\nreturned 0\n", "returned 0\n"}
    assert process.returncode == 0


def test_run_raises_what_serve_raises() -> None:
    with pytest.raises(ConfigError, match="unknown key"):
        hyperserver.run(hello, {"nonsense": 1})
    with pytest.raises(AppError, match="no database"):
        hyperserver.run(refuses, ANYWHERE)
    with pytest.raises(AppError, match="cannot load"):
        hyperserver.run("nonsense", ANYWHERE)


def test_run_refuses_a_loop_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hyperserver.runtime.serve.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="uvloop is not installed; run `pip install uvloop`"):
        hyperserver.run(hello, {**ANYWHERE, "worker": "uvloop"})


def test_a_server_without_tls_imports_nothing_of_it() -> None:
    import subprocess
    import sys

    code = (
        "import sys, anyio, hyperserver\n"
        "async def app(*a): ...\n"
        "async def main():\n"
        "    async with anyio.create_task_group() as tasks:\n"
        "        config = {'listen': [{'bind': ['127.0.0.1:0']}], 'lifespan': 'off'}\n"
        "        await tasks.start(hyperserver.serve, app, config)\n"
        "        print(*sys.modules)\n"
        "        tasks.cancel_scope.cancel()\n"
        "anyio.run(main)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30
    )
    heavy = {"trustme", "cryptography", "h2"}
    heavy |= {f"hyperserver.{name}" for name in (
        "protocol.tls", "protocol.x509", "protocol.client_hello", "runtime.certificates",
        "runtime.tls_contexts", "runtime.tls_reload", "runtime.tls_session", "runtime.dev_tls",
    )}  # fmt: skip
    assert heavy.isdisjoint(done.stdout.split())
