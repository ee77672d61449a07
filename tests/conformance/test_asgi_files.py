"""The extensions that send files: "Zero Copy Send" and "Path Send"."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.conformance.peers import (
    HTTP1,
    HTTP2,
    RETURNED,
    SENT,
    Answer,
    Peer,
    Served,
    Source,
    Step,
    body,
    lost,
    must_send,
    refused,
    sends,
    start,
    whole,
    write_file,
)

ZERO = "http.response.zerocopysend"
PATH = "http.response.pathsend"

#: Read at once, and sent by the system.
SIZES = [0, 1000, 1_000_000]


def zero(more: bool = False, **keys: int) -> dict[str, Any]:
    """A message for ``send_file``, which puts the file in."""
    return {"type": ZERO, "file": None, "more_body": more, **keys}


def by_path(path: Path | str) -> dict[str, Any]:
    return {"type": PATH, "path": str(path)}


def length(size: int) -> list[tuple[bytes, bytes]]:
    return [(b"content-length", b"%d" % size)]


def large_file(folder: Path) -> Path:
    """Larger than anything that is between a server and its client, and with nothing in it."""
    path = folder / "large"
    with path.open("wb") as file:
        file.truncate(50_000_000)
    return path


@pytest.fixture
def peer1(server: Served) -> Any:
    """Where files are sent by the system."""
    with server.peer(HTTP1) as peer:
        yield peer


# ---- http.response.zerocopysend ----------------------------------------------------------------


def test_zero_copy_is_offered_where_the_system_can(server: Served, version: str) -> None:
    """By HTTP/1 without TLS: elsewhere the bytes have to be framed or encrypted, and the message
    raises.
    """
    for secure in (False, True):
        with server.peer(version, secure=secure) as peer:
            (shown,) = peer.run([("show", "extensions")])
            offered = version == HTTP1 and not secure
            assert (ZERO in shown["extensions"]) is offered
            assert shown["extensions"].get(ZERO, {}) == {}
            if not offered:
                script: list[Step] = [("send_file", __file__, [start(), zero(), body(b"right")])]
                answer = peer.ask(script=script)
                assert (answer.body, answer.whole) == (b"right", True)


@pytest.mark.parametrize("bare", [False, True], ids=["object", "descriptor"])
@pytest.mark.parametrize("size", SIZES)
def test_a_file_goes_from_its_position_to_its_end(
    server: Served, peer1: Peer, key: str, tmp_path: Path, size: int, bare: bool
) -> None:
    """The text: "``offset``: … Otherwise, it will be read from the current position", "``count``: … If omitted,
    the file will be read until its end"; and "ASGI servers are not responsible for closing".
    """
    path, content = write_file(tmp_path, size)
    for seek in {0, size // 3}:
        script = [("send_file", str(path), [start(), zero()], seek, bare)]
        answer = peer1.ask(script=script, key=f"{key}{seek}")
        assert (answer.status, answer.body == content[seek:], answer.whole) == (200, True, True)
        assert answer.all(b"content-length") == [b"%d" % (size - seek)]
        first, second, at, _ = server.notes(f"{key}{seek}")
        assert first == second == SENT
        assert at["at"] >= 0


@pytest.mark.parametrize(
    ("offset", "count"), [(0, 10), (500_000, 400_000), (999_990, 10), (999_990, 100), (5, 0)]
)
def test_a_file_goes_from_an_offset_for_a_count(
    server: Served, peer1: Peer, tmp_path: Path, offset: int, count: int
) -> None:
    """The text: "``count`` is the number of bytes to copy": as many as there are."""
    path, content = write_file(tmp_path, 1_000_000)
    messages = [start(), zero(offset=offset, count=count)]
    answer = peer1.ask(script=[("send_file", str(path), messages, 7)])
    assert answer.whole
    assert answer.body == content[offset : offset + count]


@pytest.mark.parametrize("sized", [False, True])
@pytest.mark.parametrize("size", [1000, 1_000_000])
def test_files_and_bodies_are_one_body(
    server: Served, peer1: Peer, tmp_path: Path, size: int, sized: bool
) -> None:
    """The text: "It can also be called multiple times in one response", "can be mixed with
    http.response.body"; without an offset each begins where the one before has ended.
    """
    path, content = write_file(tmp_path, size)
    messages = [
        start(200, length(size + 7) if sized else []),
        body(b"<", more=True),
        zero(more=True, count=size // 2),
        body(b"><", more=True),
        zero(more=True, count=10),
        zero(more=True),
        zero(more=True, offset=0, count=3),
        body(b">"),
    ]
    answer = peer1.ask(script=[("send_file", str(path), messages)])
    half = size // 2
    assert answer.whole
    assert answer.body == b"<" + content[:half] + b"><" + content[half:] + content[:3] + b">"
    assert peer1.ask(script=whole()).body == b"done"


def test_the_last_file_completes_the_response(
    server: Served, peer1: Peer, key: str, tmp_path: Path
) -> None:
    """The text: "If ``False``, response will be taken as complete and closed, and any further messages on the
    channel will be ignored".
    """
    path, content = write_file(tmp_path, 500_000)
    messages = [start(), zero(), zero(), body(b"more"), {"type": "nonsense"}]
    answer = peer1.ask(script=[("send_file", str(path), messages)], key=key)
    assert (answer.body == content, answer.whole) == (True, True)
    assert server.notes(key)[:5] == [SENT] * 5


def test_a_file_that_does_not_fit_its_length_is_an_error(
    server: Served, peer1: Peer, tmp_path: Path
) -> None:
    """As of any body: never longer than the Content-Length, nor silently shorter."""
    path, _ = write_file(tmp_path, 500_000)
    answer = peer1.ask(script=[("send_file", str(path), [start(200, length(500_001)), zero()])])
    assert (answer.status, answer.whole) == (500, True)
    messages = [start(200, length(10)), zero(count=11)]
    answer = peer1.ask(script=[("send_file", str(path), messages)])
    assert (answer.status, answer.whole) == (500, True)
    messages = [start(200, length(10)), body(b"12345", more=True), zero(count=4)]
    answer = peer1.ask(script=[("send_file", str(path), messages)])
    assert (answer.status, answer.body, answer.whole) == (200, b"12345", False)


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"file": None},
        {"file": Source("__import__('io').BytesIO(b'x')")},
        {"file": -1},
        {"file": True},
        {"file": "/etc/hostname"},
        {"file": 0, "offset": -1},
        {"file": 0, "count": -1},
        {"file": 0, "count": "1"},
    ],
    ids=repr,
)
def test_what_cannot_be_sent_raises_and_changes_nothing(
    server: Served, peer1: Peer, key: str, message: dict[str, Any]
) -> None:
    """The text: "An opened file descriptor object with an underlying OS file descriptor"."""
    script = sends(start(), {"type": ZERO, **message}, body(b"right"))
    answer = peer1.ask(script=script, key=key)
    assert (answer.status, answer.body, answer.whole) == (200, b"right", True)
    assert [refused(note) for note in server.notes(key)[:3]] == [False, True, False]


def test_a_head_gets_no_file(server: Served, peer1: Peer, tmp_path: Path) -> None:
    """RFC 9110 §9.3.2: its length, as GET would have it; and the connection serves on."""
    path, _ = write_file(tmp_path, 500_000)
    answer = peer1.ask(method="HEAD", script=[("send_file", str(path), [start(), zero()])])
    assert answer.all(b"content-length") == [b"500000"]
    answer = peer1.ask(method="HEAD", script=must_send(start(), by_path(path)))
    assert answer.all(b"content-length") == [b"500000"]
    assert peer1.ask(script=whole()).body == b"done"


# ---- http.response.pathsend --------------------------------------------------------------------


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
def test_a_path_is_sent_on_every_connection(
    server: Served, version: str, tmp_path: Path, secure: bool
) -> None:
    """The text: "Path Send": offered everywhere; the Content-Length is the application's, if it says one."""
    with server.peer(version, secure=secure) as peer:
        assert peer.run([("show", "extensions")])[0]["extensions"][PATH] == {}
        for size in SIZES:
            path, content = write_file(tmp_path, size)
            for headers in ([], length(size)):
                answer = peer.ask(script=must_send(start(200, headers), by_path(path)))
                assert (answer.status, answer.whole) == (200, True)
                assert answer.body == content
                assert answer.all(b"content-length") == [b"%d" % size]
        assert peer.ask(script=whole()).body == b"done"


