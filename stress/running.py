"""What the scripts of this folder share: a command run and measured from outside, images to train
on, and checks.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

TELLAPART = [sys.executable, "-m", "tellapart"]
KINDS = {
    "brick": (190, 80, 60),
    "leaf": (70, 160, 60),
    "sky": (110, 150, 230),
}  # class: mean colour


@dataclass(frozen=True)
class Done:
    """How a command ended, seen from outside."""

    code: int  # negative: the signal that ended it
    seconds: float
    peak_mib: float  # the largest resident memory of the process
    output: str
    errors: str


def run(
    command: list[str],
    folder: Path,
    *,
    limit_seconds: float = 600,
    meanwhile: Callable[[], object] = lambda: None,
) -> Done:
    """Run a command to its end with its cache in `folder`, and `meanwhile` beside it; a hang ends
    the script.
    """
    settings = {**os.environ, "TELLAPART_CACHE": str(folder / "cache"), "HOME": str(folder)}
    out, err = folder / "stdout.txt", folder / "stderr.txt"
    begun = time.monotonic()
    with out.open("wb") as output, err.open("wb") as errors:
        process = subprocess.Popen(
            command,
            env=settings,
            stdout=output,
            stderr=errors,
            cwd=folder,
            preexec_fn=_obey_permissions,
        )
    meanwhile()
    while True:
        pid, status, usage = os.wait4(
            process.pid, os.WNOHANG
        )  # says the memory of this child, not the most of all
        seconds = time.monotonic() - begun
        if pid:
            process.returncode = os.waitstatus_to_exitcode(status)
            peak_mib = usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
            texts = [file.read_text(errors="surrogateescape") for file in (out, err)]
            return Done(process.returncode, seconds, peak_mib, *texts)
        if seconds > limit_seconds:
            process.kill()
            sys.exit(f"FAILED: no end after {limit_seconds:.0f} s: {' '.join(command)}")
        time.sleep(0.01)


def kill(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL the whole group of a process that began a session of its own."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


def _obey_permissions() -> None:
    """Take from root what lets it read and write everything, so that permissions mean something in
    these checks.
    """
    drop, override, read_and_search = (
        24,
        1,
        2,
    )  # PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
    if _LIBC and os.geteuid() == 0:
        _LIBC.prctl(drop, override, 0, 0, 0)
        _LIBC.prctl(drop, read_and_search, 0, 0, 0)


class Checks:
    """Counts what held and what did not, and says it at once."""

    def __init__(self) -> None:
        self.passed = 0
        self.failed = 0

    def that(self, holds: bool, what: str, detail: object = "") -> None:
        """Count one check; where it fails, `detail` says how."""
        if holds:
            self.passed += 1
            print(f"ok      {what}", flush=True)
        else:
            self.failed += 1
            print(f"FAILED  {what}: {detail}", flush=True)

    def ended_well(self, done: Done, what: str, codes: tuple[int, ...] = (0, 3)) -> None:
        """Check that a command ended by itself, with one of `codes`, and without a traceback."""
        self.that(done.code in codes, f"{what}: exit code {done.code}", done.errors[-2000:])
        self.that(
            "Traceback" not in done.errors + done.output,
            f"{what}: no traceback",
            done.errors[-2000:],
        )

    def finish(self) -> None:
        """Say the counts, and exit with 1 where anything failed."""
        print(f"{self.passed} passed, {self.failed} failed")
        sys.exit(1 if self.failed else 0)


def write_classes(folder: Path, count: int, *, first_seed: int = 0) -> Path:
    """`count` images of each of KINDS, each class a folder; returns the folder."""
    across, down = np.meshgrid(np.arange(64), np.arange(48))
    for number, (name, colour) in enumerate(KINDS.items()):
        (folder / name).mkdir(parents=True)
        for seed in range(first_seed, first_seed + count):
            rng = np.random.default_rng([number, seed])
            waves = np.sin(
                rng.uniform(0.2, 0.4) * (across * (number + 1) + down * rng.uniform(0, 2))
            )
            pixels = np.array(colour) + 45 * waves[:, :, None] + rng.normal(0, 12, (48, 64, 3))
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(
                folder / name / f"{seed:05}.jpg"
            )
    return folder


def try_to_train(
    data: Path,
    folder: Path,
    name: str,
    meanwhile: Callable[[], object] = lambda: None,
    settings: Sequence[str] = (),
) -> tuple[Done, list[Path]]:
    """Train on `data`; return how that ended, and the run folder, if there is one.

    Args:
        settings: recipe keys with their values, as key=value.
    """
    command = [
        *TELLAPART,
        "train",
        str(data),
        "--out",
        str(folder / "runs"),
        "--name",
        name,
        "--quiet",
        *(word for setting in settings for word in ("--set", setting)),
    ]
    done = run(command, folder, meanwhile=meanwhile)
    return done, list((folder / "runs").glob(f"*-{name}"))


def train(data: Path, folder: Path, name: str, settings: Sequence[str] = ()) -> tuple[Done, Path]:
    """Train on `data`; return how that ended, and the run folder. Without one, the script ends."""
    done, runs = try_to_train(data, folder, name, settings=settings)
    if done.code not in (0, 3) or not runs:
        sys.exit(f"FAILED: training on {data.name} ended with {done.code}: {done.errors[-2000:]}")
    return done, runs[0]


def files_below(folder: Path) -> list[Path]:
    """All that is below a folder and is no folder, sorted; links are not followed."""
    return sorted(path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())


def state_of(folder: Path) -> dict[str, tuple[object, ...]]:
    """Path → mode, time of change and SHA-256 of all that is in a folder, itself included."""

    def entries() -> Iterator[tuple[str, tuple[object, ...]]]:
        for path in [folder, *folder.rglob("*")]:
            info = path.lstat()
            digest = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
            yield (
                str(path.relative_to(folder)),
                (
                    info.st_mode,
                    info.st_mtime_ns,
                    info.st_size,
                    digest,
                ),
            )

    return dict(entries())
