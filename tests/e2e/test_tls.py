"""TLS over real sockets, on every worker: what is spoken within, and what goes wrong around it."""

from __future__ import annotations

import contextlib
import hashlib
import random
import re
import shutil
import socket
import ssl
import struct
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Certificate, MakeClientContext
from tests.e2e.http2_client import HTTP2Client
from tests.e2e.support import Client, Server, TLSClient, wait_until

PROBE = "tests.e2e.apps.probe:app"
HANDSHAKE = 0.4
CONFIG = f"""
[timeouts]
handshake = "{HANDSHAKE * 1000:.0f}ms"
linger = "500ms"
"""
BODY = random.Random(1).randbytes(10_000_000)
DIGEST = hashlib.sha256(BODY).hexdigest()


class TLSServer(Server):
    """One that its own methods reach by TLS."""

    def __init__(
        self, certificate: Certificate, context: ssl.SSLContext, *words: str, **more: Any
    ) -> None:
        self.context = context
        files = ["--tls-certificate", str(certificate.chain), "--tls-key", str(certificate.key)]
        super().__init__(*words, "--no-access-log", *files, **more)

    def connect(self, **options: Any) -> TLSClient:
        return TLSClient(("127.0.0.1", self.port), options.get("context", self.context))

    def connect_bare(self) -> Client:
        """Without TLS."""
        return Client(("127.0.0.1", self.port))


ServerFor = Callable[[str], TLSServer]


@pytest.fixture(scope="module")
def secure_for(
    certificate: Certificate,
    make_client_context: MakeClientContext,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[ServerFor]:
    servers: dict[str, TLSServer] = {}

    def get(worker: str) -> TLSServer:
        if worker not in servers:
            folder = tmp_path_factory.mktemp("tls")
            servers[worker] = TLSServer(
                certificate, make_client_context(), PROBE, worker, config=CONFIG, folder=folder
            )
        return servers[worker]

    yield get
    for server in servers.values():
        with server:
            assert server.stop() == 0
            assert "Traceback" not in str(server.stderr)


@pytest.fixture
def server(worker: str, secure_for: ServerFor) -> Iterator[TLSServer]:
    """A shared server, which is there after the test, too."""
    server = secure_for(worker)
    yield server
    assert server.process.poll() is None, str(server.stderr)
    assert "internal error" not in str(server.stderr)
    assert server.get("/hello").body == b"Hello"


@pytest.fixture
def http2(server: TLSServer, make_client_context: MakeClientContext) -> Iterator[HTTP2Client]:
    client = server.connect(context=make_client_context("h2", "http/1.1"))
    assert client.tls.selected_alpn_protocol() == "h2"
    with HTTP2Client(client.tls, scheme=b"https") as connection:
        yield connection


@pytest.fixture
def key() -> str:
    return uuid.uuid4().hex


# ---- what is spoken within -------------------------------------------------------------------

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("offer", "chosen"),
    [
        ([], None),
        (["http/1.1"], "http/1.1"),
        (["h2", "http/1.1"], "h2"),
        (["http/1.1", "h2"], "h2"),
    ],
    ids=["none", "http/1.1", "h2 first", "h2 last"],
)
def test_alpn(
    server: TLSServer,
    make_client_context: MakeClientContext,
    version: ssl.TLSVersion,
    offer: list[str],
    chosen: str | None,
) -> None:
    context = make_client_context(*offer, version=version)
    with server.connect(context=context) as client:
        assert client.tls.version() == {VERSIONS[0]: "TLSv1.2", VERSIONS[1]: "TLSv1.3"}[version]
        assert client.tls.selected_alpn_protocol() == chosen
        if chosen == "h2":
            with HTTP2Client(client.tls, scheme=b"https") as connection:
                assert connection.fetch("/hello?say=h2") == b"h2"
        else:
            for number in range(3):
                assert client.request("GET", f"/hello?say={number}").body == b"%d" % number


