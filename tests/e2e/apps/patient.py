"""An application that reads the whole request before it answers.

One that answers at once would race with the faults that a conformance suite sends after a
request's head: what comes after a complete response is rightly ignored.
"""

from __future__ import annotations

from hyperserver.asgi.types import Receive, Scope, Send


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    assert scope["type"] == "http"
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        if not message["more_body"]:
            break
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": b"Hello, world!\n"})
