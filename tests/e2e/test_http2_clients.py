"""HTTP/2 with the clients that people use, and what is pushed to them, on every worker."""

from __future__ import annotations

import hashlib
import json
import random
import re
import shutil
import ssl
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.conftest import Certificate
from tests.e2e.conftest import HTTP2_VARIANTS, WORKERS, ServerFor, servers_with_tls
from tests.e2e.http2_client import connect
from tests.e2e.support import Server
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


@pytest.fixture(params=HTTP2_VARIANTS)
def worker(request: pytest.FixtureRequest) -> str:
    """Each worker, and both engines."""
    return str(request.param)


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


# the loop and the engine do not know each other: the portable engine, slow, is here on one of them
@needs("h2load", "nghttp2-client")
@pytest.mark.timeout(120)
@pytest.mark.parametrize("worker", HTTP2_VARIANTS[: len(WORKERS) + 1])
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
