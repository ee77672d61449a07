"""A TLS server and clients that have done their handshake with it, for the tests of TLS."""

from __future__ import annotations

import ssl
from collections.abc import Callable

import pytest

from tests.conftest import Certificate, MakeClientContext, server_context
from tests.engines.playbook import Feed, whole
from tests.protocol.tls_client import Client, Server

Connect = Callable[..., Client]


@pytest.fixture
def server(certificate: Certificate) -> Server:
    return Server(server_context(certificate))


@pytest.fixture
def connect(server: Server, make_client_context: MakeClientContext) -> Connect:
    """``connect(*alpn, version=None, feed=whole)``, at the time 100."""

    def connect(*alpn: str, version: ssl.TLSVersion | None = None, feed: Feed = whole) -> Client:
        context = make_client_context(*alpn, version=version)
        client = Client(server.accept(), context, feed=feed).shake_hands()
        assert client.error is None
        assert client.engine is server.engine.as_engine()
        return client

    return connect
