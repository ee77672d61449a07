"""Files over real sockets, on every worker: what arrives, what it costs, and how it can end."""

from __future__ import annotations

import json
import os
import random
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import Certificate, MakeClientContext
from tests.e2e.conftest import ServerFor, servers_with_tls
from tests.e2e.http2_client import HTTP2Client
from tests.e2e.support import PATIENCE, Client, Server, TLSClient, wait_until
from tests.engines import h2_frames as wire

APP = "tests.e2e.apps.files:app"
MEGABYTE = 1 << 20
SMALL = b"a small file\n"
#: More than sockets take, unless their buffers are made small.
SIZE = 8 * MEGABYTE
HUGE = 50 * MEGABYTE


@dataclass
class Folder:
    path: Path
    content: bytes

    @property
    def big(self) -> Path:
        return self.path / "big"

    @property
    def huge(self) -> Path:
        return self.path / "huge"

    @property
    def small(self) -> Path:
        return self.path / "small"

    def copy(self) -> Path:
        """One to be changed."""
        return Path(shutil.copy(self.big, self.path / uuid.uuid4().hex))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    path = tmp_path_factory.mktemp("files")
    content = random.Random(1).randbytes(HUGE)
    (path / "huge").write_bytes(content)
    (path / "big").write_bytes(content[:SIZE])
    (path / "small").write_bytes(SMALL)
    os.mkfifo(path / "fifo")
    return Folder(path, content)


@pytest.fixture
def server(worker: str, server_for: ServerFor, folder: Folder) -> Iterator[Server]:
    """A shared server, on which every test leaves neither files nor threads that send them."""
    server = server_for(APP, worker)
    yield server
    assert server.process.poll() is None, str(server.stderr)
    assert "internal error" not in str(server.stderr)
    wait_until(lambda: not open_files(server, folder), "all files are closed")


SecureFor = Callable[[str], Server]


@pytest.fixture(scope="module")
def secure_for(certificate: Certificate) -> Iterator[SecureFor]:
    with servers_with_tls(APP, certificate) as get:
        yield get


@pytest.fixture
def key() -> str:
    return uuid.uuid4().hex


def open_files(server: Server, folder: Folder) -> list[str]:
    """Which files of ``folder`` the server has open."""
    names = []
    for number in Path(f"/proc/{server.pid}/fd").iterdir():
        try:
            names.append(str(number.readlink()))
        except OSError:
            continue
    return [name for name in names if name.startswith(str(folder.path))]


def ask(client: Client, target: str, version: str = "1.1", method: str = "GET") -> None:
    client.send(f"{method} {target} HTTP/{version}\r\nhost: test\r\n\r\n".encode())


def read(client: Client, size: int, step: int = MEGABYTE) -> bytes:
    """``size`` bytes, or what there is; in linear time."""
    data = bytearray(client.buffer[:size])
    client.buffer = client.buffer[size:]
    while len(data) < size:
        try:
            piece = client.sock.recv(min(step, size - len(data)))
        except ConnectionResetError:
            break
        if not piece:
            break
        data += piece
    return bytes(data)


def sized(client: Client) -> bytes:
    """The body of a response that has a Content-Length."""
    head = client.head()
    assert head.status == 200, head
    return read(client, int(head.headers["content-length"]))


# ---- what is offered ---------------------------------------------------------------------------

EVERYWHERE = ["http.response.pathsend"]
HTTP_1_1 = ["http.response.early_hint", *EVERYWHERE, "http.response.trailers"]
PUSH = "http.response.push"
ZERO = "http.response.zerocopysend"
WRONG = b"LocalProtocolError"


def test_what_is_offered_in_cleartext(server: Server) -> None:
    with server.connect() as client:
        assert client.request("GET", "/extensions").json == [*HTTP_1_1, ZERO]
        ask(client, "/extensions", "1.0")
        assert client.response().json == [*EVERYWHERE, ZERO]
    with HTTP2Client(server.connect().sock) as http2:
        assert json.loads(http2.fetch("/extensions")) == sorted([*HTTP_1_1, PUSH])
    with HTTP2Client(server.connect().sock, {wire.ENABLE_PUSH: 0}) as http2:
        assert json.loads(http2.fetch("/extensions")) == HTTP_1_1


