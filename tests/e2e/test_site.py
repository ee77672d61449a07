"""What listeners answer by themselves, and what they add: redirects, ACME files, hsts, alt-svc."""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Certificate, MakeClientContext
from tests.e2e.http2_client import HTTP2Client
from tests.e2e.support import Client, Server, TLSClient, wait_until
from tests.engines import h2_frames as h2

ALT_SVC = 'h3=":443"; ma=60'


class Site(Server):
    """Two listeners: one redirects to the other, which speaks TLS."""

    context: ssl.SSLContext

    @property
    def ports(self) -> list[int]:
        wait_until(lambda: str(self.stderr).count("listening on") == 2, "both listen")
        return [int(port) for port in re.findall(r"listening on \S+:(\d+)", str(self.stderr))]

    def plain(self) -> Client:
        return Client(("127.0.0.1", self.ports[0]))

    def secure(self, *alpn: str) -> TLSClient:
        if alpn:
            self.context.set_alpn_protocols(list(alpn))
        return TLSClient(("127.0.0.1", self.ports[1]), self.context)


@pytest.fixture
def webroot(tmp_path: Path) -> Path:
    folder = tmp_path / "acme" / ".well-known" / "acme-challenge"
    folder.mkdir(parents=True)
    (folder / "to-ken_1").write_text("to-ken_1.thumbprint")
    return folder


@pytest.fixture
def site(
    worker: str,
    certificate: Certificate,
    make_client_context: MakeClientContext,
    webroot: Path,
    tmp_path: Path,
) -> Iterator[Site]:
    config = f"""
server_names = ["test"]
[[listen]]
bind = ["127.0.0.1:0"]
redirect = "https"
names = ["shop.test", "api.test:8443"]
acme_webroot = "acme"
[[listen]]
bind = ["127.0.0.1:0"]
tls = true
hsts = "180d"
alt_svc = '{ALT_SVC}'
[tls]
certificate = "{certificate.chain}"
key = "{certificate.key}"
"""
    app = "examples.showcase:app"
    with Site(app, worker, config=config, bind=None, folder=tmp_path) as server:
        server.context = make_client_context()
        yield server
        assert server.stop() == 0
        assert "Traceback" not in str(server.stderr)


def ask(client: Client, host: str, target: str, method: str = "GET") -> None:
    client.send(f"{method} {target} HTTP/1.1\r\nhost: {host}\r\n\r\n".encode())


REDIRECTS = [
    ("shop.test", "/a%20b?c=d&e", "https://shop.test/a%20b?c=d&e"),
    ("SHOP.test.", "/", "https://shop.test/"),
    ("api.test:80", "//evil.test", "https://api.test:8443//evil.test"),
    ("evil.test", "/hello", "https://shop.test/hello"),
    ("127.0.0.1", "/hello", "https://shop.test/hello"),
]


def test_redirect(site: Site) -> None:
    for host, target, location in REDIRECTS:
        with site.plain() as client:
            for _ in range(2):
                ask(client, host, target)
                response = client.response()
                assert (response.status, response.headers["location"]) == (308, location)
                assert "strict-transport-security" not in response.headers
                assert response.body == f"see {location}\n".encode()
            ask(client, host, target, "HEAD")
            response = client.response("HEAD")
            assert (response.status, response.headers["location"]) == (308, location)
            response = client.request("POST", target, b"a body that nobody reads")
            assert response.status == 308
    with HTTP2Client(site.plain().sock) as connection:
        answer = connection.response(connection.get("/hello"))
        assert answer.status == 308
        assert answer.get(b"location") == b"https://shop.test/hello"
    wait_until(lambda: 'HTTP/2" 308' in str(site.stdout), "it is in the access log")


def test_a_redirect_takes_no_websocket(site: Site) -> None:
    with site.plain() as client:
        client.send(
            b"GET /ws HTTP/1.1\r\nhost: shop.test\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
            b"sec-websocket-version: 13\r\nsec-websocket-key: MDEyMzQ1Njc4OTAxMjM0NQ==\r\n\r\n"
        )
        assert client.response().status == 308


def test_acme_challenges(site: Site, webroot: Path, tmp_path: Path) -> None:
    base = "/.well-known/acme-challenge/"
    (tmp_path / "secret").write_text("secret")
    (webroot / "link").symlink_to(tmp_path / "secret")
    (webroot / "folder").mkdir()
    (webroot / "large").write_bytes(bytes(5000))
    with site.plain() as client:
        ask(client, "whoever.test", base + "to-ken_1")
        response = client.response()
        assert (response.status, response.body) == (200, b"to-ken_1.thumbprint")
        assert response.headers["content-type"] == "application/octet-stream"
        ask(client, "whoever.test", base + "to-ken_1", "HEAD")
        assert client.response("HEAD").headers["content-length"] == "19"
        for target in (
            "other",
            "..%2F..%2Fsecret",
            "../../../secret",
            "link",
            "folder",
            "large",
            "",
        ):
            ask(client, "whoever.test", base + target)
            assert client.response().status == 404, target
        assert client.request("POST", base + "to-ken_1", b"x").status == 405
        (webroot / "later").write_text("later.thumbprint")
        ask(client, "whoever.test", base + "later")
        assert client.response().body == b"later.thumbprint"


def test_fields_of_the_listener(site: Site) -> None:
    with site.secure() as client:
        for target in ("/hello", "/download", "/nothing"):
            response = client.request("HEAD", target)
            assert response.headers["strict-transport-security"] == "max-age=15552000"
            assert response.headers["alt-svc"] == ALT_SVC
    with HTTP2Client(site.secure("h2").tls, scheme=b"https") as connection:
        answer = connection.response(connection.get("/hello"))
        assert answer.get(b"strict-transport-security") == b"max-age=15552000"
        assert answer.get(b"alt-svc") == ALT_SVC.encode()


def test_other_hosts_over_tls(site: Site) -> None:
    with site.secure() as client:
        for host, status in (("evil.test", 421), ("Test.:8443", 200), ("", 421)):
            ask(client, host, "/hello")
            response = client.response()
            assert (response.status, response.headers["alt-svc"]) == (status, ALT_SVC)
    with HTTP2Client(site.secure("h2").tls, scheme=b"https") as connection:
        stream_id = connection.writer.next_id
        head = h2.head(b"GET", b"/hello", scheme=b"https", authority=b"evil.test")
        connection.send(connection.writer.headers(stream_id, head, True))
        assert connection.response(stream_id).status == 421
        assert connection.fetch("/hello")
    wait_until(
        lambda: "refused: no host of that name" in str(site.stdout), "the access log says so"
    )
