"""Memory for libnghttp2. Part of ``_nghttp2.pyx``.

A session of libnghttp2 is 25 KiB, of which 16 are a buffer for frames on their way out and nearly
all of the rest are tables for far more than most clients ever need. Of connections that are idle
there are many. So

* the buffer is one for all sessions: it holds nothing when ``_pull`` has returned, and nothing else
  can run before that;
* a session's other memory is an *arena* of its own. Where that is to rest, what is in it other than
  zeros is *packed*, into less than 1 KiB for a session that has served few requests, and its pages
  are given back to the system. Its addresses stay, so when it wakes all is as it was.

What finds no room in an arena, or is large, is malloc's: it stays where it is, and with streams and
field blocks it will be gone from a session that rests.
"""

cdef extern from *:
    """
    #include <stdlib.h>
    #include <string.h>
    #if defined(__unix__) || defined(__APPLE__)
    #include <sys/mman.h>
    #include <unistd.h>

    static size_t hyperserver_page(void) { return (size_t)sysconf(_SC_PAGESIZE); }

    /* Addresses for zeros, which take memory once they are written to; NULL if there are none. */
    static void *hyperserver_map(size_t size) {
        void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (at == MAP_FAILED) return NULL;
    #ifdef MADV_NOHUGEPAGE
        madvise(at, size, MADV_NOHUGEPAGE); /* which would take memory for what is never used */
    #endif
        return at;
    }

    /* Make zeros of it, without memory where that is possible. */
    static void hyperserver_drop(void *at, size_t size) {
    #ifdef __linux__
        if (madvise(at, size, MADV_DONTNEED) == 0) return;
    #endif
        memset(at, 0, size);
    #if !defined(__linux__) && defined(MADV_FREE)
        madvise(at, size, MADV_FREE);
    #endif
    }
    #else
    static size_t hyperserver_page(void) { return 4096; }
    static void *hyperserver_map(size_t size) { return calloc(1, size); }
    static void hyperserver_drop(void *at, size_t size) { memset(at, 0, size); }
    #endif
    """
    size_t hyperserver_page()
    void *hyperserver_map(size_t)
    void hyperserver_drop(void *, size_t)

cdef enum:
    #: Blocks are multiples of this, and begin with a word that says of how many.
    _GRAIN = 16
    _WORD = 8
    #: Larger ones are malloc's, but for those that a session begins with.
    _LARGEST = 1024
    _CLASSES = 66  # of blocks up to the largest, with their words
    #: More than libnghttp2's buffer for frames, which is the only thing as large as ``_A_FRAME``.
    _FRAME_ROOM = 20_480
    _A_FRAME = 16_384
    _ARENAS_AT_A_TIME = 64
    #: Arenas that keep their memory while nobody has them.
    _MOST_WARM = 16

ctypedef struct _Arena:
    size_t used  # bytes, from here
    bint opening
    void *free[_CLASSES]  # chains of blocks that were given back, by size

