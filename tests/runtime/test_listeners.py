from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hyperserver.config import Listen
from hyperserver.errors import ConfigError, ListenError
from hyperserver.runtime.listeners import OpenSocket, close_all, open_all

Open = Callable[..., list[OpenSocket]]


@pytest.fixture
def open_() -> Iterator[Open]:
    """``open_all`` for one table, closed at the end."""
    opened: list[OpenSocket] = []

    def open_these(*bind: str, mode: int = 0o666, backlog: int = 5) -> list[OpenSocket]:
        these = open_all((Listen(bind=bind, mode=mode, backlog=backlog),))
        opened.extend(these)
        return these

    yield open_these
    close_all(opened)


def port_of(opened: OpenSocket) -> int:
    port = opened.server[1]
    assert port
    return port


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="no IPv6 here")


# ---- TCP ---------------------------------------------------------------------------------------


def test_port_0_takes_a_free_one_and_says_which(open_: Open) -> None:
    (opened,) = open_("127.0.0.1:0", backlog=7)
    port = port_of(opened)
    assert opened.sock.getsockname() == ("127.0.0.1", port)
    assert opened.server == ("127.0.0.1", port)
    assert opened.url == f"http://127.0.0.1:{port}"
    assert opened.backlog == 7
    assert opened.path is None
    assert opened.sock.getblocking() is False
    assert opened.sock.get_inheritable() is False


def test_a_client_can_connect(open_: Open) -> None:
    (opened,) = open_("127.0.0.1:0")
    with socket.create_connection(opened.sock.getsockname(), 5):
        pass


def test_a_missing_host_is_every_address(open_: Open) -> None:
    (opened,) = open_(":0")
    assert opened.server[0] == "0.0.0.0"


def test_with_tls_it_says_so() -> None:
    opened = open_all((Listen(bind=("127.0.0.1:0",), tls=True), Listen(bind=("127.0.0.1:0",))))
    try:
        assert opened[0].url == f"https://127.0.0.1:{port_of(opened[0])}"
        assert [o.tls for o in opened] == [True, False]
    finally:
        close_all(opened)


def test_a_unix_socket_may_have_tls_as_well(tmp_path: Path) -> None:
    (opened,) = open_all((Listen(bind=(f"unix:{tmp_path}/s.sock",), tls=True),))
    try:
        assert opened.tls
        assert opened.path == f"{tmp_path}/s.sock"
    finally:
        close_all([opened])


@needs_ipv6
def test_an_ipv6_address_is_written_in_brackets(open_: Open) -> None:
    (opened,) = open_("[::1]:0")
    assert opened.server == ("::1", port_of(opened))
    assert opened.url == f"http://[::1]:{port_of(opened)}"
    assert opened.sock.family == socket.AF_INET6


@needs_ipv6
def test_both_families_can_have_the_same_port(open_: Open) -> None:
    (v6,) = open_("[::]:0")
    (v4,) = open_(f"0.0.0.0:{port_of(v6)}")
    assert port_of(v4) == port_of(v6)
    assert v6.sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) == 1


def test_every_address_of_localhost_has_the_same_port(open_: Open) -> None:
    opened = open_("localhost:0")
    assert len({port_of(o) for o in opened}) == 1
    hosts = [o.server[0] for o in opened]
    assert "127.0.0.1" in hosts
    assert set(hosts) <= {"127.0.0.1", "::1"}
    assert len(hosts) == len(set(hosts))


def test_a_port_can_be_taken_again_right_after_a_connection(open_: Open) -> None:
    (opened,) = open_("127.0.0.1:0")
    address = opened.sock.getsockname()
    with socket.create_connection(address, 5):
        opened.sock.setblocking(True)
        accepted, _ = opened.sock.accept()
        accepted.close()  # first: the connection lingers on this side
    close_all([opened])
    (again,) = open_(f"127.0.0.1:{address[1]}")
    assert again.sock.getsockname() == address


def test_an_address_in_use_is_refused_with_a_hint(open_: Open) -> None:
    (opened,) = open_("127.0.0.1:0")
    bind = f"127.0.0.1:{port_of(opened)}"
    with pytest.raises(ListenError) as caught:
        open_(bind)
    assert str(caught.value) == (
        f"cannot listen on {bind}: address already in use; "
        "another program listens there, choose another port with --bind"
    )


def test_an_address_of_another_machine_is_refused(open_: Open) -> None:
    with pytest.raises(ListenError, match=r"192\.0\.2\.1:0: cannot assign requested address"):
        open_("192.0.2.1:0")


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a..b", "x" * 64, "a\0b"])
def test_a_host_that_does_not_resolve_is_refused(open_: Open, host: str) -> None:
    with pytest.raises(ListenError, match="cannot listen on"):
        open_(f"{host}:0")


