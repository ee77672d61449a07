"""Host names, paths and response fields, as people write them."""

from __future__ import annotations

import pytest

from hyperserver.config.http import (
    check_field,
    check_host,
    check_hosts,
    check_path,
    is_address,
    is_among,
    split_field,
)


@pytest.mark.parametrize(
    "name",
    ["a.test", "A.test.", "*.a.test", "localhost", "a_b-c.test", "192.0.2.1", "[::1]", "::1"],
)
def test_hosts(name: str) -> None:
    check_host(name)
    check_hosts(name)


@pytest.mark.parametrize("name", ["", "10.0.0.0/8", "2001:db8::/32"])
def test_what_only_a_list_of_hosts_may_have(name: str) -> None:
    check_hosts(name)
    with pytest.raises(ValueError, match="is not a host"):
        check_host(name)


NO_HOSTS = """
    a.test:80 * *. a.*.test *a.test http://a.test .a a..b é.test 10.0.0.1/8 [a.test] [::1]:80 *.*.test
    a,b a/b user@a
"""


@pytest.mark.parametrize("name", [*NO_HOSTS.split(), "a b", "a.test\n"])
def test_no_hosts(name: str) -> None:
    for check in (check_host, check_hosts):
        with pytest.raises(ValueError, match="is not a host"):
            check(name)


def test_hosts_among_others() -> None:
    names = ("A.test.", "*.b.test", "10.0.0.0/8")
    assert is_among("a.TEST", names)
    assert is_among("x.b.test", names)
    assert is_among("*.b.test", names)
    assert not is_among("b.test", names)
    assert not is_among("x.y.b.test", names)
    assert not is_among("a.test", ())
    assert [is_address(name) for name in ("", "10.0.0.0/8", "[::1]", "a.test")] == [
        True,
        True,
        True,
        False,
    ]


@pytest.mark.parametrize("path", ["/", "/api", "/a/b", "/café", "/100%", "/a b"])
def test_paths(path: str) -> None:
    check_path(path)


@pytest.mark.parametrize(
    ("path", "complaint"),
    [
        ("", "must begin with"),
        ("api", "must begin with"),
        ("/api/", "and not end with it"),
        ("//", "and not end with it"),
        ("//api", "is not a path"),
        ("/a?b", "is not a path"),
        ("/a#b", "is not a path"),
        ("/a\nb", "is not a path"),
        ("/a%20b", "is encoded; write the characters themselves"),
    ],
)
def test_no_paths(path: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        check_path(path)


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("x-frame-options: DENY", (b"x-frame-options", b"DENY")),
        ("X-Frame-Options:DENY ", (b"x-frame-options", b"DENY")),
        ("csp:\ta b: c", (b"csp", b"a b: c")),
        ("x: \xe9", (b"x", b"\xe9")),
        ("server: shop", (b"server", b"shop")),
    ],
)
def test_fields(text: str, field: tuple[bytes, bytes]) -> None:
    check_field(text)
    assert split_field(text) == field


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("x-frame-options", 'is not a field; write "name: value"'),
        ("x frame: a", "is not a field"),
        (": a", "is not a field"),
        (":status: 200", "is not a field"),
        ("x-a:", "has no value"),
        ("x-a: a\r\nx-b: c", "cannot stand in a field"),
        ("x-a: \u20ac", "cannot stand in a field"),
        ("Content-Length: 5", "content-length is the server's own business"),
        ("transfer-encoding: chunked", "transfer-encoding is the server's own business"),
        ("Connection: close", "connection is the server's own business"),
        ("date: today", "`date_header`"),
        ("strict-transport-security: max-age=1", "set `listen.hsts`"),
        ("alt-svc: clear", "set `listen.alt_svc`"),
        ("content-type: text/html", "tells of one response alone; let the application set it"),
        ("set-cookie: a=b", "tells of one response alone"),
        ("sec-websocket-accept: x", "tells of one response alone"),
    ],
)
def test_no_fields(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        check_field(text)
