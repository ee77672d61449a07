"""103 (Early Hints): what the page needs is fetched while the page is still in the making.

    hyperserver examples.early_hints:app

    curl -v http://127.0.0.1:8000/    shows the 103, then, a moment later, the page

The extension is there on HTTP/1.1 and HTTP/2. HTTP/1.0 knows no interim responses, so there it is
not in the scope. Browsers act on hints over HTTP/2, which they speak over TLS: add --dev-tls.
"""

import anyio

STYLE = b"body { font-family: sans-serif; margin: 4em; color: #235 }\n"
PAGE = b"""<!doctype html>
<title>Early hints</title>
<link rel="stylesheet" href="/style.css">
<p>The style was asked for before this page was ready.</p>
"""


async def app(scope, receive, send):
    assert scope["type"] == "http"
    if scope["path"] == "/style.css":
        await respond(send, b"text/css; charset=utf-8", STYLE)
        return
    if "http.response.early_hint" in scope["extensions"]:
        # Each link becomes a Link field of the 103. There may be several of these, up to the
        # first body message: then the final response is on its way.
        links = [b"</style.css>; rel=preload; as=style"]
        await send({"type": "http.response.early_hint", "links": links})
    await anyio.sleep(0.5)  # asking a database, say
    await respond(send, b"text/html; charset=utf-8", PAGE)


async def respond(send, media_type, content):
    headers = [(b"content-type", media_type)]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": content})
