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
from libc.stdint cimport int32_t, uint8_t, uint32_t
from libc.string cimport memcmp, memcpy

from hyperserver.protocol.h2.nghttp2 cimport *

import base64
import binascii

from hyperserver.errors import LocalProtocolError, RemoteProtocolError
from hyperserver.protocol.events import RequestReceived
from hyperserver.protocol.fields import ResponseFields
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
    _MAX_STACK_FIELDS = 32
    #: Blocks remembered for a connection, and the size of the largest worth it.
    _MAX_KNOWN_BLOCKS = 64
    _MAX_KNOWN_BLOCK = 2048

cdef set _never_indexed = set(NEVER_INDEXED)
cdef bytes _preface = frames.PREFACE
cdef list _statuses = [b"%d" % status for status in range(200, 600)]


# ---- output ------------------------------------------------------------------------------------


cdef class _Output:
    """Bytes on their way out, gathered in what will be the one bytes object."""

    cdef PyObject *_bytes
    cdef char *_at
    cdef Py_ssize_t _room
    cdef Py_ssize_t used

    def __dealloc__(self):
        Py_XDECREF(self._bytes)

    cdef int add(self, const void *data, size_t size) except -1:
        if <Py_ssize_t>size > self._room - self.used:
            self._grow(self.used + <Py_ssize_t>size)
        memcpy(self._at + self.used, data, size)
        self.used += size
        return 0

    cdef char *at(self, Py_ssize_t position) noexcept:
        return self._at + position

    cdef int _grow(self, Py_ssize_t needed) except -1:
        cdef Py_ssize_t room = max(2 * self._room, needed, _SMALL_OUTPUT)
        if self._bytes is NULL:
            self._bytes = PyBytes_FromStringAndSize_raw(NULL, room)
            if self._bytes is NULL:
                raise MemoryError
        else:
            self._room = 0  # should this fail, there is nothing left
            self.used, needed = 0, self.used
            _PyBytes_Resize(&self._bytes, room)
            self.used = needed
        self._room = room
        self._at = PyBytes_AS_STRING_raw(self._bytes)
        return 0

    cdef bytes take(self):
        cdef Py_ssize_t size = self.used
        cdef PyObject *taken
        if size == 0:
            return b""
        self.used = 0
        if size <= _SMALL_OUTPUT // 2:  # and keep the buffer
            return PyBytes_FromStringAndSize(self._at, size)
        taken, self._bytes = self._bytes, NULL
        self._room = 0
        _PyBytes_Resize(&taken, size)
        data = <bytes>taken
        Py_XDECREF(taken)  # the reference is ``data``'s now
        return data


cdef class _SentBlock:
    """A field block that was sent for a response."""

    cdef list headers
    cdef int status
    cdef bytes date
    cdef bytes server
    cdef bytes block


# ---- the session -------------------------------------------------------------------------------


