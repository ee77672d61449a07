"""Several workers: nothing is lost but what a killed one held, and the end is bounded."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import cycle
from pathlib import Path

import pytest

from tests.e2e.conftest import WORKERS
from tests.e2e.http2_client import HTTP2Client
from tests.e2e.load import Load
from tests.e2e.support import PATIENCE, ROOT, Client, Server, wait_until
from tests.e2e.websocket_client import handshake

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is one worker")

APP = "tests.e2e.apps.workers:app"
DRAIN = 1.0
CONFIG = f"""
[timeouts]
drain = "{DRAIN:g}s"
disconnect_grace = "300ms"
shutdown = "700ms"
linger = "300ms"
"""


class Fleet(Server):
    """Several workers; all of them are ready."""

    def __init__(
        self,
        worker: str,
        folder: Path,
        *options: str,
        app: str = APP,
        config: str = CONFIG,
        count: int = 2,
    ) -> None:
        self.file = folder / "hyperserver.toml"
        options = ("-w", str(count), "--no-access-log", *options)
        super().__init__(app, worker, *options, config=config, folder=folder)
        self.wait_ready(count)

    def wait_ready(self, count: int) -> None:
        """Wait until so many workers have become ready since the start."""
        wait_until(lambda: len(self.started) >= count, f"{count} workers\n{self.stderr}")

    def log(self) -> str:
        return str(self.stderr)

    def wait_log(self, text: str, times: int = 1) -> None:
        wait_until(
            lambda: self.log().count(text) >= times, f"{text!r}, {times} times\n{self.log()}"
        )

    @property
    def started(self) -> list[int]:
        """The processes of workers that have become ready, in this order."""
        return [int(pid) for pid in re.findall(r"is ready, process (\d+)", self.log())]

    def answering(self) -> int:
        return int(self.get("/").body)

    def rewrite(self, config: str) -> None:
        """Another file, and the signal to read it."""
        self.file.write_text(f'app_dir = "{ROOT}"\n{config}')
        self.signal(signal.SIGHUP)


@pytest.fixture
def fleet(worker: str, tmp_path: Path) -> Iterator[Callable[..., Fleet]]:
    with ExitStack() as stack:
        yield lambda *options, **more: stack.enter_context(
            Fleet(worker, tmp_path, *options, **more)
        )


@pytest.fixture
def one_fleet(tmp_path: Path) -> Iterator[Callable[..., Fleet]]:
    """For what is the supervisor's alone: it does not know the event loop."""
    with ExitStack() as stack:
        yield lambda *options, **more: stack.enter_context(
            Fleet("asyncio", tmp_path, *options, **more)
        )


# ---- nothing is lost ----------------------------------------------------------------------


#: How many reloads and kills. Nearly all they cost is that processes start, which differs little
#: from loop to loop: one of them has them all, the others what shows that they do the same.
ROUNDS = dict.fromkeys(WORKERS, (3, 6)) | {WORKERS[-2]: (10, 20)}


@pytest.mark.timeout(180)
def test_under_load(
    worker: str, fleet: Callable[..., Fleet], record_property: Callable[..., None]
) -> None:
    """Reloads and workers that are recycled all the time lose nothing; kills lose what the killed
    workers held, and nothing else.
    """
    reload_count, kill_count = ROUNDS[worker]
    server = fleet("--recycle-max-requests", "500", count=4)
    with Load(server.port, "/") as load:
        for count in range(1, reload_count + 1):
            server.signal(signal.SIGHUP)
            server.wait_log("4 workers are ready", count)
        wait_until(lambda: "requests; replacing it" in server.log(), "a worker is recycled")
        reloads = load.longest
        assert load.lost == []
        killed: set[int] = set()
        for _ in range(kill_count):
            serving: set[int] = set()
            while len(serving) < 2:  # the last one is not killed: that would be another test
                time.sleep(0.02)
                serving = {pid for pid in load.workers() - killed if alive(pid)}
            victim = min(serving)
            os.kill(victim, signal.SIGKILL)
            killed.add(victim)
        kills = load.longest
        wait_until(lambda: len(load.workers() - killed) >= 2, "others serve on")
        lost = load.lost
    assert len(lost) <= kill_count * load.clients
    assert {one.worker for one in lost} <= killed | {None}
    assert not any("refused" in one.error for one in lost), lost
    print(f"answered {load.answered}, lost {len(lost)} by {kill_count} kills")
    print(f"longest, in ms: by reloads {reloads}, all in all {kills}")
    record_property("longest", str(kills))
    server.signal()
    assert server.wait() == 0
    assert "Traceback" not in server.log()


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return pid > 0


