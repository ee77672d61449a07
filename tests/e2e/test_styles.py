"""ASGI 2 and WSGI applications on the real server: streams, memory, ends, frameworks."""

from __future__ import annotations

import hashlib
import json
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.apps.wsgi_probe import BLOCK
from tests.e2e.conftest import WORKERS, ServerFor
from tests.e2e.http2_client import HTTP2Client
from tests.e2e.support import PATIENCE, ROOT, Server, wait_until
from tests.e2e.websocket_client import handshake

APPS = "tests.e2e.apps."
WSGI = f"{APPS}wsgi_probe:app"
MB = 1_000_000
SIZE = 30 * MB

needs_proc = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@pytest.fixture
def server(worker: str, server_for: ServerFor) -> Server:
    return server_for(WSGI, worker)


@pytest.fixture
def key() -> str:
    return uuid.uuid4().hex


def http2(server: Server, *, grants: bool = True) -> HTTP2Client:
    return HTTP2Client(socket.create_connection(("127.0.0.1", server.port)), grants=grants)


# ---- WSGI ------------------------------------------------------------------------------------


def test_the_environ(server: Server) -> None:
    with server.connect() as client:
        environ = client.request(
            "GET", "/environ?a=%20b", b"", accept="text/html", x_forwarded_for="192.0.2.1"
        ).json
    assert environ["wsgi.url_scheme"] == "http"
    assert (environ["SERVER_NAME"], environ["SERVER_PORT"]) == ("127.0.0.1", str(server.port))
    assert environ["SERVER_PROTOCOL"] == "HTTP/1.1"
    assert environ["REMOTE_ADDR"] == "127.0.0.1"
    assert environ["QUERY_STRING"] == "a=%20b"
    assert (environ["HTTP_HOST"], environ["HTTP_ACCEPT"]) == ("test", "text/html")
    assert (environ["wsgi.multithread"], environ["wsgi.multiprocess"]) == (True, False)
    with http2(server) as client2:
        environ = json.loads(client2.fetch("/environ?a=%20b"))
    assert (environ["SERVER_PROTOCOL"], environ["HTTP_HOST"]) == ("HTTP/2.0", "test")


def test_every_way_to_respond(server: Server) -> None:
    assert server.get("/write").body == b"one two three"
    assert server.get("/file").body == (ROOT / "tests/e2e/apps/wsgi_probe.py").read_bytes()
    with server.connect() as client:
        head = client.request("HEAD", "/anything")
        assert (head.status, head.headers["content-length"]) == (200, "21")
        assert client.request("GET", "/anything").json == {"path": "/anything"}
        failed = client.request("GET", "/fail")
        assert (failed.status, failed.body) == (500, b"500: Internal Server Error\n")
        assert client.request("GET", "/anything").status == 200  # the connection goes on
    wait_until(lambda: "ValueError: on purpose" in str(server.stderr), "it is logged")


def test_the_validator_of_the_standard_library_finds_nothing(
    worker: str, server_for: ServerFor
) -> None:
    server = server_for(f"{APPS}wsgi_probe:validated", worker)
    assert server.get("/environ").status == 200
    assert server.get("/download?blocks=3").body == BLOCK * 3
    with server.connect() as client:
        assert client.request("POST", "/upload", b"a" * 100_000).json["size"] == 100_000
    with http2(server) as client2:
        assert client2.fetch("/write") == b"one two three"
    assert "AssertionError" not in str(server.stderr)


@needs_proc
@pytest.mark.parametrize("version", ["1.1", "2"])
def test_an_upload_in_flat_memory(server: Server, version: str) -> None:
    block = bytes(range(256)) * 2560
    count = SIZE // len(block) + 1
    expected = {
        "size": count * len(block),
        "digest": hashlib.sha256(block * count).hexdigest(),
    }
    with server.connect() as client:
        client.request("POST", "/upload", block)
    before = server.status("VmRSS")
    server.reset_peak()
    if version == "2":
        with http2(server) as client2:
            stream = client2.post("/upload")
            client2.upload(stream, block * count)
            assert json.loads(client2.body(stream)) == expected
    else:
        with server.connect() as client:
            client.send(
                b"POST /upload HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n"
            )
            for _ in range(count):
                client.send(b"%x\r\n%b\r\n" % (len(block), block))
            client.send(b"0\r\n\r\n")
            assert client.response().json == expected
    growth = server.status("VmHWM") - before
    assert growth < 15 * MB, f"{growth:,} bytes"


