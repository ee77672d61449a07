"""Results to report on: two of ours, two peers and one that could not be measured."""

from __future__ import annotations

from benchmarks.load import Metric
from benchmarks.results import Result, Row, Sample


def sample(cpu_us: float, *, growth: int = 0, p50: float = 500.0, others: float = 0.0) -> Sample:
    """A thousand requests in half a second."""
    return Sample(
        requests=1000,
        seconds=0.5,
        cpu_seconds=cpu_us / 1000,
        others=others,
        rss_before=2**20,
        rss_bytes=2**20 + 1000 * growth,
        latency_p50=p50,
        latency_p99=p50 * 3,
    )


def result(metric: Metric = "cpu", *, others: float = 0.0) -> Result:
    rows = [
        Row("ours uvloop", False, "ours 1.0", samples=[sample(10), sample(12), sample(30)]),
        Row("ours trio", False, "ours 1.0, trio 0.35", samples=[sample(18, growth=3072)]),
        Row("fast", True, "fast 2.1", samples=[sample(16, growth=2048, p50=250, others=others)]),
        Row("slow | odd", True, "slow 3", error="late", samples=[sample(120, growth=8192)]),
        Row("absent", True, "absent ?", error="HTTP/2 over TLS only"),
    ]
    rows[0].samples = [sample(cpu, growth=1024) for cpu in (10, 12, 30)]
    return Result(
        scenario="h1-hello",
        title="Hello <world>",
        load="wrk, 32 connections",
        unit="request",
        metric=metric,
        date="2026-01-02",
        settings={"rounds": 3, "seconds": 2.0},
        machine={"python": "CPython 3.12.1", "kernel": "Linux 6", "cpu": "fast", "cores": "2"},
        rows=rows,
    )
