from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from hyperserver.cli.inspect_tls import inspect_tls
from hyperserver.config import TLS, ClientAuth
from hyperserver.config import Certificate as Entry
from hyperserver.config.read import dotted
from hyperserver.runtime import dev_tls
from tests.conftest import Certificate

DAY = 86_400.0


def entry(made: Certificate, client_auth: ClientAuth | None = None) -> Entry:
    return Entry(str(made.chain), str(made.key), client_auth=client_auth)


def found(tls: TLS, now: float | None = None) -> list[tuple[str, str, str]]:
    """Level, place and message of everything."""
    return [
        (finding.level, dotted(finding.problem.path), finding.problem.message)
        for finding in inspect_tls(tls, now)
    ]


def single(made: Certificate, now: float | None = None) -> list[tuple[str, str, str]]:
    return found(TLS(certificate=str(made.chain), key=str(made.key)), now)


@pytest.fixture
def pair(issue: Callable[..., Certificate], tmp_path: Path) -> Certificate:
    """Files of one's own, to be changed."""
    issued = issue("inspected.test", "192.0.2.7")
    copy = Certificate(tmp_path / "c.pem", tmp_path / "k.pem")
    copy.chain.write_bytes(issued.chain.read_bytes())
    copy.key.write_bytes(issued.key.read_bytes())
    copy.key.chmod(0o600)
    return copy


def test_nothing_to_inspect() -> None:
    assert inspect_tls(TLS()) == []


def test_a_good_certificate(pair: Certificate) -> None:
    ((level, place, message),) = single(pair)
    assert (level, place) == ("ok", "")
    assert message.startswith("certificate: inspected.test, 192.0.2.7 until ")


def test_a_key_that_everybody_may_read(pair: Certificate) -> None:
    pair.key.chmod(0o644)
    ((level, place, message),) = single(pair)
    assert (level, place) == ("error", "tls.key")
    assert message.endswith(f"can read {pair.key}; run `chmod o= {pair.key}`")


def test_dates(issue: Callable[..., Certificate]) -> None:
    now = time.time()
    made = issue("dated.test", not_after=dt.datetime.now(dt.UTC) + dt.timedelta(days=60))
    assert [level for level, _, _ in single(made, now)] == ["ok"]
    for days, levels, what in (
        (50, ["warning", "ok"], "expires in 10.0 days"),
        (61, ["error"], "has expired on"),
        (-10_000, ["error"], "is not valid before"),
    ):
        findings = single(made, now + days * DAY)
        assert [level for level, _, _ in findings] == levels
        assert findings[0][1] == "tls.certificate"
        assert what in findings[0][2]


def test_a_chain_out_of_order(pair: Certificate, certificate: Certificate) -> None:
    with pair.chain.open("ab") as file:
        file.write(certificate.chain.read_bytes())
    (level, place, message), _ = single(pair)
    assert (level, place) == ("warning", "tls.certificate")
    assert "is out of order" in message


def test_a_key_of_another_certificate(pair: Certificate, certificate: Certificate) -> None:
    assert single(Certificate(pair.chain, certificate.key)) == [
        (
            "error",
            "tls.key",
            f"`tls.key`: {certificate.key} is not the key of the certificate in {pair.chain}",
        )
    ]


def test_every_certificate_has_its_findings(
    pair: Certificate, certificate: Certificate, issue: Callable[..., Certificate], tmp_path: Path
) -> None:
    rsa = issue("inspected.test", rsa=True)
    tls = TLS(
        certificates=(
            entry(certificate),
            entry(Certificate(pair.chain, certificate.key)),
            entry(Certificate(rsa.chain, pair.key)),  # for the same name: a context of both
            Entry("/no/c.pem", "/no/k.pem", key_password_env="NO_SUCH_VARIABLE"),
            entry(certificate, ClientAuth("required", "/no/ca.pem", str(tmp_path / "crl"))),
        ),
        client_auth=ClientAuth("optional", str(certificate.key)),
    )
    findings = found(tls)
    assert [(level, place) for level, place, _ in findings if level == "error"] == [
        ("error", "tls.client_auth.ca"),
        ("error", "tls.certificates[3].certificate"),
        ("error", "tls.certificates[3].key"),
        ("error", "tls.certificates[3].key_password_env"),
        ("error", "tls.certificates[4].client_auth.ca"),
        ("error", "tls.certificates[4].client_auth.crl"),
        ("error", "tls.certificates[1].key"),
        ("error", "tls.certificates[2].key"),
    ]
    for _, place, message in findings:
        assert not place or message.startswith(f"`{place}`: ")
    assert [message for level, _, message in findings if level == "ok"] == [
        message for _, _, message in single(certificate)
    ]


def test_hosts_with_two_policies(certificate: Certificate, authority_file: Path) -> None:
    strict = entry(certificate, ClientAuth("required", str(authority_file)))
    (level, place, message), _ = found(TLS(certificates=(entry(certificate), strict)))
    assert (level, place) == ("error", "tls.certificates[1]")
    assert "localhost is in `tls.certificates[0]`, too" in message


def test_the_certificate_for_development(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dev_tls, "data_folder", lambda: tmp_path / "dev-tls")
    made_later = ("ok", "", "certificate: for development, to be made at the start")
    assert found(TLS(dev=True)) == [made_later]
    assert not (tmp_path / "dev-tls").exists()
    monkeypatch.setattr(dev_tls, "find_spec", lambda _: None)
    assert found(TLS(dev=True)) == [
        ("error", "tls.dev", "`tls.dev`: needs trustme; run `pip install 'hyperserver[dev]'`")
    ]
    leaf = dev_tls.ensure_certificate(tmp_path / "dev-tls")
    assert found(TLS(dev=True)) == [("ok", "", f"certificate: {leaf}")]
