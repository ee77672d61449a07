"""Run a scenario: ``python -m benchmarks.run --scenario h1-hello``.

Rounds alternate: each round measures every contender once, every second round in reverse order,
so that a machine that grows slower or faster treats all alike.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from benchmarks.contenders import Contender, Installed, install
from benchmarks.load import LoadError, need
from benchmarks.measure import Cores, StartError, pick_cores, run_round
from benchmarks.report import Outcome, markdown, write_json
from benchmarks.scenarios import SCENARIOS, Scenario


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__)
    parser.add_argument("--scenario", choices=sorted(SCENARIOS), default="h1-hello")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0, help="length of one load")
    parser.add_argument(
        "--only", nargs="+", metavar="NAME", help="contenders whose name contains one of these"
    )
    parser.add_argument(
        "--peers-python",
        metavar="PATH",
        help="a Python that has the other servers, instead of benchmarks/.venv",
    )
    return parser.parse_args(argv)


def chosen(scenario: Scenario, only: list[str] | None) -> list[Contender]:
    """The scenario's contenders, or those that ``only`` asks for."""
    return [
        contender
        for contender in scenario.contenders
        if only is None or any(part in contender.name for part in only)
    ]


def measure(
    scenario: Scenario,
    outcomes: list[Outcome],
    installed: Installed,
    options: argparse.Namespace,
    cores: Cores,
) -> None:
    """Fill in ``outcomes``. A contender that fails is left out of the later rounds."""
    for number in range(options.rounds):
        for outcome in outcomes if number % 2 == 0 else reversed(outcomes):
            if outcome.error:
                continue
            name = outcome.contender.name
            try:
                sample = run_round(outcome.contender, installed, scenario, options.seconds, cores)
            except (StartError, LoadError) as error:
                outcome.error = str(error)
                print(f"round {number + 1}: {name}: {error}", file=sys.stderr)
            else:
                outcome.samples.append(sample)
                unit = scenario.load.unit
                print(
                    f"round {number + 1}: {name}: {sample.cpu_us:.1f} µs CPU/{unit}, "
                    f"{sample.rate:.0f} {unit}s/s",
                    file=sys.stderr,
                )


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table; 1 if a contender of ours failed, 2 if nothing could be measured."""
    options = parse(argv)
    scenario = SCENARIOS[options.scenario]
    contenders = chosen(scenario, options.only)
    try:
        if not contenders:
            raise LoadError("no contender has such a name")
        need("taskset", "util-linux")
        if scenario.tls:
            need("openssl", "openssl")
        scenario.load.check()
        cores = pick_cores()
    except LoadError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    installed = install(contenders, options.peers_python)
    outcomes = [
        Outcome(contender, error=installed.errors.get(contender.name, ""))
        for contender in contenders
    ]
    measure(scenario, outcomes, installed, options, cores)
    print(markdown(scenario, outcomes, installed))
    print(f"samples: {write_json(scenario, outcomes, installed)}", file=sys.stderr)
    return int(any(outcome.error for outcome in outcomes if not outcome.contender.is_peer))


if __name__ == "__main__":
    sys.exit(main())
