"""Every setting, once: its name, type, default, unit and documentation.

The frozen dataclasses are the single source; ``load`` reads TOML by them. A field's ``unit`` says
how its value is written in a file: ``duration`` (``"30s"``), ``size`` (``"64KiB"``), ``path``
(relative to the file) or None.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hyperserver.errors import ConfigError


def setting(
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

    bind: tuple[str, ...] = setting(
        ("127.0.0.1:8000",),
        'Addresses: "host:port", "[v6]:port", "unix:/path" or "fd:N". Port 0 takes a free one.',
    )
    mode: int = setting(
        0o666, "Permissions of a Unix socket, in octal (0o660).", minimum=0, maximum=0o777
    )
    backlog: int = setting(
        2048,
        "Connections the kernel may hold until they are accepted.",
        minimum=1,
        maximum=1_000_000,
    )
    tls: bool = setting(False, "Speak TLS here, by what [tls] says.")
    protocols: tuple[str, ...] = setting(
        ("h2", "http/1.1"),
        "What is spoken here, by ALPN name, the preferred one first. Without TLS, a client that "
        "begins with HTTP/2's preface gets HTTP/2.",
        choices=("h2", "http/1.1"),
    )


@dataclass(frozen=True, slots=True)
class TLS:
    """TLS, for the listeners that ask for it."""

    certificate: str | None = setting(
        None, "PEM file with the certificate and those that vouch for it.", unit="path"
    )
    key: str | None = setting(
        None, "PEM file with the certificate's private key, not encrypted.", unit="path"
    )

    def __post_init__(self) -> None:
        if self.certificate is not None and self.key is None:
            raise ConfigError("`tls.certificate`: needs `tls.key` beside it")
        if self.key is not None and self.certificate is None:
            raise ConfigError("`tls.key`: needs `tls.certificate` beside it")


@dataclass(frozen=True, slots=True)
class Limits:
    """What one peer may ask for."""

    request_head: int = setting(
        65_536, "Size of a request line with all its header fields.", unit="size", minimum=1024
    )
    request_target: int = setting(
        16_384, "Size of a request target (URI).", unit="size", minimum=256
    )
    request_fields: int = setting(128, "Number of header fields.", minimum=8)
    request_body: int | None = setting(
        None, "Size of a request body; unlimited unless set.", unit="size", minimum=0
    )


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long things may take. All are finite by default."""

    handshake: float = setting(
        10.0, "From accepting a connection to the end of its TLS handshake.", unit="duration"
    )
    request_head: float = setting(
        15.0, "From a request's first byte to the end of its head.", unit="duration"
    )
    request_body: float = setting(
        30.0,
        "Without progress of a request body that the application waits for. "
        "Progress slower than min_body_rate does not count.",
        unit="duration",
    )
    keep_alive: float = setting(75.0, "A connection may be idle between requests.", unit="duration")
    write: float = setting(
        60.0, "A client may go without reading what is sent to it.", unit="duration"
    )
    linger: float = setting(5.0, "Wait for the peer when closing in stages.", unit="duration")
    drain: float = setting(
        30.0, "Finish what is in flight when stopping, before cancelling it.", unit="duration"
    )
    disconnect_grace: float = setting(
        5.0,
        "When stopping, streams that outlive this are told http.disconnect.",
        unit="duration",
    )
    startup: float = setting(60.0, "The application's lifespan startup.", unit="duration")
    shutdown: float = setting(30.0, "The application's lifespan shutdown.", unit="duration")
    min_body_rate: int = setting(
        240, "Bytes per second below which a request body counts as stalled.", minimum=1
    )


@dataclass(frozen=True, slots=True)
class HTTP1:
    """HTTP/1.0 and HTTP/1.1."""

    engine: str = setting(
        "auto",
        "The library that splits field lines; auto takes httptools where it is installed.",
        choices=("auto", "httptools", "h11"),
    )


