from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from hyperserver.config import TLS, ClientAuth
from hyperserver.config import Certificate as Entry
from hyperserver.errors import ConfigError, Mistakes
from hyperserver.runtime.certificates import inspect, read_all, read_certificate, watched
from tests.conftest import Certificate

DAY = 86_400.0
NOW = dt.datetime.now(dt.UTC).replace(microsecond=0)


def entry(made: Certificate, **more: Any) -> Entry:
    return Entry(str(made.chain), str(made.key), **more)


def findings(made: Certificate, now: float | None = None, **more: Any) -> list[tuple[bool, str]]:
    tls = TLS(certificate=str(made.chain), key=str(made.key), **more)
    found = inspect(read_all(tls, Mistakes()), time.time() if now is None else now)
    return [(finding.is_error, str(finding)) for finding in found]


# ---- what is said of a certificate -------------------------------------------------------------


@pytest.fixture(scope="module")
def dated(issue: Callable[..., Certificate]) -> Certificate:
    """For ninety days from now on."""
    return issue("a.test", not_before=NOW, not_after=NOW + dt.timedelta(days=90))


@pytest.mark.parametrize(
    ("day", "error", "what"),
    [
        (-1, True, "is not valid before"),
        (1, None, ""),
        (75, None, ""),
        (77, False, "expires in 13.0 days, on"),
        (91, True, "has expired on"),
    ],
)
def test_the_time_it_has_left(
    dated: Certificate, day: float, error: bool | None, what: str
) -> None:
    found = findings(dated, NOW.timestamp() + day * DAY)
    if error is None:
        assert found == []
    else:
        ((is_error, line),) = found
        assert is_error is error
        assert line.startswith(f"`tls.certificate`: {dated.chain} {what}")


@pytest.mark.parametrize(("day", "count"), [(1, 0), (3.9, 0), (4.1, 1)])
def test_one_that_lives_for_days_is_renewed_late(
    issue: Callable[..., Certificate], day: float, count: int
) -> None:
    made = issue("a.test", not_before=NOW, not_after=NOW + dt.timedelta(days=6))
    assert len(findings(made, NOW.timestamp() + day * DAY)) == count


def test_one_that_names_no_host(tmp_path: Path, certificate: Certificate) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a.test")])
    ends = NOW + dt.timedelta(days=90)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, NOW, ends)
    chain = tmp_path / "nobody.pem"
    chain.write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM))
    ((is_error, line),) = findings(Certificate(chain, certificate.key))
    assert not is_error
    assert "names no host" in line


def test_a_chain_out_of_order(
    issue: Callable[..., Certificate], authority_file: Path, tmp_path: Path
) -> None:
    made = issue("a.test")
    assert findings(made) == []
    authority, stranger = authority_file.read_bytes(), issue("b.test").chain.read_bytes()
    chain = tmp_path / "chain.pem"
    chain.write_bytes(made.chain.read_bytes() + authority)
    assert findings(Certificate(chain, made.key)) == []
    chain.write_bytes(made.chain.read_bytes() + stranger + authority)
    ((is_error, line),) = findings(Certificate(chain, made.key))
    assert not is_error
    assert "is out of order: behind 'OU=Testing cert #" in line


def test_for_whom_and_until_when(dated: Certificate, issue: Callable[..., Certificate]) -> None:
    loaded = read_certificate(entry(dated), "tls")
    assert loaded.describe().startswith("a.test until 20")
    many = read_certificate(entry(issue(*(f"{n}.test" for n in range(9)))), "tls")
    assert "6.test, 7.test, … until" in many.describe()


# ---- what is refused ---------------------------------------------------------------------------


def complaint(entry: Entry) -> str:
    with pytest.raises(ConfigError) as caught:
        read_certificate(entry, "tls.certificates[1]")
    (line,) = str(caught.value).splitlines()
    return line


def test_a_key_that_everybody_can_read(issue: Callable[..., Certificate]) -> None:
    made = issue("a.test")
    made.key.chmod(0o640)
    read_certificate(entry(made), "tls")
    made.key.chmod(0o644)
    assert complaint(entry(made)) == (
        f"`tls.certificates[1].key`: everybody on this machine can read {made.key}; "
        f"run `chmod o= {made.key}`"
    )


def test_a_damaged_certificate(certificate: Certificate, tmp_path: Path) -> None:
    chain = tmp_path / "damaged.pem"
    for content in (
        b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
        b"-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n",
        b"-----BEGIN CERTIFICATE-----\nMIIB\n",
    ):
        chain.write_bytes(content)
        assert complaint(Entry(str(chain), str(certificate.key))) == (
            f"`tls.certificates[1].certificate`: {chain} holds a damaged certificate"
        )


