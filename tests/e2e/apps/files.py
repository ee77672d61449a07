"""Sends files as its queries say, for any event loop, and tells what became of them.

``/path?path=`` and ``/zero?path=`` send one; the keys of ``zero`` are those of the message. What a
handler notes under ``key`` is shown by ``/report?key=``.
"""

from __future__ import annotations

import gc
import json
import time
from collections import defaultdict
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import anyio
from starlette.responses import FileResponse

notes: defaultdict[str, dict[str, Any]] = defaultdict(dict)


async def start(send: Any, *headers: tuple[bytes, bytes], **more: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": headers, **more})


async def body(send: Any, data: bytes = b"", *, more: bool = False) -> None:
    await send({"type": "http.response.body", "body": data, "more_body": more})


def length(query: dict[str, str]) -> list[tuple[bytes, bytes]]:
    return [(b"content-length", query["length"].encode())] if "length" in query else []


async def path(query: dict[str, str], send: Any) -> None:
    status = int(query.get("status", "200"))
    trailers = "trailers" in query
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": length(query),
            "trailers": trailers,
        }
    )
    await send({"type": "http.response.pathsend", "path": query["path"]})
    if trailers:
        await send({"type": "http.response.trailers", "headers": [(b"x-end", b"yes")]})


async def zero(query: dict[str, str], send: Any) -> None:
    """All at once."""
    message: dict[str, Any] = {"type": "http.response.zerocopysend"}
    message.update({key: int(query[key]) for key in ("offset", "count") if key in query})
    with Path(query["path"]).open("rb") as file:
        file.read(int(query.get("read", "0")))
        await start(send, *length(query))
        await send({**message, "file": file if "object" in query else file.fileno()})
        notes[query.get("key", "")]["position"] = file.tell()
        notes[query.get("key", "")]["closed"] = file.closed


async def mixed(query: dict[str, str], send: Any) -> None:
    """Bodies and parts of a file in turns, the second part from where the first ended."""
    with Path(query["path"]).open("rb", buffering=0) as file:
        zero = {"type": "http.response.zerocopysend", "file": file, "more_body": True}
        await start(send, *length(query))
        await body(send, b"<", more=True)
        await send({**zero, "count": 100_000})
        await body(send, b"|", more=True)
        await send({**zero, "count": 5})
        await body(send, b"|", more=True)
        await send({**zero, "count": 200_000, "offset": 1})
        await send({**zero, "count": 0})
        await body(send, b">")


async def behind(query: dict[str, str], send: Any) -> None:
    """A file behind bodies that wait for the client still."""
    with Path(query["path"]).open("rb") as file:
        zero = {"type": "http.response.zerocopysend", "file": file, "more_body": True}
        await start(send, *length(query))
        await body(send, bytes(4_000_000), more=True)  # more than the kernel takes at once
        for _ in range(60):
            await body(send, b"x" * 60_000, more=True)
            await send({**zero, "offset": 0, "count": 140_000})
        await body(send)


async def both(query: dict[str, str], send: Any) -> None:
    """Two tasks that send at the same time."""
    begun = anyio.Event()

    async def first(message: dict[str, Any]) -> None:
        begun.set()
        await send(message)

    with Path(query["path"]).open("rb") as file:
        zero = {"type": "http.response.zerocopysend", "file": file.fileno(), "offset": 0}
        await start(send)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(first, {**zero, "more_body": True})
            await begun.wait()
            await body(send, b"between", more=True)
        await send(zero)


async def give_up(query: dict[str, str], send: Any) -> None:
    """Stops waiting for a client that takes nothing, and says something else."""
    note = notes[query["key"]]
    await start(send)
    with anyio.move_on_after(0.3):
        await send({"type": "http.response.pathsend", "path": query["path"]})
    note["gave up"] = True
    try:
        await body(send, b"else")
    except OSError as error:
        note["send"] = type(error).__name__


async def noting(query: dict[str, str], send: Any) -> None:
    """As ``path``, with a note of how it ended."""
    note = notes[query["key"]]
    note["begun"] = True
    try:
        await path(query, send)
    except BaseException as error:
        note["raised"] = type(error).__name__
        note["message"] = str(error)
        raise
    note["sent"] = True


async def lag(query: dict[str, str], send: Any) -> None:
    """The longest that the event loop has kept a task waiting within some seconds."""
    worst = 0.0
    end = time.monotonic() + float(query["seconds"])
    while (before := time.monotonic()) < end:
        await anyio.sleep(0.001)
        worst = max(worst, time.monotonic() - before - 0.001)
    await start(send)
    await body(send, str(worst).encode())


async def report(query: dict[str, str], send: Any) -> None:
    gc.collect()
    await start(send)
    await body(send, json.dumps(notes[query["key"]]).encode())


HANDLERS = {
    "/path": path,
    "/zero": zero,
    "/mixed": mixed,
    "/behind": behind,
    "/both": both,
    "/give-up": give_up,
    "/noting": noting,
    "/lag": lag,
    "/report": report,
}


async def extensions(scope: dict[str, Any], send: Any) -> None:
    await start(send)
    await body(send, json.dumps(sorted(scope["extensions"])).encode())


async def message(scope: dict[str, Any], query: dict[str, str], send: Any) -> None:
    """Sends what may not have been offered; where it raises, nothing else has changed."""
    with Path(__file__).open("rb") as file:
        extra = {"path": "/", "file": file, "count": 0, "more_body": True, "links": [b"</>"]}
        await start(send)
        try:
            await send({**extra, "type": query["type"]})
        except Exception as error:
            await body(send, type(error).__name__.encode())
        else:
            await body(send, b"taken")


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] != "http":
        raise NotImplementedError
    query = dict(parse_qsl(scope["query_string"].decode()))
    if scope["path"] == "/extensions":
        await extensions(scope, send)
    elif scope["path"] == "/message":
        await message(scope, query, send)
    elif scope["path"] == "/starlette":
        await FileResponse(query["path"])(scope, receive, send)
    else:
        await HANDLERS[scope["path"]](query, send)
