"""How near is a prediction to the bare limit: Pillow and onnxruntime in a loop, in as many threads?

    python benchmarks/folder.py MODEL IMAGES [--count 5000] [--rounds 5]
        [--out benchmarks/results/folder.json]

IMAGES is a folder of some images; a folder of `--count` links to them is predicted. The bare loop opens
each file with Pillow, converts it to RGB, runs the graph for the probabilities, and takes the largest.
tellapart also checks each file, turns it by EXIF, converts its colours, decides, and writes a table.
Both run in this process in turns, so a busy machine slows both. "ratio" is the bare loop's time divided
by tellapart's, round by round, and "cpu_ratio" the same of the time that the cores spent, which other
work on the machine changes less. "latency" is that of one image after the other by `Predictor.predict`,
with the file read anew.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from PIL import Image
from recording import about

import tellapart
from tellapart.cores import usable_cores

SINGLE = 100  # images of which the latency is measured


def link_images(images: Path, folder: Path, count: int) -> list[Path]:
    """So many links to the files of a folder."""
    files = sorted(path.absolute() for path in images.rglob("*") if path.is_file())
    links = [folder / f"{number:07}{files[number % len(files)].suffix}" for number in range(count)]
    for number, link in enumerate(links):
        link.symlink_to(files[number % len(files)])
    return links


def bare(session: Any, path: Path) -> int:
    """The most probable class of a file, by Pillow and onnxruntime alone."""
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB"))
    name = session.get_inputs()[0].name
    return int(session.run(["probabilities"], {name: pixels[None]})[0].argmax())


def bare_session(model: bytes) -> Any:
    """A session of one thread a run, as each image has a thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def seconds(function: Callable[[], object]) -> tuple[float, float]:
    """How long a call takes, and how long the cores work for it."""
    begun, worked = time.perf_counter(), time.process_time()
    function()
    return time.perf_counter() - begun, time.process_time() - worked


def in_turns(first: Callable[[], object], second: Callable[[], object], rounds: int) -> Any:
    """(rounds, 2, 2) the seconds of two calls, in turns that change places."""
    pairs = []
    for number in range(rounds):
        both = (first, second) if number % 2 else (second, first)
        times = [seconds(call) for call in both]
        pairs.append(times if number % 2 else times[::-1])
    return np.array(pairs)


def summary(times: Any, count: int) -> dict[str, Any]:
    """The median times of tellapart and of the bare loop, and the ratio of each round."""
    ratios, cpu_ratios = (times[:, 1] / times[:, 0]).T.tolist()
    return {
        "tellapart_ms": 1000 * float(np.median(times[:, 0, 0])) / count,
        "bare_ms": 1000 * float(np.median(times[:, 1, 0])) / count,
        "ratio": statistics.median(ratios),
        "cpu_ratio": statistics.median(cpu_ratios),
        "ratios": [round(ratio, 3) for ratio in sorted(ratios)],
    }


def measure(model: Path, links: Sequence[Path], rounds: int, table: Path) -> dict[str, Any]:
    """Throughput of the folder, and latency of single images."""
    predictor = tellapart.load(model)
    session, folder = bare_session(predictor.graph), links[0].parent

    def by_tellapart() -> None:
        tellapart.predict(predictor, folder, out=table, keep=False, quiet=True)

    def by_loop() -> None:
        with ThreadPoolExecutor(usable_cores()) as pool:
            list(pool.map(lambda path: bare(session, path), links))

    for link in links[:SINGLE]:  # files are in the cache of the system from here on
        bare(session, link)
    throughput = in_turns(by_tellapart, by_loop, rounds)
    single = [
        in_turns(lambda: predictor.predict(link), lambda: bare(session, link), 2).mean(axis=0)  # noqa: B023
        for link in links[:SINGLE]
    ]
    latency = summary(np.array(single), 1)
    del latency["ratios"]
    return {"throughput": summary(throughput, len(links)), "latency": latency}


def main() -> None:
    """Measure, and write the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("--count", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, help="write the result as JSON")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary, "links")
        folder.mkdir()
        links = link_images(options.images, folder, options.count)
        found = measure(options.model, links, options.rounds, Path(temporary, "answers.csv"))
    result = {
        **about([options.images.name]),
        "threads": usable_cores(),
        "count": options.count,
        "load": os.getloadavg(),
        **found,
    }
    text = json.dumps(result, indent=1)
    print(text)
    if options.out:
        options.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
