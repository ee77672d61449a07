"""Which engine serves a connection: the only file that names engines.

Engines are imported when first chosen, so that an optional library that is missing is an error
only for those who asked for it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec

from hyperserver.errors import ConfigError
from hyperserver.protocol.h1.connection import HTTP1Connection
from hyperserver.protocol.h1.head import SplitFields
from hyperserver.protocol.interface import ByteConnection, Limits, ResponseDefaults

#: HTTP/1 engines, the preferred one first.
HTTP1_ENGINES = ("httptools", "h11")


@dataclass(frozen=True, slots=True)
class Engines:
    """The engines chosen for a worker, and what to call them in the log."""

    http1_name: str
    http1_version: str
    make_splitter: Callable[[], SplitFields]


def choose_engines(http1: str = "auto") -> Engines:
    """Resolve ``auto`` to the best engine installed. Raises ConfigError for one that is not."""
    if http1 == "auto":
        http1 = next(name for name in HTTP1_ENGINES if find_spec(name) is not None)
    try:
        module = import_module(f"hyperserver.protocol.h1.{http1}_engine")
    except ImportError as error:
        raise ConfigError(
            f"http1.engine: {http1!r} cannot be imported ({error}); "
            f"run `pip install {http1}` or choose another engine"
        ) from None
    return Engines(module.NAME, module.VERSION, module.make_splitter)


def open_connection(
    engines: Engines, limits: Limits, defaults: ResponseDefaults, scheme: str, now: float
) -> ByteConnection:
    """The state machine for a connection that was accepted at ``now``."""
    return HTTP1Connection(engines.make_splitter, limits, defaults, scheme, now)
