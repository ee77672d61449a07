"""Files as response bodies, on a recording engine: which, how much of them, and in which order."""

from __future__ import annotations

from typing import Any

import pytest

from hyperserver.asgi.files import FileCycle, FilePart
from hyperserver.errors import ClientDisconnected, LocalProtocolError
from hyperserver.protocol.events import Headers, RequestReceived
from tests.asgi.http_cycle import ERROR_500, Engine, body, start, trailers
from tests.compiled import from_source

pytestmark = from_source

PATH = {"type": "http.response.pathsend", "path": "/srv/file"}
ZERO = {"type": "http.response.zerocopysend", "file": 7}


class ZeroCopyCycle(FileCycle):
    __slots__ = ()

    @property
    def has_zero_copy(self) -> bool:
        return True


def make(
    method: str = "GET", headers: Headers | None = None, *, version: str = "1.1"
) -> tuple[FileCycle, Engine]:
    engine = Engine()
    request = RequestReceived(1, method, b"/", headers or [], version, "http", b"a", None, True)
    return ZeroCopyCycle(engine, request), engine


def length(size: int) -> list[tuple[bytes, bytes]]:
    return [(b"content-length", b"%d" % size)]


def take(cycle: FileCycle, message: dict[str, Any]) -> FilePart:
    part = cycle.take(message)
    assert isinstance(part, FilePart)
    return part


# ---- what is asked for -------------------------------------------------------------------------


def test_a_path_is_answered_with_the_part_and_nothing_is_sent() -> None:
    cycle, engine = make()
    cycle.take(start())
    part = take(cycle, PATH)
    assert (part.path, part.file, part.offset, part.count, part.more_body) == (
        "/srv/file", None, None, None, False,
    )  # fmt: skip
    assert (part.has_content, part.limit, part.begun) == (True, None, False)
    assert engine.take() == []
    assert cycle.sends_file
    assert not cycle.complete


def test_a_descriptor_with_all_its_keys() -> None:
    cycle, _ = make()
    cycle.take(start(200, length(100)))
    cycle.take(body(b"12345", more_body=True))
    part = take(cycle, {**ZERO, "offset": 3, "count": 4, "more_body": True})
    assert (part.path, part.file, part.offset, part.count, part.more_body) == (None, 7, 3, 4, True)
    assert part.limit == 95


@pytest.mark.parametrize(
    ("count", "limit", "available", "size"),
    [
        (None, None, 10, 10),
        (4, None, 10, 4),
        (40, None, 10, 10),
        (None, 6, 10, 6),
        (None, 60, 10, 10),
        (8, 6, 10, 8),  # more than the Content-Length leaves: that is refused, not cut
        (None, None, -5, 0),  # from beyond the end
        (0, None, 10, 0),
    ],
)
def test_how_much_of_a_file_is_sent(
    count: int | None, limit: int | None, available: int, size: int
) -> None:
    part = FilePart(file=7, count=count)
    part.limit = limit
    assert part.size_of(available) == size


@pytest.mark.parametrize(
    "message",
    [
        {**PATH, "path": b"/srv/file"},
        {**PATH, "path": None},
        {"type": PATH["type"]},
        {"type": ZERO["type"]},
        {**ZERO, "file": "7"},
        {**ZERO, "file": True},
        {**ZERO, "offset": -1},
        {**ZERO, "offset": 1.5},
        {**ZERO, "count": -1},
        {**ZERO, "count": True},
    ],
    ids=repr,
)
def test_a_message_that_is_malformed_changes_nothing(message: dict[str, Any]) -> None:
    cycle, engine = make()
    cycle.take(start())
    with pytest.raises(LocalProtocolError, match=message["type"]):
        cycle.take(message)
    assert engine.take() == []
    cycle.take(body(b"x"))
    assert cycle.complete


@pytest.mark.parametrize("message", [PATH, ZERO])
def test_nothing_may_come_before_the_start(message: dict[str, Any]) -> None:
    cycle, _ = make()
    with pytest.raises(LocalProtocolError, match=r"before http\.response\.start"):
        cycle.take(message)


def test_a_path_is_not_mixed_with_a_body() -> None:
    cycle, engine = make()
    cycle.take(start())
    cycle.take(body(b"x", more_body=True))
    engine.take()
    with pytest.raises(LocalProtocolError, match="only body"):
        cycle.take(PATH)
    assert engine.take() == []


