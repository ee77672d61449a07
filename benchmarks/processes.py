"""What a process and its descendants use: CPU time, memory, and who else is on their core."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

from benchmarks.load import LoadError

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Cores:
    """Where the server and the load run."""

    server: int
    load: int


def pick_cores() -> Cores:
    """The first two cores we may use. Raises LoadError where there is only one."""
    available = sorted(os.sched_getaffinity(0))
    if len(available) < 2:
        raise LoadError("two cores are needed: one for the server, one for the load")
    return Cores(available[0], available[1])


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat after the command's name: field 3 of proc(5) is index 0."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def process_tree(root: int) -> list[int]:
    """``root`` and all its descendants that are alive."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, IndexError):
                parents[int(entry.name)] = int(_stat(int(entry.name))[1])
    tree = [root]
    for pid in tree:
        tree += [child for child, parent in parents.items() if parent == pid]
    return tree


def usage(root: int) -> tuple[float, int]:
    """``(CPU seconds, resident bytes)`` of the tree; children that ended count for the former."""
    cpu = 0.0
    pages = 0
    for pid in process_tree(root):
        with contextlib.suppress(OSError):
            fields = _stat(pid)
            ticks = sum(map(int, fields[11:13])) / _TICKS  # utime stime
            cpu += max(ticks, _scheduled(pid)) + sum(map(int, fields[13:15])) / _TICKS  # children's
            pages += int(fields[21])
    return cpu, pages * _PAGE


def _scheduled(pid: int) -> float:
    """Seconds by the scheduler's finer clock; it has forgotten the threads that ended."""
    nanoseconds = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError, IndexError):
            nanoseconds += int((task / "schedstat").read_text().split()[0])
    return nanoseconds / 1e9


def core_busy(cpu: int) -> float:
    """Seconds for which the core has not been idle."""
    for line in Path("/proc/stat").read_text().splitlines():
        name, _, rest = line.partition(" ")
        if name == f"cpu{cpu}":
            user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, rest.split()[:8])
            return (user + nice + system + irq + softirq + steal) / _TICKS
    return 0.0
