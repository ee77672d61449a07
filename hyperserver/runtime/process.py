"""What a process is before it serves: its user, its directory, its variables, its number in a file.

The order matters. ``look_up`` finds mistakes before anything is done. Addresses are bound and the
number is written with the rights of whoever starts the server; ``settle`` then gives these up, so it
comes before the application is imported. What is a mistake in the configuration raises ConfigError.
"""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from hyperserver.config.schema import Process
from hyperserver.config.settings import PREFIX
from hyperserver.errors import ConfigError, HyperserverError
from hyperserver.observe.logs import logger

_LINE = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*)")
_QUOTED = re.compile(r"""(?:'([^']*)'|"((?:[^"\\]|\\.)*)")\s*(?:#.*)?""")
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t"}


# ---- users and groups --------------------------------------------------------------------------


def user_id(name: str, key: str) -> int:
    """The number of a user, by name or number; ``key`` is the setting. Raises ConfigError."""
    if name.isdecimal():
        return int(name)
    try:
        import pwd

        return pwd.getpwnam(name).pw_uid
    except ImportError:
        raise ConfigError(f"`{key}`: this platform has no such users") from None
    except KeyError:
        raise ConfigError(f"`{key}`: unknown user {name!r}") from None


def group_id(name: str, key: str) -> int:
    """The number of a group, by name or number. Raises ConfigError."""
    if name.isdecimal():
        return int(name)
    try:
        import grp

        return grp.getgrnam(name).gr_gid
    except ImportError:
        raise ConfigError(f"`{key}`: this platform has no such groups") from None
    except KeyError:
        raise ConfigError(f"`{key}`: unknown group {name!r}") from None


