from __future__ import annotations

import base64

import pytest

from hyperserver.errors import LocalProtocolError, RemoteProtocolError
from hyperserver.protocol.events import Headers, RequestReceived
from hyperserver.protocol.websocket.deflate import DeflateOptions
from hyperserver.protocol.websocket.handshake import Handshake, HandshakeRefused, read_handshake

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
VERSIONS = ("1.1", "2")


def request(
    *extra: tuple[bytes, bytes],
    http: str = "1.1",
    method: str | None = None,
    keys: tuple[bytes, ...] | None = None,
    versions: tuple[bytes, ...] = (b"13",),
) -> RequestReceived:
    if keys is None:
        keys = (KEY,) if http == "1.1" else ()
    headers: Headers = [(b"host", b"example.org")]
    headers += [(b"sec-websocket-key", key) for key in keys]
    headers += [(b"sec-websocket-version", version) for version in versions]
    headers += extra
    return RequestReceived(
        stream_id=1,
        method=method or ("GET" if http == "1.1" else "CONNECT"),
        target=b"/chat",
        headers=headers,
        http_version=http,
        scheme="http",
        authority=b"example.org",
        protocol="websocket",
        end_stream=False,
    )


def refusal(refused: RequestReceived) -> HandshakeRefused:
    with pytest.raises(HandshakeRefused) as caught:
        read_handshake(refused, DeflateOptions())
    assert isinstance(caught.value, RemoteProtocolError) and caught.value.reason
    return caught.value


def accept(accepted: RequestReceived, deflate: DeflateOptions | None = None) -> Handshake:
    return read_handshake(accepted, deflate)


# ---- HTTP/1.1 -----------------------------------------------------------------------------


def test_the_proof_is_that_of_the_rfc() -> None:
    """RFC 6455 §1.3."""
    response = accept(request()).response(None, [])
    assert response == [(b"sec-websocket-accept", b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")]


@pytest.mark.parametrize("method", ["POST", "HEAD", "PUT", "CONNECT", "get"])
def test_only_get_opens_a_websocket(method: str) -> None:
    refused = refusal(request(method=method))
    assert refused.status == 405
    assert (b"allow", b"GET") in refused.headers


@pytest.mark.parametrize(
    "keys",
    [
        (),
        (b"",),
        (KEY, KEY),
        (KEY, base64.b64encode(bytes(16))),
        (base64.b64encode(bytes(15)),),
        (base64.b64encode(bytes(17)),),
        (base64.b64encode(bytes(18)),),
        (KEY.rstrip(b"="),),
        (KEY[:-1],),
        (KEY + b"=",),
        (KEY + KEY,),
        (b"dGhlIHNhbXBsZSBub25jZQ==AAAA",),
        (b"dGhlIHNhbXBsZSBub25!ZQ==",),
        (b"dGhlIHNhbXBs ZSBub25jZQ==",),
        (b"-_hlIHNhbXBsZSBub25jZQ==",),  # base64url is another alphabet
        (b"\xe9" * 24,),
        (KEY + b", " + KEY,),
    ],
)
def test_the_key_is_16_bytes_in_base64_exactly_once(keys: tuple[bytes, ...]) -> None:
    assert refusal(request(keys=keys)).status == 400


@pytest.mark.parametrize("key", [bytes(16), bytes(range(16)), b"\xff" * 16])
def test_any_16_bytes_are_a_key(key: bytes) -> None:
    assert accept(request(keys=(base64.b64encode(key),))).accept


WRONG_VERSIONS = ((), (b"",), (b"8",), (b"12",), (b"14",), (b"013",), (b"13", b"13"), (b"13, 8",))


@pytest.mark.parametrize("versions", WRONG_VERSIONS)
def test_another_version_is_told_which_is_spoken(versions: tuple[bytes, ...]) -> None:
    """RFC 6455 §4.4; a 426 names what to upgrade to (RFC 9110 §15.5.22)."""
    refused = refusal(request(versions=versions))
    assert refused.status == 426
    assert sorted(refused.headers) == [
        (b"sec-websocket-version", b"13"),
        (b"upgrade", b"websocket"),
    ]


# ---- HTTP/2 (RFC 8441) --------------------------------------------------------------------


@pytest.mark.parametrize("versions", WRONG_VERSIONS)
def test_http2_has_no_upgrade_to_ask_for(versions: tuple[bytes, ...]) -> None:
    refused = refusal(request(http="2", versions=versions))
    assert refused.status == 400
    assert refused.headers == [(b"sec-websocket-version", b"13")]


def test_http2_needs_no_key_and_gives_no_proof() -> None:
    """RFC 8441 §5: Sec-WebSocket-Key and -Accept are not used."""
    assert accept(request(http="2")).response(None, []) == []
    assert accept(request(http="2", keys=(b"junk",))).response(None, []) == []


# ---- subprotocols -------------------------------------------------------------------------


@pytest.mark.parametrize("http", VERSIONS)
@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([], []),
        ([b"chat"], ["chat"]),
        ([b"b, a"], ["b", "a"]),
        ([b"c", b"b,a", b"d"], ["c", "b", "a", "d"]),
        ([b" , x ,,\ty\t, "], ["x", "y"]),
        ([b""], []),
    ],
)
def test_all_lines_of_subprotocols_in_order(
    http: str, lines: list[bytes], expected: list[str]
) -> None:
    extra = [(b"sec-websocket-protocol", line) for line in lines]
    extra.insert(1, (b"x-between", b"1"))
    assert accept(request(*extra, http=http)).subprotocols == expected


