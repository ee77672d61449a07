"""Trailers: fields that are known only when the body has been sent, such as its checksum.

    hyperserver examples.trailers:app

    curl -i -H 'TE: trailers' http://127.0.0.1:8000/    shows Content-Digest after the body
    nghttp -v -H 'TE: trailers' http://127.0.0.1:8000/  the same over HTTP/2

The extension is there on HTTP/1.1, where trailers follow on the last chunk, and on HTTP/2. Clients
that did not ask with "TE: trailers" are sent none; the application need not look.
"""

import base64
import hashlib


async def app(scope, receive, send):
    assert scope["type"] == "http"
    # Where it is not offered (HTTP/1.0), "trailers" in the start is a key that means nothing, and
    # messages after the last body are ignored. So no case needs another code path.
    await send(
        {
            "type": "http.response.start",
            "status": 200,
            # no Content-Length: in HTTP/1.1 it would leave no place for trailers
            "headers": [
                (b"content-type", b"text/plain; charset=utf-8"),
                (b"trailer", b"content-digest"),
            ],
            "trailers": True,
        }
    )
    digest = hashlib.sha256()
    for number in range(1, 11):
        line = b"line %d\n" % number
        digest.update(line)
        await send({"type": "http.response.body", "body": line, "more_body": True})
    await send({"type": "http.response.body"})
    value = b"sha-256=:%s:" % base64.b64encode(digest.digest())  # RFC 9530
    await send({"type": "http.response.trailers", "headers": [(b"content-digest", value)]})
