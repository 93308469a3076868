"""What does an explanation cost, and does it hold what it promises?

    python benchmarks/explain.py RUN IMAGES [--count 300] [--rounds 3] [--indexed 100000]
        [--out benchmarks/results/explain.json]

RUN is a run folder with an index, IMAGES a folder of some images. Each of `--count` images is explained
in turn by one thread: "answer" is the answer alone, "coarse" with maps at the network's own grid, "finer"
at twice that, "blurred" by occlusion (every tenth image), and "neighbours" the search in the run's index.
"sum" is the largest difference between the sums of the maps of answer and runner-up and their log-odds.
"finer" is the share of what a class gains on a cue of 48 px that is put into another image, at a random
place, in maps at the network's own grid and at twice that: the larger, the better a map says where.
"checks" is what `predict --explain` says of the first images. "index" is an index of `--indexed` random
embeddings, in a process of its own: its size, how long writing and one search take, and the memory that
the search adds.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from recording import about

import tellapart
from tellapart.decoding import decode_file
from tellapart.explain.explainer import Explainer
from tellapart.explain.map_checks import CHECKED, check_maps
from tellapart.explain.occlusion import OcclusionMaps
from tellapart.explain.seen_square import framed
from tellapart.runs.index_file import FILE, Digests, Indexed, write_index
from tellapart.runs.neighbours import Neighbours

WIDTH = 1280


def timed(times: list[float], function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    begun = time.perf_counter()
    result = function(*arguments, **named)
    times.append(1000 * (time.perf_counter() - begun))
    return result


def explain_all(run: Path, pixels: list[NDArray[np.uint8]], rounds: int) -> dict[str, Any]:
    predictor, index = tellapart.load(run), Neighbours.read(run)
    assert index is not None
    finer, coarse = Explainer(predictor), Explainer(predictor, finer=1)
    blurred = OcclusionMaps(predictor)
    times: dict[str, list[float]] = {
        name: [] for name in ("answer", "coarse", "finer", "neighbours", "blurred")
    }
    worst = 0.0
    for _ in range(rounds):
        for number, image in enumerate(pixels):
            outputs = timed(times["answer"], predictor.outputs, image)
            timed(times["coarse"], coarse.explain, image)
            found = timed(times["finer"], finer.explain, image)
            timed(times["neighbours"], index.nearest, outputs.embedding)
            if number % 10 == 0:
                timed(times["blurred"], blurred.maps, image, [0, 1])
            odds = np.log(found.answer.probability / found.runner_up.probability)
            difference = found.answer.values.sum() - found.runner_up.values.sum() - odds
            # Probabilities in float32 hold no larger odds.
            worst = max(worst, abs(float(difference)) if odds < 12 else 0.0)
    labels = [int(predictor.outputs(image).probs.argmax()) for image in pixels]
    shown = [*zip(pixels, labels, strict=True)]
    checks = check_maps(finer, shown[:: max(1, len(shown) // CHECKED)][:CHECKED])
    return {
        "kind": finer.kind,
        "milliseconds": {name: round(statistics.median(all_), 2) for name, all_ in times.items()},
        "sum": worst,
        "checks": list(checks.lines) if checks else [],
        "indexed": len(index),
    }


def cues_found(run: Path, pixels: list[NDArray[np.uint8]], side: int = 48) -> dict[str, float]:
    predictor = tellapart.load(run)
    take, rng = predictor.card.preprocessing, np.random.default_rng(0)
    methods = {"coarse": Explainer(predictor, 1).method, "finer": Explainer(predictor, 2).method}
    squares = [take.resized(image) for image in pixels]
    shares: dict[str, list[float]] = {name: [] for name in methods}
    for source, other in zip(squares, squares[len(squares) // 2 :] + squares, strict=False):
        label = int(predictor.outputs(framed(source, take)).probs.argmax())
        own = methods["finer"].maps(framed(source, take), [label])[0]
        cells = max(1, side * len(own) // take.size_px)
        windows = np.lib.stride_tricks.sliding_window_view(own, (cells, cells)).sum((2, 3))
        best = np.array(np.unravel_index(int(windows.argmax()), windows.shape))
        cell, place = take.size_px // len(own), rng.integers(0, len(own) - cells + 1, 2)
        (top, left), (down, across), edge = best * cell, place * cell, cells * cell
        planted = other.copy()
        planted[down : down + edge, across : across + edge] = source[
            top : top + edge, left : left + edge
        ]
        for name, method in methods.items():
            before, after = (
                method.maps(framed(square, take), [label])[0] for square in (other, planted)
            )
            rise = np.kron(np.maximum(after - before, 0), np.ones([len(own) // len(after)] * 2))
            inside = rise[tuple(slice(start, start + cells) for start in place)]
            shares[name].append(float(inside.sum() / max(rise.sum(), 1e-9)))
    found = {name: round(statistics.mean(values), 4) for name, values in shares.items()}
    better = np.mean(np.array(shares["finer"]) > np.array(shares["coarse"]))
    return {**found, "finer_is_better_in": round(float(better), 3)}


class RandomEmbeddings:
    """Embeddings that are made when they are read, so that they need no memory."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, part: slice, /) -> NDArray[np.float32]:
        start, stop, _ = part.indices(self._count)
        rng = np.random.default_rng(start)
        return rng.standard_normal((stop - start, WIDTH), np.float32)


def measure_index(folder: str, count: int) -> dict[str, Any]:
    indexed = Indexed(
        paths=[f"images/class-{number % 20}/{number:08}.jpg" for number in range(count)],
        labels=np.arange(count) % 20,
        digests=Digests.of([f"{number:064x}" for number in range(count)]),
        classes=tuple(f"class {number}" for number in range(20)),
        of=count,
    )
    writing: list[float] = []
    timed(writing, write_index, Path(folder), RandomEmbeddings(count), indexed)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    opening: list[float] = []
    index = timed(opening, Neighbours.read, folder)
    searches: list[float] = []
    rng = np.random.default_rng(0)
    for _ in range(20):
        embedding = rng.standard_normal(WIDTH, np.float32)
        timed(searches, index.nearest, embedding, leave_out=f"{7:064x}")
    many: list[float] = []
    timed(many, index.nearest_each, rng.standard_normal((500, WIDTH), np.float32))
    return {
        "images": count,
        "megabytes": round((Path(folder) / FILE).stat().st_size / 1e6, 1),
        "seconds_to_write": round(writing[0] / 1000, 2),
        "milliseconds_to_open": round(opening[0], 1),
        "milliseconds_a_search": round(statistics.median(searches), 1),
        "milliseconds_a_search_of_500": round(many[0] / 500, 2),
        # Pages of the mapped file count too; the system takes them back when it needs them.
        "megabytes_more_at_the_peak": round(
            (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024, 1
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--indexed", type=int, default=100_000)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    files = sorted(path for path in options.images.rglob("*") if path.is_file())
    chosen = files[:: max(1, len(files) // options.count)][: options.count]
    found = [decode_file(path).pixels for path in chosen]
    pixels = [image for image in found if image is not None]
    explained = explain_all(options.run, pixels, options.rounds)
    results = {**about([options.images.name]), "images": len(pixels), **explained}
    results["finer"] = cues_found(options.run, pixels)
    with tempfile.TemporaryDirectory() as folder, get_context("spawn").Pool(1) as pool:
        results["index"] = pool.apply(measure_index, (folder, options.indexed))
    text = json.dumps(results, indent=1, ensure_ascii=False)
    print(text)
    if options.out:
        options.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
