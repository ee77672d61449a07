"""What a good HTTP/2 request becomes, and which ones the engine answers itself."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from hyperserver.protocol.events import (
    DataReceived,
    RequestReceived,
    RequestRefused,
    TrailersReceived,
)
from hyperserver.protocol.interface import HTTP2Options, Limits
from tests.engines import h2_frames as wire
from tests.engines.h2_frames import (
    AUTHORITY,
    ENHANCE_YOUR_CALM,
    PROTOCOL_ERROR,
    REFUSED_STREAM,
    Field,
    Fields,
    head,
)
from tests.engines.h2_peer import (
    Peer,
    assert_alive,
    assert_connection_error,
    assert_malformed,
    assert_refused,
)

Open = Callable[..., Peer]

HOST = (b"host", AUTHORITY)


# ---- heads --------------------------------------------------------------------------------


def test_a_get_is_one_event(h2_fed: Peer) -> None:
    h2_fed.get(b"/a%20b?c=d?e", (b"accept", b"*/*"))
    assert h2_fed.news() == [
        RequestReceived(
            stream_id=1,
            method="GET",
            target=b"/a%20b?c=d?e",
            headers=[HOST, (b"accept", b"*/*")],
            http_version="2",
            scheme="https",
            authority=AUTHORITY,
            protocol=None,
            end_stream=True,
        )
    ]


@pytest.mark.parametrize("method", [b"HEAD", b"DELETE", b"BREW", b"get", b"M-SEARCH"])
def test_methods_pass_as_they_are(h2: Peer, method: bytes) -> None:
    h2.open(head(method))
    assert [r.method for r in h2.requests] == [method.decode()]


def test_options_may_ask_about_the_server_itself(h2: Peer) -> None:
    h2.open(head(b"OPTIONS", b"*"))
    assert [r.target for r in h2.requests] == [b"*"]


@pytest.mark.parametrize("path", [b"/", b"//", b"/?", b"/%00/%ff", b"/../..", b"/a|b^c{}", b"/*"])
def test_paths_are_not_normalised(h2: Peer, path: bytes) -> None:
    h2.get(path)
    assert [r.target for r in h2.requests] == [path]


def test_the_scheme_is_the_transports(h2_with: Open) -> None:
    """What a client writes into :scheme is not to be relied on."""
    peer = h2_with(scheme="http")
    peer.open(head(scheme=b"https"))
    peer.open(head(scheme=b"http"))
    assert [r.scheme for r in peer.requests] == ["http", "http"]


def test_fields_keep_order_repeats_and_octets(h2_fed: Peer) -> None:
    fields = [
        (b"x-b", b"1"),
        (b"x-a", b"caf\xe9 \xff"),
        (b"x-b", b""),
        (b"x-b", b"a\tb  c"),
        (b"!#$%&'*+-.^_`|~09az", b"token"),
    ]
    h2_fed.get(b"/", *fields)
    assert h2_fed.requests[0].headers == [HOST, *fields]


def test_pseudo_fields_come_in_any_order(h2: Peer) -> None:
    h2.open(list(reversed(head(b"GET", b"/x"))))
    assert [(r.method, r.target) for r in h2.requests] == [("GET", b"/x")]


def test_the_authority_stands_first_as_host(h2: Peer) -> None:
    h2.get(b"/", (b"x", b"y"))
    assert h2.requests[0].headers == [HOST, (b"x", b"y")]


def test_an_equal_host_is_not_repeated(h2: Peer) -> None:
    h2.get(b"/", (b"x", b"y"), HOST)
    (request,) = h2.requests
    assert request.headers == [HOST, (b"x", b"y")]
    assert request.authority == AUTHORITY


def test_host_stands_in_for_a_missing_authority(h2: Peer) -> None:
    """As when a proxy has translated HTTP/1.1's origin-form (RFC 9113 §8.3.1)."""
    h2.open(head(b"GET", b"/", (b"x", b"y"), HOST, authority=None))
    (request,) = h2.requests
    assert request.authority == AUTHORITY
    assert sorted(request.headers) == [HOST, (b"x", b"y")]


@pytest.mark.parametrize("authority", [b"a:8443", b"[::1]:80", b"xn--a.example", b"127.0.0.1"])
def test_authorities(h2: Peer, authority: bytes) -> None:
    h2.open(head(authority=authority))
    (request,) = h2.requests
    assert (request.authority, request.headers) == (authority, [(b"host", authority)])


