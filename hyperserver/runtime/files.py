"""Sending files: opened and read in threads, and by ``sendfile`` where nothing has to see the bytes.

Nothing here touches a disk on the event loop. That holds for ``sendfile`` too: to a socket that does
not block it is only the socket that does not, and a page that is not in memory is waited for. So a
thread copies what the socket takes at once and the file has, and it is the event loop that waits for
the socket: a slow client holds a descriptor and a few hundred bytes, but neither a thread nor a
buffer. What is small is read in the same trip to the thread in which it is opened, and leaves with
the head of its response in one write.
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, TypeVarTuple, cast

from anyio import CancelScope, CapacityLimiter, to_thread, wait_writable
from anyio.lowlevel import RunVar

from hyperserver.errors import ClientDisconnected, LocalProtocolError
from hyperserver.runtime.waiting import wait, wait_for_room, wake

if TYPE_CHECKING:
    from hyperserver.asgi.files import FilePart
    from hyperserver.protocol.interface import DirectConnection
    from hyperserver.runtime.stream import Stream

#: Bytes read at a time for a client to whom no ``sendfile`` leads. With the high-water mark it is
#: what a response may have in memory; half of it costs two fifths more CPU over HTTP/2. What is no
#: larger is read whole: to set up a ``sendfile`` costs as much as to copy 300 KB.
_PIECE = 131_072
#: Bytes copied by ``sendfile`` before others get the thread.
_TURN = 8_388_608
#: Threads of files, in each worker. They are not those of the application, which may be waiting.
_THREADS = 16

_FLAGS = (
    os.O_RDONLY
    | getattr(os, "O_NONBLOCK", 0)  # in opening a FIFO one waits for its writer, otherwise
    | getattr(os, "O_BINARY", 0)
)

_Result = TypeVar("_Result")
_Args = TypeVarTuple("_Args")

_limiter: RunVar[CapacityLimiter] = RunVar("hyperserver.files")


class FileTooShort(Exception):
    """The file ended before the bytes that had been promised."""


class _Abandoned(Exception):
    """The caller has been cancelled."""


class _Descriptors:
    """Descriptors that a thread may be using, closed when nobody does any longer.

    Threads cannot be cancelled, and who has waited for one may be. If its descriptors were closed
    then, the next connection or file to be opened would get the numbers that the thread uses.
    """

    def __init__(self) -> None:
        self._numbers: list[int] = []
        self._lock = threading.Lock()
        self._in_use = False
        self._closed = False

    def add(self, number: int) -> int:
        self._numbers.append(number)
        return number

    def __enter__(self) -> None:
        with self._lock:
            if self._closed:
                raise _Abandoned
            self._in_use = True

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._in_use = False
            if self._closed:
                self._close()

    def close(self) -> None:
        with self._lock:
            self._closed = True
            if not self._in_use:
                self._close()

    def _close(self) -> None:
        while self._numbers:
            os.close(self._numbers.pop())


class _Source:
    """The file of a part. Methods without ``async`` run in threads."""

    def __init__(self, part: FilePart) -> None:
        self.part = part
        self.descriptors = _Descriptors()
        self._number = -1
        #: Where the next byte is.
        self.offset = part.offset or 0
        #: Bytes still to be sent.
        self.left = 0
        self._begins_at_position = part.path is None and part.offset is None
        if part.path is None:
            # in those of anyio and trio, whose methods have to be awaited, there is another
            self._file = getattr(part.file, "wrapped", part.file)
            self._borrow(self._file)

    def _borrow(self, file: Any) -> None:
        """Of the application's file we use a duplicate: it may close its own at any time."""
        try:
            number = file if isinstance(file, int) else file.fileno()
            self._number = self.descriptors.add(os.dup(number))
            if self._begins_at_position:
                # an object that buffers is not where its descriptor is
                self.offset = (
                    file.tell() if hasattr(file, "tell") else os.lseek(number, 0, os.SEEK_CUR)
                )
        except (OSError, ValueError, TypeError, OverflowError) as error:
            self.descriptors.close()
            raise LocalProtocolError(
                f"http.response.zerocopysend cannot send {file!r}: {error}"
            ) from error

    def advance(self) -> None:
        """All has been sent: a file that was sent from its position is where it would be if it had
        been read.
        """
        if not self._begins_at_position:
            return
        file = self._file
        try:
            if hasattr(file, "seek"):
                file.seek(self.offset)
            else:
                os.lseek(file if isinstance(file, int) else file.fileno(), self.offset, os.SEEK_SET)
        except (OSError, ValueError):
            pass  # the application has closed it meanwhile

    async def prepare(self) -> bytes | None:
        """Open the file and set ``left``; all of the bytes if they are few. Raises
        LocalProtocolError.
        """
        part = self.part
        try:
            return await self._in_thread(self._prepare)
        except (OSError, ValueError) as error:
            what = (
                f"http.response.zerocopysend cannot send {part.file!r}"
                if part.path is None
                else f"http.response.pathsend cannot send {part.path!r}"
            )
            reason = getattr(error, "strerror", None) or error
            raise LocalProtocolError(f"{what}: {reason}") from error

    def _prepare(self) -> bytes | None:
        part = self.part
        with self.descriptors:
            if part.path is not None:
                if not os.path.isabs(part.path):
                    raise ValueError("the path is not absolute")
                self._number = self.descriptors.add(os.open(part.path, _FLAGS))
            status = os.fstat(self._number)
            if not stat.S_ISREG(status.st_mode):
                raise ValueError("it is not a regular file")
            self.left = part.size_of(status.st_size - self.offset)
            if not part.has_content or self.left > _PIECE:
                return None
            pieces = []
            while self.left and (data := _read(self._number, self.left, self.offset)):
                pieces.append(data)
                self._count(len(data))
            return b"".join(pieces)

    async def read(self) -> bytes:
        """The next piece. Raises FileTooShort, OSError."""
        return await self._in_thread(self._read)

    def _read(self) -> bytes:
        with self.descriptors:
            data = _read(self._number, min(self.left, _PIECE), self.offset)
            if not data:
                raise FileTooShort
            self._count(len(data))
            return data

    async def copy(self, out: int) -> bool:
        """Copy to the socket ``out`` what it takes, if that does not take too long. Whether it was
        the socket that took no more. Raises FileTooShort; OSError, for the file's errors, and
        ClientDisconnected for the socket's.
        """
        return await self._in_thread(self._copy, out)

    def _copy(self, out: int) -> bool:
        turn = max(0, self.left - _TURN)
        copy: Callable[[int, int, int, int], int] = os.sendfile
        with self.descriptors:
            while self.left > turn:
                try:
                    n = copy(out, self._number, self.offset, self.left - turn)
                except BlockingIOError:
                    return True
                except OSError:
                    # The client has gone, the disk has failed, or the file system does not know how
                    # to. Reading and writing tell these apart.
                    if copy is _read_and_write:
                        raise
                    copy = _read_and_write
                    continue
                if not n:
                    raise FileTooShort
                self._count(n)
        return False

    def _count(self, n: int) -> None:
        self.offset += n
        self.left -= n

    async def _in_thread(self, function: Callable[[*_Args], _Result], *args: *_Args) -> _Result:
        limiter = _limiter.get(None)
        if limiter is None:
            limiter = CapacityLimiter(_THREADS)
            _limiter.set(limiter)
        return await to_thread.run_sync(function, *args, abandon_on_cancel=True, limiter=limiter)


