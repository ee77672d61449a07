"""HTTP/1 over real sockets, on every worker."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import shutil
import signal
import socket
import subprocess
import uuid
from pathlib import Path

import httpx
import pytest

from tests.e2e.support import Client, Server, wait_until

PROBE = "tests.e2e.apps.probe:app"


@pytest.fixture
def key() -> str:
    return uuid.uuid4().hex


# ---- the examples ----------------------------------------------------------------------------


def test_showcase(showcase: Server) -> None:
    with httpx.Client(base_url=showcase.url, timeout=20) as client:
        index = client.get("/")
        assert index.status_code == 200
        assert "GET  /trailers" in index.text
        assert client.get("/hello").text == "Hello, world!\n"
        assert client.get("/nowhere").status_code == 404
        download = client.get("/download", params={"size": 300_000})
        assert download.headers["content-length"] == "300000"
        assert download.content == bytes(300_000)
        data = random.Random(1).randbytes(400_000)
        digest = hashlib.sha256(data).hexdigest()
        assert client.post("/upload", content=data).text == f"400000 bytes, sha256 {digest}\n"
        assert client.post("/echo", content=data).content == data
        scope = client.get("/scope?a=b%20c").json()
        assert scope["type"] == "http"
        assert scope["path"] == "/scope"
        assert scope["query_string"] == "a=b%20c"
        assert scope["server"] == ["127.0.0.1", showcase.port]
        assert scope["client"][0] == "127.0.0.1"
        head = client.head("/hello")
        assert head.headers["content-length"] == "14"
        assert not head.content


def test_showcase_streams_as_it_goes(showcase: Server) -> None:
    with showcase.connect() as client:
        client.send(b"GET /stream HTTP/1.1\r\nhost: test\r\n\r\n")
        client.head()
        assert client.chunk() == b"line 0\n"
        assert client.chunk() == b"line 1\n"
    with showcase.connect() as client:
        client.send(b"GET /events HTTP/1.1\r\nhost: test\r\n\r\n")
        assert client.head().headers["content-type"] == "text/event-stream"
        assert client.chunk() == b"data: 0\n\n"


def test_showcase_trailers(showcase: Server) -> None:
    text = b"the checksum follows\n"
    with showcase.connect() as client:
        client.send(b"GET /trailers HTTP/1.1\r\nhost: test\r\nte: trailers\r\n\r\n")
        client.head()
        assert client.chunk() == text
        client.read_until(b"0\r\n")
        digest = hashlib.sha256(text).hexdigest()
        assert client.read_until(b"\r\n\r\n") == f"digest: sha-256={digest}\r\n\r\n".encode()
        assert client.request("GET", "/trailers").body == text  # not asked for: none


def test_hello_example(worker: str) -> None:
    with Server("examples.hello:app", worker) as server:
        assert server.get("/anything").body == b"Hello, world!\n"
        assert server.stop() == 0
        assert "lifespan" in str(server.stderr)
        assert '"GET /anything HTTP/1.1" 200 14' in str(server.stdout)


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_curl(showcase: Server, tmp_path: Path) -> None:
    data = os.urandom(3_000_000)  # large enough for curl to expect a 100 (Continue)
    file = tmp_path / "data"
    file.write_bytes(data)
    command = ["curl", "-sS", "--fail", "--max-time", "20", "--http1.1"]

    def curl(*arguments: str) -> bytes:
        done = subprocess.run([*command, *arguments], capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert curl(showcase.url + "/hello") == b"Hello, world!\n"
    upload = curl("--data-binary", f"@{file}", showcase.url + "/upload")
    assert upload == b"3000000 bytes, sha256 %b\n" % hashlib.sha256(data).hexdigest().encode()
    chunked = ["-H", "transfer-encoding: chunked", "-H", "expect: 100-continue"]
    assert curl(*chunked, "--data-binary", f"@{file}", showcase.url + "/echo") == data
    assert curl("-0", showcase.url + "/hello") == b"Hello, world!\n"
    assert curl("--head", showcase.url + "/hello").startswith(b"HTTP/1.1 200 OK\r\n")


# ---- connections -----------------------------------------------------------------------------


def test_keep_alive(any_probe: Server) -> None:
    with any_probe.connect() as client:
        for number in range(20):
            response = client.request("GET", f"/hello?say={number}")
            assert response.body == b"%d" % number
            assert "connection" not in response.headers
        assert client.request("GET", "/hello", connection="close").headers["connection"] == "close"
        assert client.at_end()


def test_pipelining_keeps_the_order(any_probe: Server) -> None:
    rest = b" HTTP/1.1\r\nhost: test\r\n"
    with any_probe.connect() as client:
        requests = [
            b"GET /pause?seconds=0.01%b\r\n" % rest
            if number % 10 == 3
            else b"POST /echo%bcontent-length: 4\r\n\r\n%04d" % (rest, number)
            if number % 2
            else b"GET /hello?say=%d%b\r\n" % (number, rest)
            for number in range(50)
        ]
        client.send(b"".join(requests))
        for number in range(50):
            expected = (
                b"slept" if number % 10 == 3 else b"%04d" % number if number % 2 else b"%d" % number
            )
            assert client.response().body == expected
        assert client.request("GET", "/hello").body == b"Hello"


def test_http10(any_probe: Server) -> None:
    with any_probe.connect() as client:
        client.send(b"GET /hello HTTP/1.0\r\n\r\n")
        response = client.response()
        assert response.body == b"Hello"
        assert response.headers["connection"] == "close"
        assert client.at_end()
    with any_probe.connect() as client:
        for _ in range(2):
            client.send(b"GET /hello HTTP/1.0\r\nconnection: keep-alive\r\n\r\n")
            assert client.response().headers["connection"] == "keep-alive"
    with any_probe.connect() as client:
        client.send(b"GET /download?chunks=3 HTTP/1.0\r\nconnection: keep-alive\r\n\r\n")
        response = client.response()
        assert "transfer-encoding" not in response.headers
        assert response.complete
        assert len(response.body) == 3 * 65_536


@pytest.mark.parametrize("target", ["/hello", "/pause?seconds=0.2", "/download?chunks=40"])
def test_half_closed_client_is_answered(any_probe: Server, target: str) -> None:
    with any_probe.connect() as client:
        client.send(f"GET {target} HTTP/1.1\r\nhost: test\r\n\r\n".encode())
        client.send_end()
        response = client.response()
        assert response.status == 200
        assert response.complete
        assert client.at_end()


def test_half_closed_after_pipelining(any_probe: Server) -> None:
    with any_probe.connect() as client:
        client.send(b"GET /pause?seconds=0.1 HTTP/1.1\r\nhost: test\r\n\r\n" * 3)
        client.send_end()
        assert [client.response().body for _ in range(3)] == [b"slept"] * 3
        assert client.at_end()


def test_chunked_echo(any_probe: Server) -> None:
    with any_probe.connect() as client:
        client.send(b"POST /echo HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n")
        client.send(b"5\r\nfirst\r\n")
        assert client.head().headers["transfer-encoding"] == "chunked"
        assert client.chunk() == b"first"  # before the request has ended
        client.send(b"6;extension=1\r\nsec")
        assert client.chunk() == b"sec"
        client.send(b"ond\r\n0\r\nsome: trailer\r\n\r\n")
        assert client.chunk() == b"ond"
        assert client.chunk() == b""
        assert client.request("GET", "/hello").body == b"Hello"


def test_head(any_probe: Server) -> None:
    with any_probe.connect() as client:
        response = client.request("HEAD", "/hello")
        assert response.headers["content-length"] == "5"
        assert client.request("HEAD", "/download?chunks=2").status == 200
        assert client.request("GET", "/hello").body == b"Hello"


def test_expect_100_continue(any_probe: Server) -> None:
    request = b"POST /echo?delay=%b HTTP/1.1\r\nhost: test\r\ncontent-length: 4\r\n"
    request += b"expect: 100-continue\r\n\r\n"
    with any_probe.connect() as client:
        client.send(request % b"0.1")  # the word is given when the application asks for the body
        assert client.read_until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.send(b"body")
        assert client.response().body == b"body"
        client.send(request % b"0.1" + b"body")  # did not wait for the word: needs none
        assert client.head().status == 200
    with any_probe.connect() as client:
        client.send(request.replace(b"echo", b"ignore") % b"0")
        response = client.head()  # no 100: nobody asked
        assert response.status == 200
        assert response.headers["connection"] == "close"


def test_unread_body(any_probe: Server) -> None:
    """What the application leaves is thrown away if it is little; else the connection ends."""
    with any_probe.connect() as client:
        assert client.request("POST", "/ignore", bytes(100_000)).body == b"ignored"
        assert client.request("GET", "/hello").body == b"Hello"
    with any_probe.connect() as client:
        client.send(b"POST /ignore HTTP/1.1\r\nhost: test\r\ncontent-length: 100000000\r\n\r\n")
        client.send(bytes(500_000))  # what has been sent already must not destroy the answer
        assert client.response().body == b"ignored"
        assert client.at_end()


def test_large_head(any_probe: Server) -> None:
    with any_probe.connect() as client:
        assert client.request("GET", "/hello", x_large="x" * 60_000).status == 200
        assert client.request("GET", "/hello?say=" + "y" * 15_000).body == b"y" * 15_000


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET / HTTP/1.1\r\nhost: test\r\nx: %b\r\n\r\n" % (b"x" * 70_000), 431),
        (b"GET / HTTP/1.1\r\nhost: test\r\n%b\r\n" % (b"x: y\r\n" * 200), 431),
        (b"GET /%b HTTP/1.1\r\nhost: test\r\n\r\n" % (b"x" * 20_000), 414),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nhost: test\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n", 400),
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/2.7\r\nhost: test\r\n\r\n", 505),
        (b"POST / HTTP/1.1\r\nhost: test\r\ntransfer-encoding: gzip, chunked\r\n\r\n", 501),
        (b"POST /upload HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\nz\r\n", 400),
    ],
    ids=["field", "fields", "target", "host", "length", "line", "version", "coding", "chunk"],
)
def test_refusals(any_probe: Server, request_: bytes, status: int) -> None:
    with any_probe.connect() as client:
        client.send(request_)
        response = client.response()
        assert response.status == status
        assert response.complete
        assert response.headers["connection"] == "close"
        assert client.at_end()


def test_body_limit(worker: str, tmp_path: Path) -> None:
    with Server(PROBE, worker, config='[limits]\nrequest_body = "1KiB"', folder=tmp_path) as server:
        assert server.get("/hello").status == 200
        with server.connect() as client:
            assert client.request("POST", "/upload", bytes(1025)).status == 413
            assert client.at_end()
        with server.connect() as client:
            client.send(
                b"POST /upload?key=limit HTTP/1.1\r\nhost: test\r\n"
                b"transfer-encoding: chunked\r\n\r\n"
            )
            for _ in range(3):
                client.send(b"200\r\n" + bytes(512) + b"\r\n")
            assert client.response().status == 413
        assert server.wait_report("limit", "disconnected after") <= 1024
        assert server.stop() == 0


# ---- applications that fail ------------------------------------------------------------------

KINDS = [
    "error",
    "exit",
    "cancelled",
    "stray",
    "self-cancel",
    "group",
    "base-group",
    "task-group",
    "generator-exit",
    "stop-async",
    "os-error",
    "recursion",
    "base",
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("wait", ["", "&wait=1"], ids=["at-once", "later"])
def test_any_exception_costs_its_own_request_only(
    any_probe: Server, kind: str, wait: str, key: str
) -> None:
    with any_probe.connect() as bystander, any_probe.connect() as client:
        bystander.send(f"GET /gated?key={key} HTTP/1.1\r\nhost: test\r\n\r\n".encode())
        any_probe.wait_report(key, "waiting")
        for when in ("before", "started"):
            response = client.request("GET", f"/fail?kind={kind}&when={when}{wait}")
            assert response.status == 500
            assert response.complete
        assert client.request("GET", "/hello").body == b"Hello"  # the connection goes on, too
        response = client.request("GET", f"/fail?kind={kind}&when=middle{wait}")
        assert response.body == b"half"
        assert not response.complete
        assert client.at_end()
        any_probe.get(f"/open?key={key}")
        assert bystander.response().body == b"through"


def test_failure_is_logged(any_probe: Server) -> None:
    any_probe.get("/fail?kind=error&mark=logged")
    wait_until(
        lambda: (
            "exception in the application: GET /fail?kind=error&mark=logged"
            in str(any_probe.stderr)
        ),
        "the log shows the failed request",
    )
    wait_until(lambda: "ValueError: on purpose" in str(any_probe.stderr), "and its traceback")
    any_probe.get("/fail?kind=cancelled&mark=stray")
    wait_until(lambda: "mark=stray" in str(any_probe.stderr), "a stray cancellation is a failure")


def test_http10_client_can_tell_a_cut_response(any_probe: Server) -> None:
    with any_probe.connect() as client:
        client.send(b"GET /fail?when=middle HTTP/1.0\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            client.read_rest()


def test_no_response(any_probe: Server) -> None:
    with any_probe.connect() as client:
        assert client.request("GET", "/nothing").status == 500
        assert client.request("GET", "/nothing?when=started").status == 500
        assert not client.request("GET", "/nothing?when=middle").complete
        assert client.at_end()


def test_wrong_content_length(any_probe: Server) -> None:
    with any_probe.connect() as client:
        for size in (9, 11):
            assert client.request("GET", f"/length?send={size}").status == 500
        assert client.request("GET", "/length?send=10").body == b"x" * 10
    for size in (6, 8):
        with any_probe.connect() as client:
            response = client.request("GET", f"/length?send={size}&split=1")
            assert response.body == b"123"  # nothing beyond what was announced
            assert not response.complete
    with any_probe.connect() as client:
        assert client.request("GET", "/length?send=7&split=1").complete


def test_context_does_not_leak(any_probe: Server) -> None:
    with any_probe.connect() as client:
        for suffix in ("", "?wait=1", "", "?wait=1"):
            assert client.request("GET", "/context" + suffix).body == b"clean"
        for target in (b"/context", b"/context?wait=1"):
            # the next request is found within this one's send()
            client.send(b"GET %b HTTP/1.1\r\nhost: test\r\n\r\n" % target * 5)
            assert [client.response().body for _ in range(5)] == [b"clean"] * 5


def test_work_after_the_response_does_not_hold_the_connection(any_probe: Server, key: str) -> None:
    with any_probe.connect() as client:
        assert client.request("GET", f"/after?key={key}").body == b"answered"
        for _ in range(3):
            assert client.request("GET", "/hello").body == b"Hello"
        assert "kinds" not in any_probe.report(key)
        assert client.request("GET", f"/open?key={key}").body == b"open"
        kinds = any_probe.wait_report(key, "kinds")
        assert kinds == ["http.disconnect", "http.disconnect"]


# ---- clients that leave ----------------------------------------------------------------------


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("stream", ["", "&stream=1"], ids=["before", "streaming"])
def test_disconnect_is_seen_by_receive(any_probe: Server, key: str, how: str, stream: str) -> None:
    client = any_probe.connect()
    client.send(f"GET /listen?key={key}{stream} HTTP/1.1\r\nhost: test\r\n\r\n".encode())
    any_probe.wait_report(key, "listening")
    getattr(client, how)()
    assert any_probe.wait_report(key, "send") == "ClientDisconnected"
    received = any_probe.report(key)["received"]
    assert received == ["http.request", "http.disconnect", "http.disconnect"]


@pytest.mark.parametrize("how", ["close", "reset"])
def test_disconnect_is_seen_by_send(any_probe: Server, key: str, how: str) -> None:
    client = any_probe.connect()
    client.send(f"GET /events?key={key} HTTP/1.1\r\nhost: test\r\n\r\n".encode())
    client.head()
    client.chunk()
    getattr(client, how)()
    assert any_probe.wait_report(key, "ended") == "ClientDisconnected"


def test_disconnect_in_the_middle_of_a_body(any_probe: Server, key: str) -> None:
    for end in (Client.close, Client.reset, Client.send_end):
        client = any_probe.connect()
        client.send(
            f"POST /upload?key={key} HTTP/1.1\r\nhost: test\r\n"
            "content-length: 1000\r\n\r\nbeginning".encode()
        )
        end(client)
        # what came before the end may or may not have been taken in time
        assert any_probe.wait_report(key, "disconnected after") in {0, 9}
        client.close()


def test_connections_of_leaving_clients_are_closed(any_probe: Server, key: str) -> None:
    """Also those of applications that take http.disconnect and return without a word."""
    before = any_probe.open_files()
    with contextlib.ExitStack() as stack:
        for _ in range(20):
            client = stack.enter_context(any_probe.connect())
            client.send(f"GET /polite-events?key={key} HTTP/1.1\r\nhost: test\r\n\r\n".encode())
            client.head()
        wait_until(lambda: any_probe.open_files() >= before + 20, "20 connections are open")
    wait_until(lambda: any_probe.open_files() <= before, "all connections are closed")
    with any_probe.connect() as client:  # half-closed only: it learns that no more will come
        client.send(f"GET /polite-events?key={key} HTTP/1.1\r\nhost: test\r\n\r\n".encode())
        client.send_end()
        assert not client.response().complete
        assert client.at_end()


def test_a_thousand_connections(any_probe: Server) -> None:
    any_probe.get("/hello")
    before = any_probe.open_files()
    for _ in range(10):
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(any_probe.connect()) for _ in range(100)]
            for client in clients:
                client.send(b"GET /hello HTTP/1.1\r\nhost: test\r\n\r\n")
            for client in clients:
                assert client.response().body == b"Hello"
    wait_until(lambda: any_probe.open_files() <= before, "no socket is left open")


# ---- sockets of all kinds --------------------------------------------------------------------


def test_unix_socket(worker: str, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with Server(PROBE, worker, bind=f"unix:{path}") as server:
        assert server.url == f"unix:{path}"
        with Client(str(path)) as client:
            for _ in range(3):
                assert client.request("GET", "/hello").body == b"Hello"
            assert client.request("POST", "/echo", b"x" * 300_000).body == b"x" * 300_000
        server.signal(signal.SIGINT)
        assert server.wait() == 0
        assert not path.exists()


def test_inherited_socket(worker: str) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        fd = listener.fileno()
        with Server(PROBE, worker, bind=f"fd:{fd}", pass_fds=[fd]) as server:
            assert server.port == listener.getsockname()[1]
            assert server.get("/hello").body == b"Hello"
            assert server.stop() == 0


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.mark.skipif(not _has_ipv6(), reason="needs IPv6")
def test_ipv6(worker: str) -> None:
    with (
        Server("examples.showcase:app", worker, bind="[::1]:0") as server,
        Client(("::1", server.port)) as client,
    ):
        scope = client.request("GET", "/scope").json
        assert scope["client"][0] == "::1"
        assert scope["server"] == ["::1", server.port]
        assert server.url == f"http://[::1]:{server.port}"