def test_neither_authority_nor_host(h2: Peer) -> None:
    """HTTP/1.1 answers 400 to a request without Host (RFC 9112 §3.2); so do we here."""
    assert_refused(h2, h2.open(head(authority=None)), 400)


@pytest.mark.parametrize("host", [b"other.example", b"example.org:443", b""])
def test_host_must_agree_with_the_authority(h2: Peer, host: bytes) -> None:
    assert_malformed(h2, h2.open(head(b"GET", b"/", (b"host", host))))


def test_two_hosts(h2: Peer) -> None:
    stream_id = h2.open(head(b"GET", b"/", HOST, (b"host", b"b.example"), authority=None))
    assert h2.requests == []
    assert h2.responses[stream_id].reset == PROTOCOL_ERROR or h2.refusals[0].status == 400
    assert_alive(h2)


@pytest.mark.parametrize("authority", [b"", b"a/b", b"user@a", b"a b", b"a:b", b"[::1"])
def test_authorities_that_are_none(h2: Peer, authority: bytes) -> None:
    """Malformed, or a 400 as in HTTP/1: no application sees it, nobody else suffers."""
    for fields in (
        head(authority=authority),
        head(b"GET", b"/", (b"host", authority), authority=None),
    ):
        stream_id = h2.open(fields)
        assert h2.requests == []
        response = h2.responses[stream_id]
        assert response.reset == PROTOCOL_ERROR or response.status == 400
    assert_alive(h2)


def test_cookie_crumbs_are_joined(h2_fed: Peer) -> None:
    """One field joined with "; " (§8.2.3), whatever stands between the crumbs."""
    h2_fed.get(b"/", (b"cookie", b"a=b"), (b"x", b"y"), (b"cookie", b"c=d; e"), (b"cookie", b"f"))
    headers = h2_fed.requests[0].headers
    assert [value for name, value in headers if name == b"cookie"] == [b"a=b; c=d; e; f"]
    assert (b"x", b"y") in headers
    assert headers[0] == HOST


def test_a_whole_cookie_is_left_alone(h2: Peer) -> None:
    h2.get(b"/", (b"cookie", b"a=b; c=d"), (b"x", b"y"))
    assert h2.requests[0].headers == [HOST, (b"cookie", b"a=b; c=d"), (b"x", b"y")]


@pytest.mark.parametrize("value", [b"trailers", b"Trailers"])
def test_te_may_say_trailers(h2: Peer, value: bytes) -> None:
    h2.get(b"/", (b"te", value))
    assert (b"te", value) in h2.requests[0].headers


def test_the_table_carries_fields_from_request_to_request(h2_fed: Peer) -> None:
    for number in range(20):
        h2_fed.get(b"/%d" % number, (b"x-fixed", b"f" * 100), (b"x-varied", b"%d" % number))
    assert [r.target for r in h2_fed.requests] == [b"/%d" % n for n in range(20)]
    assert all((b"x-fixed", b"f" * 100) in r.headers for r in h2_fed.requests)


# ---- streams ------------------------------------------------------------------------------


def test_streams_are_independent(h2_fed: Peer) -> None:
    first, second = h2_fed.post(), h2_fed.post()
    h2_fed.data(second, b"2a")
    h2_fed.data(first, b"1a")
    third = h2_fed.get()
    h2_fed.data(second, b"2b", end=True)
    h2_fed.answer(third, b"3")
    h2_fed.answer(second, b"2")
    h2_fed.data(first, b"1b", end=True)
    h2_fed.answer(first, b"1")
    assert [h2_fed.body(s) for s in (first, second, third)] == [b"1a1b", b"2a2b", b""]
    assert [h2_fed.responses[s].body for s in (first, second, third)] == [b"1", b"2", b"3"]
    assert all(h2_fed.ended(s) for s in (first, second, third))


def test_stream_ids_may_be_skipped(h2: Peer) -> None:
    for stream_id in (3, 9, 2**31 - 1):
        h2.open(head(), stream_id=stream_id)
        h2.answer(stream_id)
    assert [r.stream_id for r in h2.requests] == [3, 9, 2**31 - 1]
    assert not h2.goaways or h2.goaways[-1].error == 0


def test_a_thousand_requests_on_one_connection(h2: Peer) -> None:
    for _ in range(1000):
        h2.answer(h2.get(), b"x")
    assert len(h2.requests) == 1000
    assert_alive(h2)


