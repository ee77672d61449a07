"""What asyncio and trio each provide for the byte path; all else goes through anyio.

Per byte and per request, anyio's streams and task groups cost more than the request itself, so
each event loop has short files of its own.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from hyperserver.runtime.acceptor import Acceptor
    from hyperserver.runtime.stream import AnyStream


class Signal(Protocol):
    """Wakes every task that waits at that moment. It has no memory: re-examine, then wait."""

    def wait(self) -> Awaitable[None]: ...
    def notify(self) -> None: ...


class Transport(Protocol):
    """A connected byte stream. All methods are synchronous and never raise.

    The transport calls ``data_received``, ``eof_received``, ``writable`` and, exactly once and
    last, ``connection_lost`` of its ``Connection``.
    """

    #: More was written than the socket takes; do not write until ``writable`` is called.
    congested: bool
    #: Others may write to the socket: see ``lend``.
    can_lend: bool
    #: Bytes, or 1 for any number, that wait for the socket somewhere else. For ``unsent``.
    held: int

    def write(self, data: bytes) -> None: ...
    def write_together(self, first: bytes, second: bytes) -> None:
        """``write`` both, with one system call where that takes no copy of them."""

    def unsent(self) -> int:
        """0 if the kernel has taken what was written, else the bytes the peer has not taken."""

    def undelivered(self) -> int:
        """Bytes written that the peer has not acknowledged, as far as the kernel can tell."""

    def is_broken(self) -> bool:
        """Whether the connection has been reset, which nobody notices while reading is paused."""

    def write_eof(self) -> None:
        """Half-close after what was written."""

    def settle(self) -> None:
        """Until ``reclaim``, be congested as long as the kernel has not taken all that was written,
        however little is left.
        """

    def lend(self) -> int:
        """A descriptor of the socket, to be closed by who asks for it, who alone may write until
        ``reclaim``: the transport is congested. It must have settled. Raises OSError.

        It is a duplicate. The transport may close at any time, and the number of its own descriptor
        could be another connection's in the next moment.
        """

    def reclaim(self) -> None:
        """Writing is the transport's business again. It is no longer congested, but does not say so."""

    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
    def close(self) -> None:
        """Close after what was written."""

    def abort(self) -> None:
        """Close at once, with a TCP reset."""


class Backend(Protocol):
    """An event loop as the worker sees it."""

    #: How the loop and its version are called in the log.
    name: str

    def is_cancellation(self, error: BaseException) -> bool:
        """Whether ``error`` ended the running task because the worker cancelled it.

        An application can raise the same exception on its own account (it cancelled something
        of its own and let that escape), which is a failure like any other. On trio, letting
        such a stray out of a task would end the nursery, and the server with it.
        """

    def make_signal(self) -> Signal: ...
    async def give_way(self) -> None:
        """Let everything that is ready have its turn."""

    def call_soon(self, callback: Callable[[], None]) -> None:
        """Call it when the tasks that are ready now have had their turn."""

    def spawn(self, stream: AnyStream, scope: dict[str, Any], at_once: bool) -> None:
        """Start ``call.run(stream, scope)`` in its own task and a fresh copy of the context.

        Unless ``at_once``, not before everything else that is due has had its turn.
        """

    def running(self, streams: set[AnyStream]) -> AbstractAsyncContextManager[None]:
        """While entered, connections and ``streams`` may run; leaving cancels and awaits them."""

    async def listen(self, sock: socket.socket, acceptor: Acceptor, backlog: int) -> Listener:
        """Accept connections from ``sock`` and hand them to ``acceptor.accept``."""

    def cancel(self, streams: set[AnyStream]) -> None:
        """Cancel all application calls, which are ``streams``."""


class Listener(Protocol):
    def close(self) -> None:
        """Stop accepting and close the socket."""


#: Whether the system copies from files to sockets, and the event loops watch any descriptor.
CAN_LEND = hasattr(os, "sendfile") and sys.platform != "win32"


#: Family, type and protocol of a socket.
Kind = tuple[int, int, int]


def kind_of(sock: socket.socket) -> Kind:
    return int(sock.family), int(sock.type), sock.proto


def accept_from(listener: socket.socket, kind: Kind) -> tuple[socket.socket, object]:
    """``listener.accept()``, which would make members of enumerations for each connection, out of
    what we know to be its ``kind``. Raises OSError.
    """
    descriptor, peer = listener._accept()  # type: ignore[attr-defined]  # noqa: SLF001
    return socket.socket(*kind, descriptor), peer


def tune(sock: socket.socket) -> None:
    """Answers are whole when they are written: Nagle's algorithm could only delay them."""
    if sock.family in (socket.AF_INET, socket.AF_INET6):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def reset_on_close(sock: socket.socket) -> None:
    """Make the coming close a TCP reset: the peer must not take it for an orderly end."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")


def kernel_queue(sock: socket.socket) -> int:
    """Bytes that the kernel has taken and the peer has not acknowledged; 0 where it cannot tell.

    A kernel takes more only once a good part of its queue, which may be megabytes, is free. To a
    slow reader that can be longer than any timeout; here its progress shows at once.
    """
    if sys.platform != "linux":
        return 0
    import fcntl
    import termios

    try:
        answer = fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4))  # SIOCOUTQ of tcp(7)
    except (OSError, ValueError):  # closed already
        return 0
    return int.from_bytes(answer, sys.byteorder)


def is_reset(sock: socket.socket) -> bool:
    """Whether the peer has reset the connection; False where the system cannot tell."""
    import select

    if not hasattr(select, "poll"):
        return False
    poll = select.poll()
    try:
        poll.register(sock.fileno(), 0)  # errors are reported without being asked for
        return bool(poll.poll(0))
    except (OSError, ValueError):  # closed already
        return True
