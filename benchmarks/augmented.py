"""Does a set with offline augmentation report the accuracy that new images get?

    python benchmarks/augmented.py DATA... [--images 200] [--new 200] [--unplanted] [--out x.json]

Some images of each folder of classes become a set of the kind that is often published: each image,
and beside it the same image mirrored, turned by a quarter, turned by 12 degrees, cropped by a fifth,
and with 0.7 and 1.3 of its brightness. The default training on that set reports an accuracy. Other
images of the folder are new, and its model is measured on them.

"recall" is the share of edits that are in one cluster with their original. "false" clusters hold
more than one original. "gap" is the reported accuracy less that on new images; both have intervals,
and the interval of the difference is that of Newcombe's method 10.

With `--unplanted`, the same two searches also run over the folders as they are, and over the solar
cells of `elpv-dataset` where these are installed. What they find there is in the data, or false,
and one has to look.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from copies import EDITS, SUFFIXES
from numpy.typing import NDArray
from PIL import Image
from recording import about, found_share
from unfamiliar import write_cells

import tellapart
from tellapart.cache import ScanMemory, cache_folder
from tellapart.catalog.duplicates import clusters, link_copies
from tellapart.catalog.scan import scan
from tellapart.catalog.table import Catalog
from tellapart.cores import usable_cores
from tellapart.decoders.rules import rules_of
from tellapart.decoding import decode_file
from tellapart.evaluation.metrics import Score
from tellapart.extensions import Extensions
from tellapart.keyed import keyed_numbers
from tellapart.pipeline.edited_copies import link_edited_copies
from tellapart.pipeline.probe import frozen_backbone
from tellapart.pipeline.services import open_services
from tellapart.recipe import Recipe
from tellapart.sources.source import read_source

SEED = 0
ORIGINAL = "original"


@dataclass(frozen=True)
class Forgetful:
    """The memory of a scan that finds no pairs of an earlier search, so that each is timed."""

    scans: ScanMemory

    def thumbnail_of(self, digest: str) -> bytes | None:
        return self.scans.thumbnail_of(digest)

    def recall_pairs(self, key: str) -> NDArray[np.int64] | None:
        return None

    def remember_pairs(self, key: str, pairs: NDArray[np.int64]) -> None:
        return


def write_sets(folder: Path, out: Path, images: int, new: int) -> None:
    """Write the augmented images and the new ones, as folders of classes. The name of a file says
    its original and its edit.
    """
    files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in SUFFIXES)
    order = keyed_numbers(SEED, "augmented", map(str, range(len(files)))).argsort()
    for place, number in enumerate(order[: images + new].tolist()):
        pixels = decode_file(files[number]).pixels
        if pixels is None:
            continue
        home = out / ("augmented" if place < images else "new") / files[number].parent.name
        home.mkdir(parents=True, exist_ok=True)
        img, rng = Image.fromarray(pixels), np.random.default_rng(number)
        img.save(home / f"{number:06}_{ORIGINAL}.jpg", quality=90)
        for kind, (edit,) in EDITS.items() if place < images else ():
            edit(img, rng).save(home / f"{number:06}_{kind}.jpg", quality=90)


def search(source: Path) -> tuple[Catalog, Catalog, dict[str, float]]:
    """The images with the copies linked that thumbnails show, then as a training links them, and
    the seconds of each search.
    """
    recipe = Recipe()
    with open_services(quiet=True) as services:
        catalog, rules = read_source(source), rules_of(recipe.decoding)
        frozen = frozen_backbone(recipe, services.store, services.console, Extensions(), catalog)
        with ScanMemory(cache_folder(), catalog.files.place, rules) as scans:
            catalog = scan(catalog, rules=rules, hook=frozen.features, memory=scans)
            memory, start = Forgetful(scans), time.perf_counter()
            near = link_copies(catalog, memory)
            middle = time.perf_counter()
            edited = link_edited_copies(near, frozen.features, memory)
            end = time.perf_counter()
    return near, edited, {"by thumbnails": middle - start, "by embeddings": end - middle}


def found_among(catalog: Catalog) -> dict[str, Any]:
    """For each edit, the share in one cluster with its original; and what is united falsely."""
    names = [Path(path).stem.split("_", 1) for path in catalog.paths]
    cluster_of = {
        (number, kind): int(cluster)
        for (number, kind), cluster in zip(names, clusters(catalog), strict=True)
    }
    recall = {}
    for edit in EDITS:
        numbers = [number for number, kind in cluster_of if kind == edit]
        right = sum(cluster_of[number, edit] == cluster_of[number, ORIGINAL] for number in numbers)
        recall[edit] = found_share(right, len(numbers))
    held: defaultdict[int, set[str]] = defaultdict(set)
    for (number, _), cluster in cluster_of.items():
        held[cluster].add(number)
    mixed = [sorted(numbers) for numbers in held.values() if len(numbers) > 1]
    return {"recall": recall, "clusters": len(held), "false": len(mixed), "mixed": mixed[:20]}


def unplanted(source: Path) -> dict[str, Any]:
    """How many images share a cluster with others in the data as it is, by each search, and the
    clusters that embeddings made or enlarged.
    """
    near, edited, seconds = search(source)
    before, after = clusters(near), clusters(edited)
    counts = [int((np.bincount(numbers)[numbers] > 1).sum()) for numbers in (before, after)]
    larger = [number for number in np.unique(after) if len(np.unique(before[after == number])) > 1]
    paths = np.array([Path(path).name for path in edited.paths], object)
    return {
        "files": len(edited),
        "images_in_clusters": dict(zip(seconds, counts, strict=True)),
        "by_embeddings": [paths[after == number].tolist() for number in larger],
        "search_seconds": seconds,
    }


def gap_between(reported: Score, new: Score) -> dict[str, Any]:
    """The reported accuracy less that on new images, with its interval."""
    gap = reported.value - new.value
    low = gap - math.hypot(reported.value - reported.low, new.high - new.value)
    high = gap + math.hypot(reported.high - reported.value, new.value - new.low)
    return {"value": gap, "interval": [low, high], "holds_zero": low <= 0 <= high}


def shown(score: Score) -> dict[str, Any]:
    return {
        "value": score.value,
        "interval": [score.low, score.high],
        "images": score.count,
        "clusters": score.clusters,
    }


def measure(folder: Path, images: int, new: int) -> dict[str, Any]:
    """Search and train on the augmented images of a folder; measure the model on the new ones."""
    with tempfile.TemporaryDirectory() as temporary:
        there = Path(temporary)
        write_sets(folder, there, images, new)
        _, catalog, seconds = search(there / "augmented")
        start = time.perf_counter()
        run = tellapart.train(there / "augmented", out=there / "runs", quiet=True)
        trained = time.perf_counter() - start
        evaluation = tellapart.evaluate(run.model, there / "new", quiet=True)
    reported, fresh = run.metrics.accuracy, evaluation.metrics.accuracy
    return {
        "files": len(catalog),
        **found_among(catalog),
        "search_seconds": seconds,
        "train_seconds": trained,
        "reported": shown(reported),
        "new": shown(fresh),
        "gap": gap_between(reported, fresh),
        "warnings": list(run.warnings),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, nargs="+", help="folders with one folder a class")
    parser.add_argument("--images", type=int, default=200, help="originals of the augmented set")
    parser.add_argument("--new", type=int, default=200, help="images that the training never sees")
    parser.add_argument(
        "--unplanted", action="store_true", help="search the data as it is, too, and elpv-dataset"
    )
    parser.add_argument("--out", type=Path, help="write the result as JSON")
    options = parser.parse_args()
    result = about([folder.name for folder in options.data], SEED) | {"threads": usable_cores()}
    result |= {"images": options.images, "new": options.new, "found": {}, "unplanted": {}}
    for folder in options.data:
        result["found"][folder.name] = row = measure(folder, options.images, options.new)
        print(f"{folder.name}: {json.dumps(row, indent=1)}", flush=True)
        write(result, options.out)
    if options.unplanted:
        with tempfile.TemporaryDirectory() as temporary:
            sources = {folder.name: folder for folder in options.data}
            if importlib.util.find_spec("elpv_dataset"):
                sources["elpv"] = write_cells(Path(temporary) / "cells.csv")
            for name, source in sources.items():
                result["unplanted"][name] = row = unplanted(source)
                print(f"{name}, as it is: {json.dumps(row, indent=1)}", flush=True)
                write(result, options.out)


def write(result: dict[str, Any], out: Path | None) -> None:
    """Keep what has been measured so far, should the rest be interrupted."""
    if out:
        out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
