from __future__ import annotations

import pytest

from hyperserver.protocol.answers import (
    MISDIRECTED,
    UNKNOWN_HOST,
    Redirect,
    ServerNames,
    make_answer,
    refusal,
)
from hyperserver.protocol.events import RequestReceived


def request(authority: bytes, target: bytes = b"/") -> RequestReceived:
    return RequestReceived(1, "GET", target, [], "1.1", "http", authority, None, True)


@pytest.mark.parametrize(
    ("names", "authority", "location"),
    [
        (("a.test",), b"a.test", b"https://a.test/"),
        (("a.test",), b"a.test:8080", b"https://a.test/"),
        (("a.test:443",), b"a.test", b"https://a.test/"),
        (("A.test:8443", "b.test"), b"a.test", b"https://a.test:8443/"),
        (("a.test", "b.test"), b"B.test", b"https://b.test/"),
        (("a.test", "b.test"), b"c.test", b"https://a.test/"),
        (("a.test", "b.test"), b"", b"https://a.test/"),
        (("a.test:1", "a.test:2"), b"a.test", b"https://a.test:1/"),
        (("[::1]:8443",), b"[::1]:80", b"https://[::1]:8443/"),
    ],
)
def test_a_redirect_leads_to_its_own_names(
    names: tuple[str, ...], authority: bytes, location: bytes
) -> None:
    answer = Redirect(names).answer(request(authority))
    assert answer.status == 308
    assert dict(answer.headers)[b"location"] == location


def test_a_redirect_keeps_the_target() -> None:
    redirect = Redirect(("a.test",))
    for target, path in ((b"*", b"/"), (b"/a?b=%20", b"/a?b=%20"), (b"//b.test", b"//b.test")):
        headers = dict(redirect.answer(request(b"x", target)).headers)
        assert headers[b"location"] == b"https://a.test" + path


def test_answers_say_how_long_they_are() -> None:
    answer = make_answer(200, b"four", (b"x", b"y"))
    assert answer.headers.content_length == 4
    assert (b"x", b"y") in answer.headers


def test_refusals_say_why() -> None:
    answer = refusal(404, "no such thing")
    assert (answer.status, answer.reason) == (404, "no such thing")
    assert answer.body == b"404 Not Found: no such thing\n"
    assert MISDIRECTED.status == 421


def test_other_hosts_are_refused() -> None:
    names = ServerNames(("a.test",))
    assert names.answer(b"A.test.:8443") is None
    for authority in (b"b.test", b"", b"a.test.b.test", b"127.0.0.1"):
        assert names.answer(authority) is UNKNOWN_HOST
    assert UNKNOWN_HOST.status == 421
