"""Who takes part, and how each is started: one process, one worker, access log off.

Peers live in a virtual environment of their own, ``benchmarks/.venv``, made with the Python that
runs the benchmark. A peer that cannot be installed stays in the table, with the reason.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.certificate import CERTIFICATE, KEY

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent


@dataclass(frozen=True, slots=True)
class Contender:
    """A server in one configuration.

    ``arguments`` follow ``python``; ``{app}``, ``{port}``, ``{dir}``, ``{certificate}``
    and ``{key}`` are filled in.
    ``requires`` is what pip installs for it (peers), ``packages`` whose versions are reported.
    """

    name: str
    arguments: tuple[str, ...]
    packages: tuple[str, ...]
    requires: tuple[str, ...] = ()

    @property
    def is_peer(self) -> bool:
        return bool(self.requires)

    def command(self, python: str, app: str, port: int, secrets: Path) -> list[str]:
        """The argument vector that serves ``apps:<app>`` on 127.0.0.1:port. The certificate, for
        those that use one, is in the folder ``secrets``.
        """
        values = {
            "app": f"apps:{app}",
            "port": str(port),
            "dir": str(HERE),
            "certificate": str(secrets / CERTIFICATE),
            "key": str(secrets / KEY),
        }
        return [python, *(argument.format_map(values) for argument in self.arguments)]


def _ours(worker: str, engine: str, tls: bool = False) -> Contender:
    return Contender(
        name=f"hyperserver {worker}+{engine}",
        arguments=(
            *("-m", "hyperserver", "{app}", "--app-dir", "{dir}", "--bind", "127.0.0.1:{port}"),
            *(("--tls-certificate", "{certificate}", "--tls-key", "{key}") if tls else ()),
            *("--worker", worker, "--http1-engine", engine),
            *("--no-access-log", "--log-level", "warning"),
        ),
        packages=("hyperserver", engine, *(() if worker == "asyncio" else (worker,))),
    )


def _ours_http2(worker: str, engine: str, tls: bool) -> Contender:
    return Contender(
        name=f"hyperserver {worker}+{engine}",
        arguments=(
            *("-m", "hyperserver", "{app}", "--app-dir", "{dir}", "--bind", "127.0.0.1:{port}"),
            *(("--tls-certificate", "{certificate}", "--tls-key", "{key}") if tls else ()),
            *("--worker", worker, "--no-access-log", "--log-level", "warning"),
            *("--config", f"{{dir}}/hyperserver-{engine}.toml"),
        ),
        packages=(
            "hyperserver",
            *(("h2",) if engine == "h2" else ()),  # nghttp2 is no Python package
            *(() if worker == "asyncio" else (worker,)),
        ),
    )


def _ours_websocket(worker: str, engine: str, *options: str) -> Contender:
    return Contender(
        name=f"hyperserver {worker}+{engine}",
        arguments=(
            *("-m", "hyperserver", "{app}", "--app-dir", "{dir}", "--bind", "127.0.0.1:{port}"),
            *("--worker", worker, "--websocket-engine", engine),
            *("--no-access-log", "--log-level", "warning", *options),
        ),
        packages=("hyperserver", engine, *(() if worker == "asyncio" else (worker,))),
    )


def _uvicorn(loop: str, engine: str, tls: bool = False) -> Contender:
    return Contender(
        name=f"uvicorn {loop}+{engine}",
        arguments=(
            *("-m", "uvicorn", "{app}", "--app-dir", "{dir}"),
            *("--host", "127.0.0.1", "--port", "{port}", "--loop", loop, "--http", engine),
            *(("--ssl-certfile", "{certificate}", "--ssl-keyfile", "{key}") if tls else ()),
            *("--no-access-log", "--log-level", "warning"),
        ),
        packages=("uvicorn", engine, loop),
        requires=("uvicorn", engine, loop),
    )


def _uvicorn_websocket(loop: str, ws: str, *options: str) -> Contender:
    http1 = _uvicorn(loop, "httptools")
    engine = ws.removesuffix("-sansio")
    return replace(
        http1,
        name=f"uvicorn {loop}+{ws}",
        arguments=(*http1.arguments, "--ws", ws, *options),
        packages=("uvicorn", engine, loop),
        requires=(*http1.requires, engine),
    )


def _granian(http: str, tls: bool = False) -> Contender:
    return Contender(
        name="granian uvloop",
        arguments=(
            *("-m", "granian", "{app}", "--working-dir", "{dir}", "--interface", "asgi"),
            *("--host", "127.0.0.1", "--port", "{port}", "--http", http, "--no-ws"),
            *(("--ssl-certificate", "{certificate}", "--ssl-keyfile", "{key}") if tls else ()),
            *("--loop", "uvloop", "--workers", "1", "--no-access-log", "--log-level", "warning"),
        ),
        packages=("granian", "uvloop"),
        requires=("granian[uvloop]",),
    )


def _granian_websocket(*options: str) -> Contender:
    http1 = _granian("1")
    arguments = (argument for argument in http1.arguments if argument != "--no-ws")
    return replace(http1, arguments=(*arguments, *options))


def _hypercorn(worker: str, tls: bool = False) -> Contender:
    return Contender(
        name=f"hypercorn {worker}",
        arguments=(
            *("-m", "hypercorn", "--bind", "127.0.0.1:{port}", "--worker-class", worker),
            *(("--certfile", "{certificate}", "--keyfile", "{key}") if tls else ()),
            *("--workers", "1", "--log-level", "warning", "{dir}/{app}"),
        ),
        packages=("hypercorn", *(() if worker == "asyncio" else (worker,))),
        requires=("hypercorn" if worker == "asyncio" else f"hypercorn[{worker}]",),
    )


def _hypercorn_http2(worker: str, tls: bool) -> Contender:
    http1 = _hypercorn(worker)
    options = (
        *("--config", "{dir}/hypercorn.toml"),
        *(("--certfile", "{certificate}", "--keyfile", "{key}") if tls else ()),
    )
    return replace(
        http1,
        arguments=(*http1.arguments[:-1], *options, http1.arguments[-1]),
        packages=(http1.packages[0], "h2", *http1.packages[1:]),
    )


def _hypercorn_websocket(worker: str) -> Contender:
    http1 = _hypercorn(worker)
    return replace(http1, packages=(http1.packages[0], "wsproto", *http1.packages[1:]))


def _http2(tls: bool) -> tuple[Contender, ...]:
    workers = ("uvloop", "asyncio", "trio")
    return (
        *(_ours_http2(worker, "nghttp2", tls) for worker in workers),
        _ours_http2("uvloop", "h2", tls),
        _granian("2", tls),
        *(_hypercorn_http2(worker, tls) for worker in workers),
    )


def _websocket(idle: bool) -> tuple[Contender, ...]:
    """Those for ``idle`` sockets are told to offer no compression, where they can be, and to take
    more connections than they would, where they must be.
    """
    workers = ("uvloop", "asyncio", "trio")
    ours = ("--config", "{dir}/hyperserver-idle.toml") if idle else ()
    uvicorn = ("--ws-per-message-deflate", "false") if idle else ()
    granian = ("--backlog", "8192", "--backpressure", "8192") if idle else ()
    return (
        *(_ours_websocket(worker, "websockets", *ours) for worker in workers),
        _ours_websocket("uvloop", "wsproto", *ours),
        _uvicorn_websocket("uvloop", "websockets-sansio", *uvicorn),
        _uvicorn_websocket("uvloop", "wsproto", *uvicorn),
        _granian_websocket(*granian),
        *(_hypercorn_websocket(worker) for worker in workers),
    )


#: No server at all: what the loop and the kernel cost.
_FLOOR = Contender(
    name="uvloop alone, the floor",
    arguments=("{dir}/floor.py", "{port}"),
    packages=("uvloop", "websockets"),
    requires=("uvloop", "websockets"),
)

HTTP1 = (
    _ours("uvloop", "httptools"),
    _ours("asyncio", "httptools"),
    _ours("trio", "httptools"),
    _ours("uvloop", "h11"),
    _uvicorn("uvloop", "httptools"),
    _uvicorn("uvloop", "h11"),
    _granian("1"),
    _hypercorn("uvloop"),
    _hypercorn("asyncio"),
    _hypercorn("trio"),
)
HTTP1_TLS = (
    _ours("uvloop", "httptools", tls=True),
    _ours("asyncio", "httptools", tls=True),
    _ours("trio", "httptools", tls=True),
    _uvicorn("uvloop", "httptools", tls=True),
    _granian("1", tls=True),
    _hypercorn("uvloop", tls=True),
    _hypercorn("asyncio", tls=True),
    _hypercorn("trio", tls=True),
)
HTTP2 = _http2(tls=False)
HTTP2_TLS = _http2(tls=True)
WEBSOCKET = (*_websocket(idle=False), _FLOOR)
WEBSOCKET_IDLE = _websocket(idle=True)


# ---- where they are installed ------------------------------------------------------------------

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


def versions(python: str, packages: set[str]) -> dict[str, str]:
    """The installed versions of those ``packages`` that are installed."""
    answer = subprocess.run(
        [python, "-c", _VERSIONS, *sorted(packages)], check=True, capture_output=True, text=True
    )
    found: dict[str, str] = json.loads(answer.stdout)
    return found


@dataclass(slots=True)
class Installed:
    """Where contenders run: their interpreter, their versions, and what went wrong."""

    ours: str
    peers: str
    versions: dict[str, dict[str, str]]
    errors: dict[str, str]

    def python(self, contender: Contender) -> str:
        return self.peers if contender.is_peer else self.ours

    def describe(self, contender: Contender) -> str:
        """``granian 2.8.7, uvloop 0.23.0``."""
        known = self.versions[self.python(contender)]
        return ", ".join(f"{name} {known.get(name, '?')}" for name in contender.packages)


def install(contenders: list[Contender], peers_python: str | None) -> Installed:
    """Make sure that all peers among ``contenders`` can be started, as far as possible."""
    packages = {name for contender in contenders for name in contender.packages}
    errors: dict[str, str] = {}
    peers = [contender for contender in contenders if contender.is_peer]
    python = peers_python or str(HERE / ".venv/bin/python")
    if peers and peers_python is None:
        errors = _install_peers(python, peers)
    known = {sys.executable: versions(sys.executable, packages)}
    if peers and Path(python).exists():
        known[python] = versions(python, packages)
    return Installed(sys.executable, python, {python: {}, **known}, errors)


def _install_peers(python: str, peers: list[Contender]) -> dict[str, str]:
    if not Path(python).exists():
        print("making benchmarks/.venv for the other servers", file=sys.stderr)
        made = _run([sys.executable, "-m", "venv", str(HERE / ".venv")])
        if made:
            return dict.fromkeys((peer.name for peer in peers), f"no virtual environment: {made}")
    errors: dict[str, str] = {}
    for peer in peers:
        wanted = set(peer.packages)
        if wanted <= versions(python, wanted).keys():
            continue
        print(f"installing {' '.join(peer.requires)}", file=sys.stderr)
        pip = (python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
        failed = _run([*pip, *peer.requires])
        if failed:
            errors[peer.name] = f"not installed: {failed}"
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
