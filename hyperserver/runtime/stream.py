"""The streams of a connection: cycles that know what their messages make the connection do.

They are cycles by inheritance, as second objects would cost each request more than all that is added
here. Nothing here waits: that is ``call``'s.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from hyperserver.asgi.files import FileCycle
from hyperserver.asgi.http import BODY, COMPLETE, may_push, plain
from hyperserver.asgi.websocket import WebSocketCycle
from hyperserver.runtime.backend import Signal
from hyperserver.runtime.waiting import wake

if TYPE_CHECKING:
    from hyperserver.asgi.files import FilePart
    from hyperserver.asgi.types import Message
    from hyperserver.protocol.events import RequestReceived
    from hyperserver.protocol.websocket.handshake import Handshake
    from hyperserver.runtime.connection import Connection


#: Messages that an application may send without giving others a turn: where the client takes all
#: there is, or a HEAD is answered with a long body, nothing else would make it wait.
SENDS_AT_ONCE: Final = 32


#: Of both kinds of streams, beside those of their cycles.
_SLOTS = ("sends", "signal", "connection", "started_at", "task")


class Stream(FileCycle):
    """One request with its application call."""

    __slots__ = _SLOTS

    def __init__(self, connection: Connection, request: RequestReceived, started_at: float) -> None:
        FileCycle.__init__(self, connection.engine, request)  # super() is dear before 3.12
        self.connection = connection
        self.started_at = started_at
        self.signal: Signal | None = None
        self.sends = 0
        #: What the backend runs the application as; the worker holds it by holding the stream.
        self.task: object = None

    @property
    def has_push(self) -> bool:
        return may_push(self.request) and self.connection.context.offered_push

    @property
    def has_zero_copy(self) -> bool:
        return self.connection.context.zero_copy and self.request.http_version != "2"

    def poll(self) -> dict[str, Any] | None:
        """The next message for the application, or None if that has to ``wait``."""
        message = self.next_message()
        if message is None:
            self.connection.flush()  # a 100 (Continue) may be due
            # A signal has no memory, and flushing may have been what brought the message.
            message = self.next_message()
        if message is not None and message.get("body"):
            self.connection.flush()  # credit may have to be returned, reading resumed
        return message

    def pass_on(self, message: Message) -> bool | FilePart:
        """Take a message and see to it that it leaves; true if the application has to wait for that,
        or to give others a turn. A file is for the caller to send.
        """
        taken = self.take(plain(message))
        if taken is not True:
            return taken
        if self.signal is not None and self.complete:
            self.signal.notify()  # another task may wait for what comes now: a disconnect
        connection = self.connection
        if self._state == BODY:
            delivered = connection.deliver_part(self.stream_id)
        else:
            delivered = connection.deliver()
            if self._state == COMPLETE:
                return False  # nothing comes behind it; what is left to do is ``stream_ended``'s
        self.sends += 1
        return self.sends >= SENDS_AT_ONCE or (
            not delivered and connection.must_wait(self.stream_id)
        )

    def reset(self, reason: str) -> None:
        self.connection.write_ahead()
        FileCycle.reset(self, reason)


class WebSocketStream(WebSocketCycle):
    """One WebSocket with its application call.

    Where several messages wait for the application, what it answers to them leaves together.
    """

    __slots__ = _SLOTS

    def __init__(
        self,
        connection: Connection,
        request: RequestReceived,
        handshake: Handshake,
        started_at: float,
    ) -> None:
        WebSocketCycle.__init__(
            self, connection.engine, request, handshake, connection.worker.open_websocket
        )
        self.connection = connection
        self.started_at = started_at
        self.signal: Signal | None = None
        self.sends = 0
        #: As in ``Stream``.
        self.task: object = None

    def sink(self, data: bytes) -> bool:
        taken = self.take_in(data)
        signal = self.signal
        if signal is not None:
            signal.notify()
        return taken

    def tunnel_ended(self) -> None:
        self.connection.tunnel_ended(self)

    def poll(self) -> dict[str, Any] | None:
        """As in ``Stream``."""
        message = self.next_message()
        if self._caught_up and message is not None:
            self._caught_up = False
            self.connection.flush()  # reading may have to be resumed
        return message

    def pass_on(self, message: Message) -> bool:
        """As in ``Stream``."""
        if not self.take(plain(message)):
            return False
        connection = self.connection
        socket = self._socket
        if socket is None:
            if self.complete:
                wake(self)
            delivered = connection.deliver()
        elif socket.messages or connection.shares_writes:
            delivered = connection.deliver_soon()
        else:
            delivered = connection.flush()
        self.sends += 1
        return not delivered or self.sends >= SENDS_AT_ONCE

    def finish(self, failed: bool) -> bool:
        self.connection.write_ahead()
        return WebSocketCycle.finish(self, failed)


AnyStream = Stream | WebSocketStream
