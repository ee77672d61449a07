"""Opening the sockets that a configuration names."""

from __future__ import annotations

import errno
import os
import socket
import stat
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hyperserver.asgi.scope import Address
from hyperserver.config.addresses import split_host_port
from hyperserver.config.schema import Listen
from hyperserver.errors import ConfigError, ListenError
from hyperserver.runtime.activation import passed_sockets
from hyperserver.runtime.process import group_id, user_id

_REUSE_PORT: int = getattr(socket, "SO_REUSEPORT", 0)


@dataclass(slots=True)
class OpenSocket:
    """A bound socket. ``server`` is what scopes say of it, ``url`` what the log says.

    ``tls`` means that connections begin with a handshake, ``protocols`` are ALPN names; ``path`` is
    the file of a Unix socket that is ours to remove; ``listen`` are all the settings. ``places``
    are the others of those with ``reuse_port``: see ``for_slot``.
    """

    sock: socket.socket
    server: Address
    url: str
    backlog: int
    tls: bool = False
    protocols: tuple[str, ...] = ("h2", "http/1.1")
    path: str | None = None
    inode: int = 0
    listen: Listen = field(default_factory=Listen)
    places: list[OpenSocket] = field(default_factory=list)

    def for_slot(self, index: int) -> OpenSocket:
        """The socket of the worker in slot ``index``: this one, or with ``reuse_port`` its own.

        It is opened when it is first asked for, and stays open from one worker to the next, or what
        waits in it would be reset. Raises ListenError.
        """
        if index == 0 or not self.listen.reuse_port or self.server[1] is None:
            return self
        while len(self.places) < index:
            try:
                sock = _bound(self.sock.family, self.sock.getsockname(), self.listen)
            except OSError as error:
                raise _listen_error(self.url, error) from None
            self.places.append(replace(self, sock=sock, places=[]))
        return self.places[index - 1]

    def keep_slots(self, count: int) -> None:
        """Close the sockets of slots that are no more."""
        while len(self.places) > max(0, count - 1):
            self.places.pop().sock.close()

    def unlink(self) -> None:
        """Remove the socket file, if it is still the one we made."""
        if self.path is not None:
            try:
                if os.stat(self.path).st_ino == self.inode:
                    os.unlink(self.path)
            except OSError:
                pass


def open_all(listens: tuple[Listen, ...]) -> list[OpenSocket]:
    """Open every address, or none. Raises ConfigError, ListenError."""
    opened: list[OpenSocket] = []
    try:
        for listen in listens:
            for bind in listen.bind:
                opened += _open(bind, listen)
    except BaseException:
        close_all(opened)
        raise
    return opened


def close_all(sockets: list[OpenSocket]) -> None:
    for opened in sockets:
        opened.keep_slots(0)
        opened.sock.close()
        opened.unlink()


def _open(bind: str, listen: Listen) -> list[OpenSocket]:
    if bind.startswith("unix:"):
        return [_open_unix(bind.removeprefix("unix:"), listen)]
    if bind.startswith("fd:"):
        return [_open_fd(bind.removeprefix("fd:").removeprefix("//"), listen)]
    if bind.startswith("systemd:"):
        return _open_passed(bind, listen)
    try:
        host, port = split_host_port(bind)
    except ValueError as error:
        raise ConfigError(f"bind: {error}") from None
    return _open_tcp(bind, host, port, listen)


def _open_tcp(bind: str, host: str, port: int, listen: Listen) -> list[OpenSocket]:
    """One socket per address that ``host`` resolves to; port 0 is resolved once for all."""
    try:
        found = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE | socket.AI_NUMERICSERV
        )
    except socket.gaierror as error:
        raise ListenError(f"cannot listen on {bind}: {error.strerror}") from None
    except ValueError:  # the name has an empty or overlong label, or a NUL
        raise ListenError(f"cannot listen on {bind!r}: not a host name") from None
    opened: list[OpenSocket] = []
    for family, _, _, _, address in dict.fromkeys(found):
        target = (address[0], opened[0].server[1] if opened and port == 0 else port)
        try:
            sock = _bound(family, (*target, *address[2:]), listen, alone=True)
        except OSError as error:
            if opened and error.errno == errno.EADDRNOTAVAIL:
                continue  # the name has an address of a family that this machine lacks
            close_all(opened)
            raise _listen_error(bind, error) from None
        opened.append(_describe(sock, listen))
    return opened


def _bound(
    family: int, address: tuple[Any, ...], listen: Listen, *, alone: bool = False
) -> socket.socket:
    """A TCP socket that listens. With ``alone``, another one there is an error. Raises OSError."""
    if listen.reuse_port:
        if not _REUSE_PORT:
            raise ConfigError("`listen.reuse_port`: this platform has no SO_REUSEPORT")
        if alone:  # another server of the same user could share the port, unnoticed by both
            address = _try_alone(family, address)
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        if listen.reuse_port:
            sock.setsockopt(socket.SOL_SOCKET, _REUSE_PORT, 1)
        _bind(sock, address)
        # With SO_REUSEADDR two sockets may be bound alike; only listen() shows the conflict.
        sock.listen(listen.backlog)
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock


