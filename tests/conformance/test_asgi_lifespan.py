"""Lifespan Protocol 2.0. Each application is a server's own; one that behaves serves many tests."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from tests.conformance.conftest import serve
from tests.conformance.peers import HTTP1, HTTP2, dial, hung_up
from tests.e2e.support import ROOT, wait_until
from tests.engines import ws_frames as ws

APPS = "tests.conformance.lifespan_apps"
STARTUP = "lifespan: receives {'type': 'lifespan.startup'}"
SHUTDOWN = "lifespan: receives {'type': 'lifespan.shutdown'}"

#: How an application that cannot be served ends its server.
APP_ERROR = 3


@dataclass
class Life:
    """A server's whole life, and what was seen of it."""

    lines: list[str] = field(default_factory=list)
    code: int = -1
    answers: list[bytes] = field(default_factory=list)
    slow: bytes = b""

    def place(self, text: str) -> int:
        """The number of the one line with ``text``."""
        (place,) = [number for number, line in enumerate(self.lines) if text in line]
        return place


def record(worker: str) -> Life:
    """An application with a lifespan as it should be: requests of each kind, one that is under way
    when the server is told to stop, and the end.
    """
    life = Life()
    with serve(worker, f"{APPS}:good") as server:
        for version in (HTTP1, HTTP2):
            for _ in range(2):
                with server.peer(version) as peer:
                    life.answers.append(peer.ask().body)
        socket = dial(server, HTTP1, [])
        with hung_up(socket), server.peer(HTTP1) as peer:
            slow = peer.start("/slow")
            with server.peer(HTTP2) as other:
                other.ask()  # the slow one is under way
            server.signal()
            assert socket.closed()[0] == 1012
            socket.send(ws.close(1012))
            socket.assert_ended()
            with hung_up(socket):
                pass
            life.slow = slow.answer().body
        life.code = server.wait()
        life.lines = server.stderr.lines
    return life


@pytest.fixture(scope="module")
def life_of() -> Callable[[str], Life]:
    lives: dict[str, Life] = {}

    def get(worker: str) -> Life:
        if worker not in lives:
            lives[worker] = record(worker)
        return lives[worker]

    return get


@pytest.fixture
def life(worker: str, life_of: Callable[[str], Life]) -> Life:
    return life_of(worker)


# ---- as it should be -----------------------------------------------------------------------------


def test_there_is_one_lifespan_in_the_loop_of_the_requests(life: Life) -> None:
    """The text: "Lifespans should be executed once per event loop"; a request that finds itself in another
    loop fails here.
    """
    assert life.place("lifespan: begins") < life.place("listening on")
    assert life.code == 0
    assert not [line for line in life.lines if "exception in the application" in line]


def test_each_worker_process_has_a_lifespan_of_its_own(worker: str) -> None:
    """The text: "In a multi-process environment there will be lifespan events in each process"."""
    with serve(worker, f"{APPS}:good", "--workers", "2") as server:
        wait_until(lambda: str(server.stderr).count("is ready") == 2, "both are ready")
        assert len(set(re.findall(r"lifespan: begins (\d+)", str(server.stderr)))) == 2
        assert server.stop() == 0
        assert str(server.stderr).count(SHUTDOWN) == 2


def test_startup_completes_before_anything_is_served(life: Life) -> None:
    """Section "Startup Complete": the server "must wait for this message before it starts processing
    connections".
    """
    places = [STARTUP, "lifespan: completes", "listening on", SHUTDOWN, "lifespan: ends"]
    assert [life.place(text) for text in places] == sorted(map(life.place, places))


def test_the_scope_of_a_lifespan(life: Life) -> None:
    """Section "Scope": ``type``, ``asgi`` and a ``state``."""
    line = life.lines[life.place("lifespan: begins")]
    assert line.endswith(" dict ['asgi', 'state', 'type']")


def test_shutdown_comes_when_all_connections_are_closed(life: Life) -> None:
    """Section "Shutdown": sent "when the server has stopped accepting connections and closed all active
    connections"; and the end waits for its completion.
    """
    for before in ("slow request answers", "lifespan: disconnect 1012"):
        assert life.place(before) < life.place(SHUTDOWN) < life.place("lifespan: ends")
    assert ast.literal_eval(life.slow.decode())
    assert life.code == 0


def test_the_state_is_shared_by_shallow_copies(life: Life) -> None:
    """Section "Lifespan State": the same objects, but keys of one's own."""
    assert [ast.literal_eval(answer.decode()) for answer in life.answers] == [
        ["items", "loop", "own", "tasks"]
    ] * 4
    line = life.lines[life.place("lifespan: items")]
    kinds = ["http"] * 4 + ["websocket", "http", "http"]
    items, _, keys = line.partition("items ")[2].partition("] [")
    assert sorted(ast.literal_eval(items + "]")) == sorted(kinds)
    assert "own" not in keys


def test_the_lifespan_outlives_every_request(life: Life) -> None:
    """A nursery that is open in it takes tasks of requests until the last has ended."""
    assert life.place("lifespan: work done") < life.place("slow request answers")
    assert life.place("slow request answers") < life.place(SHUTDOWN)


