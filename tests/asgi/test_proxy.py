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
        (forwarded_for("192.0.2.\u0667".encode()), None),
        (forwarded_for(b"192.0.2.7, unix:"), None),
        ([(b"forwarded", b"for=192.0.2.7")], PEER),
    ],
)
def test_x_forwarded_for(headers: Headers, client: Address | None) -> None:
    assert TRUST.origin(headers, PEER).client == client


def test_a_hop_over_a_unix_socket() -> None:
    trust = ProxyTrust(("10.0.0.0/8", "unix"), "x-forwarded")
    assert trust.origin(forwarded_for(b"192.0.2.7, unix:"), PEER).client == ("192.0.2.7", 0)
    assert trust.origin(forwarded_for(b"192.0.2.7, unix:, 10.0.0.2"), None).client[0] == "192.0.2.7"  # type: ignore[index]
    assert trust.origin(forwarded_for(b"unix:"), PEER).client is None


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
        # what the client has put before the peer's own
        (forwarded_for(b"192.0.2.7", proto=b"https") + forwarded_for(proto=b"http"), "http"),
        # a proxy that says nothing of its client
        (forwarded_for(proto=b"https"), "https"),
        (forwarded_for(proto=b"https, http"), "http"),
    ],
)
def test_x_forwarded_proto(headers: Headers, scheme: str | None) -> None:
    assert TRUST.origin(headers, PEER).scheme == scheme


HOSTS = ProxyTrust(("10.0.0.0/8",), "x-forwarded", host=True)
HOSTS7239 = ProxyTrust(("10.0.0.0/8",), "forwarded", host=True)


@pytest.mark.parametrize(
    ("headers", "host"),
    [
        ([], None),
        ([(b"x-forwarded-host", b"shop.test")], b"shop.test"),
        ([(b"x-forwarded-host", b"shop.test:8443")], b"shop.test:8443"),
        ([(b"x-forwarded-host", b"evil.test, shop.test")], b"shop.test"),
        ([(b"x-forwarded-host", b"evil.test"), (b"x-forwarded-host", b"shop.test")], b"shop.test"),
        ([(b"x-forwarded-host", b"user@shop.test")], None),
        ([(b"x-forwarded-host", b"shop.test/")], None),
        ([(b"x-forwarded-host", b":80")], None),
        ([(b"x-forwarded-host", b"\xff")], None),
        ([(b"x-forwarded-host", b"")], None),
        (
            [
                *forwarded_for(b"1.1.1.1, 192.0.2.7, 10.0.0.9"),
                (b"x-forwarded-host", b"evil.test, shop.test, inner.test"),
            ],
            b"shop.test",
        ),
        ([*forwarded_for(b"192.0.2.7, 10.0.0.9"), (b"x-forwarded-host", b"a.test")], b"a.test"),
        ([(b"forwarded", b"host=shop.test")], None),
    ],
)
def test_x_forwarded_host(headers: Headers, host: bytes | None) -> None:
    assert HOSTS.origin(headers, PEER).host == host
    assert TRUST.origin(headers, PEER).host is None


PREFIXES = ProxyTrust(("10.0.0.0/8",), "x-forwarded", prefix=True)


@pytest.mark.parametrize(
    ("value", "prefix"),
    [
        (b"/shop", "/shop"),
        (b"/shop/", "/shop"),
        (b"/a/b", "/a/b"),
        (b"/", ""),
        (b"/evil, /shop", "/shop"),
        (b"/sh%20op", "/sh op"),
        (b"/caf\xc3\xa9", "/café"),
        (b"/.well-known", "/.well-known"),
        (b"", None),
        (b"shop", None),
        (b"//evil.test", None),
        (b"/%2Fevil.test", None),
        (b"/\\evil.test", None),
        (b"/a/../b", None),
        (b"/%2e%2e", None),
        (b"/a//b", None),
        (b"/a?b", None),
        (b"/a%00", None),
        (b"https://evil.test", None),
    ],
)
def test_x_forwarded_prefix(value: bytes, prefix: str | None) -> None:
    headers = [(b"x-forwarded-prefix", b"/first"), (b"x-forwarded-prefix", value)]
    assert PREFIXES.origin(headers, PEER).prefix == prefix
    assert TRUST.origin(headers, PEER).prefix is None


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
        (b'for="_hidden:_port", for="[2001:db8::9]:_port"', None, None),
        (b'for="unknown:1234"', None, None),
        (b"for=192.0.2.7, for=_hidden, for=10.0.0.9", None, None),
        (b"proto=https", PEER, "https"),
        (b"for=192.0.2.7, proto=https", PEER, "https"),
        (b"for=192.0.2.7;for=10.0.0.9", None, None),
        (b"for=192.0.2.7;proto=http;proto=https", ("192.0.2.7", 0), None),
        (b"FOR=192.0.2.7;PROTO=HTTPS", ("192.0.2.7", 0), "https"),
        (b'for="\\1\\92.0.2.7"', ("192.0.2.7", 0), None),
        (b'for=1.1.1.1, by="a\\",b";for=192.0.2.7', ("192.0.2.7", 0), None),
        (b"for=2001:db9::17", None, None),  # brackets and quotes are a must
        (b'for="2001:db9::17"', ("2001:db9::17", 0), None),
        (b"for=192.0.2.7, , ", ("192.0.2.7", 0), None),
        (b" , for=192.0.2.7", ("192.0.2.7", 0), None),
        (b"for=192.0.2.7;;proto=https; ", ("192.0.2.7", 0), "https"),
        (b"for=192.0.2.7;proto=https junk", None, None),
        (b"for=192.0.2.7;proto", None, None),
        (b"", PEER, None),
    ],
)
def test_forwarded(value: bytes, client: Address | None, scheme: str | None) -> None:
    headers = [(b"forwarded", value), (b"x-forwarded-for", b"6.6.6.6")]
    assert RFC7239.origin(headers, PEER)[:2] == (client, scheme)


