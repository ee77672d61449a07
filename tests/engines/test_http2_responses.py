"""What the server says on a stream: heads, bodies, interim responses, trailers, resets."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from hyperserver.errors import LocalProtocolError
from hyperserver.protocol.events import StreamClosed
from hyperserver.protocol.fields import response_fields
from hyperserver.protocol.interface import ResponseDefaults
from tests.engines import h2_frames as wire
from tests.engines.h2_frames import (
    INTERNAL_ERROR,
    NO_ERROR,
    Data,
    Field,
    Headers,
    Reset,
    Window,
    head,
)
from tests.engines.h2_peer import Peer, assert_alive

Open = Callable[..., Peer]

STATUS_200 = (b":status", b"200")
DATE = b"Sun, 06 Nov 1994 08:49:37 GMT"
LENGTH_2 = (b"content-length", b"2")


# ---- heads --------------------------------------------------------------------------------


def test_a_response_is_a_head_and_data_that_ends(h2: Peer) -> None:
    stream_id = h2.get()
    h2.start(stream_id, 200, LENGTH_2, (b"x", b"y"))
    h2.write(stream_id, b"h")
    h2.write(stream_id, b"i", end=True)
    assert h2.frames() == [
        Headers(stream_id, [STATUS_200, LENGTH_2, (b"x", b"y")]),
        Data(stream_id, b"h"),
        Data(stream_id, b"i", end=True),
    ]


@pytest.mark.parametrize("status", [200, 299, 404, 500, 999])
def test_any_final_status(h2: Peer, status: int) -> None:
    stream_id = h2.get()
    h2.answer(stream_id, b"x", status)
    assert h2.responses[stream_id].status == status


def test_date_and_server_come_from_the_defaults_unless_the_application_sets_them(
    h2_with: Open,
) -> None:
    peer = h2_with(defaults=ResponseDefaults(b"s", DATE))
    stream_id = peer.get()
    peer.answer(stream_id)
    response = peer.responses[stream_id]
    assert (response.get(b"date"), response.get(b"server")) == (DATE, b"s")
    stream_id = peer.get()
    peer.start(stream_id, 204, (b"server", b"mine"), (b"date", b"never"), end=True)
    fields = peer.responses[stream_id].fields or []
    assert sorted(fields) == [(b":status", b"204"), (b"date", b"never"), (b"server", b"mine")]


def test_more_fields_of_a_listener_unless_the_application_sets_them(h2_with: Open) -> None:
    hsts, alt_svc = (b"strict-transport-security", b"max-age=1"), (b"alt-svc", b"clear")
    peer = h2_with(defaults=ResponseDefaults(None, None, [hsts, alt_svc]))
    for _ in range(2):
        stream_id = peer.get()
        peer.answer(stream_id)
        assert (peer.responses[stream_id].fields or [])[-2:] == [hsts, alt_svc]
        stream_id = peer.get()
        peer.connection.send_response(stream_id, 200, response_fields([LENGTH_2]), b"ok")
        peer.release(stream_id)
        assert (peer.responses[stream_id].fields or [])[-2:] == [hsts, alt_svc]
        stream_id = peer.get()
        own = (b"strict-transport-security", b"max-age=0")
        peer.start(stream_id, 204, own, (b"server", b"mine"), end=True)
        fields = peer.responses[stream_id].fields or []
        assert fields == [(b":status", b"204"), own, (b"server", b"mine"), alt_svc]


@pytest.mark.parametrize("count", [1, 40])
def test_any_field_may_be_one_of_them(h2_with: Open, count: int) -> None:
    """On whole responses, streamed ones, and where the server answers itself."""
    more = [(b"x-added-%d" % n, b"theirs") for n in range(count)]
    peer = h2_with(defaults=ResponseDefaults(None, None, more))
    for _ in range(2):
        stream_id = peer.get()
        peer.connection.send_response(stream_id, 200, response_fields([LENGTH_2]), b"ok")
        peer.release(stream_id)
        assert peer.responses[stream_id].fields == [STATUS_200, LENGTH_2, *more]
    own = (b"x-added-0", b"mine")
    for _ in range(2):
        stream_id = peer.get()
        peer.connection.send_response(stream_id, 200, response_fields([own, LENGTH_2]), b"ok")
        peer.release(stream_id)
        assert peer.responses[stream_id].fields == [STATUS_200, own, LENGTH_2, *more[1:]]
    stream_id = peer.get()
    peer.start(stream_id, 204, own, (b"content-length", b"0"), end=True)
    assert peer.responses[stream_id].fields == [(b":status", b"204"), own, *more[1:]]
    large = (b"x-large", b"x" * 70_000)
    stream_id = peer.open(head(b"GET", b"/", large))
    assert peer.responses[stream_id].status == 431
    assert more[0] in (peer.responses[stream_id].fields or [])


@pytest.mark.parametrize("with_start", [False, True])
def test_the_date_is_the_latest(h2_with: Open, with_start: bool) -> None:
    defaults = ResponseDefaults(None, DATE)
    peer = h2_with(defaults=defaults)
    for date in (DATE, b"Sun, 06 Nov 1994 08:49:38 GMT", b"Sun, 06 Nov 1994 08:49:39 GMT"):
        defaults.set_date(date)
        stream_id = peer.get()
        if with_start:
            peer.start(stream_id, end=True)
            peer.release(stream_id)
        else:
            peer.answer(stream_id)
        fields = peer.responses[stream_id].fields or []
        assert [value for name, value in fields if name == b"date"] == [date]
        assert b"server" not in dict(fields)


def test_fields_keep_their_order_and_repeats(h2: Peer) -> None:
    fields: list[Field] = [
        (b"set-cookie", b"a"),
        LENGTH_2,
        (b"x", b""),
        (b"set-cookie", b"b"),
        (b"x-octets", b"\xe9\xff"),
    ]
    stream_id = h2.get()
    h2.start(stream_id, 200, *fields)
    assert h2.responses[stream_id].fields == [STATUS_200, *fields]


def test_names_are_lower_case(h2: Peer) -> None:
    stream_id = h2.get()
    h2.connection.send_response(stream_id, 200, response_fields([(b"X-Upper", b"Y")]), b"")
    assert h2.responses[stream_id].get(b"x-upper") == b"Y"


def test_connection_fields_do_not_pass(h2: Peer) -> None:
    """Applications set them for HTTP/1; here they would make the response malformed (§8.2.2)."""
    fields = response_fields(
        [
            (b"connection", b"close"),
            (b"Keep-Alive", b"timeout=5"),
            (b"proxy-connection", b"close"),
            (b"transfer-encoding", b"chunked"),
            (b"upgrade", b"h2c"),
            (b"te", b"trailers"),
            (b"x", b"y"),
        ]
    )
    first, second = h2.get(), h2.get()
    h2.connection.send_headers(first, 200, fields, True)
    h2.connection.send_response(second, 200, fields, b"hi")
    for stream_id in (first, second):
        assert h2.responses[stream_id].fields == [STATUS_200, (b"x", b"y")]
        h2.release(stream_id)
    assert_alive(h2)


def test_a_head_too_large_for_a_frame_is_continued(h2: Peer) -> None:
    large = [(b"x-%d" % n, bytes([33 + n]) * 20_000) for n in range(5)]
    stream_id = h2.get()
    h2.start(stream_id, 200, *large, end=True)
    assert h2.responses[stream_id].fields == [STATUS_200, *large]
    assert h2.responses[stream_id].complete
    assert_alive(h2)


def test_repeated_heads_are_compressed(h2: Peer) -> None:
    """The point of a stateful encoder: what is said again costs an octet per field."""
    fields = [(b"content-type", b"text/html; charset=utf-8"), (b"x-some-policy", b"same-origin")]
    sizes = []
    for _ in range(5):
        stream_id = h2.get()
        h2.connection.send_headers(stream_id, 200, [*fields], True)
        sizes.append(sum(len(octets) for octets in iter(h2.connection.data_to_send, b"")))
        h2.connection.release(stream_id)
    assert sizes[-1] <= 9 + 10


# ---- one command, one write ---------------------------------------------------------------


def test_a_whole_response_is_one_write(h2: Peer) -> None:
    stream_id = h2.get()
    h2.connection.send_response(stream_id, 200, [LENGTH_2], b"hi")
    octets = h2.connection.data_to_send()
    assert h2.connection.data_to_send() == b""
    assert h2.reader.feed(octets) == [
        Headers(stream_id, [STATUS_200, LENGTH_2]),
        Data(stream_id, b"hi", end=True),
    ]


def test_an_empty_response_ends_with_its_head_or_an_empty_frame(h2: Peer) -> None:
    stream_id = h2.get()
    h2.answer(stream_id)
    frames = h2.frames()
    assert frames[0] == Headers(
        stream_id, [STATUS_200, (b"content-length", b"0")], end=len(frames) == 1
    )
    assert frames[1:] in ([], [Data(stream_id, b"", end=True)])


def test_many_responses_share_a_write(h2: Peer) -> None:
    streams = [h2.get() for _ in range(20)]
    for stream_id in streams:
        h2.connection.send_response(stream_id, 200, [LENGTH_2], b"hi")
    octets = h2.connection.data_to_send()
    assert h2.connection.data_to_send() == b""
    assert [f.stream_id for f in h2.reader.feed(octets) if isinstance(f, Data)] == streams


def test_a_head_does_not_wait_for_the_body(h2: Peer) -> None:
    stream_id = h2.get()
    h2.start(stream_id)
    assert h2.frames() == [Headers(stream_id, [STATUS_200])]


def test_nothing_to_write_is_nothing(h2: Peer) -> None:
    stream_id = h2.get()
    h2.start(stream_id)
    h2.frames()
    h2.write(stream_id, b"")
    assert h2.frames() == []


# ---- responses without content ------------------------------------------------------------

NO_CONTENT = [
    (b"HEAD", 200, LENGTH_2, LENGTH_2),
    (b"HEAD", 200, None, None),
    (b"GET", 204, LENGTH_2, None),
    (b"GET", 204, None, None),
    (b"GET", 304, LENGTH_2, LENGTH_2),
    (b"GET", 304, None, None),
    (b"HEAD", 304, LENGTH_2, LENGTH_2),
]


@pytest.mark.parametrize(("method", "status", "given", "sent"), NO_CONTENT)
@pytest.mark.parametrize("whole", [False, True])
def test_responses_without_content_end_with_their_head(
    h2: Peer, method: bytes, status: int, given: Field | None, sent: Field | None, whole: bool
) -> None:
    stream_id = h2.open(head(method))
    fields = [given] if given else []
    if whole:
        h2.connection.send_response(stream_id, status, fields, b"hi")
    else:
        h2.start(stream_id, status, *fields)
        h2.write(stream_id, b"h")
        h2.write(stream_id, b"i", end=True)
    expected = [(b":status", b"%d" % status)] + ([sent] if sent else [])
    assert h2.frames() in (
        [Headers(stream_id, expected, end=True)],
        [Headers(stream_id, expected), Data(stream_id, b"", end=True)],
    )
    assert h2.connection.buffered(stream_id) == 0
    h2.release(stream_id)
    assert_alive(h2)


def test_a_whole_response_without_content_is_one_frame(h2: Peer) -> None:
    stream_id = h2.open(head(b"HEAD"))
    h2.answer(stream_id, b"hi")
    assert h2.frames() == [Headers(stream_id, [STATUS_200, LENGTH_2], end=True)]


# ---- interim responses and trailers -------------------------------------------------------


def test_early_hints(h2: Peer) -> None:
    stream_id = h2.get()
    h2.connection.send_informational(stream_id, 103, [(b"link", b"<x>"), (b"link", b"<y>")])
    h2.connection.send_informational(stream_id, 103, [(b"link", b"<z>")])
    h2.answer(stream_id, b"hi")
    response = h2.responses[stream_id]
    hint = (b":status", b"103")
    assert response.interim == [
        [hint, (b"link", b"<x>"), (b"link", b"<y>")],
        [hint, (b"link", b"<z>")],
    ]
    assert (response.status, response.body) == (200, b"hi")


def test_interim_responses_carry_no_defaults(h2_with: Open) -> None:
    peer = h2_with(defaults=ResponseDefaults(b"s", DATE))
    stream_id = peer.get()
    peer.connection.send_informational(stream_id, 103, [(b"link", b"<x>")])
    assert peer.responses[stream_id].interim == [[(b":status", b"103"), (b"link", b"<x>")]]


def test_trailers_are_headers_that_end(h2: Peer) -> None:
    stream_id = h2.get()
    h2.start(stream_id)
    h2.write(stream_id, b"hi")
    h2.connection.send_trailers(stream_id, [(b"x-sum", b"1"), (b"x", b"")])
    assert h2.frames()[-2:] == [
        Data(stream_id, b"hi"),
        Headers(stream_id, [(b"x-sum", b"1"), (b"x", b"")], end=True),
    ]


def test_trailers_without_a_body(h2: Peer) -> None:
    stream_id = h2.get()
    h2.start(stream_id)
    h2.connection.send_trailers(stream_id, [(b"grpc-status", b"0")])
    assert h2.responses[stream_id].trailers == [(b"grpc-status", b"0")]


def test_empty_trailers_are_an_ordinary_end(h2: Peer) -> None:
    """A field section of nothing could be sent, but some clients stumble over it."""
    stream_id = h2.get()
    h2.start(stream_id)
    h2.write(stream_id, b"hi")
    h2.connection.send_trailers(stream_id, [])
    assert h2.responses[stream_id].complete
    assert h2.responses[stream_id].trailers in (None, [])


@pytest.mark.parametrize(("method", "status"), [(b"HEAD", 200), (b"GET", 204), (b"GET", 304)])
def test_a_response_without_content_may_still_be_given_trailers(
    h2: Peer, method: bytes, status: int
) -> None:
    """Sent or dropped, the stream ends once."""
    stream_id = h2.open(head(method))
    h2.start(stream_id, status)
    h2.write(stream_id, b"hi")
    h2.connection.send_trailers(stream_id, [(b"x", b"y")])
    response = h2.responses[stream_id]
    assert (response.complete, response.body, response.reset) == (True, b"", None)
    h2.release(stream_id)
    assert_alive(h2)


# ---- a response that is complete before its request ---------------------------------------


def answered_whole(peer: Peer, stream_id: int) -> None:
    peer.connection.send_response(stream_id, 200, [LENGTH_2], b"no")


def answered_in_pieces(peer: Peer, stream_id: int) -> None:
    peer.start(stream_id)
    peer.write(stream_id, b"no")
    peer.write(stream_id, end=True)


def answered_with_trailers(peer: Peer, stream_id: int) -> None:
    peer.start(stream_id)
    peer.connection.send_trailers(stream_id, [(b"x", b"y")])


def answered_by_head(peer: Peer, stream_id: int) -> None:
    peer.start(stream_id, 204, end=True)


Answer = Callable[[Peer, int], None]
ANSWERS = [answered_whole, answered_in_pieces, answered_with_trailers, answered_by_head]


@pytest.mark.parametrize("answer", ANSWERS)
def test_an_early_answer_asks_for_no_more(h2: Peer, answer: Answer) -> None:
    """RST_STREAM(NO_ERROR) after END_STREAM: the response counts, the upload may stop (§8.1)."""
    stream_id = h2.post()
    h2.data(stream_id, b"some")
    answer(h2, stream_id)
    *before, last = h2.frames()
    assert last == Reset(stream_id, NO_ERROR)
    assert h2.responses[stream_id].complete
    assert getattr(before[-1], "end", False)
    h2.release(stream_id)
    assert_alive(h2)


@pytest.mark.parametrize("answer", ANSWERS)
def test_what_still_comes_after_an_early_answer_is_dropped(h2: Peer, answer: Answer) -> None:
    stream_id = h2.post()
    answer(h2, stream_id)
    h2.news()
    h2.frames()
    h2.data(stream_id, b"more")
    h2.data(stream_id, b"and more", end=True)
    assert h2.news() == []
    assert [f for f in h2.frames() if not isinstance(f, Window)] == []
    h2.release(stream_id)
    assert_alive(h2)


@pytest.mark.parametrize("answer", ANSWERS)
def test_an_answer_after_the_request_needs_no_reset(h2: Peer, answer: Answer) -> None:
    stream_id = h2.post()
    h2.data(stream_id, b"all", end=True)
    answer(h2, stream_id)
    assert h2.responses[stream_id].complete
    assert h2.responses[stream_id].reset is None
    assert h2.closed == {}


def test_an_early_answer_that_waits_for_credit_is_not_cut(h2: Peer) -> None:
    stream_id = h2.post()
    h2.connection.send_response(stream_id, 200, [], bytes(100_000))
    assert h2.responses[stream_id].reset is None
    h2.data(stream_id, b"still coming")
    h2.grant(0, 100_000)
    h2.grant(stream_id, 100_000)
    response = h2.responses[stream_id]
    assert (response.complete, len(response.body), response.reset) == (True, 100_000, NO_ERROR)


def test_an_early_answer_whose_request_ends_while_it_waits(h2: Peer) -> None:
    stream_id = h2.post()
    h2.connection.send_response(stream_id, 200, [], bytes(100_000))
    h2.data(stream_id, b"that was it", end=True)
    h2.grant(0, 100_000)
    h2.grant(stream_id, 100_000)
    assert h2.responses[stream_id].complete
    assert h2.responses[stream_id].reset is None


# ---- resets -------------------------------------------------------------------------------


def test_a_client_that_resets_is_told_nothing_more(h2: Peer) -> None:
    stream_id = h2.get()
    h2.start(stream_id)
    h2.write(stream_id, bytes(200_000))
    h2.frames()
    h2.news()
    h2.reset(stream_id)
    assert [type(e) for e in h2.news()] == [StreamClosed]
    assert h2.connection.buffered(stream_id) == 0
    assert not h2.connection.holds_output
    h2.grant(0, 1_000_000)
    assert h2.frames() == []
    h2.release(stream_id)
    assert_alive(h2)


def test_a_reset_before_any_response(h2: Peer) -> None:
    stream_id = h2.post()
    h2.data(stream_id, b"part")
    h2.reset(stream_id)
    assert stream_id in h2.closed
    assert h2.closed[stream_id].status == 0
    assert h2.frames() == []


def test_a_reset_of_a_finished_stream_is_no_news(h2: Peer) -> None:
    """No application is there to hear it."""
    stream_id = h2.get()
    h2.answer(stream_id)
    h2.reset(stream_id)
    assert h2.closed == {}
    assert_alive(h2)


COMMANDS: dict[str, Callable[[Peer, int], object]] = {
    "headers": lambda p, s: p.connection.send_headers(s, 200, []),
    "response": lambda p, s: p.connection.send_response(s, 200, [LENGTH_2], b"hi"),
    "data": lambda p, s: p.connection.send_data(s, b"hi"),
    "end": lambda p, s: p.connection.send_data(s, b"", True),
    "trailers": lambda p, s: p.connection.send_trailers(s, [(b"x", b"y")]),
    "informational": lambda p, s: p.connection.send_informational(s, 103, []),
    "acknowledge": lambda p, s: p.connection.acknowledge(s, 10),
    "reset": lambda p, s: p.connection.reset_stream(s, "again"),
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("started", [False, True])
@pytest.mark.parametrize("end", ["reset", "fault", "eof", "connection-error"])
def test_commands_for_a_stream_that_was_cut_are_ignored(
    h2: Peer, command: str, started: bool, end: str
) -> None:
    """The application may have been on its way to send; it learns from StreamClosed."""
    stream_id = h2.post((b"content-length", b"5"))
    if started:
        h2.start(stream_id)
    if end == "reset":
        h2.reset(stream_id)
    elif end == "fault":
        h2.data(stream_id, b"too long")
    elif end == "eof":
        h2.eof()
    else:
        h2.send(wire.ping(b""))
    assert stream_id in h2.closed
    h2.frames()
    events = len(h2.events)
    COMMANDS[command](h2, stream_id)
    assert h2.frames() == []
    assert len(h2.events) == events
    assert h2.connection.buffered(stream_id) == 0


def test_the_server_cuts_a_response(h2: Peer) -> None:
    stream_id = h2.get()
    h2.start(stream_id)
    h2.write(stream_id, b"part")
    h2.connection.reset_stream(stream_id, "application error")
    assert h2.frames()[-1] == Reset(stream_id, INTERNAL_ERROR)
    assert not h2.responses[stream_id].complete
    h2.release(stream_id)
    assert_alive(h2)


def test_a_cut_response_drops_what_waits(h2: Peer) -> None:
    stream_id = h2.get()
    h2.start(stream_id)
    h2.write(stream_id, bytes(200_000))
    h2.connection.reset_stream(stream_id, "application error")
    h2.frames()
    assert h2.connection.buffered(stream_id) == 0
    assert not h2.connection.holds_output
    h2.grant(0, 1_000_000)
    assert h2.frames() == []


def test_resetting_what_is_complete_or_unknown_means_nothing(h2: Peer) -> None:
    stream_id = h2.get()
    h2.answer(stream_id, b"hi")
    h2.frames()
    for unknown in (stream_id, stream_id + 2, 2, 0):
        h2.connection.reset_stream(unknown, "the application has left")
    assert h2.frames() == []
    assert_alive(h2)


def test_releasing_what_is_unknown_means_nothing(h2: Peer) -> None:
    for unknown in (0, 1, 2, 99):
        h2.connection.release(unknown)
    stream_id = h2.get()
    h2.answer(stream_id)
    h2.release(stream_id)
    assert_alive(h2)


def test_a_released_stream_still_sends_what_waits(h2: Peer) -> None:
    """The application returns as soon as its last bytes are taken into the buffer."""
    stream_id = h2.get()
    h2.connection.send_response(stream_id, 200, [], bytes(100_000))
    h2.release(stream_id)
    h2.grant(0, 100_000)
    h2.grant(stream_id, 100_000)
    assert len(h2.responses[stream_id].body) == 100_000
    assert h2.responses[stream_id].complete


# ---- misuse -------------------------------------------------------------------------------

Misuse = Callable[[Peer, int], object]


def raises(peer: Peer, misuse: Misuse, stream_id: int) -> None:
    """Misuse raises and changes nothing."""
    peer.frames()
    events = len(peer.events)
    with pytest.raises(LocalProtocolError):
        misuse(peer, stream_id)
    assert peer.frames() == []
    assert len(peer.events) == events


SENDING = ["headers", "response", "data", "end", "trailers", "informational"]


@pytest.mark.parametrize("command", SENDING)
def test_nothing_can_be_sent_on_a_stream_that_was_never_opened(h2: Peer, command: str) -> None:
    h2.get()
    for stream_id in (0, 2, 3, 99):
        raises(h2, COMMANDS[command], stream_id)
    assert_alive(h2)


@pytest.mark.parametrize("command", SENDING)
def test_nothing_can_be_sent_after_the_end(h2: Peer, command: str) -> None:
    stream_id = h2.get()
    h2.connection.send_response(stream_id, 200, [], b"hi")
    raises(h2, COMMANDS[command], stream_id)
    h2.release(stream_id)
    assert_alive(h2)


@pytest.mark.parametrize("command", SENDING)
def test_nothing_can_be_sent_after_an_end_that_still_waits(h2: Peer, command: str) -> None:
    stream_id = h2.get()
    h2.connection.send_response(stream_id, 200, [], bytes(100_000))
    raises(h2, COMMANDS[command], stream_id)


@pytest.mark.parametrize("command", ["data", "end", "trailers"])
def test_no_body_before_the_head(h2: Peer, command: str) -> None:
    stream_id = h2.get()
    raises(h2, COMMANDS[command], stream_id)
    h2.answer(stream_id)
    assert_alive(h2)


@pytest.mark.parametrize("command", ["headers", "response", "informational"])
def test_no_second_head(h2: Peer, command: str) -> None:
    stream_id = h2.get()
    h2.start(stream_id)
    raises(h2, COMMANDS[command], stream_id)
    h2.write(stream_id, b"fine", end=True)
    assert h2.responses[stream_id].body == b"fine"


@pytest.mark.parametrize("status", [100, 101, 103, 199])
def test_a_final_response_is_not_1xx(h2: Peer, status: int) -> None:
    stream_id = h2.get()
    raises(h2, lambda p, s: p.connection.send_headers(s, status, []), stream_id)
    raises(h2, lambda p, s: p.connection.send_response(s, status, [], b""), stream_id)


@pytest.mark.parametrize("status", [99, 101, 200, 404])
def test_an_interim_response_is_1xx_but_not_101(h2: Peer, status: int) -> None:
    """101 does not exist in HTTP/2 (§8.6)."""
    raises(h2, lambda p, s: p.connection.send_informational(s, status, []), h2.get())


def test_a_tunnel_needs_an_extended_connect(h2: Peer) -> None:
    raises(h2, lambda p, s: p.connection.accept_tunnel(s, []), h2.get())
