"""HTTP/2 before and beneath requests: the preface, SETTINGS, PING, frames, states of streams."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from hyperserver.protocol.interface import HTTP2Options, Limits
from tests.engines import h2_frames as wire
from tests.engines.h2_frames import (
    COMPRESSION_ERROR,
    ENHANCE_YOUR_CALM,
    FLOW_CONTROL_ERROR,
    FRAME_SIZE_ERROR,
    PREFACE,
    PROTOCOL_ERROR,
    GoAway,
    Ping,
    Settings,
    Window,
    frame,
    head,
    literal,
    u32,
)
from tests.engines.h2_peer import (
    Peer,
    assert_alive,
    assert_connection_error,
    assert_over,
)
from tests.engines.playbook import byte_by_byte

Open = Callable[..., Peer]

GET = b"".join(literal(name, value) for name, value in head())


# ---- the preface (RFC 9113 §3.4) ----------------------------------------------------------


def test_a_new_connection_wants_data_and_is_open(h2_with: Open) -> None:
    connection = h2_with(greet=False).connection
    assert (connection.http_version, connection.wants_data) == ("2", True)
    assert (connection.is_closed, connection.output_finished, connection.aborted) == (False,) * 3
    assert not connection.holds_output
    assert connection.events() == []
    assert connection.buffered(1) == 0


def test_the_server_greets_with_its_settings_and_a_larger_window(h2_with: Open) -> None:
    options = HTTP2Options(
        max_concurrent_streams=7, initial_window=100_000, connection_window=300_000
    )
    peer = h2_with(options=options, limits=Limits(max_head_size=20_000))
    first, *rest = peer.greeting
    assert isinstance(first, Settings)
    assert first.values[wire.MAX_CONCURRENT_STREAMS] == 7
    assert first.values[wire.MAX_HEADER_LIST_SIZE] == 20_000
    assert first.values[wire.INITIAL_WINDOW_SIZE] == 100_000
    assert first.values[wire.ENABLE_CONNECT_PROTOCOL] == 1
    assert first.values[wire.NO_RFC7540_PRIORITIES] == 1
    assert wire.ENABLE_PUSH not in first.values
    assert sorted(rest, key=repr) == [Settings({}, ack=True), Window(0, 300_000 - 65_535)]
    assert peer.credit(0) == 300_000


def test_rfc_7540_priorities_are_not_disowned_where_they_are_served(h2_with: Open) -> None:
    peer = h2_with(options=HTTP2Options(priorities="rfc7540"))
    assert peer.reader.server_settings is not None
    assert wire.NO_RFC7540_PRIORITIES not in peer.reader.server_settings


def test_a_larger_frame_size_is_announced_and_kept(h2_with: Open) -> None:
    peer = h2_with(options=HTTP2Options(max_frame_size=40_000))
    assert peer.reader.server_settings is not None
    assert peer.reader.server_settings[wire.MAX_FRAME_SIZE] == 40_000
    stream_id = peer.post()
    peer.data(stream_id, bytes(40_000), end=True)
    assert peer.body(stream_id) == bytes(40_000)
    peer.send(frame(wire.DATA, stream_id, length=40_001))
    assert_connection_error(peer, FRAME_SIZE_ERROR)


def test_a_greeting_in_any_pieces(h2_fed: Peer) -> None:
    assert [f for f in h2_fed.greeting if isinstance(f, Settings)][1:] == [Settings({}, ack=True)]
    assert_alive(h2_fed)


def test_a_request_may_follow_the_preface_at_once(h2_with: Open) -> None:
    """Clients need not wait for the server's preface (§3.4)."""
    peer = h2_with(greet=False)
    peer.reader.sent_settings({})
    peer.send(PREFACE + wire.settings() + peer.writer.headers(1, head(b"GET", b"/early"), end=True))
    assert [r.target for r in peer.requests] == [b"/early"]
    assert isinstance(peer.frames()[0], Settings)


