"""A page that brings its resources along: early hints and server push, in plain ASGI.

    hyperserver examples.push:app

Both need a client that takes them. Of those that are at hand:

    nghttp -ans http://127.0.0.1:8000/     takes pushes, and marks them with a *
    curl -v http://127.0.0.1:8000/         shows the 103 (Early Hints), over HTTP/1.1, too

Browsers have given up push, but take early hints over TLS.
"""

# What the page needs: path -> (media type, what a <link> calls it, content)
RESOURCES = {
    "/style.css": (
        b"text/css; charset=utf-8",
        b"style",
        b"body { font-family: sans-serif; margin: 4em; color: #235 }\n",
    ),
    "/script.js": (
        b"text/javascript; charset=utf-8",
        b"script",
        b'document.querySelector("p").textContent += " The script has run.";\n',
    ),
    "/logo.svg": (
        b"image/svg+xml",
        b"image",
        b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 4 4"><circle r="4"/></svg>\n',
    ),
}

PAGE = b"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>Push</title>
<link rel="stylesheet" href="/style.css">
<script src="/script.js" defer></script>
</head>
<body>
<img src="/logo.svg" alt="a circle">
<p>Style, script and logo were on their way before you could ask for them.</p>
</body>
</html>
"""


async def app(scope, receive, send):
    assert scope["type"] == "http"
    if scope["path"] == "/":
        await page(scope, send)
    elif scope["path"] in RESOURCES:
        # A promised request arrives here like any other: nothing tells it from one that the
        # client has sent, so a resource is written once, pushed or not.
        media_type, _, content = RESOURCES[scope["path"]]
        await respond(send, 200, media_type, content)
    else:
        await respond(send, 404, b"text/plain; charset=utf-8", b"Not found\n")


async def page(scope, send):
    # 103 (Early Hints): the client may fetch these while the page is still in the making.
    if "http.response.early_hint" in scope["extensions"]:
        links = [
            b"<%s>; rel=preload; as=%s" % (path.encode(), purpose)
            for path, (_, purpose, _) in RESOURCES.items()
        ]
        await send({"type": "http.response.early_hint", "links": links})

    # A push answers what has not been asked yet. It is promised before the page mentions the
    # resource, or the client would have asked by then. The extension is there only if the
    # connection is HTTP/2 and its client takes pushes, so every other one just gets the page.
    if "http.response.push" in scope["extensions"]:
        for path in RESOURCES:
            await send({"type": "http.response.push", "path": path, "headers": []})

    await respond(send, 200, b"text/html; charset=utf-8", PAGE)


async def respond(send, status, media_type, content):
    headers = [(b"content-type", media_type)]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})
