"""What all folders of tests share: throw-away certificates, made once per test process, and an
engine that is broken.
"""

from __future__ import annotations

import itertools
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

from hyperserver.protocol import negotiate
from tests.compiled import COMPILED

if TYPE_CHECKING:
    import trustme

# how long an example takes says as much of the machine as of what is tested
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")


def pytest_report_header() -> str:
    return f"hyperserver: {'compiled' if COMPILED else 'from source'}"


ALPN = ("h2", "http/1.1")

MakeClientContext = Callable[..., ssl.SSLContext]


@dataclass(frozen=True)
class Certificate:
    """PEM files as a server is given them."""

    chain: Path
    key: Path


@pytest.fixture
def broken_nghttp2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The extension over libnghttp2 is there and cannot be loaded; what the reason begins with."""
    file = tmp_path / f"broken_nghttp2{EXTENSION_SUFFIXES[0]}"
    file.write_bytes(b"no library")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(negotiate._LIBRARIES, "nghttp2", "broken_nghttp2")
    return str(file)


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """Who vouches for all certificates of the tests."""
    import trustme

    return trustme.CA()


@pytest.fixture(scope="session")
def authority_file(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("authority") / "authority.pem"
    authority.cert_pem.write_to_path(str(file))
    return file


@pytest.fixture(scope="session")
def issue(
    authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Certificate]:
    """``issue(*names)``: a certificate for host names and addresses; ``rsa`` has a key of that
    type, and what else there is, is trustme's.
    """
    directory = tmp_path_factory.mktemp("certificates")
    numbers = itertools.count()

    def issue(*names: str, rsa: bool = False, **more: Any) -> Certificate:
        import trustme

        issued = authority.issue_cert(
            *names, key_type=trustme.KeyType.RSA if rsa else trustme.KeyType.ECDSA, **more
        )
        name = f"{names[0]}-{next(numbers)}"
        made = Certificate(directory / f"{name}.pem", directory / f"{name}.key")
        made.chain.write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))
        made.key.write_bytes(issued.private_key_pem.bytes())
        made.key.chmod(0o600)
        return made

    return issue


def server_context(made: Certificate, *alpn: str) -> ssl.SSLContext:
    """A server's context, as one with this certificate has it."""
    from hyperserver.config import TLS
    from hyperserver.runtime.tls_contexts import load_all, make_context

    tls = TLS(certificate=str(made.chain), key=str(made.key))
    return make_context([loaded for loaded, _ in load_all(tls)], alpn or ALPN, tls)


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
