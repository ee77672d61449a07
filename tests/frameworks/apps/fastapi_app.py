"""FastAPI, as anyone would write it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import anyio
from fastapi import (
    BackgroundTasks,
    Depends,
    FastAPI,
    File,
    Form,
    HTTPException,
    Request,
    UploadFile,
    WebSocket,
    WebSocketDisconnect,
)
from fastapi.responses import PlainTextResponse, StreamingResponse
from pydantic import BaseModel

notes: dict[str, Any] = {}


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, str]]:
    yield {"greeting": "hello from the lifespan"}
    print("the lifespan has ended")


app = FastAPI(lifespan=lifespan)


class Order(BaseModel):
    name: str
    count: int = 1


@app.get("/json")
@app.post("/json")
async def json(request: Request) -> dict[str, Any]:
    return {"method": request.method, "query": dict(request.query_params)}


@app.get("/items/{number}")
async def item(number: int, request: Request) -> dict[str, Any]:
    return {"item": number, "path": request.url.path}


@app.post("/orders")
async def order(order: Order) -> Order:
    return Order(name=order.name.upper(), count=order.count + 1)


@app.get("/threads")
def in_a_thread() -> dict[str, str]:
    return {"where": "thread"}


async def resource(key: str = "") -> AsyncIterator[str]:
    try:
        yield "resource"
    finally:
        notes[key] = "released"


@app.get("/depends", response_class=PlainTextResponse)
async def depends(found: Annotated[str, Depends(resource)]) -> str:
    return found


@app.get("/stream")
async def stream() -> StreamingResponse:
    async def lines() -> AsyncIterator[str]:
        for number in range(5):
            yield f"line {number}\n"
            await anyio.sleep(0.01)

    return StreamingResponse(lines(), media_type="text/plain")


@app.get("/events")
async def events(key: str) -> StreamingResponse:
    async def ticks() -> AsyncIterator[str]:
        try:
            while True:
                yield "data: tick\n\n"
                await anyio.sleep(0.02)
        finally:
            notes[key] = "ended"

    return StreamingResponse(ticks(), media_type="text/event-stream")


@app.get("/wait")
async def wait(request: Request, key: str) -> None:
    notes[key] = "waiting"
    with anyio.fail_after(20):
        while not await request.is_disconnected():
            await anyio.sleep(0.01)
    notes[key] = "disconnected"


@app.post("/upload")
async def upload(
    file: Annotated[UploadFile, File()], note: Annotated[str, Form()]
) -> dict[str, Any]:
    return {"name": file.filename, "size": len(await file.read()), "note": note}


@app.post("/body")
async def body(request: Request) -> dict[str, int]:
    return {"size": len(await request.body())}


@app.get("/background", response_class=PlainTextResponse)
async def background(key: str, tasks: BackgroundTasks) -> str:
    async def work() -> None:
        await anyio.sleep(0.1)
        notes[key] = "done"

    tasks.add_task(work)
    return "begun"


@app.get("/fail")
async def fail() -> None:
    raise RuntimeError("on purpose")


@app.get("/state", response_class=PlainTextResponse)
async def state(request: Request) -> str:
    return str(request.state.greeting)


@app.get("/note", response_class=PlainTextResponse)
async def note(key: str) -> str:
    return str(notes.get(key, ""))


@app.get("/push", response_class=PlainTextResponse)
async def push(request: Request) -> str:
    await request.send_push_promise("/items/7")
    return "pushed"


@app.get("/hints", response_class=PlainTextResponse)
async def hints(request: Request) -> str:
    await request.send_early_hints("</style.css>; rel=preload; as=style")
    return "hinted"


@app.websocket("/echo")
async def echo(websocket: WebSocket, key: str = "") -> None:
    await websocket.accept()
    await websocket.send_json({"path": websocket.url.path})
    try:
        while True:
            message = await websocket.receive()
            if message["type"] == "websocket.disconnect":
                raise WebSocketDisconnect(message["code"])
            if message.get("text") is not None:
                await websocket.send_text(message["text"])
            else:
                await websocket.send_bytes(message["bytes"])
    except WebSocketDisconnect as left:
        notes[key] = f"left with {left.code}"


@app.websocket("/deny")
async def deny(websocket: WebSocket) -> None:
    raise HTTPException(401, "not you")
