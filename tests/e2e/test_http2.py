"""HTTP/2 over real sockets, on every worker."""

from __future__ import annotations

import contextlib
import hashlib
import json
import random
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import HTTP2_VARIANTS
from tests.e2e.http2_client import HTTP2Client, connect
from tests.e2e.support import Server, wait_until
from tests.engines import h2_frames as wire

PROBE = "tests.e2e.apps.probe:app"
MEGABYTE = 1_000_000


@pytest.fixture(params=HTTP2_VARIANTS)
def worker(request: pytest.FixtureRequest) -> str:
    """Each worker, and both engines."""
    return str(request.param)


@pytest.fixture
def key() -> str:
    return uuid.uuid4().hex


# ---- streams do not wait for each other ------------------------------------------------------


def test_an_application_that_does_not_read_holds_up_no_other(probe: Server, key: str) -> None:
    with connect(probe) as client:
        asleep = client.post(f"/gated?key={key}")
        for _ in range(20):
            client.data(asleep, bytes(1000))
        times = []
        for number in range(5):
            started = time.monotonic()
            assert client.fetch(f"/hello?say={number}") == b"%d" % number
            times.append(time.monotonic() - started)
        assert min(times) < 0.2, times  # nothing that waits for a timer or a sweep
        assert client.reader.responses[asleep].fields is None
        client.data(asleep, b"", end=True)
        assert client.fetch(f"/open?key={key}") == b"open"
        assert client.body(asleep) == b"through"


def test_a_full_stream_holds_up_no_other(probe: Server, key: str) -> None:
    """The same with all the credit used that the first stream has."""
    with connect(probe) as client:
        asleep = client.post(f"/gated?key={key}")
        client.upload(asleep, bytes(client.credit(asleep)), end=False)
        assert client.credit(asleep) == 0
        digest = hashlib.sha256(bytes(300_000)).hexdigest()
        other = client.post("/upload")
        client.upload(other, bytes(300_000))
        assert client.body(other) == f"300000 {digest}".encode()
        assert client.credit(asleep) == 0
        client.data(asleep, b"", end=True)
        assert client.fetch(f"/open?key={key}") == b"open"
        assert client.body(asleep) == b"through"


def test_many_streams_at_a_time(probe: Server, key: str) -> None:
    with connect(probe) as client:
        assert client.reader.server_settings is not None
        limit = client.reader.server_settings[wire.MAX_CONCURRENT_STREAMS]
        waiting = [client.get(f"/gated?key={key}") for _ in range(limit)]
        refused = client.get("/hello")
        assert client.response(refused).reset == wire.REFUSED_STREAM
        assert probe.get(f"/open?key={key}").body == b"open"
        assert [client.body(stream_id) for stream_id in waiting] == [b"through"] * limit
        for burst in range(5):
            streams = {client.get(f"/hello?say={burst}.{n}"): n for n in range(limit)}
            for stream_id, n in streams.items():
                assert client.body(stream_id) == f"{burst}.{n}".encode()


def test_uploads_and_downloads_side_by_side(probe: Server) -> None:
    chance = random.Random(2)
    bodies = [chance.randbytes(50_000) for _ in range(30)]
    with connect(probe) as client:
        streams = [client.post("/echo") for _ in bodies]
        for start in range(0, 50_000, 10_000):
            for stream_id, body in zip(streams, bodies, strict=True):
                last = start == 40_000
                client.upload(stream_id, body[start : start + 10_000], end=last)
        for stream_id, body in zip(streams, bodies, strict=True):
            assert client.body(stream_id) == body


# ---- large bodies ----------------------------------------------------------------------------


def test_large_upload(probe: Server, key: str) -> None:
    data = random.Random(3).randbytes(20 * MEGABYTE)
    with connect(probe) as client:
        stream_id = client.post(f"/upload?key={key}", (b"content-length", b"%d" % len(data)))
        client.upload(stream_id, data)
        digest = hashlib.sha256(data).hexdigest()
        assert client.body(stream_id) == f"{len(data)} {digest}".encode()


