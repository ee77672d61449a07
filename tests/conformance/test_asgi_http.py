"""The HTTP half of "HTTP & WebSocket ASGI Message Format" 2.5: scopes, and what is received."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conformance.peers import (
    HTTP1,
    HTTP2,
    RETURNED,
    Exchange1,
    Peer,
    Peer1,
    Peer2,
    Served,
    body,
    must_send,
    script_field,
    start,
    whole,
)
from tests.e2e.http2_client import HTTP2Client
from tests.e2e.support import Client
from tests.engines import h2_frames as wire

SHOW = [("show",), ("reply",)]
DISCONNECT = {"type": "http.disconnect"}


def request(*, line: str = "GET / HTTP/1.1", fields: list[bytes], script: list[Any]) -> bytes:
    """A request of HTTP/1 as it is written."""
    lines = [b"%s: %s" % field for field in script_field(script)]
    return b"\r\n".join([line.encode("latin-1"), *fields, *lines, b"", b""])


def shown(peer: Peer, target: str = "/", *fields: tuple[bytes, bytes], **more: Any) -> Any:
    """The scope of a request."""
    return peer.ask(target, *fields, script=SHOW, **more).literal[0]


# ---- the scope -------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "OPTIONS", "PROPFIND", "X-OWN!"])
def test_type_and_method(peer: Peer, method: str) -> None:
    """Section "HTTP Connection Scope": ``type`` and ``method``."""
    scope = shown(peer, method=method)
    assert (scope["type"], scope["method"]) == ("http", method)


def test_a_method_in_lower_case_is_not_the_one_in_upper_case(peer: Peer) -> None:
    """RFC 9110 §9.1: methods are case-sensitive. The ASGI text says "uppercased", for what no
    client sends: to make a DELETE of a "delete" would open what a proxy in front has closed.
    """
    assert shown(peer, method="delete")["method"] == "delete"
    answer = peer.ask(method="head", script=whole())
    assert answer.body == b"done"


def test_http_version_is_one_of_three(server: Served, peer: Peer) -> None:
    """``http_version``; a minor version that is not known is read as the highest that is
    (RFC 9110 §2.5).
    """
    assert shown(peer)["http_version"] == peer.version
    if peer.version == HTTP1:
        for written, read in [("1.0", "1.0"), ("1.1", "1.1"), ("1.2", "1.1"), ("1.9", "1.1")]:
            line = f"GET / HTTP/{written}"
            with server.connect() as client:
                client.send(request(line=line, fields=[b"host: test"], script=SHOW))
                (scope,) = Exchange1(client, "GET").answer().literal
            assert scope["http_version"] == read


def test_scheme_is_what_the_transport_says(server: Served, version: str) -> None:
    """``scheme``: "https" on TLS, whatever ``:scheme`` or an absolute target claim."""
    for secure in (False, True):
        with server.peer(version, secure=secure) as peer:
            right, wrong = ("https", "http") if secure else ("http", "https")
            assert shown(peer)["scheme"] == right
            if isinstance(peer, Peer2):
                peer.client.scheme = wrong.encode()
                assert shown(peer)["scheme"] == right
            else:
                assert shown(peer, f"{wrong}://test/")["scheme"] == right


PATHS = {
    "/plain": "/plain",
    "/": "/",
    "/a%20b": "/a b",
    "/%C3%BCber/%e2%82%ac": "/über/€",
    "/%41%2f%2F": "/A//",
    "/a+b;c=d": "/a+b;c=d",
    "/100%": "/100%",
    "/%zz%4": "/%zz%4",
    "/%ff%C3": "/��",
    "/%00": "/\0",
    "//x//y/": "//x//y/",
    "/a/../b/./c": "/a/../b/./c",
    "/%2e%2e/%2E": "/../.",
    "/a%3Fb%23c": "/a?b#c",
}


@pytest.mark.parametrize("target", PATHS)
def test_path_is_decoded_once_and_not_normalised(peer: Peer, target: str) -> None:
    """``path``: percent-decoded, then UTF-8-decoded; an undecodable byte is U+FFFD, and slashes,
    dots and NULs stay what they are.
    """
    scope = shown(peer, target + "?q=/%41")
    assert scope["path"] == PATHS[target]
    assert scope["raw_path"] == target.encode()
    assert scope["query_string"] == b"q=/%41"


def test_path_is_never_empty(server: Served, peer: Peer) -> None:
    """RFC 9112 §3.2.2: an absolute target without a path asks for "/"; OPTIONS for "*"."""
    if peer.version == HTTP1:
        for target, path in [
            ("http://test", "/"),
            ("http://test?a=b", "/"),
            ("http://test/x", "/x"),
        ]:
            scope = shown(peer, target)
            assert (scope["path"], scope["raw_path"]) == (path, path.encode())
            assert scope["query_string"] == (b"a=b" if "?" in target else b"")
    scope = shown(peer, "*", method="OPTIONS")
    assert (scope["path"], scope["raw_path"]) == ("*", b"*")


def test_raw_path_is_what_was_received(peer: Peer) -> None:
    """``raw_path``: present, of bytes, without the query."""
    for target in ("/", "/%7Euser/~x", "/A%2fb", "/%C3%A9", "//"):
        scope = shown(peer, target + "?x")
        assert scope["raw_path"] == target.encode()


def test_query_string_is_what_follows_the_first_question_mark(peer: Peer) -> None:
    """``query_string``: undecoded, b"" if there is none."""
    for target, query in [
        ("/", b""),
        ("/?", b""),
        ("/?a=%20+&b", b"a=%20+&b"),
        ("/?a?b?", b"a?b?"),
        ("/?/..//", b"/..//"),
    ]:
        assert shown(peer, target)["query_string"] == query


def test_fields_are_as_received_with_names_in_lower_case(server: Served, version: str) -> None:
    """``headers``: order of values, duplicates and bytes beyond ASCII are kept."""
    names = [b"X-One", b"x-two", b"X-ONE", b"x-one"]
    values = [b"first", b"\xe4\xff\x80", b"second", b"a, b"]
    if version == HTTP2:
        names = [name.lower() for name in names]
    with server.peer(version) as peer:
        scope = shown(peer, "/", *zip(names, values, strict=True))
    lines = [line for line in scope["headers"] if line[0].startswith(b"x-")]
    assert lines == [(name.lower(), value) for name, value in zip(names, values, strict=True)]


def test_authority_becomes_the_host_field(server: Served, version: str) -> None:
    """``headers``: pseudo-header fields are removed, ``:authority`` is ``host``, first, and in
    place of a Host field.
    """
    with server.peer(version) as peer:
        extra = [(b"x-a", b"1"), *([(b"host", b"name:1")] if version == HTTP2 else [])]
        headers = shown(peer, "/", *extra, host=b"name:1")["headers"]
    assert [line for line in headers if line[0] == b"host"] == [(b"host", b"name:1")]
    assert headers[0] == (b"host", b"name:1")
    assert not [name for name, _ in headers if name.startswith(b":")]


def test_cookies_are_one_field(server: Served, version: str) -> None:
    """RFC 9113 §8.2.3: fields that HTTP/2 may split are joined for whoever expects HTTP/1.1's."""
    crumbs = [b"a=1", b"b=2", b"c=3"]
    sent = crumbs if version == HTTP2 else [b"; ".join(crumbs)]
    with server.peer(version) as peer:
        headers = shown(peer, "/", *[(b"cookie", crumb) for crumb in sent])["headers"]
    assert [value for name, value in headers if name == b"cookie"] == [b"a=1; b=2; c=3"]