def test_a_connection_without_a_request_is_served_by_a_worker_that_leaves(
    fleet: Callable[..., Fleet],
) -> None:
    """It had been accepted, so nobody else will."""
    config = CONFIG.replace("300ms", "10s").replace("1s", "20s", 1)
    server = fleet(config=config, count=2)
    before = set(server.started)
    with ExitStack() as stack:
        fresh = [stack.enter_context(server.connect()) for _ in range(4)]
        used = [stack.enter_context(server.connect()) for _ in range(4)]
        h2 = [
            stack.enter_context(HTTP2Client(socket.create_connection(("127.0.0.1", server.port))))
            for _ in range(2)
        ]
        for client in used:
            assert int(client.request("GET", "/").body) in before
        server.signal(signal.SIGHUP)
        server.wait_log("2 workers are ready")
        for client in (*fresh, *used):
            says_close = False
            while not says_close:  # the last of the old workers may not have been told yet
                response = client.request("GET", "/")
                assert int(response.body) in before
                says_close = response.headers.get("connection") == "close"
        for connection in h2:
            connection.until(lambda: connection.goaways, "a GOAWAY")  # noqa: B023
            connection.read_rest()


# ---- the end ------------------------------------------------------------------------------


def get(target: str) -> bytes:
    return f"GET {target} HTTP/1.1\r\nhost: test\r\n\r\n".encode()


def idle(server: Server) -> Client:
    client = server.connect()
    assert client.request("GET", "/hello").status == 200
    return client


def unread(server: Server) -> Client:
    client = server.connect(receive_buffer=65_536)
    client.send(get("/flood?key=k"))
    return client


def events(server: Server) -> Client:
    client = server.connect()
    client.send(get("/events?key=k"))
    client.head()
    return client


def websocket(server: Server) -> Client:
    client = server.connect()
    client.send(handshake("/"))
    assert client.head().status == 101
    return client


def stubborn(server: Server) -> Client:
    client = server.connect()
    client.send(get("/stubborn?key=k"))
    wait_until(lambda: server.report("x") == {}, "it has been read")
    return client


class Stream(Client):
    """A stream of HTTP/2 that stays open."""

    def __init__(self, server: Server) -> None:
        super().__init__(("127.0.0.1", server.port))
        self.http2 = HTTP2Client(self.sock)
        self.http2.get("/pause?seconds=30&key=k")
        self.http2.ping()


ENDS: dict[str, tuple[Callable[[Server], Client], int]] = {
    "idle": (idle, 0),
    "unread": (unread, 1),
    "events": (events, 1),
    "websocket": (websocket, 0),
    "stream": (Stream, 1),
    "stubborn": (stubborn, 1),
}


@pytest.mark.parametrize(
    ("worker", "name"), [*zip(cycle(WORKERS), ENDS, strict=False)], indirect=["worker"]
)
def test_the_end_is_bounded(fleet: Callable[..., Fleet], name: str) -> None:
    server = fleet()
    begin, expected = ENDS[name]
    with begin(server):
        server.signal()
        assert ends_within(server, DRAIN + 1) == expected


def test_the_end_is_bounded_with_all_of_them_at_once(fleet: Callable[..., Fleet]) -> None:
    server = fleet()
    with ExitStack() as stack:
        for begin, _ in ENDS.values():
            stack.enter_context(begin(server))
        server.signal()
        assert ends_within(server, DRAIN + 1) == 1


def test_a_lifespan_that_hangs(fleet: Callable[..., Fleet]) -> None:
    server = fleet(app="tests.e2e.apps.probe:hanging")
    server.signal()
    assert ends_within(server, DRAIN + 1) == 1


