"""JSON endpoints of frameworks: what a server's speed is worth in an application."""

from __future__ import annotations

from fastapi import FastAPI
from pydantic import BaseModel
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route


class Item(BaseModel):
    id: int
    name: str
    price: float
    tags: list[str]


async def _item(request: Request) -> JSONResponse:
    number = int(request.path_params["number"])
    return JSONResponse({"id": number, "name": "spam", "price": 9.5, "tags": ["a", "b"]})


starlette_app = Starlette(routes=[Route("/items/{number:int}", _item)])
fastapi_app = FastAPI()


@fastapi_app.get("/items/{number}")
async def item(number: int) -> Item:
    return Item(id=number, name="spam", price=9.5, tags=["a", "b"])
