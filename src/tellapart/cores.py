"""How many cores this process may use: all of the machine's, or those that a container leaves it.

Linux limits the cores of a group of processes by affinity, or by a quota: so many microseconds of
CPU in each period. Threads beyond a quota make nothing faster, as all of them are halted together
when it is used up.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path

# Variables that say how many threads the libraries start which look at the machine alone.
_THREADS_OF_LIBRARIES = ("OMP_NUM_THREADS", "POLARS_MAX_THREADS")


def usable_cores() -> int:
    """How many cores this process may use. In a container they can be fewer than the machine's."""
    cores = cores_by_affinity()
    quota = cpu_quota()
    return cores if quota is None else max(1, min(cores, math.ceil(quota)))


def limit_libraries() -> None:
    """Let OpenMP, which numpy and torch use, and polars start no more threads than there are cores.

    It counts only before they are imported. What the user has set stays.
    """
    cores = usable_cores()
    if cores < cores_by_affinity():
        for variable in _THREADS_OF_LIBRARIES:
            os.environ.setdefault(variable, str(cores))


@cache
def cpu_quota(root: Path = Path("/")) -> float | None:
    """The cores that the quotas of this process's groups leave it. None means that there is none.

    A group's quota holds for all groups within it, so the least of the chain counts.

    Args:
        root: where /proc is.
    """
    try:
        groups = (root / "proc/self/cgroup").read_text(errors="replace")
        mounts = (root / "proc/self/mountinfo").read_text(errors="replace")
        folders = list(_group_folders(groups, mounts, root))
    except (OSError, ValueError):  # no Linux, or one of another form
        return None
    quotas = [quota for folder in folders if (quota := _quota_of(folder)) is not None]
    return min(quotas, default=None)


def cores_by_affinity() -> int:
    """How many cores the system lets this process run on, whatever its quota is."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _group_folders(groups: str, mounts: str, root: Path) -> Iterator[Path]:
    """The folders of this process's CPU group and of all around it.

    Args:
        groups: /proc/self/cgroup: lines of number:controllers:path.
        mounts: /proc/self/mountinfo.
        root: where /proc is.
    """
    paths = {}
    for line in groups.splitlines():
        _, controllers, path = line.split(":", 2)
        paths.update(dict.fromkeys(controllers.split(","), path))  # version 2 names no controller
    for line in mounts.splitlines():
        first, _, last = line.partition(" - ")
        group_root, place = first.split()[3:5]
        kind, _, options = last.split()[:3]
        is_first = kind == "cgroup" and "cpu" in options.split(",")
        if not is_first and kind != "cgroup2":
            continue
        # In a container the path may be that on the host, of which only the end is mounted.
        inner = _below(paths.get("cpu" if is_first else "", "/"), group_root)
        top = root / place.lstrip("/")
        folder = top / inner
        yield from (parent for parent in (folder, *folder.parents) if parent.is_relative_to(top))


def _below(path: str, group_root: str) -> str:
    """The part of a group's path that lies below the mounted group; "" where it lies elsewhere."""
    prefix = group_root.rstrip("/") + "/"
    return path.removeprefix(prefix) if path.startswith(prefix) and ".." not in path else ""


def _quota_of(folder: Path) -> float | None:
    """The cores of one group's quota, in either version. None means that it has none."""
    try:
        if (file := folder / "cpu.max").is_file():
            limit, period = file.read_text().split()
        else:
            limit = (folder / "cpu.cfs_quota_us").read_text()
            period = (folder / "cpu.cfs_period_us").read_text()
        quota = float(limit) / float(period)  # "max" is no number, and -1 is no quota
    except (OSError, ValueError, ZeroDivisionError):
        return None
    return quota if quota > 0 else None
