"""Files: the server sends them, by sendfile where it can, and never on the event loop.

    hyperserver examples.pathsend:app

    curl http://127.0.0.1:8000/hello.py                    a file of this folder
    curl -r 0-99 http://127.0.0.1:8000/hello.py            a part of one

A whole file needs its path only (http.response.pathsend, on every version of HTTP). Parts, or
files between other bytes, need an open one (http.response.zerocopysend, on HTTP/1 without TLS);
where that is not offered, they are read here and sent as bodies.
"""

import re
from email.utils import formatdate
from pathlib import Path

import anyio

FOLDER = Path(__file__).parent
CHUNK = 65_536


async def app(scope, receive, send):
    assert scope["type"] == "http"
    name = scope["path"].removeprefix("/")
    path = FOLDER / name
    # A name and nothing else: neither "..", nor a folder, nor what begins with a dot.
    if not re.fullmatch(r"[a-z_]+\.py", name) or not await anyio.Path(path).is_file():
        await send({"type": "http.response.start", "status": 404, "headers": []})
        await send({"type": "http.response.body", "body": b"Not found\n"})
        return

    found = await anyio.Path(path).stat()
    headers = [
        (b"content-type", b"text/x-python; charset=utf-8"),
        (b"last-modified", formatdate(found.st_mtime, usegmt=True).encode()),
        (b"accept-ranges", b"bytes"),
    ]
    wanted = re.fullmatch(rb"bytes=(\d+)-(\d+)", dict(scope["headers"]).get(b"range", b""))
    if wanted is None:
        headers.append((b"content-length", b"%d" % found.st_size))
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.pathsend", "path": str(path)})
        return

    first, last = int(wanted[1]), min(int(wanted[2]), found.st_size - 1)
    if first > last:
        headers.append((b"content-range", b"bytes */%d" % found.st_size))
        await send({"type": "http.response.start", "status": 416, "headers": headers})
        await send({"type": "http.response.body"})
        return
    headers += [
        (b"content-range", b"bytes %d-%d/%d" % (first, last, found.st_size)),
        (b"content-length", b"%d" % (last + 1 - first)),
    ]
    await send({"type": "http.response.start", "status": 206, "headers": headers})
    await part(scope, send, path, first, last + 1 - first)


async def part(scope, send, path, offset, count):
    async with await anyio.open_file(path, "rb") as file:
        if "http.response.zerocopysend" in scope["extensions"]:
            # The server does not close it: that is for us to do when send() has returned.
            await send(
                {
                    "type": "http.response.zerocopysend",
                    "file": file.wrapped,
                    "offset": offset,
                    "count": count,
                }
            )
            return
        await file.seek(offset)
        while count and (data := await file.read(min(count, CHUNK))):
            count -= len(data)
            await send({"type": "http.response.body", "body": data, "more_body": count > 0})