@pytest.mark.parametrize("message", [PATH, ZERO])
def test_nothing_follows_on_the_last_body(message: dict[str, Any]) -> None:
    cycle, engine = make()
    cycle.take(start(trailers=True))
    cycle.take(body(b"x"))
    with pytest.raises(LocalProtocolError, match="after the last body"):
        cycle.take(message)
    cycle.take(trailers())
    engine.take()
    assert cycle.take(message) is False
    assert engine.take() == []


def test_what_comes_while_a_file_is_sent_has_to_wait_for_it() -> None:
    cycle, engine = make()
    cycle.take(start())
    part = take(cycle, {**ZERO, "more_body": True})
    assert take(cycle, body(b"x")) is part
    assert take(cycle, PATH) is part
    cycle.begin_file(3)
    assert take(cycle, body(b"x")) is part
    cycle.file_data(b"abc", last=True)
    engine.take()
    assert cycle.take(body(b"x")) is True
    assert engine.take() == [("data", b"x", True)]


def test_it_raises_where_it_is_not_offered() -> None:
    engine = Engine()
    cycle = FileCycle(engine, RequestReceived(1, "GET", b"/", [], "2", "http", b"a", None, True))
    cycle.take(start())
    with pytest.raises(LocalProtocolError, match="zerocopysend' was not offered"):
        cycle.take(ZERO)
    assert engine.take() == []
    assert isinstance(cycle.take(PATH), FilePart)  # which always is


# ---- small files -------------------------------------------------------------------------------


def test_a_small_file_is_a_whole_response() -> None:
    cycle, engine = make()
    cycle.take(start())
    take(cycle, PATH)
    cycle.send_small(b"abc")
    assert engine.take() == [("headers", 200, length(3), False), ("data", b"abc", True)]
    assert cycle.complete
    assert cycle.content_sent == 3


def test_a_small_part_is_a_body_like_any_other() -> None:
    cycle, engine = make()
    cycle.take(start())
    take(cycle, {**ZERO, "more_body": True})
    cycle.send_small(b"abc")
    assert engine.take() == [("headers", 200, [], False), ("data", b"abc", False)]
    cycle.take(body(b"x"))
    assert cycle.content_sent == 4


def test_a_small_file_that_is_shorter_than_it_was_is_an_error_500() -> None:
    cycle, engine = make()
    cycle.take(start(200, length(5)))
    take(cycle, PATH)
    with pytest.raises(LocalProtocolError, match="shorter"):
        cycle.send_small(b"abc")
    assert engine.take() == []
    cycle.finish(failed=True)
    assert engine.take() == ERROR_500


# ---- others ------------------------------------------------------------------------------------


def test_a_file_in_pieces() -> None:
    cycle, engine = make()
    cycle.take(start())
    take(cycle, PATH)
    cycle.begin_file(6)
    assert engine.take() == [("headers", 200, length(6), False)]
    cycle.file_data(b"abc", last=False)
    cycle.file_data(b"def", last=True)
    assert engine.take() == [("data", b"abc", False), ("data", b"def", True)]
    assert cycle.complete
    assert cycle.content_sent == 6


def test_the_bytes_may_have_gone_another_way() -> None:
    cycle, engine = make()
    cycle.take(start(200, length(6)))
    take(cycle, PATH)
    cycle.begin_file(6)
    cycle.bytes_sent += 6
    cycle.file_data(b"", last=True)
    assert engine.take() == [("headers", 200, length(6), False), ("data", b"", True)]
    assert cycle.content_sent == 6


def test_parts_and_bodies_in_turns() -> None:
    cycle, engine = make()
    cycle.take(start(200, length(7)))
    cycle.take(body(b"<", more_body=True))
    for data in (b"ab", b"cd"):
        take(cycle, {**ZERO, "more_body": True})
        cycle.begin_file(2)
        cycle.file_data(data, last=True)
    take(cycle, {**ZERO, "more_body": True})
    cycle.begin_file(0)
    cycle.file_data(b"", last=True)  # of nothing, nothing is sent
    cycle.take(body(b"|", more_body=True))
    cycle.take(body(b">"))
    assert [call[1] for call in engine.take()[1:]] == [b"<", b"ab", b"cd", b"|", b">"]
    assert cycle.complete


@pytest.mark.parametrize("state", ["held", "body"])
def test_a_part_that_exceeds_the_content_length(state: str) -> None:
    cycle, engine = make()
    cycle.take(start(200, length(5)))
    if state == "body":
        cycle.take(body(b"abc", more_body=True))
    engine.take()
    take(cycle, {**ZERO, "count": 9})
    with pytest.raises(LocalProtocolError, match="longer"):
        cycle.begin_file(9)
    assert not cycle.sends_file
    assert engine.take() == ([("reset", "wrong content length")] if state == "body" else [])