cdef class NGHTTP2Session:
    """See ``session.Session``."""

    cdef nghttp2_session *_nghttp2
    cdef object _connection
    cdef dict _streams
    cdef object _abuse
    cdef object _gate
    cdef dict _cut
    cdef dict _handlers
    cdef list _settings
    cdef _Output _out
    # bytes in
    cdef bytearray _buffer
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
    cdef Py_ssize_t _max_block
    # what callbacks record of the frame that is being fed
    cdef int _seen
    cdef list _fields
    cdef Py_ssize_t _fields_size
    cdef bytes _chunk
    cdef uint8_t _ping[8]
    cdef int32_t _lost_stream
    cdef bint _resetting
    cdef bint _broken
    cdef long _goaway_code
    cdef object _failure
    # streams
    cdef readonly int32_t highest
    cdef int32_t _highest_promised
    # brief exchanges (``brief.py``)
    cdef readonly dict brief
    cdef readonly dict answers
    cdef readonly set released
    cdef Py_ssize_t _answered  # bytes
    cdef bint _in_order
    cdef bint _attends
    cdef int32_t _newest_brief
    cdef dict _known_blocks
    cdef dict _sent_blocks
    cdef set _places
    cdef Py_ssize_t _max_places
    cdef object _defaults
    cdef object _scheme
    cdef object _limits
    # the DATA that is being sent
    cdef const uint8_t *_sending
    cdef Py_ssize_t _sending_left
    cdef bint _sending_ends

    def __cinit__(self, connection, limits, options, abuse):
        self._out = _Output()
        self._connection = connection
        self._streams = connection.streams
        self._abuse = abuse
        self._gate = Gate(self, connection, abuse)
        self._cut = self._gate.cut
        self._handlers = self._gate.handlers
        self._settings = list(server_settings(limits, options).items())
        self._buffer = bytearray()
        self._preface_left = _PREFACE_SIZE
        self._max_frame_size = options.max_frame_size
        self._max_block = limits.max_head_size * BLOCK_FACTOR
        self._seen = _NOTHING
        self._goaway_code = _NOTHING
        self.brief = {}
        self.answers = {}
        self.released = set()
        self._known_blocks = {}
        self._sent_blocks = {}
        self._max_places = options.max_concurrent_streams
        self._limits = limits
        self._open()

    def __dealloc__(self):
        if self._nghttp2 is not NULL:
            nghttp2_session_del(self._nghttp2)

    cdef int _open(self) except -1:
        cdef nghttp2_option *option = NULL
        if nghttp2_option_new(&option):
            raise MemoryError
        nghttp2_option_set_no_recv_client_magic(option, 1)
        nghttp2_option_set_no_auto_window_update(option, 1)
        nghttp2_option_set_no_http_messaging(option, 1)
        nghttp2_option_set_no_closed_streams(option, 1)
        nghttp2_option_set_max_outbound_ack(option, _OUT_OF_REACH)
        nghttp2_option_set_max_settings(option, _OUT_OF_REACH)
        nghttp2_option_set_max_send_header_block_length(option, _MAX_SENT_BLOCK)
        nghttp2_option_set_max_deflate_dynamic_table_size(option, _MAX_ENCODER_TABLE)
        hyperserver_reset_rate_limit(option, _OUT_OF_REACH, _OUT_OF_REACH)
        hyperserver_glitch_rate_limit(option, _OUT_OF_REACH, _OUT_OF_REACH)
        hyperserver_max_continuations(option, _OUT_OF_REACH)
        failed = nghttp2_session_server_new2(&self._nghttp2, _callbacks, <void *>self, option)
        nghttp2_option_del(option)
        if failed:
            raise MemoryError
        return 0

    def start(self, upgrade_settings=None):
        cdef nghttp2_settings_entry entries[8]
        cdef size_t count = 0
        cdef bytes payload
        if upgrade_settings is not None:
            payload = _decode_settings(upgrade_settings)
            if nghttp2_session_upgrade2(
                self._nghttp2, <const uint8_t *>PyBytes_AS_STRING(payload), len(payload), 0, NULL
            ):
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "invalid HTTP2-Settings")
            self._pull()
            self._raise_fault()
            self.highest = 1
        # libnghttp2 is told of what it is to act on, and keeps no tree of dependencies
        said = {key: value for key, value in self._settings if key not in _OURS_ALONE}
        said[9] = 1
        for key, value in said.items():
            entries[count].settings_id = key
            entries[count].value = value
            count += 1
        self._check(nghttp2_submit_settings(self._nghttp2, 0, entries, count))
        self._pull()
        self._out.take()
        self.write(
            frames.build(
                frames.SETTINGS,
                0,
                0,
                b"".join(
                    [key.to_bytes(2, "big") + value.to_bytes(4, "big") for key, value in self._settings]
                ),
            )
        )

    # ---- bytes in ------------------------------------------------------------------------

    @property
    def is_partial(self):
        cdef bytearray buffer = self._buffer
        if self._preface_left or not self._started or self._block_stream:
            return True
        return len(buffer) > 0 and (len(buffer) < 4 or buffer[3] != NGHTTP2_DATA)

    @property
    def partial_data(self):
        cdef bytearray buffer = self._buffer
        if len(buffer) < _HEADER_SIZE or buffer[3] != NGHTTP2_DATA or self._preface_left:
            return 0
        return frames.payload_long(buffer, 5)

    def receive(self, bytes data not None, now):
        """Raises ConnectionFault."""
        cdef const uint8_t *at
        cdef Py_ssize_t left
        cdef Py_ssize_t size
        if self._buffer:
            self._buffer += data
            if len(self._buffer) < self._awaited:
                return
            data = bytes(self._buffer)
            self._buffer.clear()
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
            self._buffer += at[:left]
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

    cdef int _feed(self, const uint8_t *frame, Py_ssize_t size) except -1:
        """Let libnghttp2 take a frame, or a part of one."""
        cdef int32_t lost
        cdef Py_ssize_t written = self._out.used
        self._seen = _NOTHING
        taken = nghttp2_session_mem_recv(self._nghttp2, frame, size)
        if self._failure is not None:
            self._raise_failure()
        if taken == NGHTTP2_ERR_NOMEM:
            raise MemoryError
        if taken < 0:
            raise ConnectionFault(
                ErrorCode.ENHANCE_YOUR_CALM
                if taken == NGHTTP2_ERR_FLOODED
                else ErrorCode.PROTOCOL_ERROR,
                nghttp2_strerror(<int>taken).decode("ascii"),
            )
        self._pull()
        if self._lost_stream and frame[3] == NGHTTP2_SETTINGS:
            # what libnghttp2 takes for the streams' fault is the setting's (RFC 9113 §6.9.2)
            self._goaway_code = ErrorCode.FLOW_CONTROL_ERROR
        if self._goaway_code != _NOTHING:
            self._out.used = written  # what else libnghttp2 says of a frame that ends all
            self._raise_fault()
        if self._lost_stream:
            lost, self._lost_stream = self._lost_stream, 0
            self._settle(lost)
            self._gate.remember_cut(lost, 0)
            self._connection.on_stream_error(lost, "stream error")
        return 0

    # ---- field blocks --------------------------------------------------------------------

    cdef int _headers(
        self, const uint8_t *frame, Py_ssize_t size, int flags, int32_t stream_id, object now
    ) except -1:
        cdef bytes fragment
        cdef bint plain = not flags & (NGHTTP2_FLAG_PADDED | NGHTTP2_FLAG_PRIORITY)
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
        if not stream_id:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "HEADERS without a stream")
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
                    raise ConnectionFault(ErrorCode.STREAM_CLOSED, "HEADERS on a closed stream")
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

    cdef int _fields_received(
        self, int32_t stream_id, list fields, bint ends, bint spoiled
    ) except -1:
        self._tell_of_brief()
        self._connection.on_fields(stream_id, fields, ends, spoiled=spoiled)
        if self._places is not None and not self._attends:
            self._attends = self._connection.takes_brief()
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

    # ---- brief exchanges -----------------------------------------------------------------

    def attend(self, set places not None, defaults, scheme):
        self._places = places
        self._defaults = defaults
        self._scheme = scheme

    cdef int _brief_received(
        self, const uint8_t *frame, Py_ssize_t size, int32_t stream_id
    ) except -1:
        """A new stream, whose request is whole with this block.

        A block that changes nothing in the dynamic table will, as long as that stays as it is, mean
        the same again. Then libnghttp2 is told only that a stream has begun.
        """
        cdef uint8_t empty[_HEADER_SIZE]
        cdef bytes block = frame[_HEADER_SIZE:size]
        cdef tuple known = self._known_blocks.get(block)
        cdef tuple request  # a messages.Request
        cdef list fields
        if known is not None:
            memcpy(empty, frame, _HEADER_SIZE)
            empty[0] = empty[1] = empty[2] = 0
            self._seen = _NOTHING
            nghttp2_session_mem_recv(self._nghttp2, empty, _HEADER_SIZE)
            if self._seen != NGHTTP2_HEADERS:  # nothing else can be wrong with it
                raise MemoryError
            self.highest = stream_id
            request = <tuple>known[0]
            fields = <list>known[1]
        else:
            self._fields = []
            self._fields_size = 0
            self._feed(frame, size)
            self.highest = stream_id
            if self._seen != NGHTTP2_HEADERS:
                return 0
            fields, self._fields = self._fields, None
            request = None
            try:
                asked = read_request(fields, self._limits)
                if asked.protocol is None and not asked.content_length:
                    request = <tuple>asked
            except RemoteProtocolError:
                pass
            if _changes_table(frame + _HEADER_SIZE, size - _HEADER_SIZE):
                self._known_blocks.clear()
            elif request is not None and size <= _MAX_KNOWN_BLOCK:
                if len(self._known_blocks) >= _MAX_KNOWN_BLOCKS:
                    self._known_blocks.clear()
                self._known_blocks[block] = (request, fields)
        if request is None or len(self._places) >= self._max_places:
            return self._fields_received(stream_id, fields, True, False)
        self._places.add(stream_id)
        self.brief[stream_id] = request
        self._newest_brief = stream_id
        self._connection.event_queue.append(
            RequestReceived(  # method, target, headers and authority
                stream_id,
                request[0],
                request[1],
                list(request[2]),
                "2",
                self._scheme,
                request[3],
                None,
                True,
            )
        )
        return 0

    cdef int _tell_of_brief(self) except -1:
        if self._newest_brief:
            stream_id, self._newest_brief = self._newest_brief, 0
            self._connection.on_brief(stream_id)
        return 0

    cdef int _settle(self, int32_t stream_id) except -1:
        if stream_id in self.brief or stream_id in self.answers:
            self._tell_of_brief()
            self._connection.settle(stream_id)
        return 0

    def respond(self, int32_t stream_id, int status, headers, bytes body not None):
        cdef bint ends
        request = self.brief[stream_id]
        if (
            type(headers) is not ResponseFields
            or status == 204
            or PyBytes_GET_SIZE(body) > _FRAGMENT
            or self._answered + PyBytes_GET_SIZE(body) > HIGH_WATER
        ):
            return False
        ends = PyBytes_GET_SIZE(body) == 0 or status == 304 or request.method == "HEAD"
        if not self._write_head(stream_id, status, <list>headers, ends):
            return False
        del self.brief[stream_id]
        if ends:
            self._places.discard(stream_id)
            self._tell_of_end()
            return True
        if not self.answers:
            self._answered = 0
            self._in_order = True
        if request.priority is not None:
            self._in_order = False
        self._answered += PyBytes_GET_SIZE(body)
        self.answers[stream_id] = (request, body)
        return True

    cdef bint _write_head(
        self, int32_t stream_id, int status, list headers, bint ends
    ) except -1:
        """False, and nothing is written, where that takes more than is known here.

        As with requests, a block that changed nothing in the dynamic table is, as long as that
        stays as it is, the same the next time. Then libnghttp2 is told of an empty one.
        """
        cdef nghttp2_nv fields[_MAX_STACK_FIELDS]
        cdef Py_ssize_t n = 0
        cdef Py_ssize_t start
        cdef _SentBlock known
        cdef bytes name
        cdef bytes value
        cdef bytes date = self._defaults.date
        cdef bytes server = self._defaults.server
        self._pull()
        start = self._out.used
        known = self._sent_blocks.get(<size_t><void *>headers)
        if (
            known is not None
            and known.headers is headers
            and known.status == status
            and known.date is date
            and known.server is server
        ):
            self._submit_head(stream_id, NULL, 0, ends)
            return self._put_block(start, known.block)
        if headers.steers or len(headers) > _MAX_STACK_FIELDS - 3 or not 200 <= status <= 599:
            return False
        value = _statuses[status - 200]
        _set_field(&fields[0], b":status", value)
        n = 1
        for name, value in headers:
            if PyBytes_GET_SIZE(name) == 8 and name == b"priority":
                return False
            _set_field(&fields[n], name, value)
            n += 1
        if date is not None:
            _set_field(&fields[n], b"date", date)
            n += 1
        if server is not None and PyBytes_GET_SIZE(server):
            _set_field(&fields[n], b"server", server)
            n += 1
        self._submit_head(stream_id, fields, n, ends)
        known = self._block_since(start)
        if known is not None:
            known.headers = headers
            known.status = status
            known.date = date
            known.server = server
            self._sent_blocks[<size_t><void *>headers] = known
        return True

    cdef int _submit_head(
        self, int32_t stream_id, const nghttp2_nv *fields, Py_ssize_t n, bint ends
    ) except -1:
        self._check(
            nghttp2_submit_headers(
                self._nghttp2,
                NGHTTP2_FLAG_END_STREAM if ends else 0,
                stream_id,
                NULL,
                fields,
                n,
                NULL,
            )
        )
        return self._pull()

    cdef _SentBlock _block_since(self, Py_ssize_t start):
        """The block of the one HEADERS frame that was written; None, and all that was known is
        forgotten, if it is more than that or has changed the table.
        """
        cdef const uint8_t *frame = <const uint8_t *>self._out.at(start)
        cdef Py_ssize_t size = self._out.used - start - _HEADER_SIZE
        cdef _SentBlock block
        if (
            frame[3] != NGHTTP2_HEADERS
            or not frame[4] & NGHTTP2_FLAG_END_HEADERS
            or (frame[0] << 16 | frame[1] << 8 | frame[2]) != size
            or _changes_table(frame + _HEADER_SIZE, size)
        ):
            self._sent_blocks.clear()
            return None
        if size > _MAX_KNOWN_BLOCK:
            return None
        if len(self._sent_blocks) >= _MAX_KNOWN_BLOCKS:
            self._sent_blocks.clear()
        block = _SentBlock.__new__(_SentBlock)
        block.block = frame[_HEADER_SIZE : _HEADER_SIZE + size]
        return block

    cdef bint _put_block(self, Py_ssize_t start, bytes block) except -1:
        """Into the empty HEADERS frame at ``start``."""
        cdef Py_ssize_t size = PyBytes_GET_SIZE(block)
        cdef char *header
        self._out.add(PyBytes_AS_STRING(block), size)
        size = self._out.used - start - _HEADER_SIZE
        header = self._out.at(start)
        header[1] = <char>(size >> 8)
        header[2] = <char>(size & 0xFF)
        return True

    def send_answers(self):
        cdef dict answers = self.answers
        cdef bytes body
        cdef int32_t stream_id
        cdef Py_ssize_t most
        if len(answers) > 1 and not self._in_order:
            return False
        if self._answered > nghttp2_session_get_remote_window_size(self._nghttp2):
            return False
        most = self.max_frame_size
        for stream_id, (_, body) in answers.items():
            if PyBytes_GET_SIZE(body) > min(
                most, nghttp2_session_get_stream_remote_window_size(self._nghttp2, stream_id)
            ):
                return False
        for stream_id in sorted(answers):
            body = answers[stream_id][1]
            self._submit_data(
                stream_id, <const uint8_t *>PyBytes_AS_STRING(body), PyBytes_GET_SIZE(body), True
            )
            self._places.discard(stream_id)
        self._abuse.data_sent(len(answers))
        answers.clear()
        self.released.clear()
        self._answered = 0
        self._tell_of_end()
        return True

    cdef int _tell_of_end(self) except -1:
        if not self.brief:
            self._connection.on_brief_ended()
        return 0

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
        # of another size, it is libnghttp2's to refuse
        increment = _long(frame + _HEADER_SIZE) if size == _HEADER_SIZE + 4 else 1
        if not increment:
            self._settle(stream_id)
        if self._gate.window_update(stream_id, increment, now):
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
            if not (flags & NGHTTP2_FLAG_ACK and self._acknowledged):
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
                self._connection.on_reset(stream_id)
        else:
            handler = self._handlers.get(kind)
            if handler is None:
                self._abuse.control(now)  # RFC 9113 §5.5: unknown, to be ignored
            else:
                if self.brief or self.answers:
                    self._connection.settle_all()
                handler(flags, stream_id, frame[:size], now)
        self._attends = self._attends and self._connection.takes_brief()
        return 0

    # ---- what the gate asks --------------------------------------------------------------

    @property
    def receive_window(self):
        return nghttp2_session_get_local_window_size(self._nghttp2)

    def is_idle(self, int32_t stream_id):
        return stream_id > (self.highest if stream_id & 1 else self._highest_promised)

    def write(self, bytes frame not None):
        self._pull()
        self._out.add(PyBytes_AS_STRING(frame), PyBytes_GET_SIZE(frame))

    # ---- commands ------------------------------------------------------------------------

    @property
    def max_frame_size(self):
        return nghttp2_session_get_remote_settings(self._nghttp2, NGHTTP2_SETTINGS_MAX_FRAME_SIZE)

    @property
    def connection_window(self):
        return nghttp2_session_get_remote_window_size(self._nghttp2)

    @property
    def allows_push(self):
        return (
            nghttp2_session_get_remote_settings(self._nghttp2, NGHTTP2_SETTINGS_ENABLE_PUSH) != 0
        )

    @property
    def max_peer_streams(self):
        return nghttp2_session_get_remote_settings(
            self._nghttp2, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS
        )

    def stream_window(self, int32_t stream_id):
        return nghttp2_session_get_stream_remote_window_size(self._nghttp2, stream_id)

    def send_headers(self, int32_t stream_id, list block not None, bint end_stream):
        self._submit_fields(stream_id, block, end_stream, False)

    def push(self, int32_t stream_id, list block not None):
        promised = self._submit_fields(stream_id, block, False, True)
        if promised == NGHTTP2_ERR_STREAM_ID_NOT_AVAILABLE:
            return None
        self._highest_promised = promised
        return promised

    cdef int32_t _submit_fields(
        self, int32_t stream_id, list block, bint ends, bint promises
    ) except? -1:
        """The fields are written before this returns, so libnghttp2 need not copy them."""
        cdef nghttp2_nv some[_MAX_STACK_FIELDS]
        cdef nghttp2_nv *fields = some
        cdef Py_ssize_t count = len(block)
        cdef Py_ssize_t n = 0
        cdef bytes name
        cdef bytes value
        cdef int32_t outcome
        cdef Py_ssize_t start
        self._pull()
        start = self._out.used
        if count > _MAX_STACK_FIELDS:
            fields = <nghttp2_nv *>PyMem_Malloc(count * sizeof(nghttp2_nv))
            if fields is NULL:
                raise MemoryError
        try:
            for name, value in block:
                _set_field(&fields[n], name, value)
                n += 1
            if promises:
                outcome = nghttp2_submit_push_promise(
                    self._nghttp2, 0, stream_id, fields, count, NULL
                )
                if outcome == NGHTTP2_ERR_STREAM_ID_NOT_AVAILABLE:
                    return outcome
            else:
                outcome = nghttp2_submit_headers(
                    self._nghttp2,
                    NGHTTP2_FLAG_END_STREAM if ends else 0,
                    stream_id,
                    NULL,
                    fields,
                    count,
                    NULL,
                )
            self._check(outcome)
            self._pull()
            if promises:
                self._sent_blocks.clear()
            elif self._sent_blocks:
                self._block_since(start)
        finally:
            if fields is not some:
                PyMem_Free(fields)
        return outcome

    def send_data(self, int32_t stream_id, data, bint end_stream):
        cdef Py_buffer view
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        try:
            self._submit_data(stream_id, <const uint8_t *>view.buf, view.len, end_stream)
        finally:
            PyBuffer_Release(&view)
        self._abuse.data_sent()

    cdef int _submit_data(
        self, int32_t stream_id, const uint8_t *data, Py_ssize_t size, bint ends
    ) except -1:
        """The bytes are written before this returns: straight into the output, by ``_send``."""
        cdef nghttp2_data_provider provider
        provider.source.ptr = NULL
        provider.read_callback = _read
        self._sending = data
        self._sending_left = size
        self._sending_ends = ends
        if not size and nghttp2_session_get_remote_window_size(self._nghttp2) <= 0 or (
            not size and nghttp2_session_get_stream_remote_window_size(self._nghttp2, stream_id) <= 0
        ):
            return self._end_without_window(stream_id)
        self._check(
            nghttp2_submit_data(
                self._nghttp2, NGHTTP2_FLAG_END_STREAM if ends else 0, stream_id, &provider
            )
        )
        self._pull()
        self._sending = NULL
        return 0

    cdef int _end_without_window(self, int32_t stream_id) except -1:
        """Empty DATA needs no window (RFC 9113 §6.9), for libnghttp2 it does: it is told of empty
        trailers, which leave as DATA.
        """
        cdef Py_ssize_t start
        cdef char *header
        self._pull()
        start = self._out.used
        self._submit_fields(stream_id, [], True, False)
        if self._out.used == start + _HEADER_SIZE:  # else the block resizes the table
            header = self._out.at(start)
            header[3] = NGHTTP2_DATA
            header[4] = NGHTTP2_FLAG_END_STREAM
        return 0

    def reset(self, int32_t stream_id, code):
        cdef int32_t window
        self._pull()
        window = nghttp2_session_get_stream_local_window_size(self._nghttp2, stream_id)
        self._gate.remember_cut(stream_id, max(window, 0))
        if nghttp2_session_find_stream(self._nghttp2, stream_id) is NULL:
            # it is closed, by the very frame that is at fault
            self.write(frames.rst_stream(stream_id, code))
            return
        self._resetting = True
        try:
            self._check(nghttp2_submit_rst_stream(self._nghttp2, 0, stream_id, code))
            self._pull()
        finally:
            self._resetting = False

    def open_window(self, int32_t stream_id, int32_t increment):
        self._check(nghttp2_submit_window_update(self._nghttp2, 0, stream_id, increment))

    def ping(self, bytes payload not None):
        assert len(payload) == 8
        self._check(
            nghttp2_submit_ping(self._nghttp2, 0, <const uint8_t *>PyBytes_AS_STRING(payload))
        )

    def goaway(self, last_stream_id, code):
        """Not by libnghttp2, which would take it for the end."""
        self.write(frames.goaway(last_stream_id, code))

    def data_to_send(self):
        self._pull()
        return self._out.take()

    # ---- libnghttp2 ----------------------------------------------------------------------

    cdef int _pull(self) except -1:
        """Take what libnghttp2 has to send."""
        cdef const uint8_t *data
        cdef ssize_t size
        if self._broken:
            return 0
        self._broken = True  # should this fail, what libnghttp2 holds may point to what is gone
        while True:
            size = nghttp2_session_mem_send(self._nghttp2, &data)
            if size <= 0:
                break
            self._out.add(data, size)
        self._broken = size < 0
        if self._failure is not None:
            self._raise_failure()
        return self._check(size)

    cdef int _check(self, ssize_t outcome) except -1:
        if outcome < 0:
            if outcome == NGHTTP2_ERR_NOMEM:
                raise MemoryError
            raise LocalProtocolError(nghttp2_strerror(<int>outcome).decode("ascii"))
        return 0

    cdef int _raise_failure(self) except -1:
        failure, self._failure = self._failure, None
        raise failure

    cdef int _raise_fault(self) except -1:
        """libnghttp2 has given up; the connection will write its own GOAWAY."""
        if self._goaway_code != _NOTHING:
            code, self._goaway_code = self._goaway_code, _NOTHING
            raise ConnectionFault(ErrorCode(code), "refused by libnghttp2")
        return 0


