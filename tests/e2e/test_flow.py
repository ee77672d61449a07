"""Flow control: memory stays flat, and the slower side sets the pace."""

from __future__ import annotations

import hashlib
import sys
import threading
import time
import uuid
from pathlib import Path

import pytest

from tests.e2e.support import Server, wait_until

PROBE = "tests.e2e.apps.probe:app"
MB = 1_000_000
SIZE = 3200 * 65_536  # 210 MB

needs_proc = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@pytest.fixture
def key() -> str:
    return uuid.uuid4().hex


def settled(server: Server, key: str, name: str) -> int:
    """A note that has stopped growing."""
    last, since = -1, time.monotonic()

    def still() -> bool:
        nonlocal last, since
        now = int(server.report(key).get(name, -1))
        if now != last or now < 0:
            last, since = now, time.monotonic()
        return time.monotonic() - since > 0.3

    wait_until(still, f"{name!r} stops growing")
    return last


@needs_proc
@pytest.mark.parametrize("query", ["", "&sized=1"], ids=["chunked", "sized"])
def test_download_in_flat_memory(probe: Server, query: str) -> None:
    probe.get("/download?chunks=10")
    before = probe.status("VmRSS")
    probe.reset_peak()
    got = 0
    with probe.connect() as client:
        client.send(f"GET /download?chunks=3200{query} HTTP/1.1\r\nhost: test\r\n\r\n".encode())
        client.head()
        got = len(client.buffer)
        overhead = 3200 * len(b"10000\r\n\r\n") + len(b"0\r\n\r\n") if not query else 0
        scratch = bytearray(1 << 20)
        while got < SIZE + overhead:
            n = client.sock.recv_into(scratch)
            assert n, got
            got += n
    assert got == SIZE + overhead
    growth = probe.status("VmHWM") - before
    assert growth < 20 * MB, f"{growth:,} bytes"
    print(f"download{query} grew by {growth:,} bytes")


@needs_proc
@pytest.mark.parametrize("chunked", [False, True], ids=["sized", "chunked"])
def test_upload_in_flat_memory(probe: Server, chunked: bool) -> None:
    block = bytes(range(256)) * 2560  # 655,360 bytes
    count = SIZE // len(block)
    digest = hashlib.sha256()
    with probe.connect() as client:
        client.request("POST", "/upload?key=x", block)
        before = probe.status("VmRSS")
        probe.reset_peak()
        framing = "transfer-encoding: chunked" if chunked else f"content-length: {SIZE}"
        client.send(f"POST /upload?key=x HTTP/1.1\r\nhost: test\r\n{framing}\r\n\r\n".encode())
        for _ in range(count):
            digest.update(block)
            client.send(b"%x\r\n%b\r\n" % (len(block), block) if chunked else block)
        if chunked:
            client.send(b"0\r\n\r\n")
        assert client.response().body == b"%d %s" % (SIZE, digest.hexdigest().encode())
    growth = probe.status("VmHWM") - before
    assert growth < 20 * MB, f"{growth:,} bytes"
    print(f"upload{'' if chunked else '&sized'} grew by {growth:,} bytes")


def test_client_that_does_not_read_holds_send(any_probe: Server, key: str) -> None:
    with any_probe.connect(receive_buffer=65_536) as client:
        client.send(f"GET /flood?key={key} HTTP/1.1\r\nhost: test\r\n\r\n".encode())
        held = settled(any_probe, key, "sent")
        assert 0 < held < 12 * MB  # what the kernel's buffers hold, and little of ours
        scratch = bytearray(1 << 20)
        got = 0
        while got < 3 * held:  # it goes on as soon as the client reads
            got += client.sock.recv_into(scratch)
        assert settled(any_probe, key, "sent") > held
    assert any_probe.wait_report(key, "ended") == "ClientDisconnected"


