"""What was measured, as a Markdown table to read and as JSON to compare with later."""

from __future__ import annotations

import json
import os
import platform
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median

from benchmarks.contenders import HERE, Contender, Installed
from benchmarks.measure import Sample
from benchmarks.scenarios import Scenario
from benchmarks.websocket import Idle

#: From this share of the server's core on, what others did there makes a round doubtful.
_DISTURBED = 0.1


@dataclass(slots=True)
class Outcome:
    """A contender's rounds; ``error`` says why there are none, or why they ended early."""

    contender: Contender
    samples: list[Sample] = field(default_factory=list)
    error: str = ""

    @property
    def cpu_us(self) -> float:
        return median(sample.cpu_us for sample in self.samples)

    @property
    def rate(self) -> float:
        return median(sample.rate for sample in self.samples)

    @property
    def rss_growth(self) -> float:
        return median(sample.rss_growth for sample in self.samples)


def _machine() -> dict[str, object]:
    model = ""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    return {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "kernel": platform.release(),
        "cpu": model,
        "cores": os.cpu_count(),
    }


def markdown(scenario: Scenario, outcomes: list[Outcome], installed: Installed) -> str:
    """The whole report. CPU is the server's own; the smaller the better."""
    machine = _machine()
    rounds = max((len(outcome.samples) for outcome in outcomes), default=0)
    unit, idle = scenario.load.unit, isinstance(scenario.load, Idle)
    columns = [
        *("server", f"CPU µs/{unit}", f"{unit}s/s", "p50 µs", "p99 µs", "RSS MiB"),
        *((f"KiB/{unit}",) if idle else ()),
        "versions",
    ]
    lines = [
        f"### {scenario.name}: {scenario.title}",
        "",
        f"{machine['python']}, {scenario.load.describe()}, server on one core.",
        f"Median of {rounds} rounds, in brackets the lowest and the highest.",
        "",
        f"| {' | '.join(columns)} |",
        "|---|" + "---:|" * (len(columns) - 2) + "---|",
        *(_row(outcome, installed, idle) for outcome in outcomes),
    ]
    return "\n".join([*lines, *_ratios(outcomes, unit, idle), *_doubts(outcomes), ""])


def _row(outcome: Outcome, installed: Installed, idle: bool) -> str:
    name = outcome.contender.name
    versions = installed.describe(outcome.contender)
    if not outcome.samples:
        empty = "| " * (5 if idle else 4)
        return f"| {name} | failed: {_cell(outcome.error)} {empty}| {versions} |"
    samples = outcome.samples
    low, high = min(s.cpu_us for s in samples), max(s.cpu_us for s in samples)
    cells = [
        name + (f" (a round failed: {_cell(outcome.error)})" if outcome.error else ""),
        f"{outcome.cpu_us:.1f} ({low:.1f} to {high:.1f})",
        f"{outcome.rate:.0f}",
        f"{median(s.latency_p50 for s in samples):.0f}",
        f"{median(s.latency_p99 for s in samples):.0f}",
        f"{max(s.rss_bytes for s in samples) / 2**20:.1f}",
        *((_growth(outcome),) if idle else ()),
        versions,
    ]
    return f"| {' | '.join(cells)} |"


def _growth(outcome: Outcome) -> str:
    each = [sample.rss_growth / 1024 for sample in outcome.samples]
    return f"{median(each):.1f} ({min(each):.1f} to {max(each):.1f})"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")[:160]


def _ratios(outcomes: list[Outcome], unit: str, idle: bool) -> list[str]:
    """Each of ours against each peer: 0.50 is half the peer's CPU per request, or memory per idle
    socket.
    """
    measured = [outcome for outcome in outcomes if outcome.samples]
    ours = [outcome for outcome in measured if not outcome.contender.is_peer]
    peers = [outcome for outcome in measured if outcome.contender.is_peer]
    if not ours or not peers:
        return []
    what = "Memory" if idle else "CPU"
    lines = ["", f"{what} per {unit}, ours ÷ theirs (below 1 is better):", ""]
    lines.append("| | " + " | ".join(peer.contender.name for peer in peers) + " |")
    lines.append("|---|" + "---:|" * len(peers))
    for outcome in ours:
        cells = (
            f"{outcome.rss_growth / peer.rss_growth if idle else outcome.cpu_us / peer.cpu_us:.2f}"
            for peer in peers
        )
        lines.append(f"| {outcome.contender.name} | {' | '.join(cells)} |")
    return lines


def _doubts(outcomes: list[Outcome]) -> list[str]:
    """A warning where the machine was not left to the benchmark."""
    shares = [sample.disturbance for outcome in outcomes for sample in outcome.samples]
    disturbed = sum(share > _DISTURBED for share in shares)
    if not disturbed:
        return []
    warning = (
        f"**Doubtful**: in {disturbed} of {len(shares)} rounds other processes took more than "
        f"{_DISTURBED:.0%} of the server's core (at most {max(shares):.0%}). Run it again on a "
        "quiet machine."
    )
    return ["", warning]


def write_json(scenario: Scenario, outcomes: list[Outcome], installed: Installed) -> Path:
    """Every sample, under benchmarks/results/."""
    folder = HERE / "results"
    folder.mkdir(exist_ok=True)
    path = folder / f"{scenario.name}-{time.strftime('%Y%m%d-%H%M%S')}.json"
    idle = isinstance(scenario.load, Idle)
    document = {
        "scenario": scenario.name,
        "load": scenario.load.describe(),
        "unit": scenario.load.unit,
        "machine": _machine(),
        "contenders": [
            {
                "name": outcome.contender.name,
                "versions": installed.describe(outcome.contender),
                "error": outcome.error or None,
                "cpu_us": outcome.cpu_us if outcome.samples else None,
                "requests_per_second": outcome.rate if outcome.samples else None,
                "rss_growth": outcome.rss_growth if idle and outcome.samples else None,
                "samples": [asdict(sample) for sample in outcome.samples],
            }
            for outcome in outcomes
        ],
    }
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return path
