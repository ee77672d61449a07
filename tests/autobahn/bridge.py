"""WebSocket clients of HTTP/1.1 in front, one HTTP/2 connection behind: RFC 6455 to RFC 8441.

    python -m tests.autobahn.bridge --to 127.0.0.1:8000

No suite speaks WebSocket over HTTP/2, but one that speaks it over HTTP/1.1 can test it through this
bridge. The handshake is translated, then bytes are copied both ways as they come, with no look at
the frames in them: what the suite does wrong on purpose reaches the server. The pieces in which a
client's bytes arrive become DATA frames, and each DATA frame becomes one write.

All clients share one HTTP/2 connection (prior knowledge, cleartext), so that their streams stand in
each other's way if they can. What each side does at the end of a stream is done to the other:
END_STREAM is a TCP FIN, RST_STREAM is a TCP reset (RFC 8441 §5).
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import math
import socket
import struct
import sys
from collections.abc import Iterable
from http import HTTPStatus

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings
import trio

Fields = list[tuple[str, str]]

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 §1.3
_MAX_HEAD = 65_536
_READ = 65_536
#: On top of the 64 KiB that a connection and each of its streams begin with.
_CONNECTION_WINDOW = 1 << 24
#: Of the hop, not of the message (RFC 9113 §8.2.2), and what the translation replaces.
_HOP = frozenset(
    (
        *("connection", "host", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"),
        *("http2-settings", "sec-websocket-accept", "sec-websocket-key", "content-length"),
    )
)


class Refused(Exception):
    """The client's handshake cannot be carried; ``args`` are a status and a reason."""


class TunnelReset(Exception):
    """The server has reset the stream, or the connection to it has ended."""


# ---- HTTP/2 ------------------------------------------------------------------------------------


class Tunnel:
    """One stream of an upstream connection, as its client's tasks see it."""

    def __init__(self, upstream: Upstream, stream_id: int) -> None:
        self.stream_id = stream_id
        self.fields: Fields = []
        self.answered = trio.Event()
        #: The server has ended its side, or all.
        self.ended = self.was_reset = False
        #: The client has ended its side.
        self.sent_end = False
        self._upstream = upstream
        # What waits here is bounded by the stream's window: credit returns when it is taken.
        self._deliver, self._inbound = trio.open_memory_channel[tuple[bytes, int]](math.inf)

    @property
    def is_broken(self) -> bool:
        """A reset after END_STREAM takes nothing away: it says that the server will not read on."""
        return self.was_reset and not self.ended

    # called by the upstream's reader

    def deliver(self, data: bytes, size: int) -> None:
        """``size``: what it counts in the windows, padding included."""
        self._deliver.send_nowait((data, size))

    def end(self) -> None:
        self.ended = True
        self._deliver.close()

    def reset(self) -> None:
        self.was_reset = True
        self.answered.set()
        self._deliver.close()

    # called by the client's tasks

    async def head(self) -> Fields:
        """The response's fields, ``:status`` first. Raises TunnelReset."""
        await self.answered.wait()
        if not self.fields:
            raise TunnelReset
        return self.fields

    async def receive(self) -> tuple[bytes, int] | None:
        """The next piece and what it owes to ``acknowledge``; None at the end.

        Raises TunnelReset.
        """
        try:
            return await self._inbound.receive()
        except trio.EndOfChannel:
            if self.is_broken:
                raise TunnelReset from None
            return None

    async def acknowledge(self, size: int) -> None:
        await self._upstream.acknowledge(self.stream_id, size)

    async def send(self, data: bytes) -> None:
        """All of it, as credit comes. Raises TunnelReset."""
        await self._upstream.send(self, data)

    async def send_end(self) -> None:
        await self._upstream.send_end(self)

    async def cancel(self) -> None:
        """The client is done with it: what has not ended is reset."""
        await self._upstream.cancel(self)


