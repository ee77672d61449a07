"""ASGI, "Legacy Applications": what takes its arguments in two calls is served like any other.

Who is recognised as what is decided before there is an event loop, so each way of writing one is
served by one worker; all of them have their turn.
"""

from __future__ import annotations

import ast

import pytest

from tests.conformance.conftest import serve
from tests.conformance.peers import HTTP1, HTTP2, dial, hung_up
from tests.e2e.conftest import WORKERS

APPS = "tests.conformance.style_apps"

RECOGNISED = [
    "double",  # a function of one argument
    "Double",  # a class
    "marked_double",  # by `_asgi_double_callable`
    "marked_single",  # by `_asgi_single_callable`
    "instance",  # by its `__call__`
    "partial",  # by what it is one of
    "method",
]
#: What cannot be recognised is said.
SAID = [("opaque", "asgi3"), ("opaque_double", "asgi2"), ("partial", "asgi3")]


def served(worker: str, app: str, *options: str) -> None:
    """It has a lifespan, requests and WebSockets, with the same scopes as any other."""
    with serve(worker, f"{APPS}:{app}", *options) as server:
        state = {"started": "lifespan.startup"}
        for version in (HTTP1, HTTP2):
            with server.peer(version) as peer:
                found = peer.ask(method="POST", content=b"content").literal
                assert found == (state, "3.0", b"content")
            with hung_up(dial(server, version, [])) as socket:
                assert ast.literal_eval(str(socket.message())) == state
        assert server.stop() == 0
        assert "Traceback" not in str(server.stderr)
        assert "cannot tell the interface" not in str(server.stderr)


@pytest.mark.parametrize(
    ("app", "worker"),
    [(app, WORKERS[number % len(WORKERS)]) for number, app in enumerate(RECOGNISED)],
)
def test_an_application_is_recognised_by_how_it_is_called(app: str, worker: str) -> None:
    """By asgiref's rules: marks, classes, and coroutine functions."""
    served(worker, app)


@pytest.mark.parametrize(
    ("app", "interface", "worker"),
    [(*one, WORKERS[number % len(WORKERS)]) for number, one in enumerate(SAID)],
)
def test_an_application_that_cannot_be_recognised_can_be_said(
    app: str, interface: str, worker: str
) -> None:
    """``interface``: for what is compiled, or hides behind a callable of anything."""
    served(worker, app, "--interface", interface)
