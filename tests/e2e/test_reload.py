"""``--reload`` and ``--dev``: a server that is started anew whenever something changes."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.support import Client, Response, Server, wait_until

APP = """
import asyncio, json, os

VERSION = {version!r}
{more}

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        {startup}
        await send({{"type": "lifespan.startup.complete"}})
        await receive()
        await send({{"type": "lifespan.shutdown.complete"}})
        return
    if scope["type"] == "websocket":
        await receive()
        await send({{"type": "websocket.accept"}})
        while (await receive())["type"] != "websocket.disconnect":
            pass
        await asyncio.sleep(60)  # whatever happens to its client
    if scope["path"] == "/fail":
        raise ValueError("<on purpose>")
    if scope["path"] == "/leave":
        os._exit(7)
    headers = [(b"content-type", b"application/json")]
    await send({{"type": "http.response.start", "status": 200, "headers": headers}})
    if scope["path"] == "/events":
        while True:  # whatever happens to its client
            try:
                await send({{"type": "http.response.body", "body": b"data: tick\\n\\n", "more_body": True}})
                await asyncio.sleep(0.05)
            except asyncio.CancelledError:
                raise
            except OSError:
                await asyncio.sleep(0.05)
    about = {{"version": VERSION, "pid": os.getpid(), "greeting": os.environ.get("GREETING")}}
    await send({{"type": "http.response.body", "body": json.dumps(about).encode()}})
"""


class Project:
    """An application whose author is at work."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.module = folder / "site_at_work.py"
        self.write("one")

    def write(self, version: str, more: str = "", startup: str = "pass") -> None:
        self.module.write_text(APP.format(version=version, more=more, startup=startup))

    @contextmanager
    def served(self, *options: str, config: str = "", worker: str = "asyncio") -> Iterator[Server]:
        options = ("--reload", "--app-dir", str(self.folder), *options)
        name = f"{self.module.stem}:app"
        with Server(name, worker, *options, config=config, folder=self.folder) as server:
            yield server
            assert "internal error" not in str(server.stderr)
            assert server.stop() == 0


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def is_version(server: Server, version: str) -> bool:
    response = server.get("/")
    return response.status == 200 and response.json["version"] == version


def changes_to(server: Server, version: str) -> None:
    """Every request until then gets an answer: the port is there all the time."""
    wait_until(lambda: is_version(server, version), f"{version} is served")


def is_refused(server: Server, reason: str) -> bool:
    response = server.get("/")
    return response.status == 503 and reason in response.body.decode()


def test_a_change_is_served(project: Project, worker: str) -> None:
    with project.served(worker=worker) as server:
        first = server.get("/").json
        for version in ("two", "six"):  # of the same size, and within a second
            project.write(version)
            changes_to(server, version)
        assert server.get("/").json["pid"] not in (first["pid"], server.pid)
        assert "site_at_work.py: starting anew" in str(server.stderr)


@pytest.mark.parametrize(
    ("more", "startup", "reason"),
    [
        ("def broken(", "pass", "SyntaxError"),
        ("import no_such_module", "pass", "No module named 'no_such_module'"),
        ("", "raise_('the database is down')", "NameError"),
        ("os._exit(9)", "pass", "the server's process has ended: exit code 9"),
    ],
    ids=["syntax", "import", "startup", "exit"],
)
def test_what_is_broken_is_told_and_can_be_mended(
    project: Project, more: str, startup: str, reason: str
) -> None:
    lifespan = ("--lifespan", "on")
    with project.served(*lifespan) as server:
        project.write("two", more, startup)
        wait_until(lambda: is_refused(server, reason), "the reason is told")
        response = server.get("/", accept="text/html")
        assert response.headers["content-type"] == "text/html; charset=utf-8"
        assert response.headers["retry-after"] == "1"
        assert "<pre" in response.body.decode()
        assert reason in str(server.stderr)
        project.write("three")
        changes_to(server, "three")


def test_it_may_be_broken_from_the_start(project: Project) -> None:
    project.write("one", more="<<<<<<< ours")
    with project.served() as server:
        response = server.get("/", accept="text/html")
        assert response.status == 503
        assert "&lt;&lt;&lt;&lt;&lt;&lt;&lt; ours" in response.body.decode()
        with websocket(server) as client:
            assert client.response().status == 503
        project.write("two")
        changes_to(server, "two")


