"""One server for each worker: in cleartext by IPv4, IPv6 and a Unix socket, and by TLS."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.peers import APP, HTTP1, HTTP2, Peer, Served
from tests.conftest import Certificate, MakeClientContext
from tests.e2e.conftest import WORKERS
from tests.e2e.websocket_client import new_key

CONFIG = """
[log]
access = false
[[listen]]
bind = ["127.0.0.1:0", "[::1]:0", "unix:{folder}/socket"]
[[listen]]
bind = ["127.0.0.1:0"]
tls = true
[tls]
certificate = "{made.chain}"
key = "{made.key}"
client_auth = {{ mode = "optional", ca = "{authority}" }}
"""


#: A server whose settings are not the defaults.
TAILORED = """
root_path = "/mounted"
server_header = false
[proxy]
trust = ["127.0.0.1"]
[log]
access = true
[timeouts]
request_body = "500ms"
[websocket]
max_message_size = "1KiB"
"""

ServerFor = Callable[[str], Served]


def serve(worker: str, app: str = APP, *options: str, **more: Any) -> Served:
    """A server of a test's own."""
    quiet = [] if "config" in more else ["--no-access-log"]
    return Served(app, worker, *quiet, *options, **more)


def shared(make: ServerFor) -> Iterator[ServerFor]:
    """One server for each worker, ended with the session."""
    servers: dict[str, Served] = {}

    def get(worker: str) -> Served:
        if worker not in servers:
            servers[worker] = make(worker)
        return servers[worker]

    yield get
    for worker, server in servers.items():
        with server:
            assert server.stop() == 0, f"{worker}:\n{server.stderr}"
            assert "internal error" not in str(server.stderr), f"{worker}:\n{server.stderr}"


@pytest.fixture(scope="session")
def server_for(
    certificate: Certificate,
    authority_file: Path,
    make_client_context: MakeClientContext,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[ServerFor]:
    contexts = {HTTP1: make_client_context("http/1.1"), HTTP2: make_client_context("h2")}

    def make(worker: str) -> Served:
        folder = tmp_path_factory.mktemp("served")
        config = CONFIG.format(folder=folder, made=certificate, authority=authority_file)
        server = serve(worker, config=config, bind=None, folder=folder)
        server.contexts = contexts
        return server

    yield from shared(make)


@pytest.fixture(scope="session")
def tailored_for(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerFor]:
    def make(worker: str) -> Served:
        folder = tmp_path_factory.mktemp("tailored")
        return serve(worker, config=TAILORED, folder=folder)

    yield from shared(make)


@pytest.fixture(params=WORKERS)
def worker(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=[HTTP1, HTTP2], ids=["http1", "http2"])
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def server(worker: str, server_for: ServerFor) -> Iterator[Served]:
    """Shared, and there afterwards whatever a test has done to it."""
    yield from watched(server_for(worker))


@pytest.fixture
def tailored(worker: str, tailored_for: ServerFor) -> Iterator[Served]:
    """The same with settings of its own."""
    yield from watched(tailored_for(worker))


def watched(server: Served) -> Iterator[Served]:
    yield server
    assert server.process.poll() is None, str(server.stderr)
    assert "internal error" not in str(server.stderr)


@pytest.fixture
def peer(server: Served, version: str) -> Iterator[Peer]:
    """A connection in cleartext."""
    with server.peer(version) as peer:
        yield peer


@pytest.fixture
def key() -> str:
    return new_key()
