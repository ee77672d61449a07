"""Durations and sizes as people write them: ``"30s"``, ``"16MiB"``."""

from __future__ import annotations

import re

_QUANTITY = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)")
DURATIONS = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86_400.0}
SIZES = {
    "B": 1,
    "kB": 1000,
    "KB": 1000,
    "MB": 1000**2,
    "GB": 1000**3,
    "KiB": 1024,
    "MiB": 1024**2,
    "GiB": 1024**3,
}


class Mistake(ValueError):
    """A value that is wrong, with the remedy apart."""

    def __init__(self, message: str, advice: str) -> None:
        super().__init__(f"{message}; {advice}")
        self.message = message
        self.advice = advice


def parse_duration(value: object) -> float:
    """Seconds from ``"500ms"``, ``"30s"``, ``"5m"``, ``"1h"``, ``"1d"``. Raises ValueError."""
    return _parse(value, DURATIONS, 'a duration such as "30s"', 's"')


def parse_size(value: object) -> int:
    """Bytes from ``"512B"``, ``"64KiB"``, ``"16MiB"``, ``"1GB"``. Raises ValueError."""
    size = _parse(value, SIZES, 'a size such as "16MiB"', 'B", "…KiB" or "…MiB"')
    if size != int(size):
        raise ValueError(f"{value!r} is not a whole number of bytes")
    return int(size)


def parse_count(value: object) -> int:
    """A number from 1 up, or 0 for ``"auto"``. Raises ValueError."""
    if value == "auto":
        return 0
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f'must be a whole number or "auto", not {value!r}')
    if value < 1:
        raise Mistake(f"must be at least 1, not {value}", 'or "auto"')
    return value


def _parse(value: object, units: dict[str, float] | dict[str, int], what: str, hint: str) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise Mistake("needs a unit", f'write "{value}{hint}')
    match = _QUANTITY.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"expected {what}, not {value!r}")
    if not match[2]:
        raise Mistake("needs a unit", f'write "{match[1]}{hint}')
    if match[2] not in units:
        raise Mistake(f"unknown unit {match[2]!r}", f"use one of {', '.join(units)}")
    return float(match[1]) * units[match[2]]


def format_duration(seconds: float) -> str:
    """The inverse of ``parse_duration``, in the largest unit that stays whole."""
    if seconds >= 172_800 and seconds % 86_400 == 0:
        return f"{int(seconds // 86_400)}d"
    for unit, factor in (("h", 3600), ("m", 60), ("s", 1)):
        if seconds >= factor and seconds % factor == 0:
            return f"{int(seconds // factor)}{unit}"
    return f"{seconds * 1000:.12g}ms"


def format_size(size: int) -> str:
    """The inverse of ``parse_size``."""
    for unit, factor in (("GiB", 1024**3), ("MiB", 1024**2), ("KiB", 1024)):
        if size >= factor and size % factor == 0:
            return f"{size // factor}{unit}"
    return f"{size}B"