cdef inline int32_t _long(const uint8_t *at) noexcept:
    """A number of 31 bits."""
    return (at[0] & 0x7F) << 24 | at[1] << 16 | at[2] << 8 | at[3]


cdef inline void _set_field(nghttp2_nv *field, bytes name, bytes value) noexcept:
    """Both must live until libnghttp2 has written the field."""
    field.name = <uint8_t *>PyBytes_AS_STRING(name)
    field.namelen = PyBytes_GET_SIZE(name)
    field.value = <uint8_t *>PyBytes_AS_STRING(value)
    field.valuelen = PyBytes_GET_SIZE(value)
    field.flags = NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE
    if name in _never_indexed:
        field.flags |= NGHTTP2_NV_FLAG_NO_INDEX


cdef bint _changes_table(const uint8_t *at, Py_ssize_t size) noexcept:
    """Whether a field block (RFC 7541 §6) has anything but indexed fields and literals that are not
    to be indexed; also where it is not valid.
    """
    cdef const uint8_t *end = at + size
    cdef int strings
    while at < end:
        if at[0] & 0x80:
            if not _skip_number(&at, end, 7, NULL):
                return True
            continue
        if at[0] & 0x60:  # 01: literal with indexing, 001: another size of the table
            return True
        strings = 1 if at[0] & 0x0F else 2
        if not _skip_number(&at, end, 4, NULL):
            return True
        while strings:
            if not _skip_string(&at, end):
                return True
            strings -= 1
    return False


