"""SIGKILL a process at every point inside the writing of a checkpoint: there is always one to go on
from.

    python stress/kill_checkpoint.py [--folder FOLDER]

A process that saves over good checkpoints is killed before and after each call into the system or
the interpreter's own library that the saving makes, among them open, write, fsync, rename, the
folder's fsync, and unlink. After each kill the newest checkpoint that can be used is the one before
or the new one, the best network that it refers to is there, and the next save clears away what was
left. Temporary files would lie on another file system, where there is one.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from types import FrameType

import torch
from running import Checks

from tellapart.errors import Refused
from tellapart.progress import Console
from tellapart.training.checkpoints import Checkpoints

WATCHED = ("writing.py", "tempfile.py", "pathlib", "checkpoints.py")  # whose calls count


def save(kept: Checkpoints, step: int) -> None:
    """A new best network, and a checkpoint that refers to it."""
    tensors = {"weight": torch.full((100, 100), float(step))}
    kept.save(step, tensors, {"best": kept.save_best(step, tensors, {})})


def save_and_die(folder: Path, point: int) -> int:
    """Save step 30 in a child process that dies at the given point; returns the signal that ended
    it, 0 for none.
    """
    child = os.fork()
    if child == 0:
        seen = 0

        def count(frame: FrameType, event: str, argument: object) -> None:
            nonlocal seen
            if event.startswith("c_") and any(name in frame.f_code.co_filename for name in WATCHED):
                seen += 1
                if seen == point:
                    os.kill(os.getpid(), signal.SIGKILL)

        kept = Checkpoints(folder, "a1", Console(quiet=True))
        kept.newest()
        sys.setprofile(count)
        save(kept, 30)
        os._exit(0)
    return os.WTERMSIG(os.waitpid(child, 0)[1])


def fault(folder: Path) -> str:
    """What is wrong with the folder after a kill, or ""."""
    console = Console(quiet=True)
    kept = Checkpoints(folder, "a1", console)
    try:
        newest = kept.newest()
    except Refused as error:
        return str(error)
    if newest is None or newest.step not in (20, 30) or console.lines:
        return f"step {newest and newest.step}, {console.lines}"
    if not bool((newest.tensors["weight"] == newest.step).all()):
        return "other numbers"
    save(kept, 40)
    left = [
        path.name[:17]
        for path in folder.iterdir()
        if path.name[0] == "." or int(path.name[5:17]) < newest.step
    ]
    return f"left behind: {left}" if left else ""


def main() -> None:
    """Kill at each point until there is none left."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, help="where to write; a temporary folder by default")
    options = parser.parse_args()
    torch.set_num_threads(1)  # a process with threads cannot be forked safely
    checks, killed, faults = Checks(), 0, []
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        elsewhere = Path("/dev/shm")
        tempfile.tempdir = str(elsewhere) if elsewhere.is_dir() else None
        good = Checkpoints(Path(name, "good"), "a1", Console(quiet=True))
        for step in (10, 20):
            save(good, step)
        while True:
            folder = shutil.copytree(good.folder, Path(name, str(killed)))
            if save_and_die(folder, killed + 1) != signal.SIGKILL:
                break
            killed += 1
            faults += [f"point {killed}: {wrong}" for wrong in [fault(folder)] if wrong]
            shutil.rmtree(folder)
    checks.that(killed >= 50, f"killed at {killed} points inside the saving")
    checks.that(not faults, "each time there was a checkpoint to go on from", faults)
    checks.finish()


if __name__ == "__main__":
    main()
