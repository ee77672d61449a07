"""What is measured: an application, a load, and who takes part."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.apps import HELLO
from benchmarks.contenders import (
    HTTP1,
    HTTP1_TLS,
    HTTP2,
    HTTP2_TLS,
    WEBSOCKET,
    WEBSOCKET_IDLE,
    Contender,
)
from benchmarks.load import H2Load, Load, Wrk
from benchmarks.websocket import Idle, WebSocket


@dataclass(frozen=True, slots=True)
class Scenario:
    """One line of ``--scenario``."""

    name: str
    title: str
    app: str
    path: str
    expected: bytes
    load: Load
    contenders: tuple[Contender, ...]
    tls: bool = False

    def url(self, port: int) -> str:
        """What is asked for, on 127.0.0.1:port."""
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{port}{self.path}"


SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        Scenario(
            name="h1-hello",
            title="HTTP/1.1, keep-alive, hello world (13 bytes)",
            app="hello",
            path="/",
            expected=HELLO,
            load=Wrk(connections=32),
            contenders=HTTP1,
        ),
        Scenario(
            name="h1-browser",
            title="HTTP/1.1, keep-alive, hello world, sixteen header fields of a browser",
            app="hello",
            path="/",
            expected=HELLO,
            load=Wrk(connections=32, script="browser.lua"),
            contenders=HTTP1,
        ),
        Scenario(
            name="h1-varied",
            title="HTTP/1.1, keep-alive, hello world, no two requests with the same fields",
            app="hello",
            path="/",
            expected=HELLO,
            load=Wrk(connections=32, script="varied.lua"),
            contenders=HTTP1,
        ),
        Scenario(
            name="h1-tls-hello",
            title="HTTP/1.1 over TLS 1.3, keep-alive, hello world (13 bytes)",
            app="hello",
            path="/",
            expected=HELLO,
            load=Wrk(connections=32),
            contenders=HTTP1_TLS,
            tls=True,
        ),
        Scenario(
            name="h2-hello",
            title="HTTP/2 without TLS (prior knowledge), hello world (13 bytes)",
            app="hello",
            path="/",
            expected=HELLO,
            load=H2Load(connections=16, streams=16),
            contenders=HTTP2,
        ),
        Scenario(
            name="h2-tls-hello",
            title="HTTP/2 over TLS 1.3, hello world (13 bytes)",
            app="hello",
            path="/",
            expected=HELLO,
            load=H2Load(connections=16, streams=16),
            contenders=HTTP2_TLS,
            tls=True,
        ),
        Scenario(
            name="ws-echo",
            title="WebSocket, echo of 64 bytes of text",
            app="echo",
            path="/",
            expected=HELLO,
            load=WebSocket(connections=32),
            contenders=WEBSOCKET,
        ),
        Scenario(
            name="ws-echo-pipelined",
            title="WebSocket, echo of 64 bytes of text, eight messages in flight",
            app="echo",
            path="/",
            expected=HELLO,
            load=WebSocket(connections=16, depth=8),
            contenders=WEBSOCKET,
        ),
        Scenario(
            name="ws-echo-16k",
            title="WebSocket, echo of 16 KiB of text",
            app="echo",
            path="/",
            expected=HELLO,
            load=WebSocket(connections=32, size=16_384),
            contenders=WEBSOCKET,
        ),
        Scenario(
            name="ws-idle",
            title="WebSocket, 5,000 sockets that are idle after one message, no compression",
            app="echo",
            path="/",
            expected=HELLO,
            load=Idle(sockets=5000),
            contenders=WEBSOCKET_IDLE,
        ),
    )
}
