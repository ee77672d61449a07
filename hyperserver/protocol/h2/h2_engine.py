"""The portable HTTP/2 engine: the ``h2`` library keeps frames, stream states and windows.

``h2`` is strict in a way that does not suit a server: over a fault that only its stream deserves
to lose, it ends the connection, and after a GOAWAY it does nothing more. So each frame passes a
gate before ``h2`` sees it. The gate counts floods, reads what ``h2`` does not know (PRIORITY_UPDATE),
keeps away what would make it give up (a peer's GOAWAY, zero window updates, dependencies in a
circle), and lets it take what would be a stream error there for something valid, to reset the
stream afterwards. What ``h2`` still refuses are connection errors by the RFC as well.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import h2
import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.settings
from h2.settings import SettingCodes
from hyperframe.exceptions import HyperframeError

from hyperserver.protocol.events import Headers, RequestReceived
from hyperserver.protocol.h2 import frames
from hyperserver.protocol.h2.abuse import Abuse
from hyperserver.protocol.h2.connection import HTTP2Connection
from hyperserver.protocol.h2.frames import ConnectionFault, ErrorCode, FrameReader
from hyperserver.protocol.h2.gate import (
    BLOCK_FACTOR,
    MAX_FRAGMENTS,
    Gate,
    server_settings,
    unwrap,
)
from hyperserver.protocol.h2.hpack_codec import FieldDecoder, FieldEncoder, Queue
from hyperserver.protocol.h2.priority import Dependency
from hyperserver.protocol.interface import HTTP2Options, Limits, ResponseDefaults

NAME = "h2"
VERSION = h2.__version__


_CONFIGURATION = h2.config.H2Configuration(
    client_side=False,
    header_encoding=None,
    validate_inbound_headers=False,
    normalize_inbound_headers=False,
    validate_outbound_headers=False,
    normalize_outbound_headers=False,
)


class _Library(h2.connection.H2Connection):
    """``h2`` without its count of open streams, which walks over all of them for each new one."""

    @property
    def open_inbound_streams(self) -> int:
        """None to ``h2``: the limit is the engine's. Called before each new stream, to tidy up."""
        if len(self.streams) >= self._tidy_at:
            super().open_inbound_streams  # noqa: B018 - which forgets closed streams as it counts
            self._tidy_at = 2 * len(self.streams) + 32
        return 0

    _tidy_at = 32

    def rest(self) -> None:
        """Forget closed streams, and keep settings in little memory."""
        super().open_inbound_streams  # noqa: B018 - which does the former
        for settings in (self.local_settings, self.remote_settings):
            values: dict[Any, Any] = getattr(settings, "_settings", {})
            for setting, value in values.items():
                if type(value) is deque:
                    values[setting] = Queue(value)


