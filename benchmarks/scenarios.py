"""What is measured: an application, a load, and who takes part."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.apps import HELLO
from benchmarks.contenders import HTTP1, Contender
from benchmarks.load import Load, Wrk


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
    )
}
