"""The real server under h2spec, a conformance suite that others wrote.

It runs over cleartext (prior knowledge) and over TLS, on every worker, plain and strict. Where
h2spec is not installed the tests are skipped, but never on CI; ``.ci/h2spec`` builds it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest

from tests.e2e.conftest import HTTP2_VARIANTS
from tests.e2e.support import ROOT, Server

if TYPE_CHECKING:
    from tests.conftest import Certificate

#: Fewer than these, and h2spec has not run what we think it has.
LEAST = 145


def find_h2spec() -> str | None:
    """``$H2SPEC``, else the one on PATH, in Go's own folder or where ``.ci/run`` puts it."""
    if named := os.environ.get("H2SPEC"):
        return named
    folders = [
        os.environ.get("PATH", os.defpath),
        Path.home() / "go" / "bin",
        ROOT / "build" / "ci",
    ]
    return shutil.which("h2spec", path=os.pathsep.join(map(str, folders)))


@pytest.fixture(scope="module")
def h2spec() -> str:
    found = find_h2spec()
    if found is None:
        assert os.environ.get("CI", "").lower() not in {"1", "true"}, "CI must have h2spec"
        pytest.skip("needs h2spec: on PATH, in ~/go/bin, in build/ci, or named by $H2SPEC")
    return found


@pytest.fixture(scope="module", params=["cleartext", "tls"])
def tls(request: pytest.FixtureRequest) -> bool:
    return bool(request.param == "tls")


@pytest.fixture(scope="module", params=HTTP2_VARIANTS)
def server(
    request: pytest.FixtureRequest, h2spec: str, tls: bool, certificate: Certificate
) -> Iterator[Server]:
    options = ["--no-access-log"]
    if tls:
        options += ["--tls-certificate", str(certificate.chain), "--tls-key", str(certificate.key)]
    with Server("tests.e2e.apps.patient:app", str(request.param), *options) as server:
        yield server
        assert server.stop() == 0
        assert "internal error" not in str(server.stderr)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("strict", [False, True])
def test_h2spec(server: Server, h2spec: str, tls: bool, strict: bool, tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    command = [h2spec, "-h", "127.0.0.1", "-p", str(server.port), "-o", "5", "-j", str(report)]
    command += ["-t", "-k"] * tls + ["-S"] * strict
    run = subprocess.run(command, capture_output=True, text=True, timeout=150, check=False)
    assert report.exists(), run.stdout + run.stderr
    cases = list(ET.parse(report).iter("testcase"))
    assert len(cases) >= LEAST + strict
    wrong = [
        f"{case.get('package')}: {case.get('classname')}: {' '.join(case.itertext()).strip()}"
        for case in cases
        if len(case)  # a failure, an error or a skip is an element within
    ]
    assert not wrong, "\n".join(wrong)
    assert run.returncode == 0
