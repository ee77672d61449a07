from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from hyperserver.cli import inspect_tls as module
from hyperserver.cli.inspect_tls import inspect_tls
from hyperserver.config import TLS
from tests.conftest import Certificate


def found(pair: Certificate, **options: datetime) -> list[tuple[str, str]]:
    findings = inspect_tls(TLS(certificate=str(pair.chain), key=str(pair.key)), **options)
    return [(finding.level, finding.problem.message) for finding in findings]


@pytest.fixture
def pair(issue: Callable[..., Certificate], tmp_path: Path) -> Certificate:
    issued = issue("inspected.test", "192.0.2.7")
    copy = Certificate(tmp_path / "c.pem", tmp_path / "k.pem")
    copy.chain.write_bytes(issued.chain.read_bytes())
    copy.key.write_bytes(issued.key.read_bytes())
    copy.key.chmod(0o600)
    return copy


def test_nothing_to_inspect() -> None:
    assert inspect_tls(TLS()) == []


def test_a_good_certificate(pair: Certificate) -> None:
    ((level, message),) = found(pair)
    assert level == "ok"
    assert message.startswith("certificate: inspected.test, 192.0.2.7, until ")


def test_a_key_that_everybody_may_read(pair: Certificate) -> None:
    pair.key.chmod(0o644)
    warning, _ = found(pair)
    assert warning == ("warning", f"`tls.key`: {pair.key} is open to every user")


def test_dates(tmp_path: Path) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    issued = trustme.CA().issue_cert("dated.test", not_after=now + timedelta(days=60))
    pair = Certificate(tmp_path / "c.pem", tmp_path / "k.pem")
    issued.cert_chain_pems[0].write_to_path(pair.chain)
    issued.private_key_pem.write_to_path(pair.key)
    pair.key.chmod(0o600)
    day = f"{now + timedelta(days=60):%Y-%m-%d}"
    assert found(pair, now=now) == [("ok", f"certificate: dated.test, until {day}")]
    soon = found(pair, now=now + timedelta(days=50))
    assert soon == [("warning", f"`tls.certificate`: {pair.chain} expires on {day}")]
    late = found(pair, now=now + timedelta(days=61))
    assert late == [("error", f"`tls.certificate`: {pair.chain} expired on {day}")]
    ((level, early),) = found(pair, now=now - timedelta(days=10_000))
    assert level == "error"
    assert f"{pair.chain} is valid from " in early


def test_a_chain_out_of_order(pair: Certificate, tmp_path: Path) -> None:
    other = trustme.CA().issue_cert("other.test")
    with pair.chain.open("ab") as file:
        file.write(other.cert_chain_pems[0].bytes())
    _, error = found(pair)
    assert error == (
        "error", f"`tls.certificate`: certificate 2 of {pair.chain} did not issue number 1",
    )  # fmt: skip


def test_a_key_of_another_certificate(pair: Certificate, certificate: Certificate) -> None:
    mixed = Certificate(pair.chain, certificate.key)
    errors = [message for level, message in found(mixed) if level == "error"]
    assert errors == [
        f"`tls.key`: {certificate.key} is not the key of the certificate in {pair.chain}"
    ]


def test_files_that_are_missing_are_all_told() -> None:
    assert found(Certificate(Path("/no/c.pem"), Path("/no/k.pem"))) == [
        ("error", "`tls.certificate`: cannot read /no/c.pem: No such file or directory"),
        ("error", "`tls.key`: cannot read /no/k.pem: No such file or directory"),
    ]


def test_without_cryptography_it_says_what_it_did_not_check(
    pair: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "find_spec", lambda _: None)
    monkeypatch.setitem(sys.modules, "cryptography", None)
    (finding,) = inspect_tls(TLS(certificate=str(pair.chain), key=str(pair.key)))
    assert finding.level == "warning"
    assert "were not checked; run `pip install hyperserver[check]`" in str(finding.problem)
