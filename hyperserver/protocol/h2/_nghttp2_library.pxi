"""libnghttp2, fed whole frames and emptied at once. Part of ``_nghttp2.pyx``."""


cdef class _Library:
    """What of a ``Session`` is libnghttp2's, and what a gate asks of one (``gate.Gated``)."""

    cdef nghttp2_session *_nghttp2  # NULL while it rests, and after the end
    cdef nghttp2_session *_resting
    cdef _Arena *_arena
    cdef uint8_t *_packed
    cdef size_t _packed_size
    cdef object _connection
    cdef dict _streams
    cdef object _abuse
    cdef object _gate
    cdef dict _cut
    cdef list _settings
    cdef _Output _out
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
    cdef dict _sent_blocks
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
        self._settings = list(server_settings(limits, options).items())
        self._max_block = limits.max_head_size * BLOCK_FACTOR
        self._sent_blocks = {}
        self._seen = _NOTHING
        self._goaway_code = _NOTHING
        self._open()

    def __dealloc__(self):
        self._end()

    cdef int _end(self) except -1:
        if self._packed is not NULL:
            self._wake()
        if self._nghttp2 is not NULL:
            nghttp2_session_del(self._nghttp2)
            self._nghttp2 = NULL
        if self._arena is not NULL:
            arena, self._arena = self._arena, NULL
            _leave_arena(arena)
        return 0

    def close(self):
        """Every method raises afterwards, save that there is nothing to write."""
        if self._arena is not NULL:
            self._end()
            self._gate.close()
            self._gate = self._connection = self._abuse = None
            self._out = _Output()

    cdef inline nghttp2_session *_live(self) except NULL:
        if self._nghttp2 is NULL:
            self._wake()
        return self._nghttp2

    # ---- rest ----------------------------------------------------------------------------

    @property
    def memory(self):
        """Bytes that libnghttp2 has in its arena, or what they are packed into."""
        if self._packed is not NULL:
            return self._packed_size
        return 0 if self._arena is NULL else self._arena.used

    cdef int _wake(self) except -1:
        if self._packed is NULL:
            raise LocalProtocolError("the session is closed")
        _unpack(self._arena, self._packed, self._packed_size)
        PyMem_Free(self._packed)
        self._packed = NULL
        self._nghttp2, self._resting = self._resting, NULL
        return 0

    def rest(self):
        self._sent_blocks.clear()
        if self._nghttp2 is NULL or self._out.used or self._broken:
            return
        self._out = _Output()
        self._packed = _pack(self._arena, &self._packed_size)
        if self._packed is not NULL:
            self._resting, self._nghttp2 = self._nghttp2, NULL

    cdef int _open(self) except -1:
        cdef nghttp2_option *option = NULL
        cdef nghttp2_mem memory
        self._arena = _take_arena()
        memory.mem_user_data = self._arena
        memory.malloc = _malloc
        memory.free = _free
        memory.calloc = _calloc
        memory.realloc = _realloc
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
        failed = nghttp2_session_server_new3(
            &self._nghttp2, _callbacks, <void *>self, option, &memory
        )
        nghttp2_option_del(option)
        self._arena.opening = False
        if failed:
            raise MemoryError
        return 0

    def start(self, upgrade_settings=None):
        cdef nghttp2_settings_entry entries[8]
        cdef size_t count = 0
        cdef bytes payload
        self._live()
        if upgrade_settings is not None:
            payload = _decode_settings(upgrade_settings)
            if nghttp2_session_upgrade2(
                self._live(), <const uint8_t *>PyBytes_AS_STRING(payload), len(payload), 0, NULL
            ):
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "invalid HTTP2-Settings")
            self._pull()
            self._raise_fault()
            self.highest = 1
        # libnghttp2 is told of what it is to act on, and keeps no tree of dependencies
        settings, self._settings = self._settings, None
        said = {key: value for key, value in settings if key not in _OURS_ALONE}
        said[9] = 1
        for key, value in said.items():
            entries[count].settings_id = key
            entries[count].value = value
            count += 1
        self._check(nghttp2_submit_settings(self._live(), 0, entries, count))
        self._pull()
        self._out.take()
        self.write(
            frames.build(
                frames.SETTINGS,
                0,
                0,
                b"".join(
                    [key.to_bytes(2, "big") + value.to_bytes(4, "big") for key, value in settings]
                ),
            )
        )

    # ---- a frame in ----------------------------------------------------------------------

    cdef int _feed(self, const uint8_t *frame, Py_ssize_t size) except -1:
        """Let libnghttp2 take a frame, or a part of one."""
        cdef int32_t lost
        cdef Py_ssize_t written = self._out.used
        self._seen = _NOTHING
        taken = nghttp2_session_mem_recv(self._live(), frame, size)
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

    cdef int _settle(self, int32_t stream_id) except -1:
        """Make an ordinary stream of a brief exchange."""
        return 0

    # ---- what the gate asks --------------------------------------------------------------

    @property
    def receive_window(self):
        return nghttp2_session_get_local_window_size(self._live())

    def is_idle(self, int32_t stream_id):
        return stream_id > (self.highest if stream_id & 1 else self._highest_promised)

    def write(self, bytes frame not None):
        self._pull()
        self._out.add(PyBytes_AS_STRING(frame), PyBytes_GET_SIZE(frame))

    # ---- commands ------------------------------------------------------------------------

    @property
    def max_frame_size(self):
        return nghttp2_session_get_remote_settings(self._live(), NGHTTP2_SETTINGS_MAX_FRAME_SIZE)

    @property
    def connection_window(self):
        return nghttp2_session_get_remote_window_size(self._live())

    @property
    def allows_push(self):
        return (
            nghttp2_session_get_remote_settings(self._live(), NGHTTP2_SETTINGS_ENABLE_PUSH) != 0
        )

    @property
    def max_peer_streams(self):
        return nghttp2_session_get_remote_settings(
            self._live(), NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS
        )

    def stream_window(self, int32_t stream_id):
        return nghttp2_session_get_stream_remote_window_size(self._live(), stream_id)

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
                    self._live(), 0, stream_id, fields, count, NULL
                )
                if outcome == NGHTTP2_ERR_STREAM_ID_NOT_AVAILABLE:
                    return outcome
            else:
                outcome = nghttp2_submit_headers(
                    self._live(),
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
        if not size and nghttp2_session_get_remote_window_size(self._live()) <= 0 or (
            not size and nghttp2_session_get_stream_remote_window_size(self._live(), stream_id) <= 0
        ):
            return self._end_without_window(stream_id)
        self._check(
            nghttp2_submit_data(
                self._live(), NGHTTP2_FLAG_END_STREAM if ends else 0, stream_id, &provider
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
        window = nghttp2_session_get_stream_local_window_size(self._live(), stream_id)
        self._gate.remember_cut(stream_id, max(window, 0))
        if nghttp2_session_find_stream(self._live(), stream_id) is NULL:
            # it is closed, by the very frame that is at fault
            self.write(frames.rst_stream(stream_id, code))
            return
        self._resetting = True
        try:
            self._check(nghttp2_submit_rst_stream(self._live(), 0, stream_id, code))
            self._pull()
        finally:
            self._resetting = False

    def open_window(self, int32_t stream_id, int32_t increment):
        self._check(nghttp2_submit_window_update(self._live(), 0, stream_id, increment))

    def ping(self, bytes payload not None):
        assert len(payload) == 8
        self._check(
            nghttp2_submit_ping(self._live(), 0, <const uint8_t *>PyBytes_AS_STRING(payload))
        )

    def goaway(self, last_stream_id, code):
        """Not by libnghttp2, which would take it for the end."""
        self.write(frames.goaway(last_stream_id, code))

    def data_to_send(self):
        if self._nghttp2 is NULL:
            return b""
        self._pull()
        return self._out.take()

    # ---- libnghttp2 ----------------------------------------------------------------------

    cdef int _pull(self) except -1:
        """Take what libnghttp2 has to send."""
        cdef const uint8_t *data
        cdef ssize_t size
        cdef nghttp2_session *live = self._live()
        if self._broken:
            return 0
        self._broken = True  # should this fail, what libnghttp2 holds may point to what is gone
        while True:
            size = nghttp2_session_mem_send(live, &data)
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

    # ---- blocks that were sent -----------------------------------------------------------

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
