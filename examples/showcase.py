"""A tour of HTTP in one plain ASGI application, for any event loop.

    hyperserver examples.showcase:app

GET  /            this list
GET  /hello       a short response
GET  /stream      ten lines, one every half second
GET  /events      server-sent events until the client leaves
GET  /download    ?size=BYTES of zeros, streamed (default 1 MB)
POST /upload      counts what is sent, streaming
POST /echo        sends the body back as it arrives
GET  /scope       the connection scope, as JSON
GET  /trailers    a checksum in a trailer, if the client sends TE: trailers
"""

import hashlib
import json
from urllib.parse import parse_qs

import anyio

CHUNK = 65_536


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
    elif scope["type"] == "http":
        handler = ROUTES.get((scope["method"].replace("HEAD", "GET"), scope["path"]), not_found)
        await handler(scope, receive, send)


async def lifespan(receive, send):
    while True:
        message = await receive()
        await send({"type": message["type"] + ".complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def start(send, status=200, content_type=b"text/plain; charset=utf-8", headers=(), **more):
    fields = [(b"content-type", content_type), *headers]
    await send({"type": "http.response.start", "status": status, "headers": fields, **more})


async def body(send, data=b"", more_body=False):
    await send({"type": "http.response.body", "body": data, "more_body": more_body})


async def index(scope, receive, send):
    await start(send)
    await body(send, __doc__.encode())


async def hello(scope, receive, send):
    await start(send)
    await body(send, b"Hello, world!\n")


async def stream(scope, receive, send):
    await start(send)
    for number in range(10):
        await body(send, b"line %d\n" % number, more_body=True)
        await anyio.sleep(0.5)
    await body(send)


async def events(scope, receive, send):
    """Ends when the client leaves: ``send`` raises an OSError then."""
    await start(send, content_type=b"text/event-stream")
    number = 0
    while True:
        await body(send, b"data: %d\n\n" % number, more_body=True)
        number += 1
        await anyio.sleep(1)


async def download(scope, receive, send):
    query = parse_qs(scope["query_string"].decode())
    size = int(query.get("size", ["1000000"])[0])
    length = (b"content-length", b"%d" % size)
    await start(send, content_type=b"application/octet-stream", headers=[length])
    zeros = bytes(CHUNK)
    while size > CHUNK:
        await body(send, zeros, more_body=True)
        size -= CHUNK
    await body(send, zeros[:size])


async def upload(scope, receive, send):
    size = 0
    digest = hashlib.sha256()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        size += len(message["body"])
        digest.update(message["body"])
        if not message["more_body"]:
            break
    await start(send)
    await body(send, b"%d bytes, sha256 %b\n" % (size, digest.hexdigest().encode()))


async def echo(scope, receive, send):
    await start(send, content_type=b"application/octet-stream")
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        more = message["more_body"]
        await body(send, message["body"], more_body=more)


async def show_scope(scope, receive, send):
    shown = {key: value for key, value in scope.items() if key != "state"}
    text = json.dumps(shown, indent=2, default=lambda value: value.decode("latin-1"))
    await start(send, content_type=b"application/json")
    await body(send, text.encode() + b"\n")


async def trailers(scope, receive, send):
    text = b"the checksum follows\n"
    await start(send, headers=[(b"trailer", b"digest")], trailers=True)
    await body(send, text)
    digest = hashlib.sha256(text).hexdigest().encode()
    await send({"type": "http.response.trailers", "headers": [(b"digest", b"sha-256=" + digest)]})


async def not_found(scope, receive, send):
    await start(send, 404)
    await body(send, b"not found\n")


ROUTES = {
    ("GET", "/"): index,
    ("GET", "/hello"): hello,
    ("GET", "/stream"): stream,
    ("GET", "/events"): events,
    ("GET", "/download"): download,
    ("POST", "/upload"): upload,
    ("POST", "/echo"): echo,
    ("GET", "/scope"): show_scope,
    ("GET", "/trailers"): trailers,
}