def test_what_is_offered_within_tls(
    worker: str, secure_for: SecureFor, make_client_context: MakeClientContext
) -> None:
    address = ("127.0.0.1", secure_for(worker).port)
    with TLSClient(address, make_client_context()) as client:
        assert client.request("GET", "/extensions").json == [*HTTP_1_1, "tls"]
        ask(client, "/extensions", "1.0")
        assert client.response().json == [*EVERYWHERE, "tls"]
    secure = TLSClient(address, make_client_context("h2")).tls
    with HTTP2Client(secure, scheme=b"https") as http2:
        assert json.loads(http2.fetch("/extensions")) == sorted([*HTTP_1_1, PUSH, "tls"])


@pytest.mark.parametrize("kind", [ZERO, PUSH, "http.response.early_hint", "http.response.debug"])
def test_what_is_not_offered_raises(server: Server, kind: str) -> None:
    with HTTP2Client(server.connect().sock, {wire.ENABLE_PUSH: 0}) as http2:
        answers = [http2.fetch(f"/message?type={kind}")]
    with server.connect() as client:
        ask(client, f"/message?type={kind}", "1.0")
        answers.append(client.response().body)
    expected = {
        ZERO: [WRONG, b"taken"],
        "http.response.early_hint": [b"taken", WRONG],
    }
    assert answers == expected.get(kind, [WRONG, WRONG])


def test_a_push_is_not_an_error_for_a_client_that_has_come_to_want_none(server: Server) -> None:
    with HTTP2Client(server.connect().sock) as http2:
        assert http2.fetch("/extensions")
        settings = {wire.ENABLE_PUSH: 0}
        http2.reader.sent_settings(settings)
        http2.send(wire.settings(settings))
        assert http2.fetch(f"/message?type={PUSH}") == b"taken"


# ---- what arrives ------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_files_by_path(server: Server, folder: Folder, version: str) -> None:
    """The Content-Length is filled in, so the connection goes on; pipelined requests wait."""
    with server.connect() as client:
        keep = "\r\nconnection: keep-alive" if version == "1.0" else ""
        for target in (folder.big, folder.small, folder.big):
            ask(client, f"/path?path={target}", version + keep)
        assert sized(client) == folder.content[:SIZE]
        assert sized(client) == SMALL
        assert sized(client) == folder.content[:SIZE]


@pytest.mark.parametrize("size", [131_071, 131_072, 131_073])
def test_around_the_size_up_to_which_files_are_read_whole(
    server: Server, folder: Folder, size: int
) -> None:
    file = folder.path / str(size)
    file.write_bytes(folder.content[:size])
    with server.connect() as client:
        for _ in range(2):
            assert client.request("GET", f"/path?path={file}").body == folder.content[:size]


def test_a_client_that_has_said_all_it_had_to_say(server: Server, folder: Folder) -> None:
    with server.connect(receive_buffer=4096) as client:
        ask(client, f"/path?path={folder.big}")
        client.send_end()
        assert sized(client) == folder.content[:SIZE]
        assert client.at_end()


def test_an_empty_file(server: Server, folder: Folder) -> None:
    file = folder.path / "empty"
    file.touch()
    with server.connect() as client:
        for handler in ("path", "zero"):
            response = client.request("GET", f"/{handler}?path={file}")
            assert (response.status, response.body) == (200, b"")
            assert response.headers["content-length"] == "0"


PARTS = [
    ({}, slice(None)),
    ({"offset": 1_000_000}, slice(1_000_000, None)),
    ({"count": 1_000_000}, slice(1_000_000)),
    ({"offset": 12_345, "count": 3_000_001}, slice(12_345, 3_012_346)),
    ({"offset": SIZE - 7}, slice(SIZE - 7, None)),
    ({"offset": SIZE - 7, "count": 1000}, slice(SIZE - 7, None)),
    ({"offset": SIZE + 7}, slice(0)),
    ({"count": 0}, slice(0)),
    ({"read": 5, "object": 1}, slice(5, None)),
    ({"read": 5, "object": 1, "count": 300_000}, slice(5, 300_005)),
    ({"length": 1_000_000}, slice(1_000_000)),
]


