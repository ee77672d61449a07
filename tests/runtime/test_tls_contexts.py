from __future__ import annotations

import datetime as dt
import os
import shutil
import ssl
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from hyperserver.config import TLS, ClientAuth
from hyperserver.config import Certificate as Entry
from hyperserver.errors import ConfigError
from hyperserver.protocol.client_hello import Alert, ClientHello, HandshakeRefused
from hyperserver.runtime.tls_contexts import Selection, load_all, make_context
from tests.conftest import ALPN, Certificate, MakeClientContext, server_context


def entry(made: Certificate, **more: Any) -> Entry:
    return Entry(str(made.chain), str(made.key), **more)


def selection(*made: Certificate | Entry, alpn: Sequence[str] = ALPN, **more: Any) -> Selection:
    entries = tuple(one if isinstance(one, Entry) else entry(one) for one in made)
    tls = TLS(certificates=entries, **more)
    return Selection(load_all(tls), tls, alpn)


def build(chain: Path | str, key: Path | str, **more: Any) -> ssl.SSLContext:
    tls = TLS(certificate=str(chain), key=str(key), **more)
    return make_context([loaded for loaded, _ in load_all(tls)], ALPN, tls)


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
    context = server_context(certificate)
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
    context = server_context(certificate)
    client = make_client_context("http/1.1", "h2", version=version)
    assert agreed(context, client, "localhost").selected_alpn_protocol() == "h2"


def test_the_key_may_be_in_the_same_file(
    certificate: Certificate, make_client_context: MakeClientContext, tmp_path: Path
) -> None:
    both = tmp_path / "both.pem"
    both.touch(0o600)
    both.write_bytes(certificate.chain.read_bytes() + certificate.key.read_bytes())
    context = build(both, both)
    assert agreed(context, make_client_context(), "localhost").version()


@pytest.mark.parametrize("where", ["file", "variable"])
def test_an_encrypted_key_with_its_password(
    certificate: Certificate,
    encrypted: Callable[[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    where: str,
) -> None:
    key = encrypted("sésame")
    if where == "file":
        (tmp_path / "password").write_text("sésame\n", encoding="utf-8")
        build(certificate.chain, key, key_password_file=str(tmp_path / "password"))
    else:
        monkeypatch.setenv("KEY_PASSWORD", "sésame")
        build(certificate.chain, key, key_password_env="KEY_PASSWORD")


@pytest.mark.parametrize(
    ("more", "version"),
    [
        ({}, ssl.TLSVersion.TLSv1_2),
        ({"profile": "modern"}, ssl.TLSVersion.TLSv1_3),
        ({"minimum_version": "1.3"}, ssl.TLSVersion.TLSv1_3),
        ({"minimum_version": "1.2"}, ssl.TLSVersion.TLSv1_2),
    ],
)
def test_the_oldest_version(
    certificate: Certificate, more: dict[str, str], version: ssl.TLSVersion
) -> None:
    assert build(certificate.chain, certificate.key, **more).minimum_version == version


# ---- which one a client gets -------------------------------------------------------------------


def test_every_client_gets_the_one_certificate(certificate: Certificate) -> None:
    hosts = selection(certificate)
    host = hosts.choose(ClientHello("localhost", [b"x", b"http/1.1"]))
    assert hosts.choose(ClientHello(None, [])).context is host.context
    assert hosts.choose(ClientHello("elsewhere.test", [b"h2"])).context is host.context


def test_a_client_that_offers_no_protocol_of_ours_is_refused(certificate: Certificate) -> None:
    with pytest.raises(HandshakeRefused, match="the client offers 'h2, x'") as caught:
        selection(certificate, alpn=["http/1.1"]).choose(ClientHello("localhost", [b"h2", b"x"]))
    assert caught.value.alert == Alert.NO_APPLICATION_PROTOCOL


@pytest.fixture(scope="module")
def three(issue: Callable[..., Certificate]) -> list[Certificate]:
    return [issue("a.test", "B.test"), issue("*.c.test"), issue("x.c.test", "*.y.c.test")]


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("a.test", 0),
        ("b.test", 0),
        ("x.c.test", 2),
        ("z.c.test", 1),
        ("1.y.c.test", 2),
        ("y.c.test", 1),
        ("1.2.c.test", None),  # a wildcard is one label (RFC 9525 §6.3)
        ("c.test", None),
        ("test", None),
        (None, None),
    ],
)
@pytest.mark.parametrize("strict", [False, True])
def test_by_exact_names_then_by_wildcards(
    three: list[Certificate], name: str | None, number: int | None, strict: bool
) -> None:
    hosts = selection(*three, sni_strict=strict)
    if number is None and strict:
        with pytest.raises(HandshakeRefused, match="no host of ours") as caught:
            hosts.choose(ClientHello(name, []))
        assert caught.value.alert == Alert.UNRECOGNIZED_NAME
    else:
        host = hosts.choose(ClientHello(name, []))
        assert [c.certificate for c in host.certificates] == [str(three[number or 0].chain)]