class Upstream:
    """The HTTP/2 connection. One task, ``read``, receives; any may send."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.closed = False
        self.usable = trio.Event()  # the server's settings have come, or it has gone
        self._stream = stream
        self._h2 = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=True, header_encoding="utf-8")
        )
        self._tunnels: dict[int, Tunnel] = {}
        self._writing = trio.Lock()
        self._credit = trio.Condition()  # windows have grown, or streams have ended

    async def start(self) -> None:
        self._h2.initiate_connection()
        # A client that does not read is to stall its own stream, not those of others.
        self._h2.increment_flow_control_window(_CONNECTION_WINDOW)
        await self._flush()

    async def read(self) -> None:
        """Until the connection ends; then nothing of it is left."""
        try:
            while not self.closed and (data := await self._stream.receive_some(_READ)):
                for event in self._h2.receive_data(data):
                    self._handle(event)
                await self._flush()
                async with self._credit:
                    self._credit.notify_all()
        except (trio.BrokenResourceError, h2.exceptions.ProtocolError) as error:
            print(f"bridge: the server's connection broke: {error!r}", file=sys.stderr)
        finally:
            self.closed = True
            self.usable.set()
            for tunnel in self._tunnels.values():
                tunnel.reset()
            with trio.CancelScope(shield=True):
                async with self._credit:
                    self._credit.notify_all()
                await trio.aclose_forcefully(self._stream)

    def _handle(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.RemoteSettingsChanged):
            self.usable.set()
        elif isinstance(event, h2.events.ConnectionTerminated):
            print(f"bridge: GOAWAY, {event.error_code!r}", file=sys.stderr)
            self.closed = True  # the library speaks on no stream after it
        elif isinstance(event, h2.events.DataReceived):
            if tunnel := self._tunnels.get(event.stream_id):
                tunnel.deliver(event.data, event.flow_controlled_length)
            else:  # it was cancelled; the connection's window wants its credit back
                self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(
            event,
            h2.events.ResponseReceived | h2.events.StreamEnded | h2.events.StreamReset,
        ) and (tunnel := self._tunnels.get(event.stream_id)):
            if isinstance(event, h2.events.ResponseReceived):
                tunnel.fields = [(str(name), str(value)) for name, value in event.headers]
                tunnel.answered.set()
            elif isinstance(event, h2.events.StreamEnded):
                tunnel.end()
            else:
                tunnel.reset()

    async def connect(self, head: Fields) -> Tunnel:
        """Open a tunnel. Raises Refused where the server offers none, TunnelReset where it is gone."""
        await self.usable.wait()
        if self.closed:
            raise TunnelReset
        if not self._h2.remote_settings.enable_connect_protocol:
            raise Refused(HTTPStatus.BAD_GATEWAY, "the server does not offer extended CONNECT")
        try:
            stream_id = self._h2.get_next_available_stream_id()
            self._h2.send_headers(stream_id, head)
        except h2.exceptions.TooManyStreamsError:
            raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, "too many streams") from None
        tunnel = self._tunnels[stream_id] = Tunnel(self, stream_id)
        await self._flush()
        return tunnel

    async def send(self, tunnel: Tunnel, data: bytes) -> None:
        view = memoryview(data)
        while view:
            async with self._credit:
                while (room := self._room(tunnel)) <= 0:
                    await self._credit.wait()
                self._h2.send_data(tunnel.stream_id, bytes(view[:room]))
            view = view[room:]
            await self._flush()

    def _room(self, tunnel: Tunnel) -> int:
        """How much the next DATA frame may have. Raises TunnelReset."""
        if self.closed or tunnel.was_reset:
            raise TunnelReset
        window = self._h2.local_flow_control_window(tunnel.stream_id)
        return min(window, self._h2.max_outbound_frame_size)

    async def send_end(self, tunnel: Tunnel) -> None:
        if not (self.closed or tunnel.was_reset):
            tunnel.sent_end = True
            self._h2.end_stream(tunnel.stream_id)
            await self._flush()

    async def acknowledge(self, stream_id: int, size: int) -> None:
        if not self.closed and size:
            self._h2.acknowledge_received_data(size, stream_id)
            await self._flush()

    async def cancel(self, tunnel: Tunnel) -> None:
        del self._tunnels[tunnel.stream_id]
        finished = tunnel.ended and tunnel.sent_end
        if not (finished or tunnel.was_reset or self.closed):
            self._h2.reset_stream(tunnel.stream_id, h2.errors.ErrorCodes.CANCEL)
            await self._flush()

    async def _flush(self) -> None:
        async with self._writing:  # two tasks' bytes must not cross
            if data := self._h2.data_to_send():
                try:
                    await self._stream.send_all(data)
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    self.closed = True


# ---- HTTP/1.1 ----------------------------------------------------------------------------------


class Bridge:
    """``serve`` is the handler of a listener: one call per client."""

    def __init__(self, host: str, port: int, nursery: trio.Nursery) -> None:
        self._address = (host, port)
        self._nursery = nursery
        self._upstream: Upstream | None = None
        self._connecting = trio.Lock()

    async def serve(self, client: trio.SocketStream) -> None:
        async with client:
            try:
                try:
                    await self._serve(client)
                except Refused as refused:
                    status, reason = refused.args
                    await client.send_all(_error(status, reason))
            except TunnelReset:
                reset_on_close(client)
            except trio.BrokenResourceError:
                pass  # the client is gone, and its stream was cancelled

    async def _serve(self, client: trio.SocketStream) -> None:
        head, early = await _read_head(client)
        request, accept = translate(head)
        upstream = await self._connected()
        tunnel = await upstream.connect(request)
        try:
            (_, status), *fields = await tunnel.head()
            if status == "200":
                await client.send_all(_switched(accept, fields))
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(_copy_down, tunnel, client, nursery.cancel_scope)
                    await _copy_up(client, early, tunnel, nursery.cancel_scope)
            else:
                await client.send_all(_answer(int(status), fields))
                await _copy(tunnel, client)
            if tunnel.is_broken:
                raise TunnelReset
        finally:
            with trio.CancelScope(shield=True):
                await tunnel.cancel()

    async def _connected(self) -> Upstream:
        async with self._connecting:
            if self._upstream is None or self._upstream.closed:
                try:
                    stream = await trio.open_tcp_stream(*self._address)
                except OSError as error:
                    raise Refused(HTTPStatus.BAD_GATEWAY, f"no connection: {error}") from None
                self._upstream = Upstream(stream)
                await self._upstream.start()
                self._nursery.start_soon(self._upstream.read)
            return self._upstream


async def _copy(tunnel: Tunnel, client: trio.SocketStream) -> None:
    """To the stream's end; credit returns as the client takes the bytes."""
    while piece := await tunnel.receive():
        data, size = piece
        await client.send_all(data)
        await tunnel.acknowledge(size)
    await client.send_eof()