@pytest.mark.parametrize(("query", "part"), PARTS, ids=[str(query) for query, _ in PARTS])
def test_parts_of_files(
    server: Server, folder: Folder, key: str, query: dict[str, int], part: slice
) -> None:
    words = "".join(f"&{name}={value}" for name, value in query.items())
    with server.connect() as client:
        ask(client, f"/zero?path={folder.big}&key={key}{words}")
        assert sized(client) == folder.content[:SIZE][part]
    assert not server.wait_report(key, "closed")
    position = server.report(key)["position"]
    if "object" in query:
        assert position == part.indices(SIZE)[1], "as if it had been read"
    elif "offset" in query:
        assert position == 0


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize("length", ["", "&length=300009"])
def test_bodies_and_parts_of_a_file_in_turns(
    server: Server, folder: Folder, version: str, length: str
) -> None:
    data = folder.content
    expected = b"<" + data[:100_000] + b"|" + data[100_000:100_005] + b"|" + data[1:200_001] + b">"
    with server.connect() as client:
        ask(client, f"/mixed?path={folder.big}{length}", version)
        response = client.response()
        assert response.complete
        assert response.body == expected


def test_a_file_waits_for_what_was_sent_before_it(server: Server, folder: Folder) -> None:
    with server.connect(receive_buffer=4096) as client:
        ask(client, f"/behind?path={folder.big}&length=16000000")
        body = sized(client)
    assert body == bytes(4_000_000) + (b"x" * 60_000 + folder.content[:140_000]) * 60


def test_tasks_that_send_at_the_same_time(server: Server, folder: Folder) -> None:
    with server.connect() as client:
        response = client.request("GET", f"/both?path={folder.big}")
    content = folder.content[:SIZE]
    assert response.body == content + b"between" + content


@pytest.mark.parametrize(
    ("wanted", "status", "body"),
    [
        ("", 200, slice(SIZE)),
        ("bytes=0-0", 206, slice(1)),
        ("bytes=1000-2000999", 206, slice(1000, 2_001_000)),
        ("bytes=-5", 206, slice(SIZE - 5, SIZE)),
    ],
)
def test_a_framework_with_ranges(
    server: Server, folder: Folder, wanted: str, status: int, body: slice
) -> None:
    with server.connect() as client:
        headers = {"range": wanted} if wanted else {}
        response = client.request("GET", f"/starlette?path={folder.big}", b"", **headers)
        assert (response.status, response.complete) == (status, True)
        assert response.body == folder.content[body]
        head = client.request("HEAD", f"/starlette?path={folder.big}", b"", **headers)
        assert (head.status, head.body) == (status, b"")
        assert head.headers["content-length"] == response.headers["content-length"]


@pytest.mark.parametrize(
    ("method", "status", "length"), [("HEAD", 200, SIZE), ("GET", 204, None), ("GET", 304, None)]
)
def test_nothing_where_there_is_no_content(
    server: Server, folder: Folder, method: str, status: int, length: int | None
) -> None:
    with server.connect() as client:
        for _ in range(2):
            target = f"/path?path={folder.big}&status={status}"
            response = client.request(method, target)
            assert response.status == status
            assert response.headers.get("content-length") == (str(length) if length else None)


def test_trailers_follow_on_a_file(server: Server, folder: Folder) -> None:
    with server.connect() as client:
        client.send(
            f"GET /path?path={folder.big}&trailers=1 HTTP/1.1\r\nhost: a\r\n"
            "te: trailers\r\n\r\n".encode()
        )
        assert client.head().headers["transfer-encoding"] == "chunked"
        assert int(client.read_until(b"\r\n"), 16) == SIZE
        assert read(client, SIZE) == folder.content[:SIZE]
        assert client.read_until(b"\r\n\r\n") == b"\r\n0\r\nx-end: yes\r\n\r\n"


def test_many_responses_to_slow_and_quick_readers(server: Server, folder: Folder) -> None:
    """Hundreds of responses, large and small, pipelined on connections that read as they like."""
    content = folder.content[:SIZE]

    def read_some(seed: int) -> int:
        chance = random.Random(seed)
        kinds = [chance.choice(("small", "part", "mixed", "tiny")) for _ in range(8)]
        parts = [(chance.randrange(SIZE), chance.randrange(1_000_000)) for _ in kinds]
        with server.connect(receive_buffer=chance.choice((0, 4096, 65_536))) as client:
            for kind, (offset, count) in zip(kinds, parts, strict=True):
                file = folder.small if kind == "small" else folder.big
                more = {
                    "small": "/path?",
                    "part": f"/zero?offset={offset}&count={count}&",
                    "mixed": "/mixed?length=300009&",
                    "tiny": f"/zero?offset={offset}&count=7&",
                }[kind]
                ask(client, f"{more}path={file}")
            for kind, (offset, count) in zip(kinds, parts, strict=True):
                head = client.head()
                size = int(head.headers["content-length"])
                body = read(client, size, chance.choice((10_000, 100_000, MEGABYTE)))
                if kind == "small":
                    assert body == SMALL
                elif kind == "mixed":
                    assert body[1:100_001] == content[:100_000]
                    assert body[100_008:300_008] == content[1:200_001]
                else:
                    end = offset + (count if kind == "part" else 7)
                    assert body == content[offset:end], (kind, offset, count)
        return len(kinds)

    with ThreadPoolExecutor(24) as threads:
        assert sum(threads.map(read_some, range(60))) == 480


