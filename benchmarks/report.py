"""A result as Markdown: a table of all contenders, and one of ratios."""

from __future__ import annotations

from collections.abc import Iterable

from benchmarks.results import Result, Row

#: From this share of the server's core on, what others did there makes a round doubtful.
_DISTURBED = 0.1
_KIB, _MIB = 1024, 2**20


def markdown(result: Result) -> str:
    """All there is to say of one scenario."""
    lines = [
        f"### {result.scenario}: {result.title}",
        "",
        (
            f"{result.machine['python']}, {result.load}, server on one core. "
            f"{_rounds(result)}, {result.date}."
        ),
        "",
        *table(result),
        *ratios(result),
        *doubts(result),
    ]
    return "\n".join([*lines, ""])


def _rounds(result: Result) -> str:
    return f"Median of {result.rounds} rounds" if result.rounds > 1 else "One round"


def table(result: Result, versions: bool = True) -> list[str]:
    """All contenders. Those that have no figures are named with the reason."""
    unit = result.unit
    columns = {
        "cpu": [f"{unit}s per CPU second", f"CPU µs/{unit}", f"{unit}s/s", "p50", "p99", "RSS"],
        "memory": [f"KiB/{unit}", "RSS with all of them", f"CPU µs/{unit}", f"{unit}s/s"],
        "start": ["first answer", "slowest", "CPU", "RSS"],
    }[result.metric]
    lines = [f"| server | {' | '.join(columns)} |", "|---|" + "---:|" * len(columns)]
    if versions:
        lines = [lines[0] + " versions |", lines[1] + "---|"]
    for row in result.rows:
        line = _line(row, _cells(result, row), len(columns))
        lines.append(f"{line} {row.versions} |" if versions else line)
    return lines


def _line(row: Row, cells: list[str], width: int) -> str:
    if not row.samples:
        return f"| {row.name} | not measured: {cell(row.error)} {'| ' * (width - 1)}|"
    name = row.name + (f" (a round failed: {cell(row.error)})" if row.error else "")
    return f"| {' | '.join((name, *cells))} |"


def _cells(result: Result, row: Row) -> list[str]:
    if not row.samples:
        return []
    if result.metric == "memory":
        growth = [sample.growth / _KIB for sample in row.samples]
        return [
            spread(row.growth / _KIB, growth),
            mebibytes(row.rss),
            f"{row.cpu_us:.1f}",
            f"{row.rate:,.0f}",
        ]
    if result.metric == "start":
        return [
            milliseconds(row.p50),
            milliseconds(row.p99),
            milliseconds(row.cpu_us),
            mebibytes(row.rss),
        ]
    return [
        f"{row.per_cpu_second:,.0f}" if row.per_cpu_second >= 100 else f"{row.per_cpu_second:.1f}",
        spread(row.cpu_us, [sample.cpu_us for sample in row.samples]),
        f"{row.rate:,.0f}" if row.rate >= 100 else f"{row.rate:.1f}",
        milliseconds(row.p50),
        milliseconds(row.p99),
        mebibytes(row.rss),
    ]


def spread(middle: float, each: list[float]) -> str:
    """The median, and the lowest and the highest where there are several."""
    if len(each) == 1:
        return f"{middle:.1f}"
    return f"{middle:.1f} ({min(each):.1f} to {max(each):.1f})"


def milliseconds(microseconds: float) -> str:
    return f"{microseconds / 1e3:.2f} ms" if microseconds < 1e5 else f"{microseconds / 1e3:.0f} ms"


def mebibytes(size: float) -> str:
    return f"{size / _MIB:.1f} MiB"


def cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")[:160]


_WHAT = {
    "cpu": "CPU time",
    "memory": "Memory",
    "start": "Time to the first answer",
}


def ratios(result: Result) -> list[str]:
    """Each of ours against each peer: 0.50 is half the peer's cost."""
    ours, peers = result.ours, result.peers
    if not ours or not peers:
        return []
    return [
        "",
        f"{_WHAT[result.metric]}, ours ÷ theirs (below 1 is better):",
        "",
        "| | " + " | ".join(row.name for row in ours) + " |",
        "|---|" + "---:|" * len(ours),
        *(
            f"| {peer.name} | "
            + " | ".join(f"{result.ratio(row, peer):.2f}" for row in ours)
            + " |"
            for peer in peers
        ),
    ]


def doubts(result: Result) -> Iterable[str]:
    """A warning where the machine was not left to the benchmark."""
    shares = [sample.others for row in result.rows for sample in row.samples]
    disturbed = sum(share > _DISTURBED for share in shares)
    if not disturbed:
        return
    yield ""
    yield (
        f"**Doubtful**: in {disturbed} of {len(shares)} rounds other processes took more than "
        f"{_DISTURBED:.0%} of the server's core (at most {max(shares):.0%}). Run it again on a "
        "quiet machine."
    )
