"""Starting the process of a worker: a fresh interpreter, or a fork of one that has the application.

A fresh one is told by its channel what it is to do. Descriptors are inherited one start at a time;
at any other time, all of ours are closed in whatever a program starts.
"""

from __future__ import annotations

import dataclasses
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from hyperserver.config.schema import Config
from hyperserver.runtime.channel import Lower, Upper
from hyperserver.runtime.listeners import OpenSocket

#: Signals that a terminal sends to all of a program's processes, or an operator to the supervisor.
#: They wait until a fresh worker knows what to make of them.
HELD = tuple(
    getattr(signal, name)
    for name in ("SIGINT", "SIGHUP", "SIGUSR1", "SIGTTIN", "SIGTTOU")
    if hasattr(signal, name)
)
_ROOT = str(Path(__file__).resolve().parents[2])
#: Of an open socket, what means nothing in another process.
_OWN = ("sock", "path", "inode", "places")


@dataclasses.dataclass(slots=True)
class Job:
    """What a worker's process is told: ``sockets`` are descriptors with the rest of OpenSocket."""

    number: int
    app: str
    config: Config
    sockets: list[tuple[int, dict[str, Any]]]
    speaks: bool
    #: Seconds between two signs of life.
    beat: float
    path: list[str] = dataclasses.field(default_factory=lambda: list(sys.path))
    argv: list[str] = dataclasses.field(default_factory=lambda: list(sys.argv))


def described(opened: OpenSocket) -> tuple[int, dict[str, Any]]:
    """An open socket in a form that can be told. Its file stays the supervisor's to remove."""
    names = [one.name for one in dataclasses.fields(opened) if one.name not in _OWN]
    return opened.sock.fileno(), {name: getattr(opened, name) for name in names}


def inherited(number: int, about: Mapping[str, Any]) -> OpenSocket:
    sock = socket.socket(fileno=number)
    sock.set_inheritable(False)
    return OpenSocket(sock, **about)


def spawn(job: Job, environment: Mapping[str, str]) -> tuple[int, Upper]:
    """The number of a fresh process at work on ``job``, and the way to speak to it.

    Raises OSError.
    """
    upper, lower = socket.socketpair()
    given = [lower.fileno(), *(number for number, _ in job.sockets)]
    code = (
        f"import sys; sys.path.insert(0, {_ROOT!r}); "
        f"from hyperserver.runtime.child import main; main({lower.fileno()})"
    )
    flags = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]  # noqa: SLF001
    command = [sys.executable, *flags, "-c", code, f"hyperserver worker {job.number}"]
    was = {number: os.get_inheritable(number) for number in given}
    try:
        for number in given:
            os.set_inheritable(number, True)
        pid = os.posix_spawn(sys.executable, command, dict(environment), setsigmask=HELD)
    except OSError:
        upper.close()
        raise
    finally:
        for number in given:
            os.set_inheritable(number, was[number])
        lower.close()
    channel = Upper(upper)
    channel.order(job)
    return pid, channel


def fork(job: Job, others: Iterable[Upper], work: Callable[[Job, Lower], int]) -> tuple[int, Upper]:
    """The same for a copy of this process, which does ``work`` and ends.

    ``others`` are channels to other workers: each must learn of our death by the end of its own.
    Raises OSError.
    """
    upper, lower = socket.socketpair()
    sys.stdout.flush()
    sys.stderr.flush()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, HELD)
    try:
        pid = os.fork()
    except OSError:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        upper.close()
        lower.close()
        raise
    if pid == 0:
        code = 1
        try:
            upper.close()
            for other in others:
                other.close()
            code = work(job, Lower(lower))
        finally:  # not past here: what called us is the supervisor's
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    lower.close()
    return pid, Upper(upper)