@pytest.mark.parametrize(
    "made_up",
    [
        b"for=6.6.6.6",
        b'for="6.6.6.6',
        b'for=6.6.6.6, x="',
        b'"',
        b'x="\\',
        b'for=6.6.6.6;x="\\"',
        b'for="10.0.0.1, for=6.6.6.6;y="',
    ],
)
@pytest.mark.parametrize(
    "appended",
    [
        b"for=192.0.2.7;proto=https;host=shop.test",
        b'for="192.0.2.7:80";proto="https";host="shop.test:80"',
    ],
)
def test_a_client_makes_nothing_up(made_up: bytes, appended: bytes) -> None:
    """Whatever it writes, open quotes among it, a proxy's own element is read as it was meant."""
    origin = HOSTS7239.origin([(b"forwarded", made_up + b", " + appended)], PEER)
    assert origin.client is not None
    assert (origin.client[0], origin.scheme) == ("192.0.2.7", "https")
    assert origin.host is not None
    assert origin.host.startswith(b"shop.test")


def test_several_lines_are_one_list() -> None:
    lines = [(b"forwarded", b"for=192.0.2.7;proto=https"), (b"forwarded", b"for=10.0.0.9")]
    assert RFC7239.origin(lines, PEER)[:2] == (("192.0.2.7", 0), "https")


def test_the_peer_of_a_unix_socket() -> None:
    trust = ProxyTrust(("unix",), "x-forwarded")
    assert trust.origin(forwarded_for(b"1.1.1.1, 192.0.2.7"), None).client == ("192.0.2.7", 0)
    assert trust.origin([], None).client is None


EVERYTHING = ProxyTrust(("10.0.0.0/8", "unix"), "x-forwarded", host=True, prefix=True)


@given(
    st.binary(max_size=200) | st.text('for="=;, 10.0.0.\\', max_size=60).map(str.encode),
    st.sampled_from([TRUST, RFC7239, HOSTS7239, EVERYTHING]),
)
def test_nothing_that_is_said_raises(value: bytes, trust: ProxyTrust) -> None:
    names = (b"for", b"proto", b"host", b"prefix")
    fields = [(b"x-forwarded-" + name, value) for name in names]
    origin = trust.origin([*fields, (b"forwarded", value)], PEER)
    assert origin.client is None or 0 <= origin.client[1] <= 65_535  # type: ignore[operator]
    assert origin.scheme in {None, "http", "https"}
    assert origin.prefix is None or origin.prefix == "" or origin.prefix[0] == "/"


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


@pytest.mark.parametrize(
    ("target", "path"),
    [
        (b"/a%20b?c", "/shop/a b"),
        (b"/shop/a", "/shop/a"),
        (b"/shop", "/shop"),
        (b"/shopping", "/shop/shopping"),
        (b"/", "/shop/"),
        (b"*", "*"),
    ],
)
def test_the_prefix_of_a_trusted_proxy(target: bytes, path: str) -> None:
    """It takes the place of the configured one, and stands in front of the path like that."""
    context = ScopeContext(PEER, ("10.0.0.2", 80), "/old", None, proxy=EVERYTHING)
    said = request((b"x-forwarded-prefix", b"/shop/"))
    said.target = target
    for scope in (http_scope(said, context), websocket_scope(said, context, [])):
        assert (scope["root_path"], scope["path"]) == ("/shop", path)
        assert scope["raw_path"] == target.partition(b"?")[0]
    assert http_scope(request(), context)["root_path"] == "/old"


def test_the_host_of_a_trusted_proxy() -> None:
    context = ScopeContext(PEER, ("10.0.0.2", 80), "", None, proxy=EVERYTHING)
    said = request((b"x", b"1"), (b"host", b"inner"), (b"x-forwarded-host", b"shop.test"))
    for scope in (http_scope(said, context), websocket_scope(said, context, [])):
        assert scope["headers"] == [
            (b"host", b"shop.test"),
            (b"x", b"1"),
            (b"x-forwarded-host", b"shop.test"),
        ]
    assert http_scope(request((b"host", b"inner")), context)["headers"] == [(b"host", b"inner")]
    context = ScopeContext(PEER, ("10.0.0.2", 80), "", None, proxy=TRUST)
    assert http_scope(said, context)["headers"] == said.headers