@pytest.mark.parametrize(
    "octets",
    [
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        PREFACE[:-1] + b"X",
        b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(30),
        PREFACE + wire.ping(),
        PREFACE + frame(wire.HEADERS, 1, GET, wire.END_HEADERS | wire.END_STREAM),
        PREFACE + wire.window_update(0, 1),
    ],
    ids=["http1", "last-octet", "middle", "tls", "ping-first", "headers-first", "window-first"],
)
def test_another_preface_ends_the_connection(h2_with: Open, octets: bytes) -> None:
    """A GOAWAY is optional here: there may be no HTTP/2 on the other side to read it."""
    peer = h2_with(greet=False)
    peer.send(octets)
    assert peer.events == []
    assert peer.over
    assert {g.error for g in peer.goaways} <= {PROTOCOL_ERROR}


def test_a_wrong_preface_is_known_by_its_first_wrong_octet(h2_with: Open) -> None:
    peer = h2_with(greet=False)
    peer.send(b"PRJ")
    assert peer.over


@pytest.mark.parametrize("size", [0, 1, 10, 23, 24, 30])
def test_a_connection_that_ends_in_its_preface_is_just_closed(h2_with: Open, size: int) -> None:
    peer = h2_with(greet=False)
    peer.send((PREFACE + wire.settings())[:size])
    peer.eof()
    assert peer.events == []
    assert peer.connection.is_closed
    assert peer.connection.next_timeout() is None


# ---- SETTINGS (§6.5) ----------------------------------------------------------------------


def test_every_settings_frame_is_acknowledged_once(h2: Peer) -> None:
    for values in ({}, {wire.MAX_HEADER_LIST_SIZE: 1000}, {wire.MAX_CONCURRENT_STREAMS: 0}):
        h2.settings(values)
    assert h2.frames() == [Settings({}, ack=True)] * 3
    assert_alive(h2)


@pytest.mark.parametrize("identifier", [0x0, 0x7, 0xA, 0x10, 0xFFFF])
def test_unknown_settings_are_ignored(h2: Peer, identifier: int) -> None:
    h2.settings({identifier: 0xFFFFFFFF})
    assert h2.frames() == [Settings({}, ack=True)]
    assert_alive(h2)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        (wire.HEADER_TABLE_SIZE, 0),
        (wire.HEADER_TABLE_SIZE, 0xFFFFFFFF),
        (wire.ENABLE_PUSH, 0),
        (wire.ENABLE_PUSH, 1),
        (wire.INITIAL_WINDOW_SIZE, 2**31 - 1),
        (wire.MAX_FRAME_SIZE, 16_384),
        (wire.MAX_FRAME_SIZE, 2**24 - 1),
        (wire.MAX_CONCURRENT_STREAMS, 0xFFFFFFFF),
        (wire.MAX_HEADER_LIST_SIZE, 0xFFFFFFFF),
        (wire.ENABLE_CONNECT_PROTOCOL, 1),
        (wire.NO_RFC7540_PRIORITIES, 1),
    ],
)
def test_extreme_settings(h2: Peer, setting: int, value: int) -> None:
    h2.settings({setting: value})
    assert h2.frames() == [Settings({}, ack=True)]
    assert_alive(h2)


@pytest.mark.parametrize(
    ("setting", "value", "error"),
    [
        (wire.ENABLE_PUSH, 2, PROTOCOL_ERROR),
        (wire.ENABLE_PUSH, 0xFFFFFFFF, PROTOCOL_ERROR),
        (wire.INITIAL_WINDOW_SIZE, 2**31, FLOW_CONTROL_ERROR),
        (wire.INITIAL_WINDOW_SIZE, 0xFFFFFFFF, FLOW_CONTROL_ERROR),
        (wire.MAX_FRAME_SIZE, 16_383, PROTOCOL_ERROR),
        (wire.MAX_FRAME_SIZE, 0, PROTOCOL_ERROR),
        (wire.MAX_FRAME_SIZE, 2**24, PROTOCOL_ERROR),
        (wire.NO_RFC7540_PRIORITIES, 2, PROTOCOL_ERROR),  # RFC 9218 §2.1
    ],
)
def test_settings_out_of_range(h2: Peer, setting: int, value: int, error: int) -> None:
    stream_id = h2.post()
    h2.send(wire.settings({setting: value}))
    assert_connection_error(h2, error)
    assert stream_id in h2.closed