@needs_proc
@pytest.mark.parametrize("version", ["1.1", "2"])
def test_a_slow_reader_in_flat_memory(server: Server, key: str, version: str) -> None:
    """The application is asked for no more than fits into buffers, until its client leaves."""
    server.get("/download?blocks=3")
    before = server.status("VmRSS")
    server.reset_peak()
    target = f"/download?blocks={SIZE // len(BLOCK)}&key={key}"
    if version == "2":
        with http2(server, grants=False) as client2:
            client2.get(target)
            given = settled(server, key)
    else:
        with server.connect(receive_buffer=16_384) as client:
            client.send(f"GET {target} HTTP/1.1\r\nhost: test\r\n\r\n".encode())
            given = settled(server, key)
    assert given * len(BLOCK) < SIZE / 2, f"{given} blocks were given"
    growth = server.status("VmHWM") - before
    assert growth < 15 * MB, f"{growth:,} bytes"
    assert server.wait_report(key, "closed") == 1  # it has left
    assert server.report(key)["given"] <= given + 1


def settled(server: Server, key: str) -> int:
    """How many blocks have been given when no more are."""
    last, since = -1, time.monotonic()

    def still() -> bool:
        nonlocal last, since
        now = int(server.report(key).get("given", -1))
        if now != last or now < 0:
            last, since = now, time.monotonic()
        return time.monotonic() - since > 0.3

    wait_until(still, "no more blocks are asked for")
    return last


@pytest.mark.parametrize("version", ["1.1", "2"])
def test_a_client_that_leaves_in_the_middle_of_its_upload(
    server: Server, key: str, version: str
) -> None:
    if version == "2":
        with http2(server) as client2:
            stream = client2.post(f"/upload?read=4&key={key}")
            client2.upload(stream, b"some", end=False)
            server.wait_report(key, "size")
            client2.reset(stream)
    else:
        with server.connect() as client:
            target = f"/upload?read=4&key={key}"
            head = f"POST {target} HTTP/1.1\r\nhost: test\r\ncontent-length: 9\r\n\r\n"
            client.send(head.encode() + b"some")
            server.wait_report(key, "size")
    assert server.wait_report(key, "error") == "the client has disconnected"


def test_more_requests_than_threads(worker: str) -> None:
    with Server(WSGI, worker, "--wsgi-threads", "5", "--no-access-log") as server:
        answers: list[Any] = []

        def turns() -> None:
            answers.extend(server.get("/turn").json for _ in range(5))

        clients = [threading.Thread(target=turns) for _ in range(20)]
        for client in clients:
            client.start()
        for client in clients:
            client.join(PATIENCE)
        assert len(answers) == 100
        assert 1 < max(answer["most"] for answer in answers) <= 5
        assert len({answer["thread"] for answer in answers}) <= 5
        with http2(server) as client2:
            streams = [client2.get("/turn") for _ in range(100)]
            most = [json.loads(client2.body(stream))["most"] for stream in streams]
        assert 1 < max(most) <= 5
        assert server.stop() == 0


@pytest.mark.parametrize("workers", [1, 2])
def test_an_application_that_hangs_does_not_hold_up_the_end(
    worker: str, tmp_path: Path, workers: int
) -> None:
    if workers == 2 and worker != WORKERS[0]:
        pytest.skip("one kind of worker is enough for a supervisor")
    config = f'workers = {workers}\n[timeouts]\ndrain = "500ms"\ndisconnect_grace = "200ms"\n'
    with Server(WSGI, worker, config=config, folder=tmp_path) as server:
        with server.connect() as client:
            client.send(b"GET /hang?key=x HTTP/1.1\r\nhost: test\r\n\r\n")
            if workers == 1:
                server.wait_report("x", "began")
            else:
                server.get("/")  # whichever worker has it
            server.signal()
            code = server.wait()
        took = time.monotonic() - server.signalled_at
        assert took < 0.5 + 1 + (workers > 1), f"{took:.2f} s"
        assert code == 1
        assert "its thread is left behind: GET /hang" in str(server.stderr)


