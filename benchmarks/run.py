"""Run scenarios: ``python -m benchmarks.run --scenario h1-hello``, or ``all``, or several.

Rounds alternate: all servers are up, and each round loads every one of them once, one after the other,
every second round in reverse order, so that a machine that grows slower or faster treats all alike. (What
counts memory, or starts, starts each server anew for each round.) What was measured is kept in
benchmarks/results, a file and a picture for each scenario, as soon as a scenario is done.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.chart import picture
from benchmarks.contender import HERE, Contender
from benchmarks.installation import Installed, install
from benchmarks.load import LoadError, need
from benchmarks.measure import (
    Running,
    StartError,
    needs_fresh,
    run_fresh,
    run_round,
    running,
    warm_up,
)
from benchmarks.processes import Cores, pick_cores
from benchmarks.report import markdown
from benchmarks.results import Result, Row, this_machine
from benchmarks.scenarios import SCENARIOS, Scenario

ALL = "all"


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__)
    parser.add_argument(
        "--scenario",
        nargs="+",
        choices=[ALL, *SCENARIOS],
        default=["h1-hello"],
        metavar="NAME",
        help=f"{ALL}, or some of: {', '.join(SCENARIOS)}",
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.0, help="length of one load")
    parser.add_argument("--quick", action="store_true", help="one round of one second")
    parser.add_argument(
        "--minutes",
        type=float,
        metavar="N",
        help="be done after about so long: each scenario has its share of what is left, and "
        "begins no round that would not fit into it but the first; what has not begun by then is "
        "left to --resume",
    )
    parser.add_argument(
        "--resume", action="store_true", help="leave out scenarios of which there are results"
    )
    parser.add_argument(
        "--only", nargs="+", metavar="NAME", help="contenders whose name contains one of these"
    )
    parser.add_argument(
        "--results",
        type=Path,
        metavar="FOLDER",
        help="in place of benchmarks/results, or quick/ and some/ in it for --quick and --only",
    )
    parser.add_argument(
        "--source",
        action="store_true",
        help="measure hyperserver from its source as it is, instead of an installation of it",
    )
    parser.add_argument(
        "--peers-python",
        metavar="PATH",
        help="a Python that has the other servers, instead of benchmarks/.venv",
    )
    options = parser.parse_args(argv)
    if options.quick:
        options.rounds, options.seconds = 1, 1.0
    if options.rounds < 1 or options.seconds <= 0:
        parser.error("at least one round of more than no time")
    if options.results is None:  # nothing replaces the results of a whole run but another
        options.results = HERE / "results"
        if options.only:
            options.results /= "some"
        elif options.quick:
            options.results /= "quick"
    return options


def chosen(scenario: Scenario, only: list[str] | None) -> list[Contender]:
    """The scenario's contenders, or those that ``only`` asks for."""
    return [
        contender
        for contender in scenario.contenders
        if only is None or any(part in contender.name for part in only)
    ]


class Budget:
    """What is left of a run's time, in seconds; all there is without a limit."""

    def __init__(self, minutes: float | None) -> None:
        self._end = None if minutes is None else time.monotonic() + minutes * 60

    def share(self, scenarios: int) -> float:
        """When a scenario has to be done, with so many to go, itself among them."""
        if self._end is None:
            return float("inf")
        now = time.monotonic()
        return now + max(0.0, self._end - now) / scenarios

    @property
    def is_spent(self) -> bool:
        return self._end is not None and time.monotonic() >= self._end


def measure(
    scenario: Scenario,
    pairs: list[tuple[Contender, Row]],
    installed: Installed,
    options: argparse.Namespace,
    cores: Cores,
    end: float,
) -> None:
    """Fill in the rows. A contender that fails is left out of the later rounds; no round begins of
    which the last one says that it would not be over before ``end``.
    """
    unit = scenario.load.unit
    with contextlib.ExitStack() as stack:
        up = (
            {}
            if needs_fresh(scenario)
            else _start(stack, scenario, pairs, installed, options, cores)
        )
        for number in range(options.rounds):
            began = time.monotonic()
            for contender, row in pairs if number % 2 == 0 else reversed(pairs):
                if row.error:
                    continue
                server = up.get(contender.name)
                try:
                    sample = (
                        run_fresh(contender, installed, scenario, options.seconds, cores)
                        if server is None
                        else run_round(server, scenario, options.seconds, cores)
                    )
                except _FAILURES as error:
                    _note(row, f"round {number + 1}", error)
                else:
                    row.samples.append(sample)
                    print(
                        f"round {number + 1}: {row.name}: {sample.cpu_us:.1f} µs CPU/{unit}, "
                        f"{sample.rate:.0f} {unit}s/s",
                        file=sys.stderr,
                    )
            now = time.monotonic()
            if now + (now - began) > end:
                break


