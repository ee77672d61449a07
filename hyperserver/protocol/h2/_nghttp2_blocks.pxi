"""Field blocks (RFC 7541). Part of ``_nghttp2.pyx``."""


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
