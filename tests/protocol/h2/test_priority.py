"""The priority field against the grammar of Structured Fields, and what is made of it."""

from __future__ import annotations

import string

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hyperserver.errors import RemoteProtocolError
from hyperserver.protocol.h2 import priority
from hyperserver.protocol.h2.priority import (
    DEFAULT,
    Dependency,
    Priority,
    merge_priority,
    parse_priority,
    parse_priority_update,
)

QUICK = settings(max_examples=500, deadline=None, derandomize=True)

VALID = [
    (b"", 3, False),
    (b"   ", 3, False),
    (b"u=0", 0, False),
    (b"u=7", 7, False),
    (b"i", 3, True),
    (b"u=5, i", 5, True),
    (b"i,u=5", 5, True),
    (b"  u=5 ,\ti \t", 5, True),
    (b"u=1\t,  i=?1", 1, True),
    (b"u=1, i=?0", 1, False),
    # Integers, however written
    (b"u=007", 7, False),
    (b"u=-0", 0, False),
    (b"u=000000000000002", 2, False),
    # parameters of a member are no parameters of the priority
    (b"u=2;x;y=1;i=?1", 2, False),
    (b"i;q=0.5, u=2", 2, True),
    (b'i=?1;  a="b, c=\\"";*=*, u=2', 2, True),
    (b"u=2; i", 2, False),
    # what is out of range, or of another type, is ignored by itself
    (b"u=8, i", 3, True),
    (b"u=-1, i", 3, True),
    (b"u=999999999999999, i", 3, True),
    (b"u=3.0, i", 3, True),
    (b"u=1.5, i", 3, True),
    (b"u, i", 3, True),
    (b"u=?1, i", 3, True),
    (b'u="1", i', 3, True),
    (b"u=a, i", 3, True),
    (b"u=(1), i", 3, True),
    (b"u=:MQ==:, i", 3, True),
    (b"u=@1, i", 3, True),
    (b"u=1, i=1", 1, False),
    (b"u=1, i=0", 1, False),
    (b"u=1, i=true", 1, False),
    (b'u=1, i="?1"', 1, False),
    (b"u=1, i=(?1)", 1, False),
    # the last of several counts, also if that is to be ignored
    (b"u=1, u=2", 2, False),
    (b"u=1, i, u=9", 3, True),
    (b"u=1, u", 3, False),
    (b"i, u=2, i=?0", 2, False),
    (b"i, i=7", 3, False),
    (b"i=?0, i", 3, True),
    # unknown members of every type
    (b"a, u=2", 2, False),
    (b"u1=1, ui=?1, iu, u=2", 2, False),
    (b"*a_-.*9=1, u=2", 2, False),
    (b"a=-1, b=-1.125, c=123456789012.5, u=2", 2, False),
    (b'a="", b="\\\\ \\" ~!", u=2', 2, False),
    (b"a=*, b=A/:b!#$%&'*+-.^_`|~9, u=2", 2, False),
    (b"a=::, b=:YWJj+/8=:, u=2", 2, False),
    (b"a=@0, b=@-1659578233, u=2", 2, False),
    (b'a=%"", b=%"f%c3%bc r", u=2', 2, False),
    (b"a=(), b=( ), c=(1), d=( 1   2 ), u=2", 2, False),
    (b'a=("a" b;x=1;y  ?0);z, u=2', 2, False),
    (b"a=(1;x ), u=2", 2, False),
]

MALFORMED = [
    b"u=1,",
    b"u=1, ",
    b",u=1",
    b",",
    b"u=1,,i",
    b"u=1 i",
    b"u=1;",
    b"u=1 ;x",
    b"u=1;X",
    b"u=1;x=",
    b"u= 1",
    b"u =1",
    b"u=",
    b"=1",
    b"U=1",
    b"u=1, I",
    b"1=u",
    b"_a, u=1",
    b"-a, u=1",
    b"u=1, a\xe9",
    b"u=1\x00",
    b"u=1\n",
    b"u=1\r\n",
    b"u=+1",
    b"u=--1",
    b"u=-",
    b"u=1-",
    b"u=0000000000000001",
    b"u=1.",
    b"u=.1",
    b"u=1.1234",
    b"u=1234567890123.1",
    b"u=1.1.1",
    b"u=1, i=?2",
    b"u=1, i=?",
    b"u=1, i=??1",
    b"u=1, i=?1?",
    b'u=1, a="',
    b'u=1, a="b',
    b'u=1, a="\\b"',
    b'u=1, a="\x7f"',
    b'u=1, a="\xc3\xbc"',
    b'u=1, a="b"c',
    b"u=1, a=b c",
    b"u=1, a={}",
    b"u=1, a=:b",
    b"u=1, a=:b c:",
    b"u=1, a=:-_:",
    b"u=1, a=@",
    b"u=1, a=@1.5",
    b"u=1, a=@a",
    b'u=1, a=%"%C3"',
    b'u=1, a=%"%c"',
    b"u=1, a=%b",
    b"u=1, a=(",
    b"u=1, a=(1",
    b"u=1, a=(1,2)",
    b"u=1, a=(1\t2)",
    b'u=1, a=("a""b")',
    b"u=1, a=((1))",
    b"u=1, a=)",
    b"u=1, a=(1 2)3",
    b"u=1;a=(1)",
    "u=1, a=\N{FULLWIDTH DIGIT ONE}".encode(),
]


