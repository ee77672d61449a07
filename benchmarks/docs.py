"""The page of figures: ``python -m benchmarks.docs`` writes docs/benchmarks.md and its pictures.

It shows every scenario, from the results of the last runs; one that was not run is named.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import results
from benchmarks.chart import picture
from benchmarks.contender import HERE, ROOT, Wants
from benchmarks.contenders import field
from benchmarks.micro.check import BASELINE
from benchmarks.report import cell, doubts, ratios, table
from benchmarks.results import Result, Row
from benchmarks.scenarios import SCENARIOS, Scenario

_INTRO = """\
# Benchmarks

<!-- Written by `make bench-docs` from the results of `make bench`: do not edit it by hand. -->

Every server serves the same applications (`benchmarks/apps`) by one worker on one core, the load
comes from another core, and rounds alternate between the servers. What is compared is the **CPU time
of the server's whole process tree for each request**: it says how many requests a core can serve, and
other than requests per second it hardly depends on what else the machine does. Servers that use
several threads pay for all of them. Every server has its own access log off, unless that is what is
measured, and the fastest settings that its documentation names; the command lines are
[below](#command-lines). A server that cannot do a scenario, or failed, is named with the reason.

```
make bench                                    # HTTP/1.1, hello world
make bench SCENARIO=h2-hello                  # another scenario, or several: "h1-10k h1-1m"
make bench SCENARIO=all                       # all of them, three rounds of two seconds
make bench SCENARIO=all ARGS="--minutes 45"   # as many rounds as fit
make bench SCENARIO=all ARGS=--resume         # those of which there are no results yet
make bench SCENARIO=all ARGS=--quick          # one round of a second: does everything work?
make bench ARGS="--rounds 9 --seconds 4 --only hyperserver granian"
make bench-docs                               # this page, from benchmarks/results
make bench-check                              # the pure rings, compared with the baseline
```

All scenarios take about two hours with three rounds, and half an hour with `--quick`. `--minutes` bounds
that: rounds that do not fit are left out, and scenarios that did not begin wait for `--resume`. The
benchmarks need `wrk`, `h2load` and `openssl` (`apt-get install wrk nghttp2-client openssl`), two cores and a
quiet machine. The other servers are installed into `benchmarks/.venv`, and so is hyperserver, as `pip
install .` does it; `--source` measures it as it is instead, without what is compiled. The Python that is measured is
the one that `.venv` was made with: `make clean bench PYTHON=python3.13`. `--quick` and `--only` keep
their results apart, so that they replace none of a whole run.
"""

_COMMANDS = """\
## Command lines

They are run with `benchmarks/apps` on the import path. For TLS, an access log and idle connections,
`benchmarks/contenders.py` and `benchmarks/peers.py` add each server's options for that: a certificate,
a log to standard output, which is a file, and long timeouts.
"""
_MICRO = """\
## The rings alone

What one request costs with no loop and no socket: bytes in, events, scope, messages, bytes out. It is
counted in instructions (`valgrind --tool=callgrind`), so it is the same on a busy machine. `make
bench-check` counts again, divides by a calibration loop that is none of our code, and fails where a
case has become more than 3 % dearer than in `benchmarks/baseline.json`. Without valgrind it takes the
best of several times, and allows 30 %. After a change that is meant to be dearer, or cheaper,
`make bench-check ARGS=--renew` writes the baseline anew for this version of Python; commit it with the
change.
"""


def page(found: Mapping[str, Result], baseline: Mapping[str, Any], pictures: str) -> str:
    """The whole page; ``pictures`` is the folder of the pictures, as links see it."""
    parts = [_INTRO, *_circumstances(found), *_summary(found)]
    for name, scenario in SCENARIOS.items():
        parts += _scenario(scenario, found.get(name), pictures)
    parts += [*_versions(found), _commands(), _MICRO, *_micro(baseline)]
    return "\n".join(parts)


def _circumstances(found: Mapping[str, Result]) -> list[str]:
    """The machines, versions and dates of all results: one line, where they agree."""
    seen: dict[tuple[str, ...], list[Result]] = {}
    for result in found.values():
        seen.setdefault(tuple(result.machine.values()), []).append(result)
    lines = []
    for circumstances, those in seen.items():
        dates = sorted({result.date for result in those})
        when = dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"
        loads = sorted({result.settings["seconds"] for result in those})
        length = " or ".join(f"{seconds:g}" for seconds in loads)
        cores = f"{circumstances[-1]} cores"
        said = ", ".join((*circumstances[:-1], cores))
        what = "" if len(seen) == 1 else f" ({', '.join(result.scenario for result in those)})"
        lines.append(f"Measured {when} on {said}, with loads of {length} seconds{what}.\n")
    return lines


def _summary(found: Mapping[str, Result]) -> list[str]:
    """Ours on uvloop next to the best of the others, also where that is better."""
    rows = [line for name in SCENARIOS if name in found for line in _sum(found[name])]
    if not rows:
        return []
    return [
        "## At a glance",
        "",
        "CPU time for each request or message, memory for each idle connection, or the time to start:",
        "ours on uvloop, divided by that of the best other server. Below 1 is better than all others.",
        "",
        "| scenario | ours ÷ best other | best other |",
        "|---|---:|---|",
        *rows,
        "",
    ]


def _sum(result: Result) -> list[str]:
    best = best_peer(result)
    if not result.ours or best is None:
        return []
    ratio = result.ratio(result.ours[0], best)
    shown = f"{ratio:.2f}" if ratio <= 1 else f"**{ratio:.2f}**"
    return [f"| [{result.title}](#{result.scenario}) | {shown} | {best.name} |"]


def best_peer(result: Result) -> Row | None:
    """The cheapest of the others, servers all of them."""
    servers = [row for row in result.peers if "floor" not in row.name]
    return min(servers, key=lambda row: row.cost(result.metric), default=None)


def _scenario(scenario: Scenario, result: Result | None, pictures: str) -> list[str]:
    lines = [f"## {scenario.name}", "", f"{scenario.title}.", ""]
    if result is None:
        return [*lines, f"To measure it: `make bench SCENARIO={scenario.name}`.", ""]
    rounds = f"{result.rounds} round{'s' if result.rounds > 1 else ''}"
    return [
        *lines,
        f"![{scenario.title}]({pictures}/{scenario.name}.svg)",
        "",
        f"{result.load}; {rounds}. `make bench SCENARIO={scenario.name}`",
        "",
        *table(result, versions=False),
        *ratios(result),
        *doubts(result),
        "",
    ]


def _versions(found: Mapping[str, Result]) -> list[str]:
    """Every package that took part; more than one version of it where results are of several days."""
    packages: dict[str, set[str]] = {}
    for row in (row for result in found.values() for row in result.rows):
        for package in row.versions.split(", "):
            name, _, version = package.partition(" ")
            packages.setdefault(name, set()).add(version)
    if not packages:
        return []
    said = (f"{name} {' and '.join(sorted(packages[name]))}" for name in sorted(packages))
    return ["## Versions", "", ", ".join(said) + ".", ""]


def _commands() -> str:
    """How each server is started, for the plainest scenario of each protocol."""
    lines = [_COMMANDS]
    for title, wants in (
        ("HTTP/1.1", Wants()),
        ("HTTP/2 without TLS", Wants(protocol="http2")),
        ("WebSocket", Wants(protocol="websocket")),
    ):
        lines += [f"{title}:", "", "```"]
        for contender in field(wants):
            command = contender.command("python", "plain:hello", 8000, Path())
            lines.append(
                f"# {contender.name}: {contender.cannot}"
                if contender.cannot
                else " ".join(command).replace(f"{HERE}/", "")
            )
        lines += ["```", ""]
    return "\n".join(lines)


def _micro(baseline: Mapping[str, Any]) -> list[str]:
    """Instructions of each case, a column for each Python."""
    counted = {
        tag: entry["instructions"] for tag, entry in baseline.items() if "instructions" in entry
    }
    if not counted:
        return []
    names = list(dict.fromkeys(name for entry in counted.values() for name in entry["costs"]))
    lines = [
        f"| instructions | {' | '.join(counted)} |",
        "|---|" + "---:|" * len(counted),
    ]
    for name in names:
        costs = [entry["costs"].get(name) for entry in counted.values()]
        cells = ("" if cost is None else f"{cost:,.0f}" for cost in costs)
        lines.append(f"| {cell(name)} | {' | '.join(cells)} |")
    return [*lines, ""]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.docs", description=__doc__)
    parser.add_argument("--results", type=Path, default=HERE / "results", metavar="FOLDER")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs", metavar="FOLDER")
    options = parser.parse_args(argv)
    paths = {name: options.results / f"{name}.json" for name in SCENARIOS}
    found = {name: results.load(path) for name, path in paths.items() if path.exists()}
    baseline = json.loads(BASELINE.read_text(encoding="utf-8")) if BASELINE.exists() else {}
    pictures = options.docs / "benchmarks"
    pictures.mkdir(parents=True, exist_ok=True)
    for name, result in found.items():
        (pictures / f"{name}.svg").write_text(picture(result), encoding="utf-8")
    written = options.docs / "benchmarks.md"
    written.write_text(page(found, baseline, pictures.name), encoding="utf-8")
    print(f"wrote {written} with {len(found)} of {len(SCENARIOS)} scenarios", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
