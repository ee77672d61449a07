"""Whom a trusted proxy has spoken for, by X-Forwarded-For and by Forwarded (RFC 7239)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hyperserver.asgi.proxy import ProxyTrust
from hyperserver.asgi.scope import Address, ScopeContext, http_scope, websocket_scope
from hyperserver.protocol.events import Headers, RequestReceived

PEER = ("10.0.0.1", 5000)
TRUST = ProxyTrust(("10.0.0.0/8", "2001:db8::/32"), "x-forwarded")
RFC7239 = ProxyTrust(("10.0.0.0/8", "2001:db8::/32"), "forwarded")


def forwarded_for(*values: bytes, proto: bytes | None = None) -> Headers:
    headers = [(b"x-forwarded-for", value) for value in values]
    return headers + ([] if proto is None else [(b"x-forwarded-proto", proto)])


@pytest.mark.parametrize(
    ("trusted", "peer", "believed"),
    [
        (("10.0.0.0/8",), ("10.200.3.4", 1), True),
        (("10.0.0.0/8",), ("11.0.0.1", 1), False),
        (("10.0.0.0/8",), ("::ffff:10.0.0.1", 1), True),
        (("10.0.0.0/8",), None, False),
        (("::1",), ("::1", 1), True),
        (("127.0.0.1",), ("::1", 1), False),
        (("unix",), None, True),
        (("unix",), ("127.0.0.1", 1), False),
        (("*",), ("192.0.2.1", 1), True),
        (("*",), None, True),
    ],
)
def test_who_is_believed(trusted: tuple[str, ...], peer: Address | None, believed: bool) -> None:
    assert ProxyTrust(trusted, "x-forwarded").trusts(peer) is believed


@pytest.mark.parametrize(
    ("headers", "client"),
    [
        ([], PEER),
        (forwarded_for(b"192.0.2.7"), ("192.0.2.7", 0)),
        (forwarded_for(b"192.0.2.7:8080"), ("192.0.2.7", 8080)),
        (forwarded_for(b"2001:db9::1"), ("2001:db9::1", 0)),
        (forwarded_for(b"[2001:db9::1]:80"), ("2001:db9::1", 80)),
        (forwarded_for(b"::ffff:192.0.2.7"), ("192.0.2.7", 0)),
        # walked from the right: what stands to the left of the client is its own invention
        (forwarded_for(b"1.1.1.1, 192.0.2.7"), ("192.0.2.7", 0)),
        (forwarded_for(b"1.1.1.1, 192.0.2.7, 10.0.0.9"), ("192.0.2.7", 0)),
        (forwarded_for(b"1.1.1.1", b"192.0.2.7,10.0.0.9"), ("192.0.2.7", 0)),
        (forwarded_for(b"10.0.0.3, 10.0.0.9"), ("10.0.0.3", 0)),
        (forwarded_for(b"192.0.2.7, nonsense"), None),
        (forwarded_for(b"192.0.2.7, "), None),
        (forwarded_for(b"nonsense, 192.0.2.7"), ("192.0.2.7", 0)),
        (forwarded_for(b"1.2.3.4.5"), None),
        (forwarded_for(b"192.0.2.7:99999"), None),
        ([(b"forwarded", b"for=192.0.2.7")], PEER),
    ],
)
def test_x_forwarded_for(headers: Headers, client: Address | None) -> None:
    assert TRUST.origin(headers, PEER)[0] == client


@pytest.mark.parametrize(
    ("headers", "scheme"),
    [
        (forwarded_for(b"192.0.2.7"), None),
        (forwarded_for(b"192.0.2.7", proto=b"https"), "https"),
        (forwarded_for(b"192.0.2.7", proto=b"HTTPS"), "https"),
        (forwarded_for(b"192.0.2.7", proto=b"wss"), "https"),
        (forwarded_for(b"192.0.2.7", proto=b"gopher"), None),
        (forwarded_for(b"1.1.1.1, 192.0.2.7, 10.0.0.9", proto=b"http, https, http"), "https"),
        (forwarded_for(b"192.0.2.7, 10.0.0.9", proto=b"https"), "https"),
    ],
)
def test_x_forwarded_proto(headers: Headers, scheme: str | None) -> None:
    assert TRUST.origin(headers, PEER)[1] == scheme


@pytest.mark.parametrize(
    ("value", "client", "scheme"),
    [
        (b"for=192.0.2.7;proto=https;by=10.0.0.1", ("192.0.2.7", 0), "https"),
        (b'For="192.0.2.7:4711" ; Proto=http', ("192.0.2.7", 4711), "http"),
        (b'for="[2001:db9::17]:4711"', ("2001:db9::17", 4711), None),
        (b'for=1.1.1.1, for="192.0.2.7";proto=https, for=10.0.0.9', ("192.0.2.7", 0), "https"),
        (b'for="a,b", for=192.0.2.7', ("192.0.2.7", 0), None),
        (b"for=unknown", None, None),
        (b"for=_hidden;proto=https", None, "https"),
        (b"proto=https", None, "https"),
        (b"", PEER, None),
    ],
)
def test_forwarded(value: bytes, client: Address | None, scheme: str | None) -> None:
    headers = [(b"forwarded", value), (b"x-forwarded-for", b"6.6.6.6")]
    assert RFC7239.origin(headers, PEER) == (client, scheme)


def test_several_lines_are_one_list() -> None:
    lines = [(b"forwarded", b"for=192.0.2.7;proto=https"), (b"forwarded", b"for=10.0.0.9")]
    assert RFC7239.origin(lines, PEER) == (("192.0.2.7", 0), "https")


def test_the_peer_of_a_unix_socket() -> None:
    trust = ProxyTrust(("unix",), "x-forwarded")
    assert trust.origin(forwarded_for(b"1.1.1.1, 192.0.2.7"), None)[0] == ("192.0.2.7", 0)
    assert trust.origin([], None)[0] is None


@given(st.binary(max_size=200), st.sampled_from([TRUST, RFC7239]))
def test_nothing_that_is_said_raises(value: bytes, trust: ProxyTrust) -> None:
    names = (b"x-forwarded-for", b"x-forwarded-proto", b"forwarded")
    client, scheme = trust.origin([(name, value) for name in names], PEER)
    assert client is None or 0 <= client[1] <= 65_535  # type: ignore[operator]
    assert scheme in {None, "http", "https"}


def request(*headers: tuple[bytes, bytes]) -> RequestReceived:
    return RequestReceived(1, "GET", b"/", list(headers), "1.1", "http", b"a", None, True)


def test_scopes() -> None:
    context = ScopeContext(PEER, ("10.0.0.2", 80), "", None, proxy=TRUST)
    said = request(*forwarded_for(b"192.0.2.7", proto=b"https"))
    scope = http_scope(said, context)
    assert (scope["client"], scope["scheme"]) == (("192.0.2.7", 0), "https")
    assert context.client_of(said.headers) == ("192.0.2.7", 0)
    scope = websocket_scope(said, context, [])
    assert (scope["client"], scope["scheme"]) == (("192.0.2.7", 0), "wss")
    assert http_scope(request(), context)["client"] == PEER
    assert http_scope(request(), context)["scheme"] == "http"


def test_scopes_of_a_peer_that_is_not_trusted() -> None:
    context = ScopeContext(PEER, ("10.0.0.2", 80), "", None)
    scope = http_scope(request(*forwarded_for(b"192.0.2.7", proto=b"https")), context)
    assert (scope["client"], scope["scheme"]) == (PEER, "http")
