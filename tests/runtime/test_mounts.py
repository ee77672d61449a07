"""Loading what the configuration mounts."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest

from hyperserver.asgi.dispatch import Dispatcher
from hyperserver.config import Config, Mount
from hyperserver.errors import AppError
from hyperserver.runtime.load import adapt
from hyperserver.runtime.mounts import load_apps, nothing_here


async def main(scope: Any, receive: Any, send: Any) -> None: ...


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A directory with ``mounted_api``, of which the import leaves nothing behind."""
    (tmp_path / "mounted_api.py").write_text(
        "async def app(scope, receive, send): ...\ndef make():\n    return app\n"
    )
    monkeypatch.setattr(sys, "path", sys.path.copy())
    monkeypatch.delitem(sys.modules, "mounted_api", raising=False)
    return str(tmp_path)


def test_without_mounts_the_application_is_itself() -> None:
    assert load_apps(main, Config()) is main
    assert load_apps(f"{__name__}:main", Config()) is not None


def test_mounts_of_every_kind(folder: str) -> None:
    config = Config(
        mount=(
            Mount("mounted_api:app", "/api", app_dir=folder),
            Mount("mounted_api:make", host="a.test", app_dir=folder, factory=True, relative=False),
        )
    )
    app = load_apps(main, config)
    assert isinstance(app, Dispatcher)
    found = [(m.name, m.path, m.host is None, m.relative) for m in app.mounts]
    assert found == [("/", "", True, True), ("/api", "/api", True, True), ("a.test/", "", False, False)]  # fmt: skip
    assert app.mounts[1].app is app.mounts[2].app
    alone = load_apps(None, config)
    assert isinstance(alone, Dispatcher)
    assert [m.name for m in alone.mounts] == ["/api", "a.test/"]


def test_each_is_served_in_its_own_style(folder: str) -> None:
    """Whatever ``interface`` says of the main application."""
    (Path(folder) / "mounted_api.py").write_text(
        "def old(environ, start_response): return []\nasync def app(scope, receive, send): ...\n"
    )
    config = Config(
        interface="asgi3",
        mount=(
            Mount("mounted_api:old", "/old", app_dir=folder),
            Mount("mounted_api:app", "/new", app_dir=folder, interface="asgi3"),
        ),
    )
    dispatcher = load_apps(main, config)
    assert isinstance(dispatcher, Dispatcher)
    assert [type(m.app).__name__ for m in dispatcher.mounts] == ["function", "WSGI", "function"]
    assert adapt(dispatcher, config) is dispatcher
    wrong = Config(mount=(Mount("mounted_api:old", "/", app_dir=folder, interface="asgi2"),))
    with pytest.raises(AppError, match=r"'mounted_api:old'.*`interface` = \"asgi2\" is not for it"):
        load_apps(None, wrong)


def test_what_cannot_be_loaded_is_named(folder: str) -> None:
    with pytest.raises(AppError, match="cannot load 'mounted_api:none'"):
        load_apps(main, Config(mount=(Mount("mounted_api:none", "/api", app_dir=folder),)))


@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_nothing_here(kind: str) -> None:
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(nothing_here({"type": kind}, receive, send))
    start, body = sent
    assert start["status"] == 404
    assert dict(start["headers"])[b"content-length"] == b"%d" % len(body["body"])
    prefix = "" if kind == "http" else "websocket."
    assert [m["type"] for m in sent] == [
        f"{prefix}http.response.start",
        f"{prefix}http.response.body",
    ]
