"""The DER reader against ``cryptography``, and against everything that is no certificate."""

from __future__ import annotations

import datetime as dt
import functools
import ipaddress

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from hyperserver.protocol.x509 import (
    crl_expiry,
    parse_certificate,
    pem_blocks,
    pem_encode,
    rfc4514,
)

#: What RFC 4514 leaves to the registry: ``cryptography`` writes these by their numbers.
SHORT = {
    NameOID.SURNAME: "sn",
    NameOID.SERIAL_NUMBER: "serialNumber",
    NameOID.TITLE: "title",
    NameOID.GIVEN_NAME: "givenName",
    NameOID.EMAIL_ADDRESS: "emailAddress",
}
#: Whose values are of fewer characters; ``cryptography`` does not see to that.
PLAIN = [NameOID.SERIAL_NUMBER, NameOID.EMAIL_ADDRESS, NameOID.DOMAIN_COMPONENT]
OIDS = [
    *(oid for oid in SHORT if oid not in PLAIN),
    NameOID.COMMON_NAME,
    NameOID.LOCALITY_NAME,
    NameOID.ORGANIZATION_NAME,
    NameOID.ORGANIZATIONAL_UNIT_NAME,
    NameOID.STREET_ADDRESS,
    NameOID.USER_ID,
]
NOW = dt.datetime(2026, 11, 21, 8, 30, 59, tzinfo=dt.UTC)

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


@functools.cache
def small_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def make(
    subject: x509.Name | None = None,
    alternatives: list[x509.GeneralName] | None = None,
    key: Key | None = None,
    begins: dt.datetime = NOW,
    ends: dt.datetime = NOW + dt.timedelta(days=1),
) -> bytes:
    key = key or small_key()
    name = subject or x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "me")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, begins, ends)
    if alternatives:
        builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        constraints = x509.BasicConstraints(ca=False, path_length=None)
        builder = builder.add_extension(constraints, critical=True)
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(key, algorithm).public_bytes(Encoding.DER)


# ---- what a certificate says -------------------------------------------------------------------


def test_names_and_addresses() -> None:
    found = parse_certificate(
        make(
            alternatives=[
                x509.DNSName("A.example"),
                x509.RFC822Name("somebody@a.example"),
                x509.DNSName("*.b.example"),
                x509.IPAddress(ipaddress.ip_address("192.0.2.1")),
                x509.IPAddress(ipaddress.ip_address("2001:db8::1")),
            ]
        )
    )
    assert found.names == ("a.example", "*.b.example")
    assert found.addresses == ("192.0.2.1", "2001:db8::1")


def test_without_alternative_names_there_is_no_name() -> None:
    assert parse_certificate(make()).names == ()


@given(st.integers(-631_152_000, 7_258_118_400))  # 1950 to 2200
def test_times(seconds: int) -> None:
    begins = dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(seconds=seconds)
    ends = begins + dt.timedelta(days=400)
    found = parse_certificate(make(begins=begins, ends=ends))
    assert found.not_before == seconds
    assert found.not_after == seconds + 400 * 86_400


@pytest.mark.parametrize(
    ("make_key", "kind", "curve", "bits"),
    [
        (lambda: ec.generate_private_key(ec.SECP256R1()), "EC", "P-256", 0),
        (lambda: ec.generate_private_key(ec.SECP384R1()), "EC", "P-384", 0),
        (lambda: ec.generate_private_key(ec.SECP521R1()), "EC", "P-521", 0),
        (lambda: ec.generate_private_key(ec.SECP256K1()), "EC", None, 0),
        (lambda: rsa.generate_private_key(65_537, 2048), "RSA", None, 2048),
        (ed25519.Ed25519PrivateKey.generate, "Ed25519", None, 0),
    ],
    ids=["P-256", "P-384", "P-521", "another curve", "RSA", "Ed25519"],
)
def test_keys(make_key: object, kind: str, curve: str | None, bits: int) -> None:
    assert callable(make_key)
    found = parse_certificate(make(key=make_key()))
    assert (found.key_type, found.curve, found.key_bits) == (kind, curve, bits)


@pytest.mark.parametrize("next_update", [NOW + dt.timedelta(days=7)])
def test_revocation_lists(next_update: dt.datetime) -> None:
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority")])
    builder = x509.CertificateRevocationListBuilder(issuer, NOW, next_update)
    der = builder.sign(small_key(), hashes.SHA256()).public_bytes(Encoding.DER)
    assert crl_expiry(der) == next_update.timestamp()