async def _copy_down(tunnel: Tunnel, client: trio.SocketStream, both: trio.CancelScope) -> None:
    try:
        await _copy(tunnel, client)
    except (TunnelReset, trio.BrokenResourceError):
        both.cancel()


async def _copy_up(
    client: trio.SocketStream, early: bytes, tunnel: Tunnel, both: trio.CancelScope
) -> None:
    """To the client's FIN; where the client or the stream breaks, ``both`` directions end."""
    try:
        if early:
            await tunnel.send(early)
        while data := await client.receive_some(_READ):
            await tunnel.send(data)
        await tunnel.send_end()
    except (TunnelReset, trio.BrokenResourceError):
        if not tunnel.ended:
            both.cancel()


async def _read_head(client: trio.SocketStream) -> tuple[bytes, bytes]:
    """The request head, and what came along with it. Raises Refused."""
    received = bytearray()
    while (end := received.find(b"\r\n\r\n")) < 0:
        if len(received) > _MAX_HEAD:
            raise Refused(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "a head without end")
        piece = await client.receive_some(_READ)
        if not piece:
            raise Refused(HTTPStatus.BAD_REQUEST, "the head is not whole")
        received += piece
    return bytes(received[:end]), bytes(received[end + 4 :])


def translate(head: bytes) -> tuple[Fields, str]:
    """An opening handshake (RFC 6455 §4.1) as an extended CONNECT, and the ``Sec-WebSocket-Accept``.

    Raises Refused.
    """
    request_line, *lines = head.decode("latin-1").split("\r\n")
    method, _, rest = request_line.partition(" ")
    target, _, version = rest.partition(" ")
    if (method, version) != ("GET", "HTTP/1.1"):
        raise Refused(HTTPStatus.BAD_REQUEST, f"no opening handshake: {request_line}")
    fields = []
    for line in lines:
        name, _, value = line.partition(":")
        fields.append((name.lower(), value.strip(" \t")))
    single = dict(fields)
    if single.get("upgrade", "").lower() != "websocket" or "sec-websocket-key" not in single:
        raise Refused(HTTPStatus.BAD_REQUEST, "no opening handshake: no Upgrade or no key")
    pseudo = [
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "http"),
        (":path", target),
        (":authority", single.get("host", "")),
    ]
    return [*pseudo, *_end_to_end(fields)], accept_key(single["sec-websocket-key"])


