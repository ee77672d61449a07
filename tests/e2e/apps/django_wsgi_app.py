"""Django's WSGI handler in one module."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import django
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import FileResponse, HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.urls import path

settings.configure(
    DEBUG=False,
    SECRET_KEY="for tests only",
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    LOGGING_CONFIG=None,
)
django.setup()


def item(request: HttpRequest, number: int) -> HttpResponse:
    about = {"item": number, "path": request.path, "script": request.META["SCRIPT_NAME"]}
    return JsonResponse({**about, "query": request.GET.dict(), "secure": request.is_secure()})


def stream(request: HttpRequest) -> StreamingHttpResponse:
    def lines() -> Iterator[str]:
        for number in range(5):
            yield f"line {number}\n"

    return StreamingHttpResponse(lines(), content_type="text/plain")


def upload(request: HttpRequest) -> HttpResponse:
    file = request.FILES["file"]
    return JsonResponse({"name": file.name, "size": file.size, "field": request.POST["field"]})


def file(request: HttpRequest) -> FileResponse:
    return FileResponse(Path(__file__).open("rb"))


urlpatterns = [
    path("items/<int:number>", item),
    path("stream", stream),
    path("upload", upload),
    path("file", file),
]
app = get_wsgi_application()