class H2Session:
    """The ``Session`` of an ``HTTP2Connection``, by ``h2``."""

    __slots__ = (
        "_abuse",
        "_block",
        "_block_ends",
        "_block_size",
        "_block_stream",
        "_connection",
        "_decoder",
        "_dependency",
        "_encoder",
        "_gate",
        "_h2",
        "_is_closed",
        "_max_block",
        "_reader",
        "_spoiled",
        "_started",
        "_streams",
        "_written",
        "progress",
    )

    def __init__(
        self, connection: HTTP2Connection, limits: Limits, options: HTTP2Options, abuse: Abuse
    ) -> None:
        self._connection = connection
        self._streams = connection.streams
        self._abuse = abuse
        self._reader = FrameReader(options.max_frame_size)
        self._max_block = limits.max_head_size * BLOCK_FACTOR
        self._block_stream = 0  # whose field block is being received
        self._block: list[bytes] = []
        self._block_size = 0
        self._block_ends = 0
        self._dependency: Dependency | None = None  # of the block
        self._spoiled = 0  # the stream of a block that h2 was shown in a valid form
        self._started = False
        self._is_closed = False
        self._written: list[bytes] = []
        #: Frames completed; stands still while one is being received.
        self.progress = 0
        self._h2 = self._open_library(limits, options)
        self._gate = Gate(self, connection, abuse)

    def _open_library(self, limits: Limits, options: HTTP2Options) -> _Library:
        library = _Library(_CONFIGURATION)
        library.local_settings = h2.settings.Settings(
            client=False,
            initial_values=server_settings(limits, options),  # type: ignore[arg-type]
        )
        del library.local_settings[SettingCodes.ENABLE_PUSH]  # a server says nothing of this one
        library.max_inbound_frame_size = 2**24 - 1  # the reader has seen to it
        self._decoder = FieldDecoder(self._max_block)
        library.decoder = self._decoder  # type: ignore[assignment]
        self._encoder = FieldEncoder()
        library.encoder = self._encoder  # type: ignore[assignment]
        return library

    def start(self, upgrade_settings: bytes | None = None) -> None:
        if upgrade_settings is None:
            self._h2.initiate_connection()
        else:
            try:
                self._h2.initiate_upgrade_connection(upgrade_settings)
            except (h2.exceptions.ProtocolError, HyperframeError, ValueError) as error:
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, str(error)) from None
        self._h2.receive_data(frames.PREFACE)

    # ---- frames in -----------------------------------------------------------------------

    @property
    def is_partial(self) -> bool:
        return self._reader.is_partial or self._block_stream != 0 or not self._started

    @property
    def partial_data(self) -> int:
        return self._reader.partial_data

    def receive(self, data: bytes, now: float) -> None:
        for kind, flags, stream_id, frame in self._reader.feed(data):
            if self._block_stream:
                if kind != frames.CONTINUATION or stream_id != self._block_stream:
                    raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "field block interrupted")
            else:
                self.progress += 1
                if not self._started:
                    if kind != frames.SETTINGS or flags & frames.ACK:
                        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "no SETTINGS at first")
                    self._started = True
            handler = _HANDLERS.get(kind)
            if handler is None:
                self._gate.handle(kind, stream_id, frame, now)
            else:
                handler(self, flags, stream_id, frame, now)
            if self._connection.output_finished:
                return

    def _feed(self, frame: bytes) -> None:
        """Let ``h2`` take a frame, and pass on what it makes of it."""
        written = self._h2.data_to_send()
        if written:  # out of the way, should there be something to clear
            self._written.append(written)
        try:
            events = self._h2.receive_data(frame)
        except h2.exceptions.ProtocolError as error:
            # h2 has written a GOAWAY; the connection will write its own.
            self._h2.clear_outbound_data_buffer()
            raise ConnectionFault(ErrorCode(error.error_code), str(error)) from None
        for event in events:
            translate = _TRANSLATORS.get(type(event))
            if translate is not None:
                translate(self, event)

    def _data(self, flags: int, stream_id: int, frame: bytes, now: float) -> None:
        length = len(frame) - frames.HEADER_SIZE
        if stream_id % 2 == 0:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "DATA on no stream of the client's")
        if stream_id not in self._streams:
            if stream_id in self._gate.cut:  # still on its way when we reset the stream
                if flags & frames.PADDED and (not length or frame[frames.HEADER_SIZE] >= length):
                    raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "more padding than payload")
                self._gate.drop_data(stream_id, length, now)
                return
            self._abuse.reset(now)  # h2 answers with a reset
        elif not length and not flags & frames.END_STREAM:
            self._abuse.control(now)
        self._feed(frame)

    def _headers(self, flags: int, stream_id: int, frame: bytes, now: float) -> None:
        self._spoiled = 0
        if not stream_id:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "HEADERS without a stream")
        if stream_id <= self._h2.highest_inbound_stream_id:
            if stream_id not in self._streams:
                self._abuse.reset(now)  # h2 answers with a reset, or gives up
            elif not flags & frames.END_STREAM:
                # Trailers that do not end their stream are malformed (RFC 9113 §8.1).
                self._spoiled = stream_id
        if flags & (frames.PADDED | frames.PRIORITIZED):
            fragment, self._dependency, depends_on_itself = unwrap(flags, stream_id, frame)
            if depends_on_itself:
                self._spoiled = stream_id
        else:
            fragment = frame[frames.HEADER_SIZE :]
        if flags & frames.END_HEADERS:
            self._block_received(stream_id, fragment, flags & frames.END_STREAM)
        else:
            self._block_stream = stream_id
            self._block_ends = flags & frames.END_STREAM
            self._block = [fragment]
            self._block_size = len(fragment)

    def _continuation(self, flags: int, _stream_id: int, frame: bytes, _now: float) -> None:
        if not self._block_stream:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "CONTINUATION of nothing")
        self._block.append(frame[frames.HEADER_SIZE :])
        self._block_size += len(frame) - frames.HEADER_SIZE
        if self._block_size > self._max_block or len(self._block) > MAX_FRAGMENTS:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "field block too large")
        if flags & frames.END_HEADERS:
            stream_id = self._block_stream
            self._block_stream = 0
            self._block_received(stream_id, b"".join(self._block), self._block_ends)

    def _block_received(self, stream_id: int, block: bytes, ends: int) -> None:
        """A whole field block: to h2 in one frame, whose size is not limited any more."""
        dependency, self._dependency = self._dependency, None
        if stream_id in self._gate.cut and stream_id not in self._streams:
            try:
                self._decoder.decode(block)  # for the dynamic table only
            except h2.exceptions.ProtocolError as error:
                raise ConnectionFault(ErrorCode(error.error_code), str(error)) from None
            return
        if self._spoiled:
            ends = frames.END_STREAM
        self._feed(frames.build(frames.HEADERS, frames.END_HEADERS | ends, stream_id, block))
        if dependency is not None:
            self._connection.on_priority(stream_id, dependency)

    def _rst_stream(self, _flags: int, stream_id: int, frame: bytes, now: float) -> None:
        self._gate.rst_stream(stream_id, now)
        self._feed(frame)

    def _settings(self, flags: int, _stream_id: int, frame: bytes, now: float) -> None:
        frame = self._gate.settings(flags, frame, now)
        self._h2.open_outbound_streams  # noqa: B018 - forget closed streams: no window of theirs can overflow
        self._feed(frame)

    def _ping(self, _flags: int, _stream_id: int, frame: bytes, now: float) -> None:
        self._abuse.control(now)
        self._feed(frame)

    def _window_update(self, _flags: int, stream_id: int, frame: bytes, now: float) -> None:
        # of another size, it is h2's to refuse
        increment = frames.payload_long(frame) if len(frame) == frames.HEADER_SIZE + 4 else 1
        if not self._gate.window_update(stream_id, increment, now):
            return
        if len(frame) == frames.HEADER_SIZE + 4 and frame[frames.HEADER_SIZE] & 0x80:
            # a reserved bit, which h2 would take for a part of the number
            frame = frames.window_update(stream_id, frames.payload_long(frame))
        self._feed(frame)

    @property
    def receive_window(self) -> int:
        return self._h2.inbound_flow_control_window

    def is_idle(self, stream_id: int) -> bool:
        library = self._h2
        if stream_id % 2:
            return stream_id > library.highest_inbound_stream_id
        return stream_id > library.highest_outbound_stream_id

    # ---- h2's events ---------------------------------------------------------------------

    def _on_fields(self, event: h2.events.RequestReceived | h2.events.TrailersReceived) -> None:
        assert event.stream_id is not None
        self._connection.on_fields(
            event.stream_id,
            self._decoder.decoded,
            event.stream_ended is not None,
            spoiled=self._spoiled == event.stream_id,
        )

    def _on_data(self, event: h2.events.DataReceived) -> None:
        assert event.stream_id is not None
        assert event.data is not None
        assert event.flow_controlled_length is not None
        self._connection.on_data(
            event.stream_id,
            event.data,
            event.flow_controlled_length,
            event.stream_ended is not None,
        )

    def _on_reset(self, event: h2.events.StreamReset) -> None:
        assert event.stream_id is not None
        if event.remote_reset:
            self._connection.on_reset(event.stream_id)
        else:
            self._gate.remember_cut(event.stream_id, 0)
            self._connection.on_stream_error(event.stream_id, "stream error")

    def _on_window(self, event: h2.events.WindowUpdated) -> None:
        self._connection.on_window(event.stream_id or 0)

    def _on_settings(self, _event: h2.events.RemoteSettingsChanged) -> None:
        self._connection.on_settings()

    def _on_settings_acknowledged(self, _event: h2.events.SettingsAcknowledged) -> None:
        self._connection.on_settings_acknowledged()

    def _on_ping_acknowledged(self, event: h2.events.PingAckReceived) -> None:
        self._connection.on_ping_acknowledged(event.ping_data or b"")

    # ---- commands ------------------------------------------------------------------------

    @property
    def max_frame_size(self) -> int:
        return self._h2.max_outbound_frame_size

    @property
    def connection_window(self) -> int:
        return self._h2.outbound_flow_control_window

    def stream_window(self, stream_id: int) -> int:
        return self._h2.streams[stream_id].outbound_flow_control_window

    @property
    def allows_push(self) -> bool:
        return bool(self._h2.remote_settings.enable_push)

    @property
    def max_peer_streams(self) -> int:
        return self._h2.remote_settings.max_concurrent_streams

    def send_headers(self, stream_id: int, block: Headers, end_stream: bool) -> None:
        if stream_id % 2 == 0 and block[0][0] == b":status" and block[0][1] < b"200":
            return  # h2 has no informational responses to promised requests
        self._h2.send_headers(stream_id, block, end_stream)

    def send_data(self, stream_id: int, data: bytes | memoryview, end_stream: bool) -> None:
        most = self.max_frame_size
        if len(data) > most:
            data = memoryview(data)
            while len(data) > most:
                self._h2.send_data(stream_id, bytes(data[:most]), False)
                data = data[most:]
        self._h2.send_data(stream_id, bytes(data), end_stream)

    def push(self, stream_id: int, block: Headers) -> int | None:
        try:
            promised = self._h2.get_next_available_stream_id()
        except h2.exceptions.NoAvailableStreamIDError:
            return None
        self._h2.push_stream(stream_id, promised, block)
        return promised

    def reset(self, stream_id: int, code: ErrorCode) -> None:
        stream = self._h2.streams[stream_id]
        self._gate.remember_cut(stream_id, stream.inbound_flow_control_window)
        if stream.closed:  # by the very frame that is at fault: h2 would raise
            self.write(frames.rst_stream(stream_id, code))
        else:
            self._h2.reset_stream(stream_id, code)

    def open_window(self, stream_id: int, increment: int) -> None:
        self._h2.increment_flow_control_window(increment, stream_id or None)

    def ping(self, payload: bytes) -> None:
        self._h2.ping(payload)

    def goaway(self, last_stream_id: int, code: ErrorCode) -> None:
        """Not by ``h2``, which would take it for the end."""
        self.write(frames.goaway(last_stream_id, code))

    def write(self, frame: bytes) -> None:
        self._written.append(self._h2.data_to_send())
        self._written.append(frame)

    def rest(self) -> None:
        self._h2.rest()
        self._decoder.rest()
        self._encoder.rest()

    def close(self) -> None:
        self._gate.close()
        vars(self._h2).clear()  # which knows itself, by its table of handlers
        self._is_closed = True
        del self._connection

    def data_to_send(self) -> bytes:
        if self._is_closed:
            return b""
        data = self._h2.data_to_send()
        if self._written:
            data = b"".join((*self._written, data))
            self._written.clear()
        return data


