"""What a run of a scenario gave, and how it is kept: one JSON file for each scenario."""

from __future__ import annotations

import json
import os
import platform
import ssl
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.load import Metric


@dataclass(frozen=True, slots=True)
class Sample:
    """One measured round; latencies in microseconds.

    ``others`` is the share of the server's core that went to something else; it makes all dearer.
    """

    requests: int
    seconds: float
    cpu_seconds: float
    others: float
    rss_before: int
    rss_bytes: int
    latency_p50: float
    latency_p99: float

    @property
    def cpu_us(self) -> float:
        """CPU time for each unit of the load."""
        return self.cpu_seconds / self.requests * 1e6

    @property
    def growth(self) -> float:
        """Bytes for each unit of the load."""
        return (self.rss_bytes - self.rss_before) / self.requests

    @property
    def rate(self) -> float:
        return self.requests / self.seconds


@dataclass(slots=True)
class Row:
    """A contender's rounds; ``error`` says why there are none, or why they ended early."""

    name: str
    is_peer: bool
    versions: str
    error: str = ""
    samples: list[Sample] = field(default_factory=list)

    @property
    def cpu_us(self) -> float:
        return median(sample.cpu_us for sample in self.samples)

    @property
    def per_cpu_second(self) -> float:
        return 1e6 / max(self.cpu_us, 1e-3)

    @property
    def rate(self) -> float:
        return median(sample.rate for sample in self.samples)

    @property
    def growth(self) -> float:
        return median(sample.growth for sample in self.samples)

    @property
    def p50(self) -> float:
        return median(sample.latency_p50 for sample in self.samples)

    @property
    def p99(self) -> float:
        return median(sample.latency_p99 for sample in self.samples)

    @property
    def rss(self) -> int:
        return max(sample.rss_bytes for sample in self.samples)

    def cost(self, metric: Metric) -> float:
        """What is compared; the smaller the better."""
        if metric == "memory":
            return max(self.growth, 1.0)
        return self.p50 if metric == "start" else max(self.cpu_us, 1e-3)


@dataclass(slots=True)
class Result:
    """A scenario's. ``settings`` are rounds and seconds, ``date`` is ISO 8601."""

    scenario: str
    title: str
    load: str
    unit: str
    metric: Metric
    date: str
    settings: dict[str, float]
    machine: dict[str, str]
    rows: list[Row]

    @property
    def ours(self) -> list[Row]:
        return [row for row in self.rows if row.samples and not row.is_peer]

    @property
    def peers(self) -> list[Row]:
        return [row for row in self.rows if row.samples and row.is_peer]

    @property
    def rounds(self) -> int:
        return max((len(row.samples) for row in self.rows), default=0)

    def ratio(self, ours: Row, peer: Row) -> float:
        """Our cost by theirs: 0.50 is half of it."""
        return ours.cost(self.metric) / peer.cost(self.metric)

    def save(self, folder: Path) -> Path:
        """Into ``folder``, in place of an earlier one of the scenario."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self.scenario}.json"
        temporary = path.with_suffix(".new")
        temporary.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")
        temporary.replace(path)
        return path


def load(path: Path) -> Result:
    """What ``save`` has written."""
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    rows = [
        Row(**{**row, "samples": [Sample(**sample) for sample in row["samples"]]})
        for row in document.pop("rows")
    ]
    return Result(**document, rows=rows)


def this_machine() -> dict[str, str]:
    """What a reader needs to judge figures."""
    model = ""
    for line in Path("/proc/cpuinfo").read_text(encoding="ascii").splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    return {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "openssl": " ".join(ssl.OPENSSL_VERSION.split()[:2]),
        "kernel": f"Linux {platform.release()}",
        "cpu": model,
        "cores": str(os.cpu_count()),
    }