@pytest.mark.parametrize(
    "bind",
    ["", "8000", "localhost", "127.0.0.1", "::1:8000", "[::1]", "[::1]8000", "a:b", "a:80:80",
     "a:-1", "a:65536", "a:123456", "http://a:80", "[]:80", " a:80\n"],
)  # fmt: skip
def test_what_is_no_address_is_a_configuration_error_that_shows_the_forms(
    open_: Open, bind: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        open_(bind)
    assert str(caught.value) == (
        f'bind: {bind!r} is not an address; write "host:port", "[v6]:port", "unix:/path" or "fd:N"'
    )


# ---- Unix sockets ------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [0o600, 0o660, 0o666, 0o777])
def test_a_unix_socket_has_the_mode_whatever_the_umask(
    open_: Open, tmp_path: Path, mode: int
) -> None:
    path = tmp_path / "s.sock"
    before = os.umask(0o077)
    try:
        (opened,) = open_(f"unix:{path}", mode=mode)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == mode
    assert stat.S_ISSOCK(path.stat().st_mode)
    assert opened.server == (str(path), None)
    assert opened.url == f"unix:{path}"
    assert list(tmp_path.iterdir()) == [path]


def test_a_unix_socket_can_be_connected_to_and_is_removed_in_the_end(
    open_: Open, tmp_path: Path
) -> None:
    path = tmp_path / "s.sock"
    (opened,) = open_(f"unix:{path}")
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    close_all([opened])
    assert not path.exists()
    close_all([opened])


def stale(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))


def test_a_stale_socket_is_replaced(open_: Open, tmp_path: Path) -> None:
    path = tmp_path / "s.sock"
    stale(path)
    inode = path.stat().st_ino
    open_(f"unix:{path}")
    assert path.stat().st_ino != inode
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))


def test_a_live_socket_is_refused_and_goes_on(open_: Open, tmp_path: Path) -> None:
    path = tmp_path / "s.sock"
    open_(f"unix:{path}")
    with pytest.raises(ListenError) as caught:
        open_(f"unix:{path}")
    assert str(caught.value) == f"cannot listen on unix:{path}: address already in use"
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))


def test_a_live_socket_with_a_full_backlog_is_still_live(open_: Open, tmp_path: Path) -> None:
    path = tmp_path / "s.sock"
    open_(f"unix:{path}", backlog=1)
    clients = []
    try:
        while True:
            client = socket.socket(socket.AF_UNIX)
            clients.append(client)
            client.setblocking(False)
            if client.connect_ex(str(path)) == errno.EAGAIN:
                break
        with pytest.raises(ListenError, match="address already in use"):
            open_(f"unix:{path}")
    finally:
        for client in clients:
            client.close()


def test_a_socket_of_another_type_is_live_as_well(open_: Open, tmp_path: Path) -> None:
    path = tmp_path / "log.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(path))
        with pytest.raises(ListenError, match="address already in use"):
            open_(f"unix:{path}")
        assert path.exists()


def test_a_socket_that_took_the_place_of_ours_is_not_removed(open_: Open, tmp_path: Path) -> None:
    path = tmp_path / "s.sock"
    (first,) = open_(f"unix:{path}")
    path.rename(tmp_path / "away.sock")
    open_(f"unix:{path}")
    close_all([first])
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))


def test_a_file_that_is_no_socket_is_refused_and_kept(open_: Open, tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("precious")
    with pytest.raises(ListenError, match="the file exists and is not a socket"):
        open_(f"unix:{path}")
    assert path.read_text() == "precious"


def test_a_directory_that_does_not_exist_is_refused(open_: Open, tmp_path: Path) -> None:
    with pytest.raises(ListenError, match="no such file or directory"):
        open_(f"unix:{tmp_path}/none/s.sock")


def test_a_path_that_is_too_long_is_refused_and_leaves_nothing(open_: Open, tmp_path: Path) -> None:
    with pytest.raises(ListenError, match="too long"):
        open_(f"unix:{tmp_path}/{'x' * 120}")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("path", ["", "\0abstract", "a\0b"])
def test_a_path_that_is_none_is_a_configuration_error(open_: Open, path: str) -> None:
    with pytest.raises(ConfigError, match="needs a path"):
        open_(f"unix:{path}")


# ---- inherited sockets -------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["fd:{}", "fd://{}"])
def test_an_inherited_tcp_socket(open_: Open, form: str) -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        number = sock.detach()
        (opened,) = open_(form.format(number))
        assert opened.sock.fileno() == number
        assert not opened.tls
        assert opened.url == f"http://127.0.0.1:{port_of(opened)}"
        assert opened.sock.getblocking() is False


def test_an_inherited_unix_socket_is_not_ours_to_remove(open_: Open, tmp_path: Path) -> None:
    path = tmp_path / "s.sock"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))
        sock.listen()
        (opened,) = open_(f"fd:{sock.detach()}")
    assert (opened.server, opened.url) == ((str(path), None), f"unix:{path}")
    close_all([opened])
    assert path.exists()


