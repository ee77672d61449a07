"""Frames by ``wsproto``: its decoder, which needs no more than Python, unmasks and cuts them.

The decoder is used without the rest of the package, whose connection neither limits messages nor
checks what permessage-deflate was offered. Our checks enter as an *extension* of the decoder.
"""

from __future__ import annotations

import wsproto
from wsproto.extensions import Extension
from wsproto.frame_protocol import CloseReason, FrameDecoder, Opcode, ParseFailed, RsvBits

from hyperserver.protocol.websocket.frames import Admit, Piece, WebSocketFault

NAME = "wsproto"
VERSION = wsproto.__version__


class _Admission(Extension):
    """Is asked by the decoder about every header, and by nobody about anything else."""

    def __init__(self, admit: Admit) -> None:
        self._admit = admit

    def offer(self) -> bool:
        return False

    def frame_inbound_header(
        self, proto: object, opcode: Opcode, rsv: RsvBits, payload_length: int
    ) -> CloseReason | RsvBits:
        self._admit(int(opcode), rsv.rsv1 << 6 | rsv.rsv2 << 5 | rsv.rsv3 << 4, payload_length)
        return rsv  # all of them are allowed, or it would have raised

    def frame_inbound_payload_data(self, proto: object, data: bytes) -> bytes:
        return data

    def frame_inbound_complete(self, proto: object, fin: bool) -> None:
        return None


class FrameReader:
    """See ``frames.FrameReader``."""

    __slots__ = ("_decoder",)

    def __init__(self, admit: Admit) -> None:
        self._decoder = FrameDecoder(client=False, extensions=[_Admission(admit)])

    def alone(self, data: bytes) -> Piece | None:
        return None

    def feed(self, data: bytes) -> None:
        self._decoder.receive_bytes(data)

    def read(self) -> Piece | None:
        try:
            frame = self._decoder.process_buffer()
        except ParseFailed as error:
            raise WebSocketFault(str(error), int(error.code)) from None
        if frame is None:
            return None
        payload = frame.payload
        assert isinstance(payload, bytes)
        return int(frame.opcode), payload, frame.frame_finished, frame.message_finished
