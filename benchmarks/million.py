"""Does a million images work, in bounded memory, and how do memory and time grow from 10,000 on?

    python benchmarks/million.py CIFAR10 FOLDER [--sizes 10000,100000,1000000] [--size-px 32]
        [--copies near] [--folds 5] [--out benchmarks/results/million.json]

The images are made in FOLDER, once for each size: 32 x 32 pixels, each a mix of an image of CIFAR-10,
which gives the label, with a fainter other one, so that no two are alike. One in a thousand is an
earlier one of its size saved again at half the quality: a near-duplicate that is to be found.
Everything follows from the seed.

Each verb runs in a fresh process. explore begins with nothing kept; train finds what explore has kept
in the cache, as it would after an exploration: thumbnails and near-duplicates, no features. "peak_mib"
is memory that the process needs (anonymous pages), "mapped_mib" that of files that are mapped, which
the system may take back. The largest of the worker processes counts once for each core. The result
is written after each verb, so a run that is stopped has told what it knows, and --verbs goes on with
it.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from importlib import import_module
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from recording import about, environment

SIDE = 32
SHARE = 0.7  # of the image that gives the label
COPY_EVERY = 1000
VERBS = ("explore", "train", "predict")
# What is timed within each verb: where the function is looked up, and its name.
STEPS = {
    "explore": (
        "tellapart.jobs.explore:read_catalog",
        "tellapart.pipeline.data:scan",
        "tellapart.pipeline.data:link_copies",
        "tellapart.jobs.explore:measure_appearance",
        "tellapart.jobs.explore:_divided",
        "tellapart.jobs.explore:find_all",
        "tellapart.jobs.explore:render_exploration",
        "tellapart.jobs.explore:summary_lines",
    ),
    "train": (
        "tellapart.pipeline.data:read_source",
        "tellapart.pipeline.data:scan",
        "tellapart.pipeline.data:link_copies",
        "tellapart.pipeline.data:link_edited_copies",
        "tellapart.pipeline.data:take_prints",
        "tellapart.pipeline.data:divide",
        "tellapart.pipeline.data:find_all",
        "tellapart.pipeline.probe:make_folds",
        "tellapart.pipeline.probe:fit_probe",
        "tellapart.pipeline.probe_run:measure_left_out",
        "tellapart.pipeline.probe_run:ship",
        "tellapart.pipeline.probe_run:write_run",
    ),
    "predict": ("tellapart.jobs.predict:stream_images",),
}


def source_images(folder: Path) -> tuple[NDArray[np.uint8], list[str]]:
    """(N, 32, 32, 3) the images of a folder that holds class folders, and their classes."""
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".png"))
    images = np.empty((len(files), SIDE, SIDE, 3), np.uint8)
    for row, path in enumerate(files):
        with Image.open(path) as image:
            images[row] = np.asarray(image.convert("RGB").resize((SIDE, SIDE)))
    return images, [path.parent.name for path in files]


def make_images(sources: Path, folder: Path, count: int, seed: int) -> None:
    """Write `count` images, one folder a class. A folder that is whole is left as it is."""
    done = folder / "done.txt"
    if done.exists():
        return
    shutil.rmtree(folder, ignore_errors=True)
    images, labels = source_images(sources)
    for label in sorted(set(labels)):
        (folder / "images" / label).mkdir(parents=True)
    before, label = b"", ""
    for number in range(count):
        name = f"{number:07}.jpg"
        if number % COPY_EVERY == 1:  # the one before it, saved again
            with Image.open(BytesIO(before)) as image:
                data, name = jpeg(np.asarray(image), quality=45), f"{number:07}-again.jpg"
        else:
            rng = np.random.default_rng([seed, number])
            row, other, down, right = rng.integers([len(images)] * 2 + [SIDE] * 2).tolist()
            faint = np.roll(images[other], (down, right), axis=(0, 1))
            mixed = SHARE * images[row] + (1 - SHARE) * faint
            data, label = jpeg(mixed.astype(np.uint8), quality=90), labels[row]
        (folder / "images" / label / name).write_bytes(data)
        before = data
    done.write_text(f"{count}\n")


def jpeg(pixels: NDArray[np.uint8], quality: int) -> bytes:
    """An RGB image as the bytes of a JPEG file."""
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


class Watch:
    """The time of each step, and the memory at its highest: of this process, in MiB."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.peaks: dict[str, int] = {}
        self.mapped = 0
        self._steps = ["other"]
        threading.Thread(target=self._look, daemon=True).start()

    def _look(self) -> None:
        while True:
            memory = own_memory()
            self.peaks[self._steps[-1]] = max(self.peaks.get(self._steps[-1], 0), memory["RssAnon"])
            self.mapped = max(self.mapped, memory["RssFile"] + memory["RssShmem"])
            time.sleep(0.1)

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, whose time counts as that of a step."""

        def step(*arguments: Any, **options: Any) -> Any:
            began = time.perf_counter()
            self._steps.append(name)
            try:
                return function(*arguments, **options)
            finally:
                self._steps.pop()
                seconds = time.perf_counter() - began
                self.seconds[name] = round(self.seconds.get(name, 0.0) + seconds, 2)
                peak = self.peaks.get(name, 0)
                print(f"{name}: {seconds:.1f} s, up to {peak:,} MiB", file=sys.stderr, flush=True)

        return step


def own_memory() -> dict[str, int]:
    """The resident memory of this process by kind, in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    pairs = (line.split(":", 1) for line in lines if line.startswith("Rss"))
    return {name: int(value.split()[0]) // 1024 for name, value in pairs}


def work(verb: str, folder: Path, size_px: int, copies: str, folds: int) -> None:
    """Run one verb in this process, and print what it took as JSON."""
    import resource

    import tellapart
    from tellapart.cores import usable_cores

    watch, began = Watch(), time.perf_counter()
    for place in STEPS[verb]:
        module, name = place.split(":")
        setattr(
            import_module(module), name, watch.timed(name, getattr(import_module(module), name))
        )
    found: dict[str, Any] = {}
    if verb == "explore":
        exploration = tellapart.explore(
            folder / "images", out=folder / "explore.html", copies=copies
        )
        texts = [finding.text for finding in exploration.findings]
        found = {"usable": int(exploration.catalog.ok.sum()), "findings": texts}
        found["page_bytes"] = (folder / "explore.html").stat().st_size
    elif verb == "train":
        run = tellapart.train(
            folder / "images",
            out=folder / "runs",
            copies=copies,
            # Without a crop, images of the size of the input reach the network as they are.
            set={
                "preprocessing.size_px": size_px,
                "preprocessing.mode": "squash",
                "head.folds": folds,
            },
        )
        shutil.rmtree(folder / "run", ignore_errors=True)
        run.path.rename(folder / "run")
        measured = json.loads((folder / "run" / "metrics.json").read_text())
        found = {"accuracy": measured["test"]["accuracy"], "laps": measured["seconds"]}
    else:
        answers = tellapart.predict(
            folder / "run", folder / "images", out=folder / "answers.csv", keep=False
        )
        found = {
            "statuses": dict(answers.statuses),
            "bytes": (folder / "answers.csv").stat().st_size,
        }
    child = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024
    print(
        json.dumps(
            {
                "seconds": round(time.perf_counter() - began, 1),
                "steps": watch.seconds,
                "peak_mib": max(watch.peaks.values()),
                "workers_mib": usable_cores() * child,
                "mapped_mib": watch.mapped,
                "step_peaks_mib": watch.peaks,
                "found": found,
            }
        )
    )


def measure(verb: str, folder: Path, cache: Path, options: argparse.Namespace) -> dict[str, Any]:
    """What a verb took in a process of its own."""
    words = ["--work", verb, "--size-px", str(options.size_px), "--copies", options.copies]
    words += ["--folds", str(options.folds)]
    done = subprocess.run(
        [sys.executable, __file__, str(options.sources), str(folder), *words],
        stdout=subprocess.PIPE,
        text=True,
        env=environment(TELLAPART_CACHE=str(cache), TELLAPART_CACHE_BYTES=str(2**34)),
        check=False,
    )
    if done.returncode:
        return {"failed": done.returncode}
    measured: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return measured


def growth(rows: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """From each size to the next: the exponent of time and memory in the number of images, which is
    1 where both grow alike.
    """
    grown: dict[str, dict[str, float]] = {}
    for before, after in pairwise(rows):
        times = math.log(after["images"] / before["images"])
        for verb in VERBS:
            pair = before.get(verb, {}), after.get(verb, {})
            if all("seconds" in measured for measured in pair):
                grown.setdefault(f"{before['images']} to {after['images']}", {}).update(
                    {
                        f"{verb}_{name}": round(
                            math.log(max(pair[1][name], 1) / max(pair[0][name], 1)) / times, 2
                        )
                        for name in ("seconds", "peak_mib")
                    }
                )
    return grown


def main() -> None:
    """Make the images, run the verbs, and write the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sources", type=Path, help="a folder with class folders of images")
    parser.add_argument("folder", type=Path, help="where the images are made and the work is done")
    parser.add_argument("--sizes", default="10000,100000,1000000")
    parser.add_argument("--verbs", default=",".join(VERBS))
    parser.add_argument("--size-px", type=int, default=SIDE, help="the network's input")
    parser.add_argument("--copies", default="near", help="as for train")
    parser.add_argument("--folds", type=int, default=5, help="of the head")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="write the result as JSON")
    parser.add_argument("--work", choices=VERBS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        work(options.work, options.folder, options.size_px, options.copies, options.folds)
        return
    for size in map(int, options.sizes.split(",")):
        folder, cache = options.folder / str(size), options.folder / f"cache-{size}"
        began = time.perf_counter()
        make_images(options.sources, folder, size, options.seed)
        print(f"{size:,} images made in {time.perf_counter() - began:.0f} s", flush=True)
        for verb in options.verbs.split(","):
            if verb == "explore":
                shutil.rmtree(cache, ignore_errors=True)
            measured = measure(verb, folder, cache, options)
            print(json.dumps({"images": size, verb: measured}), flush=True)
            if options.out:
                write_result(options, size, verb, measured)


def write_result(
    options: argparse.Namespace, size: int, verb: str, measured: dict[str, Any]
) -> None:
    """Put what a verb took into the file of results."""
    rows: dict[int, dict[str, Any]] = {}
    if options.out.exists():
        rows = {row["images"]: row for row in json.loads(options.out.read_text())["sizes"]}
    rows.setdefault(size, {"images": size})[verb] = {**measured, "load": os.getloadavg()}
    in_order = [rows[count] for count in sorted(rows)]
    result = {
        **about([options.sources.name], options.seed),
        "image_px": SIDE,
        "input_px": options.size_px,
        "sizes": in_order,
        "growth": growth(in_order),
    }
    options.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
