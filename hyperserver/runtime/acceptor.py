"""From an accepted socket to a connection: what each listener speaks, and to whom."""

from __future__ import annotations

import socket
from time import monotonic
from typing import TYPE_CHECKING

from hyperserver.asgi.scope import ScopeContext
from hyperserver.protocol.interface import ByteConnection
from hyperserver.protocol.negotiate import Negotiator
from hyperserver.runtime.connection import Connection

if TYPE_CHECKING:
    from hyperserver.config.schema import Config
    from hyperserver.runtime.backend import Transport
    from hyperserver.runtime.listeners import OpenSocket
    from hyperserver.runtime.tls_contexts import TLSContexts
    from hyperserver.runtime.worker import Worker


class Acceptor:
    """Makes connections of what one listener accepts."""

    def __init__(
        self,
        worker: Worker,
        opened: OpenSocket,
        negotiator: Negotiator,
        contexts: TLSContexts | None,
    ) -> None:
        self._worker = worker
        self._opened = opened
        self._negotiator = negotiator
        self._contexts = contexts

    def accept(self, transport: Transport, sock: socket.socket) -> Connection:
        """A transport is connected: give it an engine, and to the worker to keep an eye on it."""
        worker = self._worker
        now = monotonic()
        try:
            peer = sock.getpeername()
        except OSError:
            peer = None  # gone already; the transport will find out
        try:
            name = sock.getsockname()
        except OSError:
            name = None
        # An address such as 0.0.0.0 stands for many, of which the client has chosen one.
        server = (name[0], name[1]) if isinstance(name, tuple) else self._opened.server
        client = (peer[0].partition("%")[0], peer[1]) if isinstance(peer, tuple) else None
        connection = Connection(
            worker,
            transport,
            self._open(worker.config, now),
            ScopeContext(client, server, worker.config.root_path, worker.state),
            now,
        )
        worker.adopt(connection)
        return connection

    def _open(self, config: Config, now: float) -> ByteConnection:
        if self._contexts is None:
            return self._negotiator.open_cleartext(now)
        from hyperserver.protocol.tls import TLSConnection

        return TLSConnection(
            self._contexts.choose,
            self._negotiator.open_tls,
            config.timeouts.handshake,
            config.timeouts.linger,
            now,
        )
