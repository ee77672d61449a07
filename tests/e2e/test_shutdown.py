"""Stopping: bounded in time, honest to clients, truthful in its exit code."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.http2_client import connect
from tests.e2e.support import PATIENCE, Client, Server, wait_until
from tests.engines import h2_frames as wire

PROBE = "tests.e2e.apps.probe:app"
DRAIN = 1.5
GRACE = 0.5
CONFIG = f"""
[timeouts]
drain = "{DRAIN * 1000:.0f}ms"
disconnect_grace = "{GRACE * 1000:.0f}ms"
shutdown = "1s"
linger = "500ms"
"""

ServerOf = Callable[[str], Server]


@pytest.fixture
def start(worker: str, tmp_path: Path) -> Iterator[ServerOf]:
    servers: list[Server] = []

    def get(app: str) -> Server:
        servers.append(Server(app, worker, config=CONFIG, folder=tmp_path))
        return servers[-1]

    yield get
    for server in servers:
        with server:
            pass
        assert "Traceback" not in str(server.stderr)


@pytest.fixture
def server(start: ServerOf) -> Server:
    return start(PROBE)


def get(target: str) -> bytes:
    return f"GET {target} HTTP/1.1\r\nhost: test\r\n\r\n".encode()


def in_flight(server: Server, target: str, **options: int) -> Client:
    """A client whose request the application has begun to answer."""
    client = server.connect(**options)
    client.send(get(target))
    key = target.partition("key=")[2].partition("&")[0]
    wait_until(lambda: server.report(key), "the application is at work")
    return client


#: Seconds that a busy machine may take for what costs nothing.
SLACK = 2.0


def assert_ends(server: Server, within: float) -> tuple[int, float]:
    """The exit code, and the seconds since the last signal."""
    within += SLACK
    code = server.wait(within + PATIENCE)
    seconds = time.monotonic() - server.signalled_at
    assert seconds < within, str(server.stderr)
    return code, seconds


def assert_lifespan_ended(server: Server) -> None:
    assert server.stderr.lines[-1] == "lifespan ends"


def wait_stopping(server: Server) -> None:
    wait_until(lambda: "finishing what is in flight" in str(server.stderr), "the signal is seen")


def test_nothing_to_do(server: Server) -> None:
    server.signal()
    assert assert_ends(server, 1)[0] == 0
    assert_lifespan_ended(server)


def test_idle_connections_are_closed(server: Server) -> None:
    with server.connect() as fresh, server.connect() as used:
        assert used.request("GET", "/hello").status == 200
        wait_until(lambda: server.report("x") == {}, "both are accepted")
        server.signal(signal.SIGINT)
        assert assert_ends(server, 1)[0] == 0
        assert fresh.read_rest() == used.read_rest() == b""
    assert_lifespan_ended(server)


def test_request_in_flight_is_finished(server: Server) -> None:
    with in_flight(server, "/pause?seconds=0.8&key=k") as client:
        server.signal()
        wait_stopping(server)
        wait_until(lambda: refused(server), "the port is closed")
        response = client.response()
        assert response.body == b"slept"
        assert response.headers["connection"] == "close"
        assert client.at_end()
        client.close()
        assert assert_ends(server, 3)[0] == 0
    assert_lifespan_ended(server)


def refused(server: Server) -> bool:
    try:
        server.connect().close()
    except ConnectionRefusedError:
        return True
    return False


def test_pipelined_requests_are_left_to_another_connection(server: Server) -> None:
    with server.connect() as client:
        client.send(get("/pause?seconds=0.3&key=k") * 3)
        server.wait_report("k", "waiting")
        server.signal()
        response = client.response()
        assert response.body == b"slept"
        assert response.headers["connection"] == "close"  # the client knows: no other was begun
        assert client.at_end()
        client.close()
        assert assert_ends(server, 1)[0] == 0


def test_upload_in_flight_is_finished(server: Server) -> None:
    with server.connect() as client:
        client.send(b"POST /sip?key=k HTTP/1.1\r\nhost: test\r\ncontent-length: 10\r\n\r\nfirst")
        server.wait_report("k", "sipped")
        server.get("/open?key=k")
        server.signal()
        wait_stopping(server)
        client.send(b"later")
        response = client.response()
        assert response.body == b"10"
        assert response.headers["connection"] == "close"
        client.close()
        assert assert_ends(server, 1)[0] == 0


def test_event_stream_is_told(server: Server) -> None:
    with in_flight(server, "/polite-events?key=k") as client:
        server.signal()
        response = client.response()
        assert not response.complete  # the stream was left, not ended
        client.close()
        code, seconds = assert_ends(server, GRACE + 1)
        assert code == 0
        assert seconds > GRACE - 0.2
    assert server.stderr.lines[-2:] == ["told http.disconnect", "lifespan ends"]


def test_event_stream_that_is_not_listening_is_cut_off(server: Server) -> None:
    with server.connect() as client:
        client.send(get("/events?key=k"))
        client.head()
        server.signal()
        assert assert_ends(server, DRAIN + 1)[0] == 1
        with pytest.raises((AssertionError, ConnectionResetError)):
            while client.chunk():
                pass
    assert "cancelling 1 unfinished request(s)" in str(server.stderr)
    assert_lifespan_ended(server)


@pytest.mark.parametrize("target", ["/flood?key=k", "/big?size=30000000&key=k"])
def test_client_that_never_reads(server: Server, target: str) -> None:
    with in_flight(server, target, receive_buffer=65_536):
        server.signal()
        code, seconds = assert_ends(server, DRAIN + 1)
        assert code == 1
        assert seconds > DRAIN - 0.3
    assert "cancelling 1 unfinished request(s)" in str(server.stderr)
    assert_lifespan_ended(server)


@pytest.mark.parametrize("size", [1000, 300_000])
def test_client_that_grants_no_credit(server: Server, size: int) -> None:
    """What is held back by a window has not been sent, however little, and whoever has returned."""
    with connect(server, {wire.INITIAL_WINDOW_SIZE: 0}, grants=False) as client:
        client.get(f"/big?size={size}&key=k")
        server.wait_report("k", "ended")
        server.signal()
        code, seconds = assert_ends(server, DRAIN + 1)
        assert code == 1
        assert seconds > DRAIN - 0.3
    said = "cancelling 1 unfinished request(s)" if size > 65_536 else "cutting off 1 response(s)"
    assert said in str(server.stderr)
    assert_lifespan_ended(server)


def test_client_that_does_not_close(server: Server) -> None:
    """It has got all it asked for: nothing is cut off."""
    with in_flight(server, "/pause?seconds=0.3&key=k") as client:
        server.signal()
        assert client.response().body == b"slept"
        assert assert_ends(server, DRAIN + 1)[0] == 0


def test_half_sent_head(server: Server) -> None:
    with server.connect() as client:
        client.send(b"GET /hello HT")
        wait_until(lambda: server.report("x") == {}, "it has been read")
        server.signal()
        assert assert_ends(server, DRAIN + 1)[0] == 0


def test_application_that_ignores_cancellation(server: Server) -> None:
    with in_flight(server, "/stubborn?key=k"):
        server.signal()
        code, seconds = assert_ends(server, DRAIN + 1)
        assert code == 1
        assert seconds > DRAIN - 0.3
    assert "ignore their cancellation" in str(server.stderr)


def test_thread_that_cannot_be_cancelled(
    server: Server, worker: str, request: pytest.FixtureRequest
) -> None:
    with in_flight(server, "/thread?key=k"):
        server.signal()
        assert assert_ends(server, DRAIN + 1)[0] == 1


def test_lifespan_that_hangs(start: ServerOf) -> None:
    server = start("tests.e2e.apps.probe:hanging")
    server.signal()
    assert assert_ends(server, 1 + 1)[0] == 1
    assert "shutdown took longer than 1 s" in str(server.stderr)


def test_lifespan_that_ignores_cancellation(start: ServerOf) -> None:
    server = start("tests.e2e.apps.probe:stubborn_lifespan")
    server.signal()
    assert assert_ends(server, 1 + 1.2)[0] == 1
    assert "lifespan ignores its cancellation" in str(server.stderr)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_second_signal_forces(server: Server, number: signal.Signals) -> None:
    with in_flight(server, "/pause?seconds=30&key=k") as client:
        server.signal()
        wait_stopping(server)
        server.signal(number)
        assert assert_ends(server, 1)[0] == 128 + number
        assert client.at_end()
    assert_lifespan_ended(server)


def test_second_signal_forces_a_stubborn_application(server: Server) -> None:
    with in_flight(server, "/stubborn?key=k"):
        server.signal()
        wait_stopping(server)
        server.signal()
        assert assert_ends(server, 1.2)[0] == 128 + signal.SIGTERM


def test_second_signal_forces_a_hanging_lifespan(worker: str, tmp_path: Path) -> None:
    config = '[timeouts]\nshutdown = "30s"'
    with Server("tests.e2e.apps.probe:hanging", worker, config=config, folder=tmp_path) as server:
        server.signal()
        wait_stopping(server)
        server.signal()
        assert assert_ends(server, 1.5)[0] == 128 + signal.SIGTERM


def test_work_after_the_response_is_waited_for(server: Server) -> None:
    with server.connect() as client:
        assert client.request("GET", "/after?key=k").body == b"answered"
        server.signal()
        code, _ = assert_ends(server, DRAIN + 1)
        assert code == 1  # its gate was never opened
    assert "cancelling 1 unfinished request(s)" in str(server.stderr)
    assert_lifespan_ended(server)