def test_a_stream_is_closed_at_the_end(worker: str, tmp_path: Path, key: str) -> None:
    """Also one whose client takes nothing, and whose thread therefore waits."""
    marker = tmp_path / "closed"
    module = tmp_path / "endless.py"
    module.write_text(
        "def app(environ, start_response):\n"
        "    start_response('200 OK', [])\n"
        "    try:\n"
        "        while True:\n"
        "            yield b'x' * 65536\n"
        "    finally:\n"
        f"        open({str(marker)!r}, 'a').write('closed')\n"
    )
    config = '[timeouts]\ndrain = "300ms"\ndisconnect_grace = "100ms"\n'
    options = ("--app-dir", str(tmp_path))
    with (
        Server("endless:app", worker, *options, config=config, folder=tmp_path) as server,
        server.connect(receive_buffer=16_384) as client,
    ):
        client.send(b"GET / HTTP/1.1\r\nhost: test\r\n\r\n")
        client.head()
        server.signal()
        assert server.wait() == 1
        assert marker.read_text() == "closed"
        assert "left behind" not in str(server.stderr)


def test_a_websocket_is_denied(server: Server) -> None:
    with server.connect() as client:
        client.send(handshake("/chat"))
        denied = client.response()
    assert (denied.status, denied.body) == (403, b"403: This application has no WebSockets\n")


# ---- frameworks ------------------------------------------------------------------------------


@pytest.fixture(params=["1.1", "2"])
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def client_of(server: Server, version: str) -> httpx.Client:
    return httpx.Client(
        base_url=server.url, http1=version == "1.1", http2=version == "2", timeout=PATIENCE
    )


@pytest.fixture
def flask(worker: str, version: str, server_for: ServerFor) -> Iterator[httpx.Client]:
    pytest.importorskip("flask")
    server = server_for(f"{APPS}flask_app:app", worker)
    assert f"serving '{APPS}flask_app:app' as WSGI, in up to 40 threads" in str(server.stderr)
    with client_of(server, version) as client:
        yield client


@pytest.fixture
def django(worker: str, version: str, server_for: ServerFor) -> Iterator[httpx.Client]:
    pytest.importorskip("django")
    with client_of(server_for(f"{APPS}django_wsgi_app:app", worker), version) as client:
        yield client


LINES = "".join(f"line {number}\n" for number in range(5))
FILE = {"file": ("a.bin", b"a" * 3_000_000)}


def test_flask(flask: httpx.Client) -> None:
    answer = flask.get("/items/42", params={"a": "ü"}, headers={"cookie": "c=d"})
    assert answer.json() == {
        "item": 42,
        "query": {"a": "ü"},
        "host": flask.base_url.netloc.decode(),
        "cookies": {"c": "d"},
    }
    assert flask.head("/items/42").content == b""
    assert flask.get("/nowhere").status_code == 404
    assert flask.get("/stream").text == LINES
    uploaded = flask.post("/upload", files=FILE, data={"field": "x"})
    assert uploaded.json() == {"name": "a.bin", "size": 3_000_000, "field": "x"}
    unsized = flask.post("/echo", content=iter([b"no ", b"length"]))
    assert unsized.content == b"no length"
    assert flask.get("/async").text == "from a loop"
    assert flask.get("/fail").status_code == 500