def test_streams_above_the_limit_are_refused_and_only_they(h2_with: Open) -> None:
    """REFUSED_STREAM tells the client that a retry is safe (§8.7)."""
    peer = h2_with(options=HTTP2Options(max_concurrent_streams=3))
    served = [peer.get(b"/", (b"x-new", b"%d" % n)) for n in range(3)]
    refused = [peer.get(b"/", (b"x-new", b"%d" % n)) for n in range(3, 6)]
    assert [r.stream_id for r in peer.requests] == served
    assert [peer.responses[s].reset for s in refused] == [REFUSED_STREAM] * 3
    assert peer.refusals == []
    for stream_id in served:
        peer.answer(stream_id)
    assert all(peer.responses[s].complete for s in served)
    assert_alive(peer)


def test_the_body_of_a_refused_stream_is_ignored_and_credited(h2_with: Open) -> None:
    peer = h2_with(options=HTTP2Options(max_concurrent_streams=1))
    peer.get()
    before = peer.credit(0)
    for _ in range(20):
        peer.upload(peer.post(), 100_000)
    assert len(peer.requests) == 1
    assert peer.credit(0) >= before // 2
    assert not peer.goaways


def test_a_place_is_free_once_the_response_is_sent(h2_with: Open) -> None:
    """What its application does afterwards the client cannot see, and is not refused for."""
    peer = h2_with(options=HTTP2Options(max_concurrent_streams=1))
    for _ in range(300):
        stream_id = peer.get()
        peer.connection.send_response(stream_id, 204, [], b"")
        assert peer.responses[stream_id].complete
    assert_alive(peer)


def test_a_stream_that_was_reset_has_its_place_until_the_call_has_ended(h2_with: Open) -> None:
    peer = h2_with(options=HTTP2Options(max_concurrent_streams=1))
    stream_id = peer.get()
    peer.reset(stream_id)
    refused = peer.get()
    assert peer.responses[refused].reset == REFUSED_STREAM
    peer.release(stream_id)
    assert_alive(peer)


# ---- bodies -------------------------------------------------------------------------------


def test_a_body_in_frames(h2_fed: Peer) -> None:
    stream_id = h2_fed.post((b"content-length", b"11"))
    h2_fed.data(stream_id, b"hello ")
    h2_fed.data(stream_id, b"world")
    h2_fed.data(stream_id, b"", end=True)
    request, *rest = h2_fed.news()
    assert isinstance(request, RequestReceived)
    assert not request.end_stream
    assert rest == [DataReceived(stream_id, b"hello world", True)]


def test_a_body_that_ends_with_its_last_bytes(h2: Peer) -> None:
    stream_id = h2.post()
    h2.data(stream_id, b"all", end=True)
    assert h2.news()[1:] == [DataReceived(stream_id, b"all", True)]


def test_an_empty_body_after_all(h2: Peer) -> None:
    stream_id = h2.post()
    h2.data(stream_id, end=True)
    assert h2.news()[1:] == [DataReceived(stream_id, b"", True)]


@pytest.mark.parametrize("pad", [0, 1, 255])
def test_padding_is_not_content(h2_fed: Peer, pad: int) -> None:
    stream_id = h2_fed.post((b"content-length", b"4"))
    h2_fed.data(stream_id, b"bo", pad=pad)
    h2_fed.data(stream_id, b"dy", end=True, pad=pad)
    assert h2_fed.body(stream_id) == b"body"
    assert h2_fed.ended(stream_id)


@pytest.mark.parametrize("length", [b"0", b"00"])
def test_a_content_length_of_nothing(h2: Peer, length: bytes) -> None:
    h2.open(head(b"POST", b"/", (b"content-length", length)), end=True)
    assert [r.end_stream for r in h2.requests] == [True]


def test_a_request_may_have_a_body_whatever_its_method(h2: Peer) -> None:
    stream_id = h2.open(head(), end=False)
    h2.data(stream_id, b"odd", end=True)
    assert h2.body(stream_id) == b"odd"


def test_trailers_end_the_request(h2_fed: Peer) -> None:
    stream_id = h2_fed.post()
    h2_fed.data(stream_id, b"body")
    h2_fed.trailers(stream_id, (b"x-sum", b"1"), (b"x-sum", b"2"))
    assert h2_fed.news()[1:] == [
        DataReceived(stream_id, b"body", False),
        TrailersReceived(stream_id, [(b"x-sum", b"1"), (b"x-sum", b"2")]),
    ]
    h2_fed.answer(stream_id)
    assert h2_fed.responses[stream_id].reset is None