def test_a_descriptor_that_is_not_open_is_refused(open_: Open) -> None:
    with pytest.raises(ListenError, match=r"cannot listen on fd:98765: Bad file descriptor"):
        open_("fd:98765")


def test_a_descriptor_that_is_no_socket_is_refused_and_stays_open(
    open_: Open, tmp_path: Path
) -> None:
    with (tmp_path / "file").open("w") as file:
        with pytest.raises(ListenError, match="Socket operation on non-socket"):
            open_(f"fd:{file.fileno()}")
        os.fstat(file.fileno())


def test_a_datagram_socket_is_refused_and_stays_open(open_: Open) -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        with pytest.raises(ListenError, match="not a stream socket"):
            open_(f"fd:{sock.fileno()}")
        os.fstat(sock.fileno())


@pytest.mark.parametrize("number", ["", "x", "-1", "1.5"])
def test_a_descriptor_that_is_no_number_is_a_configuration_error(open_: Open, number: str) -> None:
    with pytest.raises(ConfigError, match="needs a file descriptor number"):
        open_(f"fd:{number}")


# ---- all or none -------------------------------------------------------------------------------


def test_several_tables_are_opened_in_their_order(tmp_path: Path) -> None:
    opened = open_all(
        (
            Listen(bind=("127.0.0.1:0", f"unix:{tmp_path}/a.sock")),
            Listen(bind=("127.0.0.1:0",), backlog=9),
        )
    )
    try:
        assert [o.url.partition(":")[0] for o in opened] == ["http", "unix", "http"]
        assert [o.backlog for o in opened] == [2048, 2048, 9]
    finally:
        close_all(opened)


def test_one_that_fails_closes_those_before_it(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    good = (f"127.0.0.1:{port}", f"unix:{tmp_path}/a.sock")
    with pytest.raises(ListenError):
        open_all((Listen(bind=(*good, f"unix:{tmp_path}/none/b.sock")),))
    assert not list(tmp_path.iterdir())
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), 5)


# ---- owners, and ports that are shared ----------------------------------------------------------


@pytest.fixture
def open_one() -> Iterator[Callable[[Listen], OpenSocket]]:
    opened: list[OpenSocket] = []

    def open_it(listen: Listen) -> OpenSocket:
        opened.extend(open_all((listen,)))
        return opened[-1]

    yield open_it
    close_all(opened)


OpenOne = Callable[[Listen], OpenSocket]


def test_a_unix_socket_has_the_owner_that_is_asked_for(open_one: OpenOne, tmp_path: Path) -> None:
    path = tmp_path / "app.sock"
    owner = 12_345 if os.getuid() == 0 else os.getuid()
    open_one(Listen(bind=(f"unix:{path}",), owner=str(owner), group=str(os.getgid())))
    about = path.stat()
    assert (about.st_uid, about.st_gid) == (owner, os.getgid())


def test_owners_may_be_named(open_one: OpenOne, tmp_path: Path) -> None:
    pwd = pytest.importorskip("pwd")
    grp = pytest.importorskip("grp")
    user = pwd.getpwuid(os.getuid()).pw_name
    group = grp.getgrgid(os.getgid()).gr_name
    open_one(Listen(bind=(f"unix:{tmp_path}/app.sock",), owner=user, group=group))
    assert (tmp_path / "app.sock").stat().st_uid == os.getuid()


@pytest.mark.parametrize("key", ["owner", "group"])
def test_an_owner_that_is_unknown(tmp_path: Path, key: str) -> None:
    name = "nobody-we-know"
    listen = Listen(
        bind=(f"unix:{tmp_path}/app.sock",),
        owner=name if key == "owner" else None,
        group=name if key == "group" else None,
    )
    with pytest.raises(ConfigError, match=f"`listen.{key}`: there is no .* '{name}'"):
        open_all((listen,))
    assert list(tmp_path.iterdir()) == []


def test_a_port_is_shared_where_both_say_so(open_one: OpenOne) -> None:
    first = open_one(Listen(bind=("127.0.0.1:0",), reuse_port=True))
    bind = (f"127.0.0.1:{port_of(first)}",)
    assert open_one(Listen(bind=bind, reuse_port=True)).server == first.server
    with pytest.raises(ListenError, match="address already in use"):
        open_all((Listen(bind=bind),))
