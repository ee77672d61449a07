"""Names of hosts in requests, and sets of those that are ours."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hyperserver.protocol.hosts import HostNames, host_of


@pytest.mark.parametrize(
    ("authority", "host"),
    [
        (b"", ""),
        (b":80", ""),
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
    ("names", "authority", "ours"),
    [
        (("a.test",), b"a.test", True),
        (("A.Test.",), b"a.test:8443", True),
        (("a.test",), b"A.TEST.", True),
        (("a.test",), b"www.a.test", False),
        (("a.test",), b"a.test.evil.test", False),
        (("a.test",), b"evila.test", False),
        (("a.test",), b"%61.test", False),
        (("a.test",), b"", False),
        (("",), b"", True),
        (("",), b"a.test", False),
        (("*.a.test",), b"www.a.test", True),
        (("*.A.test",), b"WWW.a.test:1", True),
        (("*.a.test",), b"a.test", False),
        (("*.a.test",), b"b.www.a.test", False),
        (("*.a.test",), b".a.test", False),
        (("192.0.2.1",), b"192.0.2.1:8000", True),
        (("192.0.2.1",), b"192.0.2.2", False),
        (("10.0.0.0/8",), b"10.1.2.3", True),
        (("10.0.0.0/8",), b"11.1.2.3", False),
        (("10.0.0.0/8",), b"10.1.2", False),
        (("10.0.0.0/8",), b"10.evil.test", False),
        (("::1",), b"[0:0::1]:80", True),
        (("[::1]",), b"[::1]", True),
        (("2001:db8::/32",), b"[2001:db8:1::2]", True),
        (("2001:db8::/32",), b"[2001:db9::2]", False),
        (("dead.beef",), b"dead.beef", True),
        ((), b"a.test", False),
        (("b.test", "a.test"), b"a.test", True),
    ],
)
def test_which_hosts_are_ours(names: tuple[str, ...], authority: bytes, ours: bool) -> None:
    assert (host_of(authority) in HostNames(names)) is ours


@given(st.binary(max_size=60))
def test_nothing_that_is_asked_for_raises(authority: bytes) -> None:
    names = HostNames(("a.test", "*.b.test", "10.0.0.0/8", "::1"))
    assert (host_of(authority) in names) in {True, False}
