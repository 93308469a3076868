"""Do the intervals hold the truth as often as they say, and does `compare` find what is there and
nothing else?

    python benchmarks/coverage.py [--only single|grouped] [--repeats 1000] [--compared 200] [--out
    benchmarks/results/coverage.json]

Predictions are drawn from models whose true scores are known, from a million images of the same
kind. Intervals: how often 95 % ones hold the truth. Comparisons: of two models that are equal, how
often nothing is found; of two that truly differ by three points of accuracy, how often that is.
Every share has its own interval, Wilson's.

Grouped kinds have images in groups. Two images of a group are one and the same draw with a
probability such that any two of their scores correlate by rho: 0 is images of their own, 1 is copies.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from recording import about

from tellapart.evaluation.comparison import SIGNIFICANT
from tellapart.evaluation.intervals import wilson
from tellapart.evaluation.metrics import measure
from tellapart.evaluation.paired import Pair, compare_all
from tellapart.evaluation.paired_shares import compare_shares, mcnemar
from tellapart.evaluation.predictions import Predictions
from tellapart.evaluation.resampling import resample
from tellapart.evaluation.significance import holm

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


class Groups(Kind):
    """A population of groups: how many images each has, and how alike these are.

    Args:
        name: what the kind is called.
        sizes: the images of each group.
        likeness: the correlation of any score of two images of a group, in [0, 1].
        mixed: whether the images of a group are of several classes.
    """

    def __init__(
        self, name: str, sizes: Sequence[int], likeness: float, mixed: bool = False
    ) -> None:
        super().__init__(f"{name}, rho {likeness:g}", sum(sizes), [1, 1, 1], 3.0)
        self.sizes, self.likeness, self.mixed = np.array(sizes), likeness, mixed

    def draw(self, rng: np.random.Generator, count: int) -> Predictions:
        """Predictions of the groups; or of images of their own, if another number is asked for."""
        if count != self.images:
            return super().draw(rng, count)
        clusters, labels = self.laid_out(rng)
        common, own = (self.logits(rng, length) for length in (len(self.sizes), count))
        noise, sharpness = self.joined(rng, clusters, common, own)
        noise[np.arange(count), labels] += self.sharpness * sharpness
        return predicted(noise, labels, clusters)

    def laid_out(self, rng: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The group and the class of each image."""
        clusters = np.repeat(np.arange(len(self.sizes)), self.sizes)
        if self.mixed:
            return clusters, rng.permutation(np.arange(len(clusters)) % len(self.shares))
        return clusters, clusters % len(self.shares)

    def logits(
        self, rng: np.random.Generator, count: int
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The noise of so many images' logits, and how clear each image is."""
        return rng.normal(size=(count, len(self.shares))), rng.gamma(2.0, 0.5, count)

    def joined(
        self,
        rng: np.random.Generator,
        clusters: NDArray[np.int64],
        common: Sequence[NDArray[np.float64]],
        own: Sequence[NDArray[np.float64]],
    ) -> list[NDArray[np.float64]]:
        """Each image has what its group has, or what it drew itself.

        Two of a group both have the group's with a probability of `likeness`.
        """
        together = rng.random(len(clusters)) < math.sqrt(self.likeness)
        return [
            np.where(together.reshape(-1, *[1] * (alone.ndim - 1)), shared[clusters], alone)
            for shared, alone in zip(common, own, strict=True)
        ]


LAYOUTS = {
    "60 groups of 5": [5] * 60,
    "30 groups of 10": [10] * 30,
    "10 groups of 20, 20 of 5, 50 of 1": [20] * 10 + [5] * 20 + [1] * 50,
}
LIKENESSES = (0.0, 0.5, 0.9, 1.0)
GROUPED = [
    Groups("300 images of their own", [1] * 300, 0.0),
    Groups("60 images of their own", [1] * 60, 0.0),
    Groups("30 images of their own", [1] * 30, 0.0),
    *(Groups(name, sizes, rho) for name, sizes in LAYOUTS.items() for rho in LIKENESSES),
    Groups("60 groups of 5 of several classes", [5] * 60, 0.5, mixed=True),
]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=1_000, help="of each kind of interval")
    parser.add_argument(
        "--compared", type=int, default=200, help="repeats of each whole comparison"
    )
    parser.add_argument("--only", choices=("single", "grouped"), default="single")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="write the numbers as JSON")
    options = parser.parse_args()
    grouped = options.only == "grouped"
    kinds = GROUPED if grouped else KINDS
    print(
        "| 95 % intervals that hold the truth, % | "
        + " | ".join(name.replace("_", " ") for name in SCORES)
        + " |"
    )
    print("|---" * (len(SCORES) + 1) + "|")
    intervals = []
    for kind in kinds:
        row = interval_row(kind, options.repeats, options.seed)
        print(
            f"| {row['kind']} | {' | '.join(percent(row[name]) for name in SCORES)} |", flush=True
        )
        intervals.append(row)
    compare = grouped_comparisons if grouped else comparisons
    compared = list(compare(options.compared, options.seed))
    images = "images in groups" if grouped else f"{TEST:,} images where nothing else is said"
    print(f"\n| two models, {images} | repeats | of 100 |\n|---|---|---|")
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


