from __future__ import annotations

import sys

import anyio
import pytest

from hyperserver.config import Config
from hyperserver.runtime.worker import Worker


def description(library: str) -> str:
    async def describe() -> str:
        return Worker(app, Config()).describe()

    return anyio.run(describe, backend=library)


async def app(scope: object, receive: object, send: object) -> None:
    raise NotImplementedError


@pytest.mark.parametrize("library", ["asyncio", "trio"])
def test_the_log_says_which_engine_serves_and_which_cannot_be_loaded(
    library: str, broken_nghttp2: str
) -> None:
    said = description(library)
    assert "HTTP/2 by h2, " in said
    assert f"; nghttp2 cannot be loaded: {broken_nghttp2}" in said


def test_what_was_not_built_is_not_spoken_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hyperserver.protocol.h2._nghttp2", None)
    said = description("asyncio")
    assert "HTTP/2 by h2, " in said
    assert "nghttp2" not in said
