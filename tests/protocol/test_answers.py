from __future__ import annotations

import pytest

from hyperserver.protocol.answers import MISDIRECTED, Redirect, host_of, make_answer, refusal
from hyperserver.protocol.events import RequestReceived


def request(authority: bytes, target: bytes = b"/") -> RequestReceived:
    return RequestReceived(1, "GET", target, [], "1.1", "http", authority, None, True)


@pytest.mark.parametrize(
    ("authority", "host"),
    [
        (b"", ""),
        (b"a.test", "a.test"),
        (b"A.Test.:80", "a.test"),
        (b"192.0.2.1:80", "192.0.2.1"),
        (b"[2001:DB8::1]:80", "2001:db8::1"),
        (b"[::1]", "::1"),
        (b"\xe4.test", "ä.test"),
    ],
)
def test_the_host_in_an_authority(authority: bytes, host: str) -> None:
    assert host_of(authority) == host


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