cdef bint _skip_string(const uint8_t **at, const uint8_t *end) noexcept:
    cdef Py_ssize_t length
    if at[0] >= end or not _skip_number(at, end, 7, &length) or length > end - at[0]:
        return False
    at[0] += length
    return True


cdef bint _skip_number(
    const uint8_t **at, const uint8_t *end, int bits, Py_ssize_t *number
) noexcept:
    """RFC 7541 §5.1; False if it is cut short or absurd."""
    cdef uint8_t octet
    cdef uint8_t mask = (1 << bits) - 1
    cdef Py_ssize_t found = at[0][0] & mask
    cdef int shift = 0
    at[0] += 1
    if found == mask:
        while True:
            if at[0] >= end or shift > 21:
                return False
            octet = at[0][0]
            at[0] += 1
            found += <Py_ssize_t>(octet & 0x7F) << shift
            shift += 7
            if not octet & 0x80:
                break
    if number is not NULL:
        number[0] = found
    return True


cdef bytes _decode_settings(value):
    """The payload in an HTTP2-Settings field (RFC 7540 §3.2.1). Raises ConnectionFault."""
    try:
        return base64.urlsafe_b64decode(value + b"=" * (-len(value) % 4))
    except (binascii.Error, ValueError) as error:
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, str(error)) from None