def test_large_echo(probe: Server) -> None:
    """Up and down over one stream at the same time."""
    data = random.Random(4).randbytes(20 * MEGABYTE)
    with connect(probe) as client:
        stream_id = client.post("/echo")
        client.upload(stream_id, data)
        assert client.body(stream_id) == data
        assert client.fetch("/hello") == b"Hello"


@pytest.mark.parametrize("sized", ["", "&sized=1"])
def test_large_download(probe: Server, sized: str) -> None:
    with connect(probe) as client:
        stream_id = client.get(f"/download?chunks=320{sized}")
        assert len(client.body(stream_id)) == 320 * 65_536
        assert not any(client.bodies[stream_id])
        length = client.reader.responses[stream_id].get(b"content-length")
        assert length == (b"%d" % (320 * 65_536) if sized else None)


# ---- failures --------------------------------------------------------------------------------


@pytest.mark.parametrize("wait", ["", "&wait=1"], ids=["at-once", "later"])
def test_application_errors(probe: Server, key: str, wait: str) -> None:
    with connect(probe) as client:
        bystander = client.get(f"/gated?key={key}")
        for when in ("before", "started"):
            stream_id = client.get(f"/fail?when={when}{wait}")
            assert client.body(stream_id) == b"500: Internal Server Error\n"
            assert client.reader.responses[stream_id].status == 500
        cut = client.get(f"/fail?when=middle{wait}")
        response = client.response(cut)
        assert (response.status, response.complete) == (200, False)
        assert response.reset == wire.INTERNAL_ERROR
        assert bytes(client.bodies[cut]) in {b"", b"half"}  # a reset may overtake what it cuts
        assert client.fetch(f"/open?key={key}") == b"open"
        assert client.body(bystander) == b"through"
        assert not client.goaways


def test_no_response(probe: Server) -> None:
    with connect(probe) as client:
        assert client.response(client.get("/nothing")).status == 500
        assert client.response(client.get("/nothing?when=middle")).reset == wire.INTERNAL_ERROR
        assert client.response(client.get("/length?send=6&split=1")).reset == wire.INTERNAL_ERROR
        assert client.fetch("/hello") == b"Hello"


@pytest.mark.parametrize("stream", ["", "&stream=1"], ids=["before", "streaming"])
def test_reset_by_the_client_is_a_disconnect(probe: Server, key: str, stream: str) -> None:
    with connect(probe) as client:
        stream_id = client.get(f"/listen?key={key}{stream}")
        probe.wait_report(key, "listening")
        client.reset(stream_id)
        # "At once": whatever the connection is asked next comes after it.
        assert client.fetch("/hello") == b"Hello"
        report = json.loads(client.fetch(f"/report?key={key}"))
        assert report["received"] == ["http.request", "http.disconnect", "http.disconnect"]
        assert report["send"] == "ClientDisconnected"


def test_reset_ends_a_stream_that_is_being_sent(probe: Server, key: str) -> None:
    with connect(probe, grants=False) as client:
        stream_id = client.get(f"/flood?key={key}")
        client.until(lambda: len(client.bodies[stream_id]) > 50_000, "most of the window is used")
        client.reset(stream_id)
        assert probe.wait_report(key, "ended") == "ClientDisconnected"


@pytest.mark.parametrize("how", ["close", "reset"])
def test_lost_connection_is_a_disconnect_of_every_stream(probe: Server, key: str, how: str) -> None:
    keys = [f"{key}{n}" for n in range(10)]
    with connect(probe) as client:
        for each in keys:
            client.get(f"/listen?key={each}")
        for each in keys:
            probe.wait_report(each, "listening")
        if how == "reset":
            linger = b"\1\0\0\0\0\0\0\0"
            client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    for each in keys:
        assert probe.wait_report(each, "send") == "ClientDisconnected"


# ---- flow control ----------------------------------------------------------------------------


def settled(look: Callable[[], list[int]]) -> list[int]:
    """What is seen when it no longer changes."""
    seen: list[list[int]] = [[]]

    def unchanged() -> bool:
        seen.append(look())
        return seen[-1] == seen[-2]

    wait_until(unchanged, "all wait")
    return seen[-1]


