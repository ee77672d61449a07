"""New certificate files under a running server: who is connected notices nothing."""

from __future__ import annotations

import os
import shutil
import signal
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Certificate, MakeClientContext
from tests.e2e.http2_client import HTTP2Client
from tests.e2e.support import Server, TLSClient, wait_until

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs signals")

PROBE = "tests.e2e.apps.probe:app"
NAMES = ("localhost", "127.0.0.1")
MISMATCH = "is not the key of the certificate"


class Files:
    """What the server is given, under names that stay."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.chain, self.key = folder / "fullchain.pem", folder / "privkey.pem"

    def put(self, made: Certificate, key: Path | None = None) -> None:
        """As certbot does it: first the one file, then the other, both whole."""
        for source, target in ((key or made.key, self.key), (made.chain, self.chain)):
            shutil.copy(source, self.folder / "new")
            (self.folder / "new").rename(target)


class Renewed(Server):
    """One that its own methods reach by TLS, and that shows its certificate."""

    context: ssl.SSLContext

    def connect(self, **options: Any) -> TLSClient:
        return TLSClient(("127.0.0.1", self.port), options.get("context", self.context))

    def shown(self) -> bytes:
        """The certificate that a new connection gets."""
        with self.connect() as client:
            found = client.tls.getpeercert(binary_form=True)
            assert found is not None
            return found

    def log(self) -> str:
        return str(self.stderr)

    def errors(self) -> list[str]:
        return [line for line in self.log().splitlines() if "ERROR" in line]


def der(made: Certificate) -> bytes:
    pem = made.chain.read_text()
    end = "-----END CERTIFICATE-----\n"
    return ssl.PEM_cert_to_DER_cert(pem[: pem.index(end) + len(end)])


@pytest.fixture
def files(issue: Callable[..., Certificate], tmp_path: Path) -> Files:
    files = Files(tmp_path)
    files.put(issue(*NAMES))
    return files


@contextmanager
def serving(
    files: Files, worker: str, make_client_context: MakeClientContext, reload: str
) -> Iterator[Renewed]:
    config = (
        f'[[listen]]\ntls = true\n[tls]\ncertificate = "{files.chain}"\nkey = "{files.key}"\n'
        f'reload = "{reload}"\n'
    )
    with Renewed(PROBE, worker, "--no-access-log", config=config, folder=files.folder) as server:
        server.context = make_client_context()
        yield server
        assert server.stop() == 0
        assert "Traceback" not in server.log()


def test_a_new_certificate_under_load(
    worker: str,
    files: Files,
    issue: Callable[..., Certificate],
    make_client_context: MakeClientContext,
) -> None:
    """A thousand requests are in flight, over HTTP/1 and HTTP/2; then a broken one comes."""
    with serving(files, worker, make_client_context, "1s") as server, ExitStack() as stack:
        old = server.shown()
        h1 = [stack.enter_context(server.connect()) for _ in range(200)]
        context = make_client_context("h2")
        h2 = [
            stack.enter_context(HTTP2Client(server.connect(context=context).tls, scheme=b"https"))
            for _ in range(8)
        ]
        for client in h1:
            client.send(b"GET /gated?key=load HTTP/1.1\r\nhost: test\r\n\r\n")
        streams = [(c, [c.get("/gated?key=load") for _ in range(100)]) for c in h2]
        server.wait_report("load", "waiting")

        renewed = issue(*NAMES)
        files.put(renewed)
        replaced = time.monotonic()
        wait_until(lambda: server.shown() != old, "a new handshake shows the new certificate")
        assert time.monotonic() - replaced < 10
        assert server.shown() == der(renewed)

        broken = issue(*NAMES)
        files.put(broken, key=renewed.key)
        wait_until(lambda: MISMATCH in server.log(), "it is refused")
        assert server.shown() == der(renewed)
        server.get("/open?key=load")
        for client in h1:
            assert client.response().body == b"through"
            assert client.request("GET", "/hello").body == b"Hello"
        for connection, ids in streams:
            for stream_id in ids:
                assert connection.body(stream_id) == b"through"
            assert connection.fetch("/hello") == b"Hello"
        # where the machine paused between the two files, also one of a pair that was not yet whole
        assert all(MISMATCH in line for line in server.errors())
        assert server.shown() == der(renewed)

        files.put(broken)  # now it is whole
        wait_until(lambda: server.shown() == der(broken), "the next one is taken again")


def test_on_hangup_alone(
    worker: str,
    files: Files,
    issue: Callable[..., Certificate],
    make_client_context: MakeClientContext,
) -> None:
    with serving(files, worker, make_client_context, "0s") as server:
        old = server.shown()
        renewed = issue(*NAMES)
        files.put(renewed)
        with server.connect() as client:
            assert client.request("GET", "/hello").body == b"Hello"
            assert server.shown() == old
            server.signal(signal.SIGHUP)
            wait_until(lambda: server.shown() == der(renewed), "the new certificate")
            assert client.request("GET", "/hello").body == b"Hello"
        files.chain.write_text("nothing")
        server.signal(signal.SIGHUP)
        wait_until(lambda: "holds no certificate in PEM form" in server.log(), "it is refused")
        assert server.shown() == der(renewed)


def test_a_link_that_is_exchanged(
    worker: str,
    issue: Callable[..., Certificate],
    make_client_context: MakeClientContext,
    tmp_path: Path,
) -> None:
    """As Kubernetes does it: the files are links through one link to a folder."""
    made = [issue(*NAMES), issue(*NAMES)]
    for number, one in enumerate(made):
        (tmp_path / str(number)).mkdir()
        shutil.copy2(one.chain, tmp_path / str(number) / "fullchain.pem")
        shutil.copy2(one.key, tmp_path / str(number) / "privkey.pem")
    (tmp_path / "data").symlink_to("0")
    files = Files(tmp_path)
    files.chain.symlink_to("data/fullchain.pem")
    files.key.symlink_to("data/privkey.pem")
    with serving(files, worker, make_client_context, "1s") as server:
        assert server.shown() == der(made[0])
        (tmp_path / "new").symlink_to("1")
        (tmp_path / "new").rename(tmp_path / "data")
        wait_until(lambda: server.shown() == der(made[1]), "the new certificate")
        assert "ERROR" not in server.log()


def test_files_that_go_away_and_come_back(
    files: Files, issue: Callable[..., Certificate], make_client_context: MakeClientContext
) -> None:
    with serving(files, "asyncio", make_client_context, "500ms") as server:
        old = server.shown()
        files.key.unlink()
        wait_until(lambda: "No such file" in server.log(), "the loss is told")
        assert server.shown() == old
        renewed = issue(*NAMES)
        files.put(renewed)
        wait_until(lambda: server.shown() == der(renewed), "the new certificate")
        lost, *others = server.errors()
        assert "No such file" in lost
        assert all(MISMATCH in line for line in others)