#: Settings that are between the client and us: libnghttp2 would enforce them in its own way.
cdef object _OURS_ALONE = frozenset(
    (NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE)
)


# ---- callbacks: none raises, none calls Python code -----------------------------------------------


cdef int _on_header(
    nghttp2_session *_session,
    const nghttp2_frame *_frame,
    nghttp2_rcbuf *name,
    nghttp2_rcbuf *value,
    uint8_t _flags,
    void *user_data,
) noexcept:
    cdef NGHTTP2Session self = <NGHTTP2Session>user_data
    cdef nghttp2_vec name_is = nghttp2_rcbuf_get_buf(name)
    cdef nghttp2_vec value_is = nghttp2_rcbuf_get_buf(value)
    try:
        self._fields_size += name_is.len + value_is.len + _FIELD_OVERHEAD
        if self._fields_size > self._max_block:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "field section too large")
        self._fields.append(
            (
                PyBytes_FromStringAndSize(<char *>name_is.base, name_is.len),
                PyBytes_FromStringAndSize(<char *>value_is.base, value_is.len),
            )
        )
    except BaseException as failure:
        self._failure = failure
        return NGHTTP2_ERR_CALLBACK_FAILURE
    return 0


cdef int _on_frame(
    nghttp2_session *_session, const nghttp2_frame *frame, void *user_data
) noexcept:
    cdef NGHTTP2Session self = <NGHTTP2Session>user_data
    self._seen = frame.hd.type
    if frame.hd.type == NGHTTP2_PING:
        memcpy(self._ping, frame.ping.opaque_data, 8)
    return 0


