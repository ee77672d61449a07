"""HTTP/2 over real sockets, on every worker, with the clients that people use."""

from __future__ import annotations

import contextlib
import hashlib
import json
import random
import re
import shutil
import socket
import ssl
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.conftest import Certificate
from tests.e2e.conftest import HTTP2_VARIANTS, ServerFor, servers_with_tls
from tests.e2e.http2_client import HTTP2Client
from tests.e2e.support import Server, wait_until
from tests.engines import h2_frames as wire

if TYPE_CHECKING:
    import trustme

PROBE = "tests.e2e.apps.probe:app"
PUSH = "examples.push:app"
RESOURCES = ["/style.css", "/script.js", "/logo.svg"]
MEGABYTE = 1_000_000


def needs(tool: str, package: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(tool) is None, reason=f"needs {tool} ({package})")


def run(*command: str | Path, timeout: float = 50) -> bytes:
    done = subprocess.run(
        [str(word) for word in command], capture_output=True, timeout=timeout, check=False
    )
    assert done.returncode == 0, (done.stdout + done.stderr).decode(errors="replace")
    return done.stdout


def connect(
    server: Server,
    settings: dict[int, int] | None = None,
    *,
    grants: bool = True,
    receive_buffer: int = 0,
) -> HTTP2Client:
    sock = socket.socket()
    if receive_buffer:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    sock.connect(("127.0.0.1", server.port))
    return HTTP2Client(sock, settings, grants=grants)


@pytest.fixture(params=HTTP2_VARIANTS)
def worker(request: pytest.FixtureRequest) -> str:
    """Each worker, and both engines."""
    return str(request.param)


@pytest.fixture
def key() -> str:
    return uuid.uuid4().hex


@pytest.fixture
def push(worker: str, server_for: ServerFor) -> Server:
    """The application of examples/push.py."""
    return server_for(PUSH, worker)


