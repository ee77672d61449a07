"""The real server under the Autobahn testsuite, a conformance suite that others wrote.

This is a selection; ``make autobahn`` runs all of it. Where there is no Python 2.7 for the suite the
tests are skipped.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.conftest import WORKERS
from tests.e2e.support import ROOT

#: All that is quick, and of compression one case of each kind.
CASES = "1.*,2.*,3.*,4.*,5.*,6.*,7.*,10.*,12.1.1,12.3.3,13.1.1,13.3.2,13.5.3,13.7.1"


def autobahn(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.autobahn.run", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


@pytest.fixture(scope="module", autouse=True)
def python27() -> None:
    """The suite's environment; it is made where it can be."""
    prepared = autobahn("--prepare")
    if prepared.returncode == 2:
        pytest.skip(prepared.stderr.strip().rpartition("\n")[2].removeprefix("error: "))
    assert prepared.returncode == 0, prepared.stderr


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "options",
    [
        ("--worker", WORKERS[-2], "--engine", "websockets"),
        ("--worker", "trio", "--engine", "wsproto", "--http2"),
    ],
    ids=" ".join,
)
def test_autobahn(options: tuple[str, ...], tmp_path: Path) -> None:
    done = autobahn(*options, "--cases", CASES, "--jobs", "2", "--reports", str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "none failed" in done.stdout
