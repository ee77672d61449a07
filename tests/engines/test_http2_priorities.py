"""Who is sent first (RFC 9218), and the tree that came before (RFC 7540 §5.3).

The order of DATA frames is only visible where responses compete, so the connection's window is
used up first, the responses are queued, and then credit is granted bit by bit.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from hyperserver.protocol.interface import HTTP2Options
from tests.engines import h2_frames as wire
from tests.engines.h2_frames import FRAME_SIZE_ERROR, PROTOCOL_ERROR, Data, Field, head
from tests.engines.h2_peer import (
    Peer,
    assert_alive,
    assert_connection_error,
    assert_stream_error,
)

Open = Callable[..., Peer]

SIZE = 60_000
WIDE = {wire.INITIAL_WINDOW_SIZE: 1_000_000}


@pytest.fixture
def busy(h2_with: Open) -> Peer:
    """A connection whose window is used up, so that everything queued has to compete."""
    return exhaust(h2_with(settings=WIDE))


@pytest.fixture
def busy_tree(h2_with: Open) -> Peer:
    """The same where RFC 7540's priorities are served."""
    return exhaust(h2_with(settings=WIDE, options=HTTP2Options(priorities="rfc7540")))


def exhaust(peer: Peer) -> Peer:
    peer.answer(peer.get(), bytes(wire.DEFAULT_WINDOW))
    assert peer.reader.windows[0] == 0
    return peer


def urgency(value: bytes) -> Field:
    return (b"priority", value)


def asked(peer: Peer, *values: bytes | None, size: int = SIZE) -> list[int]:
    """A stream for each ``priority`` field value (None for no field), all answered and waiting."""
    streams = [peer.get(b"/", *([urgency(value)] if value else [])) for value in values]
    for stream_id in streams:
        peer.answer(stream_id, bytes(size))
    peer.frames()
    return streams


def order(peer: Peer, step: int = 1_000_000) -> list[int]:
    """The streams in the order in which they are finished as credit is granted.

    Until one is finished it must get nearly all: a scheduler may leave a little to the others,
    lest they starve, but what is next in order must not have to share.
    """
    peer.frames()
    finished: list[int] = []
    sent: dict[int, int] = {}
    while peer.connection.holds_output:
        peer.grant(0, step)
        for f in peer.frames():
            if not isinstance(f, Data):
                continue
            sent[f.stream_id] = sent.get(f.stream_id, 0) + len(f.content)
            if f.end:
                finished.append(f.stream_id)
                assert sent[f.stream_id] >= 0.75 * sum(sent.values()), (f.stream_id, sent)
                sent.clear()
    return finished