def test_a_path_that_is_shorter_than_the_content_length() -> None:
    cycle, engine = make()
    cycle.take(start(200, length(9)))
    part = take(cycle, PATH)
    with pytest.raises(LocalProtocolError, match="shorter"):
        cycle.begin_file(8)
    cycle.leave_file(part)
    cycle.finish(failed=True)
    assert engine.take() == ERROR_500


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304)])
def test_where_there_is_no_content_only_the_size_counts(method: str, status: int) -> None:
    cycle, engine = make(method)
    cycle.take(start(status))
    assert take(cycle, PATH).has_content is False
    cycle.begin_file(9)
    cycle.file_data(b"", last=True)
    sized = length(9) if status == 200 else []
    assert engine.take() == [("headers", status, sized, False), ("data", b"", True)]
    assert cycle.content_sent == 0


def test_a_head_keeps_its_content_length() -> None:
    cycle, engine = make("HEAD")
    cycle.take(start(200, length(5)))
    assert take(cycle, PATH).limit is None
    cycle.begin_file(9)
    cycle.file_data(b"", last=True)
    assert engine.take()[0] == ("headers", 200, length(5), False)


def test_trailers_follow_on_a_file() -> None:
    cycle, engine = make(headers=[(b"te", b"trailers")])
    cycle.take(start(trailers=True))
    take(cycle, PATH)
    cycle.begin_file(3)
    cycle.file_data(b"abc", last=True)
    assert not cycle.complete
    cycle.take(trailers([(b"x-sum", b"6")]))
    assert engine.take() == [
        ("headers", 200, [], False),  # a length would leave no place for them
        ("data", b"abc", False),
        ("trailers", [(b"x-sum", b"6")]),
    ]


# ---- failures ----------------------------------------------------------------------------------


@pytest.mark.parametrize("held", [True, False])
def test_a_file_that_cannot_be_opened_leaves_all_as_it_was(held: bool) -> None:
    cycle, engine = make()
    cycle.take(start())
    if not held:
        cycle.take(body(b"x", more_body=True))
    part = take(cycle, ZERO)
    cycle.leave_file(part)
    cycle.take(body(b"instead"))
    assert cycle.complete
    assert engine.take()[-1] == ("data", b"instead", True)
    cycle.leave_file(part)  # once more is no fault
    assert cycle.complete


def test_a_file_that_was_not_sent_to_its_end_resets_the_stream() -> None:
    cycle, engine = make()
    cycle.take(start())
    part = take(cycle, {**ZERO, "more_body": True})
    cycle.begin_file(6)
    cycle.file_data(b"abc", last=False)
    engine.take()
    cycle.cut_file(part)
    cycle.leave_file(part)
    assert engine.take() == [("reset", "the file was not sent to its end")]
    with pytest.raises(ClientDisconnected):
        cycle.take(body(b"x"))
    cycle.cut_file(part)
    assert cycle.finish(failed=True) is False
    assert engine.take() == []


def test_a_part_that_is_over_does_nothing_to_the_next() -> None:
    """Its sender may be waiting for the client still, or be cancelled then."""
    cycle, engine = make()
    cycle.take(start())
    first = take(cycle, {**ZERO, "more_body": True})
    cycle.begin_file(3)
    cycle.file_data(b"abc", last=True)
    second = take(cycle, ZERO)
    cycle.begin_file(3)
    engine.take()
    cycle.cut_file(first)
    cycle.leave_file(first)
    assert cycle.sends_file
    cycle.file_data(b"def", last=True)
    cycle.cut_file(second)
    assert engine.take() == [("data", b"def", True)]
    assert cycle.complete


@pytest.mark.parametrize("end", ["gone", "finished"])
def test_a_file_for_which_it_is_too_late(end: str) -> None:
    cycle, engine = make()
    cycle.take(start())
    part = take(cycle, PATH)
    cycle.begin_file(6)
    engine.take()
    if end == "gone":
        cycle.closed()
    else:
        cycle.finish(failed=False)  # the application has left it to another task
        assert engine.take() == [("reset", "application error")]
    assert not cycle.sends_file
    with pytest.raises(ClientDisconnected):
        cycle.file_data(b"abc", last=True)
    cycle.cut_file(part)
    cycle.leave_file(part)
    assert engine.take() == []
