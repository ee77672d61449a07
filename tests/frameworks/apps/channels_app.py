"""Django with Channels in one module: Django's views, and a consumer for WebSockets."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs

from channels.generic.websocket import AsyncJsonWebsocketConsumer, AsyncWebsocketConsumer
from channels.routing import ProtocolTypeRouter, URLRouter
from django.urls import path, re_path

from tests.frameworks.apps.django_app import app as django_app
from tests.frameworks.apps.django_app import notes


class Echo(AsyncJsonWebsocketConsumer):
    async def connect(self) -> None:
        await self.accept()
        await self.send_json({"path": self.scope["path"]})

    async def receive(
        self, text_data: str | None = None, bytes_data: bytes | None = None, **kwargs: Any
    ) -> None:
        await self.send(text_data=text_data, bytes_data=bytes_data)

    async def disconnect(self, code: int) -> None:
        query = parse_qs(self.scope["query_string"].decode())
        notes[query.get("key", [""])[0]] = f"left with {code}"


class Deny(AsyncWebsocketConsumer):
    async def connect(self) -> None:
        await self.close()


app = ProtocolTypeRouter(
    {
        "http": django_app,
        "websocket": URLRouter([path("echo", Echo.as_asgi()), re_path("", Deny.as_asgi())]),
    }
)