# ---- distinguished names -----------------------------------------------------------------------

text = st.text(
    st.one_of(
        st.characters(codec="utf-8", exclude_categories=["Cs"]), st.sampled_from(' #"+,;<>\\=\0')
    ),
    min_size=1,
    max_size=12,
)
plain = st.text("abc012 '+,.", min_size=1, max_size=12)
attributes = st.one_of(
    st.builds(x509.NameAttribute, st.sampled_from(OIDS), text),
    st.builds(x509.NameAttribute, st.sampled_from(PLAIN), plain),
)
relative = st.lists(attributes, min_size=1, max_size=3, unique_by=lambda a: a.oid).map(
    x509.RelativeDistinguishedName
)


@given(st.lists(relative, max_size=4))
def test_names_are_written_as_rfc_4514_has_them(
    parts: list[x509.RelativeDistinguishedName],
) -> None:
    name = x509.Name(parts)
    # Within a part the order of the encoding is free; DER sorts it, and ``cryptography`` does not.
    ours = rfc4514(name.public_bytes())
    theirs = x509.load_der_x509_certificate(make(name)).subject if parts else name
    assert ours == theirs.rfc4514_string(SHORT)


def test_order_and_escapes() -> None:
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "DE"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Müller, Söhne + Co"),
            x509.NameAttribute(NameOID.COMMON_NAME, " #1 "),
        ]
    )
    assert rfc4514(name.public_bytes()) == r"CN=\ #1\ ,O=Müller\, Söhne \+ Co,C=DE"


def test_what_has_no_short_name_is_written_in_numbers() -> None:
    name = x509.Name([x509.NameAttribute(x509.ObjectIdentifier("2.999.12345.3"), "x")])
    assert rfc4514(name.public_bytes()) == "2.999.12345.3=#0c0178"


def test_an_empty_name() -> None:
    assert rfc4514(x509.Name([]).public_bytes()) == ""


# ---- PEM ---------------------------------------------------------------------------------------


@given(st.binary(min_size=1, max_size=200))
def test_pem_there_and_back(content: bytes) -> None:
    text = pem_encode(content)
    assert pem_blocks(b"a comment\n" + text.encode() + b"\n", "CERTIFICATE") == [content]
    assert pem_blocks(text.encode(), "X509 CRL") == []


def test_pem_is_what_others_write() -> None:
    certificate = x509.load_der_x509_certificate(make())
    pem = certificate.public_bytes(Encoding.PEM)
    assert pem_encode(certificate.public_bytes(Encoding.DER)).encode() == pem
    assert pem_blocks(pem * 3, "CERTIFICATE") == [certificate.public_bytes(Encoding.DER)] * 3


def test_damaged_pem() -> None:
    with pytest.raises(ValueError, match="invalid base64"):
        pem_blocks(b"-----BEGIN X-----\nabc!d\n-----END X-----\n", "X")


# ---- what is no certificate --------------------------------------------------------------------


def parse_all(der: bytes) -> None:
    for parse in (parse_certificate, crl_expiry, rfc4514):
        try:
            parse(der)
        except ValueError:
            pass


@given(st.binary(max_size=300))
def test_noise_raises_value_error_alone(noise: bytes) -> None:
    parse_all(noise)
    parse_all(b"\x30\x82" + len(noise).to_bytes(2) + noise)


@functools.cache
def sample() -> bytes:
    alternatives: list[x509.GeneralName] = [
        x509.DNSName("a.example"),
        x509.IPAddress(ipaddress.ip_address("192.0.2.1")),
    ]
    return make(alternatives=alternatives)


@given(st.data())
def test_damaged_certificates_raise_value_error_alone(data: st.DataObject) -> None:
    der = bytearray(sample())
    for _ in range(data.draw(st.integers(1, 4))):
        der[data.draw(st.integers(0, len(der) - 1))] = data.draw(st.integers(0, 255))
    parse_all(bytes(der))
    parse_all(bytes(der[: data.draw(st.integers(0, len(der)))]))


@pytest.mark.parametrize("size", range(0, 200, 7))
def test_certificates_that_are_cut_short(size: int) -> None:
    with pytest.raises(ValueError):
        parse_certificate(sample()[:size])
