"""The frameworks, what they can do, and why not: matrix.toml as objects."""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass, field
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any

WORKERS = ["asyncio", "uvloop", "trio"]

#: The variable by which ``make frameworks`` asks for all frameworks, not only the quick ones.
EVERYTHING = "TEST_FRAMEWORKS"


@dataclass(frozen=True)
class Framework:
    """One row. ``limits`` says why a capability or a worker is not there, ``notes`` how it is.

    The ``quick`` ones are those that ``make test`` installs and tests.
    """

    name: str
    title: str
    packages: list[str]
    quick: bool = False
    limits: dict[str, str] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)

    @property
    def app(self) -> str:
        return f"tests.frameworks.apps.{self.name}_app:app"

    @property
    def workers(self) -> list[str]:
        return [worker for worker in WORKERS if worker not in self.limits]

    @cached_property
    def versions(self) -> list[str] | None:
        """Of its packages; None where one is not installed."""
        try:
            return [metadata.version(package) for package in self.packages]
        except metadata.PackageNotFoundError:
            return None

    def has(self, capability: str) -> bool:
        return capability not in self.limits


def read() -> tuple[dict[str, str], list[Framework]]:
    """What each capability means, in the order of the columns; and the frameworks."""
    tables: dict[str, Any] = tomllib.loads(Path(__file__).with_name("matrix.toml").read_text())
    frameworks = [Framework(**entry) for entry in tables["framework"]]
    known = {*tables["capabilities"], *WORKERS}
    for framework in frameworks:
        for name in (*framework.limits, *framework.notes):
            assert name in known, f"matrix.toml: {framework.name}: what is {name!r}?"
    return tables["capabilities"], frameworks


CAPABILITIES, FRAMEWORKS = read()
CHOSEN = [framework for framework in FRAMEWORKS if framework.quick or os.environ.get(EVERYTHING)]
