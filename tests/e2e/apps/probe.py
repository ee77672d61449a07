"""Plain ASGI for any event loop: every behaviour a test needs, and notes about what happened.

A handler notes under the request's ``key``; ``/report?key=`` shows the notes.
"""

from __future__ import annotations

import asyncio
import contextvars
import hashlib
import json
import sys
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qsl

import anyio
import anyio.to_thread
import sniffio

from tests.e2e.apps.strays import raise_it, raise_stray_cancellation

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Query = dict[str, str]

notes: defaultdict[str, dict[str, Any]] = defaultdict(dict)
gates: defaultdict[str, anyio.Event] = defaultdict(anyio.Event)
leaky: contextvars.ContextVar[str] = contextvars.ContextVar("leaky", default="clean")
CHUNK = bytes(65_536)


async def start(
    send: Send, status: int = 200, headers: list[tuple[bytes, bytes]] | None = None
) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers or []})


async def body(send: Send, data: bytes = b"", more: bool = False) -> None:
    await send({"type": "http.response.body", "body": data, "more_body": more})


async def reply(send: Send, data: bytes, status: int = 200) -> None:
    await start(send, status, [(b"content-type", b"text/plain")])
    await body(send, data)


async def hello(query: Query, receive: Receive, send: Send) -> None:
    await reply(send, query.get("say", "Hello").encode())


async def echo(query: Query, receive: Receive, send: Send) -> None:
    """Body to body, chunk by chunk; ``delay`` before the first look at it."""
    await anyio.sleep(float(query.get("delay", "0")))
    message = await receive()
    await start(send)
    while message["type"] == "http.request":
        await body(send, message["body"], more=message["more_body"])
        if not message["more_body"]:
            return
        message = await receive()


async def ignore(query: Query, receive: Receive, send: Send) -> None:
    """Answers without a look at the body."""
    await reply(send, b"ignored", int(query.get("status", "200")))


async def upload(query: Query, receive: Receive, send: Send) -> None:
    size, digest = 0, hashlib.sha256()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            notes[query["key"]]["disconnected after"] = size
            return
        size += len(message["body"])
        digest.update(message["body"])
        if not message["more_body"]:
            break
    await reply(send, b"%d %s" % (size, digest.hexdigest().encode()))


async def download(query: Query, receive: Receive, send: Send) -> None:
    count = int(query["chunks"])
    headers = []
    if "sized" in query:
        headers = [(b"content-length", b"%d" % (count * len(CHUNK)))]
    await start(send, 200, headers)
    for _ in range(count):
        await body(send, CHUNK, more=True)
    await body(send)


async def sip(query: Query, receive: Receive, send: Send) -> None:
    """Takes one piece of the body, waits for its gate, then takes the rest."""
    note = notes[query["key"]]
    message = await receive()
    note["sipped"] = len(message["body"])
    await gates[query["key"]].wait()
    size = len(message["body"])
    while message["more_body"]:
        message = await receive()
        size += len(message["body"])
    await reply(send, b"%d" % size)


async def flood(query: Query, receive: Receive, send: Send) -> None:
    """Sends until it cannot, and notes how much that was and how it ended."""
    note = notes[query["key"]]
    note["sent"] = 0
    await start(send)
    try:
        while True:
            await body(send, CHUNK, more=True)
            note["sent"] += len(CHUNK)
    except OSError as error:
        note["ended"] = type(error).__name__
        raise


async def big(query: Query, receive: Receive, send: Send) -> None:
    """A response in one piece, larger than the kernel takes."""
    note = notes[query["key"]]
    note["started"] = True
    await reply(send, bytes(int(query["size"])))
    note["ended"] = True


async def open_gate(query: Query, receive: Receive, send: Send) -> None:
    gates[query["key"]].set()
    await reply(send, b"open")


async def gated(query: Query, receive: Receive, send: Send) -> None:
    """Answers once its gate is opened."""
    notes[query["key"]]["waiting"] = True
    await gates[query["key"]].wait()
    await reply(send, b"through")


async def pause(query: Query, receive: Receive, send: Send) -> None:
    notes[query.get("key", "")]["waiting"] = True
    await anyio.sleep(float(query["seconds"]))
    await reply(send, b"slept")


async def listen(query: Query, receive: Receive, send: Send) -> None:
    """Notes the disconnect that receive() reports, then what send() says to it."""
    note = notes[query["key"]]
    await start(send)
    if "stream" in query:
        await body(send, b"begun", more=True)
    note["listening"] = True
    kinds = []
    while "http.disconnect" not in kinds:
        kinds.append((await receive())["type"])
    kinds.append((await receive())["type"])
    note["received"] = kinds
    try:
        await body(send, b"too late", more=True)
    except OSError as error:
        note["send"] = type(error).__name__
    else:
        note["send"] = "taken"


async def events(query: Query, receive: Receive, send: Send) -> None:
    """Sends, without receiving, until send() fails."""
    note = notes[query.get("key", "")]
    await start(send, 200, [(b"content-type", b"text/event-stream")])
    try:
        while True:
            await body(send, b"data: tick\n\n", more=True)
            await anyio.sleep(0.05)
    except OSError as error:
        note["ended"] = type(error).__name__
        raise


