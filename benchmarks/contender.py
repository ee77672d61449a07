"""A server that takes part, and what a scenario wants of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from benchmarks.certificate import CERTIFICATE, KEY

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
APPS = HERE / "apps"


@dataclass(frozen=True, slots=True)
class Wants:
    """What a server has to do; its command line follows from it.

    ``idle``: many connections that are silent for minutes. ``pipelined``: several requests at a
    time on an HTTP/1 connection. ``floor``: next to an echo that is no server.
    """

    protocol: Literal["http1", "http2", "websocket"] = "http1"
    tls: bool = False
    access_log: bool = False
    idle: bool = False
    pipelined: bool = False
    floor: bool = False


@dataclass(frozen=True, slots=True)
class Contender:
    """A server in one configuration.

    ``arguments`` follow ``python``; ``{app}``, ``{port}``, ``{dir}``, ``{certificate}`` and
    ``{key}`` are filled in. ``requires`` is what pip installs for it (peers), ``packages`` whose
    versions are reported. ``cannot`` is why it is not measured, "" where it is.
    """

    name: str
    arguments: tuple[str, ...]
    packages: tuple[str, ...]
    requires: tuple[str, ...] = ()
    cannot: str = ""

    @property
    def is_peer(self) -> bool:
        return bool(self.requires)

    def command(self, python: str, app: str, port: int, secrets: Path) -> list[str]:
        """The argument vector that serves ``app``, as in "plain:hello", on 127.0.0.1:port. The
        certificate, for those that use one, is in the folder ``secrets``.
        """
        values = {
            "app": app,
            "port": str(port),
            "dir": str(HERE),
            "certificate": str(secrets / CERTIFICATE),
            "key": str(secrets / KEY),
        }
        return [python, *(argument.format_map(values) for argument in self.arguments)]
