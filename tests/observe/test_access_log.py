from __future__ import annotations

import io
from typing import Any

import pytest

from hyperserver.observe.access_log import AccessLog

CLIENT = ("192.0.2.7", 50_412)


def request_line(**changes: Any) -> str:
    arguments: dict[str, Any] = {
        "client": CLIENT,
        "method": "GET",
        "target": b"/path?query",
        "http_version": "1.1",
        "status": 200,
        "size": 13,
        "seconds": 0.00042,
    }
    stream = io.StringIO()
    log = AccessLog(stream)
    log.request(**{**arguments, **changes})
    log.flush()
    return stream.getvalue()


def refused_line(**changes: Any) -> str:
    arguments: dict[str, Any] = {
        "client": CLIENT,
        "method": "GET",
        "target": b"/",
        "http_version": "1.1",
        "status": 400,
        "reason": "invalid Host",
    }
    stream = io.StringIO()
    log = AccessLog(stream)
    log.refused(**{**arguments, **changes})
    log.flush()
    return stream.getvalue()


def test_a_request_is_one_line() -> None:
    assert request_line() == '192.0.2.7:50412 "GET /path?query HTTP/1.1" 200 13 0.4ms\n'


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"client": None}, '- "GET '),
        ({"client": ("2001:db8::1", 7)}, '2001:db8::1:7 "GET '),
        ({"status": 0, "size": 0}, '" - 0 0.4ms\n'),
        ({"seconds": 61.5}, " 61500.0ms\n"),
        ({"note": "disconnected"}, " 0.4ms disconnected\n"),
        ({"http_version": "2"}, ' HTTP/2" '),
    ],
)
def test_the_parts_of_a_line(changes: dict[str, Any], part: str) -> None:
    assert part in request_line(**changes)


@pytest.mark.parametrize(
    ("target", "written"),
    [
        (b'/"quoted"', r"/\"quoted\""),
        (b"/back\\slash", r"/back\\slash"),
        (b"/\x1b[31m", r"/\x1b[31m"),
        (b"/a\r\nb\0", r"/a\x0d\x0ab\x00"),
        (b"/\x7f", r"/\x7f"),
        (b"/caf\xc3\xa9", r"/caf\xc3\xa9"),
        (b"/%0A%22", r"/%0A%22"),
        (b"*", "*"),
    ],
)
@pytest.mark.parametrize("write", [request_line, refused_line])
def test_a_target_can_neither_end_its_quotes_nor_steer_a_terminal(
    write: Any, target: bytes, written: str
) -> None:
    line = write(target=target)
    assert f'"GET {written} HTTP/1.1"' in line
    assert line.count("\n") == 1
    assert line.isascii()


def test_a_refused_request_says_why() -> None:
    assert refused_line() == (
        '192.0.2.7:50412 "GET / HTTP/1.1" 400 0 0.0ms refused: invalid Host\n'
    )


def test_a_refused_request_that_could_not_be_read_is_a_dash() -> None:
    line = refused_line(method="", target=b"", client=None)
    assert line == '- "-" 400 0 0.0ms refused: invalid Host\n'


class CountingStream(io.StringIO):
    writes = 0
    flushes = 0

    def write(self, text: str) -> int:
        self.writes += 1
        return super().write(text)

    def flush(self) -> None:
        self.flushes += 1


def record(log: AccessLog) -> None:
    log.request(CLIENT, "GET", b"/", "1.1", 200, 1, 0.0)


def refuse(log: AccessLog) -> None:
    log.refused(CLIENT, "GET", b"/", "1.1", 400, "bad")


def test_lines_wait_for_the_flush_and_are_written_together() -> None:
    stream = CountingStream()
    log = AccessLog(stream)
    record(log)
    refuse(log)
    assert stream.writes == 0
    log.flush()
    assert (stream.writes, stream.flushes) == (1, 1)
    assert len(stream.getvalue().splitlines()) == 2
    log.flush()
    assert stream.writes == 1


@pytest.mark.parametrize("add", [record, refuse])
def test_many_lines_do_not_wait(add: Any) -> None:
    stream = CountingStream()
    log = AccessLog(stream)
    for _ in range(1000):
        add(log)
    assert 0 < stream.writes < 50
    log.flush()
    assert len(stream.getvalue().splitlines()) == 1000


class BrokenStream(io.StringIO):
    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def write(self, text: str) -> int:
        raise self.error


@pytest.mark.parametrize(
    "error", [BrokenPipeError(), OSError("disk full"), ValueError("I/O operation on closed file")]
)
def test_a_reader_that_went_away_does_not_matter(error: Exception) -> None:
    log = AccessLog(BrokenStream(error))
    record(log)
    log.flush()
    record(log)
    log.flush()


def test_a_status_that_is_no_success_can_have_a_color() -> None:
    stream = io.StringIO()
    log = AccessLog(stream, color=True)
    for status in (200, 404, 503):
        log.request(("10.0.0.1", 5), "GET", b'/a" 500 0 1.0ms', "1.1", status, 3, 0.001)
    log.flush()
    ok, missing, busy = stream.getvalue().splitlines()
    assert "\x1b" not in ok
    assert missing.endswith('HTTP/1.1" \x1b[33m404\x1b[0m 3 1.0ms')
    assert busy.count("\x1b") == 2
    assert "\x1b[31m503\x1b[0m" in busy


def test_a_batch_is_written_in_whole_lines_that_a_pipe_takes_at_once() -> None:
    writes: list[str] = []

    class Pipe(io.StringIO):
        def write(self, text: str) -> int:
            writes.append(text)
            return len(text)

    log = AccessLog(Pipe())
    for number in range(100):
        log.request(None, "GET", b"/" + b"x" * (number * 10), "1.1", 200, number, 0.001)
    log.request(None, "GET", b"/" + b"x" * 9000, "1.1", 200, 0, 0.001)
    log.request(None, "GET", b"/", "1.1", 200, 0, 0.001)
    log.flush()
    assert all(write.endswith("\n") for write in writes)
    assert all(len(write) <= 4096 or write.count("\n") == 1 for write in writes)
    assert "".join(writes).count("\n") == 102
