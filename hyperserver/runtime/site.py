"""What a listener answers by itself: redirects to https, and the files of ACME challenges."""

from __future__ import annotations

import os
import re
import stat

from hyperserver.config.schema import Listen
from hyperserver.protocol.answers import ACME_PATH, Answer, Redirect, make_answer, refusal
from hyperserver.protocol.events import RequestReceived

#: A token and nothing that could lead out of its folder (RFC 8555 §8.3).
_TOKEN = re.compile(rb"[A-Za-z0-9_-]{1,256}")
#: Bytes of a key authorization: a token and the hash of a key.
_MAX_SIZE = 4096


class Site:
    """The listener's own part of its requests."""

    def __init__(self, listen: Listen) -> None:
        self._redirect = Redirect(listen.names) if listen.redirect else None
        self._webroot = listen.acme_webroot

    @property
    def answers_anything(self) -> bool:
        return self._redirect is not None or self._webroot is not None

    def answer(self, request: RequestReceived) -> Answer | None:
        """None for what is the application's."""
        if request.target.startswith(ACME_PATH):
            return None if self._webroot is None else self._challenge(self._webroot, request)
        return None if self._redirect is None else self._redirect.answer(request)

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
