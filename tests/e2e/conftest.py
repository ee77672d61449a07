"""Servers are started once per test process for each (application, worker) and shared."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec

import pytest

from tests.conftest import Certificate
from tests.e2e.support import Server
from tests.engines.h2_peer import HTTP2_ENGINES

WORKERS = ["asyncio", "trio"]
if find_spec("uvloop") is not None:
    WORKERS.insert(1, "uvloop")
#: The workers with the engine they take by themselves, and with the portable one.
VARIANTS = [*WORKERS, "asyncio+h11", "trio+h11", "trio+tasks"]

#: The workers with the HTTP/2 engine they take by themselves, and with the portable one.
HTTP2_VARIANTS = [*WORKERS, *(["asyncio+h2", "trio+h2"] if len(HTTP2_ENGINES) > 1 else [])]

ServerFor = Callable[[str, str], Server]


@pytest.fixture(scope="session")
def server_for() -> Iterator[ServerFor]:
    """``server_for(application, worker)``: a shared server, ended with the session."""
    servers: dict[tuple[str, str], Server] = {}

    def get(app: str, worker: str) -> Server:
        server = servers.get((app, worker))
        if server is None:
            server = servers[app, worker] = Server(app, worker, "--no-access-log")
        if server.process.poll() is not None:
            server.wait()
            del servers[app, worker]  # others may go on
            raise AssertionError(f"an earlier test has ended {app} on {worker}:\n{server.stderr}")
        return server

    yield get
    for server in servers.values():
        server.signal()
    for (app, worker), server in servers.items():
        with server:
            code = server.wait()
            assert code == 0, f"{app} on {worker} ended with {code}:\n{server.stderr}"
            assert "internal error" not in str(server.stderr)


@contextmanager
def servers_with_tls(app: str, certificate: Certificate) -> Iterator[Callable[[str], Server]]:
    """Gives a server of ``app`` behind TLS for a worker, shared until the end."""
    servers: dict[str, Server] = {}
    options = ["--tls-certificate", str(certificate.chain), "--tls-key", str(certificate.key)]

    def get(worker: str) -> Server:
        if worker not in servers:
            servers[worker] = Server(app, worker, "--no-access-log", *options)
        return servers[worker]

    yield get
    for server in servers.values():
        with server:
            assert server.stop() == 0
            assert "internal error" not in str(server.stderr)


@pytest.fixture(params=WORKERS)
def worker(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=VARIANTS)
def variant(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def probe(worker: str, server_for: ServerFor) -> Iterator[Server]:
    """The application of apps/probe.py on every worker."""
    yield from _shared(server_for("tests.e2e.apps.probe:app", worker))


@pytest.fixture
def any_probe(variant: str, server_for: ServerFor) -> Iterator[Server]:
    """The same on every worker and engine, and on trio where there is no epoll."""
    if variant == "trio+tasks":
        yield from _shared(server_for("tests.e2e.apps.portable:app", "trio"))
    else:
        yield from _shared(server_for("tests.e2e.apps.probe:app", variant))


@pytest.fixture
def showcase(worker: str, server_for: ServerFor) -> Iterator[Server]:
    yield from _shared(server_for("examples.showcase:app", worker))


def _shared(server: Server) -> Iterator[Server]:
    """Whatever a test does to a shared server, the server is there afterwards."""
    yield server
    assert server.process.poll() is None, str(server.stderr)
    assert "internal error" not in str(server.stderr)
