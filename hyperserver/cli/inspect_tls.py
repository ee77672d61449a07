"""What can be said of certificates and keys before a client has seen them."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from itertools import pairwise
from typing import TYPE_CHECKING

from hyperserver.cli.findings import Finding
from hyperserver.config.read import Path, dotted, problems_of
from hyperserver.config.schema import TLS
from hyperserver.errors import ConfigError
from hyperserver.runtime.tls_contexts import make_context

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

SOON = timedelta(days=14)


def inspect_tls(tls: TLS, now: datetime | None = None) -> list[Finding]:
    """Whether the files can be used, belong together, are in order and in time, and are private."""
    if tls.certificate is None or tls.key is None:
        return []
    findings = list(_permissions(tls.key, ("tls", "key")))
    try:
        make_context(tls.certificate, tls.key, ("h2", "http/1.1"))
    except ConfigError as error:
        findings += (Finding.of(problem) for problem in problems_of(error))
        if not any("key" in finding.problem.path for finding in findings):  # it is not yet read
            findings += _unreadable(tls.key, ("tls", "key"))
        return findings
    return findings + list(
        _chain(tls.certificate, ("tls", "certificate"), now or datetime.now(UTC))
    )


def _unreadable(file: str, path: Path) -> Iterator[Finding]:
    try:
        with open(file, "rb"):
            return
    except OSError as error:
        yield Finding("error", f"`{dotted(path)}`: cannot read {file}: {error.strerror}", path)
    except ValueError:
        return  # no path at all


def _permissions(key: str, path: Path) -> Iterator[Finding]:
    try:
        mode = os.stat(key).st_mode
    except (OSError, ValueError):
        return  # it cannot be loaded either, and that says why
    if os.name == "posix" and mode & (stat.S_IROTH | stat.S_IWOTH):
        advice = f"run `chmod o= {key}`"
        yield Finding("warning", f"`tls.key`: {key} is open to every user", path, advice)


def _chain(file: str, path: Path, now: datetime) -> Iterator[Finding]:
    if find_spec("cryptography") is None:
        yield Finding(
            "warning",
            f"`tls.certificate`: names, dates and order of {file} were not checked",
            path,
            "run `pip install hyperserver[check]`",
        )
        return
    from cryptography.x509 import load_pem_x509_certificates

    with open(file, "rb") as pem:
        chain = load_pem_x509_certificates(pem.read())
    yield from _dates(file, chain[0], path, now)
    for number, (below, above) in enumerate(pairwise(chain), 1):
        if below.issuer != above.subject:
            yield Finding(
                "error",
                f"`tls.certificate`: certificate {number + 1} of {file} did not issue number {number}",
                path,
                "put the server's own first, then each by which the one before was issued",
            )
            return


def _dates(file: str, own: Certificate, path: Path, now: datetime) -> Iterator[Finding]:
    begin, end = own.not_valid_before_utc, own.not_valid_after_utc
    if now > end:
        yield Finding("error", f"`tls.certificate`: {file} expired on {end:%Y-%m-%d}", path)
    elif now < begin:
        yield Finding("error", f"`tls.certificate`: {file} is valid from {begin:%Y-%m-%d} on", path)
    elif end - now < SOON:
        yield Finding("warning", f"`tls.certificate`: {file} expires on {end:%Y-%m-%d}", path)
    else:
        yield Finding("ok", f"certificate: {_names(own)}, until {end:%Y-%m-%d}", path)


def _names(own: Certificate) -> str:
    from cryptography.x509 import DNSName, ExtensionNotFound, IPAddress, SubjectAlternativeName

    try:
        names = own.extensions.get_extension_for_class(SubjectAlternativeName).value
    except ExtensionNotFound:
        return "no names"
    found = [*names.get_values_for_type(DNSName), *names.get_values_for_type(IPAddress)]
    return ", ".join(map(str, found))