def test_a_bad_setting_in_the_preface(h2_with: Open) -> None:
    peer = h2_with(greet=False)
    peer.send(PREFACE + wire.settings({wire.ENABLE_PUSH: 3}))
    assert_connection_error(peer, PROTOCOL_ERROR)


def test_values_are_processed_in_their_order(h2: Peer) -> None:
    """The same setting twice: the last one holds (§6.5.3)."""
    stream_id = h2.get()
    h2.reader.sent_settings({wire.INITIAL_WINDOW_SIZE: 10})
    h2.send(wire.settings([(wire.INITIAL_WINDOW_SIZE, 1000), (wire.INITIAL_WINDOW_SIZE, 10)]))
    h2.answer(stream_id, bytes(100))
    assert len(h2.responses[stream_id].body) == 10


def test_a_smaller_header_table_is_honoured(h2: Peer) -> None:
    """The encoder says so at the start of the next block (RFC 7541 §4.2); ``Reader`` insists."""
    field = (b"x-long-lived", b"y" * 50)
    for size in (4096, 0, 4096, 100, 0, 60):
        h2.settings({wire.HEADER_TABLE_SIZE: size})
        for _ in range(3):
            stream_id = h2.get()
            h2.start(stream_id, 200, field, end=True)
            assert h2.responses[stream_id].get(b"x-long-lived") == b"y" * 50
            h2.release(stream_id)


@pytest.mark.parametrize("sizes", [(0, 4096), (0, 0), (0, 50), (100, 0), (100, 0, 50), (0, 1, 0)])
def test_several_changes_of_the_header_table_between_two_blocks(
    h2: Peer, sizes: tuple[int, ...]
) -> None:
    """The smallest is signalled, then the last, and none above what now holds (RFC 7541 §4.2)."""
    fields = [(b"x-entry", b"one"), (b"x-other", b"two")]
    for _ in range(3):
        stream_id = h2.get()
        h2.start(stream_id, 200, *fields, end=True)
        assert (h2.responses[stream_id].fields or [])[1:] == fields
        h2.release(stream_id)
        for size in sizes:
            h2.settings({wire.HEADER_TABLE_SIZE: size})


# ---- PING (§6.7) --------------------------------------------------------------------------


def test_a_ping_comes_back(h2_fed: Peer) -> None:
    h2_fed.ping(b"\x00\xff quack")
    assert h2_fed.frames() == [Ping(b"\x00\xff quack", ack=True)]
    assert h2_fed.events == []


def test_a_pong_that_nobody_asked_for_is_ignored(h2: Peer) -> None:
    h2.send(wire.ping(ack=True))
    assert h2.frames() == []
    assert_alive(h2)


def test_a_ping_overtakes_queued_data(h2_with: Open) -> None:
    """At most what is already framed stands before it."""
    peer = h2_with(settings={wire.INITIAL_WINDOW_SIZE: 10_000_000})
    peer.grant(0, 10_000_000)
    stream_id = peer.get()
    peer.congested = True
    peer.start(stream_id)
    peer.write(stream_id, bytes(2_000_000))
    peer.connection.data_to_send()  # the transport took a little, then had enough
    peer.ping()
    octets = b"".join(iter(peer.connection.data_to_send, b""))
    position = octets.find(frame(wire.PING, 0, b"12345678", wire.ACK))
    assert 0 <= position < 200_000
    assert len(octets) > 500_000


# ---- frames (§4, §6) ----------------------------------------------------------------------

