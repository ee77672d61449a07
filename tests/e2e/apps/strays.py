"""What an application may raise, for those that are told what to raise."""

from __future__ import annotations

import asyncio

import anyio
import sniffio


async def raise_it(error: BaseException) -> None:
    raise error


async def raise_stray_cancellation() -> None:
    """Lets a cancellation of its own escape from the scope that it belongs to."""
    if sniffio.current_async_library() != "trio":
        raise asyncio.CancelledError
    stray: BaseException | None = None
    with anyio.CancelScope() as scope:
        scope.cancel()
        try:
            await anyio.sleep(0)
        except anyio.get_cancelled_exc_class() as error:
            stray = error
            raise
    assert stray is not None
    raise stray