def test_a_path_is_a_whole_body(server: Served, peer: Peer, key: str, tmp_path: Path) -> None:
    """The text: "At any time after the Response Start message", "cannot be mixed with http.response.body" and
    "just one time in one response".
    """
    path, content = write_file(tmp_path, 1000)
    script = sends(by_path(path), start(), by_path(path), by_path(path), body(b"more"))
    answer = peer.ask(script=script, key=key)
    assert (answer.body, answer.whole) == (content, True)
    assert [refused(note) for note in server.notes(key)] == [
        True,
        False,
        False,
        False,
        False,
        False,
    ]
    script = sends(start(), body(b"a", more=True), by_path(path), body(b"b"))
    answer = peer.ask(script=script, key=key + "2")
    assert (answer.body, answer.whole) == (b"ab", True)
    assert [refused(note) for note in server.notes(key + "2")[:4]] == [False, False, True, False]


@pytest.mark.parametrize(
    "path", ["/no/such/file", "/tmp", "/dev/null", "pyproject.toml", "", "/a\0b"]
)
def test_a_path_that_cannot_be_sent_is_a_500_or_another_answer(
    server: Served, peer: Peer, key: str, path: str
) -> None:
    """It raises in send(), so an application may answer something else."""
    answer = peer.ask(script=must_send(start(), by_path(path)))
    assert (answer.status, answer.whole) == (500, True)
    script = sends(start(), by_path(path), body(b"instead"))
    answer = peer.ask(script=script, key=key)
    assert (answer.status, answer.body, answer.whole) == (200, b"instead", True)
    assert refused(server.notes(key)[1])