BROKEN: dict[str, tuple[bytes, int]] = {
    "data-on-stream-0": (wire.data(0, b"x"), PROTOCOL_ERROR),
    "headers-on-stream-0": (frame(wire.HEADERS, 0, GET, 5), PROTOCOL_ERROR),
    "priority-on-stream-0": (wire.priority(0), PROTOCOL_ERROR),
    "reset-on-stream-0": (wire.reset(0), PROTOCOL_ERROR),
    "continuation-on-stream-0": (frame(wire.CONTINUATION, 0, GET, 4), PROTOCOL_ERROR),
    "settings-on-a-stream": (frame(wire.SETTINGS, 1), PROTOCOL_ERROR),
    "ping-on-a-stream": (frame(wire.PING, 1, b"12345678"), PROTOCOL_ERROR),
    "goaway-on-a-stream": (frame(wire.GOAWAY, 1, bytes(8)), PROTOCOL_ERROR),
    "data-on-an-idle-stream": (wire.data(5, b"x"), PROTOCOL_ERROR),
    "reset-on-an-idle-stream": (wire.reset(5), PROTOCOL_ERROR),
    "window-update-on-an-idle-stream": (wire.window_update(5, 1), PROTOCOL_ERROR),
    "continuation-on-an-idle-stream": (frame(wire.CONTINUATION, 5, GET, 4), PROTOCOL_ERROR),
    "continuation-after-end-headers": (frame(wire.CONTINUATION, 1, GET, 4), PROTOCOL_ERROR),
    "data-on-the-servers-idle-stream": (wire.data(2, b"x"), PROTOCOL_ERROR),
    "headers-on-an-even-stream": (frame(wire.HEADERS, 2, GET, 5), PROTOCOL_ERROR),
    "push-promise": (frame(wire.PUSH_PROMISE, 1, u32(2) + GET, 4), PROTOCOL_ERROR),
    "settings-of-5-octets": (frame(wire.SETTINGS, 0, bytes(5)), FRAME_SIZE_ERROR),
    "settings-of-7-octets": (frame(wire.SETTINGS, 0, bytes(7)), FRAME_SIZE_ERROR),
    "settings-ack-with-payload": (frame(wire.SETTINGS, 0, bytes(6), 1), FRAME_SIZE_ERROR),
    "ping-of-7-octets": (wire.ping(b"1234567"), FRAME_SIZE_ERROR),
    "ping-of-9-octets": (wire.ping(b"123456789"), FRAME_SIZE_ERROR),
    "empty-ping": (wire.ping(b""), FRAME_SIZE_ERROR),
    "ping-ack-of-6-octets": (wire.ping(b"123456", ack=True), FRAME_SIZE_ERROR),
    "reset-of-3-octets": (frame(wire.RST_STREAM, 1, bytes(3)), FRAME_SIZE_ERROR),
    "reset-of-5-octets": (frame(wire.RST_STREAM, 1, bytes(5)), FRAME_SIZE_ERROR),
    "window-update-of-3-octets": (frame(wire.WINDOW_UPDATE, 0, bytes(3)), FRAME_SIZE_ERROR),
    "window-update-of-5-octets": (frame(wire.WINDOW_UPDATE, 1, bytes(5)), FRAME_SIZE_ERROR),
    "goaway-of-7-octets": (frame(wire.GOAWAY, 0, bytes(7)), FRAME_SIZE_ERROR),
    "window-update-of-nothing": (wire.window_update(0, 0), PROTOCOL_ERROR),
    "window-beyond-its-maximum": (wire.window_update(0, 2**31 - 1), FLOW_CONTROL_ERROR),
    "data-with-more-padding-than-payload": (
        frame(wire.DATA, 1, b"\x06hello", wire.PADDED),
        PROTOCOL_ERROR,
    ),
    "headers-with-more-padding-than-payload": (
        frame(wire.HEADERS, 3, b"\xff" + GET, wire.PADDED | wire.END_HEADERS),
        PROTOCOL_ERROR,
    ),
    "headers-too-short-for-their-priority": (
        frame(wire.HEADERS, 3, bytes(4), wire.HAS_PRIORITY | wire.END_HEADERS),
        FRAME_SIZE_ERROR,
    ),
}


@pytest.mark.parametrize("broken", BROKEN)
def test_broken_frames_are_connection_errors(h2: Peer, broken: str) -> None:
    octets, error = BROKEN[broken]
    stream_id = h2.post()  # stream 1 is open
    h2.send(octets)
    assert_connection_error(h2, error)
    assert stream_id in h2.closed
    assert h2.goaways[-1].last == 1