def test_reading_in_fits_and_starts(any_probe: Server) -> None:
    """Every stop makes the transport congested, every start relieves it."""
    count = 300
    with any_probe.connect(receive_buffer=16_384) as client:
        client.send(f"GET /download?chunks={count}&sized=1 HTTP/1.1\r\nhost: t\r\n\r\n".encode())
        client.head()
        got = len(client.buffer)
        client.buffer = b""
        reads = 0
        while got < count * 65_536:
            data = client.sock.recv(700_000 if reads % 3 else 5_000)
            assert data, got
            assert not data.strip(b"\0")
            got += len(data)
            reads += 1
            if reads % 50 == 0:
                time.sleep(0.01)
        assert got == count * 65_536
        assert client.request("GET", "/hello").body == b"Hello"


def test_slow_application_holds_the_client(any_probe: Server, key: str) -> None:
    size = 30 * MB
    with any_probe.connect() as client:
        client.send(
            f"POST /sip?key={key} HTTP/1.1\r\nhost: test\r\ncontent-length: {size}\r\n\r\n".encode()
        )
        sent = 0

        def send_all() -> None:
            nonlocal sent
            while sent < size:
                sent += client.sock.send(bytes(min(262_144, size - sent)))

        thread = threading.Thread(target=send_all, daemon=True)
        thread.start()
        any_probe.wait_report(key, "sipped")
        last = -1

        def still() -> bool:
            nonlocal last
            before, last = last, sent
            time.sleep(0.2)
            return before == sent

        wait_until(still, "the client cannot send any more")
        assert sent < 15 * MB, "the server took what its application did not"
        assert any_probe.get("/hello").body == b"Hello"  # it holds nobody else
        any_probe.get(f"/open?key={key}")
        assert client.response().body == b"%d" % size
        thread.join(20)


def test_pipelined_requests_wait_outside(any_probe: Server, key: str) -> None:
    """While one request is in progress, what is behind it is not read without bound."""
    with any_probe.connect() as client:
        client.send(f"GET /gated?key={key} HTTP/1.1\r\nhost: test\r\n\r\n".encode())
        any_probe.wait_report(key, "waiting")
        client.sock.settimeout(0.5)
        flood = b"GET /hello HTTP/1.1\r\nhost: test\r\n\r\n" * 10_000
        sent = 0
        with pytest.raises(TimeoutError):
            while sent < 50 * MB:
                sent += client.sock.send(flood)
        client.reset()
    any_probe.get(f"/open?key={key}")


@pytest.mark.parametrize("target", ["/flood", "/big?size=30000000"])
def test_client_that_never_reads_is_cut_off(worker: str, tmp_path: Path, target: str) -> None:
    with Server(PROBE, worker, config='[timeouts]\nwrite = "1s"', folder=tmp_path) as server:
        files = server.open_files()
        with server.connect(receive_buffer=65_536) as client:
            mark = "&" if "?" in target else "?"
            client.send(f"GET {target}{mark}key=never HTTP/1.1\r\nhost: test\r\n\r\n".encode())
            begun = time.monotonic()
            server.wait_report("never", "ended", 6)
            if target == "/flood":
                assert time.monotonic() - begun > 0.9
            line = f"GET {target.partition('?')[0]}"
            wait_until(lambda: line in str(server.stdout), "it is logged", 6)
            assert time.monotonic() - begun > 0.9
            assert next(x for x in server.stdout.lines if line in x).endswith("disconnected")
            with pytest.raises(ConnectionResetError):
                client.read_rest()
        wait_until(lambda: server.open_files() <= files, "the connection is closed")
        assert server.stop() == 0
        assert "internal error" not in str(server.stderr)


def test_slow_reader_is_not_cut_off(worker: str, tmp_path: Path) -> None:
    """Progress, however slow, is progress."""
    with (
        Server(PROBE, worker, config='[timeouts]\nwrite = "1s"', folder=tmp_path) as server,
        server.connect(receive_buffer=65_536) as client,
    ):
        client.send(b"GET /download?chunks=150&sized=1 HTTP/1.1\r\nhost: test\r\n\r\n")
        client.head()
        until = time.monotonic() + 3
        while time.monotonic() < until:
            assert client.sock.recv(400_000)
            time.sleep(0.2)
