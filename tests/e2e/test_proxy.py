"""A server behind a proxy: the peer's word on its client is taken where it is trusted."""

from __future__ import annotations

import json

import pytest

from tests.e2e.support import Server

FORWARDED = b"x-forwarded-for: 1.1.1.1, 192.0.2.7\r\nx-forwarded-proto: https\r\n"


@pytest.mark.parametrize(
    ("trust", "client", "scheme"),
    [("127.0.0.0/8", "192.0.2.7", "https"), ("10.0.0.0/8", "127.0.0.1", "http")],
)
def test_x_forwarded(worker: str, trust: str, client: str, scheme: str) -> None:
    app = "tests.e2e.apps.proxied:app"
    with Server(app, worker, "--proxy-trust", trust) as server, server.connect() as connection:
        connection.send(b"GET / HTTP/1.1\r\nhost: a\r\n" + FORWARDED + b"\r\n")
        said = json.loads(connection.response().body)
        assert (said["client"][0], said["scheme"]) == (client, scheme)
        server.stop()
        assert f"{client}:" in str(server.stdout)
