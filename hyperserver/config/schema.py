"""Every setting, once: its name, type, default, unit and documentation. TLS has a file of its own.

The frozen dataclasses are the single source. What else is known of a setting (flags, variables,
schema, reference page, example file) is derived from them by ``settings``.

A table's ``RELOAD`` says how changes of its settings take effect: ``live``, in a fresh ``worker``
or after a ``restart``. Contradictions between settings are found by ``__post_init__``, which raises
one ConfigError with a line for each: it begins with the key, in backticks, from the top.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import ClassVar

from hyperserver.config.addresses import check_bind, check_trust
from hyperserver.config.schema_tls import TLS
from hyperserver.config.settings import setting, tables
from hyperserver.errors import Mistakes

_HOST = re.compile(
    r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]+\](:[0-9]{1,5})?"
)
_FIELD_VALUE = re.compile(r"[!-~]([ -~]*[!-~])?")


@dataclass(frozen=True, slots=True)
class Listen:
    """Addresses to listen on."""

    RELOAD: ClassVar[str] = "restart"

    bind: tuple[str, ...] = setting(
        ("127.0.0.1:8000",),
        'Addresses: "host:port", "[v6]:port", "unix:/path", "fd:N" or "systemd:NAME", the sockets '
        "that a unit of systemd passes under that name. Port 0 takes a free one.",
        check=check_bind,
        flag="--bind",
        short="-b",
        identity=True,
    )
    mode: int = setting(
        0o666,
        "Permissions of a Unix socket, in octal (0o660).",
        unit="mode",
        minimum=0,
        maximum=0o777,
    )
    owner: str | None = setting(
        None, "User, by name or number, who is to own a Unix socket.", example="www-data"
    )
    group: str | None = setting(
        None, "Group, by name or number, that is to own a Unix socket.", example="www-data"
    )
    backlog: int = setting(
        2048,
        "Connections the kernel may hold until they are accepted.",
        minimum=1,
        maximum=1_000_000,
    )
    reuse_port: bool = setting(
        False,
        "A socket for each worker in place of one for all, among which the kernel divides new "
        "connections evenly (SO_REUSEPORT).",
    )
    tls: bool = setting(False, "Speak TLS here, by what [tls] says.")
    protocols: tuple[str, ...] = setting(
        ("h2", "http/1.1"),
        "What is spoken here, by ALPN name, the preferred one first. Without TLS, a client that "
        "begins with HTTP/2's preface gets HTTP/2.",
        choices=("h2", "http/1.1"),
    )
    redirect: str | None = setting(
        None, "Send every request to https, but those of ACME challenges.", choices=("https",)
    )
    names: tuple[str, ...] = setting(
        (),
        'Host names that the redirect may lead to, as "host" or "host:port"; the first is for '
        "requests that name none of them.",
        example=("shop.example", "www.shop.example"),
    )
    hsts: float | None = setting(
        None,
        "For how long browsers shall speak to this host by TLS alone (RFC 6797).",
        unit="duration",
        example=15_552_000.0,
    )
    alt_svc: str | None = setting(
        None,
        "Value of an alt-svc field in responses (RFC 7838), to announce HTTP/3 elsewhere.",
        example='h3=":443"',
    )
    acme_webroot: str | None = setting(
        None,
        "Folder in which certbot or lego put answers to ACME challenges, to be served here.",
        unit="path",
        example="/var/lib/acme",
    )

    def __post_init__(self) -> None:
        mistakes = Mistakes()
        if self.redirect is not None:
            if self.tls:
                mistakes.add("`listen.redirect`: this listener speaks TLS already")
            if not self.names:
                mistakes.add(
                    "`listen.redirect`: needs `listen.names` beside it, the hosts it may lead to"
                )
        elif self.names:
            mistakes.add('`listen.names`: needs `listen.redirect` = "https" beside it')
        for index, name in enumerate(self.names):
            if _HOST.fullmatch(name) is None:
                mistakes.add(
                    f"`listen.names[{index}]`: {name!r} is not a host name; "
                    'write "host" or "host:port"'
                )
        if self.hsts is not None and not self.tls:
            mistakes.add("`listen.hsts`: needs `listen.tls` = true beside it (RFC 6797)")
        if self.alt_svc is not None and _FIELD_VALUE.fullmatch(self.alt_svc) is None:
            mistakes.add(f"`listen.alt_svc`: {self.alt_svc!r} cannot stand in a field")
        mistakes.raise_all()


@dataclass(frozen=True, slots=True)
class Limits:
    """What one peer may ask for."""

    RELOAD: ClassVar[str] = "live"

    request_head: int = setting(
        65_536, "Size of a request line with all its header fields.", unit="size", minimum=1024
    )
    request_target: int = setting(
        16_384, "Size of a request target (URI).", unit="size", minimum=256
    )
    request_fields: int = setting(128, "Number of header fields.", minimum=8)
    request_body: int | None = setting(
        None,
        "Size of a request body; unlimited unless set.",
        unit="size",
        minimum=0,
        example=104_857_600,
    )
    connections: int | None = setting(
        None,
        "Connections that each worker holds at a time; more wait in the backlog. Unless set, as "
        "many as the limit of open files allows.",
        minimum=1,
        example=10_000,
    )
    connections_per_address: int | None = setting(
        None,
        "Connections that one address may have to each worker; more are closed at once. "
        "Of IPv6, a network of 64 bits counts as one address.",
        minimum=1,
        example=100,
    )
    requests: int | None = setting(
        None,
        "Requests in progress, WebSockets among them, in each worker; more are answered with 503 "
        "and Retry-After.",
        minimum=1,
        example=1_000,
    )


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long things may take. All are finite by default."""

    RELOAD: ClassVar[str] = "live"

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
    shutdown_delay: float = setting(
        0.0,
        "From the signal to stop, connections are accepted for so long, until load balancers have "
        "taken notice.",
        unit="duration",
        minimum=0,
    )
    startup: float = setting(60.0, "The application's lifespan startup.", unit="duration")
    shutdown: float = setting(30.0, "The application's lifespan shutdown.", unit="duration")
    heartbeat: float = setting(
        30.0,
        "One of several workers whose event loop stands still for so long is killed and replaced.",
        unit="duration",
        minimum=1,
    )
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
class Proxy:
    """Proxies in front, whose word on their clients is taken: the address and scheme in scopes, and
    the address in the access log.
    """

    RELOAD: ClassVar[str] = "live"

    trust: tuple[str, ...] = setting(
        (),
        'Who they are: addresses, networks ("10.0.0.0/8"), "unix" for the peers of Unix sockets, or '
        '"*" for everybody, which only a firewall makes safe.',
        check=check_trust,
        env="FORWARDED_ALLOW_IPS",
        example=("10.0.0.0/8", "unix"),
    )
    header: str = setting(
        "x-forwarded",
        "Where they say it: in X-Forwarded-For and X-Forwarded-Proto, or in Forwarded (RFC 7239). "
        "The other form is not looked at.",
        choices=("x-forwarded", "forwarded"),
    )


