from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hyperserver.errors import LocalProtocolError
from hyperserver.protocol.websocket.frames import (
    WebSocketFault,
    check_code,
    close_payload,
    head,
    is_sendable,
    read_close,
)
from tests.engines.ws_peer import INVALID_CODES, VALID_CODES


@pytest.mark.parametrize(
    ("length", "expected"),
    [
        (0, "8100"),
        (1, "8101"),
        (125, "817d"),
        (126, "817e007e"),
        (127, "817e007f"),
        (256, "817e0100"),
        (65_535, "817effff"),
        (65_536, "817f0000000000010000"),
        (2**40, "817f0000010000000000"),
        (2**63 - 1, "817f7fffffffffffffff"),
    ],
)
def test_a_length_takes_as_few_bytes_as_it_can(length: int, expected: str) -> None:
    assert head(0x81, length).hex() == expected


@pytest.mark.parametrize("code", VALID_CODES)
def test_codes_that_may_be_sent(code: int) -> None:
    assert is_sendable(code)
    assert check_code(code) == code
    assert read_close(struct.pack("!H", code) + b"why") == (code, "why")


@pytest.mark.parametrize("code", INVALID_CODES)
def test_codes_that_may_not(code: int) -> None:
    assert not is_sendable(code)
    with pytest.raises(LocalProtocolError, match=str(code)):
        check_code(code)
    with pytest.raises(WebSocketFault) as caught:
        read_close(struct.pack("!H", code))
    assert caught.value.code == 1002


@pytest.mark.parametrize("code", [True, False, None, "1000", 1000.0, b"\x03\xe8", -1000, 66_536])
def test_what_is_no_code_at_all(code: object) -> None:
    with pytest.raises(LocalProtocolError):
        check_code(code)


def test_a_close_without_a_code_is_not_a_fault() -> None:
    assert read_close(b"") == (None, "")
    assert close_payload(None, "") == b""


def test_half_a_code() -> None:
    with pytest.raises(WebSocketFault) as caught:
        read_close(b"\x03")
    assert caught.value.code == 1002


@pytest.mark.parametrize("reason", [b"\xff", b"\xc3", b"ok\xed\xa0\x80", b"\xc0\xaf"])
def test_a_reason_that_is_not_text(reason: bytes) -> None:
    with pytest.raises(WebSocketFault) as caught:
        read_close(b"\x03\xe8" + reason)
    assert caught.value.code == 1007


@pytest.mark.parametrize(
    ("reason", "kept"),
    [
        ("", ""),
        ("x" * 123, "x" * 123),
        ("x" * 124, "x" * 123),
        ("é" * 62, "é" * 61),  # 2 bytes each: 122
        ("x" + "é" * 61, "x" + "é" * 61),  # 123
        ("€" * 42, "€" * 41),  # 3 bytes each: 123
        ("x" + "€" * 41, "x" + "€" * 40),
        ("𝄞" * 31, "𝄞" * 30),  # 4 bytes each: 120
        ("xxx" + "𝄞" * 31, "xxx" + "𝄞" * 30),
    ],
)
def test_a_reason_is_cut_between_characters(reason: str, kept: str) -> None:
    assert close_payload(4000, reason) == b"\x0f\xa0" + kept.encode()


@given(st.sampled_from(VALID_CODES), st.text(max_size=200))
def test_any_reason_fits_and_is_a_beginning_of_itself(code: int, reason: str) -> None:
    payload = close_payload(code, reason)
    assert len(payload) <= 125
    read_code, read_reason = read_close(payload)
    assert read_code == code
    assert reason.startswith(read_reason)
    if read_reason != reason:  # nothing is cut that would have fitted
        assert len(payload) + len(reason[len(read_reason)].encode()) > 125