def test_client_and_server_are_the_ends_of_the_connection(server: Served, version: str) -> None:
    """``client``, ``server``: host and port, a number."""
    for secure in (False, True):
        with server.peer(version, secure=secure) as peer:
            scope = shown(peer)
            assert scope["client"] == peer.address[:2]
            assert scope["server"] == ("127.0.0.1", server.secure_port if secure else server.port)


def other_peer(server: Served, version: str, address: Any) -> Peer:
    client = Client(address)
    if version == HTTP1:
        return Peer1(client)
    return Peer2(HTTP2Client(client.sock))


def test_a_unix_socket_has_no_client_and_a_path(server: Served, version: str) -> None:
    """``server``: the socket's path and None; ``client``: None."""
    path = next(url for url in server.listeners(4) if url.startswith("unix:"))[5:]
    with other_peer(server, version, path) as peer:
        scope = shown(peer)
    assert (scope["client"], scope["server"]) == (None, (path, None))


def test_ipv6_hosts_are_bare(server: Served, version: str) -> None:
    """An address has neither brackets nor a scope."""
    url = next(url for url in server.listeners(4) if "[::1]" in url)
    port = int(url.rpartition(":")[2])
    with other_peer(server, version, ("::1", port)) as peer:
        scope = shown(peer)
        assert scope["client"] == ("::1", peer.address[1])
    assert scope["server"] == ("::1", port)


