"""What can be said of certificates, keys and authorities before a client has seen them."""

from __future__ import annotations

import time
from collections.abc import Iterator

from hyperserver.cli.findings import Finding
from hyperserver.config.http import is_address, is_among
from hyperserver.config.read import problems_of, undotted
from hyperserver.config.schema_tls import TLS
from hyperserver.errors import ConfigError, Mistakes
from hyperserver.runtime.certificates import inspect, read_all
from hyperserver.runtime.tls_contexts import Selection


def inspect_tls(
    tls: TLS, now: float | None = None, server_names: tuple[str, ...] = ()
) -> list[Finding]:
    """Whether the files can be used, belong together, are in order and in time, and are private; and
    whether there is a certificate for each of ``server_names``.

    ``now`` is in seconds since 1970.
    """
    if tls.dev:
        return list(_development())
    mistakes = Mistakes()
    everyone = read_all(tls, mistakes)
    if everyone:
        with mistakes:
            Selection(everyone, tls, ())
    findings = list(_errors(mistakes))
    for found in inspect(everyone, time.time() if now is None else now):
        level = "error" if found.is_error else "warning"
        findings.append(Finding(level, str(found), undotted(found.setting)))
    wrong = [finding.problem.path for finding in findings if finding.level == "error"]
    for loaded, _ in everyone:
        place = undotted(loaded.place)
        if not any(path[: len(place)] == place for path in wrong):
            findings.append(Finding("ok", f"certificate: {loaded.describe()}"))
    made_out_to = tuple(name for loaded, _ in everyone for name in loaded.leaf.names)
    if everyone and not wrong:
        findings += _without_certificate(server_names, made_out_to)
    return findings


def _without_certificate(names: tuple[str, ...], made_out_to: tuple[str, ...]) -> Iterator[Finding]:
    for index, name in enumerate(names):
        if not (is_address(name) or is_among(name, made_out_to)):
            what = f"`server_names`: no certificate is made out to {name}"
            yield Finding("warning", what, ("server_names", index))


def _errors(mistakes: Mistakes) -> Iterator[Finding]:
    try:
        mistakes.raise_all()
    except ConfigError as error:
        for problem in problems_of(error):
            yield Finding.of(problem)


def _development() -> Iterator[Finding]:
    """Of the certificate that is made when the server starts."""
    from hyperserver.runtime.dev_tls import check_dev_certificate

    try:
        yield Finding("ok", f"certificate: {check_dev_certificate()}")
    except ConfigError as error:
        for problem in problems_of(error):
            yield Finding.of(problem)