async def polite_events(query: Query, receive: Receive, send: Send) -> None:
    """An event stream that ends itself, orderly, when receive() says http.disconnect."""
    note = notes[query["key"]]
    await start(send, 200, [(b"content-type", b"text/event-stream")])
    await body(send, b"data: tick\n\n", more=True)
    note["streaming"] = True
    while (await receive())["type"] != "http.disconnect":
        pass
    note["told"] = True
    print("told http.disconnect", file=sys.stderr)


async def stubborn(query: Query, receive: Receive, send: Send) -> None:
    """Does not give way to cancellation."""
    notes[query["key"]]["waiting"] = True
    while True:
        try:
            await anyio.sleep(30)
        except anyio.get_cancelled_exc_class():
            with anyio.CancelScope(shield=True):
                await anyio.sleep(30)


async def thread(query: Query, receive: Receive, send: Send) -> None:
    """Is in a thread that cannot be cancelled."""
    notes[query["key"]]["waiting"] = True
    await anyio.to_thread.run_sync(time.sleep, 5)


async def after(query: Query, receive: Receive, send: Send) -> None:
    """Works on when the response is out."""
    note = notes[query["key"]]
    await reply(send, b"answered")
    await gates[query["key"]].wait()
    note["kinds"] = [(await receive())["type"], (await receive())["type"]]


async def context(query: Query, receive: Receive, send: Send) -> None:
    """Shows a context variable, then spoils it, before and after a wait."""
    seen = leaky.get()
    leaky.set("spoilt")
    if "wait" in query:
        await anyio.sleep(0)
        assert leaky.get() == "spoilt"
        leaky.set("spoilt again")
    await reply(send, seen.encode())


async def length(query: Query, receive: Receive, send: Send) -> None:
    """A body that is not as long as it is said to be, in one message or in two."""
    await start(send, 200, [(b"content-length", b"10")])
    if "split" in query:
        await body(send, b"123", more=True)
    await body(send, b"x" * int(query["send"]))


async def nothing(query: Query, receive: Receive, send: Send) -> None:
    """Returns without a response, or within one."""
    if query.get("when") == "started":
        await start(send)
    elif query.get("when") == "middle":
        await start(send)
        await body(send, b"half", more=True)


async def fail(query: Query, receive: Receive, send: Send) -> None:
    """Raises ``kind`` before the response, after its start, or in the middle of it."""
    if query.get("when", "before") != "before":
        await start(send)
    if query.get("when") == "middle":
        await body(send, b"half", more=True)
    if "wait" in query:
        await anyio.sleep(0.001)
    await FAILURES[query.get("kind", "error")]()


async def _raise_from_group() -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(raise_it, ValueError("of a child"))
        await anyio.sleep(1)


async def _recurse() -> None:
    await _recurse()


async def _cancel_itself() -> None:
    """Cancels its own asyncio task; on trio there is no such thing."""
    if sniffio.current_async_library() == "trio":
        raise RuntimeError("nothing to cancel")
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(0)


FAILURES: dict[str, Callable[[], Awaitable[None]]] = {
    "error": lambda: raise_it(ValueError("on purpose")),
    "exit": lambda: raise_it(SystemExit(5)),
    "cancelled": lambda: raise_it(asyncio.CancelledError()),
    "stray": raise_stray_cancellation,
    "self-cancel": _cancel_itself,
    "group": lambda: raise_it(ExceptionGroup("several", [ValueError(), OSError()])),
    "base-group": lambda: raise_it(
        BaseExceptionGroup("several", [SystemExit(1), asyncio.CancelledError()])
    ),
    "task-group": _raise_from_group,
    "generator-exit": lambda: raise_it(GeneratorExit()),
    "stop-async": lambda: raise_it(StopAsyncIteration()),
    "os-error": lambda: raise_it(ConnectionResetError("of a database")),
    "recursion": _recurse,
    "base": lambda: raise_it(BaseException("bare")),
}


async def report(query: Query, receive: Receive, send: Send) -> None:
    await reply(send, json.dumps(notes[query["key"]]).encode())


HANDLERS = {
    "/" + name.replace("_", "-"): handler
    for name, handler in {
        "hello": hello,
        "echo": echo,
        "ignore": ignore,
        "upload": upload,
        "download": download,
        "sip": sip,
        "flood": flood,
        "big": big,
        "open": open_gate,
        "gated": gated,
        "pause": pause,
        "listen": listen,
        "events": events,
        "polite_events": polite_events,
        "stubborn": stubborn,
        "thread": thread,
        "after": after,
        "context": context,
        "length": length,
        "nothing": nothing,
        "fail": fail,
        "report": report,
    }.items()
}


async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
        return
    query = dict(parse_qsl(scope["query_string"].decode()))
    handler = HANDLERS.get(scope["path"])
    if handler is None:
        await reply(send, b"not found", 404)
    else:
        await handler(query, receive, send)


async def lifespan(receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    print("lifespan ends", file=sys.stderr)
    await send({"type": "lifespan.shutdown.complete"})


async def lifespan_that_hangs(receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await anyio.sleep(60)


async def lifespan_that_is_stubborn(receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await stubborn({"key": "lifespan"}, receive, send)


async def stubborn_lifespan(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """The same application with a lifespan that cannot even be cancelled."""
    if scope["type"] == "lifespan":
        await lifespan_that_is_stubborn(receive, send)
    else:
        await app(scope, receive, send)


async def hanging(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """The same application with a lifespan that does not end."""
    if scope["type"] == "lifespan":
        await lifespan_that_hangs(receive, send)
    else:
        await app(scope, receive, send)