@pytest.mark.parametrize(("value", "urgency", "incremental"), VALID)
def test_what_a_field_says(value: bytes, urgency: int, incremental: bool) -> None:
    assert parse_priority(value) == Priority(urgency, incremental)


@pytest.mark.parametrize("value", MALFORMED)
def test_one_fault_makes_the_whole_field_void(value: bytes) -> None:
    assert parse_priority(value) == DEFAULT
    assert parse_priority(b"i, " + value) == DEFAULT


def test_only_spaces_may_stand_before_the_first_key() -> None:
    assert parse_priority(b"\tu=1") == DEFAULT


def test_urgency_and_incremental_are_of_these_types() -> None:
    for value in (b"u=5, i", b"i=?0", b"u=9", b"u=1,"):
        urgency, incremental = parse_priority(value)
        assert type(urgency) is int
        assert type(incremental) is bool


def test_defaults() -> None:
    assert DEFAULT == Priority() == Priority(3, False)
    assert Dependency() == Dependency(0, 16, False)


@pytest.mark.parametrize(
    "value",
    [
        b"u=" + b"a" * 300_000,
        b"u=" + b"a" * 300_000 + b"\x00",
        b"u;" + b" " * 300_000 + b"\x00",
        b"u=1" + b";x" * 150_000 + b"\x00",
        b"u=(" + b"a " * 150_000 + b"\x00",
        b"u=(" + b"a;b " * 75_000 + b"\x00",
        b"u=(a" + b" " * 300_000,
        b'u="' + b'\\"' * 150_000,
        b"u=1" + b" " * 300_000 + b"\x00",
        b"a," * 150_000,
    ],
    ids=lambda value: f"{value[:8].decode()}…",
)
def test_a_long_field_takes_no_undue_time(value: bytes) -> None:
    """More than linear time would not end within this suite's time limit."""
    parse_priority(value)


def test_what_is_remembered_is_bounded() -> None:
    for n in range(1, 1000):
        assert parse_priority(b"u=1, a=%d" % n) == Priority(1)
        assert parse_priority(b"u=1, a=%d" % n) == Priority(1)
        assert parse_priority(b"u=1, a" + b"b" * n) == Priority(1)
    assert len(priority._known) <= 256
    assert max(map(len, priority._known)) <= 64


# ---- merging --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "merged"),
    [
        (b"", Priority(5, True)),
        (b"u=1", Priority(1, True)),  # the example of RFC 9218 §8
        (b"u=3", Priority(3, True)),
        (b"i=?0", Priority(5, False)),
        (b"u=0, i=?0", Priority(0, False)),
        (b"u=9, i=?0", Priority(5, False)),
        (b"u=1, i=0", Priority(1, True)),
        (b"u=1, u=9", Priority(5, True)),
        (b"u=1, i=?0,", Priority(5, True)),
        (b"x", Priority(5, True)),
    ],
)
def test_the_response_overrides_what_it_names(value: bytes, merged: Priority) -> None:
    assert merge_priority(Priority(5, True), value) == merged


def test_the_response_may_turn_incremental_on() -> None:
    assert merge_priority(Priority(5), b"i") == Priority(5, True)


# ---- PRIORITY_UPDATE ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("payload", "stream_id", "parsed"),
    [
        (b"\x00\x00\x00\x05u=1, i", 5, Priority(1, True)),
        (b"\x00\x00\x00\x05", 5, DEFAULT),
        (b"\x00\x00\x00\x05i", 5, Priority(3, True)),  # what is left out is the default
        (b"\x00\x00\x00\x05u=1,", 5, DEFAULT),
        (b"\x00\x00\x00\x05\xff", 5, DEFAULT),
        (b"\x80\x00\x00\x05u=0", 5, Priority(0)),  # the reserved bit
        (b"\xff\xff\xff\xffu=0", 2**31 - 1, Priority(0)),
        (b"\x00\x00\x00\x00u=0", 0, Priority(0)),
    ],
)
def test_priority_update(payload: bytes, stream_id: int, parsed: Priority) -> None:
    assert parse_priority_update(payload) == (stream_id, parsed)


@pytest.mark.parametrize("size", range(4))
def test_a_priority_update_without_a_stream_id(size: int) -> None:
    with pytest.raises(RemoteProtocolError):
        parse_priority_update(b"\x00\x00\x00\x05"[:size])


# ---- against the algorithms of RFC 9651 §4.2, written out ------------------------------------


class Malformed(Exception):
    pass


