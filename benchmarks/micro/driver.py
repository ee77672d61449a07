"""What the runtime does with an engine, without waiting: feed it, serve what it reports, drain it."""

from __future__ import annotations

from collections.abc import Callable

from hyperserver.asgi.http import HTTPCycle
from hyperserver.asgi.scope import ScopeContext, http_scope, websocket_scope
from hyperserver.asgi.websocket import WebSocketCycle
from hyperserver.protocol.events import (
    DataReceived,
    Event,
    ProtocolSwitched,
    RequestReceived,
    StreamClosed,
)
from hyperserver.protocol.interface import ByteConnection
from hyperserver.protocol.websocket.connection import WebSocket
from hyperserver.protocol.websocket.handshake import Handshake, read_handshake

NOW = 1.0

#: Answers a request that has come whole: the application, without ``await``.
Respond = Callable[[HTTPCycle], None]


class Driver:
    """One connection. ``respond`` is given each request that has come whole; a WebSocket is accepted
    and echoes.
    """

    def __init__(
        self,
        wire: ByteConnection,
        respond: Respond,
        open_socket: Callable[[Handshake], WebSocket] | None = None,
    ) -> None:
        self.wire = wire
        self.engine = wire
        self._respond = respond
        self._open_socket = open_socket
        self._context = ScopeContext(("127.0.0.1", 50_000), ("127.0.0.1", 8000), "", {})
        self._cycles: dict[int, HTTPCycle] = {}
        self._websocket: WebSocketCycle | None = None
        self.served = 0  # requests or messages

    def feed(self, data: bytes) -> bytes:
        """What the server sends when it has received ``data``."""
        wire = self.wire
        wire.receive_data(data, NOW)
        while self.engine.event_queue:
            for event in self.engine.events():
                self._dispatch(event)
        if self._websocket is not None:
            self._echo(self._websocket)
        pieces = []
        while wire.output:
            pieces.append(wire.data_to_send())
        return b"".join(pieces)

    def _dispatch(self, event: Event) -> None:
        if type(event) is RequestReceived:
            if event.protocol is not None:
                self._accept(event)
                return
            cycle = HTTPCycle(self.engine, event)
            http_scope(event, self._context, self.engine.can_push)
            if event.end_stream:
                self._answer(cycle)
            else:
                self._cycles[event.stream_id] = cycle
        elif type(event) is DataReceived:
            cycle = self._cycles[event.stream_id]
            cycle.data_received(event.data, event.end_stream)
            if event.end_stream:
                del self._cycles[event.stream_id]
                self._answer(cycle)
        elif type(event) is ProtocolSwitched:
            self.engine = event.connection
        elif type(event) is StreamClosed:
            raise AssertionError(f"stream {event.stream_id} was cut short")

    def _answer(self, cycle: HTTPCycle) -> None:
        self._respond(cycle)
        if not cycle.finish(False):
            raise AssertionError("the response is not complete")
        self.engine.release(cycle.stream_id)
        self.served += 1

    def _accept(self, request: RequestReceived) -> None:
        handshake = read_handshake(request, None)
        if self._open_socket is None:
            raise AssertionError("no WebSocket was expected")
        cycle = WebSocketCycle(self.engine, request, handshake, self._open_socket)
        websocket_scope(request, self._context, handshake.subprotocols)
        cycle.next_message()
        cycle.take({"type": "websocket.accept"})
        self._websocket = cycle

    def _echo(self, cycle: WebSocketCycle) -> None:
        while (message := cycle.next_message()) is not None:
            cycle.take({"type": "websocket.send", "text": message["text"]})
            self.served += 1
