"""How fast is a first scan of many small files, with statuses, hashes and near-duplicates; and a
second one?

    python benchmarks/scan.py CIFAR10 TINY_IMAGENET [--sizes 10000,30000,110000] [--rounds 3] [--out
    result.json]

The files are made once, beside the cache in a temporary folder: every image of the two sets under
its own bytes, then mirrored ones until there are enough. Each measurement is a fresh process over
warm files. "first" starts with an empty cache, "second" with that of the first over unchanged
files, "changed" after a hundredth of the files was replaced. Recognising the source is part of all
of them, drawing the page is not.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps
from recording import about, environment

SCAN = """
import json, resource, sys, time
from pathlib import Path
from tellapart.catalog.duplicates import find_copies, link_copies
from tellapart.catalog.scan import scan
from tellapart.sources.source import read_source
from tellapart.decoders.rules import rules_of
from tellapart.pipeline.data import scan_memory
from tellapart.recipe import Recipe
from tellapart.cores import usable_cores

start = time.perf_counter()
steps = {}

def lap(name):
    global start
    now = time.perf_counter()
    steps[name], start = round(now - start, 3), now

recipe = Recipe()
catalog = read_source(Path(sys.argv[1]))
lap("source")
with scan_memory(catalog, recipe) as memory:
    lap("memory")
    catalog = scan(catalog, rules=rules_of(recipe.decoding), memory=memory)
    lap("scan")
    catalog = link_copies(catalog, memory)
    copies = find_copies(catalog)
    lap("copies")
lap("closing")
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
peak += usable_cores() * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024  # of the largest child
print(json.dumps({"steps": steps, "seconds": round(sum(steps.values()), 3), "peak_mib": round(peak),
                  "ok": int(catalog.ok.sum()), "images_with_copies": len(copies)}))
"""


def images(sets: list[Path]) -> Iterator[tuple[str, bytes | Path]]:
    """(class, file or its bytes) of every image, then of mirrored ones."""
    files = [
        path
        for folder in sets
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in (".jpg", ".jpeg")
    ]
    for path in files:
        yield path.parent.name, path
    for path in files:
        target = Path(tempfile.gettempdir()) / "mirrored.jpg"
        with Image.open(path) as img:
            ImageOps.mirror(img.convert("RGB")).save(target, quality=90)
        yield path.parent.name, target.read_bytes()


def make_files(sets: list[Path], folder: Path, count: int) -> None:
    for number, (label, image) in enumerate(islice(images(sets), count)):
        target = folder / label / f"{number:06}.jpg"
        target.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(image, bytes):
            target.write_bytes(image)
        else:
            shutil.copyfile(image, target)


def measure(data: Path, cache: Path) -> dict[str, Any]:
    command = [sys.executable, "-c", SCAN, str(data)]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        env=environment(TELLAPART_CACHE=str(cache)),
        check=False,
    )
    if done.returncode:
        sys.exit(done.stderr[-2000:])
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def replace_some(data: Path, sets: list[Path]) -> None:
    """Other bytes into every hundredth file."""
    for path in sorted(data.rglob("*.jpg"))[::100]:
        with Image.open(path) as img:
            ImageOps.flip(img.convert("RGB")).save(path, quality=91)


def one_size(sets: list[Path], work: Path, count: int, rounds: int) -> dict[str, Any]:
    data = work / str(count)
    make_files(sets, data, count)
    found: dict[str, list[dict[str, Any]]] = {"first": [], "second": []}
    for number in range(rounds):
        cache = work / f"cache-{count}-{number}"
        time.sleep(3)  # files younger than two seconds are not remembered
        for name, rows in found.items():
            rows.append(measure(data, cache))
            print(f"{count:,} files, round {number + 1}, {name}: {rows[-1]}", flush=True)
    replace_some(data, sets)
    changed = measure(data, work / f"cache-{count}-{rounds - 1}")
    shutil.rmtree(data)
    first, second = (statistics.median(row["seconds"] for row in rows) for rows in found.values())
    return {
        "files": count,
        "first_seconds": first,
        "first_files_per_second": round(count / first),
        "second_seconds": second,
        "first_to_second": round(first / second, 1),
        "changed_seconds": changed["seconds"],
        "peak_mib": max(row["peak_mib"] for rows in found.values() for row in rows),
        "rounds": found,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "sets", type=Path, nargs="+", help="folders of JPEG files, one folder a class within them"
    )
    parser.add_argument("--sizes", default="10000,30000,110000")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, help="write the result as JSON")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        rows = [
            one_size(options.sets, Path(temporary), int(count), options.rounds)
            for count in options.sizes.split(",")
        ]
    result = {**about([folder.name for folder in options.sets]), "sizes": rows}
    print(json.dumps([{k: v for k, v in row.items() if k != "rounds"} for row in rows], indent=1))
    if options.out:
        options.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
