"""The same application in each way that one can be written in; it answers by what it was given."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from typing import Any

from tests.conformance.app import respond

Channel = Callable[..., Awaitable[Any]]


async def single(scope: dict[str, Any], receive: Channel, send: Channel) -> None:
    """A coroutine function of three arguments."""
    if scope["type"] == "lifespan":
        scope["state"]["started"] = (await receive())["type"]
        await send({"type": "lifespan.startup.complete"})
        assert (await receive())["type"] == "lifespan.shutdown"
        await send({"type": "lifespan.shutdown.complete"})
    elif scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": repr(scope["state"])})
    else:
        body = (await receive())["body"]
        await respond(send, repr((scope["state"], scope["asgi"]["version"], body)).encode())


def double(scope: dict[str, Any]) -> Callable[[Channel, Channel], Awaitable[None]]:
    """A function that returns a coroutine function."""

    async def instance(receive: Channel, send: Channel) -> None:
        await single(scope, receive, send)

    return instance


class Double:
    """A class, whose instances are given the channels."""

    def __init__(self, scope: dict[str, Any]) -> None:
        self.scope = scope

    async def __call__(self, receive: Channel, send: Channel) -> None:
        await single(self.scope, receive, send)


class Single:
    """A class whose instance is the application."""

    async def __call__(self, scope: dict[str, Any], receive: Channel, send: Channel) -> None:
        await single(scope, receive, send)


instance = Single()
method = instance.__call__
partial = functools.partial(single)


class Opaque:
    """Of which nothing can be told: it takes anything, and is no coroutine function."""

    def __init__(self, app: Callable[..., Any]) -> None:
        self.app = app

    def __call__(self, *args: Any) -> Any:
        return self.app(*args)


class MarkedDouble(Opaque):
    _asgi_double_callable = True


class MarkedSingle(Opaque):
    _asgi_single_callable = True


marked_double = MarkedDouble(double)
marked_single = MarkedSingle(single)
opaque = Opaque(single)
opaque_double = Opaque(double)