@pytest.fixture(scope="module")
def authority_file(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("authority") / "authority.pem"
    authority.cert_pem.write_to_path(str(file))
    return file


@pytest.fixture(scope="module")
def secure_for(certificate: Certificate) -> Iterator[Callable[[str], Server]]:
    """``secure_for(worker)``: the probe behind TLS, shared."""
    with servers_with_tls(PROBE, certificate) as get:
        yield get


@pytest.fixture
def secure(worker: str, secure_for: Callable[[str], Server]) -> Server:
    return secure_for(worker)


# ---- streams do not wait for each other ------------------------------------------------------


def test_an_application_that_does_not_read_holds_up_no_other(probe: Server, key: str) -> None:
    with connect(probe) as client:
        asleep = client.post(f"/gated?key={key}")
        for _ in range(20):
            client.data(asleep, bytes(1000))
        times = []
        for number in range(5):
            started = time.monotonic()
            assert client.fetch(f"/hello?say={number}") == b"%d" % number
            times.append(time.monotonic() - started)
        assert min(times) < 0.2, times  # nothing that waits for a timer or a sweep
        assert client.reader.responses[asleep].fields is None
        client.data(asleep, b"", end=True)
        assert client.fetch(f"/open?key={key}") == b"open"
        assert client.body(asleep) == b"through"


def test_a_full_stream_holds_up_no_other(probe: Server, key: str) -> None:
    """The same with all the credit used that the first stream has."""
    with connect(probe) as client:
        asleep = client.post(f"/gated?key={key}")
        client.upload(asleep, bytes(client.credit(asleep)), end=False)
        assert client.credit(asleep) == 0
        digest = hashlib.sha256(bytes(300_000)).hexdigest()
        other = client.post("/upload")
        client.upload(other, bytes(300_000))
        assert client.body(other) == f"300000 {digest}".encode()
        assert client.credit(asleep) == 0
        client.data(asleep, b"", end=True)
        assert client.fetch(f"/open?key={key}") == b"open"
        assert client.body(asleep) == b"through"


def test_many_streams_at_a_time(probe: Server, key: str) -> None:
    with connect(probe) as client:
        assert client.reader.server_settings is not None
        limit = client.reader.server_settings[wire.MAX_CONCURRENT_STREAMS]
        waiting = [client.get(f"/gated?key={key}") for _ in range(limit)]
        refused = client.get("/hello")
        assert client.response(refused).reset == wire.REFUSED_STREAM
        assert probe.get(f"/open?key={key}").body == b"open"
        assert [client.body(stream_id) for stream_id in waiting] == [b"through"] * limit
        for burst in range(5):
            streams = {client.get(f"/hello?say={burst}.{n}"): n for n in range(limit)}
            for stream_id, n in streams.items():
                assert client.body(stream_id) == f"{burst}.{n}".encode()


def test_uploads_and_downloads_side_by_side(probe: Server) -> None:
    chance = random.Random(2)
    bodies = [chance.randbytes(50_000) for _ in range(30)]
    with connect(probe) as client:
        streams = [client.post("/echo") for _ in bodies]
        for start in range(0, 50_000, 10_000):
            for stream_id, body in zip(streams, bodies, strict=True):
                last = start == 40_000
                client.upload(stream_id, body[start : start + 10_000], end=last)
        for stream_id, body in zip(streams, bodies, strict=True):
            assert client.body(stream_id) == body


# ---- large bodies ----------------------------------------------------------------------------


def test_large_upload(probe: Server, key: str) -> None:
    data = random.Random(3).randbytes(20 * MEGABYTE)
    with connect(probe) as client:
        stream_id = client.post(f"/upload?key={key}", (b"content-length", b"%d" % len(data)))
        client.upload(stream_id, data)
        digest = hashlib.sha256(data).hexdigest()
        assert client.body(stream_id) == f"{len(data)} {digest}".encode()


def test_large_echo(probe: Server) -> None:
    """Up and down over one stream at the same time."""
    data = random.Random(4).randbytes(20 * MEGABYTE)
    with connect(probe) as client:
        stream_id = client.post("/echo")
        client.upload(stream_id, data)
        assert client.body(stream_id) == data
        assert client.fetch("/hello") == b"Hello"


@pytest.mark.parametrize("sized", ["", "&sized=1"])
def test_large_download(probe: Server, sized: str) -> None:
    with connect(probe) as client:
        stream_id = client.get(f"/download?chunks=320{sized}")
        assert len(client.body(stream_id)) == 320 * 65_536
        assert not any(client.bodies[stream_id])
        length = client.reader.responses[stream_id].get(b"content-length")
        assert length == (b"%d" % (320 * 65_536) if sized else None)


# ---- failures --------------------------------------------------------------------------------


@pytest.mark.parametrize("wait", ["", "&wait=1"], ids=["at-once", "later"])
def test_application_errors(probe: Server, key: str, wait: str) -> None:
    with connect(probe) as client:
        bystander = client.get(f"/gated?key={key}")
        for when in ("before", "started"):
            stream_id = client.get(f"/fail?when={when}{wait}")
            assert client.body(stream_id) == b"500: Internal Server Error\n"
            assert client.reader.responses[stream_id].status == 500
        cut = client.get(f"/fail?when=middle{wait}")
        response = client.response(cut)
        assert (response.status, response.complete) == (200, False)
        assert response.reset == wire.INTERNAL_ERROR
        assert bytes(client.bodies[cut]) in {b"", b"half"}  # a reset may overtake what it cuts
        assert client.fetch(f"/open?key={key}") == b"open"
        assert client.body(bystander) == b"through"
        assert not client.goaways


def test_no_response(probe: Server) -> None:
    with connect(probe) as client:
        assert client.response(client.get("/nothing")).status == 500
        assert client.response(client.get("/nothing?when=middle")).reset == wire.INTERNAL_ERROR
        assert client.response(client.get("/length?send=6&split=1")).reset == wire.INTERNAL_ERROR
        assert client.fetch("/hello") == b"Hello"


@pytest.mark.parametrize("stream", ["", "&stream=1"], ids=["before", "streaming"])
def test_reset_by_the_client_is_a_disconnect(probe: Server, key: str, stream: str) -> None:
    with connect(probe) as client:
        stream_id = client.get(f"/listen?key={key}{stream}")
        probe.wait_report(key, "listening")
        client.reset(stream_id)
        # "At once": whatever the connection is asked next comes after it.
        assert client.fetch("/hello") == b"Hello"
        report = json.loads(client.fetch(f"/report?key={key}"))
        assert report["received"] == ["http.request", "http.disconnect", "http.disconnect"]
        assert report["send"] == "ClientDisconnected"


def test_reset_ends_a_stream_that_is_being_sent(probe: Server, key: str) -> None:
    with connect(probe, grants=False) as client:
        stream_id = client.get(f"/flood?key={key}")
        client.until(lambda: len(client.bodies[stream_id]) > 50_000, "most of the window is used")
        client.reset(stream_id)
        assert probe.wait_report(key, "ended") == "ClientDisconnected"


@pytest.mark.parametrize("how", ["close", "reset"])
def test_lost_connection_is_a_disconnect_of_every_stream(probe: Server, key: str, how: str) -> None:
    keys = [f"{key}{n}" for n in range(10)]
    with connect(probe) as client:
        for each in keys:
            client.get(f"/listen?key={each}")
        for each in keys:
            probe.wait_report(each, "listening")
        if how == "reset":
            linger = b"\1\0\0\0\0\0\0\0"
            client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    for each in keys:
        assert probe.wait_report(each, "send") == "ClientDisconnected"


# ---- flow control ----------------------------------------------------------------------------


def settled(look: Callable[[], list[int]]) -> list[int]:
    """What is seen when it no longer changes."""
    seen: list[list[int]] = [[]]

    def unchanged() -> bool:
        seen.append(look())
        return seen[-1] == seen[-2]

    wait_until(unchanged, "all wait")
    return seen[-1]


def test_client_that_grants_nothing(probe: Server, key: str) -> None:
    """The application's send() waits; memory stays; everybody else is served."""
    streams = 60
    with connect(probe, {wire.INITIAL_WINDOW_SIZE: 0}, grants=False) as client:
        before = probe.status("VmRSS")
        for n in range(streams):
            client.get(f"/flood?key={key}.{n}")
        keys = [f"{key}.{n}" for n in range(streams)]

        def sent() -> list[int]:
            return [probe.wait_report(each, "sent") for each in keys]

        amounts = settled(sent)
        assert max(amounts) <= 4 * 65_536
        assert probe.status("VmRSS") - before < 64 * MEGABYTE
        assert not any(client.bodies.values())
        with connect(probe) as other:
            assert other.fetch("/hello") == b"Hello"
            assert len(other.body(other.get("/download?chunks=20"))) == 20 * 65_536
        assert sent() == amounts
        # what is granted is sent, to the byte, and lets its application go on
        client.grant(1, 60_000)
        client.until(lambda: len(client.bodies[1]) == 60_000, "what was granted")
        client.ping()
        assert len(client.bodies[1]) == 60_000
        client.reset(1)
        assert probe.wait_report(keys[0], "ended") == "ClientDisconnected"
    for each in keys:
        assert probe.wait_report(each, "ended") == "ClientDisconnected"


def test_client_that_does_not_read(probe: Server, key: str) -> None:
    """It grants all there is, but the connection takes nothing."""
    huge = {wire.INITIAL_WINDOW_SIZE: wire.MAX_ID}
    with connect(probe, huge, grants=False, receive_buffer=4096) as client:
        before = probe.status("VmRSS")
        client.grant(0, wire.MAX_ID - wire.DEFAULT_WINDOW)
        keys = [f"{key}.{n}" for n in range(20)]
        for each in keys:
            client.get(f"/flood?key={each}")

        def sent() -> list[int]:
            return [probe.wait_report(each, "sent") for each in keys]

        amounts = settled(sent)
        assert probe.status("VmRSS") - before < 64 * MEGABYTE
        with connect(probe) as other:
            assert other.fetch("/hello") == b"Hello"
        assert sent() == amounts
    for each in keys:
        assert probe.wait_report(each, "ended") == "ClientDisconnected"


# ---- stopping --------------------------------------------------------------------------------


@pytest.fixture
def own(worker: str) -> Iterator[Server]:
    """A probe that a test may stop."""
    with Server(PROBE, worker, "--no-access-log") as server:
        yield server
    assert "Traceback" not in str(server.stderr)
    assert "internal error" not in str(server.stderr)


def test_stopping_finishes_streams(own: Server) -> None:
    with connect(own) as client, connect(own) as idle:
        assert idle.fetch("/hello") == b"Hello"
        upload = client.post("/upload?key=k")
        client.data(upload, b"first ")
        echo = client.post("/echo")
        client.data(echo, b"first ")
        client.until(lambda: client.bodies[echo], "the echo is on its way")
        own.signal()
        idle.read_rest()
        idle.sock.close()
        assert [goaway.error for goaway in idle.goaways] == [wire.NO_ERROR] * len(idle.goaways)
        assert idle.goaways[-1].last == 1
        client.until(lambda: len(client.goaways) == 2, "the second GOAWAY")
        assert client.goaways == [
            wire.GoAway(wire.MAX_ID, wire.NO_ERROR),
            wire.GoAway(echo, wire.NO_ERROR),
        ]
        assert own.process.poll() is None
        client.data(upload, b"second", end=True)
        client.data(echo, b"second", end=True)
        digest = hashlib.sha256(b"first second").hexdigest()
        assert client.body(upload) == f"12 {digest}".encode()
        assert client.body(echo) == b"first second"
        client.read_rest()
        client.sock.close()
        assert own.wait() == 0
        assert time.monotonic() - own.signalled_at < 4
        assert own.stderr.lines[-1] == "lifespan ends"


def test_stopping_finishes_a_download(own: Server) -> None:
    with connect(own, grants=False) as client:
        stream_id = client.get("/download?chunks=100")
        client.until(lambda: len(client.bodies[stream_id]) == wire.DEFAULT_WINDOW, "a window full")
        own.signal()
        client.until(lambda: len(client.goaways) == 2, "the second GOAWAY")
        client.grants = True
        client.grant(0, wire.DEFAULT_WINDOW)
        client.grant(stream_id, wire.DEFAULT_WINDOW)
        assert len(client.body(stream_id)) == 100 * 65_536
        client.read_rest()
    assert own.wait() == 0
    assert time.monotonic() - own.signalled_at < 4


def test_stopping_is_bounded(worker: str, tmp_path: Path) -> None:
    config = '[timeouts]\ndrain = "800ms"\ndisconnect_grace = "300ms"\nlinger = "300ms"'
    with Server(PROBE, worker, config=config, folder=tmp_path) as server, connect(server) as client:
        told = client.get("/polite-events?key=polite")
        client.until(lambda: client.bodies[told], "an event stream")
        stuck = client.get("/gated?key=stuck")
        server.wait_report("stuck", "waiting")
        server.signal()
        client.until(
            lambda: (
                client.reader.responses[told].complete
                or client.reader.responses[told].reset is not None
            ),
            "the end of events",
        )
        response = client.reader.responses[stuck]
        client.until(
            lambda: response.reset is not None or response.fields or client.ended, "its end"
        )
        assert server.wait() != 0  # a request was cut off
        assert time.monotonic() - server.signalled_at < 5


# ---- abuse -----------------------------------------------------------------------------------


def rapid_reset(client: HTTP2Client) -> Iterator[bytes]:
    for _ in range(2000):
        stream_id = client.writer.next_id
        head = wire.head(b"GET", b"/listen?key=abuse", scheme=b"http", authority=b"test")
        yield client.writer.headers(stream_id, head, end=True) + wire.reset(stream_id)


def continuation_flood(client: HTTP2Client) -> Iterator[bytes]:
    yield wire.frame(wire.HEADERS, 1, b"", wire.END_STREAM)
    for number in range(2000):
        field = wire.literal(b"x-%d" % number, b"x" * 900)
        yield wire.frame(wire.CONTINUATION, 1, field)


def empty_continuation_flood(client: HTTP2Client) -> Iterator[bytes]:
    yield wire.frame(wire.HEADERS, 1, b"", wire.END_STREAM)
    for _ in range(5000):
        yield wire.frame(wire.CONTINUATION, 1)


def ping_flood(client: HTTP2Client) -> Iterator[bytes]:
    for number in range(10_000):
        yield wire.ping(b"%08d" % number)


@pytest.mark.parametrize(
    "attack", [rapid_reset, continuation_flood, empty_continuation_flood, ping_flood]
)
def test_abuse_costs_its_connection_only(
    probe: Server, attack: Callable[[HTTP2Client], Iterator[bytes]]
) -> None:
    with connect(probe) as victim, connect(probe) as client:
        assert victim.fetch("/hello") == b"Hello"
        frames = list(attack(client))
        step = len(frames) // 20
        for start in range(0, len(frames), step):
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                client.send(b"".join(frames[start : start + step]))
            assert victim.fetch("/hello") == b"Hello"
        client.read_rest()
        assert client.goaways, "no GOAWAY"
        assert client.goaways[-1].error == wire.ENHANCE_YOUR_CALM
        assert victim.fetch("/hello") == b"Hello"
        assert not victim.goaways


def test_garbage_costs_its_connection_only(probe: Server) -> None:
    with connect(probe) as victim, connect(probe) as client:
        chance = random.Random(5)
        client.send(wire.frame(wire.DATA, 0, chance.randbytes(100)) + chance.randbytes(5000))
        client.read_rest()
        assert client.goaways[-1].error == wire.PROTOCOL_ERROR
        assert victim.fetch("/hello") == b"Hello"


# ---- push ------------------------------------------------------------------------------------


def test_push(push: Server) -> None:
    with connect(push) as client:
        page = client.get("/")
        assert b"style.css" in client.body(page)
        assert len(client.reader.promised) == 3
        links = client.reader.responses[page].interim[0]
        assert links[0] == (b":status", b"103")
        assert [re.findall(rb"<(.+)>", value)[0].decode() for _, value in links[1:]] == RESOURCES
        for promised, path in zip(client.reader.promised, RESOURCES, strict=True):
            pushed = client.body(promised)
            assert pushed == push.get(path).body
            assert client.reader.responses[promised].status == 200
        assert client.fetch("/style.css") == push.get("/style.css").body
    with connect(push, {wire.ENABLE_PUSH: 0}) as client:
        assert b"style.css" in client.fetch("/")
        assert not client.reader.promised


def test_refused_push(push: Server) -> None:
    """A client that has a resource cancels its push; all else goes on."""
    with connect(push, {wire.INITIAL_WINDOW_SIZE: 0}, grants=False) as client:
        page = client.get("/")
        client.until(lambda: len(client.reader.promised) == 3, "the promises")
        first, *others = client.reader.promised
        client.reset(first)
        for stream_id in (page, *others):
            client.grant(stream_id, 10_000)
        for stream_id in (page, *others):
            assert client.body(stream_id)
        assert not client.bodies[first]


@needs("nghttp", "nghttp2-client")
def test_nghttp_push(push: Server) -> None:
    statistics = run("nghttp", "-ans", push.url + "/").decode()
    rows = re.findall(
        r"^ *(\d+) +\S+ (\*)? *\S+ +\S+ +(\d+) +(\d+) (\S+)$", statistics, re.MULTILINE
    )
    assert ("200", "/") in {(status, path) for _, star, status, _, path in rows if not star}
    pushed = {path: (int(stream_id), status) for stream_id, star, status, _, path in rows if star}
    assert set(pushed) == set(RESOURCES), statistics
    assert all(stream_id % 2 == 0 and status == "200" for stream_id, status in pushed.values())
    assert len(rows) == 4, statistics  # nothing that was pushed was asked for as well

    verbose = re.sub(r"\x1b\[[0-9;]*m", "", run("nghttp", "-nv", push.url + "/").decode())
    assert verbose.count("recv PUSH_PROMISE frame") == 3
    for path in RESOURCES:
        assert f":path: {path}" in verbose
    assert ":status: 103" in verbose
    promised = re.findall(r"promised_stream_id=(\d+)", verbose)
    for stream_id in promised:
        assert f"recv (stream_id={stream_id}) :status: 200" in verbose
    assert "RST_STREAM" not in verbose


NODE_PUSH = """
const http2 = require('node:http2');
const seen = { hints: [], pushed: {}, status: 0, page: '' };
const session = http2.connect(process.argv[2]);
let open = 1;
const finished = () => {
  if (--open === 0) { session.close(); console.log(JSON.stringify(seen)); }
};
const fail = (error) => { console.error(error); process.exit(1); };
session.on('error', fail);
session.on('stream', (stream, request) => {
  open += 1;
  const pushed = seen.pushed[request[':path']] = { status: 0, body: '' };
  stream.setEncoding('utf8');
  stream.on('push', (response) => { pushed.status = response[':status']; });
  stream.on('data', (chunk) => { pushed.body += chunk; });
  stream.on('error', fail);
  stream.on('end', finished);
});
const request = session.request({ ':path': '/' });
request.setEncoding('utf8');
request.on('headers', (headers) => { seen.hints.push([headers[':status'], headers['link']]); });
request.on('response', (response) => { seen.status = response[':status']; });
request.on('data', (chunk) => { seen.page += chunk; });
request.on('error', fail);
request.on('end', finished);
request.end();
"""


@needs("node", "nodejs")
def test_node_push(push: Server, tmp_path: Path) -> None:
    script = tmp_path / "push.cjs"
    script.write_text(NODE_PUSH)
    seen = json.loads(run("node", script, push.url))
    assert seen["status"] == 200
    assert "/style.css" in seen["page"]
    [(status, link)] = seen["hints"]
    assert status == 103
    assert all(f"<{path}>; rel=preload" in str(link) for path in RESOURCES)
    assert {path: answer["status"] for path, answer in seen["pushed"].items()} == dict.fromkeys(
        RESOURCES, 200
    )
    for path, answer in seen["pushed"].items():
        assert answer["body"].encode() == push.get(path).body


# ---- other people's clients ------------------------------------------------------------------


def curl_all(
    url: str, tmp_path: Path, *options: str | Path, version: bytes = b"2", large: bool = True
) -> None:
    """What curl is asked to do, whichever way it comes to HTTP/2."""
    data = random.Random(6).randbytes(3 * MEGABYTE)
    file = tmp_path / "data"
    file.write_bytes(data)

    def said(*arguments: str) -> bytes:
        command = ["curl", "-sS", "--fail", "--max-time", "30", *map(str, options)]
        command += ["-w", "%{stderr}<%{http_version}>", *arguments]
        done = subprocess.run(command, capture_output=True, timeout=50, check=False)
        assert done.returncode == 0, done.stderr
        assert set(re.findall(rb"<(.+?)>", done.stderr)) == {version}, done.stderr
        return done.stdout

    assert said(url + "/hello") == b"Hello"
    assert b"200" in said("--head", url + "/hello")
    if large:
        assert len(said(url + "/download?chunks=50")) == 50 * 65_536
        digest = hashlib.sha256(data).hexdigest()
        body = ["--data-binary", f"@{file}"]
        assert said(*body, url + "/upload?key=curl") == f"{len(data)} {digest}".encode()
        assert said(*body, url + "/echo") == data
        assert said("-d", "small", url + "/echo") == b"small"
    if "--http2-prior-knowledge" in options:
        return  # with which curl 7.88 cannot use a connection twice, whoever the server is
    many = said("--parallel", *(f"{url}/hello?say={n}." for n in range(40)))
    assert sorted(many.split(b".")) == sorted([b"", *(b"%d" % n for n in range(40))])


@needs("curl", "curl")
def test_curl_prior_knowledge(probe: Server, tmp_path: Path) -> None:
    curl_all(probe.url, tmp_path, "--http2-prior-knowledge")


@needs("curl", "curl")
def test_curl_over_tls(secure: Server, authority_file: Path, tmp_path: Path) -> None:
    curl_all(secure.url, tmp_path, "--http2", "--cacert", authority_file)


@needs("curl", "curl")
def test_curl_upgrade(worker: str, tmp_path: Path) -> None:
    config = "[http2]\nupgrade = true"
    with Server(PROBE, worker, "--no-access-log", config=config, folder=tmp_path) as server:
        # What follows a 101 at once must fit into 32 KiB, or curl 7.88 gives up.
        curl_all(server.url, tmp_path, "--http2", large=False)
        # A request with a body goes on in HTTP/1.1: the body would have to come before the switch.
        echo = ["curl", "-sS", "--fail", "--max-time", "30", "--http2", server.url + "/echo"]
        assert run(*echo, "-d", "small", "-w", " %{http_version}") == b"small 1.1"
        assert server.stop() == 0
        assert "internal error" not in str(server.stderr)


@needs("curl", "curl")
def test_upgrade_is_not_taken_unless_configured(probe: Server, tmp_path: Path) -> None:
    curl_all(probe.url, tmp_path, "--http2", version=b"1.1")


@needs("nghttp", "nghttp2-client")
def test_nghttp_upgrade(worker: str, tmp_path: Path) -> None:
    config = "[http2]\nupgrade = true"
    with Server(PUSH, worker, "--no-access-log", config=config, folder=tmp_path) as server:
        verbose = run("nghttp", "-unv", server.url + "/").decode()
        assert "101 Switching Protocols" in verbose
        assert "recv PUSH_PROMISE" in re.sub(r"\x1b\[[0-9;]*m", "", verbose)
        assert server.stop() == 0


@needs("h2load", "nghttp2-client")
@pytest.mark.timeout(120)
def test_h2load(worker: str, server_for: ServerFor) -> None:
    count = 100_000 if worker == "uvloop" else 10_000
    url = server_for(PROBE, worker).url + "/hello"
    out = run("h2load", "-n", str(count), "-c", "8", "-m", "32", url, timeout=100).decode()
    expected = f"{count} total, {count} started, {count} done, {count} succeeded"
    assert f"requests: {expected}, 0 failed, 0 errored, 0 timeout" in out, out
    assert f"status codes: {count} 2xx, 0 3xx, 0 4xx, 0 5xx" in out


@needs("h2load", "nghttp2-client")
@pytest.mark.timeout(120)
def test_connections_come_and_go_and_leave_no_memory_behind(
    worker: str, server_for: ServerFor
) -> None:
    server = server_for(PROBE, worker)

    def five_hundred() -> None:
        command = ["h2load", "-n", "2000", "-c", "500", "-m", "4", server.url + "/hello"]
        assert b"2000 succeeded" in run(*command)

    for _ in range(4):
        five_hundred()
    before = server.status("VmRSS")
    for _ in range(4):
        five_hundred()
    assert server.status("VmRSS") - before < 16 * MEGABYTE  # 2,000 whole ones would be 50 at least


def httpx_client(**options: Any) -> Any:
    pytest.importorskip("h2", reason="needs httpx[http2]")
    httpx = pytest.importorskip("httpx", reason="needs httpx[http2]")
    return httpx.Client(http2=True, timeout=20, **options)


def assert_httpx(client: Any) -> None:
    data = random.Random(7).randbytes(2 * MEGABYTE)
    for number in range(10):
        response = client.get("/hello", params={"say": number})
        assert (response.http_version, response.text) == ("HTTP/2", str(number))
    assert client.post("/echo", content=data).content == data
    assert client.post("/echo", content=iter([b"one ", b"two"])).content == b"one two"
    assert client.get("/nowhere").status_code == 404
    with client.stream("GET", "/download?chunks=30") as response:
        assert sum(map(len, response.iter_bytes())) == 30 * 65_536


def test_httpx(probe: Server) -> None:
    with httpx_client(http1=False, base_url=probe.url) as client:
        assert_httpx(client)


def test_httpx_over_tls(secure: Server, make_client_context: Callable[..., ssl.SSLContext]) -> None:
    with httpx_client(base_url=secure.url, verify=make_client_context()) as client:
        assert_httpx(client)
