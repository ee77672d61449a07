"""The runner's own decisions, on reports that are made up. No Python 2.7 is needed."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from tests.autobahn import environment, run, suite
from tests.autobahn.server import ServerError, Subject
from tests.autobahn.suite import Verdict


def write_report(folder: Path, **cases: tuple[str, str]) -> None:
    """As wstest writes it, of what is read of it."""
    index = {}
    for name, (behavior, close) in cases.items():
        case = name.strip("_").replace("_", ".")
        file = f"server_case{name}.json"
        index[case] = {"behavior": behavior, "behaviorClose": close, "reportfile": file}
        report = {"result": "Not\n  as expected.", "resultClose": "Not closed well."}
        (folder / file).write_text(json.dumps(report))
    (folder / "index.json").write_text(json.dumps({"server": index}))


def test_verdicts(tmp_path: Path) -> None:
    write_report(
        tmp_path,
        _1_1_1=("OK", "OK"),
        _6_4_1=("NON-STRICT", "OK"),
        _7_1_6=("INFORMATIONAL", "INFORMATIONAL"),
        _7_3_1=("OK", "UNCLEAN"),
        _13_1_1=("UNIMPLEMENTED", "OK"),
        _5_1=("FAILED", "WRONG CODE"),
    )
    cases = ["1.1.1", "6.4.1", "7.1.6", "7.3.1", "13.1.1", "5.1", "5.2"]
    verdicts = suite.verdicts(cases, tmp_path)
    assert [verdict.case for verdict in verdicts] == cases
    assert [verdict.is_good for verdict in verdicts] == [True] * 3 + [False] * 4
    assert [verdict.why for verdict in verdicts[3:]] == [
        "Not closed well.",
        "Not as expected.",
        "Not as expected. Not closed well.",
        f"see {tmp_path / 'wstest.log'}",
    ]


def test_a_suite_that_wrote_nothing_has_run_nothing(tmp_path: Path) -> None:
    (verdict,) = suite.verdicts(["1.1.1"], tmp_path)
    assert (verdict.behavior, verdict.is_good) == (suite.NOT_RUN, False)


def test_report() -> None:
    verdicts = [
        Verdict("1.1.1", "OK", "OK"),
        Verdict("1.1.2", "OK", "OK"),
        Verdict("6.4.1", "NON-STRICT", "OK"),
    ]
    assert run.report("trio", verdicts, 1.6) == [
        "trio: 3 cases in 2 s: 2 OK, 1 NON-STRICT, none failed"
    ]
    verdicts.append(Verdict("7.1.5", "FAILED", "WRONG CODE", "because"))
    assert run.report("trio", verdicts, 1.6) == [
        "trio: 4 cases in 2 s: 2 OK, 1 NON-STRICT, 1 not well",
        "  case      result        close            why",
        "  7.1.5     FAILED        WRONG CODE       because",
    ]


def test_batches() -> None:
    cases = ["1.1.1", "1.2.1", "9.1.1", "10.1.1", "12.1.1", "12.1.2", "12.2.1", "13.1.1"]
    assert suite.batches(cases, 1) == [cases]
    assert suite.batches(cases, 2) == [
        ["12.1.1", "12.1.2"],
        ["12.2.1"],
        ["13.1.1"],
        ["1.1.1", "1.2.1"],
        ["9.1.1"],
        ["10.1.1"],
    ]


def test_no_python27(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(environment, "_STAMP", tmp_path / "none")
    monkeypatch.setenv("PATH", os.fspath(tmp_path))
    monkeypatch.delenv("PYTHON27", raising=False)
    assert run.main(["--prepare"]) == 2
    assert "no Python 2.7 with ssl and zlib was found" in capsys.readouterr().err
    monkeypatch.setenv("PYTHON27", sys.executable)
    assert run.main(["--prepare"]) == 2
    assert "$PYTHON27 is " in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments", [["--jobs", "0"], ["--command", "serve"], ["--worker", ""], ["--case", "1.1.1"]]
)
def test_usage(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run.main(arguments)
    assert ended.value.code == 2


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("raise SystemExit('out of order')", "did not start:\nout of order"),
        ("import http.server as s; s.test(port={port}, bind='127.0.0.1')", "HTTP/1.0 501 "),
    ],
)
def test_server_that_cannot_be_tested(program: str, said: str, tmp_path: Path) -> None:
    subject = Subject(command=f'{sys.executable} -c "{program}" {{port}}')
    with pytest.raises(ServerError) as error, subject.running(tmp_path):
        pass
    assert said in str(error.value)


def test_names() -> None:
    assert Subject("trio", "wsproto", over_http2=True).name == "trio+wsproto over HTTP/2"
    assert Subject("uvloop").name == "uvloop"
    assert Subject(command="serve {port}").name == "command"
