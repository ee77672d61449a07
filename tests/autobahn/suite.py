"""What ``wstest`` is asked, and what it has found."""

from __future__ import annotations

import json
import queue
import subprocess
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: What a server may be found to do; all else is a failure, UNIMPLEMENTED included.
GOOD = frozenset(("OK", "NON-STRICT", "INFORMATIONAL"))
#: A case whose result is missing: the suite or the server has ended before, or hangs.
NOT_RUN = "NOT RUN"

#: Seconds for one case. The suite ends each by itself, the longest after 480.
_STALLED = 600.0
#: Their cases take seconds each, those of all others together less than half a minute.
_LONG = frozenset(("12", "13"))

_LIST_CASES = """
import json, sys
from autobahntestsuite.case import \\
    CaseBasename, CaseCategories, Cases, CaseSetname, CaseSubCategories
from autobahntestsuite.caseset import CaseSet
known = CaseSet(CaseSetname, CaseBasename, Cases, CaseCategories, CaseSubCategories)
wanted, unwanted = json.loads(sys.argv[1])
def resolve(pattern):
    return [case for case in known.resolveCasePatternList([pattern]) if case in known.CasesById]
unknown = [pattern for pattern in wanted + unwanted if not resolve(pattern)]
chosen = [] if unknown else known.parseSpecCases({"cases": wanted, "exclude-cases": unwanted})
print(json.dumps([chosen, unknown]))
"""


class SuiteError(Exception):
    """The suite could not be asked; the message says why."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """On one case. ``behavior`` and ``close`` are the suite's words; ``why`` is "" where it is good."""

    case: str
    behavior: str
    close: str
    why: str = ""

    @property
    def is_good(self) -> bool:
        return self.behavior in GOOD and self.close in GOOD


def list_cases(python: Path, wanted: list[str], unwanted: list[str]) -> list[str]:
    """The cases that match any pattern of ``wanted`` and none of ``unwanted``, in order.

    Raises SuiteError where a pattern matches none.
    """
    done = subprocess.run(
        [python, "-W", "ignore", "-c", _LIST_CASES, json.dumps([wanted, unwanted])],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    if done.returncode != 0:
        raise SuiteError(f"the testsuite does not start:\n{done.stderr.strip()}")
    cases, unknown = json.loads(done.stdout.splitlines()[-1])
    if unknown:
        raise SuiteError(f"no case of the testsuite matches {', '.join(unknown)}")
    if not cases:
        raise SuiteError("all the cases that were chosen are excluded")
    return list(cases)


def batches(cases: list[str], jobs: int) -> list[list[str]]:
    """``cases`` in lists for ``jobs`` processes, those that take long first."""
    if jobs == 1:
        return [cases]
    groups: dict[str, list[str]] = {}
    for case in cases:
        parts = case.split(".")
        key = ".".join(parts[: 2 if parts[0] in _LONG else 1])
        groups.setdefault(key, []).append(case)
    return sorted(groups.values(), key=lambda group: group[0].partition(".")[0] not in _LONG)


def run(python: Path, url: str, cases: list[str], folder: Path) -> list[Verdict]:
    """Have ``cases`` run against ``url``; the suite's own report goes to ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    spec = {
        "outdir": str(folder),
        "servers": [{"agent": "server", "url": url}],
        "cases": cases,
        "exclude-cases": [],
        "exclude-agent-cases": {},
    }
    spec_file = folder / "fuzzingclient.json"
    spec_file.write_text(json.dumps(spec, indent=2))
    wstest = "from autobahntestsuite.wstest import run; run()"
    options = ["-m", "fuzzingclient", "-s", str(spec_file)]
    with (
        (folder / "wstest.log").open("w") as log,
        subprocess.Popen(
            [python, "-u", "-W", "ignore", "-c", wstest, *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process,
    ):
        try:
            _follow(process, log)
        finally:
            process.kill()
    return verdicts(cases, folder)


def _follow(process: subprocess.Popen[str], log: Any) -> None:
    """Until the process ends, or says nothing for too long: it names each case that it begins."""
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()

    def read() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            lines.put(line)
        lines.put("")

    threading.Thread(target=read, daemon=True).start()
    try:
        while line := lines.get(timeout=_STALLED):
            log.write(line)
    except queue.Empty:
        log.write(f"ended: it said nothing for {_STALLED:g} s\n")


def verdicts(cases: Iterable[str], folder: Path) -> list[Verdict]:
    """What the report in ``folder`` says on ``cases``."""
    index = folder / "index.json"
    found: dict[str, Any] = json.loads(index.read_text())["server"] if index.exists() else {}
    return [_verdict(case, found.get(case), folder) for case in cases]


def _verdict(case: str, entry: dict[str, str] | None, folder: Path) -> Verdict:
    if entry is None:
        return Verdict(case, NOT_RUN, NOT_RUN, f"see {folder / 'wstest.log'}")
    verdict = Verdict(case, entry["behavior"], entry["behaviorClose"])
    if verdict.is_good:
        return verdict
    report = json.loads((folder / entry["reportfile"]).read_text(errors="replace"))
    reasons = []
    if verdict.behavior not in GOOD:
        reasons.append(str(report["result"]))
    if verdict.close not in GOOD:
        reasons.append(str(report["resultClose"]))
    return Verdict(
        case, verdict.behavior, verdict.close, " ".join(" ".join(dict.fromkeys(reasons)).split())
    )
