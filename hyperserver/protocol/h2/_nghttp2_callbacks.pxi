"""What libnghttp2 calls. Part of ``_nghttp2.pyx``.

None raises, and none calls Python code: they record, for the session to act when libnghttp2 has
returned. ``user_data`` is the session, which outlives its ``nghttp2_session``.
"""


cdef int _on_header(
    nghttp2_session *_session,
    const nghttp2_frame *_frame,
    nghttp2_rcbuf *name,
    nghttp2_rcbuf *value,
    uint8_t _flags,
    void *user_data,
) noexcept:
    cdef _Library self = <_Library>user_data
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
    cdef _Library self = <_Library>user_data
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
    cdef _Library self = <_Library>user_data
    try:
        self._chunk = PyBytes_FromStringAndSize(<const char *>data, size)
    except BaseException as failure:
        self._failure = failure
        return NGHTTP2_ERR_CALLBACK_FAILURE
    return 0


cdef int _before_send(
    nghttp2_session *_session, const nghttp2_frame *frame, void *user_data
) noexcept:
    cdef _Library self = <_Library>user_data
    if frame.hd.type == NGHTTP2_GOAWAY:  # of libnghttp2 alone: ours are written by hand
        self._goaway_code = frame.goaway.error_code
        return NGHTTP2_ERR_CANCEL
    return 0


cdef int _on_sent(
    nghttp2_session *_session, const nghttp2_frame *frame, void *user_data
) noexcept:
    cdef _Library self = <_Library>user_data
    if frame.hd.type == NGHTTP2_RST_STREAM and not self._resetting:
        self._lost_stream = frame.hd.stream_id
    return 0


cdef int _on_not_sent(
    nghttp2_session *_session, const nghttp2_frame *frame, int reason, void *user_data
) noexcept:
    """Silence would leave a response unfinished for ever."""
    cdef _Library self = <_Library>user_data
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
    cdef _Library self = <_Library>user_data
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
    cdef _Library self = <_Library>user_data
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