@pytest.mark.parametrize("http", VERSIONS)
def test_the_chosen_subprotocol_is_named_once(http: str) -> None:
    offered = accept(request((b"sec-websocket-protocol", b"a, b"), http=http))
    fields = offered.response("b", [(b"X-App", b"1"), (b"set-cookie", b"c=1")])
    assert [value for name, value in fields if name == b"sec-websocket-protocol"] == [b"b"]
    assert fields[-2:] == [(b"x-app", b"1"), (b"set-cookie", b"c=1")]
    assert b"sec-websocket-protocol" not in dict(offered.response(None, []))


@pytest.mark.parametrize("http", VERSIONS)
@pytest.mark.parametrize("chosen", ["c", "", "A", "a, b", "a "])
def test_a_subprotocol_that_was_not_offered(http: str, chosen: str) -> None:
    offered = accept(request((b"sec-websocket-protocol", b"a, b"), http=http))
    with pytest.raises(LocalProtocolError, match="subprotocol"):
        offered.response(chosen, [])


# ---- the application's own fields ---------------------------------------------------------


@pytest.mark.parametrize("http", VERSIONS)
@pytest.mark.parametrize(
    "name",
    [
        b"sec-websocket-accept",
        b"sec-websocket-extensions",
        b"sec-websocket-protocol",
        b"Sec-WebSocket-Protocol",
        b"sec-websocket-version",
        b"sec-websocket-key",
        b"connection",
        b"Upgrade",
        b"transfer-encoding",
        b"content-length",
        b":status",
        b":protocol",
        b"",
        b"a b",
    ],
)
def test_fields_that_are_not_the_applications(http: str, name: bytes) -> None:
    offered = accept(request((b"sec-websocket-protocol", b"a"), http=http))
    with pytest.raises(LocalProtocolError):
        offered.response("a", [(name, b"1")])


def test_an_application_cannot_inject_lines() -> None:
    with pytest.raises(LocalProtocolError):
        accept(request()).response(None, [(b"x", b"1\r\nset-cookie: a=b")])


# ---- extensions ---------------------------------------------------------------------------


def extensions(*lines: bytes, deflate: DeflateOptions | None, http: str = "1.1") -> bytes | None:
    extra = ((b"sec-websocket-extensions", line) for line in lines)
    fields = accept(request(*extra, http=http), deflate).response(None, [])
    return dict(fields).get(b"sec-websocket-extensions")


@pytest.mark.parametrize("http", VERSIONS)
def test_nothing_is_answered_that_was_not_offered(http: str) -> None:
    assert extensions(deflate=DeflateOptions(), http=http) is None
    assert extensions(b"x-webkit-deflate-frame", deflate=DeflateOptions(), http=http) is None
    assert extensions(b"permessage-deflate", deflate=None, http=http) is None


@pytest.mark.parametrize("http", VERSIONS)
def test_offers_in_several_lines_are_one_list(http: str) -> None:
    """RFC 6455 §9.1."""
    answer = extensions(
        b"permessage-deflate; unheard-of, other",
        b"permessage-deflate; server_max_window_bits=10",
        b"permessage-deflate",
        deflate=DeflateOptions(15),
        http=http,
    )
    assert answer == b"permessage-deflate; server_max_window_bits=10"


@pytest.mark.parametrize("http", VERSIONS)
def test_an_offer_that_cannot_be_met_does_not_harm_the_handshake(http: str) -> None:
    line = b"permessage-deflate; server_max_window_bits=8"
    assert extensions(line, deflate=DeflateOptions(), http=http) is None
