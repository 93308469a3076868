"""This machine: what measured times depend on, and whether other processes use it."""

from __future__ import annotations

import os
import platform
import time
from pathlib import Path

from tellapart.cores import usable_cores

# The machine is busy when others use so many more cores than this process leaves them.
BUSY_CORES = 0.3


def machine_facts() -> list[str | int | None]:
    """What times that were measured here hold for, as JSON values."""
    return [platform.machine(), platform.processor(), usable_cores(), os.cpu_count()]


class MachineWatch:
    """Watches, from its making on, whether other processes use the machine."""

    def __init__(self) -> None:
        self._began, self._others = time.perf_counter(), seconds_of_others()

    def is_busy(self) -> bool:
        """Whether others took cores that this process may use."""
        passed = max(time.perf_counter() - self._began, 1e-6)
        taken = (seconds_of_others() - self._others) / passed
        spare = (os.cpu_count() or 1) - usable_cores()  # in a container others may have them
        return taken > spare + BUSY_CORES


def seconds_of_others() -> float:
    """The seconds that all cores together have worked for other processes; 0 where nothing tells."""
    return max(0.0, _seconds_of_all() - time.process_time())


def _seconds_of_all() -> float:
    try:
        fields = Path("/proc/stat").read_text().split(maxsplit=9)
        user, nice, system, _, _, _, _, steal = map(int, fields[1:9])
        return (user + nice + system + steal) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError):  # no Linux, or a container without it
        pass
    try:
        import psutil  # the extra "train" brings it

        times = psutil.cpu_times()
    except (ModuleNotFoundError, OSError):
        return 0.0
    return float(times.user + times.system + getattr(times, "nice", 0.0))
