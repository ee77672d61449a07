"""The routes of a Quart application; on asyncio or, through quart-trio, on trio."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import anyio
from quart import Quart, Response, abort, current_app, make_push_promise, request, websocket

notes: dict[str, Any] = {}


def routes(app: Quart) -> Quart:
    """Give ``app`` what the tests ask for."""

    @app.before_serving
    async def begin() -> None:
        current_app.config["GREETING"] = "hello from the lifespan"

    @app.after_serving
    async def end() -> None:
        print("the lifespan has ended")

    @app.route("/json", methods=["GET", "POST"])
    async def json() -> dict[str, Any]:
        return {"method": request.method, "query": dict(request.args)}

    @app.route("/items/<int:number>")
    async def item(number: int) -> dict[str, Any]:
        return {"item": number, "path": request.path}

    @app.route("/stream")
    async def stream() -> Response:
        async def lines() -> AsyncIterator[str]:
            for number in range(5):
                yield f"line {number}\n"
                await anyio.sleep(0.01)

        return Response(lines(), mimetype="text/plain")

    @app.route("/events")
    async def events() -> Response:
        key = request.args["key"]

        async def ticks() -> AsyncIterator[str]:
            try:
                while True:
                    yield "data: tick\n\n"
                    await anyio.sleep(0.02)
            finally:
                notes[key] = "ended"

        response = Response(ticks(), mimetype="text/event-stream")
        response.timeout = None
        return response

    @app.route("/wait")
    async def wait() -> str:
        """Quart cancels the handler of a client that has left."""
        key = request.args["key"]
        notes[key] = "waiting"
        try:
            await anyio.sleep(20)
        except anyio.get_cancelled_exc_class():
            notes[key] = "disconnected"
            raise
        return "nobody left"

    @app.route("/upload", methods=["POST"])
    async def upload() -> dict[str, Any]:
        file = (await request.files)["file"]
        form = await request.form
        return {"name": file.filename, "size": len(file.read()), "note": form["note"]}

    @app.route("/body", methods=["POST"])
    async def body() -> dict[str, int]:
        size = 0
        async for chunk in request.body:
            size += len(chunk)
        return {"size": size}

    @app.route("/background")
    async def background() -> str:
        key = request.args["key"]

        async def work() -> None:
            await anyio.sleep(0.1)
            notes[key] = "done"

        app.add_background_task(work)
        return "begun"

    @app.route("/fail")
    async def fail() -> str:
        raise RuntimeError("on purpose")

    @app.route("/state")
    async def state() -> str:
        return str(current_app.config["GREETING"])

    @app.route("/note")
    async def note() -> str:
        return str(notes.get(request.args["key"], ""))

    @app.route("/push")
    async def push() -> str:
        await make_push_promise("/items/7")
        return "pushed"

    @app.route("/hints")
    async def hints() -> str:
        return "hinted"

    @app.websocket("/echo")
    async def echo() -> None:
        """Quart cancels the handler of a client that has left, or has its receive() raise."""
        key = websocket.args.get("key", "")
        await websocket.send_json({"path": websocket.path})
        try:
            while True:
                await websocket.send(await websocket.receive())
        finally:
            notes[key] = "left"

    @app.websocket("/deny")
    async def deny() -> None:
        abort(401, "not you")

    app.asgi_app = hinting(app.asgi_app)  # type: ignore[method-assign] # as Quart documents it
    return app


def hinting(app: Any) -> Any:
    """Middleware that hints at what a page needs, before the page is asked for."""

    async def hinted(scope: Any, receive: Any, send: Any) -> None:
        if scope.get("path") == "/hints" and "http.response.early_hint" in scope["extensions"]:
            links = [b"</style.css>; rel=preload; as=style"]
            await send({"type": "http.response.early_hint", "links": links})
        await app(scope, receive, send)

    return hinted