def accept_key(key: str) -> str:
    """RFC 6455 §4.2.2."""
    return base64.b64encode(hashlib.sha1(key.encode("latin-1") + _GUID).digest()).decode()


def _end_to_end(fields: Iterable[tuple[str, str]]) -> Fields:
    return [(name, value) for name, value in fields if name not in _HOP]


def _switched(accept: str, fields: Fields) -> bytes:
    return _head(
        HTTPStatus.SWITCHING_PROTOCOLS,
        [
            ("upgrade", "websocket"),
            ("connection", "upgrade"),
            ("sec-websocket-accept", accept),
            *_end_to_end(fields),
        ],
    )


def _answer(status: int, fields: Fields) -> bytes:
    """The head of an answer that is no tunnel; its body ends with the connection."""
    return _head(status, [*_end_to_end(fields), ("connection", "close")])


def _error(status: int, reason: str) -> bytes:
    return _answer(status, [("content-type", "text/plain")]) + f"bridge: {reason}\n".encode()


def _head(status: int, fields: Fields) -> bytes:
    known = status in HTTPStatus.__members__.values()
    first = f"HTTP/1.1 {int(status)} {HTTPStatus(status).phrase if known else ''}"
    lines = [first, *(f"{name}: {value}" for name, value in fields), "", ""]
    return "\r\n".join(lines).encode("latin-1")


def reset_on_close(client: trio.SocketStream) -> None:
    """Let closing send a TCP reset."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


# ---- the program -------------------------------------------------------------------------------


async def serve(
    host: str, port: int, *, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED
) -> None:
    """Bridge to ``host``:``port`` until cancelled; started with the port it listens on."""
    async with trio.open_nursery() as nursery:
        bridge = Bridge(host, port, nursery)
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        task_status.started(listener.socket.getsockname()[1])
        await trio.serve_listeners(bridge.serve, [listener])


async def _main(host: str, port: int) -> None:
    async with trio.open_nursery() as nursery:
        listening: int = await nursery.start(serve, host, port)
        print(f"listening on http://127.0.0.1:{listening}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="WebSocket over HTTP/1.1 to WebSocket over HTTP/2")
    parser.add_argument("--to", required=True, metavar="HOST:PORT", help="the HTTP/2 server")
    to = parser.parse_args().to.rpartition(":")
    trio.run(_main, to[0], int(to[2]))
