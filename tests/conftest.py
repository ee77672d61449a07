"""What all folders of tests share: throw-away certificates, made once per test process."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import trustme

MakeClientContext = Callable[..., ssl.SSLContext]


@dataclass(frozen=True)
class Certificate:
    """PEM files as a server is given them."""

    chain: Path
    key: Path


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """Who vouches for all certificates of the tests."""
    import trustme

    return trustme.CA()


@pytest.fixture(scope="session")
def issue(
    authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Certificate]:
    """``issue(*names)``: a certificate for host names and addresses."""
    directory = tmp_path_factory.mktemp("certificates")

    def issue(*names: str) -> Certificate:
        issued = authority.issue_cert(*names)
        made = Certificate(directory / f"{names[0]}.pem", directory / f"{names[0]}.key")
        made.chain.write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))
        made.key.write_bytes(issued.private_key_pem.bytes())
        return made

    return issue


@pytest.fixture(scope="session")
def certificate(issue: Callable[..., Certificate]) -> Certificate:
    """For this machine."""
    return issue("localhost", "127.0.0.1", "::1")


@pytest.fixture(scope="session")
def make_client_context(authority: trustme.CA) -> MakeClientContext:
    """``make_client_context(*alpn, version=None)``: a client that trusts ``authority``."""

    def make(*alpn: str, version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
        context = ssl.create_default_context()
        authority.configure_trust(context)
        if alpn:
            context.set_alpn_protocols(list(alpn))
        if version is not None:
            context.minimum_version = context.maximum_version = version
        return context

    return make