@pytest.mark.parametrize("path", [b"/bytes", None, 1], ids=repr)
def test_a_path_is_a_string(peer: Peer, path: Any) -> None:
    message = {"type": PATH, "path": path}
    answer = peer.ask(script=[*must_send(start()), *sends(message), *must_send(body(b"right"))])
    assert (answer.body, answer.whole) == (b"right", True)


@pytest.mark.parametrize("size", [1000, 1_000_000])
def test_a_file_that_is_not_as_long_as_was_said(
    server: Served, peer: Peer, key: str, tmp_path: Path, size: int
) -> None:
    """One that has grown is sent as far as its Content-Length; one that is shorter is a 500."""
    path, content = write_file(tmp_path, size)
    answer = peer.ask(script=must_send(start(200, length(size // 2)), by_path(path)))
    assert (answer.status, answer.body == content[: size // 2], answer.whole) == (200, True, True)
    assert peer.ask(script=whole()).body == b"done"
    answer = peer.ask(script=must_send(start(200, length(size + 1)), by_path(path)))
    assert (answer.status, answer.whole) == (500, True)


def test_a_file_that_becomes_shorter_while_it_is_sent_does_not_look_whole(
    server: Served, version: str, key: str, tmp_path: Path
) -> None:
    """The client is told of a failure, not of an end."""
    path = large_file(tmp_path)
    options: dict[str, Any] = {"receive_buffer": 4096}
    if version == HTTP2:
        options["grants"] = False
    with server.peer(version, **options) as peer:
        script = must_send(start(), by_path(path))
        exchange = peer.start(script=script, key=key)
        exchange.head()
        path.write_bytes(b"")
        if version == HTTP2:
            grant(peer)
        answer: Answer = exchange.answer()
    assert not answer.whole
    assert refused(server.notes(key)[0])


def grant(peer: Any) -> None:
    """Credit for what is left, of the connection and the stream."""
    peer.client.grants = True
    peer.client.grant(0, 1 << 20)
    peer.client.grant(1, 1 << 20)


def test_a_client_that_leaves_while_a_file_is_sent(
    server: Served, version: str, key: str, tmp_path: Path
) -> None:
    """send() raises, as for any body."""
    path = large_file(tmp_path)
    options: dict[str, Any] = {"receive_buffer": 4096}
    if version == HTTP2:
        options["grants"] = False
    with server.peer(version, **options) as peer:
        exchange = peer.start(script=sends(start(), by_path(path)), key=key)
        exchange.head()
        exchange.leave()
        notes = server.notes(key)
    assert notes[0] == SENT
    assert lost(notes[1])
    assert notes[2] == RETURNED


def test_a_file_holds_up_nobody(server: Served, version: str, tmp_path: Path) -> None:
    """It is read off the event loop, and at the pace of its client."""
    path = large_file(tmp_path)
    options: dict[str, Any] = {"receive_buffer": 4096}
    if version == HTTP2:
        options["grants"] = False
    with server.peer(version, **options) as slow:
        slow.start(script=must_send(start(), by_path(path))).head()
        small, content = write_file(tmp_path, 200_000)
        for _ in range(3):
            with server.peer(version) as peer:
                answer = peer.ask(script=must_send(start(), by_path(small)))
                assert (answer.body == content, answer.whole) == (True, True)