def ends_within(server: Server, seconds: float) -> int:
    code = server.wait(seconds + PATIENCE)
    passed = time.monotonic() - server.signalled_at
    assert passed < seconds, str(server.stderr)
    return code


def test_a_second_signal_forces(one_fleet: Callable[..., Fleet]) -> None:
    server = one_fleet("--timeouts-drain", "60s")
    with events(server):
        server.signal()
        server.wait_log("finishing what is in flight")
        server.signal()
        assert ends_within(server, 1.5) == 128 + signal.SIGTERM


@pytest.mark.parametrize("count", [1, 2])
def test_the_stop_can_be_delayed(tmp_path: Path, count: int) -> None:
    """So that load balancers, which ask for it, learn of it in time."""
    options = (
        "-w",
        str(count),
        "--listen-health",
        "/healthz",
        "--timeouts-shutdown-delay",
        "700ms",
    )
    with Server(APP, "asyncio", *options, config=CONFIG, folder=tmp_path) as server:
        assert server.get("/healthz").status == 200
        server.signal()
        wait_until(lambda: server.get("/healthz").status == 503, "its health tells")
        assert server.get("/").status == 200
        assert server.wait() == 0
        assert time.monotonic() - server.signalled_at > 0.6


def test_requests_that_begin_during_the_drain_are_told_as_well(worker: str, tmp_path: Path) -> None:
    config = CONFIG.replace("1s", "20s", 1).replace("300ms", "1s", 1)
    probe = "tests.e2e.apps.probe:app"
    with (
        Server(probe, worker, config=config, folder=tmp_path) as server,
        HTTP2Client(socket.create_connection(("127.0.0.1", server.port), PATIENCE)) as client,
    ):
        client.get("/polite-events?key=early")
        server.wait_report("early", "streaming")
        server.signal()
        client.get("/polite-events?key=late")  # before it has read the GOAWAY
        assert server.wait() == 0
        assert time.monotonic() - server.signalled_at < 10
    assert server.stderr.lines.count("told http.disconnect") == 2


def test_without_a_supervisor_workers_end(one_fleet: Callable[..., Fleet]) -> None:
    server = one_fleet()
    pids = server.started
    server.process.kill()
    wait_until(lambda: not any(map(running, pids)), "the workers end")