@pytest.mark.parametrize(("kind", "stream_id"), [(wire.DATA, 1), (wire.HEADERS, 3)])
def test_padding_of_which_not_even_the_length_is_there(h2: Peer, kind: int, stream_id: int) -> None:
    """Too short for its mandatory part (§4.2), or padded with more than there is (§6.1)."""
    h2.post()
    h2.send(frame(kind, stream_id, b"", wire.PADDED | wire.END_HEADERS * (kind == wire.HEADERS)))
    assert_connection_error(h2, FRAME_SIZE_ERROR, PROTOCOL_ERROR)


@pytest.mark.parametrize("broken", ["push-promise", "ping-of-7-octets", "reset-of-5-octets"])
def test_broken_frames_in_pieces(h2_fed: Peer, broken: str) -> None:
    octets, error = BROKEN[broken]
    h2_fed.post()
    h2_fed.send(octets)
    assert_connection_error(h2_fed, error)


def test_what_follows_a_broken_frame_is_not_read(h2: Peer) -> None:
    request = h2.writer.headers(1, head(), end=True)
    h2.send(wire.ping(b"") + request + wire.ping())
    assert h2.requests == []
    assert [f for f in h2.frames() if isinstance(f, Ping)] == []


@pytest.mark.parametrize("error", [FRAME_SIZE_ERROR])
@pytest.mark.parametrize(
    ("kind", "stream_id"),
    [
        (wire.DATA, 1),
        (wire.HEADERS, 3),
        (wire.PRIORITY, 1),
        (wire.RST_STREAM, 1),
        (wire.SETTINGS, 0),
        (wire.PUSH_PROMISE, 1),
        (wire.PING, 0),
        (wire.GOAWAY, 0),
        (wire.WINDOW_UPDATE, 0),
        (0x42, 0),
    ],
)
@pytest.mark.parametrize("length", [16_385, 2**24 - 1])
def test_a_frame_too_large_is_refused_by_its_header(
    h2: Peer, kind: int, stream_id: int, length: int, error: int
) -> None:
    """Waiting for its payload would be buffering what is never used (§4.2)."""
    h2.post()
    h2.send(frame(kind, stream_id, b"", length=length))
    assert_connection_error(h2, error)


def test_the_largest_frame_is_not_too_large(h2_fed: Peer) -> None:
    stream_id = h2_fed.post()
    h2_fed.data(stream_id, bytes(16_384), end=True)
    assert h2_fed.body(stream_id) == bytes(16_384)
    assert_alive(h2_fed)


@pytest.mark.parametrize(
    "octets",
    [
        frame(0x42, 0, b"anything"),
        frame(0x42, 1, b"anything", 0xFF),
        frame(0x42, 2**31 - 1, bytes(16_384), 0xFF),
        frame(0xFF, 7),
        frame(0xA, 0, b"\x00\x00alt"),  # ALTSVC is for clients (RFC 7838 §4)
        frame(0xA, 1, b""),
        frame(0xC, 0, b"\x00\x05ab"),  # ORIGIN is, too (RFC 8336 §2.1)
        frame(wire.PING, 0, b"12345678", 0xFE),
        frame(wire.WINDOW_UPDATE, 0, u32(5), 0xFF),
        frame(wire.WINDOW_UPDATE, 0, u32(2**31 | 5)),
        frame(wire.GOAWAY, 2**31, u32(2**31) + bytes(4)),
        wire.goaway(0, 0, b"debug"),
        wire.goaway(1, 0xBAD),
    ],
)
def test_extensions_unknown_flags_and_reserved_bits_are_ignored(h2: Peer, octets: bytes) -> None:
    stream_id = h2.post()
    h2.send(octets)
    h2.data(stream_id, b"body", end=True)
    assert h2.ended(stream_id)
    h2.answer(stream_id, b"whole")
    assert h2.responses[stream_id].body == b"whole"
    assert not h2.goaways or h2.goaways[-1].error == 0


def test_reserved_bits_of_stream_ids_are_ignored(h2: Peer) -> None:
    h2.send(frame(wire.HEADERS, 2**31 | 1, GET, wire.END_HEADERS))
    h2.send(frame(wire.DATA, 2**31 | 1, b"hi", wire.END_STREAM))
    assert h2.body(1) == b"hi"
    assert h2.ended(1)