@dataclass(frozen=True, slots=True)
class WSGI:
    """WSGI applications, each call of which takes a thread."""

    threads: int = setting(
        40,
        "Calls that may run at a time in each worker; more requests wait for one to end.",
        minimum=1,
        maximum=10_000,
    )


@dataclass(frozen=True, slots=True)
class Log:
    """What is written where: access lines to standard output, the rest to standard error."""

    RELOAD: ClassVar[str] = "live"

    level: str = setting(
        "info",
        "Least severe message that is logged.",
        choices=("debug", "info", "warning", "error", "critical"),
    )
    access: bool = setting(True, "One line per request.", flag="--access-log")


@dataclass(frozen=True, slots=True)
class Recycle:
    """When a worker gives way to a fresh one. One does at a time, and no request is lost."""

    RELOAD: ClassVar[str] = "live"

    max_requests: int | None = setting(
        None, "Requests that a worker answers.", minimum=1, example=100_000
    )
    max_lifetime: float | None = setting(
        None, "For how long a worker serves.", unit="duration", example=86_400.0
    )
    max_rss: int | None = setting(
        None,
        "Memory that a worker may hold: its resident set, where the system tells only that its "
        "peak.",
        unit="size",
        minimum=1_048_576,
        example=1_073_741_824,
    )
    jitter: int = setting(
        10,
        "Percent, at most, by which the first two differ between workers, lest all are due at once.",
        minimum=0,
        maximum=100,
    )

    @property
    def is_set(self) -> bool:
        return (self.max_requests, self.max_lifetime, self.max_rss) != (None, None, None)


