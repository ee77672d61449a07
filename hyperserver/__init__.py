"""An ASGI server for HTTP/1.1, HTTP/2 and WebSocket on asyncio, uvloop or trio."""

__version__ = "0.1.0"