_FAILURES = (StartError, LoadError, OSError, ValueError)


def _start(
    stack: contextlib.ExitStack,
    scenario: Scenario,
    pairs: list[tuple[Contender, Row]],
    installed: Installed,
    options: argparse.Namespace,
    cores: Cores,
) -> dict[str, Running]:
    """All that can be started, warmed up; by name, until ``stack`` is closed."""
    up: dict[str, Running] = {}
    for contender, row in pairs:
        if row.error:
            continue
        try:
            server = stack.enter_context(running(contender, installed, scenario, cores.server))
            warm_up(server, scenario, options.seconds, cores)
        except _FAILURES as error:
            _note(row, "start", error)
        else:
            up[contender.name] = server
    return up


def _note(row: Row, when: str, error: Exception) -> None:
    row.error = str(error) or type(error).__name__
    print(f"{when}: {row.name}: {row.error}", file=sys.stderr)


def run(
    scenario: Scenario, installed: Installed, options: argparse.Namespace, cores: Cores, end: float
) -> Result:
    """Measure one scenario."""
    contenders = chosen(scenario, options.only)
    pairs = [
        (
            contender,
            Row(
                name=contender.name,
                is_peer=contender.is_peer,
                versions=installed.describe(contender),
                error=contender.cannot or installed.errors.get(contender.name, ""),
            ),
        )
        for contender in contenders
    ]
    measure(scenario, pairs, installed, options, cores, end)
    return Result(
        scenario=scenario.name,
        title=scenario.title,
        load=scenario.load.describe(),
        unit=scenario.load.unit,
        metric=scenario.load.metric,
        date=time.strftime("%Y-%m-%d"),
        settings={"rounds": options.rounds, "seconds": options.seconds},
        machine=this_machine(),
        rows=[row for _, row in pairs],
    )


def wanted(options: argparse.Namespace) -> list[Scenario]:
    """The scenarios to run."""
    names = list(SCENARIOS) if ALL in options.scenario else list(dict.fromkeys(options.scenario))
    if options.resume:
        names = [name for name in names if not (options.results / f"{name}.json").exists()]
    return [SCENARIOS[name] for name in names]


def check(scenarios: Sequence[Scenario], options: argparse.Namespace) -> Cores:
    """See that all that is needed is there. Raises LoadError, which says what is missing."""
    if not any(chosen(scenario, options.only) for scenario in scenarios):
        raise LoadError("no contender has such a name")
    need("taskset", "util-linux")
    if any(scenario.wants.tls for scenario in scenarios):
        need("openssl", "openssl")
    for scenario in scenarios:
        scenario.load.check()
    return pick_cores()


def main(argv: Sequence[str] | None = None) -> int:
    """Print the tables; 1 if a contender of ours failed, 2 if nothing could be measured."""
    options = parse(argv)
    scenarios = wanted(options)
    if not scenarios:
        print("there are results of all these scenarios already", file=sys.stderr)
        return 0
    everyone = [one for scenario in scenarios for one in chosen(scenario, options.only)]
    try:
        cores = check(scenarios, options)
        installed = install(everyone, options.peers_python, options.source)
    except LoadError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # leave no server behind
    os.sched_setaffinity(0, {cores.load})  # whoever asks and counts must not use the server's core
    budget = Budget(options.minutes)
    failed = False
    for number, scenario in enumerate(scenarios):
        if budget.is_spent:
            left = " ".join(one.name for one in scenarios[number:])
            print(f"the time is up; not run, go on with --resume: {left}", file=sys.stderr)
            break
        print(f"{number + 1}/{len(scenarios)} {scenario.name}", file=sys.stderr)
        end = budget.share(len(scenarios) - number)
        result = run(scenario, installed, options, cores, end)
        path = result.save(options.results)
        path.with_suffix(".svg").write_text(picture(result), encoding="utf-8")
        print(markdown(result), flush=True)
        print(f"kept in {path} and {path.with_suffix('.svg').name}", file=sys.stderr)
        failed = failed or any(row.error for row in result.rows if not row.is_peer)
    return int(failed)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("stopped; go on with --resume", file=sys.stderr)
        sys.exit(130)
