"""The one validator: methods, targets, authorities, names and values."""

from __future__ import annotations

import pytest

from hyperserver.errors import LocalProtocolError, RemoteProtocolError
from hyperserver.protocol import fields

EVERY_BYTE = [bytes([c]) for c in range(256)]
TCHARS = set(b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")


def status_of(error: pytest.ExceptionInfo[RemoteProtocolError]) -> int:
    return error.value.status


# ---- names and values ---------------------------------------------------------------------


def test_a_token_is_made_of_tchar_only() -> None:
    assert [b for b in EVERY_BYTE if fields.is_token(b)] == [
        b for b in EVERY_BYTE if b[0] in TCHARS
    ]
    assert not fields.is_token(b"")
    assert not fields.is_token(b"a b")


def test_a_field_value_has_no_control_byte_but_tab() -> None:
    refused = [b[0] for b in EVERY_BYTE if not fields.is_field_value(b"a" + b + b"a")]
    assert refused == [c for c in (*range(0x20), 0x7F) if c != 9]
    assert fields.is_field_value(b"")


def test_response_fields_are_pairs_with_lower_case_names() -> None:
    given = [(b"X-A", b"1"), [b"x-a", b"2 \xe9"], (b"ETag", b"")]
    assert fields.response_fields(given) == [(b"x-a", b"1"), (b"x-a", b"2 \xe9"), (b"etag", b"")]
    assert fields.response_fields(iter(given[:1])) == [(b"x-a", b"1")]


@pytest.mark.parametrize(
    "bad",
    [
        (b"", b"x"),
        (b":status", b"200"),
        (b"a b", b"x"),
        (b"a:", b"x"),
        (b"a\r\nb", b"x"),
        (b"\xe9", b"x"),
        (b"x", b"a\r\nb: c"),
        (b"x", b"a\nb"),
        (b"x", b"a\rb"),
        (b"x", b"a\x00"),
        (b"x", b"\x7f"),
        ("x", b"y"),
        (b"x", "y"),
        ("content-type", "text/plain"),
        (b"x", 1),
        (b"x", None),
        (1, b"x"),
        (b"x",),
        (b"x", b"y", b"z"),
        b"xy",
        None,
        7,
    ],
)
def test_response_fields_refuse(bad: object) -> None:
    for _ in range(2):  # nothing bad is remembered as good
        with pytest.raises(LocalProtocolError):
            fields.response_fields([(b"ok", b"ok"), bad])  # type: ignore[list-item]


@pytest.mark.parametrize("headers", [None, 5, (b"x", b"y"), {b"x": b"y"}])
def test_response_fields_must_be_a_list_of_pairs(headers: object) -> None:
    with pytest.raises(LocalProtocolError):
        fields.response_fields(headers)  # type: ignore[arg-type]


def test_names_are_remembered_within_bounds() -> None:
    for i in range(5000):
        fields.response_fields([(b"X-%d" % i, b"")])
    assert len(fields._names) <= 1024
    assert fields.response_fields([(b"X-0", b"")]) == [(b"x-0", b"")]


@pytest.mark.parametrize(
    "name",
    [b"Content-Length", b"transfer-encoding", b"Host", b"Trailer", b"Connection", b"Set-Cookie",
     b"Authorization", b"Content-Type", b"Content-Range", b"Cache-Control", b"TE"],
)  # fmt: skip
def test_trailers_carry_nothing_that_steers(name: bytes) -> None:
    with pytest.raises(LocalProtocolError):
        fields.trailer_fields([(b"x", b"y"), (name, b"1")])


def test_trailer_fields_are_checked_like_any_others() -> None:
    assert fields.trailer_fields([(b"X-Sum", b"1")]) == [(b"x-sum", b"1")]
    with pytest.raises(LocalProtocolError):
        fields.trailer_fields([(b":x", b"1")])


@pytest.mark.parametrize(
    "field",
    [(b"X", b"y"), (b"", b"y"), (b"a b", b""), (b"x", b" y"), (b"x", b"y\t"), (b"x", b"\x00")],
)
def test_http2_request_headers_refuse(field: tuple[bytes, bytes]) -> None:
    with pytest.raises(RemoteProtocolError):
        fields.check_request_headers([(b"ok", b"ok"), field])


def test_http2_request_headers_accept() -> None:
    fields.check_request_headers([(b"x-1", b"a \xe9\tb"), (b"x", b"")])


# ---- the request line ---------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "get", "BREW", "M-SEARCH", "!"])
def test_methods_are_tokens(method: str) -> None:
    assert fields.request_method(method.encode()) == method


@pytest.mark.parametrize("raw", [b"", b"G T", b"GET\x00", b"G\xc9T", b"GET,"])
def test_what_is_not_a_method(raw: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        fields.request_method(raw)


@pytest.mark.parametrize(
    ("method", "raw", "expected"),
    [
        ("GET", b"/", (b"/", None)),
        ("GET", b"/a%00?b=/?", (b"/a%00?b=/?", None)),
        ("GET", b"//a", (b"//a", None)),
        ("OPTIONS", b"*", (b"*", None)),
        ("GET", b"http://a", (b"/", b"a")),
        ("GET", b"http://a?q", (b"/?q", b"a")),
        ("GET", b"HTTPS://A:1/p?q", (b"/p?q", b"A:1")),
        ("OPTIONS", b"http://a", (b"*", b"a")),
        ("OPTIONS", b"http://a/", (b"/", b"a")),
        ("OPTIONS", b"http://a?q", (b"/?q", b"a")),
    ],
)
def test_targets(method: str, raw: bytes, expected: tuple[bytes, bytes | None]) -> None:
    assert fields.request_target(method, raw) == expected


@pytest.mark.parametrize(
    "raw",
    [b"", b"*", b"a", b"a/b", b"a:80", b"?q", b"http:/a", b"http://", b"http:///", b"http://:1",
     b"ws://a/", b"http://a@b/", b"http://a\\b/", b"/#", b"/ ", b"/\t", b"/\x80", b"/\n"],
)  # fmt: skip
def test_what_is_not_a_target(raw: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        fields.request_target("GET", raw)


@pytest.mark.parametrize(
    "value",
    [b"", b"a", b"a.b-c_d~e", b"a:", b"a:65535", b"1.2.3.4:1", b"[::1]", b"[::ffff:1.2.3.4]:1",
     b"[v1.a:b]", b"%41", b"a!$&'()*+,;=", b":80"],
)  # fmt: skip
def test_authorities(value: bytes) -> None:
    fields.check_authority(value)
    fields.check_authority(value)


@pytest.mark.parametrize(
    "value",
    [b"a/b", b"a b", b"u@a", b"a:b", b"a:1:2", b"a:123456", b"[::1", b"[]", b"[g]", b"[::1]a",
     b"%4", b"%zz", b"a\n", b"\xe9", b"a?", b"a#", b'"a"', b"<", b"a\\"],
)  # fmt: skip
def test_what_is_not_an_authority(value: bytes) -> None:
    for _ in range(2):
        with pytest.raises(RemoteProtocolError):
            fields.check_authority(value)


def test_authorities_are_remembered_within_bounds() -> None:
    for i in range(5000):
        fields.check_authority(b"host-%d" % i)
    assert len(fields._authorities) <= 1024


# ---- steering fields ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "length"), [(b"0", 0), (b"007", 7), (b"9" * 19, 9_999_999_999_999_999_999)]
)
def test_content_length(value: bytes, length: int) -> None:
    assert fields.content_length(value) == length


@pytest.mark.parametrize(
    "value", [b"", b"+1", b"-1", b"1 ", b" 1", b"0x1", b"1_0", b"1,1", b"\xb2", b"1" * 20]
)
def test_what_is_not_a_content_length(value: bytes) -> None:
    with pytest.raises(RemoteProtocolError) as error:
        fields.content_length(value)
    assert status_of(error) == 400


@pytest.mark.parametrize(
    ("value", "expected"),
    [(b"", []), (b",\t, ", []), (b"A", [b"a"]), (b"a ,\tB,,c d", [b"a", b"b", b"c d"])],
)
def test_tokens(value: bytes, expected: list[bytes]) -> None:
    assert fields.tokens(value) == expected


def test_expect() -> None:
    assert fields.expects_continue(b"100-Continue")
    with pytest.raises(RemoteProtocolError) as error:
        fields.expects_continue(b"102-processing")
    assert status_of(error) == 417


# ---- what is remembered ---------------------------------------------------------------------


def test_responses_that_are_alike_share_their_fields() -> None:
    given = [(b"X-Alike", b"1"), (b"content-length", b"3")]
    first, *others = [fields.response_fields(given) for _ in range(4)]
    assert all(other == first for other in others)
    assert others[-1] is others[-2]


def test_fields_that_are_new_each_time_leave_no_response_behind() -> None:
    before = len(fields._known_responses)
    for i in range(100):
        fields.response_fields([(b"x-unlike", b"%d" % i)])
    assert len(fields._known_responses) == before


def test_remembered_responses_are_bounded() -> None:
    pairs = [(b"x-bound", b"%d" % i) for i in range(40)]
    for a in pairs:
        for b in pairs:
            fields.response_fields([a, b])
            assert len(fields._known_responses) <= 256
    many = pairs[:33]
    assert fields.response_fields(many) is not fields.response_fields(many)


def test_a_length_that_is_added_is_added_to_a_copy() -> None:
    for _ in range(4):
        found = fields.response_fields([(b"x-whole", b"1")])
        sized = found.with_content_length(7)
        assert (found, found.content_length) == ([(b"x-whole", b"1")], None)
        assert sized == [(b"x-whole", b"1"), (b"content-length", b"7")]
        assert (sized.content_length, sized.steers) == (7, False)


def test_fields_in_lists_are_as_good_as_in_tuples() -> None:
    for _ in range(3):
        assert fields.response_fields([[b"X-List", b"1"]]) == [(b"x-list", b"1")]


def test_a_content_length_is_added_to_a_copy() -> None:
    given = fields.response_fields([(b"a", b"b")])
    for length in (3, 3, 4, 3):
        longer = given.with_content_length(length)
        assert longer == [(b"a", b"b"), (b"content-length", b"%d" % length)]
        assert longer.content_length == length
    assert given == [(b"a", b"b")]
    assert given.content_length is None
