"""How many processors this process may use, which is seldom how many there are."""

from __future__ import annotations

import os
from pathlib import Path

_ROOT = Path("/")


def usable_cpus(root: Path = _ROOT) -> int:
    """By affinity (taskset, cpusets) and the quota of the control group (containers); at least 1.

    ``root`` is where ``/proc`` and ``/sys`` are.
    """
    if hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    else:
        count = os.cpu_count() or 1
    quota = _quota(root)
    return max(1, count if quota is None else min(count, round(quota)))


def _quota(root: Path) -> float | None:
    """Processors' worth of time that the control groups around this process grant, if bounded."""
    grants: list[float] = []
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if not controllers:  # version 2
            mount, grant = root / "sys/fs/cgroup", _version_2
        elif "cpu" in controllers.split(","):
            mount, grant = root / "sys/fs/cgroup/cpu", _version_1
        else:
            continue
        # Within a container the path may be seen from outside it; the mount is its own group then.
        folder = mount / path.strip("/")
        for group in (folder, *folder.parents):
            found = grant(group)
            if found is not None:
                grants.append(found)
            if group == mount:
                break
    return min(grants, default=None)


def _version_2(group: Path) -> float | None:
    """``cpu.max`` is "QUOTA PERIOD" or "max PERIOD", in microseconds."""
    quota, _, period = _read(group / "cpu.max").partition(" ")
    return _ratio(quota, period)


def _version_1(group: Path) -> float | None:
    return _ratio(_read(group / "cpu.cfs_quota_us"), _read(group / "cpu.cfs_period_us"))


def _ratio(quota: str, period: str) -> float | None:
    try:
        ratio = int(quota) / int(period)
    except (ValueError, ZeroDivisionError):
        return None
    return ratio if ratio > 0 else None


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
