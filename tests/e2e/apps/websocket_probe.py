"""Plain ASGI WebSockets for any event loop: every behaviour a test needs, and notes about it.

A handler notes under the handshake's ``key``; ``/report?key=`` shows the notes, by HTTP.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qsl

import anyio

Message = dict[str, Any]
Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Query = dict[str, str]

notes: defaultdict[str, dict[str, Any]] = defaultdict(dict)
gates: defaultdict[str, anyio.Event] = defaultdict(anyio.Event)

#: A page that says how it came, and how its socket did, in its title.
PAGE = b"""<!DOCTYPE html><title>waiting</title><script>
(async () => {
  const answer = await fetch("/seen");
  const page = await answer.json();
  const socket = new WebSocket(`wss://${location.host}/seen`);
  const messages = [];
  socket.onopen = () => socket.send("hello");
  socket.onmessage = (event) => {
    messages.push(event.data);
    if (messages.length === 2) socket.close(4001, "enough");
  };
  socket.onclose = (event) => {
    document.title = JSON.stringify({
      page, messages, code: event.code, reason: event.reason, clean: event.wasClean,
    });
  };
})();
</script>"""


async def connect(receive: Receive) -> None:
    message = await receive()
    assert message == {"type": "websocket.connect"}, message


async def accept(send: Send, **more: Any) -> None:
    await send({"type": "websocket.accept", **more})


async def until_disconnect(receive: Receive, note: dict[str, Any]) -> None:
    """Notes how many messages came, and what was said in the end."""
    note["messages"] = note["size"] = 0
    while (message := await receive())["type"] == "websocket.receive":
        note["messages"] += 1
        data = message["bytes"]
        note["size"] += len(message["text"] if data is None else data)
    note["disconnect"] = [message["code"], message["reason"]]


async def echo(scope: Scope, query: Query, receive: Receive, send: Send) -> None:
    note = notes[query.get("key", "")]
    await connect(receive)
    headers = [(b"x-probe", b"1"), (b"set-cookie", b"a=1"), (b"set-cookie", b"b=2")]
    await accept(send, subprotocol=query.get("subprotocol"), headers=headers)
    note["accepted"] = True
    while (message := await receive())["type"] == "websocket.receive":
        await send({**message, "type": "websocket.send"})
    note["disconnect"] = [message["code"], message["reason"]]
    try:
        await send({"type": "websocket.send", "text": "too late"})
    except OSError as error:
        note["send"] = type(error).__name__


async def count(scope: Scope, query: Query, receive: Receive, send: Send) -> None:
    """Answers every message with its kind, length and digest."""
    note = notes[query.get("key", "")]
    await connect(receive)
    await accept(send)
    while (message := await receive())["type"] == "websocket.receive":
        text, data = message["text"], message["bytes"]
        kind = "bytes" if text is None else "text"
        data = text.encode() if data is None else data
        answer = f"{kind} {len(data)} {hashlib.sha256(data).hexdigest()}"
        await send({"type": "websocket.send", "text": answer})
    note["disconnect"] = [message["code"], message["reason"]]


async def seen(scope: Scope, query: Query, receive: Receive, send: Send) -> None:
    """Shows its scope, then echoes."""
    await connect(receive)
    await accept(send)
    await send({"type": "websocket.send", "text": shown(scope)})
    await until_echoed(receive, send)


def shown(scope: Scope) -> str:
    return json.dumps({**scope, "state": None}, default=lambda value: value.decode("latin-1"))


async def until_echoed(receive: Receive, send: Send) -> None:
    while (message := await receive())["type"] == "websocket.receive":
        await send({**message, "type": "websocket.send"})


async def gated(scope: Scope, query: Query, receive: Receive, send: Send) -> None:
    """Accepts once its gate is opened."""
    note = notes[query["key"]]
    await connect(receive)
    note["connecting"] = True
    await gates[query["key"]].wait()
    try:
        await accept(send)
    except OSError as error:
        note["accept"] = type(error).__name__
    note["received"] = []
    while (message := await receive())["type"] == "websocket.receive":
        note["received"].append(message["text"])
        await send({**message, "type": "websocket.send"})
    note["disconnect"] = [message["code"], message["reason"]]


async def undecided(scope: Scope, query: Query, receive: Receive, send: Send) -> None:
    """Receives, without a decision, until it is told that the client has left."""
    note = notes[query["key"]]
    await connect(receive)
    note["connecting"] = True
    message = await receive()
    note["disconnect"] = [message["code"], message["reason"]]
    for late in ({"type": "websocket.accept"}, {"type": "websocket.close"}):
        try:
            await send(late)
        except OSError as error:
            note[late["type"]] = type(error).__name__
    note["done"] = True


async def deaf(scope: Scope, query: Query, receive: Receive, send: Send) -> None:
    """Does not receive before its gate is opened."""
    note = notes[query["key"]]
    await connect(receive)
    await accept(send)
    note["accepted"] = True
    await gates[query["key"]].wait()
    await until_disconnect(receive, note)


async def flood(scope: Scope, query: Query, receive: Receive, send: Send) -> None:
    """Sends until it cannot, and notes how much that was and how it ended."""
    note = notes[query["key"]]
    await connect(receive)
    await accept(send)
    chunk = bytes(int(query.get("chunk", "65536")))
    note["sent"] = 0
    try:
        while True:
            await send({"type": "websocket.send", "bytes": chunk})
            note["sent"] += len(chunk)
    except OSError as error:
        note["ended"] = type(error).__name__
    await until_disconnect(receive, note)


async def ticks(scope: Scope, query: Query, receive: Receive, send: Send) -> None:
    """Sends now and then and does not receive."""
    note = notes[query["key"]]
    await connect(receive)
    await accept(send)
    try:
        while True:
            await send({"type": "websocket.send", "text": "tick"})
            await anyio.sleep(0.02)
    except OSError as error:
        note["ended"] = type(error).__name__
    await until_disconnect(receive, note)


async def big(scope: Scope, query: Query, receive: Receive, send: Send) -> None:
    """Sends one message, larger than the kernel takes, and listens."""
    note = notes[query["key"]]
    await connect(receive)
    await accept(send)
    note["sending"] = True
    await send({"type": "websocket.send", "bytes": bytes(int(query["size"]))})
    note["sent"] = True
    await until_disconnect(receive, note)


async def close(scope: Scope, query: Query, receive: Receive, send: Send) -> None:
    note = notes[query.get("key", "")]
    await connect(receive)
    await accept(send)
    message: Message = {"type": "websocket.close"}
    if "code" in query:
        message["code"] = int(query["code"])
    await send({**message, "reason": query.get("reason", "")})
    await until_disconnect(receive, note)


async def refuse(scope: Scope, query: Query, receive: Receive, send: Send) -> None:
    note = notes[query.get("key", "")]
    await connect(receive)
    await send({"type": "websocket.close", "code": 4000})
    await until_disconnect(receive, note)


async def deny(scope: Scope, query: Query, receive: Receive, send: Send) -> None:
    """A denial of so many pieces, with a body of a kilobyte each."""
    note = notes[query.get("key", "")]
    await connect(receive)
    headers = [(b"x-denied", b"yes")]
    if "length" in query:
        headers.append((b"content-length", query["length"].encode()))
    status = int(query.get("status", "404"))
    kind = "websocket.http.response."
    await send({"type": kind + "start", "status": status, "headers": headers})
    for _ in range(int(query.get("pieces", "0"))):
        await send({"type": kind + "body", "body": b"\xff" * 1024, "more_body": True})
    if query.get("end") == "fail":
        raise RuntimeError("on purpose")
    await send({"type": kind + "body"})
    await until_disconnect(receive, note)


async def fail(scope: Scope, query: Query, receive: Receive, send: Send) -> None:
    """Raises or returns, before or after it has accepted."""
    await connect(receive)
    if query["when"] == "after":
        await accept(send)
    if query["how"] == "raise":
        raise RuntimeError("on purpose")


async def report(scope: Scope, query: Query, receive: Receive, send: Send) -> None:
    await reply(send, json.dumps(notes[query["key"]]).encode())


async def open_gate(scope: Scope, query: Query, receive: Receive, send: Send) -> None:
    gates[query["key"]].set()
    await reply(send, b"open")


async def hello(scope: Scope, query: Query, receive: Receive, send: Send) -> None:
    await reply(send, b"Hello")


async def body(scope: Scope, query: Query, receive: Receive, send: Send) -> None:
    """The request's method and body."""
    data, more = b"", True
    while more:
        message = await receive()
        data += message["body"]
        more = message["more_body"]
    await reply(send, scope["method"].encode() + b" " + data)


