"""libnghttp2, as far as it is used here (nghttp2 1.52 and newer)."""

from libc.stdint cimport int32_t, uint8_t, uint32_t

cdef extern from "nghttp2/nghttp2.h":
    # "newer functions where present": setup.py looks into the header, and defines these
    """
    #ifdef HYPERSERVER_RESET_RATE_LIMIT
    #define hyperserver_reset_rate_limit nghttp2_option_set_stream_reset_rate_limit
    #else
    #define hyperserver_reset_rate_limit(option, burst, rate) ((void)0)
    #endif
    #ifdef HYPERSERVER_MAX_CONTINUATIONS
    #define hyperserver_max_continuations nghttp2_option_set_max_continuations
    #else
    #define hyperserver_max_continuations(option, n) ((void)0)
    #endif
    #ifdef HYPERSERVER_GLITCH_RATE_LIMIT
    #define hyperserver_glitch_rate_limit nghttp2_option_set_glitch_rate_limit
    #else
    #define hyperserver_glitch_rate_limit(option, burst, rate) ((void)0)
    #endif
    """
    void hyperserver_reset_rate_limit(nghttp2_option *, unsigned long long, unsigned long long)
    void hyperserver_max_continuations(nghttp2_option *, size_t)
    void hyperserver_glitch_rate_limit(nghttp2_option *, unsigned long long, unsigned long long)

    ctypedef struct nghttp2_session:
        pass
    ctypedef struct nghttp2_session_callbacks:
        pass
    ctypedef struct nghttp2_option:
        pass
    ctypedef struct nghttp2_stream:
        pass
    ctypedef struct nghttp2_rcbuf:
        pass

    ctypedef struct nghttp2_mem:
        void *mem_user_data
        void *(*malloc)(size_t, void *) noexcept
        void (*free)(void *, void *) noexcept
        void *(*calloc)(size_t, size_t, void *) noexcept
        void *(*realloc)(void *, size_t, void *) noexcept

    ctypedef struct nghttp2_info:
        const char *version_str

    ctypedef struct nghttp2_vec:
        uint8_t *base
        size_t len

    ctypedef struct nghttp2_nv:
        uint8_t *name
        uint8_t *value
        size_t namelen
        size_t valuelen
        uint8_t flags

    ctypedef struct nghttp2_settings_entry:
        int32_t settings_id
        uint32_t value

    ctypedef struct nghttp2_frame_hd:
        size_t length
        int32_t stream_id
        uint8_t type
        uint8_t flags

    ctypedef struct nghttp2_ping:
        uint8_t opaque_data[8]

    ctypedef struct nghttp2_goaway:
        uint32_t error_code
        uint8_t *opaque_data
        size_t opaque_data_len

    ctypedef union nghttp2_frame:
        nghttp2_frame_hd hd
        nghttp2_ping ping
        nghttp2_goaway goaway

    ctypedef union nghttp2_data_source:
        int fd
        void *ptr

    ctypedef ssize_t (*nghttp2_data_source_read_callback)(
        nghttp2_session *, int32_t, uint8_t *, size_t, uint32_t *, nghttp2_data_source *, void *
    ) noexcept

    ctypedef struct nghttp2_data_provider:
        nghttp2_data_source source
        nghttp2_data_source_read_callback read_callback

    int NGHTTP2_ERR_CANCEL
    int NGHTTP2_ERR_CALLBACK_FAILURE
    int NGHTTP2_ERR_FLOODED
    int NGHTTP2_ERR_NOMEM
    int NGHTTP2_ERR_STREAM_ID_NOT_AVAILABLE

    int NGHTTP2_DATA
    int NGHTTP2_HEADERS
    int NGHTTP2_RST_STREAM
    int NGHTTP2_SETTINGS
    int NGHTTP2_PUSH_PROMISE
    int NGHTTP2_PING
    int NGHTTP2_GOAWAY
    int NGHTTP2_WINDOW_UPDATE
    int NGHTTP2_CONTINUATION

    int NGHTTP2_FLAG_NONE
    int NGHTTP2_FLAG_END_STREAM
    int NGHTTP2_FLAG_END_HEADERS
    int NGHTTP2_FLAG_ACK
    int NGHTTP2_FLAG_PADDED
    int NGHTTP2_FLAG_PRIORITY

    int NGHTTP2_NV_FLAG_NO_INDEX
    int NGHTTP2_NV_FLAG_NO_COPY_NAME
    int NGHTTP2_NV_FLAG_NO_COPY_VALUE

    int NGHTTP2_DATA_FLAG_EOF
    int NGHTTP2_DATA_FLAG_NO_END_STREAM
    int NGHTTP2_DATA_FLAG_NO_COPY

    int NGHTTP2_SETTINGS_ENABLE_PUSH
    int NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS
    int NGHTTP2_SETTINGS_MAX_FRAME_SIZE
    int NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE

    nghttp2_info *nghttp2_version(int)
    const char *nghttp2_strerror(int)

    nghttp2_vec nghttp2_rcbuf_get_buf(nghttp2_rcbuf *)

    int nghttp2_option_new(nghttp2_option **)
    void nghttp2_option_del(nghttp2_option *)
    void nghttp2_option_set_no_auto_window_update(nghttp2_option *, int)
    void nghttp2_option_set_no_recv_client_magic(nghttp2_option *, int)
    void nghttp2_option_set_no_http_messaging(nghttp2_option *, int)
    void nghttp2_option_set_no_closed_streams(nghttp2_option *, int)
    void nghttp2_option_set_max_outbound_ack(nghttp2_option *, size_t)
    void nghttp2_option_set_max_settings(nghttp2_option *, size_t)
    void nghttp2_option_set_max_send_header_block_length(nghttp2_option *, size_t)
    void nghttp2_option_set_max_deflate_dynamic_table_size(nghttp2_option *, size_t)

    int nghttp2_session_callbacks_new(nghttp2_session_callbacks **)
    void nghttp2_session_callbacks_set_on_frame_recv_callback(
        nghttp2_session_callbacks *,
        int (*)(nghttp2_session *, const nghttp2_frame *, void *) noexcept,
    )
    void nghttp2_session_callbacks_set_on_data_chunk_recv_callback(
        nghttp2_session_callbacks *,
        int (*)(nghttp2_session *, uint8_t, int32_t, const uint8_t *, size_t, void *) noexcept,
    )
    void nghttp2_session_callbacks_set_on_header_callback2(
        nghttp2_session_callbacks *,
        int (*)(
            nghttp2_session *,
            const nghttp2_frame *,
            nghttp2_rcbuf *,
            nghttp2_rcbuf *,
            uint8_t,
            void *,
        ) noexcept,
    )
    void nghttp2_session_callbacks_set_before_frame_send_callback(
        nghttp2_session_callbacks *,
        int (*)(nghttp2_session *, const nghttp2_frame *, void *) noexcept,
    )
    void nghttp2_session_callbacks_set_on_frame_send_callback(
        nghttp2_session_callbacks *,
        int (*)(nghttp2_session *, const nghttp2_frame *, void *) noexcept,
    )
    void nghttp2_session_callbacks_set_on_frame_not_send_callback(
        nghttp2_session_callbacks *,
        int (*)(nghttp2_session *, const nghttp2_frame *, int, void *) noexcept,
    )
    void nghttp2_session_callbacks_set_send_data_callback(
        nghttp2_session_callbacks *,
        int (*)(
            nghttp2_session *,
            nghttp2_frame *,
            const uint8_t *,
            size_t,
            nghttp2_data_source *,
            void *,
        ) noexcept,
    )
    void nghttp2_session_callbacks_set_data_source_read_length_callback(
        nghttp2_session_callbacks *,
        ssize_t (*)(
            nghttp2_session *, uint8_t, int32_t, int32_t, int32_t, uint32_t, void *
        ) noexcept,
    )

    int nghttp2_session_server_new3(
        nghttp2_session **,
        const nghttp2_session_callbacks *,
        void *,
        const nghttp2_option *,
        nghttp2_mem *,
    )
    void nghttp2_session_del(nghttp2_session *)
    ssize_t nghttp2_session_mem_recv(nghttp2_session *, const uint8_t *, size_t)
    ssize_t nghttp2_session_mem_send(nghttp2_session *, const uint8_t **)
    int nghttp2_session_upgrade2(nghttp2_session *, const uint8_t *, size_t, int, void *)
    uint32_t nghttp2_session_get_remote_settings(nghttp2_session *, int)
    int32_t nghttp2_session_get_local_window_size(nghttp2_session *)
    int32_t nghttp2_session_get_remote_window_size(nghttp2_session *)
    int32_t nghttp2_session_get_stream_local_window_size(nghttp2_session *, int32_t)
    int32_t nghttp2_session_get_stream_remote_window_size(nghttp2_session *, int32_t)
    nghttp2_stream *nghttp2_session_find_stream(nghttp2_session *, int32_t)

    int nghttp2_submit_settings(
        nghttp2_session *, uint8_t, const nghttp2_settings_entry *, size_t
    )
    int32_t nghttp2_submit_headers(
        nghttp2_session *, uint8_t, int32_t, const void *, const nghttp2_nv *, size_t, void *
    )
    int nghttp2_submit_data(
        nghttp2_session *, uint8_t, int32_t, const nghttp2_data_provider *
    )
    int32_t nghttp2_submit_push_promise(
        nghttp2_session *, uint8_t, int32_t, const nghttp2_nv *, size_t, void *
    )
    int nghttp2_submit_rst_stream(nghttp2_session *, uint8_t, int32_t, uint32_t)
    int nghttp2_submit_window_update(nghttp2_session *, uint8_t, int32_t, int32_t)
    int nghttp2_submit_ping(nghttp2_session *, uint8_t, const uint8_t *)
