"""Brief exchanges (``brief.py``). Part of ``_nghttp2.pyx``."""


cdef class _Answer:
    """See ``brief.Answer``."""

    cdef readonly object request  # a messages.Request
    cdef readonly bytes body
    cdef public bint is_released


cdef class _Brief(_Library):
    """See ``brief.BriefSession``."""

    cdef readonly dict brief
    cdef readonly dict answers
    cdef Py_ssize_t _answered  # bytes
    cdef bint _in_order
    cdef bint _attends
    cdef int32_t _newest_brief
    cdef dict _known_blocks
    cdef dict _places
    cdef Py_ssize_t _max_places
    cdef object _defaults
    cdef object _scheme
    cdef object _limits

    def __cinit__(self, connection, limits, options, abuse):
        self.brief = {}
        self.answers = {}
        self._known_blocks = {}
        self._max_places = options.max_concurrent_streams
        self._limits = limits

    def attend(self, dict places not None, defaults, scheme):
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
            nghttp2_session_mem_recv(self._live(), empty, _HEADER_SIZE)
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
        self._places[stream_id] = None
        self.brief[stream_id] = request
        self._newest_brief = stream_id
        self._connection.event_queue.append(
            RequestReceived(  # method, target, headers and authority
                stream_id,
                request[0],
                request[1],
                request[2],
                "2",
                self._scheme,
                request[3],
                None,
                True,
            )
        )
        return 0

    def rest(self):
        self._known_blocks.clear()
        if not self.brief:
            self.brief.clear()
        if not self.answers:
            self.answers.clear()
        _Library.rest(self)

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
        cdef _Answer answer
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
            self._places.pop(stream_id, None)
            self._tell_of_end()
            return True
        if not self.answers:
            self._answered = 0
            self._in_order = True
        if request.priority is not None:
            self._in_order = False
        self._answered += PyBytes_GET_SIZE(body)
        answer = _Answer.__new__(_Answer)
        answer.request = request
        answer.body = body
        self.answers[stream_id] = answer
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
        cdef list more = self._defaults.more
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
        if (
            headers.steers
            or len(headers) + len(more) > _MAX_STACK_FIELDS - 3
            or not 200 <= status <= 599
        ):
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
        for name, value in more:
            _set_field(&fields[n], name, value)
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
                self._live(),
                NGHTTP2_FLAG_END_STREAM if ends else 0,
                stream_id,
                NULL,
                fields,
                n,
                NULL,
            )
        )
        return self._pull()

    def send_answers(self):
        cdef dict answers = self.answers
        cdef bytes body
        cdef int32_t stream_id
        cdef _Answer answer
        cdef Py_ssize_t most
        if len(answers) > 1 and not self._in_order:
            return False
        if self._answered > nghttp2_session_get_remote_window_size(self._live()):
            return False
        most = self.max_frame_size
        for stream_id, answer in answers.items():
            if PyBytes_GET_SIZE(answer.body) > min(
                most, nghttp2_session_get_stream_remote_window_size(self._live(), stream_id)
            ):
                return False
        for stream_id in sorted(answers):
            answer = answers[stream_id]
            body = answer.body
            self._submit_data(
                stream_id, <const uint8_t *>PyBytes_AS_STRING(body), PyBytes_GET_SIZE(body), True
            )
            self._places.pop(stream_id, None)
        self._abuse.data_sent(len(answers))
        answers.clear()
        self._answered = 0
        self._tell_of_end()
        return True

    cdef int _tell_of_end(self) except -1:
        if not self.brief:
            self._connection.on_brief_ended()
        return 0

    cdef int _fields_received(
        self, int32_t stream_id, list fields, bint ends, bint spoiled
    ) except -1:
        self._tell_of_brief()
        self._connection.on_fields(stream_id, fields, ends, spoiled=spoiled)
        if self._places is not None and not self._attends:
            self._attends = self._connection.takes_brief()
        return 0
