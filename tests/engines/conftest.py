"""One suite for every engine of a protocol: these fixtures run a test on each, fed in each style."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from hyperserver.protocol.interface import Limits
from hyperserver.protocol.negotiate import HTTP1_ENGINES
from tests.engines import h2_peer
from tests.engines.playbook import FEEDS, Peer

# ---- HTTP/1 -------------------------------------------------------------------------------


@pytest.fixture(params=HTTP1_ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(params=FEEDS)
def feed_name(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def client(engine: str, feed_name: str) -> Peer:
    """A connection fed whole, byte by byte and at random splits: for what a client sends."""
    return Peer(engine, FEEDS[feed_name])


@pytest.fixture
def connect(engine: str, feed_name: str) -> Callable[[Limits], Peer]:
    """As ``client``, with limits of the test's choice."""
    return lambda limits: Peer(engine, FEEDS[feed_name], limits)


@pytest.fixture
def peer(engine: str) -> Peer:
    """A connection fed whole: for what a server says and when."""
    return Peer(engine)


@pytest.fixture
def limited(engine: str) -> Callable[[Limits], Peer]:
    """As ``peer``, with limits of the test's choice."""
    return lambda limits: Peer(engine, limits=limits)


# ---- HTTP/2 -------------------------------------------------------------------------------


@pytest.fixture(params=h2_peer.HTTP2_ENGINES)
def http2_engine(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def h2(http2_engine: str) -> h2_peer.Peer:
    """A connection that has been greeted, fed whole."""
    return h2_peer.Peer(http2_engine)


@pytest.fixture
def h2_with(http2_engine: str) -> Callable[..., h2_peer.Peer]:
    """As ``h2``, with limits, options, settings… of the test's choice."""
    return partial(h2_peer.Peer, http2_engine)


@pytest.fixture
def h2_fed(http2_engine: str, feed_name: str) -> h2_peer.Peer:
    """As ``h2``, fed whole, byte by byte and at random splits: for what a client sends."""
    return h2_peer.Peer(http2_engine, feed=FEEDS[feed_name])
