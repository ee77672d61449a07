"""From an accepted socket to a connection: what each listener speaks, and to whom."""

from __future__ import annotations

import socket
from time import monotonic
from typing import TYPE_CHECKING

from hyperserver.asgi.scope import ScopeContext
from hyperserver.runtime.admission import Admission, RequestGate
from hyperserver.runtime.connection import Connection
from hyperserver.runtime.site import Site

if TYPE_CHECKING:
    from hyperserver.asgi.proxy import ProxyTrust
    from hyperserver.config.schema import Config
    from hyperserver.runtime.backend import Transport
    from hyperserver.runtime.listeners import OpenSocket
    from hyperserver.runtime.tls_reload import TLSContexts
    from hyperserver.runtime.tls_session import TLSSession
    from hyperserver.runtime.worker import Worker


class Acceptor:
    """Makes connections of what one listener accepts."""

    def __init__(
        self,
        worker: Worker,
        opened: OpenSocket,
        contexts: TLSContexts | None,
    ) -> None:
        self._worker = worker
        self._opened = opened
        self._contexts = contexts
        self.renew()

    def renew(self) -> None:
        """Take what the worker's configuration says now, for connections to come."""
        worker = self._worker
        self._negotiator = worker.negotiator(self._opened)
        #: For clients, and for proxies that are trusted.
        self._site = self._make_site(None)
        self._site_of_proxies = self._make_site(worker.proxy)

    def _make_site(self, proxy: ProxyTrust | None) -> Site | None:
        worker = self._worker
        names = worker.config.server_names
        site = Site(self._opened.listen, names, proxy, lambda: worker.is_leaving)
        return site if site.answers_anything else None

    @property
    def admission(self) -> Admission:
        return self._worker.admission

    def accept(self, transport: Transport, sock: socket.socket, peer: object = None) -> Connection:
        """A transport is connected: give it an engine, and to the worker to keep an eye on it.

        ``peer`` is what ``socket.accept()`` said, if it was called.
        """
        worker = self._worker
        now = monotonic()
        if peer is None:
            try:
                peer = sock.getpeername()
            except OSError:
                pass  # gone already; the transport will find out
        try:
            name = sock.getsockname()
        except OSError:
            name = None
        # An address such as 0.0.0.0 stands for many, of which the client has chosen one.
        server = (name[0], name[1]) if isinstance(name, tuple) else self._opened.server
        client = (peer[0].partition("%")[0], peer[1]) if isinstance(peer, tuple) else None
        config = worker.config
        context = ScopeContext(client, server, config.root_path, worker.state)
        proxy = worker.proxy
        site = self._site
        if proxy is not None and proxy.trusts(client):
            context.proxy = proxy
            site = self._site_of_proxies
        if self._contexts is None:
            engine = self._negotiator.open_cleartext(now)
            connection = Connection(worker, transport, engine, context, now)
            connection.site = site
        else:
            session = self._secure(self._contexts, site, config, now)
            assert session.wire is not None
            context.tls = session.extension
            connection = Connection(worker, transport, session.wire, context, now)
            connection.secure = session
            connection.site = session if session.answers_anything else None
        if (limit := config.limits.requests) is not None:
            connection.site = RequestGate(limit, worker.streams, connection.site)
        worker.adopt(connection)
        return connection

    def _secure(
        self, contexts: TLSContexts, site: Site | None, config: Config, now: float
    ) -> TLSSession:
        from hyperserver.protocol.tls import TLSConnection
        from hyperserver.runtime.tls_session import TLSSession

        session = TLSSession(contexts, self._worker.several_policies, site)
        session.wire = TLSConnection(
            session.choose,
            self._negotiator.open_tls,
            config.timeouts.handshake,
            config.timeouts.linger,
            now,
        )
        return session