def share(peer: Peer, credit: int) -> dict[int, int]:
    """How ``credit`` bytes are divided between streams."""
    peer.frames()
    for _ in range(credit // 5_000):
        peer.grant(0, 5_000)
    sent: dict[int, int] = {}
    for f in peer.frames():
        if isinstance(f, Data):
            sent[f.stream_id] = sent.get(f.stream_id, 0) + len(f.content)
    return sent


# ---- the priority field (RFC 9218 §4, §10) ------------------------------------------------


@pytest.mark.parametrize("step", [700, 16_384, 1_000_000])
def test_lower_urgency_values_go_first(busy: Peer, step: int) -> None:
    late, early, middle, background = asked(busy, b"u=6", b"u=0", b"u=4", b"u=7")
    assert order(busy, step) == [early, middle, late, background]


def test_the_default_urgency_is_3(busy: Peer) -> None:
    default, lower, higher = asked(busy, None, b"u=4", b"u=2")
    assert order(busy) == [higher, default, lower]


@pytest.mark.parametrize("step", [700, 16_384, 1_000_000])
def test_non_incremental_responses_go_one_after_the_other(busy: Peer, step: int) -> None:
    """The earlier stream first, for half a script is worth nothing."""
    streams = asked(busy, None, None, None)
    assert order(busy, step) == streams


def test_the_older_stream_goes_first_whenever_it_is_answered(busy: Peer) -> None:
    first, second = busy.get(), busy.get()
    busy.answer(second, bytes(SIZE))
    busy.answer(first, bytes(SIZE))
    assert order(busy, 16_384) == [first, second]


def test_incremental_responses_share(busy: Peer) -> None:
    streams = asked(busy, b"i", b"i", b"i", size=200_000)
    shares = share(busy, 300_000)
    assert set(shares) == set(streams)
    assert max(shares.values()) - min(shares.values()) <= 2 * 16_384


def test_incremental_responses_of_a_lower_urgency_still_wait(busy: Peer) -> None:
    background, urgent = asked(busy, b"u=5, i", b"u=1, i")
    assert order(busy) == [urgent, background]


def test_nobody_starves_within_an_urgency(busy: Peer) -> None:
    """An incremental stream without end must not keep out the others of its urgency."""
    endless = busy.get(b"/", urgency(b"i"))
    busy.start(endless)
    busy.write(endless, bytes(500_000))
    (other,) = asked(busy, None)
    share(busy, 400_000)
    assert busy.responses[other].complete


def test_a_stream_without_credit_does_not_hold_back_the_next(h2_with: Open) -> None:
    peer = h2_with()
    urgent = peer.get(b"/", urgency(b"u=0"))
    peer.answer(urgent, bytes(100_000))  # its own window is used up, the connection's too
    background = peer.get(b"/", urgency(b"u=7"))
    peer.answer(background, bytes(10_000))
    peer.grant(0, 20_000)
    assert peer.responses[background].complete
    assert len(peer.responses[urgent].body) == 65_535


def test_an_urgent_stream_that_gets_credit_goes_first_again(h2_with: Open) -> None:
    peer = exhaust(h2_with(settings={wire.INITIAL_WINDOW_SIZE: 65_535}))
    urgent = peer.get(b"/", urgency(b"u=0"))
    peer.answer(urgent, bytes(100_000))
    (background,) = asked(peer, b"u=7")
    peer.grant(0, 65_535)
    peer.grant(urgent, 34_465)
    peer.frames()
    peer.grant(0, 40_000)
    sent = [f.stream_id for f in peer.frames() if isinstance(f, Data)]
    assert sent[0] == urgent
    assert peer.responses[urgent].complete
    assert len(peer.responses[background].body) == 40_000 - 34_465


def test_a_more_urgent_response_overtakes_one_that_has_begun(busy: Peer) -> None:
    (background,) = asked(busy, b"u=7", size=200_000)
    busy.grant(0, 50_000)
    (urgent,) = asked(busy, b"u=0")
    assert order(busy, 16_384) == [urgent, background]


@pytest.mark.parametrize(
    "value",
    [
        b"u=0, i, x-unknown=5",
        b"u=0,i",
        b"i, u=0",
        b"u=7, u=0",  # the last member of a name counts (RFC 8941 §3.2)
        b"u=0;a=b, i=?1",
        b'u=0, q=("a" b);c=1.5, s="x, u=7", t=:aGk=:',
    ],
)
def test_priorities_are_structured_fields(busy: Peer, value: bytes) -> None:
    other, first = asked(busy, b"u=1", value)
    assert order(busy)[0] == first
    assert len(busy.responses[other].body) == SIZE


def test_priority_over_several_lines_is_one_field(busy: Peer) -> None:
    other = busy.get(b"/", urgency(b"u=2"))
    split = busy.get(b"/", urgency(b"i"), urgency(b"u=1"))
    for stream_id in (other, split):
        busy.answer(stream_id, bytes(SIZE))
    busy.frames()
    assert order(busy) == [split, other]


@pytest.mark.parametrize(
    "value",
    [
        b"u=8",
        b"u=-1",
        b"u=a",
        b"u=1.0",
        b'u="1"',
        b"u=?1",
        b"u=(1)",
        b"u",
        b"U=1",
        b"u=1,",
        b"u=1 i",
        b"=1",
        b"u=1;;",
        b"u==1",
        b"u=99999999999999999999",
        b"\xff\xfe",
        b"u=1, \xe9",
        b'"',
        b"," * 1_000,
        b"(" * 1_000,
    ],
)
def test_what_does_not_parse_means_the_defaults(busy: Peer, value: bytes) -> None:
    """Out of range or of another type: ignored (§4); not a structured field: all ignored."""
    lower, unclear, higher = asked(busy, b"u=4", value, b"u=2")
    assert order(busy) == [higher, unclear, lower]
    assert not busy.goaways


@pytest.mark.parametrize(("value", "shares"), [(b"i=?0", False), (b"i=1", False), (b"i=?1", True)])
def test_incremental_is_a_boolean(busy: Peer, value: bytes, shares: bool) -> None:
    first, _ = asked(busy, value, value)
    shares_ = share(busy, 40_000)
    assert (shares_[first] < 30_000) is shares


# ---- the response's word (RFC 9218 §8) ----------------------------------------------------


def answered_as(peer: Peer, stream_id: int, value: bytes) -> None:
    peer.start(stream_id, 200, urgency(value))
    peer.write(stream_id, bytes(SIZE), end=True)
    assert peer.responses[stream_id].get(b"priority") == value


def test_the_application_may_raise_a_response(busy: Peer) -> None:
    (first,) = asked(busy, b"u=2")
    raised = busy.get(b"/", urgency(b"u=5"))
    answered_as(busy, raised, b"u=1")
    busy.frames()
    assert order(busy) == [raised, first]


def test_what_the_application_leaves_out_is_as_the_client_said(busy: Peer) -> None:
    streams = [busy.get(b"/", urgency(b"u=5, i")) for _ in range(2)]
    for stream_id in streams:
        answered_as(busy, stream_id, b"u=1")
    assert set(share(busy, 40_000)) == set(streams)


def test_what_the_application_says_badly_changes_nothing(busy: Peer) -> None:
    (other,) = asked(busy, b"u=2")
    stream_id = busy.get(b"/", urgency(b"u=1"))
    answered_as(busy, stream_id, b"u=nine")
    busy.frames()
    assert order(busy) == [stream_id, other]


def test_a_whole_response_has_a_word_as_well(busy: Peer) -> None:
    (first,) = asked(busy, b"u=2")
    raised = busy.get(b"/", urgency(b"u=5"))
    busy.connection.send_response(raised, 200, [urgency(b"u=1")], bytes(SIZE))
    busy.frames()
    assert order(busy) == [raised, first]


# ---- PRIORITY_UPDATE (RFC 9218 §7.1) ------------------------------------------------------


def test_reprioritising_what_waits(busy: Peer) -> None:
    first, second = asked(busy, b"u=1", b"u=2")
    busy.send(wire.priority_update(second, b"u=0"))
    assert order(busy) == [second, first]


def test_reprioritising_what_has_begun(busy: Peer) -> None:
    first, second = asked(busy, b"u=1", b"u=2")
    busy.grant(0, 20_000)
    busy.send(wire.priority_update(first, b"u=6"))
    busy.frames()
    assert order(busy, 16_384) == [second, first]


def test_reprioritising_before_the_response(busy: Peer) -> None:
    first, second = busy.get(), busy.get()
    busy.send(wire.priority_update(second, b"u=0"))
    for stream_id in (first, second):
        busy.answer(stream_id, bytes(SIZE))
    busy.frames()
    assert order(busy) == [second, first]


def test_an_update_that_omits_a_parameter_means_its_default(busy: Peer) -> None:
    """An update carries all parameters (§7): this one says u=3 and not incremental."""
    lower, raised = asked(busy, b"u=4", b"u=6, i")
    busy.send(wire.priority_update(raised, b""))
    assert order(busy, 16_384) == [raised, lower]


def test_an_update_that_does_not_parse_means_the_defaults(busy: Peer) -> None:
    lower, unclear, higher = asked(busy, b"u=4", b"u=6", b"u=2")
    busy.send(wire.priority_update(unclear, b"u=\xff"))
    assert order(busy) == [higher, unclear, lower]


def test_an_update_may_come_before_its_request(busy: Peer) -> None:
    """And then counts for more than the request's own field, which is older news (§7)."""
    ahead = busy.writer.next_id + 2
    busy.send(wire.priority_update(ahead, b"u=7"))
    busy.send(wire.priority_update(ahead, b"u=0"))
    first, second = asked(busy, b"u=1", b"u=5")
    assert second == ahead
    assert order(busy) == [second, first]


def test_an_update_for_a_stream_that_was_skipped_is_forgotten(h2_with: Open) -> None:
    peer = h2_with(options=HTTP2Options(max_concurrent_streams=5))
    for _ in range(50):
        ahead = peer.writer.next_id
        peer.send(b"".join(wire.priority_update(ahead + 2 * n, b"u=1") for n in range(4)))
        peer.answer(peer.open(head(), stream_id=ahead + 8))
    assert_alive(peer)


@pytest.mark.parametrize(
    ("octets", "error"),
    [
        (wire.priority_update(1, b"u=1", stream_id=1), PROTOCOL_ERROR),
        (wire.priority_update(0, b"u=1"), PROTOCOL_ERROR),
        (wire.frame(wire.PRIORITY_UPDATE, 0, b"\x00\x00\x01"), FRAME_SIZE_ERROR),
        (wire.frame(wire.PRIORITY_UPDATE, 0, b""), FRAME_SIZE_ERROR),
        (wire.priority_update(2, b"u=1"), PROTOCOL_ERROR),  # a push that was never promised
    ],
)
def test_updates_that_are_broken(h2: Peer, octets: bytes, error: int) -> None:
    h2.get()
    h2.send(octets)
    assert_connection_error(h2, error)


def test_updates_for_streams_to_come_are_bounded(h2_with: Open) -> None:
    """Idle streams with a priority and active ones together keep to the limit (§7.1)."""
    peer = h2_with(options=HTTP2Options(max_concurrent_streams=10))
    for _ in range(4):
        peer.get()
    for n in range(6):
        peer.send(wire.priority_update(101 + 2 * n, b"u=1"))
        peer.send(wire.priority_update(101 + 2 * n, b"u=2"))
    peer.ping()
    assert not peer.goaways
    peer.send(wire.priority_update(201, b"u=1"))
    assert_connection_error(peer, PROTOCOL_ERROR)


def test_reserved_bits_of_an_updates_target_are_ignored(busy: Peer) -> None:
    first, second = asked(busy, b"u=1", b"u=2")
    busy.send(wire.priority_update(second | 1 << 31, b"u=0"))
    assert order(busy) == [second, first]


# ---- RFC 7540's frames, where RFC 9218 is served ------------------------------------------


def test_the_tree_is_read_for_errors_only(busy: Peer) -> None:
    first, second = asked(busy, None, None)
    busy.send(wire.priority(first, on=second, weight=1, exclusive=True))
    busy.send(wire.priority(second, on=0, weight=256))
    assert order(busy) == [first, second]


@pytest.mark.parametrize("priorities", ["rfc9218", "rfc7540"])
def test_any_number_of_idle_streams_may_be_prioritised(h2_with: Open, priorities: str) -> None:
    """A browser builds its groups out of idle streams; 1001 of them were too many for some."""
    peer = h2_with(options=HTTP2Options(priorities=priorities))
    for n in range(1_500):
        peer.send(wire.priority(2 * n + 1_001, on=max(0, 2 * n + 999) if n % 3 else 0))
    assert_alive(peer)


@pytest.mark.parametrize("priorities", ["rfc9218", "rfc7540"])
def test_priority_frames_for_unknown_parents_are_harmless(h2_with: Open, priorities: str) -> None:
    peer = h2_with(options=HTTP2Options(priorities=priorities))
    for octets in (
        wire.priority(1, on=2**31 - 1),
        wire.priority(2**31 - 1, on=1, exclusive=True),
        wire.priority(3, on=5),
        wire.priority(5, on=3),
        wire.priority(2, on=4),
    ):
        peer.send(octets)
    peer.send(peer.writer.headers(7, head(), end=True, depends=wire.dependency(99, 256, True)))
    peer.answer(7)
    assert peer.responses[7].status == 200
    assert not peer.goaways


@pytest.mark.parametrize("priorities", ["rfc9218", "rfc7540"])
def test_a_priority_frame_on_oneself(h2_with: Open, priorities: str) -> None:
    """A stream error by RFC 7540 §5.3.1; by RFC 9113 it may as well be nothing."""
    peer = h2_with(options=HTTP2Options(priorities=priorities))
    stream_id = peer.post()
    peer.send(wire.priority(stream_id, on=stream_id))
    if priorities == "rfc7540" or peer.responses[stream_id].reset is not None:
        assert_stream_error(peer, stream_id, PROTOCOL_ERROR)
    else:
        assert_alive(peer)


@pytest.mark.parametrize("priorities", ["rfc9218", "rfc7540"])
def test_many_streams_at_once(h2_with: Open, priorities: str) -> None:
    """More than a tree may have nodes, and all of them waiting."""
    peer = exhaust(h2_with(options=HTTP2Options(1_500, priorities=priorities)))
    streams = [peer.get(b"/", urgency(b"u=%d" % (n % 8))) for n in range(1_200)]
    for stream_id in streams:
        peer.answer(stream_id, bytes(100))
    peer.grant(0, 1_200 * 100)
    assert all(peer.responses[s].complete for s in streams)
    assert not peer.connection.holds_output


@pytest.mark.parametrize("priorities", ["rfc9218", "rfc7540"])
def test_many_priorities_of_streams_to_come(h2_with: Open, priorities: str) -> None:
    peer = h2_with(options=HTTP2Options(5_000, priorities=priorities))
    for n in range(1_800):
        peer.send(wire.priority_update(2 * n + 1_001, b"u=%d" % (n % 8)))
    assert_alive(peer)


# ---- RFC 7540's tree, served --------------------------------------------------------------


def depending(peer: Peer, on: int, weight: int = 16, exclusive: bool = False) -> int:
    """A request in the tree, answered and waiting."""
    stream_id = peer.writer.next_id
    depends = wire.dependency(on, weight, exclusive)
    peer.send(peer.writer.headers(stream_id, head(), end=True, depends=depends))
    peer.answer(stream_id, bytes(300_000))
    return stream_id


def test_parents_come_before_children(busy_tree: Peer) -> None:
    parent = depending(busy_tree, 0)
    child = depending(busy_tree, parent)
    grandchild = depending(busy_tree, child)
    busy_tree.frames()
    assert order(busy_tree, 16_384) == [parent, child, grandchild]


def test_siblings_share_by_weight(busy_tree: Peer) -> None:
    light, heavy = depending(busy_tree, 0, weight=16), depending(busy_tree, 0, weight=64)
    shares = share(busy_tree, 200_000)
    assert 2.5 < shares[heavy] / shares[light] < 6


def test_moving_a_stream_in_the_tree(busy_tree: Peer) -> None:
    first, second = depending(busy_tree, 0), depending(busy_tree, 0)
    busy_tree.send(wire.priority(first, on=second))
    busy_tree.frames()
    assert order(busy_tree, 16_384) == [second, first]


def test_an_exclusive_child_takes_its_siblings_over(busy_tree: Peer) -> None:
    first, second = depending(busy_tree, 0), depending(busy_tree, 0)
    between = depending(busy_tree, 0, exclusive=True)
    shares = share(busy_tree, 200_000)
    assert shares[between] >= 150_000
    share(busy_tree, 150_000)
    assert set(share(busy_tree, 100_000)) == {first, second}


def test_a_stream_under_its_own_child(busy_tree: Peer) -> None:
    """The former child is moved up first (§5.3.3): no cycle comes of it."""
    parent = depending(busy_tree, 0)
    child = depending(busy_tree, parent)
    busy_tree.send(wire.priority(parent, on=child))
    busy_tree.frames()
    assert order(busy_tree, 16_384) == [child, parent]


def test_a_blocked_parent_lets_its_children_go(h2_with: Open) -> None:
    peer = exhaust(h2_with(options=HTTP2Options(priorities="rfc7540")))
    parent = peer.get()
    peer.start(parent)
    stream_id = depending(peer, parent)
    peer.grant(0, 10_000)
    assert len(peer.responses[stream_id].body) == 10_000


def test_streams_are_forgotten_when_they_end(h2_with: Open) -> None:
    """A tree of finished streams would grow with the connection."""
    peer = h2_with(options=HTTP2Options(priorities="rfc7540"))
    previous = 0
    for _ in range(2_500):
        stream_id = peer.writer.next_id
        depends = wire.dependency(previous, 100)
        peer.send(peer.writer.headers(stream_id, head(), end=True, depends=depends))
        peer.answer(stream_id)
        previous = stream_id
    assert_alive(peer)


def test_an_rfc_9218_update_is_harmless_to_the_tree(busy_tree: Peer) -> None:
    first = depending(busy_tree, 0)
    busy_tree.send(wire.priority_update(first, b"u=0"))
    assert order(busy_tree) == [first]
    assert not busy_tree.goaways
