"""Run every framework, and draw the table of docs/frameworks.md from what has happened.

    python -m tests.frameworks.run [arguments of pytest]

The exit code is pytest's. The table is written only where nothing was left out and nothing failed;
what could not be installed is named in it.
"""

from __future__ import annotations

import os
import sys
from collections import defaultdict
from typing import Any, cast

import pytest

from tests.e2e.support import ROOT
from tests.frameworks import table
from tests.frameworks.matrix import EVERYTHING, FRAMEWORKS
from tests.frameworks.table import Cell

PAGE = ROOT / "docs" / "frameworks.md"


class Collector:
    """Takes part in the run as a plugin: gathers how each cell has fared."""

    def __init__(self) -> None:
        self.results: defaultdict[Cell, set[str]] = defaultdict(set)

    @pytest.hookimpl(tryfirst=True)
    def pytest_xdist_make_scheduler(self, config: pytest.Config, log: Any) -> Any:
        """The tests of one (framework, worker) go to one process, which starts its server once."""
        from xdist.scheduler import LoadScopeScheduling  # pytest has to load the plugin first

        class ByServer(LoadScopeScheduling):  # type: ignore[misc] # it has no types
            def _split_scope(self, nodeid: str) -> str:
                return "-".join(nodeid.rpartition("[")[2].rstrip("]").split("-")[:2])

        return ByServer(config, log)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" or not report.passed:
            for name, value in report.user_properties:
                if name == "cell":
                    self.results[Cell(*cast("list[str]", value))].add(report.outcome)


def main(arguments: list[str]) -> int:
    os.environ[EVERYTHING] = "1"
    os.chdir(ROOT)
    collector = Collector()
    code = int(pytest.main(["tests/frameworks", "-q", "-n", "2", *arguments], [collector]))
    rows = table.rows(collector.results)
    print("\n" + table.as_text(rows))
    for framework in FRAMEWORKS:
        if framework.versions is None:
            print(f"warning: {framework.title} is not installed: it was not tested")
    if code:
        print("the table is not written: not everything has passed")
    elif arguments:
        print("the table is not written: that needs a run without arguments")
    else:
        PAGE.write_text(table.insert(PAGE.read_text(), rows))
        print(f"written: {PAGE.relative_to(ROOT)}")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
