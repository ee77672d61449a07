"""Applications for tests of the lifespan: each does one thing, and tells of it on standard error."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import sniffio

from tests.conformance.app import FAILURES, respond, running_loop

Message = dict[str, Any]
Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

COMPLETE = {"type": "lifespan.startup.complete"}
STOPPED = {"type": "lifespan.shutdown.complete"}


def tell(*words: object) -> None:
    """In one write, since several processes may share the pipe."""
    os.write(2, " ".join(["lifespan:", *map(str, words)]).encode() + b"\n")


def with_http(lifespan: App) -> App:
    """The same with requests that answer by their scope's state."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await lifespan(scope, receive, send)
        else:
            await respond(send, repr(scope.get("state", "none")).encode())

    return app


async def try_sending(send: Send, message: Message) -> None:
    try:
        await send(message)
    except Exception as error:
        tell("refused", message.get("type"), isinstance(error, OSError))
    else:
        tell("taken", message.get("type"))


async def good(scope: Scope, receive: Receive, send: Send) -> None:
    """As it should be; with requests that tell of the loop, and of the state."""
    if scope["type"] == "lifespan":
        tell("begins", os.getpid(), type(scope).__name__, sorted(scope))
        scope["state"]["loop"] = running_loop()
        scope["state"]["items"] = []
        tell("receives", await receive())
        for message in ({"type": "lifespan.shutdown.complete"}, {"type": "nonsense"}, {}):
            await try_sending(send, message)
        await anyio.sleep(0.2)
        tell("completes")
        await send(COMPLETE)
        for message in (COMPLETE, {"type": "lifespan.startup.failed"}, STOPPED):
            await try_sending(send, message)
        async with anyio.create_task_group() as tasks:  # as a nursery that requests may use
            scope["state"]["tasks"] = tasks
            tell("receives", await receive())
            tell("items", scope["state"]["items"], sorted(scope["state"]))
            tasks.cancel_scope.cancel()
        await anyio.sleep(0.2)
        await send(STOPPED)
        tell("ends")
        return
    state = scope["state"]
    assert state["loop"] == running_loop()
    state["items"].append(scope["type"])
    state["own"] = True
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        tell("disconnect", (await receive())["code"])
        return
    if scope["path"] == "/slow":
        done = anyio.Event()

        async def work() -> None:
            await anyio.sleep(0.5)
            tell("work done", sniffio.current_async_library())
            done.set()

        if state["loop"] is not None and sniffio.current_async_library() == "trio":
            state["tasks"].start_soon(work)  # a task of the lifespan's, on a request's behalf
        else:
            await work()
        await done.wait()
        tell("slow request answers")
    await respond(send, repr(sorted(state)).encode())


@with_http
async def raises(scope: Scope, receive: Receive, send: Send) -> None:
    """Knows no lifespan."""
    raise AssertionError("only http")


@with_http
async def raises_at_startup(scope: Scope, receive: Receive, send: Send) -> None:
    """Raises once it has received the message."""
    scope["state"]["begun"] = True
    tell("receives", await receive())
    raise RuntimeError("in startup")


@with_http
async def returns(scope: Scope, receive: Receive, send: Send) -> None:
    """Leaves without a word."""


@with_http
async def fails(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "the database is down"})


@with_http
async def fails_to_stop(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await send(COMPLETE)
    tell("receives", await receive())
    await send({"type": "lifespan.shutdown.failed", "message": "cannot save"})


@with_http
async def dies(scope: Scope, receive: Receive, send: Send) -> None:
    """Raises when it has completed its startup."""
    scope["state"]["kept"] = 1
    await receive()
    await send(COMPLETE)
    raise RuntimeError("after startup")


@with_http
async def leaks(scope: Scope, receive: Receive, send: Send) -> None:
    """Lets a cancellation of its own escape when it has completed its startup."""
    scope["state"]["kept"] = 1
    await receive()
    await send(COMPLETE)
    await FAILURES["cancelled"]()


@with_http
async def never_starts(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await anyio.sleep(60)


@with_http
async def never_stops(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await send(COMPLETE)
    await receive()
    await anyio.sleep(60)
