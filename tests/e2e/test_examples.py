"""The programs in examples/, each with a client of those that people use."""

from __future__ import annotations

import base64
import hashlib
import re
import shutil
import ssl
import subprocess
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.e2e.conftest import ServerFor
from tests.e2e.support import ROOT, Server, wait_until

EXAMPLES = ROOT / "examples"


def needs(*tools: str) -> pytest.MarkDecorator:
    missing = [tool for tool in tools if shutil.which(tool) is None]
    return pytest.mark.skipif(bool(missing), reason=f"needs {', '.join(missing)}")


def curl(*words: str) -> str:
    """Its output, with what ``-v`` shows of the heads."""
    done = subprocess.run(
        ["curl", "-sS", "--max-time", "20", *words], capture_output=True, text=True, check=True
    )
    return done.stderr + done.stdout


@needs("curl")
@pytest.mark.parametrize("version", ["--http1.1", "--http2-prior-knowledge"])
def test_early_hints(server_for: ServerFor, version: str) -> None:
    server = server_for("examples.early_hints:app", "asyncio")
    shown = re.sub(r" ?\r", "", curl("-v", version, server.url + "/"))
    _, hint, page = re.split(r"< HTTP/[12.]+ (?=103|200)", shown)
    assert hint.startswith("103")
    assert "\n< link: </style.css>; rel=preload; as=style\n" in hint
    assert page.startswith("200")
    assert "before this page was ready" in page
    assert "103" not in curl("-v", "--http1.0", server.url + "/")
    assert "sans-serif" in curl(server.url + "/style.css")


@needs("curl")
@pytest.mark.parametrize("version", ["--http1.1", "--http2-prior-knowledge"])
def test_trailers(server_for: ServerFor, version: str) -> None:
    server = server_for("examples.trailers:app", "asyncio")
    body = b"".join(b"line %d\n" % number for number in range(1, 11))
    digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
    trailer = f"\ncontent-digest: sha-256=:{digest}:"
    assert trailer in curl("-i", version, "-H", "te: trailers", server.url + "/")
    for words in (["-i", version], ["-i", "--http1.0", "-H", "te: trailers"]):
        shown = curl(*words, server.url + "/")
        assert "line 10" in shown
        assert trailer not in shown


def test_denial(server_for: ServerFor) -> None:
    url = server_for("examples.denial:app", "asyncio").url.replace("http", "ws")
    with connect(url + "/?token=letmein") as socket:
        socket.send("Hello")
        assert socket.recv() == "Hello"
        socket.send(b"\0")
        assert socket.recv() == b"\0"
    with pytest.raises(InvalidStatus) as caught, connect(url):
        pytest.fail("it has been accepted")
    response = caught.value.response
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == "Token"
    assert response.body == b'{"error": "a token is needed", "see": "/login"}'


@pytest.mark.parametrize("http2", [False, True])
def test_pathsend(server_for: ServerFor, http2: bool) -> None:
    url = server_for("examples.pathsend:app", "asyncio").url
    content = (EXAMPLES / "pathsend.py").read_bytes()
    with httpx.Client(http1=not http2, http2=http2, base_url=url, trust_env=False) as client:
        response = client.get("/pathsend.py")
        assert (response.status_code, response.content) == (200, content)
        assert response.http_version == ("HTTP/2" if http2 else "HTTP/1.1")
        assert client.head("/pathsend.py").headers["content-length"] == str(len(content))
        some = client.get("/pathsend.py", headers={"range": "bytes=10-99"})
        assert (some.status_code, some.content) == (206, content[10:100])
        assert some.headers["content-range"] == f"bytes 10-99/{len(content)}"
        assert client.get("/pathsend.py", headers={"range": "bytes=99999-"}).status_code == 200
        late = client.get("/pathsend.py", headers={"range": "bytes=99999-100000"})
        assert late.status_code == 416
        for other in ("/missing.py", "/", "/../README.md", "/%2e%2e/setup.py", "/deploy"):
            assert client.get(other).status_code == 404


@needs("openssl", "sh")
def test_mtls(tmp_path: Path) -> None:
    """With the certificates that its commands make."""
    documentation = (EXAMPLES / "mtls.py").read_text().split('"""')[1].replace("\\\\\n", "\\\n")
    commands = documentation.partition("toml:")[2].partition("Then,")[0]
    done = subprocess.run(
        ["sh", "-e"], input=commands, text=True, cwd=tmp_path, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    config = (EXAMPLES / "mtls.toml").read_text().replace(":8443", ":0")
    certificates = tmp_path / "certificates"
    context = ssl.create_default_context(cafile=str(certificates / "ca.pem"))
    with Server(
        "examples.mtls:app", "asyncio", config=config, bind=None, folder=tmp_path
    ) as server:
        url = f"https://localhost:{server.port}/"
        with (
            httpx.Client(verify=context, trust_env=False) as client,
            pytest.raises((httpx.ReadError, httpx.RemoteProtocolError, httpx.ConnectError)),
        ):
            client.get(url)
        context.load_cert_chain(certificates / "anna.pem", certificates / "anna.key")
        with httpx.Client(verify=context, trust_env=False) as client:
            assert client.get(url).text == "Hello, CN=Anna,O=Shop, by TLS 0x0304\n"
        assert server.stop() == 0


def test_nursery(server_for: ServerFor) -> None:
    server = server_for("examples.nursery:app", "trio")
    with httpx.Client(base_url=server.url, trust_env=False) as client:
        assert client.get("/").text == "after 0.1 s\nafter 0.2 s\nafter 0.3 s\n"

        def clocks() -> int:
            text = client.get("/status").text
            assert text.startswith("up for ")
            return int(text.rpartition(" ")[2])

        assert clocks() == 0
        with client.stream("GET", "/clock") as response:
            lines = response.iter_lines()
            assert re.fullmatch(r"\d\d:\d\d:\d\d", next(lines))
            assert next(lines)
            assert clocks() == 1
        wait_until(lambda: clocks() == 0, "nothing is left of the clock")


def test_every_example_has_a_test() -> None:
    """Here, or where its subject is tested."""
    programs = {path.stem for path in EXAMPLES.glob("*.py")} - {"__init__"}
    modules = [path.read_text() for path in (ROOT / "tests").rglob("*.py")]
    untested = [
        name for name in programs if not any(f"examples.{name}:app" in text for text in modules)
    ]
    assert untested == []
