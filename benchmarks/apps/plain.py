"""The applications that every server serves. They use nothing but ASGI."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

HELLO = b"Hello, world!"
CHUNK = b"x" * 1024
CHUNKS = 100
PIECE = b"x" * 65_536
NAP = 0.01  # seconds

_TEXT = (b"content-type", b"text/plain")


def body(content: bytes) -> App:
    """An application that answers with ``content``, whatever was asked."""
    headers: Headers = [_TEXT, (b"content-length", b"%d" % len(content))]

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": content})

    return answer


hello = body(HELLO)
body_10k = body(b"x" * 10_000)
body_100k = body(b"x" * 100_000)
body_1m = body(b"x" * 1_000_000)


async def stream(scope: Scope, receive: Receive, send: Send) -> None:
    """CHUNKS times CHUNK, of a length that is not announced."""
    if scope["type"] == "lifespan":
        await _lifespan(receive, send)
        return
    await send({"type": "http.response.start", "status": 200, "headers": [_TEXT]})
    for _ in range(CHUNKS):
        await send({"type": "http.response.body", "body": CHUNK, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def download(scope: Scope, receive: Receive, send: Send) -> None:
    """As many bytes as the path says, by PIECEs."""
    if scope["type"] == "lifespan":
        await _lifespan(receive, send)
        return
    left = int(scope["path"][1:])
    headers = [_TEXT, (b"content-length", b"%d" % left)]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    while left > len(PIECE):
        await send({"type": "http.response.body", "body": PIECE, "more_body": True})
        left -= len(PIECE)
    await send({"type": "http.response.body", "body": PIECE[:left]})


async def upload(scope: Scope, receive: Receive, send: Send) -> None:
    """Takes a body; says how long it was."""
    if scope["type"] == "lifespan":
        await _lifespan(receive, send)
        return
    size, more = 0, True
    while more:
        message = await receive()
        size += len(message.get("body", b""))
        more = message.get("more_body", False)
    await _answer(send, b"%d" % size)


async def echo_body(scope: Scope, receive: Receive, send: Send) -> None:
    """Sends back the body that it was sent."""
    if scope["type"] == "lifespan":
        await _lifespan(receive, send)
        return
    pieces, more = [], True
    while more:
        message = await receive()
        pieces.append(message.get("body", b""))
        more = message.get("more_body", False)
    await _answer(send, b"".join(pieces))


async def nap(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers after NAP."""
    if scope["type"] == "lifespan":
        await _lifespan(receive, send)
        return
    await _sleep(NAP)
    await _answer(send, HELLO)


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """A WebSocket that sends back each text message."""
    if scope["type"] == "lifespan":
        await _lifespan(receive, send)
        return
    await receive()  # websocket.connect
    await send({"type": "websocket.accept"})
    while True:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            return
        await send({"type": "websocket.send", "text": message["text"]})


_audience: dict[int, Send] = {}


async def broadcast(scope: Scope, receive: Receive, send: Send) -> None:
    """A WebSocket of which each text message is sent to all that are open."""
    if scope["type"] == "lifespan":
        await _lifespan(receive, send)
        return
    await receive()  # websocket.connect
    await send({"type": "websocket.accept"})
    _audience[id(send)] = send
    try:
        while True:
            message = await receive()
            if message["type"] == "websocket.disconnect":
                return
            await _tell_all({"type": "websocket.send", "text": message["text"]})
    finally:
        del _audience[id(send)]


async def _tell_all(message: dict[str, Any]) -> None:
    for send in list(_audience.values()):
        try:
            await send(message)
        except Exception:  # noqa: BLE001, S112
            continue  # one who has left, and whose application has not been told yet


async def _sleep(seconds: float) -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        import trio

        await trio.sleep(seconds)
    else:
        await asyncio.sleep(seconds)


async def _answer(send: Send, content: bytes) -> None:
    headers = [_TEXT, (b"content-length", b"%d" % len(content))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": content})


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": message["type"] + ".complete"})
        if message["type"] == "lifespan.shutdown":
            return
