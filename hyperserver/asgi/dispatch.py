"""Several applications in one server: which of them a request is for (`[[mount]]`).

The path is compared as scopes have it, decoded, and nothing in it is resolved: "/a/../b" lies below
"/a". Paths end at a boundary: "/api" has "/api" and "/api/…", not "/apix". A mount extends
``root_path`` and leaves ``path`` whole (ASGI HTTP 2.5).
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Any

from hyperserver.asgi.types import ASGIApplication, Receive, Scope, Send
from hyperserver.protocol.hosts import HostNames, host_of


class Mounted:
    """An application and its place: a path ("/" is all of them), and a host (None is any).

    ``name`` is what people call it. ``state`` is its lifespan's namespace, None where it has none.
    """

    __slots__ = ("app", "below", "host", "name", "path", "rank", "relative", "state")

    def __init__(
        self,
        app: ASGIApplication,
        name: str,
        path: str = "/",
        host: str | None = None,
        *,
        relative: bool = True,
    ) -> None:
        self.app = app
        self.name = name
        self.path = path.removesuffix("/")
        self.below = self.path + "/"
        self.host = None if host is None else HostNames((host,))
        self.relative = relative
        self.state: dict[str, Any] | None = None
        #: Those with a lower one are asked first: of one host, then of many, then of any.
        self.rank = (2 if host is None else host[:2] == "*.", -len(self.path))


class Dispatcher:
    """The application that hands requests on to those of ``mounts``, else to ``otherwise``, which
    has no lifespan.
    """

    def __init__(self, mounts: Sequence[Mounted], otherwise: ASGIApplication) -> None:
        #: In the order in which they are to be started.
        self.mounts = tuple(mounts)
        self._otherwise = otherwise
        self._by_rank = sorted(mounts, key=lambda mounted: mounted.rank)

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        mounted = self._find(scope)
        if mounted is None:
            return self._otherwise(scope, receive, send)
        if mounted.relative:
            scope["root_path"] += mounted.path
        if mounted.state is not None:
            scope["state"] = mounted.state.copy()
        return mounted.app(scope, receive, send)

    def _find(self, scope: Scope) -> Mounted | None:
        path: str = scope["path"]
        root_path: str = scope["root_path"]
        if root_path and path.startswith(root_path):  # as all do, but "*"
            path = path[len(root_path) :]
        host: str | None = None
        for mounted in self._by_rank:
            if mounted.host is not None:
                if host is None:
                    host = _host(scope)
                if host not in mounted.host:
                    continue
            if not mounted.path or path == mounted.path or path.startswith(mounted.below):
                return mounted
        return None


def _host(scope: Scope) -> str:
    """What the request was for; "" where it does not say."""
    return next((host_of(value) for name, value in scope["headers"] if name == b"host"), "")
