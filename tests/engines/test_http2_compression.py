"""HPACK (RFC 7541) over the life of a connection: two tables that must never drift apart.

What a block means depends on all blocks before it. Here a client and an application repeat
themselves, in every way that could tempt an engine to remember more than it may.
"""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.engines import h2_frames as wire
from tests.engines.h2_frames import COMPRESSION_ERROR, Field, Fields, frame, head, literal
from tests.engines.h2_peer import HTTP2_ENGINES, Peer, assert_alive, assert_connection_error

QUICK = settings(
    max_examples=150,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)

BARE = b"".join(literal(name, value) for name, value in head())
ALL = wire.END_HEADERS | wire.END_STREAM

#: Few names and fewer values, of sizes that fill a small table at different speeds.
FIELDS: list[Field] = [
    (b"x-a", b"1"),
    (b"x-a", b"2"),
    (b"x-b", b"1"),
    (b"x-b", b"b" * 70),
    (b"accept", b"*/*"),
    (b"user-agent", b"u" * 40),
    (b"authorization", b"secret"),
    (b"content-type", b"text/plain"),
    (b"x-long", b"l" * 300),
]
TABLES = [0, 40, 100, 200, 500, 4_096]

scripts = st.lists(
    st.one_of(
        st.lists(st.sampled_from(FIELDS), max_size=4),
        st.lists(st.sampled_from(FIELDS), max_size=4),
        st.sampled_from(TABLES),
    ),
    max_size=30,
)


@pytest.mark.parametrize("engine", HTTP2_ENGINES)
@QUICK
@given(script=scripts)
def test_requests_mean_what_was_encoded(engine: str, script: list[Fields | int]) -> None:
    """The client changes the size of its table as it likes, below what it may."""
    peer = Peer(engine)
    for step in script:
        if isinstance(step, int):
            if peer.writer.encoder.header_table_size != step:  # hpack forgets the change otherwise
                peer.writer.encoder.header_table_size = step
            continue
        stream_id = peer.get(b"/", *step)
        assert peer.requests[-1].headers[1:] == step
        peer.answer(stream_id)
    assert not peer.goaways


@pytest.mark.parametrize("engine", HTTP2_ENGINES)
@QUICK
@given(script=scripts)
def test_responses_mean_what_was_sent(engine: str, script: list[Fields | int]) -> None:
    """``hpack`` decodes, and insists on what RFC 7541 §4.2 says of sizes."""
    peer = Peer(engine)
    for step in script:
        if isinstance(step, int):
            peer.settings({wire.HEADER_TABLE_SIZE: step})
            continue
        stream_id = peer.get()
        peer.start(stream_id, 200, *step, end=True)
        assert (peer.responses[stream_id].fields or [])[1:] == step
        peer.release(stream_id)


@pytest.mark.parametrize("engine", HTTP2_ENGINES)
@QUICK
@given(script=scripts, order=st.permutations(range(8)))
def test_all_kinds_of_blocks_share_the_tables(
    engine: str, script: list[Fields | int], order: list[int]
) -> None:
    """Interim heads, heads, trailers and promises, of several streams at once."""
    peer = Peer(engine)
    blocks = [step for step in script if not isinstance(step, int)]
    streams = [peer.post() for _ in range(8)]
    for fields in blocks[:3]:
        for n in order:
            peer.connection.send_informational(streams[n], 103, fields)
            assert peer.responses[streams[n]].interim[-1][1:] == fields
    for n, fields in zip(order, blocks[3:], strict=False):
        asked = [f for f in fields if f[0] != b"content-type"]  # there is no body to speak of
        promised = peer.connection.push_stream(streams[n], b"/%d" % n, asked)
        assert promised is not None
        peer.drain()
        assert peer.requests[-1].headers[1:] == asked
        peer.trailers(streams[n], *[f for f in fields if f[0].startswith(b"x-")])
        peer.start(promised, 200, *fields, end=True)
        assert (peer.responses[promised].fields or [])[1:] == fields
    for stream_id in streams:
        peer.start(stream_id, 200)
        peer.connection.send_trailers(stream_id, [(b"x-sum", b"1")])
        assert peer.responses[stream_id].trailers == [(b"x-sum", b"1")]
    assert not peer.goaways


