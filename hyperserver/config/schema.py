"""Every setting, once: its name, type, default, unit and documentation.

The frozen dataclasses are the single source; ``load`` reads TOML by them. A field's ``unit`` says
how its value is written in a file: ``duration`` (``"30s"``), ``size`` (``"64KiB"``) or None.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hyperserver.errors import ConfigError


def key(
    default: Any,
    doc: str,
    *,
    unit: str | None = None,
    choices: tuple[str, ...] | None = None,
    minimum: int | None = None,
    maximum: int | None = None,
) -> Any:
    """A documented setting."""
    metadata = {
        "doc": doc,
        "unit": unit,
        "choices": choices,
        "minimum": minimum,
        "maximum": maximum,
    }
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, slots=True)
class Listen:
    """Addresses to listen on."""

    bind: tuple[str, ...] = key(
        ("127.0.0.1:8000",),
        'Addresses: "host:port", "[v6]:port", "unix:/path" or "fd:N". Port 0 takes a free one.',
    )
    mode: int = key(
        0o666, "Permissions of a Unix socket, in octal (0o660).", minimum=0, maximum=0o777
    )
    backlog: int = key(
        2048,
        "Connections the kernel may hold until they are accepted.",
        minimum=1,
        maximum=1_000_000,
    )


@dataclass(frozen=True, slots=True)
class Limits:
    """What one peer may ask for."""

    request_head: int = key(
        65_536, "Size of a request line with all its header fields.", unit="size", minimum=1024
    )
    request_target: int = key(16_384, "Size of a request target (URI).", unit="size", minimum=256)
    request_fields: int = key(128, "Number of header fields.", minimum=8)
    request_body: int | None = key(
        None, "Size of a request body; unlimited unless set.", unit="size", minimum=0
    )


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long things may take. All are finite by default."""

    request_head: float = key(
        15.0, "From a request's first byte to the end of its head.", unit="duration"
    )
    request_body: float = key(
        30.0,
        "Without progress of a request body that the application waits for. "
        "Progress slower than min_body_rate does not count.",
        unit="duration",
    )
    keep_alive: float = key(75.0, "A connection may be idle between requests.", unit="duration")
    write: float = key(60.0, "A client may go without reading what is sent to it.", unit="duration")
    linger: float = key(5.0, "Wait for the peer when closing in stages.", unit="duration")
    drain: float = key(
        30.0, "Finish what is in flight when stopping, before cancelling it.", unit="duration"
    )
    disconnect_grace: float = key(
        5.0,
        "When stopping, streams that outlive this are told http.disconnect.",
        unit="duration",
    )
    startup: float = key(60.0, "The application's lifespan startup.", unit="duration")
    shutdown: float = key(30.0, "The application's lifespan shutdown.", unit="duration")
    min_body_rate: int = key(
        240, "Bytes per second below which a request body counts as stalled.", minimum=1
    )


@dataclass(frozen=True, slots=True)
class HTTP1:
    """HTTP/1.0 and HTTP/1.1."""

    engine: str = key(
        "auto",
        "The library that splits field lines; auto takes httptools where it is installed.",
        choices=("auto", "httptools", "h11"),
    )


@dataclass(frozen=True, slots=True)
class Log:
    """What is written where: access lines to standard output, the rest to standard error."""

    level: str = key(
        "info",
        "Least severe message that is logged.",
        choices=("debug", "info", "warning", "error", "critical"),
    )
    access: bool = key(True, "One line per request.")


@dataclass(frozen=True, slots=True)
class Config:
    """The whole configuration."""

    app: str | None = key(None, 'The application, as "package.module:attribute".')
    app_dir: str = key(".", "Directory put first on the import path.")
    factory: bool = key(False, "The attribute is a function that returns the application.")
    worker: str = key(
        "auto",
        "The event loop; auto takes uvloop where it is installed, else asyncio.",
        choices=("auto", "asyncio", "uvloop", "trio"),
    )
    lifespan: str = key(
        "auto",
        "auto serves applications without lifespan support too; on makes its absence fatal.",
        choices=("auto", "on", "off"),
    )
    root_path: str = key(
        "", 'Path prefix under which a proxy mounts the application, as in "/shop".'
    )
    server_header: bool = key(True, "Add a server field to responses.")
    date_header: bool = key(True, "Add a date field to responses.")
    listen: tuple[Listen, ...] = field(
        default_factory=lambda: (Listen(),), metadata={"doc": "Listeners."}
    )
    limits: Limits = field(default_factory=Limits)
    timeouts: Timeouts = field(default_factory=Timeouts)
    http1: HTTP1 = field(default_factory=HTTP1)
    log: Log = field(default_factory=Log)

    def __post_init__(self) -> None:
        root_path = self.root_path
        if root_path and (root_path[0] != "/" or root_path[-1] == "/"):
            raise ConfigError(
                f'`root_path`: must begin with "/" and not end with it, not {root_path!r}'
            )
