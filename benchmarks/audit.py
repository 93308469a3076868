"""How many planted label errors does the audit find, and does it know how many?

    python benchmarks/audit.py --data FOLDER [--data FOLDER …] [--seeds 3] [--most 5000]
    [--share 0.05 --share 0 …] [--cleanlab] [--out x.json]

Errors are planted in 5 % of the labels: at random, and where there are more than two classes also
in pairs: an image gets the label of the class that its own class is most often taken for (similar),
or of the class behind its own in the alphabet (next). All images are judged by folds. For each set,
share, kind and seed:

- score: the share of the first 5 % of the audit's list that are planted errors.
- self-confidence: the same by the probability of the label, calibrated, from the head that answers
  best; with `--cleanlab` also by the label quality scores of cleanlab on the same probabilities.
- found: the share of the planted errors that stand among the first 5 %; power: what the audit says
  of it. Errors of the next class are neither of the audit's kinds, so that they have no power.
- expected, low, high: how many errors the audit expects, beside those planted. The set may have some
  of its own.
- stop, held, read: how many images to read, how many errors the audit expects there, and how many of
  the planted ones are there.
- accuracy: of a head fitted on the clean labels, on the labels with errors, and on labels where the
  planted ones among the first 5 % were corrected. It is measured on clean labels of a fold aside.
- seconds: of the audit without the features, which are computed once for a set.

cleanlab is no dependency of tellapart. `pip install cleanlab` brings it.
"""

from __future__ import annotations

import argparse
import importlib
import json
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from recording import about

from tellapart.catalog.splits import make_folds
from tellapart.catalog.table import Catalog, text_column
from tellapart.evaluation.intervals import wilson
from tellapart.evaluation.label_errors import (
    FIRST_SHARE,
    error_order,
    read_order,
    taken_for,
)
from tellapart.extensions import Extensions
from tellapart.jobs.audit.labels import Judged, count_wrong, find_power, judge_labels
from tellapart.keyed import keyed_numbers, keyed_uniform
from tellapart.options import HeadOptions
from tellapart.pipeline.data import load_data
from tellapart.pipeline.probe import frozen_backbone
from tellapart.pipeline.request import new_request
from tellapart.pipeline.services import open_services
from tellapart.probe.held_out import ASIDE, HeldOutHeads
from tellapart.progress import Task
from tellapart.recipe_files import load_recipe
from tellapart.sources.source import read_source

KINDS = ("random", "similar", "next")


@dataclass(frozen=True)
class Images:
    """The embedded images of a set, all of them in train."""

    name: str
    catalog: Catalog
    features: NDArray[np.float32]


@dataclass(frozen=True)
class Row:
    """What came of one planting; shares are of the planted errors."""

    data: str
    share: float
    kind: str
    seed: int
    images: int
    planted: int
    score: float
    self_confidence: float
    cleanlab: float | None
    found: float
    power: float | None
    expected: float
    low: float
    high: float
    stop: int
    held: float
    read: int
    clean: float
    flipped: float
    fixed: float
    clean_low: float
    seconds: float