def test_one_that_dies_later_is_told_of_as_well(project: Project) -> None:
    with project.served() as server:
        with server.connect() as client:
            client.send(b"GET /leave HTTP/1.1\r\nhost: test\r\n\r\n")
            assert client.at_end()
        reason = "the server's process has ended: exit code 7"
        wait_until(lambda: is_refused(server, reason), "the reason is told")
        project.write("two")
        changes_to(server, "two")


@contextmanager
def websocket(server: Server) -> Iterator[Client]:
    with server.connect() as client:
        client.send(
            b"GET /ws HTTP/1.1\r\nhost: test\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
            b"sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
        yield client


def test_streams_that_are_open_do_not_hold_it_up(project: Project, worker: str) -> None:
    if worker == "trio":
        text = project.module.read_text().replace("asyncio.CancelledError", "trio.Cancelled")
        project.module.write_text(text.replace("asyncio", "trio"))
    with project.served(worker=worker) as server, server.connect() as events:
        events.send(b"GET /events HTTP/1.1\r\nhost: test\r\n\r\n")
        assert events.head().status == 200
        events.read_until(b"data: tick")
        with websocket(server) as socket_, server.connect() as idle:
            assert socket_.head().status == 101
            began = time.monotonic()
            text = project.module.read_text().replace("'one'", "'two'")
            project.module.write_text(text)
            changes_to(server, "two")
            assert time.monotonic() - began < 5
            close = socket_.read_exactly(4)
            assert (close[0], close[2:]) == (0x88, (1012).to_bytes(2))  # service restart
            assert idle.at_end()


def test_a_stream_that_is_open_does_not_hold_up_the_end(project: Project) -> None:
    with project.served() as server, server.connect() as events:
        events.send(b"GET /events HTTP/1.1\r\nhost: test\r\n\r\n")
        events.read_until(b"data: tick")
        server.signal()
        assert server.wait(8) == 0


def test_the_configuration_and_what_it_names(project: Project) -> None:
    variables = project.folder / "shop.env"
    variables.write_text("GREETING=hello\n")
    named = '[process]\nenv_file = "shop.env"\n'
    with project.served(config=named) as server:
        assert server.get("/").json["greeting"] == "hello"
        variables.write_text("GREETING=good evening\n")
        wait_until(
            lambda: server.get("/").json["greeting"] == "good evening", "the variable is new"
        )
        file = project.folder / "hyperserver.toml"
        text = file.read_text()
        file.write_text(f"{text}\n[limits]\nrequsts = 5\n")
        wait_until(
            lambda: is_refused(server, "unknown key `limits.requsts`"), "the mistake is told"
        )
        assert "did you mean `requests`?" in server.get("/").body.decode()
        file.write_text(f"{text}\n[limits]\nrequests = 5\n")
        changes_to(server, "one")


def test_other_addresses(project: Project) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        free = probe.getsockname()[1]
    file = project.folder / "hyperserver.toml"
    settings = '[[listen]]\nbind = ["127.0.0.1:0"]\n'
    options = ("--app-dir", str(project.folder), "--reload")
    with Server(
        "site_at_work:app", "asyncio", *options, config=settings, folder=project.folder, bind=None
    ) as server:
        taken = server.port
        file.write_text(file.read_text().replace("127.0.0.1:0", f"127.0.0.1:{free}"))
        url = f"listening on http://127.0.0.1:{free}"
        wait_until(lambda: url in str(server.stderr), "it listens elsewhere")
        server.port = free
        assert is_version(server, "one")
        with pytest.raises(ConnectionRefusedError):
            Client(("127.0.0.1", taken))
        assert server.stop() == 0


def test_a_hangup_starts_it_anew(project: Project) -> None:
    import signal

    with project.served() as server:
        first = server.get("/").json["pid"]
        server.signal(signal.SIGHUP)
        wait_until(lambda: server.get("/").json["pid"] != first, "another process serves")


def failure(server: Server, **headers: str) -> Response:
    return server.get("/fail", **headers)


def test_tracebacks_are_for_developers_alone(project: Project) -> None:
    with project.served() as server:
        assert b"ValueError" not in failure(server).body
    with project.served("--dev") as server:
        response = failure(server)
        assert response.status == 500
        assert b"ValueError: <on purpose>" in response.body
        response = failure(server, accept="text/html")
        assert b"ValueError: &lt;on purpose&gt;" in response.body
        wait_until(lambda: "exception in the application: GET /fail" in str(server.stderr), "log")
        assert json.loads(server.get("/").body)["version"] == "one"