# ---- what it costs -----------------------------------------------------------------------------


@pytest.mark.parametrize("handler", ["path", "zero"])
def test_a_slow_reader_costs_no_memory_and_no_time(
    server: Server, folder: Folder, handler: str
) -> None:
    with server.connect(receive_buffer=65_536) as client:
        server.get(f"/path?path={folder.small}")  # what has to be there once is there
        before = server.status("VmRSS")
        server.reset_peak()
        ask(client, f"/{handler}?path={folder.huge}")
        ask(client, f"/path?path={folder.small}")
        head = client.head()
        assert head.headers["content-length"] == str(HUGE)
        body = read(client, MEGABYTE, 20_000)
        assert float(server.get("/lag?seconds=0.3").body) < 0.2
        body += read(client, HUGE - MEGABYTE)
        assert body == folder.content
        assert sized(client) == SMALL
        assert server.status("VmHWM") - before < 4 * MEGABYTE


def test_clients_that_do_not_read_hold_no_threads(server: Server, folder: Folder) -> None:
    """There are fewer threads than such clients, who are there all the time."""
    with ExitStack() as stack:
        clients = [stack.enter_context(server.connect(receive_buffer=4096)) for _ in range(40)]
        for client in clients:
            ask(client, f"/path?path={folder.huge}")
        for client in clients:
            client.head()
        with server.connect() as other:
            ask(other, f"/path?path={folder.big}")
            assert sized(other) == folder.content[:SIZE]
        assert len(open_files(server, folder)) == len(clients)


def test_a_slow_reader_of_http_2_costs_its_window_and_no_more(
    server: Server, folder: Folder
) -> None:
    """Nothing but the credit is sent, nothing much is read ahead, and others go first."""
    window = 1_000_000
    settings = {wire.INITIAL_WINDOW_SIZE: window}
    with HTTP2Client(server.connect().sock, settings, grants=False) as client:
        server.get(f"/path?path={folder.small}")
        client.grant(0, 4 * window)
        before = server.status("VmRSS")
        server.reset_peak()
        stream_id = client.get(f"/path?path={folder.big}")
        client.until(
            lambda: len(client.bodies[stream_id]) == window, "all that there is credit for"
        )
        client.ping()
        assert client.bodies[stream_id] == folder.content[:window]
        assert client.fetch(f"/path?path={folder.small}") == SMALL
        assert server.status("VmHWM") - before < 4 * MEGABYTE
        client.grants = True
        client.grant(0, window)
        client.grant(stream_id, window)
        assert client.body(stream_id) == folder.content[:SIZE]


def test_files_within_tls(
    worker: str, secure_for: SecureFor, folder: Folder, make_client_context: MakeClientContext
) -> None:
    server = secure_for(worker)
    address = ("127.0.0.1", server.port)
    with TLSClient(address, make_client_context()) as client:
        for target in (folder.big, folder.small, folder.big):
            ask(client, f"/path?path={target}")
        assert sized(client) == folder.content[:SIZE]
        assert sized(client) == SMALL
        assert sized(client) == folder.content[:SIZE]
        assert client.request("HEAD", f"/path?path={folder.big}").body == b""
    secure = TLSClient(address, make_client_context("h2")).tls
    with HTTP2Client(secure, scheme=b"https") as http2:
        streams = [http2.get(f"/path?path={folder.big}") for _ in range(3)]
        for stream_id in streams:
            assert http2.body(stream_id) == folder.content[:SIZE]
    wait_until(lambda: not open_files(server, folder), "all files are closed")