async def page(scope: Scope, query: Query, receive: Receive, send: Send) -> None:
    await reply(send, PAGE, b"text/html")


async def seen_by_http(scope: Scope, query: Query, receive: Receive, send: Send) -> None:
    await reply(send, shown(scope).encode(), b"application/json")


async def reply(send: Send, data: bytes, content_type: bytes = b"text/plain") -> None:
    headers = [(b"content-type", content_type)]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": data})


Handler = Callable[[Scope, Query, Receive, Send], Awaitable[None]]
SOCKETS: dict[str, Handler] = {
    "/echo": echo,
    "/count": count,
    "/seen": seen,
    "/gated": gated,
    "/undecided": undecided,
    "/deaf": deaf,
    "/flood": flood,
    "/ticks": ticks,
    "/big": big,
    "/close": close,
    "/refuse": refuse,
    "/deny": deny,
    "/fail": fail,
}
PAGES: dict[str, Handler] = {
    "/report": report,
    "/open": open_gate,
    "/hello": hello,
    "/body": body,
    "/page": page,
    "/seen": seen_by_http,
}


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        print("lifespan ends", file=sys.stderr)
        await send({"type": "lifespan.shutdown.complete"})
        return
    query = dict(parse_qsl(scope["query_string"].decode()))
    handlers = SOCKETS if scope["type"] == "websocket" else PAGES
    await handlers[scope["path"]](scope, query, receive, send)
