"""The fast HTTP/2 engine: libnghttp2 keeps frames, stream states and windows.

There only where the extension was built (see setup.py).
"""

from __future__ import annotations

from hyperserver.protocol.events import RequestReceived
from hyperserver.protocol.h2._nghttp2 import VERSION, NGHTTP2Session
from hyperserver.protocol.h2.brief import BriefConnection
from hyperserver.protocol.interface import HTTP2Options, Limits, ResponseDefaults

__all__ = ["NAME", "VERSION", "make_connection"]

NAME = "nghttp2"


def make_connection(
    limits: Limits,
    options: HTTP2Options,
    defaults: ResponseDefaults,
    scheme: str,
    now: float,
    upgrade: tuple[bytes, RequestReceived] | None = None,
) -> BriefConnection:
    """See ``negotiate.MakeHTTP2``."""
    return BriefConnection(NGHTTP2Session, limits, options, defaults, scheme, now, upgrade)