def test_trailers_without_a_body(h2: Peer) -> None:
    stream_id = h2.post((b"content-length", b"0"))
    h2.trailers(stream_id, (b"x", b"y"))
    assert h2.news()[1:] == [TrailersReceived(stream_id, [(b"x", b"y")])]


def test_empty_trailers_are_an_end(h2: Peer) -> None:
    stream_id = h2.post()
    h2.trailers(stream_id)
    assert h2.ended(stream_id)


# ---- what the engine refuses --------------------------------------------------------------


def refusal(peer: Peer) -> RequestRefused:
    (refused,) = peer.refusals
    return refused


def test_a_refusal_is_told_with_what_is_known(h2_with: Open) -> None:
    peer = h2_with(limits=Limits(max_body_size=10))
    stream_id = peer.open(head(b"PUT", b"/big", (b"content-length", b"11")), end=False)
    refused = refusal(peer)
    assert (refused.stream_id, refused.status) == (stream_id, 413)
    assert (refused.method, refused.target, refused.http_version) == ("PUT", b"/big", "2")
    assert peer.responses[stream_id].complete


def test_an_error_response_is_whole(h2_with: Open) -> None:
    peer = h2_with(limits=Limits(max_body_size=10))
    stream_id = peer.post((b"content-length", b"11"))
    response = peer.responses[stream_id]
    assert response.get(b"content-length") == b"%d" % len(response.body)
    assert (response.complete, response.reset) == (True, wire.NO_ERROR)  # the body is not awaited
    assert_refused(peer, stream_id, 413)


def test_a_refused_head_has_no_body(h2_with: Open) -> None:
    peer = h2_with(limits=Limits(max_target_size=10))
    stream_id = peer.open(head(b"HEAD", b"/" + b"x" * 10))
    assert peer.responses[stream_id].body == b""
    assert_refused(peer, stream_id, 414)


@pytest.mark.parametrize("size", [10, 11])
def test_targets_have_a_limit(h2_with: Open, size: int) -> None:
    peer = h2_with(limits=Limits(max_target_size=10))
    stream_id = peer.get(b"/" + b"x" * (size - 1))
    if size > 10:
        assert_refused(peer, stream_id, 414)
    else:
        assert len(peer.requests) == 1


@pytest.mark.parametrize("size", [10, 11])
def test_announced_bodies_have_a_limit(h2_with: Open, size: int) -> None:
    peer = h2_with(limits=Limits(max_body_size=10))
    stream_id = peer.post((b"content-length", b"%d" % size))
    if size > 10:
        assert_refused(peer, stream_id, 413)
    else:
        peer.data(stream_id, bytes(size), end=True)
        assert peer.ended(stream_id)


def test_unannounced_bodies_have_a_limit(h2_with: Open) -> None:
    """The application has the request already: it loses the stream, the client reads 413."""
    peer = h2_with(limits=Limits(max_body_size=10))
    stream_id = peer.post()
    peer.data(stream_id, bytes(10))
    assert peer.closed == {}
    peer.data(stream_id, b"x")
    assert peer.closed[stream_id].status == 413
    assert peer.responses[stream_id].status == 413
    assert len(peer.body(stream_id)) <= 10
    peer.release(stream_id)
    assert_alive(peer)


def test_a_body_too_large_after_the_response_began_is_cut(h2_with: Open) -> None:
    peer = h2_with(limits=Limits(max_body_size=10))
    stream_id = peer.post()
    peer.start(stream_id)
    peer.data(stream_id, bytes(11))
    assert peer.closed[stream_id].status == 0
    assert peer.responses[stream_id].status == 200
    assert peer.responses[stream_id].reset is not None
    assert not peer.responses[stream_id].complete
    peer.release(stream_id)
    assert_alive(peer)


def test_a_field_section_too_large_is_431(h2_with: Open) -> None:
    """And the state of compression survives: the block was decoded, not skipped (§10.5.1)."""
    peer = h2_with(limits=Limits(max_head_size=4000))
    stream_id = peer.get(b"/", (b"x-known", b"k" * 100), (b"x-large", b"l" * 6000))
    assert_refused(peer, stream_id, 431)
    again = peer.get(b"/", (b"x-known", b"k" * 100))
    assert (b"x-known", b"k" * 100) in peer.requests[-1].headers
    peer.answer(again)


def test_a_large_section_in_small_fields_is_431(h2_fed: Peer) -> None:
    stream_id = h2_fed.get(b"/", *[(b"x%d" % n, b"v" * 1000) for n in range(90)])
    assert_refused(h2_fed, stream_id, 431)