def _read(number: int, n: int, offset: int) -> bytes:
    if hasattr(os, "pread"):
        return os.pread(number, n, offset)
    os.lseek(number, offset, os.SEEK_SET)  # it is a path's and ours alone
    return os.read(number, n)


def _read_and_write(out: int, number: int, offset: int, n: int) -> int:
    """``os.sendfile`` without the system's help."""
    data = os.pread(number, min(n, _PIECE), offset)
    if not data:
        return 0
    try:
        return os.write(out, data)
    except BlockingIOError:
        raise
    except OSError as error:
        raise ClientDisconnected from error


async def send_file(stream: Stream, part: FilePart) -> None:
    """Send the file that a message has asked for.

    Raises LocalProtocolError where the file cannot be sent, or not as it was promised: then the
    stream is reset, unless nothing has been sent, and all is as it was before the message.
    """
    part.begun = True
    source: _Source | None = None
    try:
        source = _Source(part)
        data = await source.prepare()
        if data is not None:
            stream.send_small(data)
            if not stream.connection.deliver():
                await wait_for_room(stream)
        else:
            await _send(stream, source)
        source.advance()
    finally:
        if source is not None:
            source.descriptors.close()
        stream.leave_file(part)
        wake(stream)


async def _send(stream: Stream, source: _Source) -> None:
    """Send more than a little, or for a HEAD nothing."""
    connection = stream.connection
    stream.begin_file(source.left)
    try:
        if not source.part.has_content:
            stream.file_data(b"", last=True)
            connection.deliver()
        elif stream.has_zero_copy:
            await _send_around(stream, source)
        else:
            await _send_through(stream, source)
    except BaseException as error:
        stream.cut_file(source.part)
        connection.flush()
        if isinstance(error, FileTooShort):
            raise LocalProtocolError("the file has become shorter while it was sent") from None
        if isinstance(error, OSError) and not isinstance(error, ClientDisconnected):
            raise LocalProtocolError(f"the file cannot be read to its end: {error}") from error
        raise


async def _send_through(stream: Stream, source: _Source) -> None:
    """By the engine, as a body."""
    while source.left:
        data = await source.read()
        stream.file_data(data, last=not source.left)
        if not stream.connection.deliver():
            await wait_for_room(stream)


async def _send_around(stream: Stream, source: _Source) -> None:
    """By the system, past engine and transport.

    The transport counts as congested while its socket is lent, so neither it nor the connection
    writes a byte in between, or closes.
    """
    connection = stream.connection
    transport = connection.transport
    engine = cast("DirectConnection", connection.engine)
    engine.send_around(stream.stream_id, source.left)
    transport.settle()
    try:
        connection.flush()
        while (transport.congested or connection.wire.output) and stream.sends_file:
            await wait(stream)
        if stream.sends_file:
            with CancelScope() as connection.loan:
                await _copy(stream, source, source.descriptors.add(transport.lend()))
    finally:
        connection.loan = None
        transport.reclaim()
    if source.left or not stream.sends_file:  # the connection was lost, or has been cut
        raise ClientDisconnected
    engine.send_around(stream.stream_id, 0)
    stream.file_data(b"", last=True)
    connection.flush()


async def _copy(stream: Stream, source: _Source, out: int) -> None:
    connection = stream.connection
    transport = connection.transport
    while source.left and stream.sends_file:
        before = source.left
        try:
            is_full = await source.copy(out)
        except ClientDisconnected:
            transport.abort()
            raise
        finally:
            sent = before - source.left
            stream.bytes_sent += sent
            connection.wrote(sent)
        if is_full and source.left:
            transport.held = 1
            await wait_writable(out)
            transport.held = 0