def test_scope_says_https(
    worker: str, certificate: Certificate, make_client_context: MakeClientContext
) -> None:
    context = make_client_context()
    with TLSServer(certificate, context, "examples.showcase:app", worker) as server:
        assert server.url.startswith("https://")
        scope = server.get("/scope").json
        assert (scope["scheme"], scope["http_version"]) == ("https", "1.1")
        client = server.connect(context=make_client_context("h2"))
        with HTTP2Client(client.tls, scheme=b"https") as connection:
            assert b'"https"' in connection.fetch("/scope")
        assert server.stop() == 0


def test_keep_alive_and_chunks(server: TLSServer) -> None:
    with server.connect() as client:
        for number in range(20):
            assert client.request("GET", f"/hello?say={number}").body == b"%d" % number
        client.send(b"POST /echo HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n")
        client.send(b"5\r\nfirst\r\n")
        client.head()
        assert client.chunk() == b"first"  # before the request has ended
        client.send(b"0\r\n\r\n")
        assert client.chunk() == b""
        assert client.request("GET", "/hello", connection="close").body == b"Hello"
        assert client.at_end()  # and orderly: a truncated one raises


def test_large_bodies_over_http1(server: TLSServer, key: str) -> None:
    with server.connect() as client:
        upload = client.request("POST", f"/upload?key={key}", BODY)
        assert upload.body == f"{len(BODY)} {DIGEST}".encode()
        download = client.request("GET", "/download?chunks=300")
        assert len(download.body) == 300 * 65_536
        assert download.complete
        # in one piece, which is more than the kernel takes
        big = client.request("GET", f"/big?size=5000000&key={key}")
        assert (len(big.body), big.complete) == (5_000_000, True)


