"""Where contenders run, and which versions they have.

Peers live in a virtual environment of their own, and so does hyperserver: installed as its users
have it, with what is compiled. Both are in ``benchmarks/.venv``, for each Python that runs a benchmark. A
peer that cannot be installed stays in the table, with the reason.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import hyperserver
from benchmarks.contender import HERE, ROOT, Contender
from benchmarks.load import LoadError

#: What the applications need that are not plain ASGI.
_FRAMEWORKS = ("starlette", "fastapi")
_PIP = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check")

_VERSIONS = """
import json, sys
from importlib.metadata import PackageNotFoundError, version
found = {}
for name in sys.argv[1:]:
    try:
        found[name] = version(name)
    except PackageNotFoundError:
        pass
print(json.dumps(found))
"""


def versions(python: str, packages: Iterable[str]) -> dict[str, str]:
    """The installed versions of those ``packages`` that are installed."""
    answer = subprocess.run(
        [python, "-c", _VERSIONS, *sorted(packages)], check=True, capture_output=True, text=True
    )
    found: dict[str, str] = json.loads(answer.stdout)
    return found


@dataclass(slots=True)
class Installed:
    """The interpreters, the versions, and what went wrong for which contender."""

    ours: str
    peers: str
    versions: dict[str, dict[str, str]]
    errors: dict[str, str]

    def python(self, contender: Contender) -> str:
        return self.peers if contender.is_peer else self.ours

    def describe(self, contender: Contender) -> str:
        """``granian 2.8.7, uvloop 0.23.0``."""
        known = {**self.versions[self.python(contender)], "hyperserver": hyperserver.__version__}
        return ", ".join(f"{name} {known.get(name, '?')}" for name in contender.packages)


def install(contenders: list[Contender], peers_python: str | None, source: bool) -> Installed:
    """Make sure that all peers among ``contenders`` can be started, as far as possible; ourselves
    also, from the ``source`` as it is or installed. Raises LoadError where that fails.
    """
    packages = {name for contender in contenders for name in contender.packages}
    packages.update(_FRAMEWORKS)
    errors: dict[str, str] = {}
    peers = [contender for contender in contenders if contender.is_peer and not contender.cannot]
    python = peers_python or str(HERE / ".venv" / _tag() / "bin/python")
    if peers and peers_python is None:
        errors = _install_peers(python, peers)
    ours = sys.executable if source else _install_ours()
    known = {ours: versions(ours, packages)}
    if Path(python).exists():
        known[python] = versions(python, packages)
    return Installed(ours, python, {python: {}, **known}, errors)


def _tag() -> str:
    """The Python that is measured: an environment is of no use to another."""
    return sys.implementation.cache_tag or sys.implementation.name


def _install_ours() -> str:
    """The Python of an environment that has what is in this folder now."""
    folder = HERE / ".venv" / f"{_tag()}-hyperserver"
    python = str(folder / "bin/python")
    mark = folder / "installed"
    digest = hashlib.sha256()
    for path in sorted(
        (*ROOT.glob("hyperserver/**/*"), ROOT / "pyproject.toml", ROOT / "setup.py")
    ):
        if path.suffix in {".py", ".pyx", ".pxi", ".pxd", ".toml"}:
            digest.update(path.read_bytes())
    if not mark.exists() or mark.read_text(encoding="ascii") != digest.hexdigest():
        print("installing hyperserver, compiled, into benchmarks/.venv", file=sys.stderr)
        failed = _run([sys.executable, "-m", "venv", "--clear", str(folder)]) or _run(
            [python, *_PIP, f"{ROOT}[websockets]", *_FRAMEWORKS]
        )
        if failed:
            raise LoadError(f"hyperserver cannot be installed: {failed}")
        mark.write_text(digest.hexdigest(), encoding="ascii")
    return python


def _install_peers(python: str, peers: list[Contender]) -> dict[str, str]:
    if not Path(python).exists():
        print("making benchmarks/.venv for the other servers", file=sys.stderr)
        made = _run([sys.executable, "-m", "venv", str(HERE / ".venv" / _tag())])
        if made:
            return dict.fromkeys((peer.name for peer in peers), f"no virtual environment: {made}")
    found = versions(python, {*_FRAMEWORKS, *(name for peer in peers for name in peer.packages)})
    if not found.keys() >= set(_FRAMEWORKS):
        print(f"installing {' '.join(_FRAMEWORKS)}", file=sys.stderr)
        _run([python, *_PIP, *_FRAMEWORKS])
    tried: dict[tuple[str, ...], str] = {}
    errors: dict[str, str] = {}
    for peer in peers:
        if found.keys() >= set(peer.packages):
            continue
        if peer.requires not in tried:
            print(f"installing {' '.join(peer.requires)}", file=sys.stderr)
            tried[peer.requires] = _run([python, *_PIP, *peer.requires])
        if tried[peer.requires]:
            errors[peer.name] = f"not installed: {tried[peer.requires]}"
    return errors


def _run(command: list[str]) -> str:
    """Run ``command``; "" or the last line of what it said when it failed."""
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=600)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    if done.returncode == 0:
        return ""
    said = (done.stderr or done.stdout).strip().splitlines()
    return said[-1] if said else f"exit code {done.returncode}"
