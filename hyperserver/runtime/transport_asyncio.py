"""The byte path on asyncio and uvloop: a protocol that pushes into ``Connection``.

It is an ``asyncio.Protocol`` by its methods, not by descent: what is compiled can have no such base.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias, cast

from hyperserver.protocol.interface import HIGH_WATER
from hyperserver.runtime.backend import CAN_LEND, is_reset, kernel_queue, reset_on_close

if TYPE_CHECKING:
    import socket

    from hyperserver.runtime.acceptor import Acceptor
    from hyperserver.runtime.backend import Transport
    from hyperserver.runtime.connection import Connection


class AsyncioSignal:
    """One future per waiting task, so that cancelling one does not disturb another. There is hardly
    ever more than one, which therefore has a place of its own.
    """

    __slots__ = ("_future", "_loop", "_others")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._future: asyncio.Future[None] | None = None
        self._others: list[asyncio.Future[None]] | None = None

    def wait(self) -> asyncio.Future[None]:
        future = self._loop.create_future()
        if self._future is None or self._future.done():
            self._future = future
        else:
            waiting = [other for other in self._others or () if not other.done()]
            self._others = [*waiting, future]
        return future

    def notify(self) -> None:
        future = self._future
        if future is not None:
            self._future = None
            if not future.done():
                future.set_result(None)
        if self._others is not None:
            others, self._others = self._others, None
            for other in others:
                if not other.done():
                    other.set_result(None)


class AsyncioTransport:
    """Adapts the loop's callbacks to a ``Connection``, and its commands to the loop's transport."""

    __slots__ = (
        "_acceptor",
        "_connection",
        "_peer",
        "_sock",
        "_transport",
        "congested",
        "data_received",
        "held",
    )

    can_lend = CAN_LEND
    _transport: asyncio.Transport

    def __init__(
        self, acceptor: Acceptor, sock: socket.socket | None = None, peer: object = None
    ) -> None:
        """``sock`` and ``peer`` are what ``socket.accept()`` said, if it was called."""
        self._acceptor = acceptor
        self._connection: Connection | None = None
        self._sock = sock
        self._peer = peer
        self.congested = False
        self.held = 0
        #: The connection's own, once there is one: a call less for each read.
        self.data_received: Callable[[bytes], None] = bytes  # type: ignore[assignment]

    # ---- called by the loop --------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass
        self._transport.set_write_buffer_limits(high=HIGH_WATER)
        sock = self._sock or transport.get_extra_info("socket")
        self._connection = connection = self._acceptor.accept(self, sock, self._peer)
        self._sock = self._peer = None
        self.data_received = connection.data_received
        # uvloop asks for its methods just here
        self._transport.set_protocol(cast("asyncio.Protocol", self))

    @property
    def is_adopted(self) -> bool:
        """Whether the worker has the connection."""
        return self._connection is not None

    def eof_received(self) -> bool:
        if self._connection is not None:
            self._connection.eof_received()
        return True  # half-close: the sending side stays open until the engine is done

    def connection_lost(self, exc: Exception | None) -> None:
        if self._connection is not None:
            self._connection.connection_lost()
        # It knows of us: in a ring, both would wait for the garbage collector.
        self._connection = None
        self.data_received = bytes  # type: ignore[assignment]

    def pause_writing(self) -> None:
        self.congested = True

    def resume_writing(self) -> None:
        self.congested = False
        if self._connection is not None:
            self._connection.writable()

    # ---- called by the connection --------------------------------------------------------

    def write(self, data: bytes) -> None:
        transport = self._transport
        transport.write(data)
        if transport.is_closing():
            # It failed, and connection_lost waits for its turn. Hold applications until then: one
            # that never waits would go on sending to nobody, and asyncio log a line for each.
            self.congested = True

    def write_together(self, first: bytes, second: bytes) -> None:
        transport = self._transport
        # asyncio's own copies them before Python 3.12, and forgets to pause us in some later versions.
        if type(transport).__module__ != "uvloop.loop":
            self.write(first)
            self.write(second)
            return
        transport.writelines((first, second))
        self.congested = self.congested or transport.is_closing()

    def unsent(self) -> int:
        size = self._transport.get_write_buffer_size() + self.held
        return size and size + kernel_queue(self._transport.get_extra_info("socket"))

    def undelivered(self) -> int:
        transport = self._transport
        return transport.get_write_buffer_size() + kernel_queue(transport.get_extra_info("socket"))

    def is_broken(self) -> bool:
        return is_reset(self._transport.get_extra_info("socket"))

    def write_eof(self) -> None:
        if not self._transport.is_closing():
            try:
                self._transport.write_eof()
            except OSError:  # the peer has reset the connection, and the loop has not seen it yet
                self._transport.abort()

    def settle(self) -> None:
        if not self._transport.is_closing():
            self._transport.set_write_buffer_limits(high=0)  # if there is anything, it pauses us

    def lend(self) -> int:
        if self._transport.is_closing():
            raise BrokenPipeError("the connection has been closed")
        number = os.dup(self._transport.get_extra_info("socket").fileno())
        self.congested = True
        return number

    def reclaim(self) -> None:
        self.held = 0
        if not self._transport.is_closing():
            self.congested = False
            self._transport.set_write_buffer_limits(high=HIGH_WATER)

    def pause_reading(self) -> None:
        if not self._transport.is_closing():
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        if not self._transport.is_closing():
            self._transport.resume_reading()

    def close(self) -> None:
        self._transport.close()

    def abort(self) -> None:
        if not self._transport.is_closing():
            try:
                reset_on_close(self._transport.get_extra_info("socket"))
            except OSError:
                pass
        self._transport.abort()


if TYPE_CHECKING:
    # As ``AnyEngine`` in ``interface``.
    AnyTransport: TypeAlias = AsyncioTransport | Transport
