"""An ASGI server for HTTP/1.1, HTTP/2 and WebSocket on asyncio, uvloop or trio."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hyperserver.config.schema import Config
    from hyperserver.runtime.serve import run, serve

__version__ = "0.1.0"
__all__ = ["Config", "__version__", "run", "serve"]


def __getattr__(name: str) -> Any:
    """Import on first use: `hyperserver --version` should not load an event loop."""
    if name == "Config":
        from hyperserver.config.schema import Config

        return Config
    if name in ("run", "serve"):
        from hyperserver.runtime import serve as module

        return getattr(module, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
