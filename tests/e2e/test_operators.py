"""What operators configure around applications: mounts, server names, response fields, proxies."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.http2_client import HTTP2Client
from tests.e2e.support import ROOT, Client, Response, Server, wait_until
from tests.e2e.websocket_client import Socket, Tunnel, connect, handshake
from tests.engines.h2_frames import Field

APPS = "tests.e2e.apps.mounted"
CONFIG = f"""
server_names = ["test", "shop.test", "*.shop.test", "127.0.0.0/8"]

[[mount]]
path = "/api"
app = "{APPS}:api"

[[mount]]
path = "/api/v2"
app = "{APPS}:make_api"
factory = true

[[mount]]
host = "admin.shop.test"
app = "{APPS}:admin"

[response]
headers = ["X-Frame-Options: DENY", "server: shop"]

[proxy]
trust = ["127.0.0.1"]
host = true
prefix = true
"""


class Asking:
    """The same requests over HTTP/1.1 and HTTP/2."""

    def __init__(self, server: Server) -> None:
        self.one = server.connect()
        self.two = HTTP2Client(Client(("127.0.0.1", server.port)).sock)

    def get(
        self, target: str, host: str = "test", *fields: Field
    ) -> tuple[int, dict[str, str], Any]:
        """Status, fields and JSON, if it is that."""
        lines = b"".join(b"%b: %b\r\n" % field for field in fields)
        self.one.send(f"GET {target} HTTP/1.1\r\nhost: {host}\r\n".encode() + lines + b"\r\n")
        first = self.one.response()
        stream_id = self.two.writer.next_id
        head = [(b":method", b"GET"), (b":scheme", b"http"), (b":authority", host.encode())]
        head += [(b":path", target.encode()), *fields]
        self.two.send(self.two.writer.headers(stream_id, head, True))
        second = self.two.response(stream_id)
        assert (second.status, second.get(b"server")) == (first.status, b"shop")
        frame_options = first.headers["x-frame-options"]
        assert second.get(b"x-frame-options") == frame_options.encode()
        assert bytes(self.two.bodies[stream_id]) == first.body
        return first.status, first.headers, _json(first)

    def close(self) -> None:
        self.one.close()
        self.two.sock.close()


def _json(response: Response) -> Any:
    is_json = response.headers.get("content-type") == "application/json"
    return json.loads(response.body) if is_json else response.body


@pytest.fixture
def server(worker: str, tmp_path: Path) -> Iterator[Server]:
    with Server(f"{APPS}:shop", worker, config=CONFIG, folder=tmp_path) as server:
        yield server
        assert server.stop() == 0
        assert "internal error" not in str(server.stderr)


def test_everything_together(server: Server) -> None:
    asking = Asking(server)
    # mounts: each with its name, its root_path, the whole path, and a state of its own
    for target, host, name, root_path in (
        ("/", "test", "shop", ""),
        ("/apix", "test", "shop", ""),
        ("/api", "test", "api", "/api"),
        ("/%61pi/x", "test", "api", "/api"),
        ("/api/v2/x", "shop.test", "made", "/api/v2"),
        ("/x", "Admin.shop.test.:80", "admin", ""),
        ("/x", "127.0.0.1:8000", "shop", ""),
    ):
        status, headers, said = asking.get(target, host)
        assert (status, said["name"], said["root_path"]) == (200, name, root_path)
        assert said["path"] == target.replace("%61", "a")
        assert said["state"] == {"of": name}
        assert (headers["server"], headers["x-frame-options"]) == ("shop", "DENY")
    # an application's own field holds; what the server answers has them, too
    assert asking.get("/own")[1]["x-frame-options"] == "SAMEORIGIN"
    assert asking.get("/own")[1]["x-frame-options"] == "SAMEORIGIN"
    assert asking.get("/fails")[0] == 500
    # server names
    for host in ("evil.test", "a.b.shop.test", "10.0.0.1"):
        status, headers, body = asking.get("/", host)
        assert (status, headers["x-frame-options"]) == (421, "DENY")
        assert b"no host of that name is served here" in body
    # a trusted proxy
    forwarded = (
        (b"x-forwarded-for", b"6.6.6.6, 192.0.2.7"),
        (b"x-forwarded-host", b"admin.shop.test"),
        (b"x-forwarded-prefix", b"/cut/off"),
    )
    said = asking.get("/api", "inner", *forwarded)[2]
    assert (said["name"], said["host"]) == ("admin", "admin.shop.test")
    assert (said["root_path"], said["path"]) == ("/cut/off", "/cut/off/api")
    said = asking.get("/api/x", "test", (b"x-forwarded-prefix", b"/cut"))[2]
    assert (said["name"], said["root_path"], said["path"]) == ("api", "/cut/api", "/cut/api/x")
    assert asking.get("/", "shop.test", (b"x-forwarded-host", b"evil.test"))[0] == 421
    asking.close()
    assert server.stop() == 0
    assert str(server.stdout).count('192.0.2.7:0 "GET /api ') == 2
    lines = [line for line in server.stdout.lines if line.startswith(("startup", "shutdown"))]
    names = ["shop", "api", "made", "admin"]
    assert lines == [f"startup {n}" for n in names] + [f"shutdown {n}" for n in reversed(names)]


def test_websockets_and_what_is_no_request_at_all(server: Server) -> None:
    with Socket(server, "/api/ws") as socket:
        said = json.loads(socket.message())
        assert (said["name"], said["root_path"], said["path"]) == ("api", "/api", "/api/ws")
        assert socket.response.headers["x-frame-options"] == "DENY"
        assert socket.response.headers["server"] == "shop"
    with HTTP2Client(server.connect().sock) as client:
        tunnel = Tunnel(client, "/api/v2/ws")
        assert json.loads(tunnel.message())["name"] == "made"
        assert tunnel.answer.get(b"x-frame-options") == b"DENY"
        refused = connect(client, "/api", authority=b"evil.test")
        assert client.response(refused).status == 421

    for request, status in (
        (b"GET / HTTP/1.0\r\n\r\n", 421),  # which names no host
        (b"GET / HTTP/1.1\r\nhost: a b\r\n\r\n", 400),
    ):
        with server.connect() as client:
            client.send(request)
            response = client.response()
            assert (response.status, response.headers["x-frame-options"]) == (status, "DENY")


def test_mounts_alone(worker: str, tmp_path: Path) -> None:
    config = f'[[mount]]\npath = "/api"\napp = "{APPS}:api"\n'
    with Server("", worker, config=config, folder=tmp_path) as server:
        assert server.get("/api/x").json["name"] == "api"
        assert server.get("/apix").status == 404
        with server.connect() as asking:
            asking.send(handshake("/"))
            assert asking.response().status == 404
        with HTTP2Client(server.connect().sock) as client:
            assert client.response(client.get("/")).status == 404
            assert client.response(connect(client, "/")).status == 404
        (tmp_path / "hyperserver.toml").write_text(
            f'app_dir = "{ROOT}"\nserver_names = ["other"]\nserver_header = false\n{config}'
            '[response]\nheaders = ["x-new: yes"]\n'
        )
        server.signal(signal.SIGHUP)
        wait_until(
            lambda: "applied: server_names, server_header, response" in str(server.stderr), "it"
        )
        response = server.get("/api/x")
        assert (response.status, response.headers["x-new"]) == (421, "yes")
        assert "server" not in response.headers
        assert server.stop() == 0


def test_one_that_does_not_start(worker: str, tmp_path: Path) -> None:
    (tmp_path / "hyperserver.toml").write_text(
        f'app_dir = "{ROOT}"\n[[mount]]\npath = "/a"\napp = "{APPS}:api"\n'
        f'[[mount]]\nhost = "b.test"\napp = "{APPS}:refusing"\n'
    )
    done = subprocess.run(
        [sys.executable, "-m", "hyperserver", "--worker", worker, "-b", "127.0.0.1:0"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 3
    assert "hyperserver: the application at b.test/ failed to start: no database" in done.stderr
    assert done.stdout == "startup api\nshutdown api\n"
