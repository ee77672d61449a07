"""What process 1 of a container owes to the others: it reaps those whose parents have ended.

A server of one worker cannot do that in its own process, as its event loop must be the one to hear of
the processes that the application has started. So it forks: the child serves, and its parent, which
does nothing else, hands signals on and reaps. With several workers the supervisor does both.
"""

from __future__ import annotations

import os
import signal
import sys

#: Handed on, unless a terminal has sent them to all of us.
_SIGNALS = tuple(
    getattr(signal, name)
    for name in (
        "SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGTTIN", "SIGTTOU",
        "SIGWINCH",
    )
    if hasattr(signal, name)
)  # fmt: skip
#: Variables with the number of the process that they are meant for.
_MEANT_FOR = ("LISTEN_PID", "WATCHDOG_PID")


def is_init() -> bool:
    return os.getpid() == 1 and hasattr(signal, "sigwaitinfo")


def leave_init_behind() -> None:
    """Return in a child process; the one that has called ends with it, and with its exit code."""
    sys.stdout.flush()
    sys.stderr.flush()
    us = str(os.getpid())
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (*_SIGNALS, signal.SIGCHLD))
    child = os.fork()
    if child:
        os._exit(_attend(child))
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    for name in _MEANT_FOR:
        if os.environ.get(name) == us:
            os.environ[name] = str(os.getpid())


def _attend(child: int) -> int:
    """Until ``child`` ends; its exit code, or 128 and the signal that has ended it."""
    while True:
        received = signal.sigwaitinfo((*_SIGNALS, signal.SIGCHLD))
        if received.si_signo == signal.SIGCHLD:
            code = _reap(child)
            if code is not None:
                return code if code >= 0 else 128 - code
        elif received.si_code <= 0:  # sent by a process: what a terminal sends, all have got
            os.kill(child, received.si_signo)


def _reap(child: int) -> int | None:
    """Take leave of all who have ended; the exit code of ``child`` if it is among them."""
    code = None
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return code
        if not pid:
            return code
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
