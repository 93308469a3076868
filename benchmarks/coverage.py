"""Do the intervals hold the truth as often as they say, and does `compare` find what is there and
nothing else?

    python benchmarks/coverage.py [--repeats 1000] [--compared 200] [--out
    benchmarks/results/coverage.json]

Predictions are drawn from models whose true scores are known, from a million images of the same
kind. Intervals: how often 95 % ones hold the truth. Comparisons: of two models that are equal, how
often nothing is found; of two that truly differ by three points of accuracy, how often that is.
Every share has its own interval, Wilson's.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from recording import about

from tellapart.evaluation.comparison import SIGNIFICANT
from tellapart.evaluation.intervals import wilson
from tellapart.evaluation.metrics import measure
from tellapart.evaluation.paired import Pair, compare_all
from tellapart.evaluation.paired_shares import mcnemar
from tellapart.evaluation.predictions import Predictions
from tellapart.evaluation.resampling import resample

MILLION = 1_000_000
SCORES = ("accuracy", "balanced_accuracy", "macro_f1", "log_loss", "brier", "ece")
PLANTED = 0.03
TEST = 2_000  # images of a comparison
EVEN = [TEST // 10] * 10  # images of each class
UNEVEN = ([100, 4, 4, 4], [120, 10, 10], [60, 8])
FAST = 20_000  # repeats where only counts are drawn


class Kind:
    """A model and a population: how likely each class is, how sharp the model is, and how sure it
    says it is.
    """

    def __init__(
        self, name: str, images: int, shares: list[float], sharpness: float, boldness: float = 1.0
    ) -> None:
        self.name, self.images = name, images
        self.shares = np.array(shares) / sum(shares)
        self.sharpness, self.boldness = sharpness, boldness

    def draw(self, rng: np.random.Generator, count: int) -> Predictions:
        """Predictions of images; as many of each class as its share says, as a split has them."""
        sizes = np.floor(self.shares * count).astype(int)
        sizes[: count - sizes.sum()] += 1
        labels = np.repeat(np.arange(len(sizes)), sizes)
        logits = rng.normal(size=(count, len(sizes)))
        logits[np.arange(count), labels] += self.sharpness * rng.gamma(2.0, 0.5, count)
        return predicted(self.boldness * logits, labels)


KINDS = [
    Kind("2 classes, 200 images", 200, [1, 1], 3.0),
    Kind("2 classes, 10 : 1, 220 images", 220, [10, 1], 3.0),
    Kind("2 classes, nearly all right, 400 images", 400, [1, 1], 6.0),
    Kind("10 classes, 200 images", 200, [1] * 10, 4.0),
    Kind("10 classes, 1,000 images", 1_000, [1] * 10, 4.0),
    Kind("10 classes, too sure of itself, 500 images", 500, [1] * 10, 4.0, 2.0),
    Kind("20 classes, uneven, 600 images", 600, [8, 4, 2, 1] * 5, 5.0),
]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=1_000, help="of each kind of interval")
    parser.add_argument(
        "--compared", type=int, default=200, help="repeats of each whole comparison"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="write the numbers as JSON")
    options = parser.parse_args()
    intervals = [interval_row(kind, options.repeats, options.seed) for kind in KINDS]
    print(
        "| 95 % intervals that hold the truth, % | "
        + " | ".join(name.replace("_", " ") for name in SCORES)
        + " |"
    )
    print("|---" * (len(SCORES) + 1) + "|")
    for row in intervals:
        print(f"| {row['kind']} | " + " | ".join(percent(row[name]) for name in SCORES) + " |")
    compared = list(comparisons(options.compared, options.seed))
    print(
        f"\n| two models, {TEST:,} images where nothing else is said | repeats | of 100"
        " |\n|---|---|---|"
    )
    for row in compared:
        print(f"| {row['case']} | {row['share']['count']:,} | {percent(row['share'])} |")
    if options.out:
        recorded = {
            **about(["simulated"], options.seed),
            "intervals": intervals,
            "compare": compared,
        }
        options.out.write_text(json.dumps(recorded, indent=1) + "\n")


def interval_row(kind: Kind, repeats: int, seed: int) -> dict[str, Any]:
    """How often the interval of each score holds the score of a million images."""
    truth = true_scores(kind, seed)
    held = dict.fromkeys(SCORES, 0)
    for repeat in range(repeats):
        found = measure(
            kind.draw(np.random.default_rng([seed, 2, repeat]), kind.images), seed=repeat
        )
        for name in SCORES:
            score = getattr(found, name)
            held[name] += score.low <= truth[name] <= score.high
    return {"kind": kind.name, "truth": truth} | {
        name: share(count, repeats) for name, count in held.items()
    }


def true_scores(kind: Kind, seed: int) -> dict[str, float]:
    """The scores of a million images."""
    predictions = kind.draw(np.random.default_rng([seed, 1]), MILLION)
    found = resample(predictions, resamples=1)
    return {"accuracy": float(predictions.correct.mean())} | dict(
        zip(found.names, found.values.tolist(), strict=True)
    )


def comparisons(repeats: int, seed: int) -> Iterator[dict[str, Any]]:
    """How often equals are told apart by nothing, and how often three points of accuracy are
    found.
    """
    for apart in (0.05, 0.10, 0.15):
        equals, planted = (counted(apart, difference, seed) for difference in (0.0, PLANTED))
        said = f"{100 * apart:.0f} % decided differently"
        yield {
            "case": f"equals, {said}: accuracy shows no difference",
            "share": share(FAST - equals, FAST),
        }
        yield {"case": f"3 points apart, {said}: accuracy shows it", "share": share(planted, FAST)}
    pairs = [whole(difference, EVEN, seed, repeats) for difference in (0.0, PLANTED)]
    decided = sum(len(pair.lost) + len(pair.gained) for pair in pairs[0]) / (TEST * repeats)
    said = f"{100 * decided:.0f} % decided differently, the whole of `compare`"
    nothing = sum(not pair.main.found for pair in pairs[0])
    none = sum(not any(one.found for one in pair.metrics[1:]) for pair in pairs[0])
    no_class = sum(not any(one.found for one in pair.classes) for pair in pairs[0])
    found = sum(pair.main.found and pair.main.gain > 0 for pair in pairs[1])
    yield {
        "case": f"equals, {said}: accuracy shows no difference",
        "share": share(nothing, repeats),
    }
    yield {"case": "the same: none of the other scores does", "share": share(none, repeats)}
    yield {"case": "the same: none of the classes does", "share": share(no_class, repeats)}
    yield {"case": f"3 points apart, {said}: accuracy shows it", "share": share(found, repeats)}
    for sizes in UNEVEN:
        nothing = sum(not pair.main.found for pair in whole(0.0, sizes, seed, repeats))
        said = f"equals, {'/'.join(map(str, sizes))} images of the classes"
        yield {
            "case": f"{said}: balanced accuracy shows no difference",
            "share": share(nothing, repeats),
        }


def counted(apart: float, difference: float, seed: int) -> int:
    """In how many of FAST repeats McNemar's test finds something; which images are decided how is
    drawn.
    """
    chances = [(apart + difference) / 2, (apart - difference) / 2, 1 - apart]
    drawn = np.random.default_rng([seed, 3]).multinomial(TEST, chances, FAST)
    test = cache(mcnemar)
    return sum(test(gained, lost) < SIGNIFICANT for gained, lost, _ in drawn.tolist())


def whole(difference: float, sizes: Sequence[int], seed: int, repeats: int) -> list[Pair]:
    """Comparisons of two models that see the same images, so many of each class, each with noise of
    its own.
    """
    sharper = sharpness_for(difference, seed)
    pairs = []
    for repeat in range(repeats):
        both = two_models(np.random.default_rng([seed, 4, repeat]), sizes, sharper)
        pairs.append(compare_all(both, ("A", "B"), seed=repeat).pairs[0])
    return pairs


def two_models(rng: np.random.Generator, sizes: Sequence[int], sharper: float) -> list[Predictions]:
    """Two models of the same classes; the second is as much sharper. What makes an image hard is
    the same for both.
    """
    labels = np.repeat(np.arange(len(sizes)), sizes)
    right = np.arange(len(sizes)) == labels[:, None]
    shared = rng.normal(size=right.shape) + right * 4.0 * rng.gamma(2.0, 0.5, (len(labels), 1))
    return [
        predicted(shared + 0.75 * rng.normal(size=right.shape) + extra * right, labels)
        for extra in (0.0, sharper)
    ]


def sharpness_for(difference: float, seed: int) -> float:
    """How much sharper the second must be to be better by so much, found by halving on many
    images.
    """
    if not difference:
        return 0.0
    low, high = 0.0, 2.0
    for _ in range(14):
        middle = (low + high) / 2
        one, other = two_models(np.random.default_rng([seed, 5]), [MILLION // 50] * 10, middle)
        low, high = (
            (middle, high)
            if other.correct.mean() - one.correct.mean() < difference
            else (low, middle)
        )
    return (low + high) / 2


def predicted(logits: NDArray[np.float64], labels: NDArray[np.int64]) -> Predictions:
    """Logits as the predictions of a model."""
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    probs = (exponents / exponents.sum(axis=1, keepdims=True)).astype(np.float32)
    paths = tuple(f"{number:07}" for number in range(len(labels)))
    return Predictions(probs, labels, paths, tuple(map(str, range(logits.shape[1]))))


def share(count: int, of: int) -> dict[str, float]:
    """A share with Wilson's interval."""
    low, high = wilson(count, of)
    return {"value": count / of, "low": low, "high": high, "count": of}


def percent(one: dict[str, float]) -> str:
    """A share, and its interval, in percent."""
    return f"{100 * one['value']:.1f} ({100 * one['low']:.1f} to {100 * one['high']:.1f})"


if __name__ == "__main__":
    main()
