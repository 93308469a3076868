"""SIGKILL a training at random moments: no run is ever half there, and the kept features are used
again.

    python stress/kill_train.py DATA [--kills 20] [--seed 0]

After each kill every run folder under its final name must be whole: its model loads, its report and
metrics are there. Whatever else a kill leaves is hidden under a name that starts with a dot and
ends in .part. At the end an undisturbed training must give, byte for byte, the model file of one
with a cache of its own that was never killed.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import tellapart

FILES = {
    "model.onnx",
    "report.html",
    "metrics.json",
    "splits.parquet",
    "recipe.yaml",
    "catalog.parquet",
    "log.txt",
}


def start(data: Path, runs: Path, cache: Path) -> subprocess.Popen[bytes]:
    """One training in a process group of its own."""
    command = [
        sys.executable,
        "-m",
        "tellapart",
        "train",
        str(data),
        "--out",
        str(runs),
        "--name",
        "x",
        "--quiet",
    ]
    settings = {**os.environ, "TELLAPART_CACHE": str(cache)}
    return subprocess.Popen(
        command,
        start_new_session=True,
        env=settings,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def check_runs(runs: Path) -> int:
    """How many whole runs there are; a part of one ends the script."""
    whole = [
        run
        for run in runs.iterdir()
        if not (run.name.startswith(".") and run.name.endswith(".part"))
    ]
    for run in whole:
        missing = FILES - {file.name for file in run.iterdir()}
        if missing:
            sys.exit(f"FAILED: {run.name} lacks {sorted(missing)}")
        tellapart.load(run)
        json.loads((run / "metrics.json").read_text())
    return len(whole)


def finish(data: Path, runs: Path, cache: Path) -> tuple[bytes, float]:
    """The model file of an undisturbed training, and its seconds."""
    begun = time.monotonic()
    process = start(data, runs, cache)
    _, errors = process.communicate()
    if process.returncode not in (0, 3):
        sys.exit(f"FAILED: exit {process.returncode}: {errors.decode()}")
    newest = max(runs.glob("*/model.onnx"), key=lambda file: file.stat().st_mtime_ns)
    return newest.read_bytes(), time.monotonic() - begun


def main() -> None:
    """Kill, check, compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    chance = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as folder:
        quiet, killed = Path(folder, "quiet"), Path(folder, "killed")
        undisturbed, seconds = finish(options.data, quiet, Path(folder, "cache-quiet"))
        killed.mkdir()
        for number in range(1, options.kills + 1):
            process = start(options.data, killed, Path(folder, "cache-killed"))
            moment = chance.uniform(0, seconds)
            time.sleep(moment)
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            print(
                f"kill {number} after {moment:.1f} s: {check_runs(killed)} whole runs", flush=True
            )
        after, _ = finish(options.data, killed, Path(folder, "cache-killed"))
    if after != undisturbed:
        sys.exit("FAILED: the model file after the kills differs from the undisturbed one's")
    print(f"{options.kills} passed, 0 failed")


if __name__ == "__main__":
    main()
