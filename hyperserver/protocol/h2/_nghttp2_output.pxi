"""What is to be sent. Part of ``_nghttp2.pyx``."""


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