@dataclass(frozen=True, slots=True)
class HTTP2:
    """HTTP/2. An upload moves at most one window per round trip: 64 KiB, the protocol's default,
    would hold a path of 100 ms to 5 Mbit/s.
    """

    engine: str = setting(
        "auto",
        "The library that keeps the protocol. `auto` takes nghttp2 where it was built, else h2.",
        choices=("auto", "nghttp2", "h2"),
    )
    upgrade: bool = setting(
        False, "Take `Upgrade: h2c` of HTTP/1.1 requests, which RFC 9113 has deprecated."
    )
    max_concurrent_streams: int = setting(
        128, "Requests that one connection may have in progress.", minimum=1, maximum=100_000
    )
    initial_window: int = setting(
        131_072,
        "Bytes of a request body that may come before the application has read any.",
        unit="size",
        minimum=65_535,
        maximum=2**31 - 1,
    )
    stream_window: int = setting(
        1_048_576,
        "To what the window grows while the application keeps up: 80 Mbit/s on 100 ms.",
        unit="size",
        minimum=65_535,
        maximum=2**31 - 1,
    )
    connection_window: int = setting(
        25_165_824,
        "Bytes of request bodies that one connection may make us hold. With room for the initial "
        "windows of all streams, applications that do not read stall no others.",
        unit="size",
        minimum=65_535,
        maximum=2**31 - 1,
    )
    max_frame_size: int = setting(
        16_384, "Largest frame taken.", unit="size", minimum=16_384, maximum=2**24 - 1
    )
    priorities: str = setting(
        "rfc9218",
        "Whose order responses are sent in: rfc9218 (urgency), or rfc7540 (the older tree).",
        choices=("rfc9218", "rfc7540"),
    )


@dataclass(frozen=True, slots=True)
class WebSocket:
    """WebSocket, over HTTP/1.1 and HTTP/2."""

    engine: str = setting(
        "auto",
        "The library that reads frames; auto takes websockets where it is installed.",
        choices=("auto", "websockets", "wsproto"),
    )
    max_message_size: int = setting(
        16_777_216,
        "Size of a message from a client, inflated; a larger one closes the socket with 1009.",
        unit="size",
        minimum=1,
    )
    ping_interval: float = setting(
        20.0, "Between two pings to a client; 0s sends none.", unit="duration", minimum=0
    )
    ping_timeout: float = setting(
        20.0, "A client that takes longer to answer a ping is closed with 1011.", unit="duration"
    )
    close_timeout: float = setting(10.0, "A client may take to answer a Close.", unit="duration")
    compression: bool = setting(True, "Agree on permessage-deflate with clients that offer it.")
    compression_window: int = setting(
        12,
        "Bits of a window's size when compressing. A socket that has sent compressed messages "
        "holds 2^(bits + 2) bytes and 16 KiB, one that has received some 2^bits and 10 KiB.",
        minimum=9,
        maximum=15,
    )
    context_takeover: bool = setting(
        True,
        "Messages may refer to earlier ones. Without it, they compress less, and compression "
        "holds no memory between them.",
    )


@dataclass(frozen=True, slots=True)
class Log:
    """What is written where: access lines to standard output, the rest to standard error."""

    level: str = setting(
        "info",
        "Least severe message that is logged.",
        choices=("debug", "info", "warning", "error", "critical"),
    )
    access: bool = setting(True, "One line per request.")


@dataclass(frozen=True, slots=True)
class Config:
    """The whole configuration."""

    app: str | None = setting(None, 'The application, as "package.module:attribute".')
    app_dir: str = setting(".", "Directory put first on the import path.", unit="path")
    factory: bool = setting(False, "The attribute is a function that returns the application.")
    worker: str = setting(
        "auto",
        "The event loop; auto takes uvloop where it is installed, else asyncio.",
        choices=("auto", "asyncio", "uvloop", "trio"),
    )
    lifespan: str = setting(
        "auto",
        "auto serves applications without lifespan support too; on makes its absence fatal.",
        choices=("auto", "on", "off"),
    )
    root_path: str = setting(
        "", 'Path prefix under which a proxy mounts the application, as in "/shop".'
    )
    server_header: bool = setting(True, "Add a server field to responses.")
    date_header: bool = setting(True, "Add a date field to responses.")
    listen: tuple[Listen, ...] = field(
        default_factory=lambda: (Listen(),), metadata={"doc": "Listeners."}
    )
    tls: TLS = field(default_factory=TLS)
    limits: Limits = field(default_factory=Limits)
    timeouts: Timeouts = field(default_factory=Timeouts)
    http1: HTTP1 = field(default_factory=HTTP1)
    http2: HTTP2 = field(default_factory=HTTP2)
    websocket: WebSocket = field(default_factory=WebSocket)
    log: Log = field(default_factory=Log)

    def __post_init__(self) -> None:
        root_path = self.root_path
        if root_path and (root_path[0] != "/" or root_path[-1] == "/"):
            raise ConfigError(
                f'`root_path`: must begin with "/" and not end with it, not {root_path!r}'
            )
        speaks_tls = any(listen.tls for listen in self.listen)
        if speaks_tls and self.tls.certificate is None:
            raise ConfigError("`listen.tls`: needs `tls.certificate` and `tls.key`")
        if self.tls.certificate is not None and not speaks_tls:
            raise ConfigError("`tls`: no listener uses it; set `tls = true` in a [[listen]]")
