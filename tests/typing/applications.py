"""Applications as people annotate them, given to ``serve`` and ``run``: read by mypy, never run.

``make check`` fails where one is no longer accepted; and, as an unused "type: ignore" is an error,
where one comes to be accepted that is none.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any

import hyperserver
from hyperserver.asgi.types import ASGI2Application, ASGIApplication, Message, Receive, Scope, Send

if TYPE_CHECKING:
    from wsgiref import types as wsgi

    from asgiref import typing as asgiref
    from fastapi import FastAPI
    from quart import Quart
    from starlette import types as starlette
    from starlette.applications import Starlette


# ---- with the types of asgiref -------------------------------------------------------------------


async def by_asgiref(
    scope: asgiref.Scope,
    receive: asgiref.ASGIReceiveCallable,
    send: asgiref.ASGISendCallable,
) -> None: ...


async def http_by_asgiref(
    scope: asgiref.HTTPScope,
    receive: asgiref.ASGIReceiveCallable,
    send: asgiref.ASGISendCallable,
) -> None: ...


async def of_asgiref(app: asgiref.ASGI3Application) -> None:
    ours: ASGIApplication = app
    await hyperserver.serve(app)
    await hyperserver.serve(by_asgiref)
    await hyperserver.serve(http_by_asgiref)
    hyperserver.run(app)
    theirs: asgiref.ASGI3Application = ours
    hyperserver.run(theirs)


# ---- with those of Starlette, and its kind -------------------------------------------------------


async def by_starlette(
    scope: starlette.Scope, receive: starlette.Receive, send: starlette.Send
) -> None: ...


async def of_starlette(app: starlette.ASGIApp) -> None:
    await hyperserver.serve(app)
    await hyperserver.serve(by_starlette)
    ours: ASGIApplication = app
    theirs: starlette.ASGIApp = ours
    hyperserver.run(theirs)


async def of_frameworks(fastapi: FastAPI, quart: Quart, starlette: Starlette) -> None:
    await hyperserver.serve(starlette)
    await hyperserver.serve(fastapi)
    await hyperserver.serve(quart)


# ---- with what there is anyway -------------------------------------------------------------------


async def by_dicts(
    scope: dict[str, Any],
    receive: Callable[[], Awaitable[dict[str, Any]]],
    send: Callable[[dict[str, Any]], Awaitable[None]],
) -> None: ...


async def by_mappings(
    scope: MutableMapping[str, Any],
    receive: Callable[[], Awaitable[Mapping[str, Any]]],
    send: Callable[[Mapping[str, Any]], Awaitable[None]],
) -> None: ...


async def by_our_own(scope: Scope, receive: Receive, send: Send) -> None: ...


class Instance:
    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None: ...

    async def method(self, scope: Scope, receive: Receive, send: Send) -> None: ...


async def of_any() -> None:
    await hyperserver.serve(by_dicts)
    await hyperserver.serve(by_mappings)
    await hyperserver.serve(by_our_own)
    await hyperserver.serve(Instance())
    await hyperserver.serve(Instance().method)
    hyperserver.run(by_dicts)
    hyperserver.run("package.module:app")


# ---- what is none --------------------------------------------------------------------------------


def returns_nothing(scope: Scope, receive: Receive, send: Send) -> None: ...


async def takes_four(scope: Scope, receive: Receive, send: Send, more: int) -> None: ...


async def of_none() -> None:
    await hyperserver.serve(returns_nothing)  # type: ignore[arg-type]
    await hyperserver.serve(takes_four)  # type: ignore[arg-type]
    await hyperserver.serve("package.module:app")  # type: ignore[arg-type]


# ---- the two channels ----------------------------------------------------------------------------


def channels_of_ours(receive: Receive, send: Send, scope: Scope) -> None:
    """What middleware hands on to an application of another's types."""
    _receive: starlette.Receive = receive
    _send: starlette.Send = send
    _scope: starlette.Scope = scope
    _other: asgiref.ASGISendCallable = send


def channels_of_asgiref(
    event: asgiref.ASGISendEvent, scope: asgiref.Scope, send: Callable[[Message], Awaitable[None]]
) -> None:
    """Their dictionaries have keys of their own, and are not to be changed by others."""
    _message: Message = event
    _mapping: Mapping[str, Any] = scope
    _send: asgiref.ASGISendCallable = send


# ---- of two calls --------------------------------------------------------------------------------


class Legacy:
    def __init__(self, scope: asgiref.Scope) -> None: ...

    async def __call__(
        self, receive: asgiref.ASGIReceiveCallable, send: asgiref.ASGISendCallable
    ) -> None: ...


def legacy(scope: dict[str, Any]) -> Callable[[Receive, Send], Awaitable[None]]:
    raise NotImplementedError


async def of_two_calls(legacies: asgiref.ASGI2Application, any_of: asgiref.ASGIApplication) -> None:
    ours: ASGI2Application = legacies
    await hyperserver.serve(ours)
    await hyperserver.serve(legacies)
    await hyperserver.serve(any_of)
    await hyperserver.serve(Legacy)
    await hyperserver.serve(legacy)
    hyperserver.run(any_of)


async def of_wsgi(app: wsgi.WSGIApplication) -> None:
    await hyperserver.serve(app)
    hyperserver.run(app)