# ruff: noqa: SLF001 - these are the session's own
_HANDLERS: dict[int, Callable[[H2Session, int, int, bytes, float], None]] = {
    frames.DATA: H2Session._data,
    frames.HEADERS: H2Session._headers,
    frames.RST_STREAM: H2Session._rst_stream,
    frames.SETTINGS: H2Session._settings,
    frames.PING: H2Session._ping,
    frames.WINDOW_UPDATE: H2Session._window_update,
    frames.CONTINUATION: H2Session._continuation,
}
_TRANSLATORS: dict[type, Callable[[H2Session, Any], None]] = {
    h2.events.RequestReceived: H2Session._on_fields,
    h2.events.TrailersReceived: H2Session._on_fields,
    h2.events.DataReceived: H2Session._on_data,
    h2.events.StreamReset: H2Session._on_reset,
    h2.events.WindowUpdated: H2Session._on_window,
    h2.events.RemoteSettingsChanged: H2Session._on_settings,
    h2.events.SettingsAcknowledged: H2Session._on_settings_acknowledged,
    h2.events.PingAckReceived: H2Session._on_ping_acknowledged,
}


def make_connection(
    limits: Limits,
    options: HTTP2Options,
    defaults: ResponseDefaults,
    scheme: str,
    now: float,
    upgrade: tuple[bytes, RequestReceived] | None = None,
) -> HTTP2Connection:
    """See ``negotiate.MakeHTTP2``."""
    return HTTP2Connection(H2Session, limits, options, defaults, scheme, now, upgrade)
