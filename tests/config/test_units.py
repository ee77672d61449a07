from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hyperserver.config.units import format_duration, format_size, parse_duration, parse_size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("500ms", 0.5),
        ("30s", 30),
        ("1.5s", 1.5),
        ("5m", 300),
        ("5min", 300),
        ("1h", 3600),
        ("2d", 172_800),
        ("0s", 0),
        ("30 s", 30),
        (" 30s ", 30),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("512B", 512),
        ("1kB", 1000),
        ("1KB", 1000),
        ("64KiB", 65_536),
        ("16MiB", 16 * 1024**2),
        ("1MB", 1_000_000),
        ("1GB", 1_000_000_000),
        ("2GiB", 2 * 1024**3),
        ("0.5KiB", 512),
        ("1 MiB", 1024**2),
        ("0B", 0),
    ],
)
def test_sizes(text: str, size: int) -> None:
    parsed = parse_size(text)
    assert parsed == size
    assert type(parsed) is int


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (30, 'needs a unit; write "30s"'),
        (1.5, 'needs a unit; write "1.5s"'),
        ("30", 'needs a unit; write "30s"'),
        ("30 parsecs", "unknown unit 'parsecs'; use one of ms, s, m, min, h, d"),
        ("30S", "unknown unit 'S'"),
        ("64KiB", "unknown unit 'KiB'"),
        ("", "expected a duration such as \"30s\", not ''"),
        ("s", "expected a duration"),
        ("-1s", "expected a duration"),
        ("+1s", "expected a duration"),
        ("1e3s", "expected a duration"),
        ("1m30s", "expected a duration"),
        ("inf s", "expected a duration"),
        ("1.s", "expected a duration"),
        (True, 'expected a duration such as "30s", not True'),
        (None, "expected a duration"),
        (["30s"], "expected a duration"),
    ],
)
def test_wrong_durations_say_what_is_right(value: object, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_duration(value)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (65_536, 'needs a unit; write "65536B", "…KiB" or "…MiB"'),
        ("64", 'needs a unit; write "64B"'),
        ("64kib", "unknown unit 'kib'; use one of B, kB, KB, MB, GB, KiB, MiB, GiB"),
        ("64M", "unknown unit 'M'"),
        ("30s", "unknown unit 's'"),
        ("0.3B", "'0.3B' is not a whole number of bytes"),
        ("-1KiB", 'expected a size such as "16MiB"'),
        (False, "expected a size"),
        ("lots", "expected a size"),
    ],
)
def test_wrong_sizes_say_what_is_right(value: object, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_size(value)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.5, "500ms"), (1, "1s"), (90, "90s"), (60, "1m"), (7200, "2h"), (0, "0ms")],
)
def test_durations_are_written_in_the_largest_whole_unit(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0B"), (1000, "1000B"), (1024, "1KiB"), (65_536, "64KiB"), (16 * 1024**2, "16MiB")],
)
def test_sizes_are_written_in_the_largest_whole_unit(size: int, text: str) -> None:
    assert format_size(size) == text


@given(st.integers(0, 2**50))
def test_a_written_size_is_read_back(size: int) -> None:
    assert parse_size(format_size(size)) == size


@given(st.integers(1, 10**8))
def test_a_written_duration_is_read_back(milliseconds: int) -> None:
    seconds = milliseconds / 1000
    assert parse_duration(format_duration(seconds)) == pytest.approx(seconds, rel=1e-5)
