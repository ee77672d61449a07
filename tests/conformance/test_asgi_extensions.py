"""The ASGI extensions ("Extensions", and "TLS Extension"): offered where they work, and working."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Any

import pytest

from tests.conformance.peers import (
    ACCEPT,
    CLOSE,
    HTTP1,
    HTTP2,
    RETURNED,
    SEND,
    SENT,
    Exchange1,
    Peer,
    Peer1,
    Peer2,
    Served,
    Source,
    Step,
    body,
    denial,
    dial,
    hung_up,
    must_send,
    refused,
    script_field,
    sends,
    start,
    whole,
)
from tests.conftest import Certificate
from tests.e2e.http2_client import HTTP2Client
from tests.e2e.support import TLSClient
from tests.engines import h2_frames as wire

EXTENSIONS: list[Step] = [("show", "extensions"), ("reply",)]


def extensions(peer: Peer) -> dict[str, Any]:
    """What a request is offered."""
    found: dict[str, Any] = peer.ask(script=EXTENSIONS).literal[0]["extensions"]
    return found


# ---- websocket.http.response -------------------------------------------------------------------


def deny(status: int = 200, headers: Any = (), *pieces: bytes, last: bool = True) -> list[Step]:
    """A denial of so many pieces."""
    kind = "websocket.http.response."
    messages: list[dict[str, Any]] = [
        {"type": kind + "start", "status": status, "headers": list(headers)},
        *({"type": kind + "body", "body": piece, "more_body": True} for piece in pieces),
    ]
    return [("receive",), *must_send(*messages, *[{"type": kind + "body"}] * last)]


def test_a_denial_is_a_response(server: Served, version: str, key: str) -> None:
    """Section "Websocket Denial Response": as the application writes it; then the connection ends, and the
    application is told so.
    """
    headers = [(b"x-b", b"1"), (b"content-type", b"text/plain"), (b"x-a", b"2")]
    script = [("show", "extensions"), *deny(404, headers, b"not ", b"here"), ("receive",)]
    answer = denial(server, version, script, key=key)
    assert (answer.status, answer.body, answer.whole) == (404, b"not here", True)
    names = {name for name, _ in headers}
    assert [one for one in answer.fields if one[0] in names] == headers
    assert not [name for name, _ in answer.fields if name.startswith(b"sec-websocket")]
    shown, _, told, ended = server.notes(key)
    assert shown["extensions"]["websocket.http.response"] == {}
    assert told == {"type": "websocket.disconnect", "code": 1006, "reason": ""}
    assert ended == RETURNED


@pytest.mark.parametrize(
    ("script", "status", "content"),
    [
        (deny(200, [], b"\0\xff" * 5000, b"\xfe"), 200, b"\0\xff" * 5000 + b"\xfe"),
        (deny(403, [(b"content-length", b"3")], b"abc"), 403, b"abc"),
        (deny(204), 204, b""),
        (deny(500), 500, b""),
        (deny(302, [(b"location", b"/x")]), 302, b""),
    ],
    ids=["binary", "length", "204", "empty", "redirect"],
)
def test_a_denial_is_framed_as_any_response(
    server: Served, version: str, script: list[Step], status: int, content: bytes
) -> None:
    """RFC 9112 §6, RFC 8441 §5: by length, in chunks, or by END_STREAM; 204 has no body."""
    answer = denial(server, version, script)
    assert (answer.status, answer.body, answer.whole) == (status, content, True)
    if status == 204:
        assert not answer.all(b"content-length") and not answer.all(b"transfer-encoding")


def test_a_denial_that_is_cut_does_not_look_whole(server: Served, version: str) -> None:
    """An application that fails within it, as in any response."""
    script = [*deny(200, [], b"half", last=False), ("fail",)]
    answer = denial(server, version, script)
    assert (answer.status, answer.body, answer.whole) == (200, b"half", False)


def test_after_a_denial_has_begun_the_socket_is_none(
    server: Served, version: str, key: str
) -> None:
    """The text: "These messages cannot be followed by any other websocket messages"."""
    kind = "websocket.http.response."
    script = [
        *deny(401, [], last=False),
        *sends(ACCEPT, CLOSE, SEND | {"text": "x"}, {"type": kind + "start", "status": 200}),
        *must_send({"type": kind + "body", "body": b"denied"}),
    ]
    answer = denial(server, version, script, key=key)
    assert (answer.status, answer.body, answer.whole) == (401, b"denied", True)
    assert [refused(note) for note in server.notes(key)[1:5]] == [True] * 4
    # nor can it begin once the handshake has been answered
    script = [("receive",), *must_send(ACCEPT), *sends({"type": kind + "start", "status": 200})]
    with hung_up(dial(server, version, script, key=key + "2")):
        assert refused(server.notes(key + "2")[1])


# ---- http.response.push ------------------------------------------------------------------------


def push(path: Any = "/pushed", headers: Any = ()) -> dict[str, Any]:
    return {"type": "http.response.push", "path": path, "headers": headers}


def pushed(script: list[Step], key: str = "", path: str = "/pushed") -> dict[str, Any]:
    """A push of a request that runs ``script``."""
    return push(path, script_field(script, key))


@pytest.mark.parametrize("first", [True, False], ids=["before-start", "after-start"])
def test_a_push_is_a_request_of_its_own(server: Served, worker: str, key: str, first: bool) -> None:
    """Section "HTTP/2 Server Push": after the start, or before it as frameworks do; "create a new
    connection to a new instance of the application", with the authority of the first request.
    """
    more = (b"x-more", b"1")
    message = push("/über?q=1", [*script_field([("show",), *whole(b"pushed")], key), more])
    messages = [message, start()] if first else [start(), message]
    with server.peer(HTTP2) as peer:
        assert isinstance(peer, Peer2)
        answer = peer.ask(script=must_send(*messages, body(b"page")), host=b"name:8")
        (promised,) = peer.client.reader.promised
        assert answer.body == b"page"
        assert peer.client.body(promised) == b"pushed"
    scope = server.notes(key)[0]
    assert (scope["type"], scope["method"], scope["http_version"]) == ("http", "GET", "2")
    assert (scope["path"], scope["raw_path"]) == ("/über", b"/%C3%BCber")
    assert scope["query_string"] == b"q=1"
    assert scope["headers"][0] == (b"host", b"name:8")
    assert more in scope["headers"]


def test_push_is_offered_where_it_works(server: Served, worker: str) -> None:
    """The text: "If the client supports server push": by HTTP/2, unless its settings say otherwise."""
    name = "http.response.push"
    with server.peer(HTTP1) as peer:
        assert name not in extensions(peer)
    with server.peer(HTTP2, settings={wire.ENABLE_PUSH: 0}) as peer:
        assert name not in extensions(peer)
    for settings in ({}, {wire.ENABLE_PUSH: 1}):
        with server.peer(HTTP2, settings=settings) as peer:
            assert extensions(peer)[name] == {}


def test_a_pushed_request_is_not_offered_to_push(server: Served, worker: str, key: str) -> None:
    """RFC 9113 §8.4: only a stream that the client has opened can have promises."""
    script: list[Step] = [("show", "extensions"), *sends(push()), *whole()]
    with server.peer(HTTP2) as peer:
        assert isinstance(peer, Peer2)
        assert peer.ask(script=[*must_send(start(), pushed(script, key), body())]).whole
        shown, raised, _ = server.notes(key)
        assert "http.response.push" not in shown["extensions"]
        assert refused(raised)
        assert peer.client.body(2) == b"done"
        assert peer.client.reader.promised == [2]


def test_what_is_not_offered_raises(server: Served, version: str) -> None:
    """ASGI, "Extensions": an application is told what it may send. Nothing is sent instead."""
    settings = {wire.ENABLE_PUSH: 0}
    with server.peer(version, settings=settings) as peer:
        assert refused(peer.run(sends(push()))[0])
    if version == HTTP1:
        script = [*sends(hint(*LINKS), push()), ("reply",)]
        notes = of_http10(server, script).literal
        assert all(map(refused, notes)), notes


def test_a_push_that_is_no_longer_wanted_is_none(server: Served, worker: str, key: str) -> None:
    """RFC 9113 §8.4: SETTINGS may forbid it at any time; the application has done nothing wrong."""
    script = [("show", "extensions"), ("wait", key), *sends(push()), *whole()]
    with server.peer(HTTP2) as peer:
        assert isinstance(peer, Peer2)
        asked = peer.start(script=script, key=key + "n")
        assert "http.response.push" in server.notes(key + "n", 1)[0]["extensions"]
        peer.client.reader.sent_settings({wire.ENABLE_PUSH: 0})
        peer.client.send(wire.settings({wire.ENABLE_PUSH: 0}))
        peer.client.ping()
        server.open(key)
        assert asked.answer().body == b"done"
        assert server.notes(key + "n")[1:] == [SENT, RETURNED]
        peer.client.ping()
        assert not peer.client.reader.promised


@pytest.mark.parametrize(
    "message",
    [
        push(b"/bytes"),
        push(None),
        push("relative"),
        push(""),
        push("/x", [("str", "1")]),
        push("/x", [(b":path", b"/")]),
        push("/x", [(b"x", b"a\r\nb")]),
    ],
    ids=repr,
)
def test_a_push_that_cannot_be_promised_raises(
    server: Served, worker: str, message: dict[str, Any]
) -> None:
    with server.peer(HTTP2) as peer:
        assert isinstance(peer, Peer2)
        assert refused(peer.run(sends(message))[0])
        assert not peer.client.reader.promised


# ---- tls ---------------------------------------------------------------------------------------


def tls_of(server: Served, version: str, context: ssl.SSLContext) -> tuple[Any, str]:
    """What a request is told of its connection, and the name of the cipher suite."""
    with TLSClient(("127.0.0.1", server.secure_port), context) as client:
        cipher = client.tls.cipher()
        assert cipher is not None
        if version == HTTP1:
            return extensions(Peer1(client))["tls"], cipher[0]
        peer = Peer2(HTTP2Client(client.tls, scheme=b"https"))
        return extensions(peer)["tls"], cipher[0]


VERSIONS = {ssl.TLSVersion.TLSv1_2: 0x0303, ssl.TLSVersion.TLSv1_3: 0x0304}


@pytest.mark.parametrize("tls_version", VERSIONS, ids=["1.2", "1.3"])
@pytest.mark.parametrize("shows", [False, True], ids=["nobody", "somebody"])
def test_the_tls_extension_tells_of_the_connection(
    server: Served,
    version: str,
    certificate: Certificate,
    issue: Callable[..., Certificate],
    make_client_context: Callable[..., ssl.SSLContext],
    tls_version: ssl.TLSVersion,
    shows: bool,
) -> None:
    """Section "TLS Extension": what was agreed on, the server's certificate, and the client's."""
    alpn = "h2" if version == HTTP2 else "http/1.1"
    context = make_client_context(alpn, version=tls_version)
    shown = issue("client.test", common_name="A+B, Müller")
    if shows:
        context.load_cert_chain(shown.chain, shown.key)
    found, suite = tls_of(server, version, context)
    suites = {known["name"]: known["id"] & 0xFFFF for known in context.get_ciphers()}
    assert found["tls_version"] == VERSIONS[tls_version]
    assert found["cipher_suite"] == suites[suite]
    assert found["client_cert_error"] is None
    assert found["server_cert"] == first_pem(certificate)
    if shows:
        assert found["client_cert_chain"][0] == first_pem(shown)
        assert "CN=A\\+B\\, Müller" in found["client_cert_name"]
    else:
        assert (found["client_cert_chain"], found["client_cert_name"]) == ([], None)


def first_pem(made: Certificate) -> str:
    text = made.chain.read_text()
    end = "-----END CERTIFICATE-----\n"
    return text[: text.index(end) + len(end)]


def test_a_websocket_by_tls_has_the_extension_too(server: Served, version: str, key: str) -> None:
    script = [("show", "extensions")]
    with hung_up(dial(server, version, script, key=key, wait=False, secure=True)):
        found = server.notes(key)[0]["extensions"]["tls"]
    assert found["tls_version"] == 0x0304
    assert set(found) == {
        "server_cert",
        "client_cert_chain",
        "client_cert_name",
        "client_cert_error",
        "tls_version",
        "cipher_suite",
    }


def test_without_tls_there_is_no_such_extension(server: Served, peer: Peer, key: str) -> None:
    assert "tls" not in extensions(peer)
    with hung_up(dial(server, peer.version, [("show", "extensions")], key=key, wait=False)):
        assert "tls" not in server.notes(key)[0]["extensions"]


# ---- http.response.early_hint ------------------------------------------------------------------


def hint(*links: bytes) -> dict[str, Any]:
    return {"type": "http.response.early_hint", "links": list(links)}


LINKS = [b"</a.css>; rel=preload", b"</b.js>; rel=preload; as=script"]


def test_early_hints_precede_the_response(peer: Peer) -> None:
    """Section "Early Hints": any number of them, before the start as well as after; a ``link`` for each
    value (RFC 8297).
    """
    script = must_send(hint(LINKS[0]), start(), hint(*LINKS), hint(LINKS[1]), body(b"done"))
    answer = peer.ask(script=script)
    assert (answer.status, answer.body, answer.whole) == (200, b"done", True)
    assert answer.interim == [
        (103, [(b"link", LINKS[0])]),
        (103, [(b"link", link) for link in LINKS]),
        (103, [(b"link", LINKS[1])]),
    ]
    assert answer.all(b"link") == []


def test_links_are_any_iterable(peer: Peer) -> None:
    """The text: "``links`` (*Iterable[byte string]*)"."""
    message = Source(f"{{'type': 'http.response.early_hint', 'links': iter({LINKS!r})}}")
    answer = peer.ask(script=[("must_send", message), *whole()])
    assert answer.interim == [(103, [(b"link", link) for link in LINKS])]


def test_a_hint_leaves_at_once(server: Served, peer: Peer, key: str) -> None:
    """RFC 8297 §2: it is of use while the response is being made."""
    asked = peer.start(script=[*must_send(hint(LINKS[0])), ("wait", key), *whole()])
    if isinstance(peer, Peer1):
        assert peer.client.read_until(b"\r\n\r\n").startswith(b"HTTP/1.1 103 ")
    else:
        assert isinstance(peer, Peer2)
        response = peer.client.reader.responses[1]
        peer.client.until(lambda: response.interim, "103")
        assert response.fields is None
    server.open(key)
    assert asked.answer().body == b"done"


def test_a_hint_that_comes_too_late_is_ignored(server: Served, peer: Peer, key: str) -> None:
    """RFC 9110 §15.2: nothing interim follows the head of the final response."""
    script = [*must_send(start(), body(b"a", more=True)), *sends(hint(*LINKS), body(b"b"))]
    answer = peer.ask(script=script, key=key)
    assert (answer.body, answer.whole, answer.interim) == (b"ab", True, [])
    assert server.notes(key) == [SENT, SENT, RETURNED]


def test_a_hint_cannot_smuggle_a_field(peer: Peer) -> None:
    """RFC 9112 §11.1."""
    answer = peer.ask(script=[*sends(hint(b"</a>\r\nx-injected: 1")), ("reply",)])
    assert refused(answer.literal[0])
    assert answer.interim == []


def test_early_hints_are_offered_where_they_are_understood(server: Served, peer: Peer) -> None:
    """RFC 9110 §15.2: "a server MUST NOT send a 1xx response to an HTTP/1.0 client"."""
    name = "http.response.early_hint"
    assert extensions(peer)[name] == {}
    if peer.version == HTTP1:
        (found,) = of_http10(server, EXTENSIONS).literal
        assert name not in found["extensions"]


def of_http10(server: Served, script: list[Step], *lines: bytes) -> Any:
    """The answer to a request of HTTP/1.0."""
    fields = [b"%s: %s" % field for field in script_field(script)]
    with server.connect() as client:
        client.send(b"\r\n".join([b"GET / HTTP/1.0", *lines, *fields, b"", b""]))
        return Exchange1(client, "GET").answer()


# ---- http.response.trailers --------------------------------------------------------------------


def trailers(*headers: Any, more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.trailers", "headers": list(headers), "more_trailers": more}


WANTED = (b"te", b"trailers")
SUMS = [(b"x-sum", b"1"), (b"x-other", b"2")]


@pytest.mark.parametrize("shape", ["whole", "pieces", "empty"])
def test_trailers_follow_the_body(server: Served, peer: Peer, key: str, shape: str) -> None:
    """Section "HTTP Trailers": after the last body, in messages until one has no ``more_trailers``; in
    HTTP/1.1 after the last chunk (RFC 9112 §7.1.2).
    """
    bodies = {
        "whole": [body(b"content")],
        "pieces": [body(b"con", more=True), body(b"tent")],
        "empty": [body()],
    }[shape]
    sent = [start(trailers=True), *bodies, trailers(SUMS[0], more=True), trailers(SUMS[1])]
    answer = peer.ask("/", WANTED, script=must_send(*sent), key=key)
    assert answer.body == (b"" if shape == "empty" else b"content")
    assert (answer.status, answer.whole, answer.trailers) == (200, True, SUMS)
    assert server.notes(key) == [RETURNED]
    assert peer.ask(script=whole()).body == b"done"


def test_the_response_waits_for_its_trailers(server: Served, peer: Peer, key: str) -> None:
    """The text: "``trailers``: … the server must wait until it receives a "http.response.trailers" message";
    without one the response is not whole.
    """
    script = [*must_send(start(trailers=True), body(b"abc")), ("poll",), ("wait", key)]
    asked = peer.start("/", WANTED, script=[*script, *must_send(trailers(*SUMS))], key=key + "n")
    assert asked.until(3) == b"abc"
    assert server.notes(key + "n", 1)[0]["type"] == "http.request"
    server.open(key)
    answer = asked.answer()
    assert (answer.whole, answer.trailers) == (True, SUMS)
    answer = peer.ask("/", WANTED, script=must_send(start(trailers=True), body(b"abc")))
    assert (answer.body, answer.whole) == (b"abc", False)


@pytest.mark.parametrize(
    ("te", "sent"),
    [
        ([b"trailers"], True),
        ([b"Trailers"], True),
        ([b"gzip;q=0.5, TRAILERS"], True),
        ([], False),
        ([b"gzip"], False),
        ([b"x-trailers"], False),
    ],
    ids=repr,
)
def test_trailers_are_for_those_who_take_them(
    server: Served, version: str, te: list[bytes], sent: bool
) -> None:
    """The text: "The ASGI server will only send the trailing headers in case the client has sent the
    TE: trailers header"; else the response ends as any.
    """
    if version == HTTP2:  # nothing else may stand in the field there (RFC 9113 §8.2.2)
        te = [value for value in te if value == b"trailers"]
        sent = bool(te)
    script = must_send(start(trailers=True), body(b"abc"), trailers(*SUMS))
    with server.peer(version) as peer:
        answer = peer.ask("/", *[(b"te", value) for value in te], script=script)
        assert (answer.body, answer.whole) == (b"abc", True)
        assert answer.trailers == (SUMS if sent else [])
        assert peer.ask(script=whole()).body == b"done"


@pytest.mark.parametrize("method", ["HEAD", "GET"])
@pytest.mark.parametrize("status", [200, 204, 304])
def test_a_response_without_a_body_has_no_trailers_in_http1(
    peer: Peer, method: str, status: int
) -> None:
    """RFC 9112 §6.3: there is nothing that they could follow; the connection serves on."""
    script = must_send(start(status, trailers=True), body(b""), trailers(*SUMS))
    answer = peer.ask("/", WANTED, method=method, script=script)
    assert (answer.status, answer.body, answer.whole) == (status, b"", True)
    assert peer.ask(script=whole()).body == b"done"


def test_trailers_are_offered_where_there_is_a_place_for_them(server: Served, peer: Peer) -> None:
    """HTTP/1.0 has none; a response that has some for it ends as any."""
    name = "http.response.trailers"
    assert extensions(peer)[name] == {}
    if peer.version == HTTP1:
        (found,) = of_http10(server, EXTENSIONS).literal
        assert name not in found["extensions"]


@pytest.mark.parametrize(
    "line",
    [
        (b":status", b"200"),
        (b"content-length", b"3"),
        (b"transfer-encoding", b"chunked"),
        (b"host", b"x"),
        (b"trailer", b"x"),
        (b"te", b"trailers"),
        (b"connection", b"close"),
        (b"authorization", b"x"),
        (b"set-cookie", b"a=1"),
        (b"x-a", b"1\r\nx-b: 2"),
        ("x-a", "1"),
    ],
    ids=repr,
)
def test_a_field_that_may_be_no_trailer_raises(
    server: Served, peer: Peer, key: str, line: tuple[bytes, bytes]
) -> None:
    """RFC 9110 §6.5.1: what is needed for framing, routing or to understand the message; and
    "Pseudo headers … must not be present". What is right may follow.
    """
    script = [
        *must_send(start(trailers=True), body(b"abc")),
        *sends(trailers(line), trailers(*SUMS)),
    ]
    answer = peer.ask("/", WANTED, script=script, key=key)
    assert (answer.whole, answer.trailers) == (True, SUMS)
    notes = server.notes(key)
    assert refused(notes[0]) and notes[1] == SENT


def test_trailers_out_of_order_raise(server: Served, peer: Peer, key: str) -> None:
    """Before the last body, or where the start has not said that there will be some."""
    script = [
        *sends(trailers(*SUMS), start(trailers=True), trailers(*SUMS), body(b"a", more=True)),
        *sends(trailers(*SUMS), body(b"b"), body(b"c"), trailers(*SUMS)),
    ]
    answer = peer.ask("/", WANTED, script=script, key=key)
    assert (answer.body, answer.whole, answer.trailers) == (b"ab", True, SUMS)
    found = [refused(note) for note in server.notes(key)]
    assert found == [True, False, True, False, True, False, True, False, False]
    script = [*must_send(start(), body(b"a", more=True)), *sends(trailers(*SUMS), body(b"b"))]
    answer = peer.ask("/", WANTED, script=script, key=key + "2")
    assert (answer.body, answer.trailers) == (b"ab", [])
    assert refused(server.notes(key + "2")[0])


# ---- http.response.debug -----------------------------------------------------------------------


def test_debug_is_never_offered(server: Served, version: str) -> None:
    """Section "Debug": "ASGI servers should not implement it"; so the message raises."""
    for secure in (False, True):
        with server.peer(version, secure=secure) as peer:
            assert "http.response.debug" not in extensions(peer)
            assert refused(peer.run(sends({"type": "http.response.debug", "info": {}}))[0])