cdef int _on_chunk(
    nghttp2_session *_session,
    uint8_t _flags,
    int32_t _stream_id,
    const uint8_t *data,
    size_t size,
    void *user_data,
) noexcept:
    cdef NGHTTP2Session self = <NGHTTP2Session>user_data
    try:
        self._chunk = PyBytes_FromStringAndSize(<const char *>data, size)
    except BaseException as failure:
        self._failure = failure
        return NGHTTP2_ERR_CALLBACK_FAILURE
    return 0


cdef int _before_send(
    nghttp2_session *_session, const nghttp2_frame *frame, void *user_data
) noexcept:
    cdef NGHTTP2Session self = <NGHTTP2Session>user_data
    if frame.hd.type == NGHTTP2_GOAWAY:  # of libnghttp2 alone: ours are written by hand
        self._goaway_code = frame.goaway.error_code
        return NGHTTP2_ERR_CANCEL
    return 0


cdef int _on_sent(
    nghttp2_session *_session, const nghttp2_frame *frame, void *user_data
) noexcept:
    cdef NGHTTP2Session self = <NGHTTP2Session>user_data
    if frame.hd.type == NGHTTP2_RST_STREAM and not self._resetting:
        self._lost_stream = frame.hd.stream_id
    return 0


cdef int _on_not_sent(
    nghttp2_session *_session, const nghttp2_frame *frame, int reason, void *user_data
) noexcept:
    """Silence would leave a response unfinished for ever."""
    cdef NGHTTP2Session self = <NGHTTP2Session>user_data
    if frame.hd.type == NGHTTP2_HEADERS or frame.hd.type == NGHTTP2_PUSH_PROMISE:
        try:
            self._failure = LocalProtocolError(nghttp2_strerror(reason).decode("ascii"))
        except BaseException as failure:
            self._failure = failure
    return 0


