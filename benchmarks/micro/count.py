"""How dear each case is: instructions by valgrind, or the best of several times.

Instructions are counted in one process under callgrind that prepares everything and forks twice for
each case: one child does the operation a few times, the other more often. The difference is what
the operation costs, warm, without Python's start. It is the same from run to run to a fraction of a
per cent, however busy the machine is.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence

from benchmarks.contender import ROOT
from benchmarks.micro.cases import CASES, Operation
from hyperserver.errors import ConfigError

_WARM = 100  # operations until Python has specialised the code and caches are filled
_COUNTED = 400
_REPEATS = 40
_SPAN = 0.01  # seconds of one repetition


class CountError(Exception):
    """Nothing could be counted."""


def prepare(names: Sequence[str]) -> tuple[dict[str, Operation], dict[str, str]]:
    """Operations, and why there is none of the others: an engine that is not installed."""
    operations: dict[str, Operation] = {}
    missing: dict[str, str] = {}
    for name in names:
        try:
            operations[name] = CASES[name]()
        except ConfigError as error:
            missing[name] = str(error)
    return operations, missing


def best_times(names: Sequence[str]) -> tuple[dict[str, float], dict[str, str]]:
    """Microseconds for an operation, and what is missing."""
    operations, missing = prepare(names)
    numbers = {
        name: max(3, round(_SPAN / _timed(operation, 20))) for name, operation in operations.items()
    }
    times = dict.fromkeys(operations, float("inf"))
    for _ in range(_REPEATS):  # by turns: a busy moment of the machine is not one case's alone
        for name, operation in operations.items():
            times[name] = min(times[name], _timed(operation, numbers[name]) * 1e6)
    return times, missing


def _timed(operation: Operation, number: int) -> float:
    """Seconds of CPU for one of ``number`` operations."""
    begun = time.process_time()
    for _ in range(number):
        operation()
    return (time.process_time() - begun) / number


def can_count() -> bool:
    return shutil.which("valgrind") is not None


def instructions(names: Sequence[str]) -> tuple[dict[str, float], dict[str, str]]:
    """Instructions for an operation, and what is missing. Raises CountError."""
    command = [
        *("valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"),
        *(sys.executable, "-m", "benchmarks.micro.count", *names),
    ]
    environment = {**os.environ, "PYTHONHASHSEED": "0", "PYTHONMALLOC": "pymalloc"}
    done = subprocess.run(
        command, check=False, cwd=ROOT, env=environment, capture_output=True, text=True
    )
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise CountError(f"valgrind: {said[-1] if said else done.returncode}")
    return read_counts(done.stdout, done.stderr)


def read_counts(printed: str, log: str) -> tuple[dict[str, float], dict[str, str]]:
    """What the process printed (its children, by case) and what callgrind said of each child."""
    collected = {
        int(pid): int(number) for pid, number in re.findall(r"==(\d+)== Collected *: *(\d+)", log)
    }
    document = json.loads(printed)
    counts: dict[str, float] = {}
    for name, ((few, times_few), (many, times_many)) in document["children"].items():
        if few not in collected or many not in collected:
            raise CountError(f"callgrind says nothing of {name}")
        counts[name] = (collected[many] - collected[few]) / (times_many - times_few)
    return counts, document["missing"]


def _child(operation: Operation, number: int) -> int:
    """The process id of a child that did it ``number`` times. Raises CountError."""
    pid = os.fork()
    if pid == 0:
        try:
            for _ in range(number):
                operation()
        except BaseException as error:  # noqa: BLE001
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    if os.waitpid(pid, 0)[1]:
        raise CountError("an operation failed")
    return pid


def main(argv: Sequence[str] | None = None) -> int:
    """Under valgrind: fork, and print which children did what."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="+")
    operations, missing = prepare(parser.parse_args(argv).names)
    children = {}
    gc.collect()
    gc.freeze()
    for name, operation in operations.items():
        few, many = (_WARM, _WARM + _COUNTED) if name != "config-load" else (10, 20)
        children[name] = [(_child(operation, number), number) for number in (few, many)]
    print(json.dumps({"children": children, "missing": missing}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
