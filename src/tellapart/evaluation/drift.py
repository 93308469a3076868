"""Are new images like those that a model was measured on?

A reference has what the model answered to images that it was not fitted on, and what these images
were like: how many there were of each decision and class, and the tenths of each measure. New images
are counted by the same cells.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tellapart.evaluation.intervals import wilson
from tellapart.evaluation.significance import holm

DECISION, ANSWER = "decision", "answer"
# The measures of an image and its answer, in the order in which they are shown.
MEASURES = (
    "confidence",
    "unfamiliarity",
    "brightness",
    "contrast",
    "colourfulness",
    "width",
    "height",
)
TENTHS = np.arange(1, 10) / 10
LEAST_IMAGES = 30  # of which a difference is looked for
SIGNIFICANT = 0.01  # after the correction for the number of tests


@dataclass(frozen=True)
class Reference:
    """What a model answered while it was made, and to which images.

    Args:
        count: how many images there were.
        clusters: how many they count for, as copies and groups count once.
        categories: "decision" and "answer" → name → number of images.
        cuts: measure → rising bounds between cells, up to nine.
        cells: measure → number of images in each cell, one more than there are bounds.
    """

    count: int
    clusters: int
    categories: Mapping[str, Mapping[str, int]]
    cuts: Mapping[str, tuple[float, ...]]
    cells: Mapping[str, tuple[int, ...]]

    def as_json(self) -> dict[str, Any]:
        """The JSON object that the card holds."""
        return {
            "count": self.count,
            "clusters": self.clusters,
            "categories": {name: dict(counts) for name, counts in self.categories.items()},
            "cuts": {name: list(cuts) for name, cuts in self.cuts.items()},
            "cells": {name: list(counts) for name, counts in self.cells.items()},
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Reference:
        """The reference whose `as_json` gave this object.

        Raises:
            ValueError, KeyError, TypeError, AttributeError: it has another form.
        """
        cuts = {name: tuple(map(float, given)) for name, given in value["cuts"].items()}
        cells = {name: tuple(map(int, given)) for name, given in value["cells"].items()}
        if any(len(cells[name]) != len(bounds) + 1 for name, bounds in cuts.items()):
            raise ValueError("each measure has one cell more than bounds")
        categories = {
            str(name): {str(key): int(count) for key, count in counts.items()}
            for name, counts in value["categories"].items()
        }
        return cls(int(value["count"]), int(value["clusters"]), categories, cuts, cells)


def make_reference(
    decisions: Sequence[str],
    answers: Sequence[str],
    measures: Mapping[str, NDArray[np.floating[Any]]],
    clusters: NDArray[np.int64],
) -> Reference:
    """Count N images.

    Args:
        decisions: (N,) "answered", "unsure" or "unfamiliar".
        answers: (N,) names of classes.
        measures: name → (N,) values. A measure with a value that is not finite is left out.
        clusters: (N,) as in `Predictions`.

    >>> light = {"brightness": np.arange(100.0)}
    >>> reference = make_reference(["answered"] * 100, ["cat"] * 100, light, np.arange(100))
    >>> reference.cuts["brightness"][:2], reference.cells["brightness"][:2]
    ((9.9, 19.8), (10, 10))
    """
    cuts: dict[str, tuple[float, ...]] = {}
    cells: dict[str, tuple[int, ...]] = {}
    for name, values in measures.items():
        if len(values) and np.isfinite(values).all():
            bounds = np.unique(np.quantile(values, TENTHS).round(4))
            if len(bounds) > 1:  # nothing is above the largest value, which many may share
                bounds = bounds[bounds < values.max()]
            cuts[name] = tuple(bounds.tolist())
            cells[name] = tuple(_cells(values, cuts[name]).tolist())
    categories = {DECISION: dict(Counter(decisions)), ANSWER: dict(Counter(answers))}
    return Reference(len(answers), len(np.unique(clusters)), categories, cuts, cells)


def _cells(values: NDArray[np.floating[Any]], cuts: Sequence[float]) -> NDArray[np.int64]:
    places = np.searchsorted(np.asarray(cuts), np.asarray(values, float), side="left")
    return np.bincount(places, minlength=len(cuts) + 1)


@dataclass
class Counts:
    """New images, counted by the cells of a reference.

    >>> counts = Counts(Reference(4, 4, {"decision": {"answered": 4}}, {"width": (8.0,)}, {"width": (2, 2)}))
    >>> counts.add({"decision": "answered", "width": 5})
    >>> counts.categories["decision"], counts.cells["width"]
    (Counter({'answered': 1}), [1, 0])
    """

    reference: Reference
    images: int = 0
    categories: dict[str, Counter[str]] = field(init=False)
    cells: dict[str, list[int]] = field(init=False)

    def __post_init__(self) -> None:
        self.categories = {name: Counter() for name in self.reference.categories}
        self.cells = {name: [0] * len(cells) for name, cells in self.reference.cells.items()}

    def add(self, image: Mapping[str, Any]) -> None:
        """Count one image; what is not known of it is passed over."""
        self.images += 1
        for name, counts in self.categories.items():
            if image.get(name):
                counts[str(image[name])] += 1
        for name, cells in self.cells.items():
            value = image.get(name)
            if value is not None and math.isfinite(value):
                cells[bisect_left(self.reference.cuts[name], value)] += 1


@dataclass(frozen=True)
class Share:
    """How many images have a property, then and now, with 95 % intervals.

    Args:
        name: of the property.
        before: the share among the images of the reference.
        before_interval: of it.
        now: the share among the new images.
        now_interval: of it.
        count: how many of the new images.
    """

    name: str
    before: float
    before_interval: tuple[float, float]
    now: float
    now_interval: tuple[float, float]
    count: int

    def as_json(self) -> dict[str, Any]:
        """The values by name."""
        return {
            "name": self.name,
            "before": self.before,
            "before_interval": list(self.before_interval),
            "now": self.now,
            "now_interval": list(self.now_interval),
            "count": self.count,
        }


@dataclass(frozen=True)
class Difference:
    """Whether new images differ from the reference in one thing.

    Args:
        name: "decision", "answer" or a measure.
        count: how many new images it is known of.
        shares: of each decision or class; of a measure, those in the lowest and in the highest cell.
        p: the chance of such a difference, or a larger one, where nothing has changed. It is corrected
            for the number of tests. None with fewer than 30 images.
    """

    name: str
    count: int
    shares: tuple[Share, ...]
    p: float | None

    @property
    def differs(self) -> bool:
        """Whether chance does not explain it."""
        return self.p is not None and self.p < SIGNIFICANT

    def as_json(self) -> dict[str, Any]:
        """The values by name."""
        shares = [share.as_json() for share in self.shares]
        return {
            "name": self.name,
            "count": self.count,
            "differs": self.differs,
            "p": self.p,
            "shares": shares,
        }


def differences(counts: Counts) -> list[Difference]:
    """What new images are held against the reference in, one entry each.

    The test is Pearson's chi-squared test of two samples. The images of the reference count as many
    as they have clusters. New images count one each, so many of one scene look like a change.
    """
    reference = counts.reference
    scale = reference.clusters / max(reference.count, 1)
    tables: list[tuple[str, list[str], list[int], list[int]]] = []
    for name, before in reference.categories.items():
        names = sorted({*before, *counts.categories[name]}, key=lambda key: -before.get(key, 0))
        now = [counts.categories[name][key] for key in names]
        tables.append((name, names, [before.get(key, 0) for key in names], now))
    for name in (*MEASURES, *sorted(set(reference.cells) - set(MEASURES))):
        if name in reference.cells:
            cells = list(map(str, range(len(reference.cells[name]))))
            tables.append((name, cells, list(reference.cells[name]), counts.cells[name]))
    known = [sum(now) for _, _, _, now in tables]
    tested = [place for place, count in enumerate(known) if count >= LEAST_IMAGES]
    ps = holm([_two_sample_p(tables[place][2], tables[place][3], scale) for place in tested])
    corrected = dict(zip(tested, ps, strict=True))
    return [
        Difference(
            name, known[place], _shares(name, names, before, now, scale), corrected.get(place)
        )
        for place, (name, names, before, now) in enumerate(tables)
    ]


def _shares(
    name: str, names: Sequence[str], before: Sequence[int], now: Sequence[int], scale: float
) -> tuple[Share, ...]:
    shown: Iterable[tuple[str, int]] = zip(names, range(len(names)), strict=True)
    if name not in (DECISION, ANSWER):
        shown = [("lowest", 0), ("highest", len(names) - 1)]
    all_before, all_now = sum(before), sum(now)
    found = []
    for label, place in shown:
        then = wilson(before[place] * scale, all_before * scale) if all_before else (0.0, 1.0)
        later = wilson(now[place], all_now) if all_now else (0.0, 1.0)
        shares = before[place] / max(all_before, 1), now[place] / max(all_now, 1)
        found.append(Share(label, shares[0], then, shares[1], later, now[place]))
    return tuple(found)


def _two_sample_p(before: Sequence[int], now: Sequence[int], scale: float) -> float:
    """The p value of Pearson's test that two rows of counts are drawn alike.

    Cells of fewer than five expected images are joined with the next ones.
    """
    table = np.array([np.asarray(before, float) * scale, now], float)
    table = table[:, table.sum(axis=0) > 0]
    joined: list[NDArray[np.float64]] = []
    share = table.sum(axis=1) / table.sum()
    for column in table.T:
        if joined and (joined[-1].sum() * share).min() < 5:
            joined[-1] = joined[-1] + column
        else:
            joined.append(column)
    if len(joined) > 1 and (joined[-1].sum() * share).min() < 5:
        joined[-2:] = [joined[-2] + joined[-1]]
    if len(joined) < 2:
        return 1.0
    cells = np.array(joined).T
    expected = np.outer(cells.sum(axis=1), cells.sum(axis=0)) / cells.sum()
    statistic = float(((cells - expected) ** 2 / expected).sum())
    return chi_squared_tail(statistic, cells.shape[1] - 1)


def chi_squared_tail(statistic: float, freedom: int) -> float:
    """The chance that a chi-squared variable is larger.

    Source: Abramowitz and Stegun 1964, 26.4.4 and 26.4.5.

    >>> round(chi_squared_tail(3.841, 1), 3), round(chi_squared_tail(16.919, 9), 3), chi_squared_tail(0, 4)
    (0.05, 0.05, 1.0)
    """
    half = statistic / 2
    if freedom % 2:
        tail, order = math.erfc(math.sqrt(half)), 0.5
    else:
        tail, order = math.exp(-half), 1.0
    while order < freedom / 2 and half:
        tail += math.exp(order * math.log(half) - half - math.lgamma(order + 1))
        order += 1
    return min(tail, 1.0)