# ---- how it can end ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["missing", ".", "fifo", "a%00b", "%ED%B2%80"])
def test_a_file_that_cannot_be_sent_is_an_error_500(
    server: Server, folder: Folder, name: str
) -> None:
    with server.connect() as client:
        for length in ("", "&length=100"):
            response = client.request("GET", f"/path?path={folder.path}/{name}{length}")
            assert response.status == 500
        assert client.request("GET", f"/path?path={folder.small}").body == SMALL
    wait_until(
        lambda: "http.response.pathsend cannot send" in str(server.stderr), "it is in the log"
    )


def test_a_file_that_is_no_longer_what_the_application_has_seen(
    server: Server, folder: Folder
) -> None:
    """Shorter than its Content-Length: 500. Longer: the Content-Length is what is sent."""
    with server.connect() as client:
        for file, size in ((folder.small, len(SMALL)), (folder.big, SIZE)):
            shorter = client.request("GET", f"/path?path={file}&length={size + 1}")
            assert (shorter.status, shorter.complete) == (500, True)
            ask(client, f"/path?path={file}&length={size - 3}")
            assert len(sized(client)) == size - 3


def change(file: Path, how: str) -> None:
    if how == "shorter":
        os.truncate(file, SIZE - MEGABYTE)
    else:
        with file.open("ab") as more:
            more.write(b"more" * MEGABYTE)


def check_change(server: Server, folder: Folder, key: str, how: str, body: bytes) -> None:
    if how == "shorter":
        assert len(body) < SIZE
        assert server.wait_report(key, "raised") == WRONG.decode()
        assert "has become shorter" in server.report(key)["message"]
    else:
        assert len(body) == SIZE
        assert server.wait_report(key, "sent")
    assert folder.content.startswith(body)


@pytest.mark.parametrize("how", ["shorter", "longer"])
def test_a_file_that_changes_while_it_is_sent(
    server: Server, folder: Folder, key: str, how: str
) -> None:
    file = folder.copy()
    with server.connect(receive_buffer=4096) as client:
        ask(client, f"/noting?key={key}&path={file}")
        assert client.head().headers["content-length"] == str(SIZE)
        change(file, how)
        body = read(client, SIZE)
        check_change(server, folder, key, how, body)
        if how == "shorter":
            assert client.at_end()
        else:
            ask(client, f"/path?path={folder.small}")
            assert sized(client) == SMALL


@pytest.mark.parametrize("how", ["shorter", "longer"])
def test_a_file_that_changes_while_it_is_sent_over_http_2(
    server: Server, folder: Folder, key: str, how: str
) -> None:
    file = folder.copy()
    with HTTP2Client(server.connect().sock, grants=False) as client:
        stream_id = client.get(f"/noting?key={key}&path={file}")
        client.until(lambda: len(client.bodies[stream_id]) == 65_535, "the first window")
        change(file, how)
        client.grants = True
        client.grant(0, 65_535)
        client.grant(stream_id, 65_535)
        assert client.response(stream_id).complete is (how == "longer")
        check_change(server, folder, key, how, bytes(client.bodies[stream_id]))
        assert client.fetch(f"/path?path={folder.small}") == SMALL


@pytest.mark.parametrize("protocol", ["http1", "http2"])
def test_clients_that_leave_in_the_middle(
    server: Server, folder: Folder, key: str, protocol: str
) -> None:
    def ask_and_leave(n: int) -> None:
        target = f"/noting?key={key}{n}&path={folder.huge}"
        if protocol == "http1":
            client = server.connect(receive_buffer=4096)
            ask(client, target)
            if n % 3:
                read(client, 100_000)
            if n % 2:
                client.reset()
            else:
                client.close()
            return
        with HTTP2Client(server.connect().sock) as http2:
            stream_id = http2.get(target)
            if n % 3:
                http2.until(lambda: len(http2.bodies[stream_id]) > 100_000, "some of it")
            if n % 2:
                http2.reset(stream_id)
                http2.ping()

    before = server.open_files()
    for n in range(18):
        ask_and_leave(n)
    for n in range(18):
        if server.report(f"{key}{n}"):  # it came as far as the application
            assert server.wait_report(f"{key}{n}", "raised") == "ClientDisconnected"
    wait_until(lambda: server.open_files() <= before, "descriptors are closed")