def test_client_that_grants_nothing(probe: Server, key: str) -> None:
    """The application's send() waits; memory stays; everybody else is served."""
    streams = 60
    with connect(probe, {wire.INITIAL_WINDOW_SIZE: 0}, grants=False) as client:
        before = probe.status("VmRSS")
        for n in range(streams):
            client.get(f"/flood?key={key}.{n}")
        keys = [f"{key}.{n}" for n in range(streams)]

        def sent() -> list[int]:
            return [probe.wait_report(each, "sent") for each in keys]

        amounts = settled(sent)
        assert max(amounts) <= 4 * 65_536
        assert probe.status("VmRSS") - before < 64 * MEGABYTE
        assert not any(client.bodies.values())
        with connect(probe) as other:
            assert other.fetch("/hello") == b"Hello"
            assert len(other.body(other.get("/download?chunks=20"))) == 20 * 65_536
        assert sent() == amounts
        # what is granted is sent, to the byte, and lets its application go on
        client.grant(1, 60_000)
        client.until(lambda: len(client.bodies[1]) == 60_000, "what was granted")
        client.ping()
        assert len(client.bodies[1]) == 60_000
        client.reset(1)
        assert probe.wait_report(keys[0], "ended") == "ClientDisconnected"
    for each in keys:
        assert probe.wait_report(each, "ended") == "ClientDisconnected"


def test_client_that_does_not_read(probe: Server, key: str) -> None:
    """It grants all there is, but the connection takes nothing."""
    huge = {wire.INITIAL_WINDOW_SIZE: wire.MAX_ID}
    with connect(probe, huge, grants=False, receive_buffer=4096) as client:
        before = probe.status("VmRSS")
        client.grant(0, wire.MAX_ID - wire.DEFAULT_WINDOW)
        keys = [f"{key}.{n}" for n in range(20)]
        for each in keys:
            client.get(f"/flood?key={each}")

        def sent() -> list[int]:
            return [probe.wait_report(each, "sent") for each in keys]

        amounts = settled(sent)
        assert probe.status("VmRSS") - before < 64 * MEGABYTE
        with connect(probe) as other:
            assert other.fetch("/hello") == b"Hello"
        assert sent() == amounts
    for each in keys:
        assert probe.wait_report(each, "ended") == "ClientDisconnected"


# ---- stopping --------------------------------------------------------------------------------


@pytest.fixture
def own(worker: str) -> Iterator[Server]:
    """A probe that a test may stop."""
    with Server(PROBE, worker, "--no-access-log") as server:
        yield server
    assert "Traceback" not in str(server.stderr)
    assert "internal error" not in str(server.stderr)


def test_stopping_finishes_streams(own: Server) -> None:
    with connect(own) as client, connect(own) as idle:
        assert idle.fetch("/hello") == b"Hello"
        upload = client.post("/upload?key=k")
        client.data(upload, b"first ")
        echo = client.post("/echo")
        client.data(echo, b"first ")
        client.until(lambda: client.bodies[echo], "the echo is on its way")
        own.signal()
        idle.read_rest()
        idle.sock.close()
        assert [goaway.error for goaway in idle.goaways] == [wire.NO_ERROR] * len(idle.goaways)
        assert idle.goaways[-1].last == 1
        client.until(lambda: len(client.goaways) == 2, "the second GOAWAY")
        assert client.goaways == [
            wire.GoAway(wire.MAX_ID, wire.NO_ERROR),
            wire.GoAway(echo, wire.NO_ERROR),
        ]
        assert own.process.poll() is None
        client.data(upload, b"second", end=True)
        client.data(echo, b"second", end=True)
        digest = hashlib.sha256(b"first second").hexdigest()
        assert client.body(upload) == f"12 {digest}".encode()
        assert client.body(echo) == b"first second"
        client.read_rest()
        client.sock.close()
        assert own.wait() == 0
        assert time.monotonic() - own.signalled_at < 4
        assert own.stderr.lines[-1] == "lifespan ends"


