"""Each test runs on each framework that can do what it is about, on each of its workers.

The server of a (framework, worker) is started once and serves all of their tests, which pytest runs
one after the other for that.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from importlib.util import find_spec
from typing import cast

import httpx
import pytest

from tests.e2e.support import Server
from tests.frameworks.clients import HTTP_VERSIONS, browse
from tests.frameworks.matrix import CHOSEN, FRAMEWORKS, Framework

BY_NAME = {framework.name: framework for framework in FRAMEWORKS}


def pytest_configure(config: pytest.Config) -> None:
    for line in (
        "capability(name): what of the matrix the test shows; not run where that is limited",
        "limited(name): run where that is limited instead, to see that it is",
        "only(*names): frameworks of which the test is about something of their own",
    ):
        config.addinivalue_line("markers", line)


def targets(metafunc: pytest.Metafunc) -> list[tuple[str, str]]:
    """The (framework, worker) pairs of a test."""
    find = metafunc.definition.get_closest_marker
    only = find("only")
    chosen = [framework for framework in CHOSEN if only is None or framework.name in only.args]
    if (marker := find("capability")) is not None:
        chosen = [framework for framework in chosen if framework.has(marker.args[0])]
    if (marker := find("limited")) is not None:
        chosen = [framework for framework in chosen if not framework.has(marker.args[0])]
    return [(framework.name, worker) for framework in chosen for worker in framework.workers]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "target" in metafunc.fixturenames:
        metafunc.parametrize(
            "target", targets(metafunc), ids="-".join, indirect=True, scope="session"
        )
    if "http" in metafunc.fixturenames:
        metafunc.parametrize("http", HTTP_VERSIONS)


def pytest_itemcollected(item: pytest.Item) -> None:
    """Tell whoever draws the table which cell the test is for."""
    marker = item.get_closest_marker("capability")
    if marker is not None and isinstance(item, pytest.Function):
        framework, worker = cast("tuple[str, str]", item.callspec.params["target"])
        http = item.callspec.params.get("http", "")
        item.user_properties.append(("cell", [framework, worker, http, marker.args[0]]))


@pytest.fixture(scope="session")
def target(request: pytest.FixtureRequest) -> tuple[Framework, str]:
    name, worker = request.param
    framework = BY_NAME[name]
    if framework.versions is None:
        pytest.skip(f"{framework.title} is not installed")
    if worker == "uvloop" and find_spec("uvloop") is None:
        pytest.skip("uvloop is not installed")
    return framework, worker


@pytest.fixture
def framework(target: tuple[Framework, str]) -> Framework:
    return target[0]


@pytest.fixture
def worker(target: tuple[Framework, str]) -> str:
    return target[1]


@pytest.fixture(scope="session")
def shared_server(target: tuple[Framework, str]) -> Iterator[Server]:
    framework, worker = target
    with Server(framework.app, worker, "--no-access-log") as server:
        yield server
        assert server.stop() == 0, str(server.stderr)
        assert not unasked_failures(server), str(server.stderr)


@pytest.fixture
def server(shared_server: Server) -> Iterator[Server]:
    """Whatever a test does to it, it is there afterwards, and nothing is wrong."""
    before = len(unasked_failures(shared_server))
    yield shared_server
    assert shared_server.process.poll() is None, str(shared_server.stderr)
    assert len(unasked_failures(shared_server)) == before, str(shared_server.stderr)


def unasked_failures(server: Server) -> list[str]:
    """What was logged of exceptions but /fail's: no client that left, and no end, may raise any."""
    kinds = r"internal error|exception in the application|without completing its response"
    found = re.findall(rf"(?:{kinds}).*", str(server.stderr))
    return [line for line in found if "GET /fail" not in line]


@pytest.fixture
def client(server: Server, http: str) -> Iterator[httpx.Client]:
    with browse(server, http) as client:
        yield client


@pytest.fixture
def key() -> str:
    return uuid.uuid4().hex
