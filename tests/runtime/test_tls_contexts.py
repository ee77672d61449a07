from __future__ import annotations

import datetime as dt
import os
import shutil
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from hyperserver.config import TLS
from hyperserver.errors import ConfigError
from hyperserver.protocol.client_hello import Alert, ClientHello, HandshakeRefused
from hyperserver.runtime.tls_contexts import TLSContexts, make_context
from tests.conftest import Certificate, MakeClientContext

ALPN = ["h2", "http/1.1"]


def agreed(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> ssl.SSLObject:
    """The client's side after a handshake of the two, over memory."""
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    one = client.wrap_bio(back, there, server_hostname=name)
    other = server.wrap_bio(there, back, server_side=True)
    for side in (one, other, one, other):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            pass
    return one


# ---- what is right -----------------------------------------------------------------------------


def test_a_context_speaks_what_http_2_demands(certificate: Certificate) -> None:
    context = make_context(str(certificate.chain), str(certificate.key), ALPN)
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert context.options & ssl.OP_NO_COMPRESSION
    assert context.options & ssl.OP_NO_RENEGOTIATION
    python = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).options
    assert context.options & python == python  # nothing is taken away
    old = [cipher for cipher in context.get_ciphers() if cipher["protocol"] != "TLSv1.3"]
    assert len(old) == 6
    assert all(cipher["aead"] and cipher["kea"] == "kx-ecdhe" for cipher in old)
    assert context.verify_mode == ssl.CERT_NONE
    assert context.sni_callback is None


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_client_agrees(
    certificate: Certificate, make_client_context: MakeClientContext, version: ssl.TLSVersion
) -> None:
    context = make_context(str(certificate.chain), str(certificate.key), ALPN)
    client = make_client_context("http/1.1", "h2", version=version)
    assert agreed(context, client, "localhost").selected_alpn_protocol() == "h2"


def test_the_key_may_be_in_the_same_file(
    certificate: Certificate, make_client_context: MakeClientContext, tmp_path: Path
) -> None:
    both = tmp_path / "both.pem"
    both.write_bytes(certificate.chain.read_bytes() + certificate.key.read_bytes())
    context = make_context(str(both), str(both), ALPN)
    assert agreed(context, make_client_context(), "localhost").version()


def test_an_encrypted_key_with_its_password(
    certificate: Certificate, encrypted: Callable[[str], Path]
) -> None:
    make_context(str(certificate.chain), str(encrypted("sésame")), ALPN, "sésame")


def test_every_client_gets_the_one_certificate(certificate: Certificate) -> None:
    contexts = TLSContexts(TLS(certificate=str(certificate.chain), key=str(certificate.key)), ALPN)
    context = contexts.choose(ClientHello("localhost", [b"x", b"http/1.1"]))
    assert contexts.choose(ClientHello(None, [])) is context
    assert contexts.choose(ClientHello("elsewhere.test", [b"h2"])) is context


def test_a_client_that_offers_no_protocol_of_ours_is_refused(certificate: Certificate) -> None:
    tls = TLS(certificate=str(certificate.chain), key=str(certificate.key))
    with pytest.raises(HandshakeRefused, match="the client offers 'h2, x'") as caught:
        TLSContexts(tls, ["http/1.1"]).choose(ClientHello("localhost", [b"h2", b"x"]))
    assert caught.value.alert == Alert.NO_APPLICATION_PROTOCOL


# ---- what is wrong -----------------------------------------------------------------------------