#: With room for some dozen streams and what clients put into HPACK's tables; whole pages.
cdef size_t _ARENA = max(32_768, hyperserver_page())
cdef char _frame[_FRAME_ROOM]
#: A packed arena takes ten bytes for a word at the most.
cdef uint8_t *_scratch = <uint8_t *>malloc(_ARENA // _WORD * 10 + 2)
if _scratch is NULL:
    raise MemoryError
#: Addresses of arenas that nobody has: those with memory, those without.
cdef list _warm = []
cdef list _cold = []


cdef _Arena *_take_arena() except NULL:
    """It is all zeros, but for the head."""
    cdef char *some
    cdef _Arena *arena
    if _warm:
        arena = <_Arena *><size_t>_warm.pop()
    else:
        if not _cold:
            some = <char *>hyperserver_map(_ARENAS_AT_A_TIME * _ARENA)
            if some is NULL:
                raise MemoryError
            _cold.extend([<size_t>(some + n * _ARENA) for n in range(_ARENAS_AT_A_TIME)])
        arena = <_Arena *><size_t>_cold.pop()
    arena.used = (sizeof(_Arena) + _GRAIN - 1) // _GRAIN * _GRAIN
    arena.opening = True
    return arena


cdef int _leave_arena(_Arena *arena) except -1:
    if len(_warm) < _MOST_WARM:
        memset(arena, 0, arena.used)
        _warm.append(<size_t>arena)
    else:
        hyperserver_drop(arena, _ARENA)
        _cold.append(<size_t>arena)
    return 0


# ---- what libnghttp2 calls -----------------------------------------------------------------------


cdef inline uint64_t *_grains_of(void *block) noexcept:
    """How large the block is, one of an arena."""
    return <uint64_t *>(<char *>block - _WORD)


cdef inline bint _is_within(_Arena *arena, void *block) noexcept:
    return <size_t>(<char *>block - <char *>arena) < _ARENA


cdef void *_malloc(size_t size, void *user_data) noexcept:
    cdef _Arena *arena = <_Arena *>user_data
    cdef size_t grains = (size + _WORD + _GRAIN - 1) // _GRAIN
    cdef void *block
    if size > _LARGEST:
        if not arena.opening:
            return malloc(size)
        if _A_FRAME <= size <= _FRAME_ROOM:
            return _frame
    elif arena.free[grains] is not NULL:
        block = arena.free[grains]
        arena.free[grains] = (<void **>block)[0]
        return block
    if grains * _GRAIN > _ARENA - arena.used:
        return malloc(size)
    block = <char *>arena + arena.used + _WORD
    arena.used += grains * _GRAIN
    _grains_of(block)[0] = grains
    return block


cdef void _free(void *block, void *user_data) noexcept:
    cdef _Arena *arena = <_Arena *>user_data
    cdef size_t grains
    if _is_within(arena, block):
        grains = _grains_of(block)[0]
        if grains < _CLASSES:
            (<void **>block)[0] = arena.free[grains]
            arena.free[grains] = block
        else:  # not to be packed
            memset(block, 0, grains * _GRAIN - _WORD)
    elif block is not <void *>_frame:
        free(block)


cdef void *_calloc(size_t count, size_t size, void *user_data) noexcept:
    cdef void *block
    if size and count > (<size_t>-1) // size:
        return NULL
    block = _malloc(count * size, user_data)
    if block is not NULL:
        memset(block, 0, count * size)
    return block


cdef void *_realloc(void *block, size_t size, void *user_data) noexcept:
    cdef _Arena *arena = <_Arena *>user_data
    cdef size_t before
    cdef void *other
    if block is NULL:
        return _malloc(size, user_data)
    if _is_within(arena, block):
        before = _grains_of(block)[0] * _GRAIN - _WORD
    elif block is <void *>_frame:
        before = _FRAME_ROOM
    else:
        return realloc(block, size)
    if size <= before:
        return block
    other = _malloc(size, user_data)
    if other is not NULL:
        memcpy(other, block, before)
        _free(block, user_data)
    return other


# ---- rest ----------------------------------------------------------------------------------------


cdef uint8_t *_pack(_Arena *arena, size_t *size) noexcept:
    """Give back the arena's memory, for a block of ``size`` with what was in it; NULL, and nothing
    is done, where there is no memory for that.

    Of each word but 0 are packed the number of zeros before it, a bit for each of its bytes, and
    those bytes that are not 0.
    """
    cdef uint64_t *word = <uint64_t *>arena
    cdef uint64_t *end = <uint64_t *>(<char *>arena + arena.used)
    cdef uint8_t *at = _scratch
    cdef uint8_t *bits
    cdef uint64_t left
    cdef uint8_t bit
    cdef int zeros = 0
    _clear_free(arena)
    while word < end:
        left = word[0]
        word += 1
        if not left:
            zeros += 1
            continue
        while zeros > 255:
            at[0] = 255
            at[1] = 0
            at += 2
            zeros -= 255
        at[0] = <uint8_t>zeros
        zeros = 0
        bits = at + 1
        bits[0] = 0
        at += 2
        bit = 1
        while left:
            if left & 0xFF:
                bits[0] |= bit
                at[0] = <uint8_t>(left & 0xFF)
                at += 1
            left >>= 8
            bit <<= 1
    size[0] = at - _scratch
    at = <uint8_t *>PyMem_Malloc(size[0])
    if at is not NULL:
        memcpy(at, _scratch, size[0])
        hyperserver_drop(arena, _ARENA)
    return at


cdef void _clear_free(_Arena *arena) noexcept:
    """What was given back holds nothing."""
    cdef size_t grains
    cdef void **block
    for grains in range(_CLASSES):
        block = <void **>arena.free[grains]
        while block is not NULL:
            memset(block + 1, 0, grains * _GRAIN - _WORD - sizeof(void *))
            block = <void **>block[0]


cdef void _unpack(_Arena *arena, const uint8_t *packed, size_t size) noexcept:
    """What ``_pack`` has packed goes back to where it was; all else is zeros."""
    cdef uint64_t *word = <uint64_t *>arena
    cdef const uint8_t *end = packed + size
    cdef uint8_t bits
    cdef int shift
    cdef uint64_t found
    while packed < end:
        word += packed[0]
        bits = packed[1]
        packed += 2
        if not bits:
            continue
        found = 0
        shift = 0
        while bits:
            if bits & 1:
                found |= <uint64_t>packed[0] << shift
                packed += 1
            bits >>= 1
            shift += 8
        word[0] = found
        word += 1
