"""Files and the threads that read them: what the system can do wrong, and who closes what."""

from __future__ import annotations

import errno
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from hyperserver.asgi.files import FilePart
from hyperserver.errors import ClientDisconnected, LocalProtocolError
from hyperserver.runtime import files

CONTENT = bytes(range(256)) * 4096  # 1 MiB
LIBRARIES = ["asyncio", "trio"]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    return path


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """The server's socket, which does not block, and the client's."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.settimeout(10)
    with ours, theirs:
        yield ours, theirs


def source_of(path: Path, **more: Any) -> files._Source:
    part = FilePart(str(path), **more)
    part.has_content = True
    part.limit = None
    return files._Source(part)


def is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


async def copy_all(source: files._Source, pair: tuple[socket.socket, socket.socket]) -> bytes:
    """What the client gets."""
    ours, theirs = pair
    received = bytearray()

    def read() -> None:
        while len(received) < len(CONTENT):
            received.extend(theirs.recv(1 << 16))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(anyio.to_thread.run_sync, read)
        while source.left:
            if await source.copy(ours.fileno()):
                await anyio.wait_writable(ours)
    return bytes(received)


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("error", [0, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_is_copied_also_where_the_system_does_not_know_how(
    file: Path,
    pair: tuple[socket.socket, socket.socket],
    monkeypatch: pytest.MonkeyPatch,
    library: str,
    error: int,
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(error, "on purpose")

    if error:
        monkeypatch.setattr(os, "sendfile", refuse)

    async def main() -> None:
        source = source_of(file)
        assert await source.prepare() is None
        assert source.left == len(CONTENT)
        assert await copy_all(source, pair) == CONTENT
        source.descriptors.close()

    anyio.run(main, backend=library)


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_client_that_has_gone_is_told_from_a_disk_that_fails(
    file: Path,
    pair: tuple[socket.socket, socket.socket],
    monkeypatch: pytest.MonkeyPatch,
    library: str,
) -> None:
    def fail(*_: object) -> bytes:
        raise OSError(errno.EIO, "on purpose")

    async def main() -> None:
        ours, theirs = pair
        source = source_of(file)
        await source.prepare()
        with monkeypatch.context() as patch:
            patch.setattr(os, "sendfile", fail)
            patch.setattr(os, "pread", fail)
            with pytest.raises(OSError, match="on purpose"):
                await source.copy(ours.fileno())
        theirs.close()
        with pytest.raises(ClientDisconnected):
            await source.copy(ours.fileno())
        source.descriptors.close()

    anyio.run(main, backend=library)


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("way", ["copy", "read", "small"])
def test_the_event_loop_goes_on_while_a_disk_is_slow(
    file: Path,
    pair: tuple[socket.socket, socket.socket],
    monkeypatch: pytest.MonkeyPatch,
    library: str,
    way: str,
) -> None:
    """Whichever call it is that waits for the disk, the event loop lets it go on."""
    may_go_on = threading.Event()
    begun = threading.Event()
    real: Callable[..., Any] = os.sendfile if way == "copy" else os.pread

    def wait_for_disk(*args: Any) -> Any:
        begun.set()
        assert may_go_on.wait(10), "the event loop stands still"
        return real(*args)

    monkeypatch.setattr(os, real.__name__, wait_for_disk)

    async def main() -> None:
        source = source_of(file, count=1000 if way == "small" else None)
        async with anyio.create_task_group() as tasks:

            async def call() -> None:
                assert (await source.prepare() is not None) is (way == "small")
                if way == "copy":
                    await source.copy(pair[0].fileno())
                elif way == "read":
                    assert CONTENT.startswith(await source.read())

            tasks.start_soon(call)
            with anyio.fail_after(10):
                while not begun.is_set():
                    await anyio.sleep(0.001)
            may_go_on.set()
        source.descriptors.close()

    anyio.run(main, backend=library)


@pytest.mark.parametrize("library", LIBRARIES)
def test_what_a_thread_uses_is_closed_when_it_does_not_any_longer(
    file: Path,
    pair: tuple[socket.socket, socket.socket],
    monkeypatch: pytest.MonkeyPatch,
    library: str,
) -> None:
    """Who has waited for it goes on at once."""
    may_go_on = threading.Event()
    begun = threading.Event()

    def hang(*_: object) -> int:
        begun.set()
        assert may_go_on.wait(10)
        return 1

    monkeypatch.setattr(os, "sendfile", hang)

    async def main() -> None:
        source = source_of(file)
        await source.prepare()
        out = source.descriptors.add(os.dup(pair[0].fileno()))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(source.copy, out)
            with anyio.fail_after(10):
                while not begun.is_set():
                    await anyio.sleep(0.001)
            tasks.cancel_scope.cancel()
        source.descriptors.close()
        assert is_open(out)
        assert is_open(source._number)
        source.left = 1  # the thread's call was its last
        may_go_on.set()
        with anyio.fail_after(10):
            while is_open(out) or is_open(source._number):
                await anyio.sleep(0.001)
        with pytest.raises(files._Abandoned), source.descriptors:
            pytest.fail("they have been closed")

    anyio.run(main, backend=library)


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_file_is_read_where_there_is_no_pread(
    file: Path, monkeypatch: pytest.MonkeyPatch, library: str
) -> None:
    monkeypatch.delattr(os, "pread")

    async def main() -> None:
        source = source_of(file, offset=3, count=200_000)
        await source.prepare()
        data = b""
        while source.left:
            data += await source.read()
        assert data == CONTENT[3:200_003]
        os.truncate(file, 0)
        source.left = 1
        with pytest.raises(files.FileTooShort):
            await source.read()
        source.descriptors.close()

    anyio.run(main, backend=library)


class Lying:
    """An object whose descriptor is not what it seems."""

    def __init__(self, number: Any) -> None:
        self._number = number

    def fileno(self) -> Any:
        if isinstance(self._number, Exception):
            raise self._number
        return self._number


@pytest.mark.parametrize(
    "given",
    [99_999, Lying(99_999), Lying("3"), Lying(ValueError("closed")), Lying(OSError(9, "x"))],
)
def test_a_file_that_is_none(given: object) -> None:
    with pytest.raises(LocalProtocolError, match="zerocopysend cannot send"):
        files._Source(FilePart(file=given))


@pytest.mark.parametrize("path", ["", "pyproject.toml", "../x"])
def test_a_path_must_be_absolute(path: str) -> None:
    """What it leads to must not depend on where the process happens to be."""

    async def main() -> None:
        source = files._Source(FilePart(path))
        with pytest.raises(LocalProtocolError, match="not absolute"):
            await source.prepare()

    anyio.run(main)


def test_only_regular_files_are_sent() -> None:
    reading, writing = os.pipe()

    async def main() -> None:
        source = files._Source(FilePart(file=reading, offset=0))
        with pytest.raises(LocalProtocolError, match="not a regular file"):
            await source.prepare()
        source.descriptors.close()

    try:
        anyio.run(main)
    finally:
        os.close(reading)
        os.close(writing)


@pytest.mark.parametrize("kind", ["object", "number", "lying", "wrapped", "closed"])
def test_a_file_that_was_sent_from_its_position_is_behind_what_was_sent(
    file: Path, kind: str
) -> None:
    with file.open("rb") as opened:
        opened.seek(10)
        given: Any = {
            "number": opened.fileno(),
            "lying": Lying(opened.fileno()),
            "wrapped": anyio.wrap_file(opened),
        }.get(kind, opened)
        source = files._Source(FilePart(file=given))
        assert source.offset == 10
        source._count(90)
        if kind == "closed":
            opened.close()
        source.advance()
        if kind != "closed":
            assert os.lseek(opened.fileno(), 0, os.SEEK_CUR) == 100
        source.descriptors.close()
