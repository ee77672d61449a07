"""trio and nothing else: nurseries of the lifespan and of requests, cancelled as trio expects it."""

from __future__ import annotations

import json as json_module
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qsl

import trio

notes: dict[str, Any] = {}

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await lifespan(scope, receive, send)
    elif scope["type"] == "websocket":
        await WEBSOCKETS.get(scope["path"], deny)(scope, receive, send)
    elif scope["path"].startswith("/items/"):
        await item(scope, receive, send)
    else:
        await ROUTES.get(scope["path"], nowhere)(scope, receive, send)


async def lifespan(scope: Scope, receive: Receive, send: Send) -> None:
    """What is started in this nursery outlives requests, and ends with the application."""
    async with trio.open_nursery() as nursery:
        await receive()
        scope["state"]["nursery"] = nursery
        scope["state"]["greeting"] = "hello from the lifespan"
        await send({"type": "lifespan.startup.complete"})
        await receive()
        nursery.cancel_scope.cancel()
    print("the lifespan has ended")
    await send({"type": "lifespan.shutdown.complete"})


# ---- requests ------------------------------------------------------------------------------------


def query(scope: Scope) -> dict[str, str]:
    return dict(parse_qsl(scope["query_string"].decode()))


async def begin(send: Send, media_type: bytes, status: int = 200) -> None:
    headers = [(b"content-type", media_type)]
    await send({"type": "http.response.start", "status": status, "headers": headers})


async def respond(send: Send, content: str, status: int = 200) -> None:
    await begin(send, b"text/plain; charset=utf-8", status)
    await send({"type": "http.response.body", "body": content.encode()})


async def body_of(receive: Receive) -> AsyncIterator[bytes]:
    more = True
    while more:
        message = await receive()
        yield message.get("body", b"")
        more = message.get("more_body", False)


@asynccontextmanager
async def while_connected(receive: Receive) -> AsyncIterator[trio.CancelScope]:
    """A block that is cancelled when the client leaves, beside a task that listens for it."""
    async with trio.open_nursery() as nursery:

        async def listen() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            nursery.cancel_scope.cancel()

        nursery.start_soon(listen)
        yield nursery.cancel_scope
        nursery.cancel_scope.cancel()


async def json(scope: Scope, receive: Receive, send: Send) -> None:
    await respond(send, json_module.dumps({"method": scope["method"], "query": query(scope)}))


async def item(scope: Scope, receive: Receive, send: Send) -> None:
    number = int(scope["path"].rpartition("/")[2])
    await respond(send, json_module.dumps({"item": number, "path": scope["path"]}))


async def stream(scope: Scope, receive: Receive, send: Send) -> None:
    await begin(send, b"text/plain")
    for number in range(5):
        line = b"line %d\n" % number
        await send({"type": "http.response.body", "body": line, "more_body": True})
        await trio.sleep(0.01)
    await send({"type": "http.response.body"})


async def events(scope: Scope, receive: Receive, send: Send) -> None:
    """Two tasks make what a third sends."""
    key = query(scope)["key"]
    await begin(send, b"text/event-stream")
    makers, events = trio.open_memory_channel[bytes](0)

    async def tick() -> None:
        try:
            while True:
                await makers.send(b"data: tick\n\n")
                await trio.sleep(0.02)
        finally:
            notes[key] = notes.get(key, "") + "ended"

    async with while_connected(receive), trio.open_nursery() as nursery:
        for _ in range(2):
            nursery.start_soon(tick)
        async for event in events:
            await send({"type": "http.response.body", "body": event, "more_body": True})


async def wait(scope: Scope, receive: Receive, send: Send) -> None:
    key = query(scope)["key"]
    notes[key] = "waiting"
    async with while_connected(receive) as cancel_scope:
        try:
            await trio.sleep(20)
        except trio.Cancelled:
            notes[key] = "disconnected"
            raise
    if not cancel_scope.cancelled_caught:
        await respond(send, "nobody left")


async def body(scope: Scope, receive: Receive, send: Send) -> None:
    size = 0
    async for chunk in body_of(receive):
        size += len(chunk)
    await respond(send, json_module.dumps({"size": size}))


async def background(scope: Scope, receive: Receive, send: Send) -> None:
    key = query(scope)["key"]

    async def work() -> None:
        await trio.sleep(0.1)
        notes[key] = "done"

    scope["state"]["nursery"].start_soon(work)
    await respond(send, "begun")


async def fail(scope: Scope, receive: Receive, send: Send) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep_forever)
        raise RuntimeError("on purpose")


async def state(scope: Scope, receive: Receive, send: Send) -> None:
    await respond(send, scope["state"]["greeting"])


async def note(scope: Scope, receive: Receive, send: Send) -> None:
    await respond(send, notes.get(query(scope)["key"], ""))


async def tasks(scope: Scope, receive: Receive, send: Send) -> None:
    """How many there are in the whole process."""
    await respond(send, str(trio.lowlevel.current_statistics().tasks_living))


async def push(scope: Scope, receive: Receive, send: Send) -> None:
    if "http.response.push" in scope["extensions"]:
        await send({"type": "http.response.push", "path": "/items/7", "headers": []})
    await respond(send, "pushed")


async def hints(scope: Scope, receive: Receive, send: Send) -> None:
    links = [b"</style.css>; rel=preload; as=style"]
    await send({"type": "http.response.early_hint", "links": links})
    await respond(send, "hinted")


async def nowhere(scope: Scope, receive: Receive, send: Send) -> None:
    await respond(send, "not found", 404)


# ---- WebSocket -----------------------------------------------------------------------------------


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.send", "text": json_module.dumps({"path": scope["path"]})})
    while (message := await receive())["type"] != "websocket.disconnect":
        await send({**message, "type": "websocket.send"})
    notes[query(scope).get("key", "")] = f"left with {message['code']}"


async def deny(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "websocket.http.response.start", "status": 401, "headers": []})
    await send({"type": "websocket.http.response.body", "body": b"not you"})


ROUTES = {
    "/json": json,
    "/stream": stream,
    "/events": events,
    "/wait": wait,
    "/body": body,
    "/background": background,
    "/fail": fail,
    "/state": state,
    "/note": note,
    "/tasks": tasks,
    "/push": push,
    "/hints": hints,
}
WEBSOCKETS = {"/echo": echo}