cdef ssize_t _read(
    nghttp2_session *_session,
    int32_t _stream_id,
    uint8_t *_buffer,
    size_t room,
    uint32_t *flags,
    nghttp2_data_source *_source,
    void *user_data,
) noexcept:
    """How much of what is to be sent fits into the frame."""
    cdef NGHTTP2Session self = <NGHTTP2Session>user_data
    cdef Py_ssize_t size = min(<Py_ssize_t>room, self._sending_left)
    flags[0] |= NGHTTP2_DATA_FLAG_NO_COPY
    if size == self._sending_left:
        flags[0] |= NGHTTP2_DATA_FLAG_EOF
        if not self._sending_ends:
            flags[0] |= NGHTTP2_DATA_FLAG_NO_END_STREAM
    return size


cdef int _send(
    nghttp2_session *_session,
    nghttp2_frame *_frame,
    const uint8_t *header,
    size_t size,
    nghttp2_data_source *_source,
    void *user_data,
) noexcept:
    cdef NGHTTP2Session self = <NGHTTP2Session>user_data
    try:
        self._out.add(header, _HEADER_SIZE)
        if size:
            self._out.add(self._sending, size)
            self._sending += size
            self._sending_left -= size
    except BaseException as failure:
        self._failure = failure
        return NGHTTP2_ERR_CALLBACK_FAILURE
    return 0


cdef ssize_t _frame_size(
    nghttp2_session *_session,
    uint8_t _kind,
    int32_t _stream_id,
    int32_t connection_window,
    int32_t stream_window,
    uint32_t max_frame_size,
    void *_user_data,
) noexcept:
    return min(connection_window, stream_window, <int32_t>max_frame_size)


cdef nghttp2_session_callbacks *_callbacks = NULL

if nghttp2_session_callbacks_new(&_callbacks):
    raise MemoryError
nghttp2_session_callbacks_set_on_header_callback2(_callbacks, _on_header)
nghttp2_session_callbacks_set_on_frame_recv_callback(_callbacks, _on_frame)
nghttp2_session_callbacks_set_on_data_chunk_recv_callback(_callbacks, _on_chunk)
nghttp2_session_callbacks_set_before_frame_send_callback(_callbacks, _before_send)
nghttp2_session_callbacks_set_on_frame_send_callback(_callbacks, _on_sent)
nghttp2_session_callbacks_set_on_frame_not_send_callback(_callbacks, _on_not_sent)
nghttp2_session_callbacks_set_send_data_callback(_callbacks, _send)
nghttp2_session_callbacks_set_data_source_read_length_callback(_callbacks, _frame_size)
