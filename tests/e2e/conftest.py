"""Servers are started once per test process for each (application, worker) and shared."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.util import find_spec

import pytest
from tests.e2e.support import Server

WORKERS = ["asyncio", "trio"]
if find_spec("uvloop") is not None:
    WORKERS.insert(1, "uvloop")
#: The workers with the engine they take by themselves, and with the portable one.
VARIANTS = [*WORKERS, "asyncio+h11", "trio+h11"]

ServerFor = Callable[[str, str], Server]


@pytest.fixture(scope="session")
def server_for() -> Iterator[ServerFor]:
    """``server_for(application, worker)``: a shared server, ended with the session."""
    servers: dict[tuple[str, str], Server] = {}

    def get(app: str, worker: str) -> Server:
        server = servers.get((app, worker))
        if server is None or server.process.poll() is not None:
            server = servers[app, worker] = Server(app, worker, "--no-access-log")
        return server

    yield get
    for server in servers.values():
        server.signal()
    for (app, worker), server in servers.items():
        with server:
            code = server.wait()
            assert code == 0, f"{app} on {worker} ended with {code}:\n{server.stderr}"
            assert "internal error" not in str(server.stderr)


@pytest.fixture(params=WORKERS)
def worker(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=VARIANTS)
def variant(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def probe(worker: str, server_for: ServerFor) -> Server:
    """The application of apps/probe.py on every worker."""
    return server_for("tests.e2e.apps.probe:app", worker)


@pytest.fixture
def any_probe(variant: str, server_for: ServerFor) -> Server:
    """The same on every worker and engine."""
    return server_for("tests.e2e.apps.probe:app", variant)


@pytest.fixture
def showcase(variant: str, server_for: ServerFor) -> Server:
    return server_for("examples.showcase:app", variant)
