from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hyperserver.runtime.init import is_init
from tests.e2e.support import PATIENCE, ROOT, wait_until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="containers are Linux's")
PR_SET_CHILD_SUBREAPER = 36

SCRIPT = """
import ctypes, os, signal, subprocess, sys, time
from hyperserver.runtime.init import leave_init_behind

assert ctypes.CDLL(None).prctl({subreaper}, 1, 0, 0, 0) == 0  # orphans come to us, as to process 1
os.environ["LISTEN_PID"] = str(os.getpid())
leave_init_behind()
assert os.environ["LISTEN_PID"] == str(os.getpid())
signal.signal(signal.SIGHUP, lambda *_: os.write(1, b"SIGHUP\\n"))
print(os.getpid(), flush=True)
{body}
"""


@contextmanager
def started(body: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """The process in the place of process 1, and the number of its child that runs ``body``."""
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT.format(subreaper=PR_SET_CHILD_SUBREAPER, body=body)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            yield process, int(process.stdout.readline())
        finally:
            process.kill()


def children(pid: int) -> list[int]:
    return [int(n) for n in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


FOREVER = "while True: time.sleep(60)"


def test_this_is_not_process_1() -> None:
    assert not is_init()


@pytest.mark.parametrize(
    ("body", "code"),
    [("sys.exit(3)", 3), ("pass", 0), ("os.kill(os.getpid(), signal.SIGKILL)", 137)],
)
def test_it_ends_as_its_child_does(body: str, code: int) -> None:
    with started(body) as (process, _):
        assert process.wait(PATIENCE) == code


def test_signals_are_handed_on() -> None:
    with started(FOREVER) as (process, _):
        assert process.stdout is not None
        process.send_signal(signal.SIGHUP)
        assert process.stdout.readline() == "SIGHUP\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 128 + signal.SIGTERM


def test_orphans_are_reaped() -> None:
    orphan = "subprocess.run(['sh', '-c', 'sleep 1 & exit']); print('left', flush=True)\n"
    with started(orphan + FOREVER) as (process, child):
        assert process.stdout is not None
        assert process.stdout.readline() == "left\n"
        assert len(children(process.pid)) == 2
        wait_until(lambda: children(process.pid) == [child], "none is left")
        assert process.poll() is None
        os.kill(child, signal.SIGTERM)
        assert process.wait(PATIENCE) == 128 + signal.SIGTERM
