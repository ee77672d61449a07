from __future__ import annotations

import os
import socket
from collections.abc import Callable

import pytest

from hyperserver.config import Listen
from hyperserver.errors import ListenError
from hyperserver.runtime import activation
from hyperserver.runtime.activation import passed_sockets
from hyperserver.runtime.listeners import close_all, open_all

US = str(os.getpid())


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, {}),
        ({"LISTEN_PID": US, "LISTEN_FDS": "1"}, {"unknown": [3]}),
        ({"LISTEN_PID": US, "LISTEN_FDS": "1", "LISTEN_FDNAMES": "web"}, {"web": [3]}),
        (
            {"LISTEN_PID": US, "LISTEN_FDS": "4", "LISTEN_FDNAMES": "web:admin:web"},
            {"web": [3, 5], "admin": [4], "unknown": [6]},
        ),
        ({"LISTEN_PID": "1", "LISTEN_FDS": "1", "LISTEN_FDNAMES": "web"}, {}),
        ({"LISTEN_FDS": "1", "LISTEN_FDNAMES": "web"}, {}),
        ({"LISTEN_PID": US, "LISTEN_FDS": "-1"}, {}),
    ],
)
def test_what_the_environment_says(environ: dict[str, str], expected: dict[str, list[int]]) -> None:
    assert passed_sockets(environ) == expected


Pass = Callable[[str, list[socket.socket]], None]


@pytest.fixture
def passed(monkeypatch: pytest.MonkeyPatch) -> Pass:
    """Have sockets passed as systemd would, though from another number on."""

    def pass_(names: str, sockets: list[socket.socket]) -> None:
        numbers = [sock.detach() for sock in sockets]
        first = max(numbers) + 50
        for index, number in enumerate(numbers):
            os.dup2(number, first + index)
            os.close(number)
        monkeypatch.setattr(activation, "_FIRST", first)
        monkeypatch.setenv("LISTEN_PID", US)
        monkeypatch.setenv("LISTEN_FDS", str(len(numbers)))
        monkeypatch.setenv("LISTEN_FDNAMES", names)

    return pass_


def listening() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0))


def test_all_sockets_of_a_name_are_served(passed: Pass) -> None:
    sockets = [listening() for _ in range(3)]
    ports = [sock.getsockname()[1] for sock in sockets]
    passed("web:admin:web", sockets)
    listens = (Listen(bind=("systemd:web",), backlog=9), Listen(bind=("systemd:admin",)))
    opened = open_all(listens)
    try:
        assert [each.server[1] for each in opened] == [ports[0], ports[2], ports[1]]
        assert opened[0].url == f"http://127.0.0.1:{ports[0]}"
        assert opened[0].backlog == 9
        assert not opened[0].sock.getblocking()
        assert not opened[0].sock.get_inheritable()
        assert opened[0].for_slot(1) is opened[0]
    finally:
        close_all(opened)


def test_a_name_that_was_not_passed(passed: Pass) -> None:
    passed("web:admin", [listening(), listening()])
    with pytest.raises(
        ListenError, match="systemd:shop: systemd has passed no socket of that"
    ) as e:
        open_all((Listen(bind=("systemd:shop",)),))
    assert "only 'web', 'admin'; start the service by a socket unit" in str(e.value)
    close_all(open_all((Listen(bind=("systemd:web", "systemd:admin")),)))


def test_started_by_hand() -> None:
    with pytest.raises(ListenError, match="no socket of that name, nor any other; start"):
        open_all((Listen(bind=("systemd:web",)),))


def test_a_connection_instead_of_a_listener(passed: Pass) -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        passed("web", [ours])
        with pytest.raises(ListenError, match="systemd:web: a connection; set Accept=no"):
            open_all((Listen(bind=("systemd:web",)),))


def test_a_datagram_socket(passed: Pass) -> None:
    passed("web", [socket.socket(type=socket.SOCK_DGRAM)])
    with pytest.raises(ListenError, match="systemd:web: not a stream socket"):
        open_all((Listen(bind=("systemd:web",)),))
    os.close(activation._FIRST)