@pytest.mark.parametrize("rsa_first", [False, True])
@pytest.mark.parametrize("suite", ["ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256"])
def test_rsa_and_ecdsa_together(
    issue: Callable[..., Certificate],
    make_client_context: MakeClientContext,
    rsa_first: bool,
    suite: str,
) -> None:
    made = [issue("a.test"), issue("a.test", rsa=True)]
    hosts = selection(*(reversed(made) if rsa_first else made))
    for name in ("a.test", None):
        host = hosts.choose(ClientHello(name, []))
        assert sorted(c.leaf.key_type for c in host.certificates) == ["EC", "RSA"]
        client = make_client_context(version=ssl.TLSVersion.TLSv1_2)
        client.set_ciphers(suite)
        cipher = agreed(host.context, client, "a.test").cipher()
        assert cipher is not None
        assert cipher[0] == suite


def test_of_two_with_the_same_name_and_key_type_the_first_is_taken(
    issue: Callable[..., Certificate],
) -> None:
    first, second = issue("a.test"), issue("a.test", "b.test")
    hosts = selection(first, second)
    (found,) = hosts.choose(ClientHello("a.test", [])).certificates
    assert found.certificate == str(first.chain)
    (found,) = hosts.choose(ClientHello("b.test", [])).certificates
    assert found.certificate == str(second.chain)


def test_one_context_for_each_set_and_policy(
    issue: Callable[..., Certificate], authority_file: Path
) -> None:
    required = ClientAuth("required", str(authority_file))
    shared, own = issue("a.test", "b.test"), issue("c.test")
    hosts = selection(shared, entry(own, client_auth=required))
    a, b, c = (hosts.choose(ClientHello(name, [])) for name in ("a.test", "b.test", "c.test"))
    assert a.context is b.context
    assert a.context is not c.context
    assert (a.context.verify_mode, c.context.verify_mode) == (ssl.CERT_NONE, ssl.CERT_REQUIRED)
    assert hosts.policy_for("a.test") == hosts.policy_for("unknown.test") == ClientAuth()
    assert hosts.policy_for("c.test") == required


def test_policies_of_one_name_must_agree(
    issue: Callable[..., Certificate], authority_file: Path
) -> None:
    required = ClientAuth("required", str(authority_file))
    first, second = issue("a.test", "b.test"), issue("b.test")
    with pytest.raises(ConfigError) as caught:
        selection(first, entry(second, client_auth=required))
    assert str(caught.value) == (
        "`tls.certificates[1]`: b.test is in `tls.certificates[0]`, too, with another `client_auth`"
    )


def test_contexts_of_what_has_not_changed_live_on(issue: Callable[..., Certificate]) -> None:
    """Their sessions can still be resumed."""
    one, two = issue("a.test"), issue("b.test")
    tls = TLS(certificates=(entry(one), entry(two)))
    old = Selection(load_all(tls), tls, ALPN)
    renewed = issue("b.test")
    two.chain.write_bytes(renewed.chain.read_bytes())
    two.key.write_bytes(renewed.key.read_bytes())
    new = Selection(load_all(tls), tls, ALPN, old)
    before, after = (
        [hosts.choose(ClientHello(name, [])).context for name in ("a.test", "b.test")]
        for hosts in (old, new)
    )
    assert before[0] is after[0]
    assert before[1] is not after[1]


# ---- what is wrong -----------------------------------------------------------------------------


