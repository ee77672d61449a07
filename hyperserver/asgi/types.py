"""The shapes that pass between server and application (ASGI 3.0, ASGI 2.0, PEP 3333)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
#: What an application sends: it is read, and never changed.
Message = Mapping[str, Any]
#: The same as it is taken apart: see ``http.plain``. What is compiled reads a dict far quicker.
PlainMessage = dict[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[Message], Awaitable[None]]
#: An application may annotate what it takes with asgiref's types, a framework's or plain ones.
#: None of them is a subtype of another, so that anything narrower refuses some.
ASGIApplication = Callable[[Any, Any, Any], Awaitable[None]]
#: A double callable: it is given the scope, and what it returns the rest.
ASGI2Application = Callable[[Any], Callable[[Any, Any], Awaitable[None]]]
Environ = dict[str, Any]
WSGIApplication = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]
#: What can be served, as ``interface`` says or as it is recognised.
Application = ASGIApplication | ASGI2Application | WSGIApplication

ASGI_VERSION = "3.0"
#: Of the HTTP & WebSocket text; 2.4 and up promise that send() raises OSError when it must.
HTTP_SPEC_VERSION = "2.5"
LIFESPAN_SPEC_VERSION = "2.0"
