"""The suite's own environment: ``wstest`` runs on Python 2.7 and on nothing else.

It is made in ``tests/autobahn/.venv`` from any Python 2.7 that is at hand, with the versions of
requirements.txt, and made anew when those change.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
FOLDER = HERE / ".venv"
PYTHON = FOLDER / "bin" / "python"
REQUIREMENTS = HERE / "requirements.txt"
_STAMP = FOLDER / ".made"

#: Of those that still make environments for Python 2.7, the last.
_VIRTUALENV = "virtualenv==20.21.1"
#: Masking and UTF-8 checks in C. There is no wheel of it: it is tried, and not missed.
_ACCELERATOR = "wsaccel==0.6.6"
# pip needs ssl, compression needs zlib; a Python that was built without their headers has neither.
_USABLE = "import sys, ssl, zlib; sys.exit(sys.version_info[:2] != (2, 7))"
_TIMEOUT = 600.0

_HOW_TO = (
    "error: no Python 2.7 with ssl and zlib was found (on PATH as python2.7, python2 or pypy, in pyenv,"
    " or named by $PYTHON27), and the Autobahn testsuite runs on nothing else;"
    " get one by `pyenv install 2.7.18`, or by `apt-get install python2.7` where that exists"
)


class Unavailable(Exception):
    """There can be no environment; the message says why and what to do."""


def prepare() -> Path:
    """The environment's interpreter; the environment is made where it is missing or outdated.

    Raises Unavailable.
    """
    wanted = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()
    if _is_made(wanted):
        return PYTHON
    base = find_python()
    _say(f"making tests/autobahn/.venv with {base}")
    shutil.rmtree(FOLDER, ignore_errors=True)
    with tempfile.TemporaryDirectory() as tools:
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        _run("virtualenv", [*pip, "--target", tools, _VIRTUALENV])
        make = [sys.executable, "-m", "virtualenv", "--quiet", "--no-download"]
        _run("an environment", [*make, "--python", base, str(FOLDER)], PYTHONPATH=tools)
    pip = [str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    _say("installing the Autobahn testsuite into it")
    _run("the testsuite", [*pip, "--no-deps", "--requirement", str(REQUIREMENTS)])
    try:
        _run("wsaccel", [*pip, "--no-deps", _ACCELERATOR])
    except Unavailable:
        _say("wsaccel cannot be built here: the testsuite does without, and is slower")
    _run("the testsuite's start", [str(PYTHON), "-c", "import autobahntestsuite"])
    _STAMP.write_text(wanted)
    return PYTHON


def _is_made(wanted: str) -> bool:
    """Also whether the Python that it was made from is still there."""
    return (
        _STAMP.exists()
        and _STAMP.read_text() == wanted
        and _succeeds([str(PYTHON), "-c", "import autobahntestsuite"])
    )


def find_python() -> str:
    """Some Python 2.7. Raises Unavailable."""
    named = os.environ.get("PYTHON27")
    if named:
        if _succeeds([named, "-c", _USABLE]):
            return named
        raise Unavailable(f"error: $PYTHON27 is {named}, which is no Python 2.7 with ssl and zlib")
    for python in _candidates():
        if _succeeds([python, "-c", _USABLE]):
            return python
    raise Unavailable(_HOW_TO)


def _candidates() -> Iterator[str]:
    for name in ("python2.7", "python2", "pypy2.7", "pypy2", "pypy"):
        if found := shutil.which(name):  # it may be a shim that starts nothing
            yield found
    if not (pyenv := shutil.which("pyenv")):
        return
    for version in _output([pyenv, "versions", "--bare"]).splitlines():
        if version.startswith(("2.7", "pypy2.7")):
            prefix = _output([pyenv, "prefix", version]).strip()
            if prefix:
                yield str(Path(prefix) / "bin" / "python")


# ---- processes ---------------------------------------------------------------------------------


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _succeeds(command: list[str]) -> bool:
    try:
        done = subprocess.run(command, check=False, capture_output=True, timeout=_TIMEOUT)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def _output(command: list[str]) -> str:
    try:
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, timeout=_TIMEOUT
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout


def _run(what: str, command: list[str], **environment: str) -> None:
    """Raises Unavailable with the command's own last words."""
    try:
        done = subprocess.run(
            command,
            check=False,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT,
            env={**os.environ, **environment},
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(f"error: {what} cannot be had: {error}") from None
    if done.returncode != 0:
        said = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        reasons = [line for line in said if line.lstrip().startswith("ERROR")] or said[-1:]
        because = reasons[0].strip() if reasons else f"exit code {done.returncode}"
        raise Unavailable(f"error: {what} cannot be had: {because}")
