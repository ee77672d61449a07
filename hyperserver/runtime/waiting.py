"""Waiting in an application's place, for a message or for room to write.

Both conditions are examined anew after every wake-up, so one signal serves both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hyperserver.runtime.stream import AnyStream


async def wait_for_room(stream: AnyStream) -> None:
    connection = stream.connection
    while connection.must_wait(stream.stream_id) and not stream.gone:
        await wait(stream)


async def wait(stream: AnyStream) -> None:
    """Until ``wake``."""
    if stream.signal is None:
        stream.signal = stream.connection.worker.backend.make_signal()
    await stream.signal.wait()


def wake(stream: AnyStream) -> None:
    """Something that the application may be waiting for has changed."""
    if stream.signal is not None:
        stream.signal.notify()
