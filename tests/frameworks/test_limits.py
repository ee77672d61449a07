"""A limit of a framework that matrix.toml names is there; when it goes, the table is to change."""

from __future__ import annotations

import pytest

from tests.e2e.support import Server
from tests.frameworks.clients import refusal
from tests.frameworks.matrix import CHOSEN, WORKERS, Framework
from tests.frameworks.test_contract import LINES

CASES = [
    pytest.param(framework, worker, id=f"{framework.name}-{worker}")
    for framework in CHOSEN
    for worker in WORKERS
    if worker in framework.limits
]


@pytest.mark.parametrize(("limited", "on"), CASES)
def test_worker(limited: Framework, on: str) -> None:
    """It does not start, or not even a small stream is whole."""
    if limited.versions is None:
        pytest.skip(f"{limited.title} is not installed")
    try:
        with Server(limited.app, on, "--no-access-log") as server:
            status, stream = server.get("/json").status, server.get("/stream")
    except AssertionError as error:
        assert "did not start" in str(error)  # noqa: PT017 - either is as good
    else:
        assert (status, stream.body) != (200, LINES.encode())


@pytest.mark.limited("lifespan")
def test_lifespan(framework: Framework, worker: str) -> None:
    if framework.name == "asgineer":
        pytest.skip("it has a lifespan, of which its applications learn nothing")
    with (
        pytest.raises(AssertionError, match="did not start"),
        Server(framework.app, worker, "--lifespan", "on"),
    ):
        pass


@pytest.mark.limited("denial")
def test_denial(server: Server, framework: Framework, http: str) -> None:
    if not framework.has("websocket") or framework.name == "sanic":
        pytest.skip("there is nothing to refuse with")
    assert refusal(server, http, "/deny")[0] == 403
