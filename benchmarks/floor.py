"""What an event loop costs by itself: an echo that is no server, ``python floor.py PORT``.

A bare protocol on uvloop that answers one kind of frame, that of the load, and looks at nothing. No
server on this loop can cost less per message than this.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
import sys
from typing import cast

import uvloop
from websockets.speedups import apply_mask

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_HEADER = 6  # of a client's short frame
_CLOSE = 0x88


class Echo(asyncio.Protocol):
    """Takes the handshake for granted, and every frame to be short and whole."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self._is_open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if not self._is_open:
            self._open(data)
            return
        answers: list[bytes] = []
        at = 0
        while at < len(data):
            start = at + _HEADER
            end = start + (data[at + 1] & 0x7F)
            payload = apply_mask(data[start:end], data[at + 2 : start])
            answers.append(bytes((data[at], len(payload))) + payload)
            if data[at] == _CLOSE:
                self.transport.write(b"".join(answers))
                self.transport.close()
                return
            at = end
        self.transport.write(b"".join(answers))

    def _open(self, request: bytes) -> None:
        self._is_open = True
        found = re.search(rb"(?i)sec-websocket-key: *(\S+)", request)
        key = found[1] if found else b""
        accept = base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())
        self.transport.write(
            b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
            b"sec-websocket-accept: " + accept + b"\r\n\r\n"
        )


async def main(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Echo, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