def test_a_far_larger_section_ends_the_connection(h2_with: Open) -> None:
    """Decoding has to end somewhere (RFC 9113 §10.5.1)."""
    peer = h2_with(limits=Limits(max_head_size=4000))
    peer.get(b"/", (b"x", b"~" * 40_000))
    assert peer.requests == []
    assert_connection_error(peer, ENHANCE_YOUR_CALM)


@pytest.mark.parametrize("count", [5, 50])
def test_field_sections_have_a_limit_in_number(h2_with: Open, count: int) -> None:
    peer = h2_with(limits=Limits(max_fields=20))
    stream_id = peer.get(b"/", *[(b"x%d" % n, b"") for n in range(count)])
    if count > 20:
        assert_refused(peer, stream_id, 431)
    else:
        assert len(peer.requests) == 1


@pytest.mark.parametrize("trailer", [(b"x", b"y" * 6000)])
def test_trailers_have_a_limit_too(h2_with: Open, trailer: tuple[bytes, bytes]) -> None:
    peer = h2_with(limits=Limits(max_head_size=4000))
    stream_id = peer.post()
    peer.trailers(stream_id, trailer)
    assert stream_id in peer.closed
    assert not peer.ended(stream_id)
    response = peer.responses[stream_id]
    assert response.status == 431 or response.reset not in {None, wire.NO_ERROR}
    peer.release(stream_id)
    assert_alive(peer)


def test_an_expectation_is_the_applications_business(h2: Peer) -> None:
    stream_id = h2.post((b"expect", b"100-continue"), (b"content-length", b"2"))
    assert (b"expect", b"100-continue") in h2.requests[0].headers
    assert h2.frames() == []
    h2.connection.send_informational(stream_id, 100, [])
    assert [r[0] for r in h2.responses[stream_id].interim] == [(b":status", b"100")]
    h2.data(stream_id, b"hi", end=True)
    h2.answer(stream_id)
    assert h2.responses[stream_id].status == 200


def test_another_expectation_is_417(h2: Peer) -> None:
    """As over HTTP/1 (RFC 9110 §10.1.1)."""
    assert_refused(h2, h2.post((b"expect", b"a-pony")), 417)


@pytest.mark.parametrize("fields", [head(b"CONNECT", None, scheme=None), head(b"CONNECT", None)])
def test_a_plain_connect_is_not_for_an_origin_server(h2: Peer, fields: Fields) -> None:
    """501, or malformed where :scheme is there against RFC 9113 §8.5."""
    stream_id = h2.open(fields, end=False)
    assert h2.requests == []
    if any(name == b":scheme" for name, _ in fields):
        response = h2.responses[stream_id]
        assert response.status == 501 or response.reset == PROTOCOL_ERROR
        assert_alive(h2)
    else:
        assert_refused(h2, stream_id, 501)


@pytest.mark.parametrize("end", ["data", "empty-data", "padded-data", "trailers", "reset"])
@pytest.mark.parametrize("field", [(b"content-length", b"11"), (b"expect", b"a-pony")])
def test_a_request_that_is_refused_and_ends_in_one_read(
    h2_with: Open, field: Field, end: str
) -> None:
    """The refusal is not written yet when the end is read."""
    peer = h2_with(limits=Limits(max_body_size=10))
    octets = peer.writer.headers(1, head(b"POST", b"/", field))
    if end == "trailers":
        octets += wire.data(1, bytes(11)) + peer.writer.headers(1, [(b"x", b"y")], end=True)
    elif end == "reset":
        octets += wire.reset(1)
    elif end == "data":
        octets += wire.data(1, bytes(11), end=True)
    else:
        octets += wire.data(1, bytes(11)) + wire.data(1, b"", True, 3 if end[0] == "p" else None)
    peer.send(octets)
    assert peer.requests == []
    if end != "reset":
        assert peer.responses[1].status in {413, 417}
        assert peer.responses[1].complete
        assert peer.responses[1].reset in {None, wire.NO_ERROR}
    assert_alive(peer)


def test_refusing_does_not_take_a_place(h2_with: Open) -> None:
    """No application is called, so none can hold it."""
    peer = h2_with(options=HTTP2Options(max_concurrent_streams=2))
    for _ in range(10):
        stream_id = peer.open(head(authority=None))
        assert peer.responses[stream_id].status == 400
    assert_alive(peer)