def main() -> None:
    """Plant, audit, print the table, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, action="append", required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--most", type=int, default=5000)
    parser.add_argument("--share", type=float, action="append", help="planted; default: 0.05")
    parser.add_argument("--cleanlab", action="store_true")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    quality = _quality_scores() if options.cleanlab else None
    rows = []
    for folder in options.data:
        images = embed(folder, options.most)
        for row in audited(images, options.share or [FIRST_SHARE], options.seeds, quality):
            rows.append(row)
            print(json.dumps(asdict(row)), flush=True)
    print(table(rows))
    print(estimates(rows))
    if options.out:
        names = [folder.name for folder in options.data]
        result = {"about": about(names), "rows": [asdict(row) for row in rows]}
        options.out.write_text(json.dumps(result, indent=1) + "\n")


def _quality_scores() -> Any:
    """cleanlab's label quality scores.

    Raises:
        SystemExit: cleanlab is not installed.
    """
    try:
        return importlib.import_module("cleanlab.rank").get_label_quality_scores
    except ImportError as error:
        raise SystemExit(
            f"--cleanlab needs cleanlab ({error}). Run: pip install cleanlab"
        ) from None


def embed(folder: Path, most: int) -> Images:
    """At most `most` images of a folder, the same number of each class, embedded by the default."""
    with open_services(quiet=True) as services:
        recipe = load_recipe("probe", {"split.copies": "exact"})
        request = new_request(
            folder, recipe, out=Path.cwd(), name=None, splits=None, strict=False, verb="audit"
        )
        catalog = read_source(folder)
        each = -(-most // len(catalog.classes))
        chosen = np.zeros(len(catalog), bool)
        keys = keyed_numbers(0, "audit benchmark", catalog.paths.tolist())
        for label in range(len(catalog.classes)):
            own = np.flatnonzero(catalog.labels == label)
            chosen[own[np.argsort(keys[own], kind="stable")][:each]] = True
        catalog = catalog.rows(chosen)
        console = services.console
        frozen = frozen_backbone(recipe, services.store, console, Extensions(), catalog)
        catalog = load_data(request, catalog, console, frozen.features).catalog
        catalog = catalog.rows(catalog.splits != "")
        catalog = catalog.with_splits(text_column(["train"] * len(catalog)))
        return Images(folder.name, catalog, frozen.features.of(catalog, np.arange(len(catalog))))


def audited(images: Images, shares: list[float], seeds: int, quality: Any) -> Iterator[Row]:
    """One row for each seed, share and kind of error."""
    labels, num_classes = images.catalog.labels, len(images.catalog.classes)
    rows = np.arange(len(labels))
    for seed in range(seeds):
        judged = judge_labels(images.catalog, images.features, rows, seed, Task("clean"))
        pairs = {
            "random": None,
            "similar": taken_for(judged.logits, labels),
            "next": (np.arange(num_classes) + 1) % num_classes,
        }
        for share in shares:
            for kind in KINDS[: 1 if num_classes == 2 or not share else 3]:
                planted = plant_errors(images, kind, pairs[kind], share, seed)
                yield _row(images, share, kind, seed, planted, quality)


def plant_errors(
    images: Images, kind: str, other: NDArray[np.int64] | None, share: float, seed: int
) -> NDArray[np.int64]:
    """(N,) the labels with a share of them changed, at random images.

    Args:
        images: (N,) of them.
        kind: names the draw.
        other: (C,) the label that an image of each class gets. None means any other label.
        share: of the images whose labels are changed.
        seed: of the draw.
    """
    labels, num_classes = images.catalog.labels, len(images.catalog.classes)
    keys = keyed_numbers(seed, "benchmark errors", images.catalog.digests.tolist())
    drawn = keyed_uniform(keys, f"planted {kind}", 2)
    chosen = np.argsort(drawn[:, 0], kind="stable")[: round(share * len(labels))]
    planted = labels.copy()
    if other is not None:
        planted[chosen] = other[labels[chosen]]
    else:
        step = 1 + (drawn[chosen, 1] * (num_classes - 1)).astype(np.int64)
        planted[chosen] = (labels[chosen] + step) % num_classes
    return planted


def _row(
    images: Images, share: float, kind: str, seed: int, planted: NDArray[np.int64], quality: Any
) -> Row:
    truth, changed = images.catalog.labels, planted != images.catalog.labels
    catalog = images.catalog.replace(labels=planted)
    rows = np.arange(len(planted))
    start = time.perf_counter()
    judged = judge_labels(catalog, images.features, rows, seed, Task("labels"))
    count = count_wrong(judged)
    power = {power.kind: power.share for power in find_power(judged, count)}
    reading = read_order(judged.scores, count)
    seconds = time.perf_counter() - start
    known = judged.predictions()
    confidence = np.full(len(planted), np.nan)
    confidence[judged.answered] = known.probs[np.arange(len(known)), known.labels]
    by_cleanlab = None
    if quality is not None:
        scores = np.full(len(planted), np.nan)
        scores[judged.answered] = quality(known.labels, known.probs.astype(np.float64))
        by_cleanlab = _found(scores, changed)
    fixed = planted.copy()
    order = error_order(judged.scores)
    first = order[: _first(len(planted))]
    fixed[first] = truth[first]  # a person who looks at these corrects them all
    accuracies = [_accuracy(images, labels, seed, judged) for labels in (truth, planted, fixed)]
    tested = int((_test_fold(images, seed) == 0).sum())
    return Row(
        data=images.name,
        share=share,
        kind=kind,
        seed=seed,
        images=len(planted),
        planted=int(changed.sum()),
        score=_found(judged.scores, changed),
        self_confidence=_found(confidence, changed),
        cleanlab=by_cleanlab,
        found=float(changed[first].sum() / max(1, changed.sum())),
        power=power.get(kind),
        expected=reading.expected,
        low=reading.low,
        high=reading.high,
        stop=reading.stop,
        held=reading.held,
        read=int(changed[order[: reading.stop]].sum()),
        clean=accuracies[0],
        flipped=accuracies[1],
        fixed=accuracies[2],
        clean_low=wilson(accuracies[0] * tested, tested)[0],
        seconds=round(seconds, 2),
    )


def _first(count: int) -> int:
    return max(1, round(FIRST_SHARE * count))


def _found(scores: NDArray[np.floating], changed: NDArray[np.bool_]) -> float:
    """The share of the first 5 % that are planted errors."""
    return float(changed[error_order(scores)[: _first(len(scores))]].mean())


def _test_fold(images: Images, seed: int) -> NDArray[np.int64]:
    rows = np.arange(len(images.catalog))
    return make_folds(images.catalog, rows, 4, seed + 1000)


def _accuracy(images: Images, labels: NDArray[np.int64], seed: int, judged: Judged) -> float:
    """On a quarter of the images with their true labels, of a head fitted on the others."""
    aside = _test_fold(images, seed) == 0
    fold_of = np.where(aside, ASIDE, judged.fold_of)
    heads = HeldOutHeads(images.features, fold_of, len(images.catalog.classes))
    _, logits = heads.logits(labels, HeadOptions().c_values)
    return float((logits[aside].argmax(axis=1) == images.catalog.labels[aside]).mean())


Groups = dict[tuple[str, float, str], list[Row]]


def _groups(rows: list[Row]) -> Groups:
    groups: Groups = defaultdict(list)
    for row in rows:
        groups[row.data, row.share, row.kind].append(row)
    return groups


def table(rows: list[Row]) -> str:
    """The means over the seeds, a line for each set, share and kind of error."""
    heads = ("score", "self_confidence", "cleanlab", "clean", "flipped", "fixed")
    lines = [f"| data | share | errors | images | {' | '.join(heads)} | seconds |"]
    lines.append("|---" * (len(heads) + 5) + "|")
    for (data, share, kind), group in _groups(rows).items():
        cells = " | ".join(_mean(group, head) for head in heads)
        seconds = np.mean([row.seconds for row in group])
        lines.append(f"| {data} | {share} | {kind} | {group[0].images} | {cells} | {seconds:.1f} |")
    return "\n".join(lines)


def estimates(rows: list[Row]) -> str:
    """What the audit says of itself, beside the truth; the last line is over all rows."""
    lines = [
        "| data | share | errors | planted | expected, low to high | held by | found"
        " | power, minus found | read: planted, expected of images |"
    ]
    lines.append("|---" * 9 + "|")
    for (data, share, kind), group in _groups(rows).items():
        names = ("planted", "expected", "low", "high", "read", "held", "stop")
        mean = {name: np.mean([getattr(row, name) for row in group]) for name in names}
        power = _mean(group, "power")
        if errors := _power_errors(group):
            power += f", {np.mean(errors):+.1f}"
        lines.append(
            f"| {data} | {share} | {kind} | {mean['planted']:.0f} | {mean['expected']:.0f},"
            f" {mean['low']:.0f} to {mean['high']:.0f} | {_covered(group)} | {_mean(group, 'found')}"
            f" | {power} | {mean['read']:.0f}, {mean['held']:.0f} of {mean['stop']:.0f} |"
        )
    errors = _power_errors(rows)
    ends = f"all intervals: {_covered(rows)}"
    if errors:
        ends += f"; power minus found: {np.mean(errors):+.1f} points in the mean,"
        ends += f" {np.abs(errors).mean():.1f} in size, {np.abs(errors).max():.1f} at most"
    return "\n".join([*lines, ends])


def _power_errors(rows: list[Row]) -> list[float]:
    """How many points the audit's power lies above the truth, where both are known."""
    known = [row for row in rows if row.planted and row.power is not None]
    return [100 * ((row.power or 0.0) - row.found) for row in known]


def _covered(rows: list[Row]) -> str:
    """How many of the intervals hold the planted number."""
    held = sum(row.low <= row.planted <= row.high for row in rows)
    return f"{held} of {len(rows)}"


def _mean(group: list[Row], name: str) -> str:
    values = [getattr(row, name) for row in group]
    return "" if None in values else f"{100 * np.mean(values):.1f} %"


if __name__ == "__main__":
    main()