def test_undefined_flags_on_requests_are_ignored(h2: Peer) -> None:
    h2.send(frame(wire.HEADERS, 1, GET, wire.END_HEADERS | 0x92))
    h2.send(frame(wire.DATA, 1, b"hi", wire.END_STREAM | 0x96 & ~wire.PADDED))
    assert h2.body(1) == b"hi"


# ---- field blocks (§4.3, §6.10) -----------------------------------------------------------


@pytest.mark.parametrize("split", [1, 2, 7, 20])
def test_a_block_in_continuation_frames(h2_fed: Peer, split: int) -> None:
    fields = head(b"GET", b"/in/parts", (b"x", b"yyyy"))
    h2_fed.send(h2_fed.writer.headers(1, fields, end=True, split=split))
    (request,) = h2_fed.requests
    assert (request.target, request.end_stream) == (b"/in/parts", True)
    assert_alive(h2_fed)


def test_headers_without_a_fragment_and_an_empty_continuation(h2: Peer) -> None:
    h2.send(frame(wire.HEADERS, 1, b"", wire.END_STREAM))
    h2.send(frame(wire.CONTINUATION, 1, GET) + frame(wire.CONTINUATION, 1, b"", wire.END_HEADERS))
    assert [r.end_stream for r in h2.requests] == [True]


def test_a_padded_and_prioritised_block(h2_fed: Peer) -> None:
    depends = wire.dependency(0, 256)
    h2_fed.send(h2_fed.writer.headers(1, head(), pad=200, depends=depends, split=5))
    assert [r.end_stream for r in h2_fed.requests] == [False]
    h2_fed.data(1, b"", end=True)
    assert h2_fed.ended(1)


INTRUDERS: dict[str, bytes] = {
    "data": wire.data(1, b"x"),
    "headers-of-another-stream": frame(wire.HEADERS, 5, GET, 5),
    "headers-of-the-same-stream": frame(wire.HEADERS, 3, GET, 5),
    "continuation-of-another-stream": frame(wire.CONTINUATION, 1, b"", 4),
    "priority": wire.priority(3),
    "reset": wire.reset(3),
    "settings": wire.settings(),
    "settings-ack": wire.settings_ack(),
    "ping": wire.ping(),
    "goaway": wire.goaway(),
    "window-update": wire.window_update(0, 1),
    "priority-update": wire.priority_update(3, b"u=1"),
    "unknown": frame(0x42, 3, b""),
}


@pytest.mark.parametrize("intruder", INTRUDERS)
def test_nothing_may_interrupt_a_block(h2: Peer, intruder: str) -> None:
    h2.post()
    h2.send(frame(wire.HEADERS, 3, GET[:10]) + INTRUDERS[intruder])
    assert_connection_error(h2, PROTOCOL_ERROR)


BAD_BLOCKS: dict[str, bytes] = {
    "index-0": b"\x80",
    "index-beyond-the-tables": b"\xfb" + GET,
    "name-index-beyond-the-tables": b"\x7f\x3c\x01x" + GET,
    "truncated-integer": GET + b"\xff",
    "truncated-string": GET + b"\x00\x01x\x05abc",
    "endless-integer": GET + b"\xff" + b"\x80" * 20 + b"\x01",
    "huge-string": GET + b"\x00\x01x\x7f\xff\xff\xff\xff\x07",
    "huffman-with-the-end-of-string": GET + b"\x00\x01x\x84\xff\xff\xff\xff",
    "huffman-with-a-whole-octet-of-padding": GET + b"\x00\x01x\x82\x1f\xff",
    "huffman-padded-with-zeros": GET + b"\x00\x01x\x81\x18",
    "table-larger-than-allowed": b"\x3f\xe2\x1f" + GET,  # 4097
    "table-size-at-the-end": GET + b"\x20",
}