def grouped_comparisons(repeats: int, seed: int) -> Iterator[dict[str, Any]]:
    """How often equals are told apart by nothing, where images come in groups."""
    for name, sizes in LAYOUTS.items():
        for rho in LIKENESSES:
            kind = Groups(name, sizes, rho)
            pairs = [
                compare_shares(*two_in_groups(kind, np.random.default_rng([seed, 6, repeat])))
                for repeat in range(10 * repeats)
            ]
            nothing = sum(pair.p >= SIGNIFICANT for pair in pairs)
            held = sum(pair.difference.low <= 0 <= pair.difference.high for pair in pairs)
            case = f"equals, 20 % decided differently, {kind.name}"
            yield {
                "case": f"{case}: accuracy shows no difference",
                "share": share(nothing, len(pairs)),
            }
            yield {"case": f"{case}: the interval holds 0", "share": share(held, len(pairs))}
    for rho in LIKENESSES:
        kind = Groups("60 groups of 5", [5] * 60, rho)
        wholes = [whole_in_groups(kind, seed, repeat) for repeat in range(repeats)]
        none = sum(not any(metric.found for metric in pair.metrics[1:]) for pair in wholes)
        case = f"equals, {kind.name}, the whole of `compare`: none of the other scores does"
        yield {"case": case, "share": share(none, repeats)}
    none = sum(not any_worse(np.random.default_rng([seed, 8, repeat])) for repeat in range(repeats))
    yield {
        "case": "ten equal backbones, 300 val images: `pick` calls none measurably worse",
        "share": share(none, repeats),
    }
    yield {"case": "five copies of every image: bounds as of one", "share": share(*copied(seed))}


def two_in_groups(
    kind: Groups, rng: np.random.Generator
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.int64]]:
    """Which images two equally good models get right, and the group of each image.

    Each is right on 70 % of the images, alone on 10 %.
    """
    clusters = kind.laid_out(rng)[0]
    common, own = ([rng.random(count)] for count in (len(kind.sizes), len(clusters)))
    place = kind.joined(rng, clusters, common, own)[0]
    return place < 0.7, (place < 0.6) | ((place >= 0.7) & (place < 0.8)), clusters


def whole_in_groups(kind: Groups, seed: int, repeat: int) -> Pair:
    """Two equally good models on the same groups, compared by every score."""
    rng = np.random.default_rng([seed, 7, repeat])
    clusters, labels = kind.laid_out(rng)
    common, own = (kind.logits(rng, length) for length in (len(kind.sizes), len(clusters)))
    noise, sharpness = kind.joined(rng, clusters, common, own)
    noise[np.arange(len(labels)), labels] += kind.sharpness * sharpness
    both = []
    for _ in range(2):
        extra = [kind.logits(rng, length)[:1] for length in (len(kind.sizes), len(clusters))]
        both.append(
            predicted(noise + 0.75 * kind.joined(rng, clusters, *extra)[0], labels, clusters)
        )
    return compare_all(both, ("A", "B"), seed=repeat).pairs[0]


def any_worse(rng: np.random.Generator) -> bool:
    """Whether `pick` calls any of ten equally good backbones measurably worse than the best."""
    right = rng.normal(size=300) + 0.6 * rng.normal(size=(10, 300)) < 1
    best = int(right.sum(axis=1).argmax())
    order = [best, *(place for place in range(10) if place != best)]
    clusters = np.arange(300)
    ps = [
        compare_shares(right[first], right[second], clusters).p
        for first, second in combinations(order, 2)
    ]
    return min(holm(ps)[:9]) < SIGNIFICANT


def copied(seed: int, models: int = 20) -> tuple[int, int]:
    """How many intervals are those of one copy, where every image is there five times, and how many
    there are.
    """
    same = []
    for model in range(models):
        ones = KINDS[0].draw(np.random.default_rng([seed, 9, model]), 60)
        rows = np.repeat(np.arange(60), 5)
        fives = replace(ones.rows(rows), clusters=rows, paths=tuple(f"{p:05}" for p in range(300)))
        once, five_times = (vars(measure(predictions)) for predictions in (ones, fives))
        same += [
            np.allclose(
                [once[name].low, once[name].high], [five_times[name].low, five_times[name].high]
            )
            for name in SCORES
        ]
    return sum(same), len(same)


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


def predicted(
    logits: NDArray[np.float64],
    labels: NDArray[np.int64],
    clusters: NDArray[np.int64] | None = None,
) -> Predictions:
    """Logits as the predictions of a model. Default: each image is its own cluster."""
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    probs = (exponents / exponents.sum(axis=1, keepdims=True)).astype(np.float32)
    paths = tuple(f"{number:07}" for number in range(len(labels)))
    classes = tuple(map(str, range(logits.shape[1])))
    if clusters is None:
        return Predictions(probs, labels, paths, classes)
    return Predictions(probs, labels, paths, classes, clusters=clusters)


def share(count: int, of: int) -> dict[str, float]:
    """A share with Wilson's interval."""
    low, high = wilson(count, of)
    return {"value": count / of, "low": low, "high": high, "count": of}


def percent(one: dict[str, float]) -> str:
    """A share, and its interval, in percent."""
    return f"{100 * one['value']:.1f} ({100 * one['low']:.1f} to {100 * one['high']:.1f})"


if __name__ == "__main__":
    main()