def test_django(django: httpx.Client) -> None:
    assert django.get("/items/42", params={"a": "ü"}).json() == {
        "item": 42,
        "path": "/items/42",
        "script": "",
        "query": {"a": "ü"},
        "secure": False,
    }
    assert django.head("/items/42").content == b""
    assert django.get("/nowhere").status_code == 404
    assert django.get("/stream").text == LINES
    uploaded = django.post("/upload", files=FILE, data={"field": "x"})
    assert uploaded.json() == {"name": "a.bin", "size": 3_000_000, "field": "x"}
    source = (ROOT / "tests/e2e/apps/django_wsgi_app.py").read_bytes()
    assert django.get("/file").content == source


# ---- ASGI 2 ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["Application", "function"])
def test_asgi_2(worker: str, name: str, server_for: ServerFor) -> None:
    server = server_for(f"{APPS}double:{name}", worker)
    assert f"serving '{APPS}double:{name}' as ASGI 2" in str(server.stderr)
    expected = {"asgi": {"version": "3.0", "spec_version": "2.5"}, "body": "hello"}
    with server.connect() as client:
        assert client.request("POST", "/", b"hello").json == expected
    with http2(server) as client2:
        stream = client2.post("/")
        client2.upload(stream, b"hello")
        assert json.loads(client2.body(stream)) == expected
    from websockets.sync.client import connect

    with connect(server.url.replace("http", "ws")) as websocket:
        websocket.send("hello")
        assert websocket.recv() == "HELLO"


# ---- the command line ------------------------------------------------------------------------


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "hyperserver", *arguments, "-b", "127.0.0.1:0"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize(
    ("app", "options", "message"),
    [
        ("examples.hello:app", ["--interface", "wsgi"],
         ("cannot serve 'examples.hello:app': it is async, which WSGI does not know; "
          '`interface` = "wsgi" is not for it')),
        (WSGI, ["--interface", "asgi3"],
         (f"cannot serve {WSGI!r}: it takes 2 arguments, and ASGI 3 calls it with 3; "
          '`interface` = "asgi3" is not for it')),
    ],
)  # fmt: skip
def test_the_wrong_interface_is_one_line(
    app: str, options: list[str], message: str, workers: str
) -> None:
    done = command(app, *options, "--workers", workers)
    assert done.returncode == 3
    assert [line for line in done.stderr.splitlines() if "cannot serve" in line] == [
        f"hyperserver: {message}"
    ]
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("app", "style"),
    [("examples.hello:app", "ASGI 3"), (f"{APPS}double:function", "ASGI 2"), (WSGI, "WSGI")],
)
def test_check_names_the_style(app: str, style: str) -> None:
    done = command("check", app)
    assert done.returncode == 0
    assert f"ok: application: {app} ({style})" in done.stdout.splitlines()


def test_check_doubts_what_one_cannot_tell() -> None:
    app = f"{APPS}double:anything"
    done = command("check", app)
    assert done.returncode == 0
    assert f"ok: application: {app} (ASGI 3)" in done.stdout.splitlines()
    doubt = f"cannot tell the interface of {app!r}, serving it as ASGI 3; `interface` makes it"
    assert doubt in done.stderr
    assert "cannot tell" not in command("check", app, "--interface", "asgi2").stderr


def test_check_finds_the_wrong_interface() -> None:
    done = command("check", WSGI, "--interface", "asgi2")
    assert done.returncode == 3
    assert f"cannot serve {WSGI!r}: it takes 2 arguments, and ASGI 2 calls it with 1" in done.stderr


# ---- the example -----------------------------------------------------------------------------


def test_the_example(worker: str) -> None:
    with Server("examples.wsgi:app", worker) as server:
        assert server.get("/").body == b"Hello, 127.0.0.1!\n"
        with server.connect() as client:
            client.send(b"GET /ticks HTTP/1.1\r\nhost: test\r\n\r\n")
            client.head()
            assert [client.chunk() for _ in range(3)] == [b"tick 0\n", b"tick 1\n", b"tick 2\n"]
        with server.connect() as client:
            assert client.request("POST", "/lines", b"a\nb\nc").body == b"3 lines\n"
        assert server.get("/source").body == (ROOT / "examples/wsgi.py").read_bytes()
        assert server.get("/nowhere").status == 404
        assert server.stop() == 0
        assert "lifespan" not in str(server.stderr)