@pytest.mark.parametrize("block", BAD_BLOCKS)
def test_a_block_that_does_not_decode_is_a_compression_error(h2: Peer, block: str) -> None:
    """The connection's state of compression is lost with it (§4.3)."""
    stream_id = h2.post()
    h2.send(frame(wire.HEADERS, 3, BAD_BLOCKS[block], wire.END_HEADERS | wire.END_STREAM))
    assert_connection_error(h2, COMPRESSION_ERROR)
    assert [r.stream_id for r in h2.requests] == [stream_id]


@pytest.mark.parametrize("block", [b"\x20" + GET, b"\x20\x3f\xe1\x1f" + GET])
def test_table_sizes_may_change_at_the_start_of_a_block(h2: Peer, block: bytes) -> None:
    h2.send(frame(wire.HEADERS, 1, block, wire.END_HEADERS | wire.END_STREAM))
    assert [r.stream_id for r in h2.requests] == [1]
    h2.answer(1)
    assert h2.responses[1].status == 200


def test_never_indexed_fields_are_fields(h2: Peer) -> None:
    block = GET + b"\x10\x01x\x01y" + b"\x1f\x08\x01z"  # a new name, and name 23
    h2.send(frame(wire.HEADERS, 1, block, wire.END_HEADERS | wire.END_STREAM))
    assert h2.requests[0].headers[-2:] == [(b"x", b"y"), (b"authorization", b"z")]


def test_an_emptied_table_forgets(h2: Peer) -> None:
    h2.writer.encoder.header_table_size = 4096
    first = h2.get(b"/", (b"x-one", b"1"))
    h2.writer.encoder.header_table_size = 0
    second = h2.get(b"/", (b"x-one", b"1"))
    h2.send(frame(wire.HEADERS, second + 2, b"\xbe" + GET, 5))
    assert_connection_error(h2, COMPRESSION_ERROR)
    assert [r.stream_id for r in h2.requests] == [first, second]


# ---- the end ------------------------------------------------------------------------------


def test_eof_closes_every_open_stream(h2: Peer) -> None:
    uploading, waiting, answered = h2.post(), h2.get(), h2.get()
    h2.answer(answered)
    h2.eof()
    assert set(h2.closed) == {uploading, waiting}
    assert h2.connection.is_closed
    assert h2.connection.next_timeout() is None
    assert_over(h2)


def test_eof_frees_what_waited_to_be_sent(h2: Peer) -> None:
    stream_id = h2.get()
    h2.start(stream_id)
    h2.write(stream_id, bytes(200_000))
    assert h2.connection.buffered(stream_id) > 0
    h2.eof()
    assert h2.connection.buffered(stream_id) == 0
    assert not h2.connection.holds_output
    assert stream_id in h2.closed


def test_eof_on_an_idle_connection_is_no_news(h2: Peer) -> None:
    h2.eof()
    assert h2.events == []
    assert h2.connection.is_closed


def test_eof_twice_and_late_bytes_are_harmless(h2: Peer) -> None:
    h2.eof()
    h2.eof()
    h2.send(wire.ping())
    assert h2.events == []
    assert h2.frames() == []


def test_no_data_is_no_news(h2: Peer) -> None:
    deadline = h2.connection.next_timeout()
    h2.connection.receive_data(b"", h2.now)
    assert h2.connection.next_timeout() == deadline
    assert h2.connection.events() == []
    assert h2.connection.data_to_send() == b""


def test_the_clients_last_goaway_with_an_error_harms_nobody(h2: Peer) -> None:
    h2.send(wire.goaway(0, ENHANCE_YOUR_CALM, b"too much"))
    h2.eof()
    assert h2.events == []
    assert h2.connection.is_closed


def test_a_connection_error_says_goaway_exactly_once(h2: Peer) -> None:
    h2.send(wire.ping(b"short"))
    h2.send(wire.ping(b"short"))
    h2.eof()
    h2.wait(1000)
    assert h2.frames() == [GoAway(0, FRAME_SIZE_ERROR)]


def test_a_connection_error_is_the_same_octet_by_octet(http2_engine: str) -> None:
    peer = Peer(http2_engine, feed=byte_by_byte)
    peer.send(wire.data(0, b"x") + wire.ping())
    assert_connection_error(peer, PROTOCOL_ERROR)