def test_passwords_that_cannot_be_had(certificate: Certificate, tmp_path: Path) -> None:
    none = tmp_path / "none"
    assert complaint(entry(certificate, key_password_file=str(none))) == (
        f"`tls.certificates[1].key_password_file`: cannot read {none}: No such file or directory"
    )
    none.write_bytes(b"\xff\xfe\xfd")
    assert complaint(entry(certificate, key_password_file=str(none))).endswith("holds no password")
    assert complaint(entry(certificate, key_password_env="NO_SUCH_VARIABLE")) == (
        "`tls.certificates[1].key_password_env`: there is no variable NO_SUCH_VARIABLE "
        "in the environment"
    )


def test_every_file_is_looked_at(certificate: Certificate) -> None:
    mistakes = Mistakes()
    tls = TLS(
        certificates=(
            entry(certificate),
            Entry("/no/c.pem", "/no/k.pem", key_password_env="NO_SUCH_VARIABLE"),
            entry(certificate, client_auth=ClientAuth("required", "/no/ca.pem")),
        )
    )
    found = read_all(tls, mistakes)
    assert [loaded.place for loaded, _ in found] == ["tls.certificates[0]", "tls.certificates[2]"]
    with pytest.raises(ConfigError) as caught:
        mistakes.raise_all()
    assert [line.partition(":")[0] for line in str(caught.value).splitlines()] == [
        "`tls.certificates[1].certificate`",
        "`tls.certificates[1].key`",
        "`tls.certificates[1].key_password_env`",
        "`tls.certificates[2].client_auth.ca`",
    ]


# ---- those who vouch for clients ---------------------------------------------------------------


def test_authorities_that_cannot_be_used(
    certificate: Certificate, authority_file: Path, tmp_path: Path
) -> None:
    def complaint(**more: str) -> str:
        tls = TLS(
            certificate=str(certificate.chain),
            key=str(certificate.key),
            client_auth=ClientAuth("required", **more),
        )
        mistakes = Mistakes()
        assert [loaded.place for loaded, _ in read_all(tls, mistakes)] == ["tls"]
        with pytest.raises(ConfigError) as caught:
            mistakes.raise_all()
        return str(caught.value)

    none, bad = tmp_path / "none", tmp_path / "bad"
    bad.write_text("-----BEGIN X509 CRL-----\nMIIB\n-----END X509 CRL-----\n")
    assert complaint(ca=str(none)).startswith(f"`tls.client_auth.ca`: cannot read {none}: No such")
    assert complaint(ca=str(bad)) == (
        f"`tls.client_auth.ca`: {bad} holds no certificate in PEM form"
    )
    ca = str(authority_file)
    assert complaint(ca=ca, crl=str(none)).startswith("`tls.client_auth.crl`: cannot read")
    assert complaint(ca=ca, crl=ca) == (
        f"`tls.client_auth.crl`: {ca} holds no revocation list in PEM form"
    )
    assert complaint(ca=ca, crl=str(bad)) == f"`tls.client_auth.crl`: {bad} is damaged"
    assert complaint(ca=str(none), crl=str(bad)).splitlines() == [
        f"`tls.client_auth.ca`: cannot read {none}: No such file or directory",
        f"`tls.client_auth.crl`: {bad} is damaged",
    ]


def test_a_revocation_list_that_is_out_of_date(
    certificate: Certificate, authority_file: Path, tmp_path: Path
) -> None:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "authority")])
    begins, ends = NOW - dt.timedelta(days=9), NOW - dt.timedelta(days=2)
    builder = x509.CertificateRevocationListBuilder(name, begins, ends)
    signed = builder.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    crl = tmp_path / "crl.pem"
    crl.write_bytes(signed.public_bytes(Encoding.PEM))
    auth = ClientAuth("optional", str(authority_file), str(crl))
    ((is_error, line),) = findings(certificate, client_auth=auth)
    assert is_error
    assert line.startswith(f"`tls.client_auth.crl`: {crl} was to be replaced by 20")


def test_all_files_are_watched(certificate: Certificate) -> None:
    tls = TLS(
        certificates=(
            Entry("a.pem", "a.key", key_password_file="a.password"),
            Entry("b.pem", "a.key", client_auth=ClientAuth("required", "b.ca", "b.crl")),
        ),
        client_auth=ClientAuth("optional", "ca"),
    )
    assert watched(tls) == ["a.key", "a.password", "a.pem", "b.ca", "b.crl", "b.pem", "ca"]