def complaint(chain: Path | str, key: Path | str, **more: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        build(chain, key, **more)
    (line,) = str(caught.value).splitlines()
    return line


@pytest.fixture
def encrypted(certificate: Certificate, tmp_path: Path) -> Callable[[str], Path]:
    """The key, in a file that needs this password."""

    def encrypt(password: str) -> Path:
        key = load_pem_private_key(certificate.key.read_bytes(), None)
        path = tmp_path / "encrypted.key"
        path.touch(0o600)
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
    with pytest.raises(ConfigError) as caught:
        build(certificate.key, certificate.chain)
    assert str(caught.value).splitlines() == [
        f"`tls.certificate`: {certificate.key} holds no certificate in PEM form",
        f"`tls.key`: {certificate.chain} holds no private key in PEM form",
    ]


def test_a_key_of_another_type(issue: Callable[..., Certificate]) -> None:
    ecdsa, rsa = issue("a.test"), issue("a.test", rsa=True)
    for chain, key in ((rsa.chain, ecdsa.key), (ecdsa.chain, rsa.key)):
        assert complaint(chain, key) == (
            f"`tls.key`: {key} is not the key of the certificate in {chain}"
        )
    with pytest.raises(ConfigError) as caught:  # though the context has a key of that type
        selection(ecdsa, Certificate(rsa.chain, ecdsa.key))
    assert str(caught.value) == (
        f"`tls.certificates[1].key`: {ecdsa.key} is not the key of the certificate in {rsa.chain}"
    )


def test_all_that_is_wrong_with_several(issue: Callable[..., Certificate]) -> None:
    one, two, three = issue("a.test"), issue("b.test"), issue("b.test", rsa=True)
    tls = TLS(
        certificates=(
            Entry(str(one.chain), str(two.key)),
            Entry("/no/c.pem", str(one.key)),
            entry(two),
            Entry(str(three.chain), str(one.key)),
        )
    )
    with pytest.raises(ConfigError) as caught:
        load_all(tls)
    assert [line.partition(":")[0] for line in str(caught.value).splitlines()] == [
        "`tls.certificates[1].certificate`",
        "`tls.certificates[0].key`",
        "`tls.certificates[3].key`",
    ]


def test_a_damaged_file(certificate: Certificate, tmp_path: Path) -> None:
    def damaged(path: Path) -> Path:
        lines = path.read_bytes().splitlines()
        (tmp_path / path.name).touch(0o600)
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


def test_an_encrypted_key_never_asks(
    certificate: Certificate, encrypted: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    key = encrypted("secret")
    assert complaint(certificate.chain, key) == (
        f"`tls.key`: {key} is encrypted; name its password with "
        "`key_password_file` or `key_password_env`"
    )
    monkeypatch.setenv("KEY_PASSWORD", "guess")
    assert complaint(certificate.chain, key, key_password_env="KEY_PASSWORD") == (
        f"`tls.key`: {key} cannot be decrypted with the password given for it"
    )


def test_a_key_that_is_too_small(tmp_path: Path) -> None:
    chain, key = self_signed(tmp_path, rsa.generate_private_key(65537, 1024))
    assert complaint(chain, key) == (
        f"`tls.certificate`: {chain} has an RSA key of 1024 bits; clients refuse less than 2048"
    )


def test_what_else_openssl_has_against_a_certificate_is_told_in_its_words(tmp_path: Path) -> None:
    if ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).security_level < 2:
        pytest.skip("this OpenSSL has nothing against small keys")
    chain, key = self_signed(tmp_path, ec.generate_private_key(ec.SECP192R1()))
    assert complaint(chain, key) == f"`tls.certificate`: {chain} cannot be used: ee key too small"


def self_signed(
    folder: Path, private: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
) -> tuple[Path, Path]:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "small.test")])
    now = dt.datetime.now(dt.UTC)
    builder = x509.CertificateBuilder(name, name, private.public_key(), 1)
    dated = builder.not_valid_before(now).not_valid_after(now + dt.timedelta(days=1))
    chain, key = folder / "small.pem", folder / "small.key"
    chain.write_bytes(dated.sign(private, hashes.SHA256()).public_bytes(Encoding.PEM))
    key.touch(0o600)
    key.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return chain, key
