"""The configuration: what can be set, and how it is read from TOML."""

from hyperserver.config.load import from_mapping, load_file
from hyperserver.config.schema import (
    HTTP1,
    HTTP2,
    WSGI,
    Config,
    Limits,
    Listen,
    Log,
    Process,
    Proxy,
    Recycle,
    Timeouts,
    WebSocket,
)
from hyperserver.config.schema_tls import TLS, Certificate, ClientAuth

__all__ = [
    "HTTP1",
    "HTTP2",
    "TLS",
    "WSGI",
    "Certificate",
    "ClientAuth",
    "Config",
    "Limits",
    "Listen",
    "Log",
    "Process",
    "Proxy",
    "Recycle",
    "Timeouts",
    "WebSocket",
    "from_mapping",
    "load_file",
]
