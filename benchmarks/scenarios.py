"""What is measured: an application, a load, and what servers have to do for it."""

from __future__ import annotations

from dataclasses import dataclass, field

from benchmarks import contenders
from benchmarks.apps.plain import CHUNK, CHUNKS, HELLO
from benchmarks.contender import Contender, Wants
from benchmarks.load import H2Load, Load, Wrk
from benchmarks.own_loads import Broadcast, Idle, Start, Transfer, WebSocket


@dataclass(frozen=True, slots=True)
class Scenario:
    """One line of ``--scenario``.

    ``app`` is in apps/, as in "plain:hello". A server is ready when it has answered a request for
    ``probe`` (``path`` unless given), with ``body`` in it where there is one, by ``expected``.
    """

    name: str
    title: str
    load: Load | Start
    app: str = "plain:hello"
    path: str = "/"
    probe: str = ""
    body: bytes | None = None
    expected: bytes = HELLO
    wants: Wants = field(default_factory=Wants)

    @property
    def contenders(self) -> tuple[Contender, ...]:
        return contenders.field(self.wants)

    def url(self, port: int) -> str:
        """What is asked for, on 127.0.0.1:port."""
        return f"{'https' if self.wants.tls else 'http'}://127.0.0.1:{port}{self.path}"

    def probe_url(self, port: int) -> str:
        """What is asked for to see whether the server is ready."""
        return (
            f"{'https' if self.wants.tls else 'http'}://127.0.0.1:{port}{self.probe or self.path}"
        )


_HUNDRED_MEGABYTES = 100_000_000
_MANY = 10_000
_H2 = Wants(protocol="http2")
_H2_TLS = Wants(protocol="http2", tls=True)
_WEBSOCKET = Wants(protocol="websocket", floor=True)

#: The fields that browser.lua has, but those that HTTP/2 says otherwise or not at all (host,
#: connection); priority and a cookie bring them to sixteen again.
_BROWSER = (
    "cache-control: max-age=0",
    'sec-ch-ua: "Chromium";v="128", "Not;A=Brand";v="24", "Google Chrome";v="128"',
    "sec-ch-ua-mobile: ?0",
    'sec-ch-ua-platform: "Linux"',
    "upgrade-insecure-requests: 1",
    (
        "user-agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
        "Chrome/128.0.0.0 Safari/537.36"
    ),
    "accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
    "sec-fetch-site: same-origin",
    "sec-fetch-mode: navigate",
    "sec-fetch-user: ?1",
    "sec-fetch-dest: document",
    "referer: http://127.0.0.1/",
    "accept-encoding: gzip, deflate, br, zstd",
    "accept-language: en-US,en;q=0.9",
    "cookie: session=0123456789abcdef",
    "priority: u=0, i",
)

_HTTP1 = (
    Scenario("h1-hello", "HTTP/1.1, keep-alive, hello world (13 bytes)", Wrk(connections=32)),
    Scenario(
        "h1-browser",
        "HTTP/1.1, keep-alive, hello world, sixteen header fields of a browser",
        Wrk(connections=32, script="browser.lua"),
    ),
    Scenario(
        "h1-varied",
        "HTTP/1.1, keep-alive, hello world, no two requests with the same fields",
        Wrk(connections=32, script="varied.lua"),
    ),
    Scenario(
        "h1-pipelined",
        "HTTP/1.1, hello world, sixteen requests at a time on each connection",
        Wrk(connections=32, script="pipelined.lua"),
        wants=Wants(pipelined=True),
    ),
    Scenario(
        "h1-close",
        "HTTP/1.1, Connection: close, hello world",
        Wrk(connections=32, script="close.lua", closes=True),
    ),
    Scenario(
        "h1-tls-hello",
        "HTTP/1.1 over TLS 1.3, keep-alive, hello world (13 bytes)",
        Wrk(connections=32),
        wants=Wants(tls=True),
    ),
    Scenario(
        "h1-10k",
        "HTTP/1.1, a response of 10 kB",
        Wrk(connections=32),
        app="plain:body_10k",
        expected=b"x" * 10_000,
    ),
    Scenario(
        "h1-1m",
        "HTTP/1.1, a response of 1 MB",
        Wrk(connections=8),
        app="plain:body_1m",
        expected=b"x" * 1_000_000,
    ),
    Scenario(
        "h1-stream",
        "HTTP/1.1, a response streamed in 100 chunks of 1 KiB",
        Wrk(connections=32),
        app="plain:stream",
        expected=CHUNK * CHUNKS,
    ),
    Scenario(
        "h1-echo-10k",
        "HTTP/1.1, 10 kB up and the same 10 kB down",
        Wrk(connections=32, script="upload.lua"),
        app="plain:echo_body",
        body=b"y" * 10_000,
        expected=b"y" * 10_000,
    ),
    Scenario(
        "h1-upload-100m",
        "HTTP/1.1, an upload of 100 MB",
        Transfer(upload=_HUNDRED_MEGABYTES),
        app="plain:upload",
        body=b"x" * 1000,
        expected=b"1000",
    ),
    Scenario(
        "h1-download-100m",
        "HTTP/1.1, a download of 100 MB, streamed in pieces of 64 KiB",
        Transfer(),
        app="plain:download",
        path=f"/{_HUNDRED_MEGABYTES}",
        probe="/1000",
        expected=b"x" * 1000,
    ),
    Scenario(
        "h1-sleep",
        "HTTP/1.1, 512 clients of an application that sleeps for 10 ms",
        Wrk(connections=512),
        app="plain:nap",
    ),
    Scenario(
        "h1-access-log",
        "HTTP/1.1, hello world, every server with its own access log, to a file",
        Wrk(connections=32),
        wants=Wants(access_log=True),
    ),
    Scenario(
        "starlette",
        "HTTP/1.1, a JSON endpoint of Starlette",
        Wrk(connections=32),
        app="frameworks:starlette_app",
        path="/items/7",
        expected=b'{"id":7,"name":"spam","price":9.5,"tags":["a","b"]}',
    ),
    Scenario(
        "fastapi",
        "HTTP/1.1, a JSON endpoint of FastAPI with a response model",
        Wrk(connections=32),
        app="frameworks:fastapi_app",
        path="/items/7",
        expected=b'{"id":7,"name":"spam","price":9.5,"tags":["a","b"]}',
    ),
)

