"""How many cores may be used: by affinity, and by the quotas of containers of either version."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tellapart import cores
from tellapart.cores import cpu_quota, limit_libraries, usable_cores

VERSION_2 = "30 24 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n"
VERSION_1 = (
    "31 24 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
    "32 24 0:28 {root} /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
)


@pytest.fixture(autouse=True)
def forgetful() -> None:
    """No quota is remembered from another test."""
    cpu_quota.cache_clear()


def write(root: Path, **files: str) -> Path:
    """A file system with the files of /proc/self, and more: / in a name is written __."""
    for name, text in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def system(root: Path, cgroup: str, mountinfo: str) -> Path:
    return write(root, proc__self__cgroup=cgroup, proc__self__mountinfo=mountinfo)


def test_a_quota_of_version_2(tmp_path: Path):
    system(tmp_path, "0::/\n", VERSION_2)
    (tmp_path / "sys/fs/cgroup").mkdir(parents=True)
    (tmp_path / "sys/fs/cgroup/cpu.max").write_text("150000 100000\n")
    assert cpu_quota(tmp_path) == 1.5


def test_the_least_quota_of_nested_groups_counts(tmp_path: Path):
    system(tmp_path, "0::/pods/one\n", VERSION_2)
    (tmp_path / "sys/fs/cgroup/pods/one").mkdir(parents=True)
    (tmp_path / "sys/fs/cgroup/pods/one/cpu.max").write_text("max 100000\n")
    (tmp_path / "sys/fs/cgroup/pods/cpu.max").write_text("300000 100000\n")
    assert cpu_quota(tmp_path) == 3


@pytest.mark.parametrize("root", ["/", "/docker/abc"])
def test_a_quota_of_version_1_also_where_only_its_own_group_is_mounted(tmp_path: Path, root: str):
    groups = "4:memory:/docker/abc\n3:cpu,cpuacct:/docker/abc\n"
    system(tmp_path, groups, VERSION_1.format(root=root))
    folder = tmp_path / "sys/fs/cgroup/cpu,cpuacct" / "docker/abc".removeprefix(root[1:])
    folder.mkdir(parents=True)
    (folder / "cpu.cfs_quota_us").write_text("200000\n")
    (folder / "cpu.cfs_period_us").write_text("100000\n")
    assert cpu_quota(tmp_path) == 2


def test_no_quota_of_version_1_is_none(tmp_path: Path):
    system(tmp_path, "3:cpu,cpuacct:/\n", VERSION_1.format(root="/"))
    (tmp_path / "sys/fs/cgroup/cpu,cpuacct").mkdir(parents=True)
    (tmp_path / "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us").write_text("-1\n")
    (tmp_path / "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us").write_text("100000\n")
    assert cpu_quota(tmp_path) is None


@pytest.mark.parametrize("groups", ["", "nonsense\n", "0::/../..\n"])
def test_on_an_unknown_system_there_is_no_quota(tmp_path: Path, groups: str):
    assert cpu_quota(tmp_path) is None
    cpu_quota.cache_clear()
    assert cpu_quota(system(tmp_path, groups, VERSION_2)) is None


@pytest.mark.parametrize(("quota", "expected"), [(None, 16), (0.5, 1), (1.5, 2), (64.0, 16)])
def test_a_quota_is_rounded_up_and_never_more_than_the_affinity(
    monkeypatch: pytest.MonkeyPatch, quota: float | None, expected: int
):
    monkeypatch.setattr(cores, "cores_by_affinity", lambda: 16)
    monkeypatch.setattr(cores, "cpu_quota", lambda: quota)
    assert usable_cores() == expected


def test_libraries_are_held_to_a_quota_unless_the_user_says_otherwise(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(cores, "cores_by_affinity", lambda: 16)
    monkeypatch.setattr(cores, "cpu_quota", lambda: 2.0)
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    monkeypatch.setenv("POLARS_MAX_THREADS", "")
    monkeypatch.delenv("POLARS_MAX_THREADS")
    limit_libraries()
    assert (os.environ["OMP_NUM_THREADS"], os.environ["POLARS_MAX_THREADS"]) == ("5", "2")
