"""A WSGI application that shows what it is given, and notes what becomes of it."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs
from wsgiref.validate import validator

BLOCK = bytes(range(256)) * 256

notes: dict[str, dict[str, Any]] = {}
running: list[int] = []


class Blocks:
    """So many blocks, and a note when they are closed."""

    def __init__(self, count: int, note: dict[str, Any]) -> None:
        self._count = count
        self._note = note
        note["given"] = 0

    def __iter__(self) -> Iterator[bytes]:
        for _ in range(self._count):
            self._note["given"] += 1
            yield BLOCK

    def close(self) -> None:
        self._note["closed"] = self._note.get("closed", 0) + 1


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
    query = {name: values[0] for name, values in parse_qs(environ["QUERY_STRING"]).items()}
    note = notes.setdefault(query["key"], {}) if "key" in query else {}
    path = environ["PATH_INFO"]
    if path == "/download":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return Blocks(int(query["blocks"]), note)
    if path == "/file":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return environ["wsgi.file_wrapper"](Path(__file__).open("rb"), 512)
    if path == "/fail":
        raise ValueError("on purpose")
    answer: Any = {"path": path}
    if path == "/environ":
        answer = {name: value for name, value in environ.items() if isinstance(value, str | bool)}
    elif path == "/report":
        answer = note
    elif path == "/upload":
        answer = upload(environ["wsgi.input"], int(query.get("read", 65_536)), note)
    elif path == "/turn":
        answer = turn()
    elif path == "/hang":
        note["began"] = True
        time.sleep(1000)
    elif path == "/write":
        write = start_response("200 OK", [("Content-Type", "text/plain")])
        write(b"one ")
        write(b"two ")
        return [b"three"]
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(answer).encode()]


def upload(body: Any, block: int, note: dict[str, Any]) -> dict[str, Any]:
    digest = hashlib.sha256()
    size = 0
    try:
        while data := body.read(block):
            size += len(data)
            digest.update(data)
            note["size"] = size
    except OSError as error:
        note["error"] = str(error)
        raise
    return {"size": size, "digest": digest.hexdigest()}


def turn() -> dict[str, Any]:
    """How many others have theirs at the same time."""
    running.append(1)
    most = len(running)
    time.sleep(0.005)
    running.pop()
    return {"most": most, "thread": threading.get_ident()}


validated = validator(app)
