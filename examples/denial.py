"""Denial: a WebSocket that is not accepted gets an answer that says why.

    hyperserver examples.denial:app

    python -m websockets 'ws://127.0.0.1:8000/?token=letmein'    echoes
    curl -i -H 'Connection: upgrade' -H 'Upgrade: websocket' -H 'Sec-WebSocket-Version: 13' \\
         -H 'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==' http://127.0.0.1:8000/

Without the extension an application can only close, which the client sees as a bare 403.
"""

import json
from urllib.parse import parse_qs


async def app(scope, receive, send):
    assert scope["type"] == "websocket"
    await receive()  # websocket.connect
    query = parse_qs(scope["query_string"])
    if query.get(b"token") == [b"letmein"]:
        await echo(receive, send)
    elif "websocket.http.response" in scope["extensions"]:
        await deny(send)
    else:
        await send({"type": "websocket.close"})


async def deny(send):
    content = json.dumps({"error": "a token is needed", "see": "/login"}).encode()
    headers = [(b"content-type", b"application/json"), (b"www-authenticate", b"Token")]
    await send({"type": "websocket.http.response.start", "status": 401, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": content})


async def echo(receive, send):
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message["text"], "bytes": message["bytes"]})