def complaint(chain: Path | str, key: Path | str, password: str | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        make_context(str(chain), str(key), ALPN, password)
    (line,) = str(caught.value).splitlines()
    return line


@pytest.fixture
def encrypted(certificate: Certificate, tmp_path: Path) -> Callable[[str], Path]:
    """The key, in a file that needs this password."""

    def encrypt(password: str) -> Path:
        key = load_pem_private_key(certificate.key.read_bytes(), None)
        path = tmp_path / "encrypted.key"
        path.write_bytes(
            key.private_bytes(
                Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(password.encode())
            )
        )
        return path

    return encrypt


def test_a_file_that_is_not_there(certificate: Certificate, tmp_path: Path) -> None:
    none = tmp_path / "none.pem"
    why = f"cannot read {none}: No such file or directory"
    assert complaint(none, certificate.key) == f"`tls.certificate`: {why}"
    assert complaint(certificate.chain, none) == f"`tls.key`: {why}"


def test_a_directory(certificate: Certificate, tmp_path: Path) -> None:
    assert complaint(certificate.chain, tmp_path) == (
        f"`tls.key`: cannot read {tmp_path}: Is a directory"
    )


def test_what_cannot_be_a_path(certificate: Certificate) -> None:
    assert complaint("a\0b", certificate.key) == r"`tls.certificate`: 'a\x00b' is not a path"


def test_a_file_without_permission(certificate: Certificate, tmp_path: Path) -> None:
    key = tmp_path / "secret.key"
    shutil.copy(certificate.key, key)
    key.chmod(0)
    if os.access(key, os.R_OK):
        pytest.skip("root may read everything")
    assert complaint(certificate.chain, key) == f"`tls.key`: cannot read {key}: Permission denied"


@pytest.mark.parametrize("content", [b"", b"hello", b"\x30\x82\x01\x0a\x02\x82"])
def test_a_file_of_another_kind(certificate: Certificate, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    assert complaint(path, certificate.key) == (
        f"`tls.certificate`: {path} holds no certificate in PEM form"
    )
    assert complaint(certificate.chain, path) == (
        f"`tls.key`: {path} holds no private key in PEM form"
    )


def test_the_two_files_confused(certificate: Certificate) -> None:
    line = complaint(certificate.key, certificate.chain)
    assert line == f"`tls.certificate`: {certificate.key} holds no certificate in PEM form"


def test_a_damaged_file(certificate: Certificate, tmp_path: Path) -> None:
    def damaged(path: Path) -> Path:
        lines = path.read_bytes().splitlines()
        (tmp_path / path.name).write_bytes(b"\n".join(lines[:1] + lines[2:]))
        return tmp_path / path.name

    chain, key = damaged(certificate.chain), damaged(certificate.key)
    assert complaint(chain, certificate.key) == (
        f"`tls.certificate`: {chain} holds a damaged certificate"
    )
    assert complaint(certificate.chain, key) == f"`tls.key`: {key} holds a damaged private key"


def test_a_key_of_another_certificate(
    certificate: Certificate, issue: Callable[..., Certificate]
) -> None:
    other = issue("other.test")
    assert complaint(certificate.chain, other.key) == (
        f"`tls.key`: {other.key} is not the key of the certificate in {certificate.chain}"
    )


def test_an_encrypted_key_says_how_to_decrypt_it(
    certificate: Certificate, encrypted: Callable[[str], Path]
) -> None:
    key = encrypted("secret")
    assert complaint(certificate.chain, key) == (
        f"`tls.key`: {key} is encrypted; write it without a password with "
        f"`openssl pkey -in {key} -out …`"
    )
    assert complaint(certificate.chain, key, "guess") == (
        f"`tls.key`: {key} cannot be decrypted with the password given for it"
    )


def test_a_key_that_is_too_small(tmp_path: Path) -> None:
    """What else OpenSSL has against a certificate is told in its own words."""
    if ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).security_level < 2:
        pytest.skip("this OpenSSL has nothing against small keys")
    private = rsa.generate_private_key(65537, 1024)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "small.test")])
    now = dt.datetime.now(dt.UTC)
    builder = x509.CertificateBuilder(name, name, private.public_key(), 1)
    dated = builder.not_valid_before(now).not_valid_after(now + dt.timedelta(days=1))
    chain, key = tmp_path / "small.pem", tmp_path / "small.key"
    chain.write_bytes(dated.sign(private, hashes.SHA256()).public_bytes(Encoding.PEM))
    key.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    assert complaint(chain, key) == f"`tls.certificate`: {chain} cannot be used: ee key too small"
