"""One server for each worker: in cleartext by IPv4, IPv6 and a Unix socket, and by TLS."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conformance.peers import APP, HTTP1, HTTP2, Peer, Served
from tests.conftest import Certificate, MakeClientContext
from tests.e2e.conftest import WORKERS
from tests.e2e.websocket_client import new_key

CONFIG = """
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


@pytest.fixture(scope="session")
def server_for(
    certificate: Certificate,
    authority_file: Path,
    make_client_context: MakeClientContext,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[[str], Served]]:
    servers: dict[str, Served] = {}

    def get(worker: str) -> Served:
        if worker not in servers:
            folder = tmp_path_factory.mktemp("served")
            config = CONFIG.format(folder=folder, made=certificate, authority=authority_file)
            server = Served(APP, worker, "--no-access-log", config=config, bind=None, folder=folder)
            server.contexts = {
                HTTP1: make_client_context("http/1.1"),
                HTTP2: make_client_context("h2"),
            }
            servers[worker] = server
        return servers[worker]

    yield get
    for worker, server in servers.items():
        with server:
            assert server.stop() == 0, f"{worker}:\n{server.stderr}"
            assert "internal error" not in str(server.stderr), f"{worker}:\n{server.stderr}"


@pytest.fixture(params=WORKERS)
def worker(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=[HTTP1, HTTP2], ids=["http1", "http2"])
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def server(worker: str, server_for: Callable[[str], Served]) -> Iterator[Served]:
    """Shared, and there afterwards whatever a test has done to it."""
    server = server_for(worker)
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
