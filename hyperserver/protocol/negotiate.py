"""Which engine serves a connection: the only file that names engines.

Ways to HTTP/2: ALPN within TLS (RFC 9113 §3.2), the connection preface where a request line is
expected (prior knowledge, §3.3), and, where it is asked for, ``Upgrade: h2c`` (RFC 7540 §3.2).

Engines are imported when first chosen, so that an optional library that is missing is an error
only for those who asked for it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.machinery import ExtensionFileLoader
from importlib.util import find_spec, module_from_spec
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias

from hyperserver.errors import ConfigError
from hyperserver.protocol.events import RequestReceived
from hyperserver.protocol.h1.connection import HTTP1Connection
from hyperserver.protocol.h1.head import SplitFields
from hyperserver.protocol.h2.frames import ConnectionFault
from hyperserver.protocol.interface import (
    ByteConnection,
    HTTP2Options,
    Limits,
    ResponseDefaults,
    Successor,
)
from hyperserver.protocol.websocket.frames import FrameReader, MakeFrameReader

if TYPE_CHECKING:
    from hyperserver.protocol.websocket import websockets_engine

    # As ``AnyEngine`` in ``interface``.
    AnyFrameReader: TypeAlias = websockets_engine.FrameReader | FrameReader

#: Engines, the preferred one first.
HTTP1_ENGINES = ("httptools", "h11")
HTTP2_ENGINES = ("nghttp2", "h2")
WEBSOCKET_ENGINES = ("websockets", "wsproto")
_FOLDERS = {"http1": "h1", "http2": "h2", "websocket": "websocket"}

#: Where an engine's library is not called as the engine is.
_LIBRARIES = {"nghttp2": "hyperserver.protocol.h2._nghttp2"}
#: How to get engines that are not packages of their own. pip keeps what it has built: with what it
#: lacked there, and with the library that it was built for.
_REMEDIES = {
    "nghttp2": "run `apt-get install gcc python3-dev libnghttp2-dev`, then install hyperserver again, "
    "which builds it, with `pip install --force-reinstall --no-deps --no-cache-dir`",
}
_NOT_INSTALLED = "not installed"

#: The protocols' ALPN names (RFC 7301, RFC 9113 §3.1), the preferred one first.
HTTP2 = "h2"
HTTP1 = "http/1.1"
ALL_PROTOCOLS = (HTTP2, HTTP1)


class MakeHTTP2(Protocol):
    """An HTTP/2 engine for a connection that began at ``now``, its preface written.

    ``upgrade`` is the value of HTTP2-Settings and the request that asked for ``h2c``; raises
    ConnectionFault if the former is invalid.
    """

    def __call__(
        self,
        limits: Limits,
        options: HTTP2Options,
        defaults: ResponseDefaults,
        scheme: str,
        now: float,
        upgrade: tuple[bytes, RequestReceived] | None = None,
    ) -> ByteConnection: ...


class _Later:
    """What an engine makes; the engine is imported for the first of it.

    Most cleartext listeners never see HTTP/2 and many applications no WebSocket, while importing
    what reads them is a fifth of the time that a server takes to start.
    """

    __slots__ = ("_attribute", "_kind", "_make", "_name", "version")

    def __init__(self, kind: str, name: str, attribute: str) -> None:
        self.version = ""
        self._name = name
        self._kind = kind
        self._attribute = attribute
        self._make: Any = None

    def load(self) -> None:
        """Import it now. Raises ConfigError."""
        if self._make is None:
            module = _import_engine(self._kind, (self._name,))
            self.version = module.VERSION
            self._make = getattr(module, self._attribute)

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        self.load()
        return self._make(*arguments, **options)


class PassedOver(NamedTuple):
    """An engine that ``auto`` prefers to the one that it has taken, and why it cannot be had."""

    name: str
    reason: str

    @property
    def is_broken(self) -> bool:
        """It is installed, and cannot be loaded."""
        return self.reason != _NOT_INSTALLED

    @property
    def remedy(self) -> str:
        return _REMEDIES.get(self.name, f"run `pip install {self.name}`")


@dataclass(frozen=True, slots=True)
class Engines:
    """The engines chosen for a worker, and what to call them in the log."""

    http1_name: str
    http1_version: str
    make_splitter: Callable[[], SplitFields]
    http2_name: str
    http2: _Later
    websocket_name: str
    websocket: _Later
    #: For HTTP/2 and WebSocket.
    passed_over: tuple[PassedOver, ...]

    @property
    def make_http2(self) -> MakeHTTP2:
        return self.http2

    @property
    def make_frame_reader(self) -> MakeFrameReader:
        return self.websocket

    def load(self) -> str:
        """Import all of them now; their names with versions. Raises ConfigError."""
        self.http2.load()
        self.websocket.load()
        return (
            f"HTTP/1.1 by {self.http1_name} {self.http1_version}, "
            f"HTTP/2 by {self.http2_name} {self.http2.version}, "
            f"WebSocket by {self.websocket_name} {self.websocket.version}"
        )


def choose_engines(http1: str = "auto", http2: str = "auto", websocket: str = "auto") -> Engines:
    """Resolve ``auto`` to the best engine installed. Raises ConfigError for one that is not."""
    h1 = _import_engine("http1", HTTP1_ENGINES if http1 == "auto" else (http1,))
    h2, no_h2 = _find_engine("http2", http2, HTTP2_ENGINES)
    ws, no_ws = _find_engine("websocket", websocket, WEBSOCKET_ENGINES)
    return Engines(
        *(h1.NAME, h1.VERSION, h1.make_splitter),
        *(h2, _Later("http2", h2, "make_connection")),
        *(ws, _Later("websocket", ws, "FrameReader")),
        (*no_h2, *no_ws),
    )


def _module(kind: str, name: str) -> str:
    return f"hyperserver.protocol.{_FOLDERS[kind]}.{name}_engine"


def _find_engine(
    kind: str, name: str, preferred: tuple[str, ...]
) -> tuple[str, tuple[PassedOver, ...]]:
    """The name of an engine whose library can be imported, and those that were tried before."""
    tried: list[PassedOver] = []
    for candidate in preferred if name == "auto" else (name,):
        obstacle = _obstacle(kind, candidate)
        if not obstacle:
            return candidate, tuple(tried)
        tried.append(PassedOver(candidate, obstacle))
    raise _missing(kind, *tried[-1])


def _obstacle(kind: str, name: str) -> str:
    """Why an engine cannot be imported, without importing it; empty if it can."""
    library = _LIBRARIES.get(name, name)
    if not find_spec(_module(kind, name)) or not (spec := find_spec(library)):
        return _NOT_INSTALLED
    if isinstance(spec.loader, ExtensionFileLoader) and library not in sys.modules:
        try:
            module_from_spec(spec)  # runs nothing of it, but needs what it is linked to
        except ImportError as error:
            return str(error)
    return ""


def _import_engine(kind: str, names: tuple[str, ...]) -> Any:
    """The first that can be imported."""
    reason = ""
    for name in names:
        try:
            return import_module(_module(kind, name))
        except ImportError as error:
            reason = str(error)
    raise _missing(kind, names[-1], reason)


def _missing(kind: str, name: str, reason: str) -> ConfigError:
    return ConfigError(
        f"`{kind}.engine`: {name!r} cannot be imported ({reason}); "
        f"{PassedOver(name, reason).remedy}, or choose another engine"
    )


def open_http1(
    engines: Engines,
    limits: Limits,
    defaults: ResponseDefaults,
    scheme: str,
    now: float,
    successor: Successor | None = None,
) -> ByteConnection:
    """An HTTP/1 engine for a connection that began at ``now``."""
    return HTTP1Connection(engines.make_splitter, limits, defaults, scheme, now, successor)


class Negotiator:
    """Opens connections for listeners that speak ``protocols`` (ALPN names).

    ``upgrade``: HTTP/1.1 requests may ask for ``h2c``, which RFC 9113 has deprecated.
    """

    def __init__(
        self,
        engines: Engines,
        limits: Limits,
        options: HTTP2Options,
        defaults: ResponseDefaults,
        *,
        protocols: tuple[str, ...] = ALL_PROTOCOLS,
        upgrade: bool = False,
    ) -> None:
        self._engines = engines
        self._limits = limits
        self._options = options
        self._defaults = defaults
        self._protocols = protocols
        self.upgrades = upgrade and HTTP2 in protocols

    def expect_http2(self) -> None:
        """Import its engine now, and not while the first of many connections waits."""
        if HTTP2 in self._protocols:
            self._engines.http2.load()

    def open_cleartext(self, now: float) -> ByteConnection:
        """HTTP/1, which gives way to HTTP/2 at its preface, or whichever alone is spoken."""
        if HTTP1 not in self._protocols:
            return self._http2("http", now)
        return self._http1("http", now, self if HTTP2 in self._protocols else None)

    def open_tls(self, alpn: str | None, now: float) -> ByteConnection:
        """What ALPN has chosen; clients that know no ALPN speak HTTP/1."""
        if alpn == HTTP2 or HTTP1 not in self._protocols:
            return self._http2("https", now)
        return self._http1("https", now, None)

    def _http1(self, scheme: str, now: float, successor: Negotiator | None) -> ByteConnection:
        return open_http1(self._engines, self._limits, self._defaults, scheme, now, successor)

    def _http2(self, scheme: str, now: float) -> ByteConnection:
        return self._engines.make_http2(self._limits, self._options, self._defaults, scheme, now)

    # ---- the successor of an HTTP/1 engine -----------------------------------------------

    def after_preface(self, data: bytes, now: float) -> ByteConnection:
        """HTTP/2 by prior knowledge; ``data`` is all that has been received."""
        engine = self._http2("http", now)
        engine.receive_data(data, now)
        return engine

    def after_upgrade(
        self, settings: bytes, request: RequestReceived, data: bytes, now: float
    ) -> ByteConnection | None:
        """HTTP/2 for a request that asked for it; None if its HTTP2-Settings are invalid."""
        try:
            engine = self._engines.make_http2(
                self._limits, self._options, self._defaults, "http", now, (settings, request)
            )
        except ConnectionFault:
            return None
        if data:
            engine.receive_data(data, now)
        return engine
