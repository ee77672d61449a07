"""The picture of a result."""

from __future__ import annotations

from benchmarks.report import mebibytes, milliseconds
from benchmarks.results import Result, Row
from benchmarks.svg import Bar, bars

_KIB = 1024


def picture(result: Result) -> str:
    """An SVG document: the best first, those without figures last, with the reason."""
    note = {
        "cpu": f"{result.unit}s per CPU second of the server: longer is better",
        "memory": f"KiB of memory for each {result.unit}: shorter is better",
        "start": "milliseconds until the first answer: shorter is better",
    }[result.metric]
    measured = sorted((*result.ours, *result.peers), key=lambda row: row.cost(result.metric))
    others = [row for row in result.rows if not row.samples]
    rows = [_bar(result, row) for row in measured]
    rows += [Bar(row.name, None, row.error, not row.is_peer) for row in others]
    return bars(result.title, f"{note} ({result.machine['python']})", rows)


def _bar(result: Result, row: Row) -> Bar:
    if result.metric == "memory":
        return Bar(row.name, row.growth, f"{row.growth / _KIB:.1f} KiB", not row.is_peer)
    if result.metric == "start":
        said = f"{milliseconds(row.p50)}, {mebibytes(row.rss)}"
        return Bar(row.name, row.p50, said, not row.is_peer)
    value = row.per_cpu_second
    said = f"{value:,.0f}" if value >= 100 else f"{value:.1f}"
    return Bar(row.name, value, said, not row.is_peer)
