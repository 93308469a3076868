"""Does the test of slices name what is planted, and nothing else?

    python benchmarks/slices.py [--repeats 400] [--out benchmarks/results/slices.json]

Answers are drawn at a known accuracy, with the columns of an ordinary table: folder, camera, hour,
size, brightness, site and noise, some 40 slices. Without a planted slice none should be named in 95
of 100 tables. With one, whose accuracy is lower by a known number of points, it should be named in
9 of 10. Grouped kinds have images in groups that err together; all columns but brightness and
noise are then those of the group. Every share has its own interval, Wilson's.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from recording import about, found_share

from tellapart.evaluation.predictions import Predictions
from tellapart.evaluation.slices import measure_slices


@dataclass(frozen=True)
class Kind:
    """A set of test images, and what is planted in it.

    Args:
        name: what it is called.
        images: how many there are.
        accuracy: the chance that an answer is right outside the planted slice.
        group: the images of a group; 0 draws them unevenly, 1 to 12.
        likeness: the correlation of the errors of two images of a group.
        column: that of the planted slice; "" plants none.
        loss: how much lower the accuracy is there.
    """

    name: str
    images: int
    accuracy: float
    group: int = 1
    likeness: float = 0.0
    column: str = ""
    loss: float = 0.0


NULL = [
    Kind("400 images, 97 % right", 400, 0.97),
    Kind("400 images, 90 % right", 400, 0.90),
    Kind("2,000 images, 80 % right", 2_000, 0.80),
    Kind("groups of 5, alike by 0.3, 90 % right", 1_000, 0.90, 5, 0.3),
    Kind("groups of 5, alike by 0.8, 90 % right", 1_000, 0.90, 5, 0.8),
    Kind("groups of 20, alike by 0.3, 90 % right", 2_000, 0.90, 20, 0.3),
    Kind("groups of 1 to 12, alike by 0.5, 95 % right", 1_500, 0.95, 0, 0.5),
]
PLANTED = [
    Kind("400 images, a fifth 20 points worse", 400, 0.97, 1, 0.0, "brightness", 0.20),
    Kind("400 images, a camera 25 points worse", 400, 0.90, 1, 0.0, "camera", 0.25),
    Kind("2,000 images, a fifth 10 points worse", 2_000, 0.90, 1, 0.0, "brightness", 0.10),
    Kind(
        "groups of 5, alike by 0.3, a camera 25 points worse", 1_000, 0.90, 5, 0.3, "camera", 0.25
    ),
    Kind(
        "groups of 5, alike by 0.3, a camera 30 points worse", 1_000, 0.90, 5, 0.3, "camera", 0.30
    ),
    Kind(
        "groups of 5, alike by 0.3, a fifth 20 points worse", 1_000, 0.90, 5, 0.3, "brightness", 0.2
    ),
    Kind(
        "groups of 1 to 12, alike by 0.5, a camera 30 points worse",
        1_500,
        0.95,
        0,
        0.5,
        "camera",
        0.30,
    ),
]
CAMERAS = ["alpha", "beta", "gamma", "delta"]


def draw(kind: Kind, rng: np.random.Generator) -> tuple[Predictions, dict[str, Any], str]:
    """Answers and columns, and the value of the planted slice."""
    sizes = _sizes(kind, rng)
    clusters = np.repeat(np.arange(len(sizes)), sizes)
    columns = _columns(clusters, rng)
    planted, value = _planted(kind, columns)
    chance = np.where(planted, kind.accuracy - kind.loss, kind.accuracy)
    # With the chance `likeness` ** 0.5 an image takes the luck of its group.
    own, common = rng.random(len(clusters)), rng.random(len(sizes))[clusters]
    luck = np.where(rng.random(len(clusters)) < kind.likeness**0.5, common, own)
    correct = luck < chance
    probs = np.where(correct[:, None], [0.9, 0.1], [0.1, 0.9]).astype(np.float32)
    labels = np.zeros(len(clusters), np.int64)
    paths = tuple(map(str, range(len(clusters))))
    return Predictions(probs, labels, paths, ("cat", "dog"), None, clusters), columns, value


def _sizes(kind: Kind, rng: np.random.Generator) -> NDArray[np.int64]:
    if kind.group:
        return np.full(kind.images // kind.group, kind.group)
    return rng.integers(1, 13, kind.images // 6)


def _columns(clusters: NDArray[np.int64], rng: np.random.Generator) -> dict[str, Any]:
    """Some 40 slices. Those of the group are the same for all its images."""
    groups, images = int(clusters.max()) + 1, len(clusters)
    site = rng.integers(0, 8, groups)
    hour = rng.integers(0, 24, groups)
    return {
        "folder:1": np.array([f"site {name}" for name in site])[clusters],
        "camera": rng.choice(CAMERAS, groups, p=[0.5, 0.25, 0.15, 0.1])[clusters],
        "taken": np.array([f"2026-01-01T{name:02}:30:00" for name in hour])[clusters],
        "short side": rng.integers(200, 4000, groups)[clusters],
        "brightness": rng.normal(120, 40, images),
        "contrast": rng.normal(50, 15, images),
        "noise": rng.random(images),
        "weekday": rng.integers(0, 7, groups)[clusters],
    }


def _planted(kind: Kind, columns: dict[str, Any]) -> tuple[NDArray[np.bool_], str]:
    if kind.column == "brightness":
        return columns["brightness"] < np.quantile(columns["brightness"], 0.2), "darkest"
    if kind.column == "camera":
        return columns["camera"] == "gamma", "gamma"
    return np.zeros(len(columns["camera"]), bool), ""


def named(kind: Kind, seed: int) -> tuple[bool, bool, int]:
    """Whether any slice is named, whether the planted one is, and how many were tested."""
    rng = np.random.default_rng(seed)
    predictions, columns, value = draw(kind, rng)
    slices = measure_slices(predictions, columns)
    found = [entry for entry in slices.failing if entry.name == kind.column]
    lowest = float(np.min(columns["brightness"]))
    hit = any(
        entry.value == value
        or (value == "darkest" and columns["brightness"][entry.rows].min() == lowest)
        for entry in found
    )
    return bool(slices.failing), hit, len(slices.tested)


def measured(repeats: int) -> Iterator[dict[str, Any]]:
    """A row a kind."""
    for kind in [*PLANTED, *NULL]:
        results = [named(kind, seed) for seed in range(repeats)]
        found = sum(hit if kind.column else any_ for any_, hit, _ in results)
        row = {
            "kind": kind.name,
            "wanted": "the planted slice" if kind.column else "none",
            **found_share(found, repeats),
            "tested": float(np.mean([tested for _, _, tested in results])),
            "settings": asdict(kind),
        }
        low, high = row["interval"]
        print(
            f"{kind.name:58}{row['wanted']:18} named in {row['share']:.3f}"
            f" ({low:.3f} to {high:.3f}), {row['tested']:.0f} slices",
            flush=True,
        )
        yield row


def main() -> None:
    """Draw, test, count."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=400)
    parser.add_argument("--out", type=Path)
    words = parser.parse_args()
    rows = list(measured(words.repeats))
    if words.out:
        record = {**about(["drawn"]), "repeats": words.repeats, "rows": rows}
        words.out.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
