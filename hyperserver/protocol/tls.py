"""TLS as a byte layer: ciphertext in, plaintext to an engine; its output in, ciphertext out.

    HELLO ──ClientHello──► HANDSHAKE ──done──► OPEN ──both sides ended──► closed
      │                        │                │
      └── plain HTTP: a 400 ───┴──── a fault: an alert ───► LINGER ─────► closed

HELLO only looks: it reads the ClientHello, lets the context be chosen by it, and then begins the
handshake with those same bytes (``client_hello`` says why). When the handshake is done the engine
is opened that ALPN has chosen (RFC 7301), and a ``ProtocolSwitched`` event names it. From then on
events are taken from the engine and commands given to it directly: between it and whoever drives
it this layer is not there. Bytes and deadlines still go through here, and what this layer says of
itself (``wants_data``, ``is_closed`` and so on) is what the engine says, plus TLS's own end. As long
as there is nothing to add, it ``stands_aside``: who asks at every turn may ask the engine.

That end is the close_notify alert (RFC 8446 §6.1), in each direction on its own: the peer's is
the engine's ``receive_eof``, and the response may still be sent; ours follows the engine's last
byte, and only then is ``output_finished`` true. A connection that is ``aborted`` has none: its
peer must not take what it got for complete.

OpenSSL is asked as little as possible: on a request of one record it is one ``read`` and one
``write``. A ``read`` that finds nothing raises ``SSLWantReadError``, which costs more than
decrypting the request did; it is not tried where the incoming buffer is empty. That suffices,
as one ``read`` takes a whole record, and OpenSSL fetches no byte beyond the record it works on.
A buffer keeps the room that it once needed for as long as the connection lasts. Therefore a large
output goes through it record by record, and a large input in pieces.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from hyperserver.protocol.client_hello import (
    Alert,
    ClientHello,
    ClientHelloReader,
    HandshakeRefused,
    NotTLS,
)
from hyperserver.protocol.events import Event, ProtocolSwitched
from hyperserver.protocol.h1 import wire
from hyperserver.protocol.interface import HIGH_WATER, ByteConnection, ResponseDefaults
from hyperserver.protocol.layer import Layer

if TYPE_CHECKING:
    from hyperserver.protocol.interface import AnyEngine

# phases
_HELLO: Final = 0
_HANDSHAKE: Final = 1
_OPEN: Final = 2
_LINGER: Final = 3
_CLOSED: Final = 4

#: Bytes of plaintext that a record holds at most (RFC 8446 §5.1).
_MAX_RECORD: Final = 16_384
#: Bytes worked on at a time: a larger body is cut, so that it never exists twice.
_PIECE: Final = 65_536

_METHOD = re.compile(rb"([A-Z]{1,16})( ?)")
_CODES = re.compile(r"^\[[^]]*\] | \(_ssl\.c:\d+\)$")


class TLSConnection(Layer):
    """The server's side of a connection accepted at ``now``.

    ``choose_context`` may raise HandshakeRefused. ``open_engine`` is given the protocol that ALPN
    has chosen, None without ALPN, and the time; its engine stays to the end. Timeouts are in
    seconds: ``handshake_timeout`` from ``now`` to the end of the handshake, however bytes come;
    ``linger_timeout`` for the peer to close after a fault.

    For whoever wants to know more: ``failure`` is why TLS itself ended the connection, in words;
    ``truncated`` says that the peer's bytes ended without a close_notify; ``ssl_object`` knows
    what the handshake agreed on, and is None before it begins; ``engine`` is None until the
    handshake is done, and again after a fault.
    """

    __slots__ = (
        "_aborted",
        "_between_records",
        "_choose_context",
        "_deadline",
        "_grace",
        "_hello",
        "_incoming",
        "_input_ended",
        "_linger_timeout",
        "_notified",
        "_open_engine",
        "_outgoing",
        "_phase",
        "_plain",
        "_read",
        "_write",
        "engine",
        "event_queue",
        "failure",
        "ssl_object",
        "stands_aside",
        "truncated",
    )

    def __init__(
        self,
        choose_context: Callable[[ClientHello], ssl.SSLContext],
        open_engine: Callable[[str | None, float], ByteConnection],
        handshake_timeout: float,
        linger_timeout: float,
        now: float,
    ) -> None:
        self.event_queue: list[Event] = []
        self.engine: AnyEngine | None = None
        self.ssl_object: ssl.SSLObject | None = None
        self.failure: str | None = None
        self.truncated = False
        self.stands_aside = False
        #: Until it was asked: it may know of us, and in a ring both would wait for the collector.
        self._choose_context: Callable[[ClientHello], ssl.SSLContext] | None = choose_context
        self._open_engine = open_engine
        self._linger_timeout = linger_timeout
        self._grace: float | None = None  # until it is known when it began
        self._deadline: float | None = now + handshake_timeout
        self._phase = _HELLO
        self._hello = ClientHelloReader()
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._read: Callable[[int], bytes]
        self._write: Callable[[bytes | memoryview], int]
        #: What is left of a piece of the engine's output that is too large to encrypt at once.
        self._plain: memoryview | None = None
        self._input_ended = False
        #: Nothing of what was received is left, here or within OpenSSL.
        self._between_records = False
        self._notified = False
        self._aborted = False

    # ---- what the engine says, and TLS's own end -----------------------------------------

    @property
    def wants_data(self) -> bool:
        # TLS answers some messages by itself (key updates), also to a peer that does not read.
        engine = self.engine
        return engine is None or (engine.wants_data and self._outgoing.pending < HIGH_WATER)

    @property
    def holds_output(self) -> bool:
        engine = self.engine
        return engine is not None and engine.holds_output

    @property
    def output(self) -> object:
        engine = self.engine
        if engine is None:
            return self._outgoing.pending
        return (
            engine.output
            or self._outgoing.pending
            or self._plain
            or (engine.output_finished and self._owes_notice(engine))
        )

    @property
    def output_finished(self) -> bool:
        engine = self.engine
        if engine is None:
            return self._phase >= _LINGER
        return engine.output_finished and not self._owes_notice(engine)

    @property
    def aborted(self) -> bool:
        engine = self.engine
        return self._aborted if engine is None else engine.aborted

    @property
    def is_closed(self) -> bool:
        engine = self.engine
        if engine is None:
            return self._phase == _CLOSED
        return engine.is_closed and not self._owes_notice(engine)

    # ---- bytes in ------------------------------------------------------------------------

    def receive_data(self, data: bytes, now: float) -> None:
        engine = self.engine
        if engine is None:
            self._receive_early(data, now)
            return
        if self._input_ended:  # RFC 8446 §6.1: to be ignored
            return
        if len(data) > _PIECE:
            for at in range(0, len(data), _PIECE):
                self.receive_data(data[at : at + _PIECE], now)
            return
        incoming = self._incoming
        incoming.write(data)
        read = self._read
        # What was encrypted is no longer than it is now; of a record that began earlier there may be
        # more. A buffer that need not be large makes this a good deal quicker.
        size = (len(data) if self._between_records else 0) or _MAX_RECORD
        pieces: list[bytes] = []
        failure = None
        try:
            while piece := read(size):
                if not incoming.pending:
                    self._between_records = True
                    if self._outgoing.pending:  # the answer to a key update
                        self.stands_aside = False
                    if pieces:
                        pieces.append(piece)
                        break
                    engine.receive_data(piece, now)  # by far the most frequent case: one record
                    return
                pieces.append(piece)
            else:
                self._input_ended = True
        except ssl.SSLWantReadError:
            self._between_records = False
        except ssl.SSLZeroReturnError:  # in place of b"" where both sides have ended
            self._input_ended = True
        except ssl.SSLError as error:
            failure = describe(error)
        if self._outgoing.pending:
            self.stands_aside = False
        if pieces:
            engine.receive_data(b"".join(pieces), now)
        if failure is not None:
            self._fail(failure, now)
        elif self._input_ended:
            engine.receive_eof(now)

    def receive_eof(self, now: float) -> None:
        engine = self.engine
        if engine is None:
            if self._phase < _LINGER:
                self.failure = "the peer closed the connection during the handshake"
            self._close()
        elif not self._input_ended:
            self._input_ended = self.truncated = True
            engine.receive_eof(now)

    def lost(self) -> None:
        self._choose_context = None
        if self.engine is not None:
            self.engine.lost()

    def _receive_early(self, data: bytes, now: float) -> None:
        """Bytes for no engine: before there is one, or after a fault, when they are discarded."""
        if self._phase == _HANDSHAKE:
            self._incoming.write(data)
            self._shake_hands(now)
        elif self._phase == _HELLO:
            try:
                hello = self._hello.receive(data)
                if hello is None:
                    return
                assert self._choose_context is not None
                self._begin(self._choose_context(hello))
            except NotTLS:
                self._refuse_plaintext(now)
            except HandshakeRefused as refusal:
                self._refuse(refusal.reason, refusal.alert, now)
            except ssl.SSLError as error:
                self._refuse(describe(error), Alert.INTERNAL_ERROR, now)
            else:
                self._shake_hands(now)

    # ---- the handshake -------------------------------------------------------------------

    def _begin(self, context: ssl.SSLContext) -> None:
        tls = self.ssl_object = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        # SSLObject's own methods do nothing but call these: two calls less for each request
        beneath = getattr(tls, "_sslobj", tls)
        self._read = beneath.read
        self._write = beneath.write
        self._incoming.write(self._hello.received)
        self._hello = ClientHelloReader()  # without what was received
        self._choose_context = None
        self._phase = _HANDSHAKE

    def _shake_hands(self, now: float) -> None:
        tls = self.ssl_object
        assert tls is not None
        try:
            tls.do_handshake()
        except ssl.SSLWantReadError:
            return
        except ssl.SSLError as error:
            self._fail(describe(error), now)
            return
        self._phase = _OPEN
        self._deadline = None
        engine = self.engine = self._open_engine(tls.selected_alpn_protocol(), now)
        self.event_queue.append(ProtocolSwitched(engine, layered=True))
        self.stands_aside = not self._outgoing.pending
        if self._incoming.pending:
            self.receive_data(b"", now)

    # ---- faults --------------------------------------------------------------------------

    def _refuse(self, reason: str, alert: Alert, now: float) -> None:
        """Send the alert by ourselves, as OpenSSL has no part in this yet."""
        self._outgoing.write(bytes((21, 3, 3, 0, 2, 2, alert)))  # a record with a fatal alert
        self._fail(reason, now)

    def _refuse_plaintext(self, now: float) -> None:
        """Tell somebody who mistook ``https`` for ``http``; close on anything else."""
        received = self._hello.received
        method = _METHOD.match(received)
        if method is not None and method[2]:
            reason = "this port speaks HTTPS; write https:// in the address"
            self._outgoing.write(
                wire.refusal(400, reason, ResponseDefaults(None), method[1] == b"HEAD")
            )
            self._fail("plain HTTP", now)
        elif method is None or method.end() < len(received):
            self.failure = "neither TLS nor HTTP"
            self._close()
        # else it may become a method, and the handshake timeout is running

    def _fail(self, reason: str, now: float) -> None:
        """Nothing but what was written last is sent any more: wait for the peer to close.

        Closing at once, with bytes unread, could destroy the alert on its way (RFC 9112 §9.6).
        """
        self.failure = reason
        if self.engine is not None:
            self.engine.receive_eof(now)  # so that its streams learn of it
            self.engine = self._plain = None
        self.stands_aside = False
        self._phase = _LINGER
        self._deadline = now + self._linger_timeout

    def _close(self) -> None:
        self._phase = _CLOSED
        self._deadline = None

    # ---- bytes out -----------------------------------------------------------------------

    def events(self) -> list[Event]:
        events, self.event_queue = self.event_queue, []
        return events

    def data_to_send(self) -> bytes:
        """Take ciphertext of at most about 100 KiB; call until it returns b""."""
        engine = self.engine
        if engine is None:
            return self._outgoing.read()
        data = engine.data_to_send() if self._plain is None else b""
        if not data or engine.output or engine.output_finished or len(data) > _MAX_RECORD:
            return self._send_much(engine, data)
        try:
            self._write(data)  # by far the most frequent case: one record
        except ssl.SSLError as error:
            self._break(error)
        else:
            self.stands_aside = True
        return self._outgoing.read()

    def _send_much(self, engine: AnyEngine, data: bytes) -> bytes:
        """What is left of a piece, or ``data``, and what else the engine has, record by record; TLS's
        end if it has nothing more.
        """
        outgoing = self._outgoing
        plain = self._plain
        pieces: list[bytes] = []
        size = 0
        try:
            while size < _PIECE:
                if plain is None:
                    data = data or (engine.data_to_send() if engine.output else b"")
                    if not data:
                        if engine.output_finished and self._owes_notice(engine):
                            self._notify()
                        break
                    whole, data = data, b""
                    if len(whole) <= _MAX_RECORD:
                        self._write(whole)
                        if outgoing.pending < _MAX_RECORD:
                            continue
                    else:
                        plain = memoryview(whole)
                if plain is not None:
                    self._write(plain[:_MAX_RECORD])
                    plain = plain[_MAX_RECORD:] or None
                size += outgoing.pending
                pieces.append(outgoing.read())
        except ssl.SSLError as error:
            self._break(error)
        else:
            self._plain = plain
            self.stands_aside = plain is None
        if not pieces:
            return outgoing.read()
        if outgoing.pending:
            pieces.append(outgoing.read())
        return b"".join(pieces)

    def _break(self, error: ssl.SSLError) -> None:
        """OpenSSL cannot write: there is no way to go on, or to tell the peer."""
        self.failure = describe(error)
        self.engine = self._plain = None
        self.stands_aside = False
        self._aborted = True
        self._close()

    def _owes_notice(self, engine: AnyEngine) -> bool:
        return not (self._notified or engine.aborted)

    def _notify(self) -> None:
        """Write our close_notify."""
        self._notified = True
        tls = self.ssl_object
        assert tls is not None
        try:
            tls.unwrap()
        except ssl.SSLError:
            pass  # that of the peer has not come yet: receive_data will see it

    # ---- time ----------------------------------------------------------------------------

    def next_timeout(self) -> float | None:
        engine = self.engine
        if engine is None:
            return self._deadline if self._grace is None else 0.0
        if engine.output_finished and self._owes_notice(engine):
            return None  # the wait for the peer begins when it has been sent everything
        return engine.next_timeout()

    def handle_timeout(self, now: float) -> None:
        if self.engine is not None:
            self.engine.handle_timeout(now)
            return
        if self._grace is not None and self._deadline is not None:
            self._deadline = min(self._deadline, now + self._grace)
        self._grace = None
        if self._deadline is not None and now >= self._deadline:
            if self._phase < _LINGER:
                self.failure = "handshake not finished in time"
            self._close()

    # ---- commands ------------------------------------------------------------------------

    def shutdown(self, grace: float = 0.0) -> None:
        """An engine that opens within ``grace`` is for the caller to shut down."""
        if self.engine is not None:
            self.engine.shutdown(grace)
        elif self._phase < _LINGER:
            if grace:
                self._grace = grace
            else:
                self._close()  # nothing has been asked


def describe(error: ssl.SSLError) -> str:
    """What went wrong, as in "no shared cipher": without OpenSSL's codes and Python's line."""
    return _CODES.sub("", str(error))
