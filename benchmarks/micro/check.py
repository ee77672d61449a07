"""Compare the micro-benchmarks with benchmarks/baseline.json: ``python -m benchmarks.micro.check``.

Everything is divided by the calibration case, which is none of our code, so that another machine and
another build of Python can compare as well. Counted are instructions where valgrind is installed,
else the best of several times, which is worth less.
"""

from __future__ import annotations

import argparse
import json
import platform
import ssl
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.contender import HERE
from benchmarks.micro.cases import CASES
from benchmarks.micro.count import CountError, best_times, can_count, instructions

BASELINE = HERE / "baseline.json"
#: What a case may have moved by, as a share, before it counts.
THRESHOLDS = {"instructions": 0.03, "time": 0.3}
_UNITS = {"instructions": "instructions", "time": "µs"}
_CALIBRATION = "calibration"


@dataclass(frozen=True, slots=True)
class Move:
    """One case: its cost now, and by what its relative cost has changed (1.10: 10 % dearer). None
    where the baseline does not know it.
    """

    name: str
    cost: float
    ratio: float | None


def compare(costs: Mapping[str, float], baseline: Mapping[str, float]) -> list[Move]:
    """All cases in ``costs`` but the calibration."""
    scale, old_scale = costs[_CALIBRATION], baseline[_CALIBRATION]
    return [
        Move(
            name,
            cost,
            (cost / scale) / (baseline[name] / old_scale) if name in baseline else None,
        )
        for name, cost in costs.items()
        if name != _CALIBRATION
    ]


def build() -> dict[str, str]:
    """What else figures depend on."""
    return {
        "python": f"{platform.python_version()} ({platform.python_compiler()})",
        "machine": platform.machine(),
        "openssl": ssl.OPENSSL_VERSION,
    }


def table(moves: Sequence[Move], method: str, threshold: float) -> str:
    """The report: every case, and which have moved."""
    lines = [f"{'':22}{_UNITS[method]:>14}{'to baseline':>14}"]
    for move in moves:
        ratio = "new" if move.ratio is None else f"{move.ratio:.3f}"
        lines.append(f"{move.name:22}{move.cost:14,.1f}{ratio:>14}{_verdict(move, threshold)}")
    return "\n".join(lines)


def _verdict(move: Move, threshold: float) -> str:
    if move.ratio is None:
        return "  not in the baseline"
    if move.ratio > 1 + threshold:
        return "  SLOWER"
    return "  faster" if move.ratio < 1 - threshold else ""


def tag() -> str:
    """Which baseline is meant: instructions depend on Python's minor version most of all."""
    return sys.implementation.cache_tag or sys.implementation.name


def renew(path: Path, method: str, costs: Mapping[str, float]) -> None:
    """Write what was measured in place of what the baseline has for this Python and method."""
    document = _read(path)
    entry = document.setdefault(tag(), {})
    entry[method] = {"build": build(), "costs": {name: round(costs[name], 3) for name in costs}}
    ordered = {name: document[name] for name in sorted(document)}
    path.write_text(json.dumps(ordered, indent=1) + "\n", encoding="utf-8")


def _read(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = {}
    if path.exists():
        document = json.loads(path.read_text(encoding="utf-8"))
    return document


def judge(
    path: Path, method: str, costs: Mapping[str, float], threshold: float, *, complete: bool
) -> int:
    """Print what moved; 1 if something is slower, 2 if there is nothing to compare with.

    ``complete``: all cases were asked for, so one that only the baseline has is named.
    """
    entry = _read(path).get(tag(), {}).get(method)
    if entry is None:
        print(
            f"error: {path.name} has no {method} for {tag()}; "
            "run: make bench-check ARGS=--renew, and commit the file",
            file=sys.stderr,
        )
        return 2
    moves = compare(costs, entry["costs"])
    print(table(moves, method, threshold))
    if complete:
        for name in sorted(entry["costs"].keys() - costs.keys()):
            print(f"{name:22}not measured, but in the baseline")
    if entry["build"] != build():
        made = ", ".join(entry["build"].values())
        print(f"\nThe baseline is of another build ({made}): it may be some per cent off.")
    slower = [move for move in moves if move.ratio is not None and move.ratio > 1 + threshold]
    print(f"\n{len(slower)} of {len(moves)} are more than {threshold:.0%} slower.")
    return int(bool(slower))


def main(argv: Sequence[str] | None = None) -> int:
    """1 if something is slower, 2 if nothing could be compared."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.micro.check", description=__doc__)
    parser.add_argument("--renew", action="store_true", help="make this the baseline")
    parser.add_argument("--time", action="store_true", help="take the time, valgrind or not")
    parser.add_argument("--threshold", type=float, metavar="SHARE", help="as in 0.03")
    parser.add_argument("--only", nargs="+", metavar="CASE", choices=list(CASES))
    parser.add_argument("--baseline", type=Path, default=BASELINE, metavar="FILE")
    options = parser.parse_args(argv)
    if options.renew and options.only:
        parser.error("--renew needs all cases")
    method = "time" if options.time or not can_count() else "instructions"
    names = list(dict.fromkeys([_CALIBRATION, *(options.only or CASES)]))
    try:
        costs, missing = (best_times if method == "time" else instructions)(names)
    except CountError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for name, reason in missing.items():
        print(f"{name} is left out: {reason}", file=sys.stderr)
    if options.renew:
        renew(options.baseline, method, costs)
        print(f"{options.baseline.name}: {method} for {tag()} are renewed")
        return 0
    threshold = options.threshold or THRESHOLDS[method]
    return judge(options.baseline, method, costs, threshold, complete=options.only is None)


if __name__ == "__main__":
    sys.exit(main())
