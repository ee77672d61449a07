"""The shapes that pass between server and application (ASGI 3.0, ASGI 2.0, PEP 3333)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApplication = Callable[[Scope, Receive, Send], Awaitable[None]]
#: A double callable: it is given the scope, and what it returns the rest.
ASGI2Application = Callable[[Scope], Callable[[Receive, Send], Awaitable[None]]]
Environ = dict[str, Any]
WSGIApplication = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]
#: What can be served, as ``interface`` says or as it is recognised.
Application = ASGIApplication | ASGI2Application | WSGIApplication

ASGI_VERSION = "3.0"
#: Of the HTTP & WebSocket text; 2.4 and up promise that send() raises OSError when it must.
HTTP_SPEC_VERSION = "2.5"
LIFESPAN_SPEC_VERSION = "2.0"
