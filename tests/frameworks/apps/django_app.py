"""Django's ASGI handler in one module."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import django
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.urls import path

settings.configure(
    DEBUG=False,
    SECRET_KEY="for tests only",
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    LOGGING_CONFIG=None,
)
django.setup()

notes: dict[str, Any] = {}


async def json(request: HttpRequest) -> HttpResponse:
    return JsonResponse({"method": request.method, "query": request.GET.dict()})


async def item(request: HttpRequest, number: int) -> HttpResponse:
    return JsonResponse({"item": number, "path": request.path})


def in_a_thread(request: HttpRequest) -> HttpResponse:
    return JsonResponse({"where": "thread"})


async def stream(request: HttpRequest) -> StreamingHttpResponse:
    async def lines() -> AsyncIterator[str]:
        for number in range(5):
            yield f"line {number}\n"
            await asyncio.sleep(0.01)

    return StreamingHttpResponse(lines(), content_type="text/plain")


async def events(request: HttpRequest) -> StreamingHttpResponse:
    key = request.GET["key"]

    async def ticks() -> AsyncIterator[str]:
        try:
            while True:
                yield "data: tick\n\n"
                await asyncio.sleep(0.02)
        finally:
            notes[key] = "ended"

    return StreamingHttpResponse(ticks(), content_type="text/event-stream")


async def wait(request: HttpRequest) -> HttpResponse:
    """Django cancels the view of a client that has left."""
    key = request.GET["key"]
    notes[key] = "waiting"
    try:
        await asyncio.sleep(20)
    except asyncio.CancelledError:
        notes[key] = "disconnected"
        raise
    return HttpResponse("nobody left")


def upload(request: HttpRequest) -> HttpResponse:
    file = request.FILES["file"]
    return JsonResponse({"name": file.name, "size": file.size, "note": request.POST["note"]})


def body(request: HttpRequest) -> HttpResponse:
    size = 0
    while chunk := request.read(65_536):
        size += len(chunk)
    return JsonResponse({"size": size})


async def fail(request: HttpRequest) -> HttpResponse:
    raise RuntimeError("on purpose")


async def note(request: HttpRequest) -> HttpResponse:
    return HttpResponse(str(notes.get(request.GET["key"], "")))


urlpatterns = [
    path("json", json),
    path("items/<int:number>", item),
    path("threads", in_a_thread),
    path("stream", stream),
    path("events", events),
    path("wait", wait),
    path("upload", upload),
    path("body", body),
    path("fail", fail),
    path("note", note),
]
app = get_asgi_application()
