"""What listeners answer by themselves, and in which order."""

from __future__ import annotations

from pathlib import Path

import pytest

from hyperserver.asgi.proxy import ProxyTrust
from hyperserver.config import Listen
from hyperserver.protocol.events import RequestReceived
from hyperserver.runtime.site import Site

NAMES = ("shop.test", "*.shop.test", "10.0.0.0/8")
CHALLENGE = b"/.well-known/acme-challenge/token"


def status(
    site: Site, authority: bytes, target: bytes = b"/", *fields: tuple[bytes, bytes]
) -> int | None:
    headers = [(b"host", authority), *fields]
    request = RequestReceived(1, "GET", target, headers, "1.1", "http", authority, None, True)
    answer = site.answer(request)
    return None if answer is None else answer.status


def test_a_listener_that_answers_nothing() -> None:
    assert not Site(Listen()).answers_anything
    assert Site(Listen(), NAMES).answers_anything
    assert status(Site(Listen()), b"any.test") is None


def test_the_health_of_the_server_is_told_to_whoever_asks() -> None:
    leaves = False
    listen = Listen(health="/healthz", redirect="https", names=("shop.test",))
    site = Site(listen, NAMES, None, lambda: leaves)
    assert site.answers_anything
    for target in (b"/healthz", b"/healthz?deep"):
        assert status(site, b"127.0.0.1", target) == 200
    assert status(site, b"shop.test", b"/healthz/") == 308
    leaves = True
    assert status(site, b"127.0.0.1", b"/healthz") == 503


@pytest.mark.parametrize(
    ("authority", "expected"),
    [
        (b"shop.test", None),
        (b"Shop.Test.:8443", None),
        (b"www.shop.test", None),
        (b"10.1.2.3:8000", None),
        (b"evil.test", 421),
        (b"127.0.0.1", 421),
        (b"", 421),
    ],
)
@pytest.mark.parametrize("target", [b"/", b"*", CHALLENGE])
def test_hosts_that_are_not_served(authority: bytes, expected: int | None, target: bytes) -> None:
    assert status(Site(Listen(), NAMES), authority, target) == expected


def test_requests_without_a_host_may_be_served() -> None:
    site = Site(Listen(), ("", "shop.test"))
    assert status(site, b"") is None
    assert status(site, b"evil.test") == 421


def test_challenges_and_redirects_come_first(tmp_path: Path) -> None:
    folder = tmp_path / CHALLENGE.decode()[1:]
    folder.parent.mkdir(parents=True)
    folder.write_text("token.thumbprint")
    listen = Listen(redirect="https", names=("shop.test",), acme_webroot=str(tmp_path))
    site = Site(listen, NAMES)
    assert status(site, b"evil.test", CHALLENGE) == 200
    assert status(site, b"evil.test", b"/") == 308


def test_the_host_that_a_trusted_proxy_tells() -> None:
    told = (b"x-forwarded-host", b"shop.test")
    made_up = (b"x-forwarded-host", b"evil.test")
    proxy = ProxyTrust(("10.0.0.1",), "x-forwarded", host=True)
    site = Site(Listen(), NAMES, proxy)
    assert status(site, b"inner", b"/", told) is None
    assert status(site, b"inner", b"/") == 421
    assert status(site, b"shop.test", b"/", made_up) == 421
    assert status(site, b"shop.test", b"/", (b"x-forwarded-host", b"no host")) is None
    deaf = Site(Listen(), NAMES, ProxyTrust(("10.0.0.1",), "x-forwarded"))
    assert status(deaf, b"inner", b"/", told) == 421
    assert status(deaf, b"shop.test", b"/", made_up) is None
