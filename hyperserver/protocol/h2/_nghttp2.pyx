# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
# cython: embedsignature=False
"""The ``Session`` of an ``HTTP2Connection``, by libnghttp2.

Bytes are cut into frames here, and libnghttp2 is fed one whole frame at a time. Its callbacks only
*record* what the frame was; Python is called when libnghttp2 has returned. So nothing can raise
across C, libnghttp2 is never entered twice, and no object is made for a frame.

As with any library, a gate comes first (``gate.py``): what libnghttp2 would end the connection for
and a server should not. What libnghttp2 does refuse is a connection error by the RFC as well.

Its own limits are set so that ours, which know of time, are always reached first (``abuse.py``):
it is told neither of SETTINGS_MAX_CONCURRENT_STREAMS nor of the largest field section, and its
counts of acknowledgements, settings, resets and CONTINUATION frames are out of reach.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.ref cimport PyObject, Py_XDECREF
from libc.stdint cimport int32_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcmp, memcpy, memset

from hyperserver.protocol.h2.nghttp2 cimport *

import base64
import binascii

from hyperserver.errors import LocalProtocolError, RemoteProtocolError
from hyperserver.protocol.events import RequestReceived
from hyperserver.protocol.response_fields import ResponseFields
from hyperserver.protocol.h2 import frames
from hyperserver.protocol.h2.frames import ConnectionFault, ErrorCode
from hyperserver.protocol.h2.gate import (
    BLOCK_FACTOR,
    MAX_FRAGMENTS,
    Gate,
    server_settings,
    unwrap,
)
from hyperserver.protocol.h2.indexing import NEVER_INDEXED
from hyperserver.protocol.h2.messages import read_request
from hyperserver.protocol.interface import HIGH_WATER

cdef extern from "Python.h":
    int _PyBytes_Resize(PyObject **, Py_ssize_t) except -1
    PyObject *PyBytes_FromStringAndSize_raw "PyBytes_FromStringAndSize" (const char *, Py_ssize_t)
    char *PyBytes_AS_STRING_raw "PyBytes_AS_STRING" (PyObject *)

VERSION = nghttp2_version(0).version_str.decode("ascii")

cdef enum:
    _HEADER_SIZE = 9
    _PREFACE_SIZE = 24
    _NOTHING = -1
    #: What a field counts beside its name and value (RFC 9113 §6.5.2).
    _FIELD_OVERHEAD = 32
    #: Larger field blocks than any application will send.
    _MAX_SENT_BLOCK = 1 << 24
    #: A peer's SETTINGS_HEADER_TABLE_SIZE may ask us to hold any amount; we hold this much.
    _MAX_ENCODER_TABLE = 4096
    #: No more than a peer may announce: the gate has counted before (``abuse.py``).
    _OUT_OF_REACH = 1 << 30
    _SMALL_OUTPUT = 1024
    #: How a field block is shown to libnghttp2: frames of the size that it always takes.
    _FRAGMENT = 16_384
    _MAX_GIVEN_UP = 128
    _MAX_WINDOW = 0x7FFFFFFF
    _MAX_STACK_FIELDS = 32
    #: Blocks remembered for a connection, and the size of the largest worth it.
    _MAX_KNOWN_BLOCKS = 64
    _MAX_KNOWN_BLOCK = 2048

cdef set _never_indexed = set(NEVER_INDEXED)
cdef bytes _preface = frames.PREFACE
cdef list _statuses = [b"%d" % status for status in range(200, 600)]


#: Settings that are between the client and us: libnghttp2 would enforce them in its own way.
cdef object _OURS_ALONE = frozenset(
    (NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE)
)


cdef inline int32_t _long(const uint8_t *at) noexcept:
    """A number of 31 bits."""
    return (at[0] & 0x7F) << 24 | at[1] << 16 | at[2] << 8 | at[3]


cdef bytes _decode_settings(value):
    """The payload in an HTTP2-Settings field (RFC 7540 §3.2.1). Raises ConnectionFault."""
    try:
        return base64.urlsafe_b64decode(value + b"=" * (-len(value) % 4))
    except (binascii.Error, ValueError) as error:
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, str(error)) from None


cdef nghttp2_session_callbacks *_callbacks = NULL

include "_nghttp2_memory.pxi"
include "_nghttp2_output.pxi"
include "_nghttp2_blocks.pxi"
include "_nghttp2_library.pxi"
include "_nghttp2_callbacks.pxi"
include "_nghttp2_brief.pxi"


# ---- the session -------------------------------------------------------------------------------


cdef class NGHTTP2Session(_Brief):
    """Bytes in: see ``session.Session``."""

    cdef dict _given_up  # streams that the client has reset, the last ones; None before the first
    # bytes in
    cdef bytearray _buffer  # None while it holds nothing
    cdef Py_ssize_t _awaited
    cdef Py_ssize_t _preface_left
    cdef Py_ssize_t _max_frame_size
    cdef bint _started
    cdef bint _acknowledged
    cdef readonly Py_ssize_t progress
    # the field block that is being received
    cdef int32_t _block_stream
    cdef int _block_ends
    cdef int _block_fragments
    cdef bytearray _block
    cdef object _dependency
    cdef bint _depends_on_itself

    def __cinit__(self, connection, limits, options, abuse):
        self._preface_left = _PREFACE_SIZE
        self._max_frame_size = options.max_frame_size

    # ---- bytes in ------------------------------------------------------------------------

    @property
    def is_partial(self):
        cdef bytearray buffer = self._buffer
        if self._preface_left or not self._started or self._block_stream:
            return True
        return buffer is not None and (len(buffer) < 4 or buffer[3] != NGHTTP2_DATA)

    @property
    def partial_data(self):
        cdef bytearray buffer = self._buffer
        if buffer is None or len(buffer) < _HEADER_SIZE or buffer[3] != NGHTTP2_DATA:
            return 0
        if self._preface_left:
            return 0
        return frames.payload_long(buffer, 5)

    def receive(self, bytes data not None, now):
        """Raises ConnectionFault."""
        cdef const uint8_t *at
        cdef Py_ssize_t left
        cdef Py_ssize_t size
        if self._buffer is not None:
            self._buffer += data
            if len(self._buffer) < self._awaited:
                return
            data = bytes(self._buffer)
            self._buffer = None
        at = <const uint8_t *>PyBytes_AS_STRING(data)
        left = PyBytes_GET_SIZE(data)
        if self._preface_left:
            size = min(left, self._preface_left)
            if memcmp(at, PyBytes_AS_STRING(_preface) + _PREFACE_SIZE - self._preface_left, size):
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "invalid connection preface")
            self._preface_left -= size
            at += size
            left -= size
        self._awaited = _HEADER_SIZE
        if self._places is not None:
            self._attends = self._connection.takes_brief()
        try:
            self._frames(at, left, now)
        finally:
            self._tell_of_brief()

    cdef int _frames(self, const uint8_t *at, Py_ssize_t left, object now) except -1:
        """Whole frames, of which the last may have to be kept for later."""
        cdef Py_ssize_t size
        while left >= _HEADER_SIZE:
            size = at[0] << 16 | at[1] << 8 | at[2]
            if size > self._max_frame_size:
                raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "frame too large")
            size += _HEADER_SIZE
            if size > left:
                self._awaited = size
                break
            self._frame(at, size, now)
            at += size
            left -= size
            if self._connection.output_finished:
                return 0
        if left:
            self._buffer = bytearray(at[:left])
        return 0

    cdef int _frame(self, const uint8_t *frame, Py_ssize_t size, object now) except -1:
        """One whole frame."""
        cdef int kind = frame[3]
        cdef int flags = frame[4]
        cdef int32_t stream_id = _long(frame + 5)
        if self._block_stream:
            if kind != NGHTTP2_CONTINUATION or stream_id != self._block_stream:
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "field block interrupted")
        else:
            self.progress += 1
            if not self._started:
                if kind != NGHTTP2_SETTINGS or flags & NGHTTP2_FLAG_ACK:
                    raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "no SETTINGS at first")
                self._started = True
        if kind == NGHTTP2_HEADERS:
            return self._headers(frame, size, flags, stream_id, now)
        if kind == NGHTTP2_DATA:
            return self._data(frame, size, flags, stream_id, now)
        if kind == NGHTTP2_WINDOW_UPDATE:
            return self._window_update(frame, size, stream_id, now)
        if kind == NGHTTP2_CONTINUATION:
            return self._continuation(frame, size, flags, now)
        return self._rare(frame, size, kind, flags, stream_id, now)

    # ---- field blocks --------------------------------------------------------------------

    cdef int _headers(
        self, const uint8_t *frame, Py_ssize_t size, int flags, int32_t stream_id, object now
    ) except -1:
        cdef bytes fragment
        cdef bint plain = not flags & (NGHTTP2_FLAG_PADDED | NGHTTP2_FLAG_PRIORITY)
        if not stream_id:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "HEADERS without a stream")
        self._dependency = None
        self._depends_on_itself = False
        if plain and flags & NGHTTP2_FLAG_END_HEADERS:
            return self._block_received(frame, size, None, flags, stream_id, now)
        if plain:
            fragment = frame[_HEADER_SIZE:size]
        else:
            fragment, self._dependency, self._depends_on_itself = unwrap(
                flags, stream_id, frame[:size]
            )
        if flags & NGHTTP2_FLAG_END_HEADERS:
            return self._block_received(NULL, 0, fragment, flags, stream_id, now)
        self._block_stream = stream_id
        self._block_ends = flags & NGHTTP2_FLAG_END_STREAM
        self._block_fragments = 1
        self._block = bytearray(fragment)
        return 0

    cdef int _continuation(
        self, const uint8_t *frame, Py_ssize_t size, int flags, object now
    ) except -1:
        cdef bytearray block = self._block
        if not self._block_stream:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "CONTINUATION of nothing")
        block += frame[_HEADER_SIZE:size]
        self._block_fragments += 1
        if len(block) > self._max_block or self._block_fragments > MAX_FRAGMENTS:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "field block too large")
        if flags & NGHTTP2_FLAG_END_HEADERS:
            stream_id, self._block_stream = self._block_stream, 0
            self._block = None
            self._block_received(NULL, 0, bytes(block), self._block_ends, stream_id, now)
        return 0

    cdef int _block_received(
        self,
        const uint8_t *frame,
        Py_ssize_t size,
        bytes fragment,
        int flags,
        int32_t stream_id,
        object now,
    ) except -1:
        """A whole field block: a frame as it came, or ``fragment``, to be put into one."""
        cdef bint ends = flags & NGHTTP2_FLAG_END_STREAM
        cdef bint spoiled = self._depends_on_itself
        cdef bint is_new = stream_id > self.highest and stream_id & 1
        if is_new and ends and self._attends and frame is not NULL:
            return self._brief_received(frame, size, stream_id)
        if frame is NULL or _changes_table(frame + _HEADER_SIZE, size - _HEADER_SIZE):
            self._known_blocks.clear()
        if not is_new:
            self._settle(stream_id)
            stream = self._streams.get(stream_id)
            if not stream_id & 1:
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "HEADERS on no stream of the client's")
            if stream is None:
                if stream_id not in self._cut:
                    self._closed(stream_id, now)
            elif not stream.receiving:
                self._connection.stream_error(
                    stream_id, ErrorCode.STREAM_CLOSED, "fields after the request's end"
                )
            elif not ends:
                spoiled = True  # trailers that do not end their stream (RFC 9113 §8.1)
        self._fields = []
        self._fields_size = 0
        if frame is not NULL:
            self._feed(frame, size)
        else:
            self._feed_block(fragment, ends, stream_id)
        if is_new:
            self.highest = stream_id
        if self._seen == NGHTTP2_HEADERS:
            fields, self._fields = self._fields, None
            self._fields_received(stream_id, fields, ends, spoiled)
        if self._dependency is not None:
            dependency, self._dependency = self._dependency, None
            self._connection.on_priority(stream_id, dependency)
        return 0

    cdef int _closed(self, int32_t stream_id, object now) except -1:
        """Fields on a stream that has ended: a connection error, unless the client has reset it,
        which makes a stream error of it (RFC 9113 §5.1).
        """
        if self._given_up is None or stream_id not in self._given_up:
            raise ConnectionFault(ErrorCode.STREAM_CLOSED, "HEADERS on a closed stream")
        self._abuse.reset(now)
        self._gate.remember_cut(stream_id, 0)
        self.write(frames.rst_stream(stream_id, ErrorCode.STREAM_CLOSED))
        return 0

    cdef int _feed_block(self, bytes fragment, bint ends, int32_t stream_id) except -1:
        """In frames without padding or priority, whose size libnghttp2 takes."""
        cdef Py_ssize_t start = 0
        cdef Py_ssize_t total = len(fragment)
        kind = frames.HEADERS
        while True:
            stop = min(start + _FRAGMENT, total)
            flags = frames.END_STREAM if ends and start == 0 else 0
            if stop == total:
                flags |= frames.END_HEADERS
            piece = frames.build(kind, flags, stream_id, fragment[start:stop])
            self._feed(<const uint8_t *>PyBytes_AS_STRING(piece), len(piece))
            if stop == total:
                return 0
            start = stop
            kind = frames.CONTINUATION

    # ---- other frames --------------------------------------------------------------------

    cdef int _data(
        self, const uint8_t *frame, Py_ssize_t size, int flags, int32_t stream_id, object now
    ) except -1:
        cdef Py_ssize_t length = size - _HEADER_SIZE
        cdef Py_ssize_t padding = 0
        cdef uint8_t header[_HEADER_SIZE]
        cdef bint ends = flags & NGHTTP2_FLAG_END_STREAM
        cdef bytes chunk
        if not stream_id & 1:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "DATA on no stream of the client's")
        if flags & NGHTTP2_FLAG_PADDED:
            if not length:
                raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "DATA too short")
            padding = frame[_HEADER_SIZE] + 1
            if padding > length:
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "more padding than payload")
        self._settle(stream_id)
        stream = self._streams.get(stream_id)
        if stream is None:
            if stream_id not in self._cut:
                if stream_id > self.highest:
                    raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "DATA on an idle stream")
                self._abuse.reset(now)
                self._gate.remember_cut(stream_id, 0)
                self.write(frames.rst_stream(stream_id, ErrorCode.STREAM_CLOSED))
            self._gate.drop_data(stream_id, length, now)
            return 0
        if not stream.receiving:
            self._connection.stream_error(
                stream_id, ErrorCode.STREAM_CLOSED, "data after the request's end"
            )
            self._gate.lose(length)
            return 0
        if not length and not ends:
            self._abuse.control(now)
        if padding:
            # libnghttp2 would give back at once what is only padding; the credit is ours to give
            memcpy(header, frame, _HEADER_SIZE)
            header[4] &= ~NGHTTP2_FLAG_PADDED
            self._feed(header, _HEADER_SIZE)
            self._feed(frame + _HEADER_SIZE, length)
        else:
            self._feed(frame, size)
        if self._seen == NGHTTP2_DATA:
            chunk, self._chunk = self._chunk, None
            if padding:
                chunk = chunk[1 : length - padding + 1]
            elif chunk is None:
                chunk = b""
            self._connection.on_data(stream_id, chunk, length, ends)
        return 0

    cdef int _window_update(
        self, const uint8_t *frame, Py_ssize_t size, int32_t stream_id, object now
    ) except -1:
        cdef int32_t window
        cdef bint whole = size == _HEADER_SIZE + 4  # else it is libnghttp2's to refuse
        cdef uint32_t increment = _long(frame + _HEADER_SIZE) if whole else 1
        if not increment:
            self._settle(stream_id)
        if self._gate.window_update(stream_id, increment, now):
            if stream_id and whole:
                window = nghttp2_session_get_stream_remote_window_size(self._live(), stream_id)
                if window > 0 and increment > <uint32_t>(_MAX_WINDOW - window):
                    # a stream's error (RFC 9113 §6.9.1), for newer releases the connection's
                    self._settle(stream_id)
                    self._connection.stream_error(
                        stream_id, ErrorCode.FLOW_CONTROL_ERROR, "window too large"
                    )
                    return 0
            self._feed(frame, size)
            if self._seen == NGHTTP2_WINDOW_UPDATE:
                self._connection.on_window(stream_id)
        return 0

    cdef int _rare(
        self,
        const uint8_t *frame,
        Py_ssize_t size,
        int kind,
        int flags,
        int32_t stream_id,
        object now,
    ) except -1:
        cdef bytes shown
        self._tell_of_brief()
        if kind == NGHTTP2_SETTINGS:
            shown = self._gate.settings(flags, frame[:size], now)
            self._sent_blocks.clear()  # the client may have set another size of its table
            # for libnghttp2, a second acknowledgement would be one of nothing
            if stream_id or not (flags & NGHTTP2_FLAG_ACK and self._acknowledged):
                self._feed(<const uint8_t *>PyBytes_AS_STRING(shown), PyBytes_GET_SIZE(shown))
            if flags & NGHTTP2_FLAG_ACK:
                self._acknowledged = True
                self._connection.on_settings_acknowledged()
            else:
                self._connection.on_settings()
        elif kind == NGHTTP2_PING:
            self._abuse.control(now)
            self._feed(frame, size)
            if flags & NGHTTP2_FLAG_ACK and self._seen == NGHTTP2_PING:
                self._connection.on_ping_acknowledged(self._ping[:8])
        elif kind == NGHTTP2_RST_STREAM:
            self._settle(stream_id)
            self._gate.rst_stream(stream_id, now)
            self._feed(frame, size)
            if self._seen == NGHTTP2_RST_STREAM:
                if self._given_up is None:
                    self._given_up = {}
                self._given_up[stream_id] = True
                if len(self._given_up) > _MAX_GIVEN_UP:
                    del self._given_up[next(iter(self._given_up))]
                self._connection.on_reset(stream_id)
        else:
            if self.brief or self.answers:
                self._connection.settle_all()
            self._gate.handle(kind, stream_id, frame[:size], now)
        self._attends = self._attends and self._connection.takes_brief()
        return 0