_HTTP2 = (
    Scenario(
        "h2-hello",
        "HTTP/2 without TLS (prior knowledge), hello world (13 bytes)",
        H2Load(connections=16, streams=16),
        wants=_H2,
    ),
    Scenario(
        "h2-browser",
        "HTTP/2 without TLS, hello world, sixteen header fields of a browser",
        H2Load(connections=16, streams=16, fields=_BROWSER),
        wants=_H2,
    ),
    Scenario(
        "h2-tls-hello",
        "HTTP/2 over TLS 1.3, hello world (13 bytes)",
        H2Load(connections=16, streams=16),
        wants=_H2_TLS,
    ),
    Scenario(
        "h2-tls-browser",
        "HTTP/2 over TLS 1.3, hello world, sixteen header fields of a browser",
        H2Load(connections=16, streams=16, fields=_BROWSER),
        wants=_H2_TLS,
    ),
    Scenario(
        "h2-100k",
        "HTTP/2 without TLS, a response of 100 kB",
        H2Load(connections=8, streams=4),
        app="plain:body_100k",
        expected=b"x" * 100_000,
        wants=_H2,
    ),
    Scenario(
        "h2-upload-100k",
        "HTTP/2 without TLS, an upload of 100 kB",
        H2Load(connections=8, streams=4, upload=100_000),
        app="plain:upload",
        body=b"x" * 1000,
        expected=b"1000",
        wants=_H2,
    ),
)

_WEBSOCKETS = (
    Scenario(
        "ws-echo",
        "WebSocket, echo of 64 bytes of text",
        WebSocket(connections=32),
        app="plain:echo",
        wants=_WEBSOCKET,
    ),
    Scenario(
        "ws-echo-pipelined",
        "WebSocket, echo of 64 bytes of text, eight messages in flight",
        WebSocket(connections=16, depth=8),
        app="plain:echo",
        wants=_WEBSOCKET,
    ),
    Scenario(
        "ws-echo-16k",
        "WebSocket, echo of 16 KiB of text",
        WebSocket(connections=32, size=16_384),
        app="plain:echo",
        wants=Wants(protocol="websocket"),
    ),
    Scenario(
        "ws-broadcast",
        "WebSocket, 64 bytes of text to 1,000 sockets",
        Broadcast(sockets=1000),
        app="plain:broadcast",
        wants=Wants(protocol="websocket"),
    ),
)

_MEMORY = (
    Scenario(
        "h1-idle",
        "memory of 10,000 idle connections, HTTP/1.1",
        Idle("http1", _MANY),
        wants=Wants(idle=True),
    ),
    Scenario(
        "h2-idle",
        "memory of 10,000 idle connections, HTTP/2",
        Idle("http2", _MANY),
        wants=Wants(protocol="http2", idle=True),
    ),
    Scenario(
        "ws-idle",
        "memory of 10,000 idle connections, WebSocket",
        Idle("websocket", _MANY),
        app="plain:echo",
        wants=Wants(protocol="websocket", idle=True),
    ),
    Scenario("startup", "from the start to the first answer, and memory then", Start()),
)

SCENARIOS = {one.name: one for one in (*_HTTP1, *_HTTP2, *_WEBSOCKETS, *_MEMORY)}
