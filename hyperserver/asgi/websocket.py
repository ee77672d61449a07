"""One WebSocket: ASGI messages on one side, a tunnel's bytes on the other.

The order of messages that an application may send is this machine:

    CONNECTING ──websocket.accept──► OPEN ──websocket.close──► ENDED
        │ ├──websocket.close────────(403)──────────────────────▲
        │ └──websocket.http.response.start──► DENYING ──last body──▲

A denial is an ordinary response, so an ``HTTPCycle`` gives it. What arrives before the
application accepts is held and not acknowledged: the tunnel's window bounds it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from hyperserver.asgi.http import HTTPCycle
from hyperserver.asgi.types import PlainMessage
from hyperserver.errors import ClientDisconnected, LocalProtocolError
from hyperserver.protocol.events import RequestReceived
from hyperserver.protocol.interface import HIGH_WATER
from hyperserver.protocol.websocket import frames
from hyperserver.protocol.websocket.connection import WebSocket
from hyperserver.protocol.websocket.handshake import Handshake

if TYPE_CHECKING:
    from hyperserver.protocol.interface import AnyConnection

_CONNECTING: Final = 0
_DENYING: Final = 1
_OPEN: Final = 2
_ENDED: Final = 3


class WebSocketCycle:
    """Turns a tunnel's bytes into ``receive()`` messages and ``send()`` messages into commands.

    Synchronous throughout: ``next_message`` answers None where the application has to wait.
    ``open_socket`` is called once the application accepts. ``status`` and ``bytes_sent`` are for
    the access log: 101 (by HTTP/1.1) or 200 if accepted, and the size of messages or of the
    denial's body.
    """

    __slots__ = (
        "_caught_up",
        "_denial",
        "_engine",
        "_going",
        "_handshake",
        "_held",
        "_lost",
        "_open_socket",
        "_owed",
        "_socket",
        "_started",
        "_state",
        "_tunnel_ended",
        "bytes_sent",
        "request",
        "status",
        "stream_id",
    )

    def __init__(
        self,
        engine: AnyConnection,
        request: RequestReceived,
        handshake: Handshake,
        open_socket: Callable[[Handshake], WebSocket],
    ) -> None:
        self._engine = engine
        self.request = request
        self.stream_id = request.stream_id
        self._lost = False  # the stream, with or without a closing handshake
        self.status = 0
        self.bytes_sent = 0
        self._handshake = handshake
        self._open_socket = open_socket
        self._state = _CONNECTING
        self._started = False  # websocket.connect has been handed out
        self._going = False
        self._held: list[bytes] | None = []
        self._denial: HTTPCycle | None = None
        self._socket: WebSocket | None = None
        self._owed = 0  # received bytes that have not been acknowledged
        self._tunnel_ended = False
        self._caught_up = False  # the engine has something to do since messages were taken

    def sink(self, data: bytes) -> bool:
        """For ``accept_tunnel``."""
        return self.take_in(data)

    # ---- from the engine -----------------------------------------------------------------

    def data_received(self, data: bytes, end_stream: bool) -> None:
        socket = self._socket
        if socket is not None:
            if self.take_in(data):
                self._engine.acknowledge(self.stream_id, len(data))
            if end_stream:
                socket.receive_end()
                self.settle()
        elif self._held is None:
            self._engine.acknowledge(self.stream_id, len(data))
        else:
            self._held.append(data)
            if end_stream:
                self.closed()

    def take_in(self, data: bytes) -> bool:
        """Bytes of the open tunnel; whether they need no ``acknowledge``."""
        socket = self._socket
        assert socket is not None
        socket.receive_data(data)
        if not (socket.output or self._owed or socket.is_behind) and socket.is_open:
            return True
        self._owed += len(data)
        self.settle()
        return False

    def input_closed(self) -> None:
        """The client will send nothing, or the server stops: too late for a handshake."""
        if self._socket is None:
            self.closed()

    def closed(self, status: int = 0) -> None:
        """The stream is gone; ``status`` is what the engine answered in our place, if it did."""
        self._lost = True
        self._held = None
        if status:
            self.status = status
        if self._denial is not None:
            self._denial.closed()
        if self._socket is not None:
            self._socket.receive_end()
        self.tunnel_ended()

    def tunnel_ended(self) -> None:
        """Called when nothing more will come of the tunnel, for whom it may concern."""

    # ---- to and from the application -----------------------------------------------------

    @property
    def gone(self) -> bool:
        """The client cannot be reached: send() raises."""
        return self._lost or (self._socket is not None and self._socket.closed is not None)

    @property
    def complete(self) -> bool:
        """The application has ended the socket, or its denial."""
        return self._state == _ENDED

    @property
    def note(self) -> str:
        """For the access log: how it ended."""
        if self._socket is not None and self._socket.closed is not None:
            return f"closed {self._socket.closed[0]}"
        return "disconnected" if self._lost else ""

    @property
    def content_sent(self) -> int:
        """Bytes of messages, or of the denial's body."""
        return self.bytes_sent if self._denial is None else self._denial.content_sent

    @property
    def is_over(self) -> bool:
        """Nothing more will come of the tunnel."""
        return self._lost or self._socket is None or self._socket.finished

    def next_message(self) -> dict[str, Any] | None:
        """The next message, or None if there is none yet."""
        socket = self._socket
        if socket is not None:
            if socket.messages:
                message = self._catch_up(socket) if socket.is_behind else socket.messages.pop(0)
                if isinstance(message, str):
                    return {"type": "websocket.receive", "bytes": None, "text": message}
                return {"type": "websocket.receive", "bytes": message, "text": None}
            if socket.closed is None:
                return None
            code, reason = socket.closed
            return {"type": "websocket.disconnect", "code": code, "reason": reason}
        if not self._started:
            self._started = True
            return {"type": "websocket.connect"}
        if self._lost or self._state == _ENDED:
            return {"type": "websocket.disconnect", "code": frames.ABNORMAL, "reason": ""}
        return None

    def _catch_up(self, socket: WebSocket) -> str | bytes:
        message = socket.next_message()
        if not socket.is_behind:
            self._caught_up = True
            self.settle()
        return message

    def take(self, message: PlainMessage) -> bool:
        """Take one message; whether it made the engine do anything.

        Raises ClientDisconnected once the client is gone or the socket is closed,
        LocalProtocolError for a message that is malformed, unknown or out of order.
        """
        kind = message.get("type")
        socket = self._socket
        if socket is not None:
            if kind != "websocket.send":
                if kind != "websocket.close":
                    raise _unexpected(kind, "after websocket.accept")
                return self._close(socket, message)
            payload = message.get("text")
            if type(payload) is not str or message.get("bytes") is not None:
                payload = self._payload(message)
            if not socket.is_open or self._lost:
                raise ClientDisconnected
            try:
                self.bytes_sent += socket.send(payload)
            except UnicodeEncodeError as error:
                raise LocalProtocolError(f"'text' cannot be sent: {error}") from None
            if len(socket.output) == 1:
                self._engine.send_data(self.stream_id, socket.output.pop())
            else:
                self._send_output(socket)
        elif self._state == _CONNECTING:
            if self._lost:
                raise ClientDisconnected
            self._answer(kind, message)
        elif self._state == _ENDED:
            if kind != "websocket.close":
                raise ClientDisconnected
            return False  # closing twice is no fault
        else:
            return self._deny(kind, message)
        return True

    def _answer(self, kind: object, message: PlainMessage) -> None:
        """The application's decision about the handshake."""
        if kind == "websocket.accept":
            self._accept(message)
        elif kind == "websocket.close":
            self._refuse(403)
        elif kind == "websocket.http.response.start":
            denial = HTTPCycle(self._engine, self.request)
            denial.take({**message, "type": "http.response.start", "trailers": False})
            self._denial = denial
            self._state = _DENYING
            self.status = denial.status
            self._drop_held()
        else:
            raise _unexpected(kind, "before websocket.accept")

    def _accept(self, message: PlainMessage) -> None:
        subprotocol = message.get("subprotocol")
        headers = self._handshake.response(subprotocol, message.get("headers") or ())
        socket = self._open_socket(self._handshake)
        self._engine.accept_tunnel(self.stream_id, headers, self.sink)
        self.status = 101 if self.request.http_version == "1.1" else 200
        self._state = _OPEN
        self._socket = socket
        held, self._held = self._held, None
        if held:
            data = b"".join(held)
            self._owed += len(data)
            socket.receive_data(data)
        if self._going:
            socket.close(frames.SERVICE_RESTART, at_once=True)
        self.settle()

    def _refuse(self, status: int) -> None:
        """A denial with no more than a status."""
        self._denial = denial = HTTPCycle(self._engine, self.request)
        denial.take({"type": "http.response.start", "status": status})
        denial.take({"type": "http.response.body"})
        self._state = _ENDED
        self.status = status
        self._drop_held()

    def _drop_held(self) -> None:
        held, self._held = self._held, None
        for data in held or ():
            self._engine.acknowledge(self.stream_id, len(data))

    def _deny(self, kind: object, message: PlainMessage) -> bool:
        denial = self._denial
        assert denial is not None
        if kind != "websocket.http.response.body":
            raise _unexpected(kind, "after websocket.http.response.start")
        answered = denial.take({**message, "type": "http.response.body"})
        if denial.complete:
            self._state = _ENDED
        return answered is True  # nothing that it takes is a file

    def _payload(self, message: PlainMessage) -> str | bytes:
        """What a ``websocket.send`` says. Raises LocalProtocolError."""
        text = message.get("text")
        data = message.get("bytes")
        if data is None:
            if text is None:
                raise LocalProtocolError("websocket.send needs either 'bytes' or 'text'")
            if not isinstance(text, str):
                raise LocalProtocolError(
                    f"websocket.send needs a string in 'text', not {type(text).__name__}"
                )
            return str(text)
        if text is not None:
            raise LocalProtocolError("websocket.send needs either 'bytes' or 'text', not both")
        if not isinstance(data, bytes | bytearray | memoryview):
            raise LocalProtocolError(
                f"websocket.send needs bytes in 'bytes', not {type(data).__name__}"
            )
        return data if type(data) is bytes else bytes(data)

    def _close(self, socket: WebSocket, message: PlainMessage) -> bool:
        code = message.get("code")
        code = frames.NORMAL if code is None else frames.check_code(code)
        reason = message.get("reason") or ""
        if not isinstance(reason, str):
            raise LocalProtocolError(f"'reason' must be a string, not {type(reason).__name__}")
        try:
            reason.encode()
        except UnicodeEncodeError as error:
            raise LocalProtocolError(f"'reason' cannot be sent: {error}") from None
        if self._state == _ENDED:
            return False  # closing twice is no fault
        if not socket.is_open or self._lost:
            raise ClientDisconnected
        socket.close(code, reason)
        self._state = _ENDED
        self.settle()
        return True

    # ---- the tunnel ----------------------------------------------------------------------

    def settle(self) -> None:
        """Hand on what the socket has caused: credit, bytes, the end of the tunnel.

        Pongs, which a peer can ask for without end, wait in the socket while it does not read.
        """
        socket = self._socket
        if socket is None:
            return
        engine = self._engine
        if self._owed and not socket.is_behind:
            engine.acknowledge(self.stream_id, self._owed)
            self._owed = 0
        if self._lost or self._tunnel_ended:
            socket.output.clear()
        elif socket.finished:
            self._send_output(socket)
            self._tunnel_ended = True
            if socket.aborted:
                self._lost = True
                engine.reset_stream(self.stream_id, "the closing handshake takes too long")
            else:
                engine.send_data(self.stream_id, b"", True)
            self.tunnel_ended()
        elif socket.output and engine.buffered(self.stream_id) <= HIGH_WATER:
            self._send_output(socket)

    def _send_output(self, socket: WebSocket) -> None:
        for data in socket.data_to_send():
            self._engine.send_data(self.stream_id, data)

    # ---- time, and the end ---------------------------------------------------------------

    @property
    def next_look(self) -> float | None:
        """When to call ``look``; 0.0 for as soon as possible, None for never."""
        return None if self._socket is None else self._socket.next_look

    def look(self, now: float) -> None:
        """Act on what is due: pings, and deadlines that have passed."""
        if self._socket is not None:
            self._socket.look(now)
            self.settle()

    def shutdown(self) -> None:
        """The server stops: say so (1012), or as soon as the application has accepted."""
        self._going = True
        if self._socket is not None:
            self._socket.close(frames.SERVICE_RESTART, at_once=True)
            self.settle()

    def finish(self, failed: bool) -> bool:
        """The application has returned or, if it ``failed``, raised: make the best of it.

        Returns whether it had answered the handshake, and a denial to its end.
        """
        if self._socket is not None:
            self._socket.close(frames.INTERNAL_ERROR if failed else frames.NORMAL)
            self._state = _ENDED
            self.settle()
            return True
        if self._denial is not None:
            return self._denial.finish(failed)
        if not self._lost:
            self._refuse(500)
        self._state = _ENDED
        return False


def _unexpected(kind: object, when: str) -> LocalProtocolError:
    if kind is None:
        return LocalProtocolError("an ASGI message needs a 'type'")
    return LocalProtocolError(f"ASGI message type {kind!r} cannot be sent {when}")