def test_state_is_a_shallow_copy_for_each_request(peer: Peer) -> None:
    """``state``: "a copy of the namespace passed into the lifespan"."""
    script = [("shared_list",), ("spoil",), ("shared_list",)]
    first, spoilt = peer.run(script)
    second, _ = peer.run(script)
    assert first == second == (True, ["list"])
    assert spoilt == (True, ["list", "spoilt"])


# ---- receive() -------------------------------------------------------------------------------

PIECES = [b"one", b"two" * 1000, b"three"]


@pytest.mark.parametrize("framing", ["length", "chunks"])
def test_a_body_comes_in_pieces_with_one_that_is_the_last(
    server: Served, peer: Peer, key: str, framing: str
) -> None:
    """Section "Request": decoded content alone; exactly one final ``more_body: False``."""
    script = [("body",), ("reply",)]
    content = b"".join(PIECES)
    if framing == "length":
        exchange = peer.start(method="POST", content=content, script=script)
    else:
        exchange = peer.start(method="POST", streams=True, script=script)
        for piece in PIECES:
            exchange.send(piece, end=piece == PIECES[-1])
    (messages,) = exchange.answer().literal
    assert b"".join(message["body"] for message in messages) == content
    assert {message["type"] for message in messages} == {"http.request"}
    assert [message["more_body"] for message in messages[:-1]] == [True] * (len(messages) - 1)
    assert messages[-1]["more_body"] is False


def test_a_request_without_a_body_is_one_event_at_once(peer: Peer) -> None:
    """Also with a body that is empty, which is known with the head."""
    for more in ({}, {"method": "POST", "content": b""}):
        notes = peer.run([("poll",)], **more)
        assert notes == [{"type": "http.request", "body": b"", "more_body": False}]


def test_receive_after_the_response_is_a_disconnect_again_and_again(
    server: Served, peer: Peer, key: str
) -> None:
    """Section "Disconnect": once a response has been sent, the client being there or not."""
    script = [*whole(), ("receive",), ("receive",), ("poll",)]
    assert peer.ask(script=script, key=key).whole
    assert server.notes(key) == [DISCONNECT] * 3 + [RETURNED]


def test_receive_after_the_client_has_left_is_a_disconnect_again_and_again(
    server: Served, version: str, key: str
) -> None:
    script = [("receive",), ("receive",), ("receive",), ("poll",)]
    with server.peer(version) as peer:
        exchange = peer.start(script=script, key=key)
        assert server.notes(key, 1)[0]["type"] == "http.request"
        exchange.leave()
        assert server.notes(key)[1:] == [DISCONNECT] * 3 + [RETURNED]


def test_a_receive_that_waits_is_told_when_the_response_is_complete(
    server: Served, peer: Peer, key: str
) -> None:
    """By whichever task it was completed."""
    script = [
        ("receive",),
        *must_send(start(), body(b"a", more=True)),
        ("while_sending", "http.disconnect", body(b"b")),
    ]
    assert peer.ask(script=script, key=key).body == b"ab"
    assert server.notes(key)[1:] == [[DISCONNECT], RETURNED]


def test_nothing_but_a_disconnect_follows_the_last_piece(
    server: Served, version: str, key: str
) -> None:
    """Whoever listens for the client's end must not see a second end of the body."""
    script = [("body",), ("poll",), ("receive",)]
    with server.peer(version) as peer:
        exchange = peer.start(method="POST", content=b"all of it", script=script, key=key)
        messages, nothing = server.notes(key, 2)
        assert messages[-1]["more_body"] is False
        assert nothing is None
        exchange.leave()
        assert server.notes(key)[2] == DISCONNECT


@pytest.mark.parametrize("how", ["reset", "end", "broken"])
def test_a_body_that_is_cut_ends_in_a_disconnect(
    server: Served, version: str, key: str, how: str
) -> None:
    """RFC 9112 §8: it is never taken for a whole one. ``end``: the connection's, in order."""
    with server.peer(version) as peer:
        script = [("until", "http.disconnect")]
        exchange = peer.start(method="POST", streams=True, script=script, key=key)
        exchange.send(b"some")
        if how == "reset":
            exchange.leave()
        elif how == "end":
            peer.close()
        elif isinstance(peer, Peer1):
            peer.client.send(b"xyz\r\n")  # no size of a chunk
        else:
            assert isinstance(peer, Peer2)  # a trailer section that does not end the stream
            peer.client.send(peer.client.writer.headers(1, [(b"x", b"y")]))
        messages, ended = server.notes(key)
    assert not [message for message in messages if message.get("more_body") is False]
    assert b"".join(message.get("body", b"") for message in messages) in {b"some", b""}
    assert messages[-1] == DISCONNECT
    assert ended == RETURNED