def test_messages_out_of_order_raise(life: Life) -> None:
    """ASGI, "Error Handling": one that is unknown or not due."""
    refusals = [line for line in life.lines if "lifespan: refused" in line]
    assert [line.split()[-2] for line in refusals] == [
        "lifespan.shutdown.complete",
        "nonsense",
        "None",
        "lifespan.startup.complete",
        "lifespan.startup.failed",
        "lifespan.shutdown.complete",
    ]
    assert {line.split()[-1] for line in refusals} == {"False"}  # no client has been lost
    assert not [line for line in life.lines if "lifespan: taken" in line]


# ---- applications without --------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["raises", "raises_at_startup", "returns"])
def test_an_application_without_a_lifespan_is_served(worker: str, name: str) -> None:
    """Section "Scope": "the server must continue but not send any lifespan events"; the log says so, and
    there is no ``state``. One that returns is no different.
    """
    with serve(worker, f"{APPS}:{name}") as server:
        for version in (HTTP1, HTTP2):
            with server.peer(version) as peer:
                assert peer.ask().literal == "none"
        assert server.stop() == 0
        text = str(server.stderr)
        assert "INFO the application does not support lifespan" in text
        assert SHUTDOWN not in text
        assert "Traceback" not in text


# ---- how it may fail -------------------------------------------------------------------------------


def end_of(worker: str, name: str, *options: str, timeout: float = 20) -> tuple[int, str]:
    """Exit code and log of a server that does not come to serve."""
    command = [sys.executable, "-m", "hyperserver", f"{APPS}:{name}", "--worker", worker]
    done = subprocess.run(
        [*command, "-b", "127.0.0.1:0", *options],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=timeout,
        check=False,
    )
    assert "listening on" not in done.stderr
    return done.returncode, done.stderr


def test_a_failed_startup_is_told_and_ends_the_server(worker: str) -> None:
    """Section "Startup Failed": "log/print the message provided and then exit"."""
    code, log = end_of(worker, "fails")
    assert code == APP_ERROR
    assert "the application failed to start: the database is down" in log
    assert "Traceback" not in log


def test_a_worker_that_failed_to_start_is_not_started_again(worker: str) -> None:
    """The first of several: what fails in one, fails in the next."""
    code, log = end_of(worker, "fails", "--workers", "2")
    assert code == APP_ERROR
    assert log.count("the application failed to start: the database is down") <= 2


def test_a_failed_shutdown_is_told_and_not_a_clean_end(worker: str) -> None:
    """Section "Shutdown Failed": "log/print the message provided and then terminate"."""
    with serve(worker, f"{APPS}:fails_to_stop") as server:
        assert server.stop() == 1
        assert "the application failed to shut down: cannot save" in str(server.stderr)
        assert "Traceback" not in str(server.stderr)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("raises", "AssertionError('only http')"),
        ("raises_at_startup", "RuntimeError('in startup')"),
        ("returns", "it returned at once"),
    ],
)
def test_where_a_lifespan_is_demanded_its_absence_is_fatal(
    worker: str, name: str, reason: str
) -> None:
    """``lifespan = "on"``."""
    code, log = end_of(worker, name, "--lifespan", "on")
    assert code == APP_ERROR
    assert f"the application does not support lifespan: {reason}" in log


def test_a_lifespan_can_be_left_out(worker: str) -> None:
    """``lifespan = "off"``: the application is not called with it, and requests have no state."""
    with serve(worker, f"{APPS}:fails", "--lifespan", "off") as server:
        with server.peer(HTTP2) as peer:
            assert peer.ask().literal == "none"
        assert server.stop() == 0


def test_a_startup_has_its_time(worker: str) -> None:
    """``timeouts.startup``."""
    code, log = end_of(worker, "never_starts", "--timeouts-startup", "200ms")
    assert code == APP_ERROR
    assert "the application's startup took longer than 0.2 s" in log


def test_a_shutdown_has_its_time(worker: str) -> None:
    """``timeouts.shutdown``."""
    with serve(worker, f"{APPS}:never_stops", "--timeouts-shutdown", "200ms") as server:
        assert server.stop() == 1
        assert "the application's shutdown took longer than 0.2 s" in str(server.stderr)


@pytest.mark.parametrize(
    ("name", "what"), [("dies", "RuntimeError: after startup"), ("leaks", "Cancelled")]
)
def test_a_lifespan_that_dies_while_serving_is_logged_and_serving_goes_on(
    worker: str, name: str, what: str
) -> None:
    """There is nobody left for a shutdown; what it had put into ``state`` remains. Also where it
    dies of a cancellation of its own, which the server's tasks must not take for theirs.
    """
    with serve(worker, f"{APPS}:{name}") as server:
        wait_until(lambda: what in str(server.stderr), "it is logged")
        for version in (HTTP1, HTTP2):
            with server.peer(version) as peer:
                assert peer.ask().literal == {"kept": 1}
        assert server.stop() == 0
        assert "exception in the application's lifespan" in str(server.stderr)
