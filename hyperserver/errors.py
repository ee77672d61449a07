"""Every exception that hyperserver raises on purpose, and the exit code each one means.

This module imports nothing, so all rings may use it.
"""

from __future__ import annotations


class HyperserverError(Exception):
    """Base of all errors that are a user's to mend: one clear line and an exit code."""

    exit_code = 1


class UsageError(HyperserverError):
    """The command line itself is wrong."""

    exit_code = 2


class AppError(HyperserverError):
    """The application could not be loaded or refused to start."""

    exit_code = 3


class Problem:
    """One mistake in a configuration: where (``("listen", 0, "bind")``), what, and the remedy.

    ``on_key`` says whether it is the key that is wrong, or its value. ``place`` is where it is in a
    file, if that is not where the path says.
    """

    __slots__ = ("advice", "message", "on_key", "path", "place")

    def __init__(
        self, path: tuple[str | int, ...], message: str, advice: str = "", *, on_key: bool = False
    ) -> None:
        self.path = path
        self.message = message
        self.advice = advice
        self.on_key = on_key
        self.place: object = None

    def __str__(self) -> str:
        return f"{self.message}; {self.advice}" if self.advice else self.message


class ConfigError(HyperserverError):
    """A configuration value is wrong; each line of the message names the key and the remedy.

    Exit code 78 is ``EX_CONFIG`` of sysexits.h. ``problems`` are the same, for those who know the
    files; without any, lines that begin with a key in backticks tell what they are about.
    """

    exit_code = 78

    def __init__(self, message: str, problems: tuple[Problem, ...] = ()) -> None:
        super().__init__(message)
        self.problems = problems


class Mistakes:
    """Collects ConfigErrors to raise them as one: what is in ``with mistakes:`` may fail."""

    def __init__(self) -> None:
        self._lines: dict[str, None] = {}  # several ways may lead to the same mistake

    def __bool__(self) -> bool:
        return bool(self._lines)

    def add(self, line: str) -> None:
        self._lines[line] = None

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: object, traceback: object) -> bool:
        if not isinstance(error, ConfigError):
            return False
        for line in str(error).splitlines():
            self.add(line)
        return True

    def raise_all(self) -> None:
        """Raise ConfigError if there are any."""
        if self._lines:
            raise ConfigError("\n".join(self._lines))


class ListenError(HyperserverError):
    """A socket could not be opened as configured."""


class ProtocolError(Exception):
    """Base of the two sides' violations of HTTP."""


class LocalProtocolError(ProtocolError):
    """The application or this server asked an engine for something HTTP does not allow.

    Raised into the application's own ``send()``.
    """


class RemoteProtocolError(ProtocolError):
    """The peer broke the protocol. Never leaves an engine, which answers with ``status``."""

    def __init__(self, reason: str, status: int = 400) -> None:
        super().__init__(reason)
        self.reason = reason
        self.status = status


class ClientDisconnected(OSError):
    """Raised by ``send()`` once the client can no longer be reached (ASGI HTTP 2.4)."""

    def __init__(self) -> None:
        super().__init__("the client has disconnected")
