"""SIGKILL a prediction at random moments: it goes on with --resume, and the table has the bytes of one
that was never stopped. Eight shards are together that table too.

    python stress/kill_predict.py MODEL IMAGES [--rows 20000] [--kills 10] [--seed 0]

IMAGES is a folder of some images. A folder of `--rows` links to them is predicted, as JSON Lines, as
CSV, as Parquet, and as Parquet in parts of 500 rows. After each kill the table must not be there under its own
name. Last, the memory of a prediction of all the links is held against that of a tenth of them.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from running import Checks, run

from tellapart.errors import InputsRejected

OUTS = ("answers.jsonl", "answers.csv", "answers.parquet", "answers/")
SHARDS = 8
MERGE = "LC_ALL=C sort -m -t ' ' -k 2n shard-*.jsonl | sed 's/\"row\": [0-9]*, //' > merged.jsonl"
# The command line, with parts so small that a short prediction has many of them.
SMALL_PARTS = """
import sys
from tellapart import table_writers
from tellapart.cli.main import main

table_writers.CHUNK = 500
main(sys.argv[1:])
"""
GROWTH = 1.05  # of the memory, from a tenth of the images to all of them
ENDINGS = (0, InputsRejected.exit_code)


def link_images(images: Path, folder: Path, rows: int) -> Path:
    """A folder with so many links to the files of another."""
    files = sorted(path for path in images.rglob("*") if path.is_file())
    folder.mkdir()
    for row in range(rows):
        (folder / f"{row:07}.jpg").symlink_to(files[row % len(files)].absolute())
    return folder


def command(model: Path, links: Path, out: str, *more: str) -> list[str]:
    """A prediction that goes on where it can."""
    words = ["predict", str(model), str(links), "--out", out, "--resume", "--quiet"]
    return [sys.executable, "-c", SMALL_PARTS, *words, *more]


def content(table: Path) -> dict[str, bytes]:
    """The bytes of a table, of each file where it is a folder."""
    files = sorted(table.iterdir()) if table.is_dir() else [table]
    return {file.name.removeprefix("whole-"): file.read_bytes() for file in files}


def is_whole(table: Path) -> bool:
    """Whether a table is there, as a reader would see it."""
    manifest = table / "manifest.json"
    return '"complete": true' in manifest.read_text() if manifest.exists() else table.is_file()


def kill_often(words: list[str], folder: Path, moments: list[float], table: Path) -> int:
    """How often a prediction was killed before it ended; one that left half a table counts as -1."""
    kills = 0
    for moment in moments:
        process = subprocess.Popen(words, cwd=folder, start_new_session=True)
        time.sleep(moment)
        if process.poll() is not None:
            break
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        kills += 1
        if is_whole(table):
            return -1
    return kills


def main() -> None:
    """Kill, go on, compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", choices=OUTS, action="append", help="only these tables")
    options = parser.parse_args()
    chance, checks = random.Random(options.seed), Checks()
    model = options.model.absolute()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        links = link_images(options.images, folder / "links", options.rows)
        for out in options.out or OUTS:
            done = run(command(model, links, f"whole-{out}"), folder)
            checks.ended_well(done, out, ENDINGS)
            # The moments share the time of one prediction: later ones begin where others ended.
            moments = [
                chance.uniform(0, 2 * done.seconds / options.kills) for _ in range(options.kills)
            ]
            words = command(model, links, out)
            kills = kill_often(words, folder, moments, folder / out)
            checks.that(kills > 0, f"{out}: killed {kills} times, never half there", kills)
            checks.ended_well(run(words, folder), f"{out}: went on", ENDINGS)
            same = content(folder / out) == content(folder / f"whole-{out}")
            checks.that(same, f"{out}: the bytes of a prediction that was never stopped")
        check_shards(model, links, folder, checks)
        check_memory(model, links, folder, checks)
    checks.finish()


def check_shards(model: Path, links: Path, folder: Path, checks: Checks) -> None:
    """Eight shards, merged by tools of the system."""
    for number in range(1, SHARDS + 1):
        words = command(model, links, f"shard-{number}.jsonl", "--shard", f"{number}/{SHARDS}")
        checks.ended_well(run(words, folder), f"shard {number}", ENDINGS)
    subprocess.run(MERGE, shell=True, cwd=folder, check=True)
    run(command(model, links, "whole.jsonl"), folder)
    whole = (folder / "whole.jsonl").read_bytes()
    checks.that((folder / "merged.jsonl").read_bytes() == whole, f"{SHARDS} shards are one table")


def check_memory(model: Path, links: Path, folder: Path, checks: Checks) -> None:
    """Ten times as many images take no more memory."""
    few = folder / "few"
    few.mkdir()
    for link in sorted(links.iterdir())[::10]:
        (few / link.name).symlink_to(link)
    less = run(command(model, few, "few.jsonl"), folder).peak_mib
    more = run(command(model, links, "many.jsonl"), folder).peak_mib
    checks.that(more <= GROWTH * less, f"memory: {less:.0f} MiB, then {more:.0f} MiB", more / less)


if __name__ == "__main__":
    main()