def test_the_same_octets_can_mean_something_else(h2: Peer) -> None:
    """Index 62 is the newest entry of the table, whichever that is now."""
    for number in range(5):
        insert = b"\x40\x01x\x01" + b"%d" % number
        h2.send(frame(wire.HEADERS, 4 * number + 1, BARE + insert, ALL))
        h2.send(frame(wire.HEADERS, 4 * number + 3, BARE + b"\xbe", ALL))
    values = [dict(r.headers)[b"x"] for r in h2.requests]
    assert values == [b"%d" % (n // 2) for n in range(10)]


def test_the_same_octets_can_mean_nothing_any_more(h2: Peer) -> None:
    h2.send(frame(wire.HEADERS, 1, BARE + b"\x40\x01x\x01y", ALL))
    h2.send(frame(wire.HEADERS, 3, BARE + b"\xbe", ALL))
    h2.send(frame(wire.HEADERS, 5, BARE + b"\xbe", ALL))
    assert [dict(r.headers)[b"x"] for r in h2.requests] == [b"y"] * 3
    h2.send(frame(wire.HEADERS, 7, b"\x20" + BARE, ALL))  # a table of no size is an empty table
    h2.send(frame(wire.HEADERS, 9, BARE + b"\xbe", ALL))
    assert len(h2.requests) == 4
    assert_connection_error(h2, COMPRESSION_ERROR)


def test_an_eviction_shifts_nothing_but_the_oldest(h2: Peer) -> None:
    """Entries of 1,000 octets: four fit, and each new one pushes the oldest out (§4.4)."""
    for number in range(12):
        h2.get(b"/", (b"x-%d" % (number % 5), b"v" * 960))
        h2.get(b"/", (b"x-%d" % (number % 5), b"v" * 960))
    names = [r.headers[-1][0] for r in h2.requests]
    assert names == [b"x-%d" % (n // 2 % 5) for n in range(24)]


def test_a_field_larger_than_the_table_empties_it(h2: Peer) -> None:
    for number in range(3):
        h2.get(b"/", (b"x-small", b"%d" % number))
        h2.get(b"/", (b"x-huge", b"h" * 5_000), (b"x-small", b"%d" % number))
        h2.get(b"/", (b"x-small", b"%d" % number))
    assert [dict(r.headers)[b"x-small"] for r in h2.requests] == [
        b"%d" % (n // 3) for n in range(9)
    ]


def test_many_different_blocks_names_and_values(h2: Peer) -> None:
    """More than any cache holds, and then the first ones again."""
    for number in [*range(1_100), *range(20)]:
        field = (b"x-%d" % number, b"%d" % (number % 7))
        stream_id = h2.get(b"/", field, (b"priority", b"u=%d, x=%d" % (number % 8, number)))
        assert h2.requests[-1].headers[1] == field
        h2.start(stream_id, 200, field, end=True)
        assert h2.responses[stream_id].fields == [(b":status", b"200"), field]
        h2.release(stream_id)
    assert_alive(h2)


def test_a_broken_block_on_a_stream_that_was_reset_still_breaks_the_table(h2: Peer) -> None:
    """Its fields are not wanted, its effect on the table is (RFC 9113 §4.3)."""
    stream_id = h2.post()
    h2.connection.reset_stream(stream_id, "test")
    h2.release(stream_id)
    h2.drain()
    h2.send(frame(wire.HEADERS, stream_id, b"\xfb", ALL))
    assert_connection_error(h2, COMPRESSION_ERROR)


@pytest.mark.parametrize("stream_id", [1, 3])
def test_a_broken_block_of_trailers(h2: Peer, stream_id: int) -> None:
    first, second = h2.post(), h2.post()
    h2.send(frame(wire.HEADERS, stream_id, literal(b"x", b"y") + b"\x80", ALL))
    assert set(h2.closed) == {first, second}
    assert_connection_error(h2, COMPRESSION_ERROR)


@pytest.mark.parametrize("status", [431, 414, 400, 501, 0])
def test_what_a_refused_request_put_into_the_table_stays(h2: Peer, status: int) -> None:
    mark = (b"x-mark", b"m" * 200)
    fields = {
        431: head(b"GET", b"/", mark, *[(b"x-%d" % n, b"") for n in range(200)]),
        414: head(b"GET", b"/" + b"p" * 20_000, mark),
        400: head(b"GET", b"/", mark, authority=None),
        501: [*head(b"CONNECT", None, scheme=None), mark],
        0: head(b"GET", b"/", mark, (b"Upper", b"case")),
    }[status]
    refused = h2.open(fields)
    assert h2.responses[refused].status == status
    h2.get(b"/", mark)
    assert h2.requests[-1].headers[1:] == [mark]