def test_large_bodies_over_http2(http2: HTTP2Client, key: str) -> None:
    upload = http2.post(f"/upload?key={key}")
    http2.upload(upload, BODY)
    assert http2.body(upload) == f"{len(BODY)} {DIGEST}".encode()
    echo = http2.post("/echo")
    http2.upload(echo, BODY)
    assert http2.body(echo) == BODY
    assert len(http2.fetch("/download?chunks=300")) == 300 * 65_536


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
@pytest.mark.parametrize("version", ["--http1.1", "--http2"])
@pytest.mark.parametrize("tls", [["--tlsv1.2", "--tls-max", "1.2"], ["--tlsv1.3"]])
def test_curl(
    server: TLSServer, authority_file: Path, tmp_path: Path, version: str, tls: list[str]
) -> None:
    file = tmp_path / "body"
    file.write_bytes(BODY)

    def curl(*arguments: str) -> bytes:
        command = ["curl", "-sS", "--fail", "--max-time", "30", "--cacert", str(authority_file)]
        done = subprocess.run(
            [*command, version, *tls, *arguments], capture_output=True, timeout=40, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    said = curl("-w", " %{http_version} %{scheme}", server.url + "/hello")
    assert said.upper() == b"HELLO %b HTTPS" % version[6:].encode()
    assert curl("--data-binary", f"@{file}", server.url + "/echo") == BODY
    assert len(curl(server.url + "/download?chunks=100")) == 100 * 65_536
    by_name = server.url.replace("127.0.0.1", "localhost")
    assert curl("--ipv4", by_name + "/hello") == b"Hello"


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
def test_renegotiation_is_refused(server: TLSServer) -> None:
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{server.port}", "-tls1_2"]
    done = subprocess.run(
        [*command, "-msg"], input=b"R\n", capture_output=True, timeout=20, check=False
    )
    said = (done.stdout + done.stderr).decode("latin-1")
    assert "RENEGOTIATING" in said
    assert re.search("no.renegotiation", said), said


# ---- what is no TLS --------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_plain_http_is_told(server: TLSServer, method: str) -> None:
    with server.connect_bare() as client:
        response = client.request(method, "/hello")
        assert response.status == 400
        assert response.headers["connection"] == "close"
        if method != "HEAD":
            assert b"https://" in response.body
            assert response.complete
        assert client.at_end()


@pytest.mark.parametrize("greeting", [b"\0\0\0\0", b"SSH-2.0-x\r\n", b"PRI * HTTP/2.0\r\n\r\n"])
def test_neither_tls_nor_http(server: TLSServer, greeting: bytes) -> None:
    with server.connect_bare() as client:
        client.send(greeting)
        client.send_end()
        with contextlib.suppress(ConnectionResetError):
            client.read_rest()


def test_client_that_does_not_trust(server: TLSServer) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        server.connect(context=ssl.create_default_context())


def hello_bytes() -> bytes:
    """What a client says first."""
    outgoing = ssl.MemoryBIO()
    context = ssl.create_default_context()
    tls = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost")
    with contextlib.suppress(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()


@pytest.mark.parametrize("part", ["nothing", "half", "whole", "trickle"])
def test_handshake_that_does_not_end(server: TLSServer, part: str) -> None:
    hello = hello_bytes()
    started = time.monotonic()
    with server.connect_bare() as client:
        client.send({"nothing": b"", "half": hello[:100], "whole": hello, "trickle": b""}[part])
        client.sock.settimeout(0.02)
        rest = iter(hello[:-1] if part == "trickle" else b"")
        while True:
            try:
                if not client.fill():
                    break
            except TimeoutError:
                assert time.monotonic() - started < 10, "the connection is kept"
            except ConnectionResetError:
                break
            else:
                continue
            if (octet := next(rest, None)) is not None:
                with contextlib.suppress(ConnectionError):
                    client.send(bytes([octet]))
            assert server.get("/hello").status == 200  # nobody else has to wait
    took = time.monotonic() - started
    # the sweep comes every half second; a connection may linger as long as it is told
    assert HANDSHAKE * 0.9 < took < HANDSHAKE + 3


# ---- connections that break ------------------------------------------------------------------


def cut(client: Client, how: str) -> None:
    """End the connection without TLS's own farewell."""
    if how == "reset":
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.sock.close()


@pytest.mark.parametrize("how", ["close", "reset"])
def test_truncation_while_idle(server: TLSServer, how: str) -> None:
    for _ in range(5):
        client = server.connect()
        assert client.request("GET", "/hello").body == b"Hello"
        cut(client, how)
        cut(server.connect(), how)


@pytest.mark.parametrize("how", ["close", "reset"])
def test_truncation_is_a_disconnect(server: TLSServer, key: str, how: str) -> None:
    client = server.connect()
    client.send(f"GET /listen?key={key}&stream=1 HTTP/1.1\r\nhost: test\r\n\r\n".encode())
    server.wait_report(key, "listening")
    cut(client, how)
    assert server.wait_report(key, "send") == "ClientDisconnected"


@pytest.mark.parametrize("how", ["close", "reset"])
def test_truncated_upload(server: TLSServer, key: str, how: str) -> None:
    client = server.connect()
    client.send(f"POST /upload?key={key} HTTP/1.1\r\nhost: test\r\n".encode())
    client.send(b"content-length: 1000\r\nexpect: 100-continue\r\n\r\n")
    assert client.read_until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"  # it is waiting
    client.send(bytes(500))
    cut(client, how)
    assert server.wait_report(key, "disconnected after") <= 500


@pytest.mark.parametrize("how", ["close", "reset"])
def test_truncated_download(
    server: TLSServer, make_client_context: MakeClientContext, key: str, how: str
) -> None:
    client = server.connect()
    client.send(f"GET /flood?key={key} HTTP/1.1\r\nhost: test\r\n\r\n".encode())
    client.head()
    cut(client, how)
    assert server.wait_report(key, "ended") == "ClientDisconnected"
    client = server.connect(context=make_client_context("h2"))
    connection = HTTP2Client(client.tls, scheme=b"https")
    stream_id = connection.get(f"/flood?key={key}.2")
    connection.until(lambda: len(connection.bodies[stream_id]) > 1_000_000, "the flood")
    cut(client, how)
    assert server.wait_report(f"{key}.2", "ended") == "ClientDisconnected"


def test_farewell_is_a_disconnect(server: TLSServer, key: str) -> None:
    """A client that says close_notify first."""
    client = server.connect()
    client.send(f"GET /listen?key={key} HTTP/1.1\r\nhost: test\r\n\r\n".encode())
    server.wait_report(key, "listening")
    with contextlib.suppress(ssl.SSLError, OSError):
        client.tls.unwrap()
    client.close()
    assert server.wait_report(key, "send") == "ClientDisconnected"


def test_damaged_record(server: TLSServer, key: str) -> None:
    client = server.connect()
    client.send(f"GET /listen?key={key} HTTP/1.1\r\nhost: test\r\n\r\n".encode())
    server.wait_report(key, "listening")
    with socket.socket(fileno=client.tls.detach()) as bare:
        bare.settimeout(20)
        bare.sendall(b"\x17\x03\x03\x00\x40" + bytes(64))
        with contextlib.suppress(ConnectionResetError):
            while bare.recv(65_536):
                pass
        assert server.wait_report(key, "send") == "ClientDisconnected"


def test_what_goes_wrong_is_told_to_who_wants_to_know(
    worker: str, certificate: Certificate, make_client_context: MakeClientContext
) -> None:
    context = make_client_context()
    with TLSServer(certificate, context, PROBE, worker, "--log-level", "debug") as server:
        client = server.connect()
        assert client.request("GET", "/hello").body == b"Hello"  # with it come the tickets
        cut(client, "close")
        wait_until(lambda: "was cut off without a close_notify" in str(server.stderr), "it is told")
        with server.connect_bare() as bare:
            assert bare.request("GET", "/").status == 400
        wait_until(lambda: "ended: plain HTTP" in str(server.stderr), "plain HTTP is told")
        assert server.get("/hello").body == b"Hello"
        assert not re.search("WARNING|ERROR", str(server.stderr))
        assert server.stop() == 0


# ---- a certificate for development -----------------------------------------------------------


@pytest.mark.skipif(sys.platform != "linux", reason="keeps it elsewhere")
def test_dev_tls(worker: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    with Server(PROBE, worker, "--dev-tls") as server:
        trusted = tmp_path / "hyperserver/dev-tls/ca.pem"
        (line,) = (line for line in server.stderr.lines if "to trust it" in line)
        assert str(trusted) in line
        context = ssl.create_default_context(cafile=str(trusted))
        for name in ("localhost", "127.0.0.1"):
            with TLSClient(("127.0.0.1", server.port), context, name) as client:
                assert client.request("GET", "/hello").body == b"Hello"
        assert server.stop() == 0


# ---- stopping --------------------------------------------------------------------------------


def test_stopping(
    worker: str, certificate: Certificate, make_client_context: MakeClientContext
) -> None:
    with TLSServer(certificate, make_client_context(), PROBE, worker) as server:
        idle, busy = server.connect(), server.connect()
        client = server.connect(context=make_client_context("h2"))
        with idle, busy, HTTP2Client(client.tls, scheme=b"https") as connection:
            assert idle.request("GET", "/hello").body == b"Hello"
            busy.send(b"GET /pause?seconds=0.5&key=k HTTP/1.1\r\nhost: test\r\n\r\n")
            server.wait_report("k", "waiting")
            echo = connection.post("/echo")
            connection.data(echo, b"first ")
            connection.until(lambda: connection.bodies[echo], "the echo is on its way")
            server.signal()
            assert idle.at_end()  # orderly: truncation raises ssl.SSLEOFError
            idle.close()
            assert busy.response().body == b"slept"
            assert busy.at_end()
            busy.close()
            connection.until(lambda: len(connection.goaways) == 2, "the second GOAWAY")
            connection.data(echo, b"second", end=True)
            assert connection.body(echo) == b"first second"
            connection.read_rest()
            client.close()
        assert server.wait() == 0
        assert time.monotonic() - server.signalled_at < 4
        assert "Traceback" not in str(server.stderr)