def test_a_body_shorter_than_its_length_ends_in_a_disconnect(
    server: Served, version: str, key: str
) -> None:
    """RFC 9112 §8, RFC 9113 §8.1.1."""
    with server.peer(version) as peer:
        fields = (b"content-length", b"10")
        script = [("until", "http.disconnect")]
        if isinstance(peer, Peer1):
            peer.start("/", fields, method="POST", script=script, key=key)
            peer.client.send(b"short")
            peer.client.send_end()
        else:
            exchange = peer.start("/", fields, method="POST", streams=True, script=script, key=key)
            exchange.send(b"short", end=True)
        messages, _ = server.notes(key)
    assert not [message for message in messages if message.get("more_body") is False]


def test_a_disconnect_is_noticed_by_an_application_that_does_not_read(
    server: Served, version: str, key: str
) -> None:
    """Also while reading is paused, because the application has not taken what has come."""
    script = [*must_send(start()), ("flood", body(b"x" * 10, more=True))]
    with server.peer(version) as peer:
        exchange = peer.start(method="POST", streams=True, script=script, key=key)
        exchange.until(1)
        if isinstance(peer, Peer1):
            client = peer.client
            client.sock.settimeout(0.3)
            with pytest.raises(TimeoutError):
                for _ in range(1000):
                    exchange.send(bytes(65_536))
        else:
            assert isinstance(peer, Peer2)
            credit = peer.client.credit(1)
            peer.client.data(1, bytes(min(credit, wire.DEFAULT_FRAME_SIZE)))
        exchange.leave()
        (raised, ended) = server.notes(key)
    assert raised["raised"] == ended["raised"] == "ClientDisconnected"


def test_a_client_that_ends_its_side_is_answered(server: Served, version: str, key: str) -> None:
    """RFC 9112 §9.6: it may still read; so until the application listens, nobody has left."""
    script = [("body",), ("wait", key), *must_send(start(), body(b"a", more=True), body(b"b"))]
    with server.peer(version) as peer:
        exchange = peer.start(method="POST", content=b"content", script=script, key=key + "n")
        if isinstance(peer, Peer1):
            peer.client.send_end()
        (messages,) = server.notes(key + "n", 1)
        assert messages[-1]["more_body"] is False
        server.open(key)
        answer = exchange.answer()
    assert (answer.status, answer.body, answer.whole) == (200, b"ab", True)
    assert server.notes(key + "n")[1] == RETURNED


def test_a_stalled_body_ends_in_a_disconnect(tailored: Served, version: str, key: str) -> None:
    """A body that stops for longer than ``timeouts.request_body``; its client is told 408."""
    script = [("until", "http.disconnect")]
    with tailored.peer(version) as peer:
        exchange = peer.start(method="POST", streams=True, script=script, key=key)
        exchange.send(b"some")
        messages, _ = tailored.notes(key)
        answer = exchange.answer()
    assert not [message for message in messages if message.get("more_body") is False]
    assert answer.status == 408


# ---- what is configured ------------------------------------------------------------------------


def test_a_root_path_begins_every_path(tailored: Served, version: str) -> None:
    """``root_path`` is that of WSGI's SCRIPT_NAME: ``path`` begins with it, also where a proxy
    has taken it away; ``raw_path`` is what was received.
    """
    with tailored.peer(version) as peer:
        for target, path in [
            ("/mounted/x", "/mounted/x"),
            ("/mounted", "/mounted"),
            ("/x", "/mounted/x"),
            ("/mountedx", "/mounted/mountedx"),
            ("/", "/mounted/"),
        ]:
            scope = shown(peer, target)
            assert (scope["root_path"], scope["path"]) == ("/mounted", path)
            assert scope["raw_path"] == target.encode()


@pytest.mark.parametrize("own", [False, True])
def test_the_server_field_is_configurable_and_never_double(
    server: Served, tailored: Served, version: str, own: bool
) -> None:
    """RFC 9110 §10.2.4: it can be left out, and an application's own stands alone."""
    headers = [(b"server", b"own")] if own else []
    with server.peer(version) as peer:
        found = peer.ask(script=whole(headers=headers)).all(b"server")
        assert found == [b"own" if own else b"hyperserver"]
    with tailored.peer(version) as peer:
        assert peer.ask(script=whole(headers=headers)).all(b"server") == [b"own"] * own
