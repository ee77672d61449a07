"""What a listener answers by itself: how the server is, redirects to https, the files of ACME
challenges, and requests for hosts that are not served.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import quote

from hyperserver.config.schema import Listen
from hyperserver.protocol.answers import (
    ACME_PATH,
    SERVING,
    STOPPING,
    Answer,
    Redirect,
    ServerNames,
    make_answer,
    refusal,
)
from hyperserver.protocol.events import RequestReceived

if TYPE_CHECKING:
    from hyperserver.asgi.proxy import ProxyTrust

#: A token and nothing that could lead out of its folder (RFC 8555 §8.3).
_TOKEN = re.compile(rb"[A-Za-z0-9_-]{1,256}")
#: Bytes of a key authorization: a token and the hash of a key.
_MAX_SIZE = 4096


class Site:
    """The listener's own part of its requests. Other hosts than ``server_names`` are refused, if any
    are named.

    ``proxy`` is there for peers that are trusted: where they tell the host, that is the one which
    applications will see. ``leaves`` tells whether the server is to stop.
    """

    def __init__(
        self,
        listen: Listen,
        server_names: tuple[str, ...] = (),
        proxy: ProxyTrust | None = None,
        leaves: Callable[[], bool] = bool,
    ) -> None:
        self._health = None if listen.health is None else quote(listen.health).encode()
        self._leaves = leaves
        self._redirect = Redirect(listen.names) if listen.redirect else None
        self._webroot = listen.acme_webroot
        self._names = ServerNames(server_names) if server_names else None
        self._proxy = proxy if proxy is not None and proxy.tells_host else None

    @property
    def answers_anything(self) -> bool:
        own = (self._health, self._redirect, self._webroot, self._names)
        return any(one is not None for one in own)

    def answer(self, request: RequestReceived) -> Answer | None:
        """None for what is the application's. What is for whoever comes is first, and redirects have
        names of their own.
        """
        if self._health is not None and request.target.partition(b"?")[0] == self._health:
            return STOPPING if self._leaves() else SERVING
        if request.target.startswith(ACME_PATH):
            if self._webroot is not None:
                return self._challenge(self._webroot, request)
        elif self._redirect is not None:
            return self._redirect.answer(request)
        if self._names is None:
            return None
        authority = request.authority
        if self._proxy is not None:
            authority = self._proxy.origin(request.headers, None).host or authority
        return self._names.answer(authority)

    def _challenge(self, webroot: str, request: RequestReceived) -> Answer:
        token = request.target.removeprefix(ACME_PATH).partition(b"?")[0]
        if request.method not in ("GET", "HEAD"):
            return refusal(405, "a challenge is read by GET")
        content = None
        if _TOKEN.fullmatch(token) is not None:
            content = _read(os.path.join(webroot, ACME_PATH.decode()[1:], token.decode()))
        if content is None:
            return refusal(404, "no such challenge")
        return make_answer(200, content, content_type=b"application/octet-stream")


def _read(path: str) -> bytes | None:
    """A small regular file, whatever somebody may have put in its place."""
    flags = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0)
    try:
        number = os.open(path, os.O_RDONLY | flags)
    except OSError:
        return None
    try:
        status = os.fstat(number)
        if not stat.S_ISREG(status.st_mode) or status.st_size > _MAX_SIZE:
            return None
        return os.read(number, _MAX_SIZE)
    except OSError:
        return None
    finally:
        os.close(number)
