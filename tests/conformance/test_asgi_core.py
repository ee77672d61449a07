"""What the ASGI specification itself states ("ASGI"), and HTTP & WebSocket of channels in common."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conformance.peers import (
    ACCEPT,
    HTTP1,
    RETURNED,
    SEND,
    SENT,
    Peer,
    Served,
    Source,
    body,
    dial,
    hung_up,
    lost,
    must_send,
    refused,
    sends,
    start,
    whole,
)
from tests.e2e.support import wait_until

CONNECT = {"type": "websocket.connect"}
FAILURES = ["error", "cancelled", "group", "exit"]


def test_every_scope_names_version_3_of_asgi(server: Served, version: str, key: str) -> None:
    """ASGI, "Applications": ``scope["asgi"]["version"]``."""
    with server.peer(version) as peer:
        http, lifespan = peer.run([("show", "asgi"), ("lifespan_scope",)])
    with hung_up(dial(server, version, [("show", "asgi")], key=key, wait=False)):
        (websocket, _) = server.notes(key)
    for scope in (http, lifespan, websocket):
        assert scope["asgi"]["version"] == "3.0"


def test_each_text_is_named_in_its_version(server: Served, version: str, key: str) -> None:
    """HTTP & WebSocket 2.5 and Lifespan 2.0, "Spec Versions"."""
    with server.peer(version) as peer:
        http, lifespan = peer.run([("show", "asgi"), ("lifespan_scope",)])
    with hung_up(dial(server, version, [("show", "asgi")], key=key, wait=False)):
        (websocket, _) = server.notes(key)
    assert http["asgi"]["spec_version"] == websocket["asgi"]["spec_version"] == "2.5"
    assert lifespan["asgi"]["spec_version"] == "2.0"


def test_the_version_that_promises_an_error_is_claimed_rightly(
    server: Served, version: str, key: str
) -> None:
    """Section "Disconnected Client": an application that never receives is stopped by send() (2.4)."""
    script = [("show", "asgi"), *must_send(start()), ("flood", body(b"x", more=True))]
    with server.peer(version) as peer:
        exchange = peer.start(script=script, key=key)
        exchange.until(1)
        exchange.leave()
        shown, raised, ended = server.notes(key)
    assert tuple(map(int, shown["asgi"]["spec_version"].split("."))) >= (2, 4)
    assert lost(raised)
    assert lost(ended)


def test_scope_is_of_builtin_types(server: Served, peer: Peer, key: str) -> None:
    """ASGI, "Events": no subclass of what the text names."""
    assert peer.run([("types",)], (b"x-one", b"1")) == [True]
    with server.peer(peer.version, secure=True) as secure:
        assert secure.run([("types",)]) == [True]
    with hung_up(dial(server, peer.version, [("types",)], key=key, wait=False)):
        assert server.notes(key)[0] is True


def test_a_change_of_one_scope_is_seen_by_no_other(server: Served, version: str) -> None:
    """ASGI, "Connection Scope": it belongs to one connection; what is alike is made anew.

    The same head each time: an engine may remember what it has decoded.
    """
    for secure in (False, True):
        with server.peer(version, secure=secure) as peer:
            for _ in range(4):
                (shown,) = peer.run([("show",), ("spoil",)])[:1]
                assert "spoilt" not in repr({**shown, "headers": shown["headers"][2:]})
                assert not [name for name, _ in shown["headers"] if name == b"spoilt"]


def test_a_change_of_its_scope_is_not_seen_by_the_server(
    server: Served, tailored: Served, version: str
) -> None:
    """What the server reads again, it reads from a copy of its own: here ``te`` for the trailers,
    and for the access log who a proxy says is the client.
    """
    trailers = {"type": "http.response.trailers", "headers": [(b"x-sum", b"1")]}
    script = [("spoil",), *must_send(start(trailers=True), body(b"done"), trailers)]
    fields = [(b"te", b"trailers"), (b"x-forwarded-for", b"192.0.2.1")]
    for served in (server, tailored):
        with served.peer(version) as peer:
            for _ in range(2):
                answer = peer.ask("/spoilt", *fields, script=script)
                assert (answer.body, answer.trailers) == (b"done", [(b"x-sum", b"1")])
        assert served.is_well(version)
    wait_until(
        lambda: len([line for line in tailored.stdout.lines if line.startswith("192.0.2.1")]) >= 2,
        "it is in the access log",
    )


def test_addresses_are_tuples_and_fields_a_list_of_tuples(peer: Peer) -> None:
    """What frameworks rely on where the text says "two-item iterable"."""
    (shown,) = peer.run([("show", "client", "server", "headers")])
    assert type(shown["client"]) is type(shown["server"]) is tuple
    assert type(shown["headers"]) is list
    assert {type(line) for line in shown["headers"]} == {tuple}
    assert {len(line) for line in shown["headers"]} == {2}


def test_a_message_of_unknown_type_raises(server: Served, peer: Peer, key: str) -> None:
    """ASGI, "Error Handling"; also one that belongs to the other protocol."""
    unknown: list[Any] = [
        {"type": "http.response.shrug"},
        {"type": "websocket.accept"},
        {"type": 1},
    ]
    notes = peer.run(sends(*unknown))
    assert all(map(refused, notes)), notes
    others: list[Any] = [
        {"type": "websocket.shrug"},
        {"type": "http.response.start", "status": 200},
    ]
    script = [("receive",), *sends(*others, ACCEPT, *others)]
    with hung_up(dial(server, peer.version, script, key=key)):
        notes = server.notes(key)
    assert list(map(refused, notes)) == [False, True, True, False, True, True, False]


NOT_STARTS: list[Any] = [
    {},
    {"status": 200},
    {"type": "http.response.start"},
    start("200"),  # type: ignore[arg-type]
    start(Source("200.0")),  # type: ignore[arg-type]
    start(Source("None")),  # type: ignore[arg-type]
    start(headers=[("x-name", b"str")]),
    start(headers=[(b"x-value", "str")]),
    start(headers=[(b"x-value", 1)]),
    start(headers=[(b"alone",)]),
    start(headers=[(b"", b"without a name")]),
]


@pytest.mark.parametrize("message", NOT_STARTS, ids=repr)
def test_a_malformed_start_raises_and_changes_nothing(peer: Peer, message: Any) -> None:
    """ASGI, "Error Handling"; what is sent after it counts."""
    answer = peer.ask(script=[*sends(message), ("reply",)])
    assert refused(answer.literal[0]), answer
    assert not [name for name, _ in answer.fields if name in {b"x-name", b"x-value", b"alone"}]


@pytest.mark.parametrize("data", ["text", 1, None, [b"list"]], ids=repr)
def test_a_malformed_body_raises_and_changes_nothing(
    server: Served, peer: Peer, key: str, data: Any
) -> None:
    """``body`` is a byte string; the response goes on with one that is."""
    script = [*must_send(start()), *sends(body(data, more=True), body(b"right"))]
    answer = peer.ask(script=script, key=key)
    assert (answer.status, answer.body, answer.whole) == (200, b"right", True)
    notes = server.notes(key)
    assert refused(notes[0]) and notes[1:] == [SENT, RETURNED]


def test_a_response_out_of_order_raises(server: Served, peer: Peer, key: str) -> None:
    """Section "Response Start": it comes first, and once."""
    script = sends(body(b"too soon"), start(), start(500), body(b"right"))
    answer = peer.ask(script=script, key=key)
    assert (answer.status, answer.body, answer.whole) == (200, b"right", True)
    notes = server.notes(key)
    assert [refused(note) for note in notes] == [True, False, True, False, False]


def test_keys_that_are_not_known_are_ignored(server: Served, peer: Peer, key: str) -> None:
    """ASGI, "Extensions" and "Specification Details"."""
    more = {"x-unknown": 1, "zerocopy": True}
    script = must_send(start() | more, body(b"a", more=True) | more, body(b"b") | more)
    answer = peer.ask(script=script)
    assert (answer.status, answer.body, answer.whole) == (200, b"ab", True)
    script = [("receive",), *must_send(ACCEPT | more, SEND | {"text": "hello"} | more)]
    with hung_up(dial(server, peer.version, script)) as socket:
        assert socket.message() == "hello"


def test_after_a_refused_start_comes_a_valid_one_or_an_error(
    server: Served, peer: Peer, key: str
) -> None:
    """What was refused does not count: neither status nor fields of it are sent."""
    wrong = start(201, [(b"x-wrong", b"1"), (b"x-split", b"a\r\nb")])
    answer = peer.ask(script=[*sends(wrong), *whole(status=202)])
    assert (answer.status, answer.body, answer.all(b"x-wrong")) == (202, b"done", [])
    with server.peer(peer.version) as other:
        answer = other.ask(script=must_send(wrong), key=key)
    assert (answer.status, answer.whole, answer.all(b"x-wrong")) == (500, True, [])


@pytest.mark.parametrize("how", ["reset", "close"])
def test_send_raises_an_os_error_of_our_own_once_the_client_has_gone(
    server: Served, version: str, key: str, how: str
) -> None:
    """Section "Disconnected Client": on the first send() after receive() has told of it."""
    script = [
        *must_send(start(), body(b"begun", more=True)),
        ("until", "http.disconnect"),
        *sends(body(b"late", more=True), body(b"later")),
    ]
    with server.peer(version) as peer:
        exchange = peer.start(script=script, key=key)
        exchange.until(5)
        if how == "reset":
            exchange.leave()
        else:
            peer.close()
        _, first, second, ended = server.notes(key)
    assert lost(first) and lost(second)
    assert ended == RETURNED


def test_send_raises_before_the_response_has_begun(server: Served, version: str, key: str) -> None:
    """The same where nothing has been sent yet: a start needs no client, but has none."""
    script = [("receive",), ("until", "http.disconnect"), *sends(start(), body(b"late"))]
    with server.peer(version) as peer:
        exchange = peer.start(script=script, key=key)
        server.notes(key, 1)
        exchange.leave()
        *_, begun, late, ended = server.notes(key)
    assert lost(begun) and lost(late)
    assert ended == RETURNED


@pytest.mark.parametrize("how", ["reset", "end"])
def test_websocket_send_raises_an_os_error_once_the_client_has_gone(
    server: Served, version: str, key: str, how: str
) -> None:
    message = SEND | {"text": "late"}
    script = [("receive",), *must_send(ACCEPT), ("until", "websocket.disconnect")]
    socket = dial(server, version, [*script, *sends(message)], key=key)
    with hung_up(socket):
        getattr(socket, how)()
        *_, raised, ended = server.notes(key)
    assert lost(raised)
    assert ended == RETURNED


@pytest.mark.parametrize("protocol", ["http", "websocket"])
def test_our_own_error_is_not_logged_when_it_escapes(
    server: Served, version: str, key: str, protocol: str
) -> None:
    """The text: "Servers must be prepared to catch this exception … and should not log it as an error"."""
    target = f"/escapes-{key}"
    if protocol == "http":
        script = [*must_send(start()), ("flood", body(b"x", more=True))]
        with server.peer(version) as peer:
            exchange = peer.start(target, script=script, key=key)
            exchange.until(1)
            exchange.leave()
            assert lost(server.notes(key)[-1])
    else:
        message = SEND | {"bytes": b"x"}
        script = [("receive",), *must_send(ACCEPT), ("flood", message)]
        socket: Any = dial(server, version, script, target=target, key=key)
        with hung_up(socket):
            socket.message()
            socket.reset()
            assert lost(server.notes(key)[-1])
    with server.peer(version) as peer:  # what would have been logged, is by now
        peer.ask(f"/marker-{key}", script=[("fail",)])
    wait_until(lambda: f"/marker-{key}" in str(server.stderr), "a failure is logged")
    assert target not in str(server.stderr)


def test_after_a_complete_response_everything_is_ignored(
    server: Served, peer: Peer, key: str
) -> None:
    """Section "Response Body": "any further messages on the channel will be ignored", so none raises."""
    more = [body(b"more"), start(500), body(b"", more=True), {"type": "nonsense"}, {}]
    script = [*must_send(start(), body(b"whole")), *sends(*more)]
    for _ in range(2):  # nothing of it spoils what follows on the connection
        answer = peer.ask(script=script, key=key)
        assert (answer.status, answer.body, answer.whole) == (200, b"whole", True)
    assert server.notes(key)[:6] == [SENT] * 5 + [RETURNED]


def test_after_a_complete_response_that_the_client_has_left_everything_is_ignored(
    server: Served, version: str, key: str
) -> None:
    script = [*must_send(start(), body(b"whole")), ("wait", key), *sends(body(b"more"))]
    with server.peer(version) as peer:
        assert peer.ask(script=script, key=key).whole
    server.open(key)
    assert server.notes(key) == [SENT, RETURNED]


@pytest.mark.parametrize("kind", FAILURES)
def test_an_exception_costs_its_own_request_only(
    server: Served, version: str, key: str, kind: str
) -> None:
    """ASGI, "Error Handling": it is logged and ends its instance; also a stray cancellation, a
    group and SystemExit, which a loop or a task group would take for its own.
    """
    with server.peer(version) as other, server.peer(version) as peer:
        waiting = other.start(script=[("wait", key), *whole(b"unharmed")])
        beside = (
            peer.start(script=[("wait", key), *whole(b"unharmed")]) if version != HTTP1 else None
        )
        assert peer.ask(f"/fails-{key}", script=[("fail", kind)]).status == 500
        assert peer.ask(script=whole()).body == b"done"
        server.open(key)
        assert waiting.answer().body == b"unharmed"
        assert beside is None or beside.answer().body == b"unharmed"
    wait_until(
        lambda: f"exception in the application: GET /fails-{key}" in str(server.stderr),
        "the exception is logged",
    )
    assert server.is_well(version)


@pytest.mark.parametrize("kind", FAILURES)
def test_an_exception_of_a_websocket_costs_it_alone(
    server: Served, version: str, key: str, kind: str
) -> None:
    script = [("receive",), *must_send(ACCEPT), ("echo",)]
    failing = [("receive",), *must_send(ACCEPT), ("fail", kind)]
    with (
        hung_up(dial(server, version, script)) as other,
        hung_up(dial(server, version, failing, target=f"/fails-{key}")) as socket,
    ):
        assert socket.closed()[0] == 1011
        other.send_text("unharmed")
        assert other.message() == "unharmed"
    wait_until(lambda: f"/fails-{key}" in str(server.stderr), "the exception is logged")


def test_receive_needs_no_checkpoint_where_a_message_is_ready(
    server: Served, version: str, key: str
) -> None:
    """Frameworks look for a disconnect by a receive() in a scope that is cancelled already."""
    script = [
        ("poll",),
        *must_send(start(), body(b"begun", more=True)),
        ("poll",),
        ("wait", key),
        ("until", "http.disconnect"),
        ("poll",),
    ]
    with server.peer(version) as peer:
        exchange = peer.start(script=script, key=key)
        exchange.until(5)
        server.open(key)
        exchange.leave()
        request, nothing, _, disconnect, ended = server.notes(key)
    assert request == {"type": "http.request", "body": b"", "more_body": False}
    assert nothing is None
    assert disconnect == {"type": "http.disconnect"}
    assert ended == RETURNED


def test_a_cancelled_receive_loses_nothing(server: Served, version: str, key: str) -> None:
    """A wait for a message is given up, twice; the message comes to whoever asks next."""
    script = [("receive",), ("give_up",), ("give_up",), ("open", key), ("body",), ("reply",)]
    with server.peer(version) as peer:
        exchange = peer.start(method="POST", streams=True, script=script)
        exchange.send(b"first")
        with server.peer(version) as other:
            other.ask(script=[("wait", key), *whole()])
        exchange.send(b"second", end=True)
        first, _, _, rest = exchange.answer().literal
    assert first == {"type": "http.request", "body": b"first", "more_body": True}
    assert b"".join(message["body"] for message in rest) == b"second"
    script = [("receive",), *must_send(ACCEPT), ("give_up",), ("open", key + "2"), ("receive",)]
    with hung_up(dial(server, version, script, key=key)) as socket:
        with server.peer(version) as other:
            other.ask(script=[("wait", key + "2"), *whole()])
        socket.send_text("kept")
        assert server.notes(key)[2]["text"] == "kept"


def test_sends_of_several_tasks_do_not_mix(server: Served, version: str) -> None:
    """Each message leaves in one piece; more than a window and the kernel's buffer take."""
    pieces = [bytes([letter]) * 100_000 for letter in b"abcdefgh"]
    messages = [
        Source(f"{body(b'', True)!r} | {{'body': {piece[:1]!r} * 100_000}}") for piece in pieces
    ]
    script = [*must_send(start()), ("together", *messages), *must_send(body())]
    with server.peer(version) as peer:
        answer = peer.ask(script=script)
    assert answer.whole
    assert sorted(answer.body[i : i + 100_000] for i in range(0, 800_000, 100_000)) == pieces
    messages = [Source(f"{SEND!r} | {{'bytes': {piece[:1]!r} * 100_000}}") for piece in pieces]
    script = [("receive",), *must_send(ACCEPT), ("together", *messages)]
    with hung_up(dial(server, version, script)) as socket:
        assert sorted(socket.message() for _ in pieces) == pieces


def test_what_an_application_returns_is_logged_once_and_means_nothing(
    server: Served, peer: Peer
) -> None:
    """ASGI, "Applications": an application talks by messages."""
    for _ in range(2):
        answer = peer.ask(script=[*whole(), ("return", "something")])
        assert (answer.status, answer.body, answer.whole) == (200, b"done", True)
    said = "the application returns a value (str), which is ignored"
    wait_until(lambda: said in str(server.stderr), "it is logged")
    assert str(server.stderr).count(said) == 1
    assert server.is_well(peer.version)
