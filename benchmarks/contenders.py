"""Who takes part: hyperserver in its configurations, and its peers.

Everyone gets one process that serves, no access log unless it is what is measured, and the fastest
settings that its documentation names.
"""

from __future__ import annotations

from benchmarks.contender import Contender, Wants
from benchmarks.peers import (
    FLOOR,
    anycorn,
    daphne,
    granian,
    gunicorn,
    hypercorn,
    uvicorn,
)

WORKERS = ("uvloop", "asyncio", "trio")
#: The engine that is measured on every worker, and the one on uvloop alone.
_ENGINES = {
    "http1": ("httptools", "h11"),
    "http2": ("nghttp2", "h2"),
    "websocket": ("websockets", "wsproto"),
}


def hyperserver(worker: str, engine: str, wants: Wants) -> Contender:
    return Contender(
        name=f"hyperserver {worker}+{engine}",
        arguments=(
            *("-m", "hyperserver", "{app}", "--bind", "127.0.0.1:{port}", "--worker", worker),
            *(("--tls-certificate", "{certificate}", "--tls-key", "{key}") if wants.tls else ()),
            *(f"--{wants.protocol}-engine", engine),
            "--access-log" if wants.access_log else "--no-access-log",
            *("--log-level", "warning"),
            *(("--timeouts-keep-alive", "10m") if wants.idle else ()),
            *(("--websocket-ping-interval", "0s") if wants.idle else ()),
        ),
        packages=(
            "hyperserver",
            *(() if engine == "nghttp2" else (engine,)),  # nghttp2 is no Python package
            *(() if worker == "asyncio" else (worker,)),
        ),
    )


def field(wants: Wants) -> tuple[Contender, ...]:
    """All servers, ours first; those that cannot do it say why."""
    first, second = _ENGINES[wants.protocol]
    return (
        *(hyperserver(worker, first, wants) for worker in WORKERS),
        hyperserver("uvloop", second, wants),
        *uvicorn(wants),
        granian(wants),
        gunicorn(wants),
        *(hypercorn(worker, wants) for worker in WORKERS),
        *(anycorn(worker, wants) for worker in ("asyncio", "trio")),
        daphne(wants),
        *((FLOOR,) if wants.floor else ()),
    )
