"""Malformed requests: a stream error that no application sees and no other stream feels.

RFC 9113 §8.1.1 says what is malformed; §8.2 and §8.3 say it of fields. What a lenient server
lets through here becomes request smuggling behind a proxy that translates to HTTP/1.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.engines import h2_frames as wire
from tests.engines.h2_frames import AUTHORITY, PROTOCOL_ERROR, Field, Fields, head, websocket
from tests.engines.h2_peer import Peer, assert_alive, assert_malformed, assert_stream_error

Open = Callable[..., Peer]


def with_(*fields: Field) -> Fields:
    """A good request, plus ``fields``."""
    return head(b"GET", b"/", *fields)


FIELDS: dict[str, Fields] = {
    # names (§8.2, §8.2.1)
    "upper-case-name": with_((b"X-Upper", b"y")),
    "one-upper-case-letter": with_((b"accepT", b"*/*")),
    "empty-name": with_((b"", b"y")),
    "space-in-name": with_((b"x y", b"z")),
    "space-before-colon": with_((b"content-length ", b"0")),
    "colon-in-name": with_((b"x:y", b"z")),
    "colon-at-the-end": with_((b"x:", b"z")),
    "line-end-in-name": with_((b"x\r\ny", b"z")),
    "nul-in-name": with_((b"x\x00", b"z")),
    "tab-in-name": with_((b"x\t", b"z")),
    "delete-in-name": with_((b"x\x7f", b"z")),
    "octets-in-name": with_((b"caf\xc3\xa9", b"z")),
    "separator-in-name": with_((b"x(y)", b"z")),
    # values (§8.2.1; other control bytes by RFC 9110 §5.5)
    "nul-in-value": with_((b"x", b"a\x00b")),
    "carriage-return-in-value": with_((b"x", b"a\rb")),
    "line-feed-in-value": with_((b"x", b"a\nb")),
    "header-injection": with_((b"x", b"a\r\nhost: b")),
    "leading-space": with_((b"x", b" a")),
    "trailing-space": with_((b"x", b"a ")),
    "leading-tab": with_((b"x", b"\ta")),
    "trailing-tab": with_((b"x", b"a\t")),
    "only-a-space": with_((b"x", b" ")),
    "control-in-value": with_((b"x", b"a\x01b")),
    "delete-in-value": with_((b"x", b"a\x7fb")),
    "line-feed-in-cookie": with_((b"cookie", b"a=b\nc"), (b"cookie", b"d=e")),
    # connection-specific fields (§8.2.2)
    "connection": with_((b"connection", b"close")),
    "empty-connection": with_((b"connection", b"")),
    "keep-alive": with_((b"keep-alive", b"timeout=5")),
    "proxy-connection": with_((b"proxy-connection", b"keep-alive")),
    "transfer-encoding": with_((b"transfer-encoding", b"chunked")),
    "transfer-encoding-identity": with_((b"transfer-encoding", b"identity")),
    "upgrade": with_((b"upgrade", b"h2c")),
    "te-gzip": with_((b"te", b"gzip")),
    "te-trailers-and-more": with_((b"te", b"trailers, deflate")),
    "te-with-weight": with_((b"te", b"trailers;q=0.5")),
    # pseudo-header fields (§8.3)
    "unknown-pseudo": [*with_(), (b":foo", b"bar")],
    "response-pseudo": [*with_(), (b":status", b"200")],
    "empty-pseudo": [*with_(), (b":", b"x")],
    "upper-case-pseudo": [(b":Method", b"GET"), *head(None)],
    "pseudo-after-regular": [*head()[:3], (b"x", b"y"), head()[3]],
    "authority-after-regular": [*head(authority=None), (b"x", b"y"), (b":authority", AUTHORITY)],
    "two-methods": [(b":method", b"GET"), *head()],
    "two-schemes": [(b":scheme", b"https"), *head()],
    "two-paths": [(b":path", b"/"), *head()],
    "two-authorities": [(b":authority", AUTHORITY), *head()],
    "no-method": head(None),
    "no-scheme": head(scheme=None),
    "no-path": head(b"GET", None),
    "no-fields-at-all": [],
    "only-regular-fields": [(b"host", AUTHORITY), (b"x", b"y")],
    # their values
    "empty-method": head(b""),
    "method-with-space": head(b"GET /x HTTP/1.1"),
    "method-with-line-end": head(b"GET\r\n"),
    "method-with-octets": head(b"G\xcbT"),
    "empty-path": head(b"GET", b""),
    "relative-path": head(b"GET", b"x"),
    "path-is-a-query": head(b"GET", b"?x=y"),
    "asterisk-for-get": head(b"GET", b"*"),
    "asterisk-and-more": head(b"OPTIONS", b"*x"),
    "absolute-path": head(b"GET", b"https://example.org/"),
    "path-with-space": head(b"GET", b"/a b"),
    "path-with-trailing-space": head(b"GET", b"/a "),
    "path-injection": head(b"GET", b"/ HTTP/1.1\r\nx: y"),
    "path-with-fragment": head(b"GET", b"/a#b"),
    "path-with-nul": head(b"GET", b"/\x00"),
    "path-with-delete": head(b"GET", b"/\x7f"),
    "path-with-octets": head(b"GET", b"/caf\xc3\xa9"),
    "path-with-lone-octet": head(b"GET", b"/\xff"),
    "scheme-with-space": head(scheme=b"ht tp"),
    "scheme-injection": head(scheme=b"https\r\nx: y"),
    "authority-with-line-end": head(authority=b"a\r\nx: y"),
    # extended CONNECT (RFC 8441 §4)
    "protocol-without-connect": head(protocol=b"websocket"),
    "protocol-of-a-post": head(b"POST", b"/", protocol=b"websocket"),
    "extended-connect-without-path": head(b"CONNECT", None, protocol=b"websocket"),
    "extended-connect-without-scheme": head(b"CONNECT", b"/", scheme=None, protocol=b"websocket"),
    "extended-connect-with-empty-path": head(b"CONNECT", b"", protocol=b"websocket"),
    "two-protocols": [(b":protocol", b"websocket"), *websocket()],
    "protocol-with-line-end": head(b"CONNECT", b"/", protocol=b"websocket\r\n"),
    # framing (§8.1.1)
    "content-length-and-an-end": with_((b"content-length", b"5")),
}


@pytest.mark.parametrize("fault", FIELDS)
def test_a_malformed_head_is_a_stream_error(h2: Peer, fault: str) -> None:
    other = h2.post()
    stream_id = h2.open(FIELDS[fault])
    assert_malformed(h2, stream_id)
    h2.data(other, b"unharmed", end=True)
    assert h2.body(other) == b"unharmed"
    assert h2.ended(other)


@pytest.mark.parametrize("fault", ["upper-case-name", "no-path", "connection", "nul-in-value"])
def test_a_malformed_head_in_pieces(h2_fed: Peer, fault: str) -> None:
    assert_malformed(h2_fed, h2_fed.open(FIELDS[fault], end=False))


@pytest.mark.parametrize("fault", ["upper-case-name", "no-path", "connection", "nul-in-value"])
def test_the_table_keeps_what_a_malformed_head_put_there(h2: Peer, fault: str) -> None:
    """Whatever its meaning, the block was encoded and both ends must remember the same."""
    marks = [(b"x-mark", b"m" * 200), (b"x-more", b"n" * 200)]
    h2.open([*FIELDS[fault], *marks])
    stream_id = h2.get(b"/", *marks)
    assert h2.requests[-1].headers[1:] == marks
    h2.answer(stream_id)
    assert_alive(h2)


def test_what_follows_on_a_malformed_stream_is_ignored_and_credited(h2: Peer) -> None:
    before = h2.credit(0)
    for _ in range(10):
        stream_id = h2.open(FIELDS["upper-case-name"], end=False)
        h2.upload(stream_id, 100_000)
        h2.trailers(stream_id, (b"x", b"y"))
    assert h2.requests == []
    assert h2.credit(0) >= before // 2
    assert_alive(h2)


def test_a_malformed_stream_id_is_used_up(h2: Peer) -> None:
    stream_id = h2.open(FIELDS["upper-case-name"])
    h2.send(h2.writer.headers(stream_id, head(), end=True))
    assert h2.requests == []


@pytest.mark.parametrize(
    "lengths",
    [
        [b"+5"],
        [b"-1"],
        [b"0x5"],
        [b"1_0"],
        [b"5 5"],
        [b""],
        [b"five"],
        [b"9" * 20],
        [b"\xb2"],
        [b"5", b"6"],
        [b"5, 6"],
        [b"5;q=1"],
    ],
)
def test_a_content_length_that_is_no_number(h2: Peer, lengths: list[bytes]) -> None:
    """Malformed, or 400 as over HTTP/1; never served."""
    stream_id = h2.post(*[(b"content-length", value) for value in lengths])
    assert h2.requests == []
    response = h2.responses[stream_id]
    assert response.reset == PROTOCOL_ERROR or response.status in {400, 413}
    assert_alive(h2)


def test_equal_content_lengths_are_one_or_none(h2: Peer) -> None:
    """RFC 9110 §8.6 allows both: to refuse, or to take the one value."""
    stream_id = h2.post((b"content-length", b"5"), (b"content-length", b"5"))
    if h2.requests:
        h2.data(stream_id, b"hello!", end=True)
        assert_stream_error(h2, stream_id, PROTOCOL_ERROR)
    else:
        response = h2.responses[stream_id]
        assert response.reset == PROTOCOL_ERROR or response.status == 400
        assert_alive(h2)


# ---- bodies that contradict their content-length (§8.1.1) ---------------------------------


@pytest.mark.parametrize(
    ("length", "pieces"),
    [
        (b"5", [b"hell"]),
        (b"5", [b"hello!"]),
        (b"5", [b"hel", b"lo!"]),
        (b"5", [b""]),
        (b"0", [b"x"]),
        (b"5", [b"hello", b"!"]),
        (b"1000000", [b"x" * 16_000]),
    ],
)
def test_a_body_of_another_length(h2_fed: Peer, length: bytes, pieces: list[bytes]) -> None:
    stream_id = h2_fed.post((b"content-length", length))
    for piece in pieces[:-1]:
        h2_fed.data(stream_id, piece)
    h2_fed.data(stream_id, pieces[-1], end=True)
    assert not h2_fed.ended(stream_id)
    assert len(h2_fed.body(stream_id)) <= int(length)
    assert_stream_error(h2_fed, stream_id, PROTOCOL_ERROR)


def test_a_body_too_long_is_known_before_its_end(h2: Peer) -> None:
    stream_id = h2.post((b"content-length", b"5"))
    h2.data(stream_id, b"hello!")
    assert_stream_error(h2, stream_id, PROTOCOL_ERROR)


def test_a_body_cut_by_trailers(h2: Peer) -> None:
    stream_id = h2.post((b"content-length", b"5"))
    h2.data(stream_id, b"hell")
    h2.trailers(stream_id, (b"x", b"y"))
    assert not h2.ended(stream_id)
    assert_stream_error(h2, stream_id, PROTOCOL_ERROR)


def test_padding_does_not_make_up_a_length(h2: Peer) -> None:
    stream_id = h2.post((b"content-length", b"5"))
    h2.data(stream_id, b"hell", end=True, pad=1)
    assert_stream_error(h2, stream_id, PROTOCOL_ERROR)


def test_a_contradicted_length_after_the_response_began(h2: Peer) -> None:
    stream_id = h2.post((b"content-length", b"5"))
    h2.start(stream_id)
    h2.write(stream_id, b"so far")
    h2.data(stream_id, b"hell", end=True)
    assert_stream_error(h2, stream_id, PROTOCOL_ERROR)
    assert not h2.responses[stream_id].complete


# ---- malformed trailers -------------------------------------------------------------------

TRAILERS: dict[str, Fields] = {
    "request-pseudo": [(b":path", b"/")],
    "response-pseudo": [(b":status", b"200")],
    "unknown-pseudo": [(b"x", b"y"), (b":foo", b"bar")],
    "upper-case": [(b"X-Sum", b"1")],
    "connection": [(b"connection", b"close")],
    "transfer-encoding": [(b"transfer-encoding", b"chunked")],
    "line-feed": [(b"x", b"a\nb")],
    "nul": [(b"x", b"\x00")],
    "leading-space": [(b"x", b" y")],
    "name-with-space": [(b"x y", b"z")],
    "another-request": head(),
}


@pytest.mark.parametrize("fault", TRAILERS)
def test_malformed_trailers_are_a_stream_error(h2: Peer, fault: str) -> None:
    stream_id = h2.post()
    h2.data(stream_id, b"body")
    h2.trailers(stream_id, *TRAILERS[fault])
    assert not h2.ended(stream_id)
    assert_stream_error(h2, stream_id, PROTOCOL_ERROR)


def test_trailers_that_do_not_end_the_stream(h2_fed: Peer) -> None:
    """A second HEADERS without END_STREAM is malformed (§8.1)."""
    stream_id = h2_fed.post()
    h2_fed.data(stream_id, b"body")
    h2_fed.send(h2_fed.writer.headers(stream_id, [(b"x", b"y")], end=False))
    assert not h2_fed.ended(stream_id)
    assert_stream_error(h2_fed, stream_id, PROTOCOL_ERROR)


def test_a_second_head_is_malformed(h2: Peer) -> None:
    stream_id = h2.post()
    h2.send(h2.writer.headers(stream_id, head(), end=True))
    assert not h2.ended(stream_id)
    assert len(h2.requests) == 1
    assert_stream_error(h2, stream_id, PROTOCOL_ERROR)


def test_a_stream_that_depends_on_itself(h2: Peer) -> None:
    """RFC 7540 §5.3.1 has it so; RFC 9113 §5.3.2 leaves nothing of the scheme but its frames."""
    h2.send(h2.writer.headers(1, head(), end=True, depends=wire.dependency(1)))
    response = h2.responses[1]
    assert response.reset in {None, PROTOCOL_ERROR}
    if response.reset is None:
        h2.answer(1)
    assert_alive(h2)
