from __future__ import annotations

import os
from pathlib import Path

import pytest

from hyperserver.runtime.cpus import usable_cpus


@pytest.fixture(autouse=True)
def eight(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_without_control_groups_affinity_decides(tmp_path: Path) -> None:
    assert usable_cpus(tmp_path) == 8


def test_without_affinity_there_is_at_least_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert usable_cpus(tmp_path) == 1


@pytest.mark.parametrize(
    ("maximum", "count"),
    [
        ("200000 100000", 2),
        ("250000 100000", 2),
        ("50000 100000", 1),
        ("max 100000", 8),
        ("1600000 100000", 8),
        ("nonsense", 8),
        ("100 0", 8),
    ],
)
def test_the_quota_of_version_2(tmp_path: Path, maximum: str, count: int) -> None:
    root = write(
        tmp_path, {"proc/self/cgroup": "0::/app\n", "sys/fs/cgroup/app/cpu.max": f"{maximum}\n"}
    )
    assert usable_cpus(root) == count


def test_a_group_further_up_may_be_the_narrower_one(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        {
            "proc/self/cgroup": "0::/system.slice/app\n",
            "sys/fs/cgroup/system.slice/app/cpu.max": "400000 100000",
            "sys/fs/cgroup/system.slice/cpu.max": "300000 100000",
        },
    )
    assert usable_cpus(root) == 3


def test_within_a_container_the_mount_is_its_own_group(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        {"proc/self/cgroup": "0::/../of/the/host\n", "sys/fs/cgroup/cpu.max": "200000 100000"},
    )
    assert usable_cpus(root) == 2


def test_the_quota_of_version_1(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        {
            "proc/self/cgroup": "4:memory:/\n3:cpu,cpuacct:/docker/1\n",
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "300000",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
        },
    )
    assert usable_cpus(root) == 3
    (root / "sys/fs/cgroup/cpu/cpu.cfs_quota_us").write_text("-1")
    assert usable_cpus(root) == 8
