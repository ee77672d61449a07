"""The other servers, and how each is started: one worker, its fastest documented settings."""

from __future__ import annotations

from benchmarks.contender import Contender, Wants

_MANY = "16384"  # connections that a server must take at a time, where it has to be told
_LONG = "600"  # seconds that a connection may be idle, where idle connections are measured


def uvicorn(wants: Wants) -> tuple[Contender, ...]:
    """With each of its HTTP/1 engines; HTTP/2 is zttp's alone."""
    if wants.protocol == "http2":
        return (
            _uvicorn("zttp", wants, "--http2"),
            Contender("uvicorn uvloop+httptools", (), ("uvicorn",), ("uvicorn",), _NO_HTTP2),
        )
    if wants.protocol == "websocket":
        return tuple(
            _uvicorn("httptools", wants, "--ws", ws) for ws in ("websockets-sansio", "wsproto")
        )
    return tuple(_uvicorn(engine, wants) for engine in ("httptools", "h11", "zttp"))


_NO_HTTP2 = "no HTTP/2 with this engine"


def _uvicorn(engine: str, wants: Wants, *options: str) -> Contender:
    library = options[-1].removesuffix("-sansio") if "--ws" in options else engine
    return Contender(
        name=f"uvicorn uvloop+{library}",
        arguments=(
            *("-m", "uvicorn", "{app}", "--host", "127.0.0.1", "--port", "{port}"),
            *("--loop", "uvloop", "--http", engine, *options),
            *(("--ssl-certfile", "{certificate}", "--ssl-keyfile", "{key}") if wants.tls else ()),
            *(("--timeout-keep-alive", _LONG, "--ws-ping-interval", _LONG) if wants.idle else ()),
            *(() if wants.access_log else ("--no-access-log", "--log-level", "warning")),
        ),
        packages=("uvicorn", library, "uvloop"),
        requires=("uvicorn", "uvloop", *sorted({engine, library})),
    )


def granian(wants: Wants) -> Contender:
    http = "2" if wants.protocol == "http2" else "1"
    return Contender(
        name="granian uvloop",
        arguments=(
            *("-m", "granian", "{app}", "--interface", "asgi", "--workers", "1"),
            *("--host", "127.0.0.1", "--port", "{port}", "--http", http, "--loop", "uvloop"),
            *(() if wants.protocol == "websocket" else ("--no-ws",)),
            *(("--http1-pipeline-flush",) if wants.pipelined else ()),
            *(
                ("--ssl-certificate", "{certificate}", "--ssl-keyfile", "{key}")
                if wants.tls
                else ()
            ),
            *(("--backlog", _MANY, "--backpressure", _MANY) if wants.idle else ()),
            *(("--http1-header-read-timeout", "60000") if wants.idle else ()),
            *(("--access-log",) if wants.access_log else ("--no-access-log",)),
            *("--log-level", "info" if wants.access_log else "warning"),
        ),
        packages=("granian", "uvloop"),
        requires=("granian[uvloop]",),
    )


def gunicorn(wants: Wants) -> Contender:
    """Its ASGI worker, with the parser that is written in C."""
    http2 = () if wants.protocol != "http2" else ("--http-protocols", "h2,h1")
    return Contender(
        name="gunicorn uvloop",
        arguments=(
            *("-m", "gunicorn", "{app}", "--worker-class", "asgi", "--workers", "1"),
            *("--bind", "127.0.0.1:{port}", "--asgi-loop", "uvloop", "--http-parser", "fast"),
            *("--worker-connections", _MANY, "--keep-alive", _LONG, *http2),
            *(("--http2-cleartext", "prior-knowledge") if http2 and not wants.tls else ()),
            *(("--certfile", "{certificate}", "--keyfile", "{key}") if wants.tls else ()),
            *(("--access-logfile", "-") if wants.access_log else ()),
            *("--log-level", "info" if wants.access_log else "warning"),
        ),
        packages=("gunicorn", "gunicorn_h1c", "uvloop", *(("h2",) if http2 else ())),
        requires=("gunicorn[fast,http2]", "uvloop"),
    )


def hypercorn(worker: str, wants: Wants) -> Contender:
    return _corn("hypercorn", worker, wants)


def anycorn(worker: str, wants: Wants) -> Contender:
    return _corn("anycorn", worker, wants)


def _corn(name: str, worker: str, wants: Wants) -> Contender:
    """The two read the same settings; the file lets them keep connections for as long as loads
    do.
    """
    library = {"http1": "h11", "http2": "h2", "websocket": "wsproto"}[wants.protocol]
    is_plain = worker == "asyncio"
    return Contender(
        name=f"{name} {worker}",
        arguments=(
            *("-m", name, "--bind", "127.0.0.1:{port}", "--worker-class", worker),
            *("--config", "{dir}/hypercorn.toml", "--workers", "1"),
            *(("--certfile", "{certificate}", "--keyfile", "{key}") if wants.tls else ()),
            *(("--access-logfile", "-") if wants.access_log else ()),
            *("--log-level", "info" if wants.access_log else "warning", "{app}"),
        ),
        packages=(name, library, *(() if is_plain else (worker,))),
        requires=(name if is_plain or name == "anycorn" else f"{name}[{worker}]", "trio"),
    )


def daphne(wants: Wants) -> Contender:
    endpoint = "ssl:{port}:interface=127.0.0.1:privateKey={key}:certKey={certificate}"
    return Contender(
        name="daphne asyncio",
        arguments=(
            *("-m", "daphne"),
            *(("-e", endpoint) if wants.tls else ("-b", "127.0.0.1", "-p", "{port}")),
            *("-v", "0", "--ping-interval", _LONG if wants.idle else "20"),
            *(("--access-log", "-") if wants.access_log else ()),
            "{app}",
        ),
        packages=("daphne", "twisted", *(("autobahn",) if wants.protocol == "websocket" else ())),
        requires=("daphne", "twisted[tls,http2]"),
        cannot="HTTP/2 over TLS only" if wants.protocol == "http2" and not wants.tls else "",
    )


#: No server at all: what the loop and the kernel cost.
FLOOR = Contender(
    name="uvloop alone, the floor",
    arguments=("{dir}/floor.py", "{port}"),
    packages=("uvloop", "websockets"),
    requires=("uvloop", "websockets"),
)