def running(pid: int) -> bool:
    """It is there, and is not one that nobody has taken leave of."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


# ---- watching -----------------------------------------------------------------------------


def test_a_loop_that_stands_still(fleet: Callable[..., Fleet]) -> None:
    """It is found out, shows where it stands, and is replaced."""
    server = fleet("--timeouts-heartbeat", "1s")
    with server.connect() as client:
        client.send(get("/block"))
        server.wait_log("is killed, as it does not respond; starting another")
        server.wait_ready(3)
    assert "time.sleep(60)" not in server.log()  # a dump names functions and lines
    assert re.search(r'File ".*workers\.py", line \d+ in app', server.log())
    assert server.get("/").status == 200
    server.signal()
    assert server.wait() == 0


def test_a_worker_that_is_told_to_end_is_replaced(one_fleet: Callable[..., Fleet]) -> None:
    server = one_fleet()
    first = server.started[0]
    os.kill(first, signal.SIGTERM)
    server.wait_ready(3)
    wait_until(lambda: not running(first), "it has ended")
    assert "ERROR" not in server.log()


def test_more_workers_and_fewer(one_fleet: Callable[..., Fleet]) -> None:
    server = one_fleet()
    server.signal(signal.SIGTTIN)
    server.wait_ready(3)
    for count in (2, 1, 1):
        server.signal(signal.SIGTTOU)
        server.wait_log(f"SIGTTOU: {count} worker(s)", 2 if "SIGTTOU: 1" in server.log() else 1)
    wait_until(lambda: sum(map(running, server.started)) == 1, "two have ended")
    assert server.answering() in server.started


def test_log_files_that_are_moved_away(fleet: Callable[..., Fleet], tmp_path: Path) -> None:
    """Every process goes on in the new ones."""
    log, access = tmp_path / "server.log", tmp_path / "access.log"
    server = fleet("--access-log")
    server.rewrite(f'{CONFIG}\n[log]\nfile = "{log}"\naccess_file = "{access}"\n')
    wait_until(lambda: log.exists() and "applied" in log.read_text(), "the log is in its file")
    wait_until(access.exists, "the workers have applied it, too")
    assert server.get("/?first").status == 200
    wait_until(lambda: "/?first" in access.read_text(), "so are the access lines")
    log.rename(tmp_path / "server.log.1")
    access.rename(tmp_path / "access.log.1")
    server.signal(signal.SIGUSR1)
    wait_until(lambda: log.exists() and access.exists(), "they are made anew")
    wait_until(lambda: "SIGUSR1: opened the log files again" in log.read_text(), "it says so")
    assert server.get("/?second").status == 200
    wait_until(lambda: "/?second" in access.read_text(), "access lines go there")
    assert "/?second" not in (tmp_path / "access.log.1").read_text()
    assert server.stop() == 0


def test_recycling_by_age(one_fleet: Callable[..., Fleet]) -> None:
    server = one_fleet("--recycle-max-lifetime", "1s", count=1)
    server.wait_ready(2)
    assert re.search(r"worker 1: has served for \d s; replacing it", server.log())
    wait_until(lambda: not running(server.started[0]), "the first has ended")


def test_the_environment_says_how_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEB_CONCURRENCY", "2")
    with Server(APP, "asyncio") as server:
        wait_until(lambda: str(server.stderr).count("is ready, process") == 2, "two workers")
        assert "hyperserver" in server.stderr.lines[0]
        assert "2 workers" in server.stderr.lines[0]
        assert str(server.stderr).count("listening on") == 1


# ---- reloading ----------------------------------------------------------------------------


def test_a_file_with_a_mistake_is_refused(one_fleet: Callable[..., Fleet]) -> None:
    server = one_fleet()
    server.rewrite('[timeouts]\ndrian = "1s"\n')
    server.wait_log("the reload is refused, nothing changes: ")
    assert "hyperserver.toml:3:1: unknown key `timeouts.drian`" in server.log()
    assert len(server.started) == 2
    assert server.answering() in server.started


def test_what_can_change_while_serving_does(fleet: Callable[..., Fleet]) -> None:
    server = fleet("--limits-request-fields", "64")
    server.rewrite('[limits]\nrequest_target = "300B"\n[timeouts]\ndrain = "1s"\n')
    server.wait_log("applied: limits.request_target")
    wait_until(
        lambda: all(server.get(f"/?{'x' * 400}").status == 414 for _ in range(8)),
        "all workers have it",
    )
    assert len(server.started) == 2


def test_the_number_of_workers_can_change(one_fleet: Callable[..., Fleet], tmp_path: Path) -> None:
    with Server(APP, "asyncio", config="workers = 2\n" + CONFIG, folder=tmp_path) as server:
        wait_until(lambda: str(server.stderr).count("is ready, process") == 2, "two workers")
        text = (tmp_path / "hyperserver.toml").read_text().replace("workers = 2", "workers = 3")
        (tmp_path / "hyperserver.toml").write_text(text)
        server.signal(signal.SIGHUP)
        wait_until(lambda: str(server.stderr).count("is ready, process") == 3, "a third")


def test_what_needs_fresh_workers_and_what_needs_a_restart(
    one_fleet: Callable[..., Fleet],
) -> None:
    server = one_fleet()
    server.rewrite(f'lifespan = "off"\npreload = true\n{CONFIG}')
    server.wait_log("this needs a restart: preload")
    server.wait_log("replacing the workers one by one for lifespan")
    server.wait_log("2 workers are ready")
    assert server.answering() in server.started[2:]


def test_a_new_release_that_does_not_start(
    one_fleet: Callable[..., Fleet], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "broken"
    monkeypatch.setenv("FAILS_IF_THERE", str(broken))
    server = one_fleet("--factory", app="tests.e2e.apps.workers:conditional")
    broken.touch()
    server.signal(signal.SIGHUP)
    server.wait_log("the reload is given up, the workers in place stay: worker 3: the factory")
    assert server.answering() in server.started
    broken.unlink()
    server.signal(signal.SIGHUP)
    server.wait_ready(4)


def test_preloading(one_fleet: Callable[..., Fleet]) -> None:
    server = one_fleet("--preload", count=2)
    first = server.started
    assert server.answering() in first
    server.signal(signal.SIGHUP)
    server.wait_ready(4)
    os.kill(server.started[3], signal.SIGKILL)
    server.wait_ready(5)
    wait_until(lambda: not any(map(running, first)), "the first ones have ended")
    server.signal()
    assert server.wait() == 0


def test_one_worker_alone_reloads_as_well(worker: str, tmp_path: Path) -> None:
    with Server(APP, worker, config=CONFIG, folder=tmp_path) as server:
        file = tmp_path / "hyperserver.toml"
        head = f'app_dir = "{ROOT}"\n'
        file.write_text(f'{head}root_path = "/a"\nworkers = 3\n[limits]\nrequest_target = "300B"\n')
        server.signal(signal.SIGHUP)
        wait_until(lambda: "applied: limits.request_target" in str(server.stderr), "applied")
        assert server.get(f"/?{'x' * 400}").status == 414
        assert "or `workers` = 2 or more: root_path, workers" in str(server.stderr)
        file.write_text("nonsense")
        server.signal(signal.SIGHUP)
        wait_until(lambda: "the reload is refused" in str(server.stderr), "refused")
        server.signal(signal.SIGUSR1)
        assert server.get("/").status == 200
        assert server.stop() == 0


# ---- failures to start --------------------------------------------------------------------


def attempt(*options: str) -> tuple[int, list[str]]:
    done = subprocess.run(
        [sys.executable, "-m", "hyperserver", "-b", "127.0.0.1:0", *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"},
    )
    return done.returncode, done.stderr.splitlines()


HERE = "tests.e2e.apps.workers"
FAILURES: dict[str, tuple[tuple[str, ...], int, str]] = {
    "no such module": (("nowhere:app",), 3, "hyperserver: cannot load 'nowhere:app': no module"),
    "no such attribute": ((f"{HERE}:nothing",), 3, "has no attribute 'nothing'"),
    "factory": ((f"{HERE}:raising", "--factory"), 3, "RuntimeError: not today"),
    "lifespan": ((f"{HERE}:refusing",), 3, "the application failed to start: no database"),
    "crash": ((f"{HERE}:crashing", "--factory"), 3, "was killed by SIGSEGV before it was ready"),
    "preload": ((f"{HERE}:raising", "--factory", "--preload"), 3, "RuntimeError: not today"),
    "port": ((APP, "-b", "127.0.0.1:{port}"), 1, "address already in use; another program"),
    "address": ((APP, "-b", "192.0.2.1:0"), 1, "cannot listen on 192.0.2.1:0"),
    "certificate": (
        (APP, "--tls-certificate", "none.pem", "--tls-key", "none.key"),
        78,
        "cannot read none.pem",
    ),
    "user": ((APP, "--process-user", "no-such-user"), 78, "unknown user 'no-such-user'"),
    "count": ((APP, "-w", "0"), 78, "must be at least 1, not 0"),
    "setting": ((APP, "--worker", "gevent"), 2, "invalid choice: 'gevent'"),
}


@pytest.mark.parametrize("name", FAILURES)
def test_a_failure_to_start_is_said_once(name: str) -> None:
    options, code, said = FAILURES[name]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        found, lines = attempt("-w", "4", *(one.format(port=port) for one in options))
    assert found == code, lines
    assert sum(said in line for line in lines) == 1, lines
    assert not any("listening" in line for line in lines)


def test_workers_are_given_a_name_not_an_object() -> None:
    code = (
        "import hyperserver\n"
        "async def app(scope, receive, send): ...\n"
        "hyperserver.run(app, {'workers': 2})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert "`workers`: a fresh process cannot be given an object" in done.stderr


def test_every_loop_is_tried() -> None:
    assert {"asyncio", "trio"} <= set(WORKERS)