@dataclass(frozen=True, slots=True)
class Identity:
    """Whom to become. ``name`` is None for a user that is a number without an account."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    name: str | None = None
    home: str | None = None


def look_up(process: Process) -> Identity | None:
    """Whom ``process`` says to become; None for nobody else. Raises ConfigError."""
    if process.user is None and process.group is None:
        return None
    if sys.platform == "win32":
        key = "user" if process.user is not None else "group"
        raise ConfigError(f"`process.{key}`: this platform has no such users")
    import pwd

    uid = os.geteuid() if process.user is None else user_id(process.user, "process.user")
    try:
        account = pwd.getpwuid(uid)
    except KeyError:
        account = None
    if process.group is not None:
        gid = group_id(process.group, "process.group")
    elif account is not None:
        gid = account.pw_gid
    else:
        raise ConfigError(
            f"`process.user`: {process.user} has no account, and so no group; set `process.group`"
        )
    groups: tuple[int, ...] = (gid,)
    if account is not None and process.user is not None:
        groups = tuple(os.getgrouplist(account.pw_name, gid))
    if os.geteuid() != 0 and (uid, gid) != (os.geteuid(), os.getegid()):
        key = "user" if uid != os.geteuid() else "group"
        raise ConfigError(
            f"`process.{key}`: only root can become {getattr(process, key)!r}; "
            "start the server as root, or as that user and without this setting"
        )
    return Identity(
        uid, gid, groups, account and account.pw_name, account.pw_dir if account else None
    )


def become(identity: Identity) -> None:
    """Give up the rights of root for good, those of its groups included. Raises ConfigError."""
    if os.geteuid() == 0:
        try:
            os.setgroups(identity.groups)
            os.setgid(identity.gid)
            os.setuid(identity.uid)
        except OSError as error:  # a container may be without the capability
            raise ConfigError(
                f"`process.user`: cannot become {identity.name or identity.uid}: {error.strerror}"
            ) from None
    if identity.name is not None:  # what libraries look up under the home directory is another's
        os.environ |= {"USER": identity.name, "LOGNAME": identity.name}
    if identity.home is not None:
        os.environ["HOME"] = identity.home


def settle(process: Process, identity: Identity | None = None) -> None:
    """Bring ``process`` into force, but for its file: see ``PidFile``. Raises ConfigError.

    Variables are read first, from a file that may be root's alone.
    """
    variables = {} if process.env_file is None else read_env_file(process.env_file)
    if process.umask is not None:
        os.umask(process.umask)
    if identity is not None:
        become(identity)
    if process.chdir is not None:
        try:
            os.chdir(process.chdir)
        except OSError as error:
            raise ConfigError(
                f"`process.chdir`: cannot enter {process.chdir}: {error.strerror}"
            ) from None
    for name, value in variables.items():
        if name.startswith(PREFIX):
            logger.warning("%s: %s sets nothing here", process.env_file, name)
        os.environ.setdefault(name, value)


# ---- variables ---------------------------------------------------------------------------------


def read_env_file(path: str) -> dict[str, str]:
    """The variables in a file, KEY=VALUE in each line.

    A value may stand in quotes, in which # begins no comment; in double quotes, a backslash makes a
    line break of n and takes the meaning from others. Nothing is expanded. Raises ConfigError.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError(f"`process.env_file`: cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"`process.env_file`: {path} is not UTF-8") from None
    variables: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if not stripped or stripped[0] == "#":
            continue
        match = _LINE.fullmatch(stripped)
        if match is None or "\0" in stripped:
            raise ConfigError(f"`process.env_file`: {path}:{number}: not KEY=VALUE")
        name, value = match.groups()
        if value[:1] in ("'", '"'):
            quoted = _QUOTED.fullmatch(value)
            if quoted is None:
                raise ConfigError(f"`process.env_file`: {path}:{number}: a quote is not closed")
            value = quoted[1] if quoted[1] is not None else _unescape(quoted[2])
        else:
            value = re.split(r"(?:^|\s+)#", value, maxsplit=1)[0]
        variables[name] = value
    return variables


def _unescape(text: str) -> str:
    return re.sub(r"\\(.)", lambda match: _ESCAPES.get(match[1], match[1]), text)


# ---- the process's number ----------------------------------------------------------------------


class PidFile:
    """A file with the number of this process, locked for as long as it lives.

    The lock, which ends with the process however that ends, tells a running server from a number
    that was left behind; a stale file is taken over. Raises HyperserverError.
    """

    def __init__(self, path: str) -> None:
        self.path = os.path.abspath(path)  # the working directory may change
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
        while True:
            try:
                self._number = os.open(self.path, flags, 0o644)
            except OSError as error:
                raise HyperserverError(
                    f"cannot write {self.path}: {(error.strerror or str(error)).lower()}; "
                    "see `process.pid_file`"
                ) from None
            if not self._lock():
                running = os.read(self._number, 32).decode("ascii", "replace").strip()
                os.close(self._number)
                raise HyperserverError(
                    f"{self.path} is locked: the server is running already"
                    + (f", as process {running}" if running else "")
                )
            if self._is_there():
                break
            os.close(self._number)  # the server before us has removed it meanwhile
        self.write()

    def _lock(self) -> bool:
        try:
            import fcntl
        except ImportError:  # Windows: the number is there, and nothing keeps another from it
            return True
        try:
            fcntl.flock(self._number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True

    def _is_there(self) -> bool:
        try:
            return os.path.samestat(os.stat(self.path), os.fstat(self._number))
        except OSError:
            return False

    def write(self) -> None:
        """Put the number of the process that calls into the file."""
        os.ftruncate(self._number, 0)
        os.lseek(self._number, 0, os.SEEK_SET)
        os.write(self._number, b"%d\n" % os.getpid())

    def remove(self) -> None:
        """Remove the file, or empty it where we have given up the right to remove it."""
        if self._number < 0:
            return
        if self._is_there():
            try:
                os.unlink(self.path)
            except OSError:
                os.ftruncate(self._number, 0)
        os.close(self._number)
        self._number = -1
