"""A TLS client over memory, and an engine of which every answer is the test's to choose."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from hyperserver.protocol.client_hello import ClientHello
from hyperserver.protocol.events import Event, ProtocolSwitched
from hyperserver.protocol.tls import TLSConnection
from tests.engines.playbook import Feed, whole

if TYPE_CHECKING:
    from hyperserver.protocol.interface import ByteConnection


class Engine:
    """Keeps what it is told; says what the test has set."""

    def __init__(self) -> None:
        self.received: list[bytes] = []
        self.ends = 0
        self.output: list[bytes] = []
        self.event_queue: list[Event] = []
        self.wants_data = True
        self.holds_output = False
        self.output_finished = False
        self.is_closed = False
        self.can_push = False
        self.aborted = False
        self.deadline: float | None = None
        self.told: list[float] = []
        self.shut_down = False

    def receive_data(self, data: bytes, now: float) -> None:
        assert not self.ends
        self.received.append(data)

    def lost(self) -> None:
        pass

    def receive_eof(self, now: float) -> None:
        self.ends += 1

    def data_to_send(self) -> bytes:
        return self.output.pop(0) if self.output else b""

    def next_timeout(self) -> float | None:
        return self.deadline

    def handle_timeout(self, now: float) -> None:
        self.told.append(now)

    def shutdown(self, grace: float = 0.0) -> None:
        self.shut_down = True

    def as_engine(self) -> ByteConnection:
        return cast("ByteConnection", self)


class Client:
    """A client's end of ``connection``; every call exchanges bytes until both sides are quiet.

    ``received`` is what the server sent as data, ``raw`` what it sent as TLS by the pieces in
    which it was handed out, ``ended`` says that its close_notify has come. ``error`` is what
    went wrong at this end.
    """

    def __init__(
        self,
        connection: TLSConnection,
        context: ssl.SSLContext,
        *,
        name: str = "localhost",
        feed: Feed = whole,
        session: ssl.SSLSession | None = None,
    ) -> None:
        self.now = 100.0
        self.connection = connection
        self.feed = feed
        self.incoming = ssl.MemoryBIO()
        self.outgoing = ssl.MemoryBIO()
        self.tls = context.wrap_bio(
            self.incoming, self.outgoing, server_hostname=name, session=session
        )
        self.received = b""
        self.raw: list[bytes] = []
        self.events: list[Event] = []
        self.ended = False
        self.error: ssl.SSLError | None = None
        self._shaken = False

    def shake_hands(self) -> Client:
        self.exchange()
        return self

    def send(self, data: bytes) -> None:
        self.tls.write(data)
        self.exchange()

    def close(self) -> None:
        """Send close_notify."""
        self.attempt(self.tls.unwrap)
        self.exchange()

    def exchange(self) -> None:
        while True:
            if not self._shaken and self.error is None:
                self._shaken = self.attempt(self.tls.do_handshake)
            sent = self.outgoing.read()
            for piece in self.feed(sent):
                self.connection.receive_data(piece, self.now)
            came = self.take()
            self.incoming.write(came)
            if self._shaken:
                self._read()
            if not sent and not came:
                return

    def take(self) -> bytes:
        """What a driver does after every call: take events and output."""
        self.events += self.connection.events()
        before = len(self.raw)
        while self.connection.output:
            data = self.connection.data_to_send()
            assert data
            self.raw.append(data)
        assert self.connection.data_to_send() == b""
        return b"".join(self.raw[before:])

    def _read(self) -> None:
        try:
            while data := self.tls.read(16_384):
                self.received += data
            self.ended = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.ended = True
        except ssl.SSLError as error:
            self.error = error

    def attempt(self, step: Callable[[], object]) -> bool:
        """Whether ``step`` is done; a fault is kept."""
        try:
            step()
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLError as error:
            self.error = error
            return False
        return True

    @property
    def engine(self) -> ByteConnection:
        """Where the connection says that events come from."""
        (switched,) = self.events
        assert isinstance(switched, ProtocolSwitched)
        assert switched.layered
        return switched.connection


class Server:
    """What TLSConnections are made with; remembers what it was asked."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.context = context
        self.hellos: list[ClientHello] = []
        self.opened: list[tuple[str | None, float]] = []
        self.engine = Engine()

    def choose(self, hello: ClientHello) -> ssl.SSLContext:
        self.hellos.append(hello)
        return self.context

    def open(self, alpn: str | None, now: float) -> ByteConnection:
        self.opened.append((alpn, now))
        return self.engine.as_engine()

    def accept(self) -> TLSConnection:
        """A connection accepted at the time 100."""
        return TLSConnection(self.choose, self.open, 10.0, 5.0, 100.0)
