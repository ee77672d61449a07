"""What a developer's browser shows of failures: a traceback in place of a bare 500, and, while the
application cannot be imported or started at all, the reason why, from a stand-in for it.
"""

from __future__ import annotations

import html
import sys
import traceback

from hyperserver.asgi.types import ASGIApplication, Message, Receive, Scope, Send

_PAGE = """\
<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title></head>
<body style="font: 16px/1.5 sans-serif; margin: 2em"><h1>{title}</h1>
<pre style="background: #f4f4f4; padding: 1em; overflow: auto">{text}</pre></body></html>
"""


def page(scope: Scope, title: str, text: str) -> tuple[bytes, bytes]:
    """Content type and body of ``text``: HTML for who names that, as browsers do, else plain."""
    for name, value in scope["headers"]:
        if name == b"accept" and b"text/html" in value:
            body = _PAGE.format(title=html.escape(title), text=html.escape(text))
            return b"text/html; charset=utf-8", body.encode(errors="backslashreplace")
    return b"text/plain; charset=utf-8", f"{title}\n\n{text}\n".encode(errors="backslashreplace")


async def answer(send: Send, status: int, kind: bytes, body: bytes, *, prefix: str = "") -> None:
    """A whole response; ``prefix`` makes it the denial of a WebSocket."""
    headers = [
        (b"content-type", kind),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-store"),
    ]
    if status == 503:
        headers.append((b"retry-after", b"1"))
    await send({"type": f"{prefix}http.response.start", "status": status, "headers": headers})
    await send({"type": f"{prefix}http.response.body", "body": body})


# ---- tracebacks --------------------------------------------------------------------------------


def with_tracebacks(app: ASGIApplication) -> ASGIApplication:
    """``app``, with a traceback for each 500 that the server would have to give in its place."""

    async def shown(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        held: Message | None = None
        started = False

        async def hold(message: Message) -> None:
            """The start goes with the first of the body: until then it can still be another."""
            nonlocal held, started
            if message["type"] == "http.response.start" and held is None and not started:
                held = message
                return
            if held is not None:
                first, held, started = held, None, True
                await send(first)
            await send(message)

        try:
            await app(scope, receive, hold)
        except Exception as error:
            if not started:
                text = "".join(traceback.format_exception(error)).rstrip()
                await answer(send, 500, *page(scope, "500 Internal Server Error", text))
            raise
        if held is not None:
            await send(held)

    return shown


# ---- the stand-in ------------------------------------------------------------------------------


async def stand_in(scope: Scope, receive: Receive, send: Send) -> None:
    """An application that tells why there is no other; the reason is the process's argument."""
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return
    shown = page(scope, "503 the application cannot be served", sys.argv[1])
    if scope["type"] == "http":
        await answer(send, 503, *shown)
        return
    await receive()
    await answer(send, 503, *shown, prefix="websocket.")
