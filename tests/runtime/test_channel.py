"""The two ends of a worker's channel."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from hyperserver.config import Config
from hyperserver.runtime.channel import Lower, Upper


@pytest.fixture
def ends() -> Iterator[tuple[Upper, Lower]]:
    one, other = socket.socketpair()
    with one, other:
        yield Upper(one), Lower(other)


def test_orders_carry_anything(ends: tuple[Upper, Lower]) -> None:
    upper, lower = ends
    config = Config(app="shop:app")
    upper.order("first", config)
    assert lower.first_order() == ("first", config)
    upper.order("drain", True)
    upper.order("force")
    assert list(lower.orders()) == [("drain", True), ("force",)]
    assert list(lower.orders()) == []


def test_an_order_in_pieces(ends: tuple[Upper, Lower]) -> None:
    upper, lower = ends
    one, other = socket.socketpair()
    with one, other:
        Upper(one).order("drain", False)
        data = other.recv(4096)
    for octet in data[:-1]:
        upper.sock.sendall(bytes([octet]))
        assert list(lower.orders()) == []
    upper.sock.sendall(data[-1:])
    assert list(lower.orders()) == [("drain", False)]


def test_the_end_of_orders_comes_after_the_last(ends: tuple[Upper, Lower]) -> None:
    upper, lower = ends
    upper.order("drain", False)
    upper.close()
    assert list(lower.orders()) == [("drain", False)]
    with pytest.raises(EOFError):
        list(lower.orders())
    with pytest.raises(EOFError):
        lower.first_order()
    lower.report("beat")  # to nobody


def test_reports(ends: tuple[Upper, Lower]) -> None:
    upper, lower = ends
    assert list(upper.reports()) == []
    lower.report("failed", 3, "two\nlines")
    lower.report("beat")
    assert list(upper.reports()) == [["failed", 3, "two\nlines"], ["beat"]]
    assert not upper.ended
    lower.sock.close()
    assert list(upper.reports()) == []
    assert upper.ended


def test_nonsense_from_below_is_nothing(ends: tuple[Upper, Lower]) -> None:
    upper, lower = ends
    lower.sock.sendall(b'\x80\x04.\n{}\n[]\n"text"\n[1\n["beat"]\n["half')
    assert list(upper.reports()) == [["beat"]]


def test_orders_to_the_dead_are_dropped(ends: tuple[Upper, Lower]) -> None:
    upper, lower = ends
    lower.sock.close()
    upper.order("drain", True)
    assert list(upper.reports()) == []
    assert upper.ended
