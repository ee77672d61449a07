"""Tells which process has answered, and may not start in several ways."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from tests.e2e.apps import probe


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] == "http" and scope["path"] == "/":
        await probe.reply(send, b"%d" % os.getpid())
    elif scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while (await receive())["type"] != "websocket.disconnect":
            pass
    elif scope["type"] == "http" and scope["path"] == "/block":
        time.sleep(60)  # and the loop stands still
    else:
        await probe.app(scope, receive, send)


async def refusing(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Its lifespan fails."""
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "no database"})


def crashing() -> Any:
    """A factory in which the process ends."""
    os.kill(os.getpid(), signal.SIGSEGV)


def raising() -> Any:
    raise RuntimeError("not today")


def conditional() -> Any:
    """A factory that fails where a file says so."""
    if Path(os.environ["FAILS_IF_THERE"]).exists():
        sys.exit("told to fail")
    return app