def _try_alone(family: int, address: tuple[Any, ...]) -> tuple[Any, ...]:
    """Bind without sharing, for a moment; the address with its port. Raises OSError."""
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        _bind(sock, address)
        return tuple(sock.getsockname())


def _bind(sock: socket.socket, address: tuple[Any, ...]) -> None:
    if os.name == "posix":
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if sock.family == socket.AF_INET6:  # "0.0.0.0" and "::" must be able to stand together
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    sock.bind(address)


def _describe(sock: socket.socket, listen: Listen) -> OpenSocket:
    name = sock.getsockname()
    if isinstance(name, tuple):
        host, port = name[0], name[1]
        shown = f"[{host}]" if ":" in host else host
        url = f"{'https' if listen.tls else 'http'}://{shown}:{port}"
        return OpenSocket(
            sock, (host, port), url, listen.backlog, listen.tls, listen.protocols, listen=listen
        )
    path = os.fsdecode(name)
    return OpenSocket(
        sock,
        (path, None),
        f"unix:{path}",
        listen.backlog,
        listen.tls,
        listen.protocols,
        listen=listen,
    )


def _open_fd(number: str, listen: Listen) -> OpenSocket:
    try:
        sock = _adopt(int(number), f"fd:{number}")
    except ValueError:
        raise ConfigError(f'bind: "fd:{number}" needs a file descriptor number') from None
    return _describe(sock, replace(listen, reuse_port=False))


def _adopt(number: int, bind: str) -> socket.socket:
    """A socket that somebody else has opened. Raises ListenError."""
    try:
        sock = socket.socket(fileno=number)
    except OSError as error:
        raise ListenError(f"cannot listen on {bind}: {error.strerror}") from None
    if sock.type != socket.SOCK_STREAM:
        sock.detach()
        raise ListenError(f"cannot listen on {bind}: not a stream socket")
    sock.setblocking(False)
    sock.set_inheritable(False)  # what the application starts has no business with it
    return sock


def _open_passed(bind: str, listen: Listen) -> list[OpenSocket]:
    """All the sockets that systemd has passed under one name."""
    name = bind.removeprefix("systemd:")
    passed = passed_sockets()
    if name not in passed:
        there = f"only {', '.join(map(repr, passed))}" if passed else "nor any other"
        raise ListenError(
            f"cannot listen on {bind}: systemd has passed no socket of that name, {there}; "
            "start the service by a socket unit with that FileDescriptorName"
        )
    opened: list[OpenSocket] = []
    try:
        for number in passed[name]:
            sock = _adopt(number, bind)
            opened.append(_describe(sock, replace(listen, reuse_port=False)))
            if not opened[-1].sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                raise ListenError(f"cannot listen on {bind}: a connection; set Accept=no")
    except ListenError:
        close_all(opened)
        raise
    return opened


def _open_unix(path: str, listen: Listen) -> OpenSocket:
    """Bind beside ``path``, set the mode, then rename: the socket appears whole or not at all."""
    if not hasattr(socket, "AF_UNIX"):
        raise ConfigError(f"bind: unix:{path}: this platform has no Unix sockets")
    if not path or "\0" in path:
        raise ConfigError(f'bind: {"unix:" + path!r} needs a path, as in "unix:/run/app.sock"')
    uid = -1 if listen.owner is None else user_id(listen.owner, "listen.owner")
    gid = -1 if listen.group is None else group_id(listen.group, "listen.group")
    _refuse_live(path)
    temporary = f"{path}.{os.getpid()}"
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        Path(temporary).unlink(missing_ok=True)
        sock.bind(temporary)
        if (uid, gid) != (-1, -1):
            os.chown(temporary, uid, gid)
        os.chmod(temporary, listen.mode)
        inode = os.stat(temporary).st_ino
        sock.listen(listen.backlog)
        os.rename(temporary, path)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        Path(temporary).unlink(missing_ok=True)
        raise _listen_error(f"unix:{path}", error) from None
    return OpenSocket(
        sock,
        (path, None),
        f"unix:{path}",
        listen.backlog,
        listen.tls,
        listen.protocols,
        os.path.abspath(path),  # the working directory may change
        inode,
        listen,
    )


def _refuse_live(path: str) -> None:
    """A stale socket may be replaced; a live one, or another kind of file, may not."""
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return
    if not stat.S_ISSOCK(mode):
        raise ListenError(f"cannot listen on unix:{path}: the file exists and is not a socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)  # where its backlog is full, a live one would not answer
        try:
            probe.connect(path)
        except (ConnectionRefusedError, FileNotFoundError):
            return
        except OSError:
            pass  # busy, of another type or not ours to ask: somebody's in any case
    raise ListenError(f"cannot listen on unix:{path}: address already in use")


def _listen_error(bind: str, error: OSError) -> ListenError:
    text = os.strerror(error.errno).lower() if error.errno else str(error)
    hint = ""
    if error.errno == errno.EADDRINUSE:
        hint = "; another program listens there, choose another port with --bind"
    elif error.errno == errno.EACCES:
        hint = "; ports below 1024 need privileges" if not bind.startswith("unix:") else ""
    elif error.errno == errno.EPERM and bind.startswith("unix:"):
        hint = "; only root can give it to another owner or group"
    return ListenError(f"cannot listen on {bind}: {text}{hint}")