@pytest.mark.parametrize("protocol", ["http1", "http2"])
def test_an_application_that_stops_waiting(
    server: Server, folder: Folder, key: str, protocol: str
) -> None:
    """Nothing can follow on half a file: the response is cut, and what comes after it raises."""
    target = f"/give-up?key={key}&path={folder.huge}"
    if protocol == "http1":
        with server.connect(receive_buffer=4096) as client:
            ask(client, target)
            assert server.wait_report(key, "send") == "ClientDisconnected"
            client.head()
            body = read(client, HUGE)
    else:
        with HTTP2Client(server.connect().sock, grants=False) as http2:
            stream_id = http2.get(target)
            assert server.wait_report(key, "send") == "ClientDisconnected"
            assert http2.response(stream_id).reset is not None
            body = bytes(http2.bodies[stream_id])
    assert 0 < len(body) < HUGE
    assert folder.content.startswith(body)


def test_a_client_that_never_reads_is_given_up(worker: str, folder: Folder, key: str) -> None:
    """One that reads little is not."""
    with Server(APP, worker, "--timeouts-write", "1s") as server:
        with (
            server.connect(receive_buffer=4096) as still,
            server.connect(receive_buffer=4096) as slow,
        ):
            ask(still, f"/noting?key={key}&path={folder.huge}")
            ask(slow, f"/noting?key=slow{key}&path={folder.huge}")
            begun = time.monotonic()
            while "raised" not in server.report(key):
                assert time.monotonic() < begun + PATIENCE, "it is waited for"
                slow.sock.recv(10_000)
                time.sleep(0.01)
            assert server.report(key)["raised"] == "ClientDisconnected"
            assert time.monotonic() - begun >= 1
            assert not {"raised", "sent"} & set(server.report(f"slow{key}"))
            assert len(open_files(server, folder)) == 1
        wait_until(lambda: not open_files(server, folder), "both files are closed")
        assert server.stop() == 0
        lines = [line for line in server.stdout.lines if "/noting" in line]
        assert all(line.endswith("disconnected") for line in lines), lines


def test_what_is_cut_off_by_the_end_of_the_server(worker: str, folder: Folder) -> None:
    with (
        Server(APP, worker, "--timeouts-drain", "500ms") as server,
        server.connect(receive_buffer=4096) as client,
    ):
        ask(client, f"/path?path={folder.huge}")
        client.head()
        server.signal()
        assert server.wait() == 1
        assert len(read(client, HUGE)) < HUGE
        assert "internal error" not in str(server.stderr)
        assert "Traceback" not in str(server.stderr)


def test_what_is_under_way_is_finished_before_the_server_ends(worker: str, folder: Folder) -> None:
    with Server(APP, worker) as server, server.connect(receive_buffer=65_536) as client:
        ask(client, f"/path?path={folder.big}")
        head = client.head()
        server.signal()
        assert read(client, int(head.headers["content-length"])) == folder.content[:SIZE]
        assert client.at_end()
        assert server.wait() == 0


def test_the_access_log_counts_the_bytes_of_files(worker: str, folder: Folder) -> None:
    with Server(APP, worker) as server:
        with server.connect() as client:
            for target in (folder.small, folder.big):
                ask(client, f"/path?path={target}")
                sized(client)
            client.request("HEAD", f"/path?path={folder.big}")
            client.request("GET", f"/mixed?path={folder.big}")
        with HTTP2Client(server.connect().sock) as http2:
            http2.fetch(f"/path?path={folder.big}")
        assert server.stop() == 0
        sizes = [int(line.split('" 200 ')[1].split()[0]) for line in server.stdout.lines]
        assert sizes == [len(SMALL), SIZE, 0, 300_009, SIZE]


def test_a_unix_socket_takes_files(worker: str, folder: Folder, tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    with Server(APP, worker, bind=f"unix:{path}") as server:
        with Client(path) as client:
            assert ZERO in client.request("GET", "/extensions").json
            ask(client, f"/zero?path={folder.big}")
            assert sized(client) == folder.content[:SIZE]
        assert server.stop() == 0


def test_nothing_goes_to_the_next_connection(server: Server, folder: Folder) -> None:
    """Which gets the number of the descriptor that has been closed."""
    for _ in range(20):
        leaving = server.connect(receive_buffer=4096)
        ask(leaving, f"/path?path={folder.huge}")
        read(leaving, 10_000)
        leaving.reset()
        with server.connect() as client:
            ask(client, f"/path?path={folder.small}")
            assert sized(client) == SMALL
            client.sock.settimeout(0.01)
            with pytest.raises(TimeoutError):
                client.sock.recv(1)