@dataclass(frozen=True, slots=True)
class Process:
    """As whom and where the server runs. It is all in force before the application is imported."""

    RELOAD: ClassVar[str] = "restart"

    user: str | None = setting(
        None,
        "User, by name or number, to become once the addresses are bound; with that user's groups.",
        example="www-data",
    )
    group: str | None = setting(
        None,
        "Group, by name or number, in place of the user's own.",
        example="www-data",
    )
    umask: int | None = setting(
        None,
        "Permissions that new files do not get, in octal (0o027).",
        unit="mode",
        minimum=0,
        maximum=0o777,
        example=0o027,
    )
    pid_file: str | None = setting(
        None,
        "File with the number of the process, locked while it runs and removed when it ends.",
        unit="path",
        example="/run/hyperserver.pid",
    )
    chdir: str | None = setting(
        None, "Working directory of the application.", unit="path", example="/srv/shop"
    )
    env_file: str | None = setting(
        None,
        "File with variables for the application, KEY=VALUE in each line. What the environment "
        "already has stays as it is.",
        unit="path",
        example="/etc/shop.env",
        reload="worker",
    )


@dataclass(frozen=True, slots=True)
class Config:
    """The application, and what runs it."""

    app: str | None = setting(
        None, 'The application, as "package.module:attribute".', example="shop.asgi:app"
    )
    app_dir: str = setting(".", "Directory put first on the import path.", unit="path")
    factory: bool = setting(False, "The attribute is a function that returns the application.")
    interface: str = setting(
        "auto",
        "How the application is called; auto tells by its looks: whether it is async, and how many "
        "arguments it takes.",
        choices=("auto", "asgi3", "asgi2", "wsgi"),
    )
    worker: str = setting(
        "auto",
        "The event loop; auto takes uvloop where it is installed, else asyncio.",
        choices=("auto", "asyncio", "uvloop", "trio"),
    )
    workers: int = setting(
        1,
        'Processes that serve. "auto" is one for each processor that this one may use, by its '
        "affinity and the quota of its cgroup.",
        unit="count",
        reload="live",
        short="-w",
        env="WEB_CONCURRENCY",
    )
    preload: bool = setting(
        False,
        "Import the application once, and fork the workers, which share its memory. "
        "Until a restart, they have the code that was imported first.",
        reload="restart",
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
    reload: bool = setting(
        False,
        "Start anew when the code, the configuration, a template or a certificate changes. For "
        "development, with one worker.",
        reload="restart",
    )
    dev: bool = setting(
        False,
        "For development: `reload`, tracebacks in answers with 500, and a log for people.",
        reload="restart",
    )
    listen: tuple[Listen, ...] = tables(
        lambda: (Listen(),),
        "A listener: addresses with what is spoken there. There may be several.",
        shared=True,
    )
    process: Process = field(default_factory=Process)
    tls: TLS = field(default_factory=TLS)
    limits: Limits = field(default_factory=Limits)
    timeouts: Timeouts = field(default_factory=Timeouts)
    http1: HTTP1 = field(default_factory=HTTP1)
    http2: HTTP2 = field(default_factory=HTTP2)
    websocket: WebSocket = field(default_factory=WebSocket)
    proxy: Proxy = field(default_factory=Proxy)
    wsgi: WSGI = field(default_factory=WSGI)
    log: Log = field(default_factory=Log)
    recycle: Recycle = field(default_factory=Recycle)

    def __post_init__(self) -> None:
        mistakes = Mistakes()
        root_path = self.root_path
        if root_path and (root_path[0] != "/" or root_path[-1] == "/"):
            mistakes.add(f'`root_path`: must begin with "/" and not end with it, not {root_path!r}')
        if not self.tls.is_set_up:
            for index, listen in enumerate(self.listen):
                if listen.tls:
                    mistakes.add(f"`listen[{index}].tls`: needs `tls.certificate` and `tls.key`")
        elif not any(listen.tls for listen in self.listen):
            mistakes.add("`tls`: no listener uses it; set `tls = true` in a [[listen]]")
        mistakes.raise_all()