def test_stopping_finishes_a_download(own: Server) -> None:
    with connect(own, grants=False) as client:
        stream_id = client.get("/download?chunks=100")
        client.until(lambda: len(client.bodies[stream_id]) == wire.DEFAULT_WINDOW, "a window full")
        own.signal()
        client.until(lambda: len(client.goaways) == 2, "the second GOAWAY")
        client.grants = True
        client.grant(0, wire.DEFAULT_WINDOW)
        client.grant(stream_id, wire.DEFAULT_WINDOW)
        assert len(client.body(stream_id)) == 100 * 65_536
        client.read_rest()
    assert own.wait() == 0
    assert time.monotonic() - own.signalled_at < 4


def test_stopping_is_bounded(worker: str, tmp_path: Path) -> None:
    config = '[timeouts]\ndrain = "800ms"\ndisconnect_grace = "300ms"\nlinger = "300ms"'
    with Server(PROBE, worker, config=config, folder=tmp_path) as server, connect(server) as client:
        told = client.get("/polite-events?key=polite")
        client.until(lambda: client.bodies[told], "an event stream")
        stuck = client.get("/gated?key=stuck")
        server.wait_report("stuck", "waiting")
        server.signal()
        client.until(
            lambda: (
                client.reader.responses[told].complete
                or client.reader.responses[told].reset is not None
            ),
            "the end of events",
        )
        response = client.reader.responses[stuck]
        client.until(
            lambda: response.reset is not None or response.fields or client.ended, "its end"
        )
        assert server.wait() != 0  # a request was cut off
        assert time.monotonic() - server.signalled_at < 5


# ---- abuse -----------------------------------------------------------------------------------


def rapid_reset(client: HTTP2Client) -> Iterator[bytes]:
    for _ in range(2000):
        stream_id = client.writer.next_id
        head = wire.head(b"GET", b"/listen?key=abuse", scheme=b"http", authority=b"test")
        yield client.writer.headers(stream_id, head, end=True) + wire.reset(stream_id)


def continuation_flood(client: HTTP2Client) -> Iterator[bytes]:
    yield wire.frame(wire.HEADERS, 1, b"", wire.END_STREAM)
    for number in range(2000):
        field = wire.literal(b"x-%d" % number, b"x" * 900)
        yield wire.frame(wire.CONTINUATION, 1, field)


def empty_continuation_flood(client: HTTP2Client) -> Iterator[bytes]:
    yield wire.frame(wire.HEADERS, 1, b"", wire.END_STREAM)
    for _ in range(5000):
        yield wire.frame(wire.CONTINUATION, 1)


def ping_flood(client: HTTP2Client) -> Iterator[bytes]:
    for number in range(10_000):
        yield wire.ping(b"%08d" % number)


@pytest.mark.parametrize(
    "attack", [rapid_reset, continuation_flood, empty_continuation_flood, ping_flood]
)
def test_abuse_costs_its_connection_only(
    probe: Server, attack: Callable[[HTTP2Client], Iterator[bytes]]
) -> None:
    with connect(probe) as victim, connect(probe) as client:
        assert victim.fetch("/hello") == b"Hello"
        frames = list(attack(client))
        step = len(frames) // 20
        for start in range(0, len(frames), step):
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                client.send(b"".join(frames[start : start + step]))
            assert victim.fetch("/hello") == b"Hello"
        client.read_rest()
        assert client.goaways, "no GOAWAY"
        assert client.goaways[-1].error == wire.ENHANCE_YOUR_CALM
        assert victim.fetch("/hello") == b"Hello"
        assert not victim.goaways


def test_garbage_costs_its_connection_only(probe: Server) -> None:
    with connect(probe) as victim, connect(probe) as client:
        chance = random.Random(5)
        client.send(wire.frame(wire.DATA, 0, chance.randbytes(100)) + chance.randbytes(5000))
        client.read_rest()
        assert client.goaways[-1].error == wire.PROTOCOL_ERROR
        assert victim.fetch("/hello") == b"Hello"