class Reader:
    """The parsing algorithms step by step; of values, only Integers and Booleans are kept."""

    def __init__(self, value: bytes) -> None:
        try:
            self.rest = value.decode("ascii")
        except UnicodeDecodeError:
            raise Malformed from None

    def take(self, characters: str) -> str:
        n = 0
        while self.rest[n : n + 1] and self.rest[n] in characters:
            n += 1
        taken, self.rest = self.rest[:n], self.rest[n:]
        return taken

    def accept(self, character: str) -> bool:
        if self.rest[:1] != character:
            return False
        self.rest = self.rest[1:]
        return True

    def expect(self, character: str) -> None:
        if not self.accept(character):
            raise Malformed

    def dictionary(self) -> dict[str, object]:
        members: dict[str, object] = {}
        self.take(" ")
        while self.rest:
            key = self.key()
            members[key] = True
            if self.accept("="):
                members[key] = self.inner_list() if self.rest[:1] == "(" else self.bare_item()
            self.parameters()
            self.take(" \t")
            if not self.rest:
                return members
            self.expect(",")
            self.take(" \t")
            if not self.rest:
                raise Malformed
        return members

    def inner_list(self) -> object:
        self.expect("(")
        while True:
            self.take(" ")
            if self.accept(")"):
                return None
            self.bare_item()
            self.parameters()
            if self.rest[:1] not in {" ", ")"}:
                raise Malformed

    def parameters(self) -> None:
        while self.accept(";"):
            self.take(" ")
            self.key()
            if self.accept("="):
                self.bare_item()

    def key(self) -> str:
        if not self.rest or self.rest[0] not in string.ascii_lowercase + "*":
            raise Malformed
        return self.take(string.ascii_lowercase + string.digits + "_-.*")

    def bare_item(self) -> object:
        first = self.rest[:1]
        if first and first in "-" + string.digits:
            return self.number()
        if first == '"':
            return self.quoted()
        if first and first in string.ascii_letters + "*":
            self.take(string.ascii_letters + string.digits + "!#$%&'*+-.^_`|~:/")
            return None
        if self.accept(":"):
            self.take(string.ascii_letters + string.digits + "+/=")
            self.expect(":")
            return None
        if self.accept("?"):
            if self.rest[:1] not in {"0", "1"}:
                raise Malformed
            true = self.accept("1")
            return true or not self.accept("0")
        if self.accept("@"):
            if type(self.number()) is not int:
                raise Malformed
            return None
        self.expect("%")
        return self.display_string()

    def number(self) -> int | float:
        sign = -1 if self.accept("-") else 1
        whole = self.take(string.digits)
        if not whole:
            raise Malformed
        if not self.accept("."):
            if len(whole) > 15:
                raise Malformed
            return sign * int(whole)
        fraction = self.take(string.digits)
        if len(whole) > 12 or not 1 <= len(fraction) <= 3:
            raise Malformed
        return sign * float(f"{whole}.{fraction}")

    def quoted(self) -> object:
        self.expect('"')
        while not self.accept('"'):
            if self.accept("\\"):
                if self.rest[:1] not in {'"', "\\"}:
                    raise Malformed
            elif not " " <= self.rest[:1] <= "~":
                raise Malformed
            self.rest = self.rest[1:]
        return None

    def display_string(self) -> object:
        self.expect('"')
        while not self.accept('"'):
            if self.accept("%"):
                digits = self.rest[:2]
                if len(digits) < 2 or digits.strip(string.digits + "abcdef"):
                    raise Malformed
                self.rest = self.rest[2:]
            elif " " <= self.rest[:1] <= "~":
                self.rest = self.rest[1:]
            else:
                raise Malformed
        return None


def by_the_book(value: bytes) -> Priority:
    try:
        members = Reader(value).dictionary()
    except Malformed:
        return DEFAULT
    urgency, incremental = members.get("u"), members.get("i")
    return Priority(
        urgency if type(urgency) is int and 0 <= urgency <= 7 else 3,
        incremental if type(incremental) is bool else False,
    )


@pytest.mark.parametrize("value", [value for value, _, _ in VALID] + MALFORMED)
def test_the_examples_are_right_by_the_book(value: bytes) -> None:
    assert by_the_book(value) == parse_priority(value)


alphabet = st.sampled_from([bytes([c]) for c in b'ui=?01 ,;\t"\\()-.:@%a9*A/\x7f\xe9'])
pieces = st.sampled_from(
    (b"u=1", b"u=5", b"i", b"i=?0", b"a", b", ", b",", b";", b"; x=1", b"=", b" ", b"(", b")")
) | st.sampled_from(
    (b"( 1 b )", b'"', b'"a, \\""', b"-1.5", b"*b", b":YQ==:", b"@1", b'%"%c3"', b"=(", b'="')
)


@QUICK
@given(value=st.lists(alphabet | pieces, max_size=14).map(b"".join))
@example(b'u=1, a="\\\\", i')
def test_any_bytes_mean_what_the_book_says(value: bytes) -> None:
    assert parse_priority(value) == by_the_book(value)


@QUICK
@given(
    value=st.sampled_from([value for value, _, _ in VALID]),
    cut=st.integers(0, 40),
    end=st.integers(0, 40),
    insert=alphabet | pieces | st.just(b""),
)
def test_mutated_fields_mean_what_the_book_says(
    value: bytes, cut: int, end: int, insert: bytes
) -> None:
    mutated = value[:cut] + insert + value[max(cut, end) :]
    assert parse_priority(mutated) == by_the_book(mutated)
