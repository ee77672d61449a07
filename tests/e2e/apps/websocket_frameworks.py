"""A WebSocket route of each framework, as anyone would write it; each made by its own factory.

``/echo`` greets, then echoes text and bytes; ``/deny`` refuses before it accepts. FastAPI reads
annotations, which have to be more than strings for that: they name what is imported within.
"""

from typing import Any


def make_starlette() -> Any:
    from starlette.applications import Starlette
    from starlette.endpoints import WebSocketEndpoint
    from starlette.responses import PlainTextResponse
    from starlette.routing import WebSocketRoute
    from starlette.websockets import WebSocket

    class Echo(WebSocketEndpoint):
        async def on_connect(self, websocket: WebSocket) -> None:
            await websocket.accept(headers=[(b"x-framework", b"starlette")])
            await websocket.send_json({"path": websocket.url.path})

        async def on_receive(self, websocket: WebSocket, data: Any) -> None:
            if isinstance(data, str):
                await websocket.send_text(data)
            else:
                await websocket.send_bytes(data)

        async def decode(self, websocket: WebSocket, message: Any) -> Any:
            data = message.get("bytes")
            return message["text"] if data is None else data

    async def deny(websocket: WebSocket) -> None:
        await websocket.send_denial_response(PlainTextResponse("not you", status_code=401))

    return Starlette(routes=[WebSocketRoute("/echo", Echo), WebSocketRoute("/deny", deny)])


def make_fastapi() -> Any:
    import fastapi
    from starlette.websockets import WebSocketDisconnect

    app = fastapi.FastAPI()

    async def echo(websocket: fastapi.WebSocket) -> None:
        await websocket.accept()
        await websocket.send_json({"path": websocket.url.path})
        try:
            while True:
                message = await websocket.receive()
                if message["type"] == "websocket.disconnect":
                    return
                if message["text"] is not None:
                    await websocket.send_text(message["text"])
                else:
                    await websocket.send_bytes(message["bytes"])
        except WebSocketDisconnect:
            pass

    async def deny(websocket: fastapi.WebSocket) -> None:
        raise fastapi.HTTPException(401, "not you")

    app.add_api_websocket_route("/echo", echo)
    app.add_api_websocket_route("/deny", deny)
    return app


def make_quart() -> Any:
    from quart import Quart

    return _quart(Quart(__name__))


def make_quart_trio() -> Any:
    from quart_trio import QuartTrio

    return _quart(QuartTrio(__name__))


def _quart(app: Any) -> Any:
    from quart import abort, websocket

    @app.websocket("/echo")
    async def echo() -> None:
        await websocket.send_json({"path": websocket.path})
        while True:
            await websocket.send(await websocket.receive())

    @app.websocket("/deny")
    async def deny() -> None:
        abort(401, "not you")

    return app
