"""Opening the sockets that a configuration names."""

from __future__ import annotations

import errno
import os
import socket
import stat
from dataclasses import dataclass, field
from pathlib import Path

from hyperserver.asgi.scope import Address
from hyperserver.config.addresses import split_host_port
from hyperserver.config.schema import Listen
from hyperserver.errors import ConfigError, ListenError


@dataclass(slots=True)
class OpenSocket:
    """A bound socket. ``server`` is what scopes say of it, ``url`` what the log says.

    ``tls`` means that connections begin with a handshake, ``protocols`` are ALPN names; ``path`` is
    the file of a Unix socket that is ours to remove; ``listen`` are all the settings.
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
        opened.sock.close()
        opened.unlink()


def _open(bind: str, listen: Listen) -> list[OpenSocket]:
    if bind.startswith("unix:"):
        return [_open_unix(bind.removeprefix("unix:"), listen)]
    if bind.startswith("fd:"):
        return [_open_fd(bind.removeprefix("fd:").removeprefix("//"), listen)]
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
    for family, kind, protocol, _, address in dict.fromkeys(found):
        target = (address[0], opened[0].server[1] if opened and port == 0 else port)
        sock = socket.socket(family, kind, protocol)
        try:
            if os.name == "posix":
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if listen.reuse_port:
                _share_port(sock)
            if family == socket.AF_INET6:  # "0.0.0.0" and "::" must be able to stand together
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind((*target, *address[2:]))
            # With SO_REUSEADDR two sockets may be bound alike; only listen() shows the conflict.
            sock.listen(listen.backlog)
            sock.setblocking(False)
        except OSError as error:
            sock.close()
            if opened and error.errno == errno.EADDRNOTAVAIL:
                continue  # the name has an address of a family that this machine lacks
            close_all(opened)
            raise _listen_error(bind, error) from None
        opened.append(_describe(sock, listen))
    return opened


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
        sock = socket.socket(fileno=int(number))
    except ValueError:
        raise ConfigError(f'bind: "fd:{number}" needs a file descriptor number') from None
    except OSError as error:
        raise ListenError(f"cannot listen on fd:{number}: {error.strerror}") from None
    if sock.type != socket.SOCK_STREAM:
        sock.detach()
        raise ListenError(f"cannot listen on fd:{number}: not a stream socket")
    sock.setblocking(False)
    return _describe(sock, listen)


def _open_unix(path: str, listen: Listen) -> OpenSocket:
    """Bind beside ``path``, set mode and owner, then rename: it appears whole or not at all."""
    if not hasattr(socket, "AF_UNIX"):
        raise ConfigError(f"bind: unix:{path}: this platform has no Unix sockets")
    if not path or "\0" in path:
        raise ConfigError(f'bind: {"unix:" + path!r} needs a path, as in "unix:/run/app.sock"')
    owner, group = _user_id(listen.owner), _group_id(listen.group)
    _refuse_live(path)
    temporary = f"{path}.{os.getpid()}"
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        Path(temporary).unlink(missing_ok=True)
        sock.bind(temporary)
        os.chmod(temporary, listen.mode)
        if (owner, group) != (-1, -1):
            os.chown(temporary, owner, group)
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
        path,
        inode,
        listen,
    )


def _share_port(sock: socket.socket) -> None:
    if not hasattr(socket, "SO_REUSEPORT"):
        raise ConfigError("`listen.reuse_port`: this platform has no SO_REUSEPORT")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)


def _user_id(name: str | None) -> int:
    """-1 leaves the owner as it is. Raises ConfigError."""
    if name is None or name.isdecimal():
        return -1 if name is None else int(name)
    import pwd

    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        raise ConfigError(f"`listen.owner`: there is no user {name!r}") from None


def _group_id(name: str | None) -> int:
    """-1 leaves the group as it is. Raises ConfigError."""
    if name is None or name.isdecimal():
        return -1 if name is None else int(name)
    import grp

    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise ConfigError(f"`listen.group`: there is no group {name!r}") from None


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
    return ListenError(f"cannot listen on {bind}: {text}{hint}")
