"""Loading all that the configuration names as applications (`app` and `[[mount]]`)."""

from __future__ import annotations

from dataclasses import replace

from hyperserver.asgi.dispatch import Dispatcher, Mounted
from hyperserver.asgi.types import Application, Receive, Scope, Send
from hyperserver.config.schema import Config
from hyperserver.config.schema_apps import Mount
from hyperserver.runtime.load import adapt, load_app


def load_apps(app: Application | str | None, config: Config) -> Application:
    """The application that serves everything: ``app``, or what hands on to it and to the mounts.

    ``app`` may be one, or the name of one. Raises AppError.
    """
    if isinstance(app, str):
        app = load_app(app, config.app_dir, factory=config.factory)
    mounts = []
    if app is not None:
        if not config.mount:
            return app
        mounts.append(Mounted(adapt(app, config), "/"))
    for mount in config.mount:
        own = of_mount(config, mount)
        loaded = adapt(load_app(mount.app, own.app_dir, factory=own.factory), own)
        made = Mounted(loaded, mount.place, mount.path, mount.host, relative=mount.relative)
        mounts.append(made)
    return Dispatcher(mounts, nothing_here)


def of_mount(config: Config, mount: Mount) -> Config:
    """The configuration as it would be if the mount's application were the only one."""
    return replace(
        config,
        app=mount.app,
        app_dir=mount.app_dir or config.app_dir,
        factory=mount.factory,
        interface=mount.interface,
        mount=(),
    )


_BODY = b"404 Not Found: no application is mounted here\n"
_HEADERS = [
    (b"content-type", b"text/plain; charset=utf-8"),
    (b"content-length", b"%d" % len(_BODY)),
]


async def nothing_here(scope: Scope, receive: Receive, send: Send) -> None:
    """404, also in place of a WebSocket."""
    prefix = ""
    if scope["type"] == "websocket":
        prefix = "websocket."
        await receive()
    await send({"type": f"{prefix}http.response.start", "status": 404, "headers": _HEADERS})
    await send({"type": f"{prefix}http.response.body", "body": _BODY})
