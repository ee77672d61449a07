"""The Autobahn testsuite against hyperserver: ``make autobahn``.

    python -m tests.autobahn.run --worker trio --cases '6.*,7.*'
    python -m tests.autobahn.run --http2 --jobs 4
    python -m tests.autobahn.run --command 'uvicorn tests.autobahn.echo:app --port {port}'

Exit codes: 0 all cases are well, 1 some are not, 2 usage, or no Python 2.7 to run the suite on.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
import time
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from importlib.util import find_spec
from pathlib import Path

from tests.autobahn import environment, suite
from tests.autobahn.server import APP, ServerError, Subject
from tests.autobahn.suite import Verdict

REPORTS = Path(__file__).resolve().parent / "reports"


def main(arguments: list[str] | None = None) -> int:
    options = _options(arguments)
    try:
        python = environment.prepare()
    except environment.Unavailable as error:
        print(error, file=sys.stderr)
        return 2
    if options.prepare:
        return 0
    try:
        cases = suite.list_cases(python, options.cases, options.exclude)
    except suite.SuiteError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    failed = False
    for subject in _subjects(options):
        folder = options.reports / re.sub(r"\W+", "-", subject.name)
        shutil.rmtree(folder, ignore_errors=True)
        try:
            verdicts = _run(python, subject, cases, options.jobs, folder)
        except ServerError as error:
            print(f"{subject.name}: {error}")
            failed = True
        else:
            failed |= not all(verdict.is_good for verdict in verdicts)
    return int(failed)


def _run(
    python: Path, subject: Subject, cases: list[str], jobs: int, folder: Path
) -> list[Verdict]:
    """The verdicts in order of ``cases``, and a table of them on stdout. Raises ServerError."""
    verdicts: dict[str, Verdict] = {}
    began = time.monotonic()
    with subject.running(folder) as url, ThreadPoolExecutor(jobs) as pool:
        runs = {
            pool.submit(suite.run, python, url, batch, folder / batch[0]): batch
            for batch in suite.batches(cases, jobs)
        }
        for done in as_completed(runs):
            verdicts.update((verdict.case, verdict) for verdict in done.result())
            _progress(f"{subject.name}: {len(verdicts)} of {len(cases)} cases")
        _progress("")
        _print(subject.name, [verdicts[case] for case in cases], time.monotonic() - began, folder)
    return [verdicts[case] for case in cases]


def _progress(line: str) -> None:
    """One line that is written over, for whoever watches."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{line}", end="", file=sys.stderr, flush=True)


def _print(name: str, verdicts: list[Verdict], seconds: float, folder: Path) -> None:
    print("\n".join(report(name, verdicts, seconds)))
    if not all(verdict.is_good for verdict in verdicts):
        print(f"  the suite's reports are in {folder}")


def report(name: str, verdicts: list[Verdict], seconds: float) -> list[str]:
    """A line of counts, and a line for each case that is not well."""
    counts = Counter(verdict.behavior if verdict.is_good else "bad" for verdict in verdicts)
    bad = counts.pop("bad", 0)
    parts = [f"{count} {behavior}" for behavior, count in counts.most_common()]
    parts.append(f"{bad} not well" if bad else "none failed")
    lines = [f"{name}: {len(verdicts)} cases in {seconds:.0f} s: {', '.join(parts)}"]
    lines += [
        f"  {verdict.case:<9} {verdict.behavior:<13} {verdict.close:<16} {verdict.why}".rstrip()
        for verdict in verdicts
        if not verdict.is_good
    ]
    if bad:
        lines.insert(1, f"  {'case':<9} {'result':<13} {'close':<16} why")
    return lines


def _subjects(options: argparse.Namespace) -> Iterable[Subject]:
    if options.command:
        return [Subject(command=options.command, over_http2=options.http2)]
    return [
        Subject(worker, engine, over_http2=options.http2)
        for worker in options.worker
        for engine in options.engine
    ]


def _options(arguments: list[str] | None) -> argparse.Namespace:
    installed = [name for name in ("uvloop", "asyncio", "trio") if find_spec(name)]
    parser = argparse.ArgumentParser(
        prog="python -m tests.autobahn.run",
        description="Run the Autobahn testsuite against hyperserver.",
        epilog="Lists are separated by commas. A pattern is a case, or a beginning and a *: 12.1.*",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--worker",
        type=_names,
        default=installed,
        metavar="LIST",
        help=f"event loops (default: {','.join(installed)})",
    )
    parser.add_argument(
        "--engine",
        type=_names,
        default=[""],
        metavar="LIST",
        help="WebSocket engines, for --websocket-engine (default: the server's own choice)",
    )
    parser.add_argument(
        "--cases", type=_names, default=["*"], metavar="LIST", help="patterns of cases (default: *)"
    )
    parser.add_argument(
        "--exclude", type=_names, default=[], metavar="LIST", help="patterns of cases to leave out"
    )
    parser.add_argument("--http2", action="store_true", help="over HTTP/2, through a bridge")
    parser.add_argument(
        "--command",
        metavar="COMMAND",
        help=f"test another server; {{port}} stands for its port on 127.0.0.1, {APP} is the application",
    )
    parser.add_argument(
        "--jobs", type=int, default=1, metavar="N", help="clients at the same time (default: 1)"
    )
    parser.add_argument(
        "--reports", type=Path, default=REPORTS, metavar="FOLDER", help="default: %(default)s"
    )
    parser.add_argument(
        "--prepare", action="store_true", help="only make the suite's environment, or say why not"
    )
    options = parser.parse_args(arguments)
    if options.jobs < 1:
        parser.error("--jobs must be 1 or more")
    if options.command and "{port}" not in options.command:
        parser.error("--command must contain {port}")
    return options


def _names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise argparse.ArgumentTypeError(f"an empty name in {text!r}")
    return names


if __name__ == "__main__":
    sys.exit(main())
