"""Shortcuts: classes that a model could tell apart by size, light or file type alone."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tellapart.catalog.table import Catalog
from tellapart.report.parts.wording import percent

MIN_IMAGES = 20  # of a class and of the rest; with so many, chance does not reach the thresholds
MOST_SHORTCUTS = 12
# The area under the ROC curve, for one number and one class, above which it is called a shortcut.
# Sizes should say nothing about the content. Light and colour may be part of it (snow, night), so
# their threshold is higher.
_SIZE_AUROC, _LIGHT_AUROC = 0.8, 0.9
# The shares of a class and of the rest with the very same size or file type.
_MOST_HAVE, _FEW_HAVE = 0.9, 0.1


@dataclass(frozen=True)
class Shortcut:
    """Something that gives a class away. `strength` is the AUROC, or the balanced accuracy of
    sorting by it.
    """

    text: str
    strength: float


@dataclass(frozen=True)
class _Measure:
    values: NDArray[np.float64]  # of the chosen images
    threshold: float
    more: str  # the word for an image with a higher value
    less: str  # and with a lower one
    median: Callable[[float], str]  # a median in words


def shortcuts(catalog: Catalog, appearance: NDArray[np.float32]) -> list[Shortcut]:
    """The shortcuts, the strongest first. Classes with fewer than `MIN_IMAGES` have none."""
    chosen = catalog.ok & (catalog.labels >= 0) & (catalog.widths > 0) & (catalog.heights > 0)
    counts = catalog.counts(chosen)
    large = [
        label
        for label in np.flatnonzero(counts >= MIN_IMAGES).tolist()
        if counts.sum() - counts[label] >= MIN_IMAGES
    ]
    if len(large) < 2 and not (large and np.count_nonzero(counts) > 1):
        return []
    labels, names = catalog.labels[chosen], catalog.classes
    found = []
    exact = set()
    for column, sentence in _exact(catalog, chosen):
        for label, text, strength in _same_value(column, labels, large, sentence, names):
            exact.add(label)
            found.append(Shortcut(text, strength))
    for measure in _measures(catalog, chosen, appearance):
        for label, text, strength in _apart(measure, labels, counts, large, names):
            # A class of one exact size would only be found again by its size.
            if label not in exact or measure.threshold == _LIGHT_AUROC:
                found.append(Shortcut(text, strength))
    return sorted(found, key=lambda shortcut: -shortcut.strength)


def auroc(
    values: NDArray[np.float64], labels: NDArray[np.int64], num_classes: int
) -> NDArray[np.float64]:
    """(C,) how often an image of the class has a higher value than one of the rest. Ties count
    half.

    >>> auroc(np.array([1.0, 2.0, 3.0, 4.0]), np.array([0, 0, 1, 1]), 2).tolist()
    [0.0, 1.0]
    """
    _, place, ties = np.unique(values, return_inverse=True, return_counts=True)
    ranks = (ties.cumsum() - (ties - 1) / 2)[place]
    own = np.bincount(labels, minlength=num_classes).astype(float)
    sums = np.bincount(labels, ranks, minlength=num_classes)
    with np.errstate(invalid="ignore", divide="ignore"):
        area: NDArray[np.float64] = (sums - own * (own + 1) / 2) / (own * (len(values) - own))
    return area


def _exact(catalog: Catalog, chosen: NDArray[np.bool_]) -> Iterator[tuple[NDArray[np.str_], str]]:
    sizes = zip(catalog.widths[chosen].tolist(), catalog.heights[chosen].tolist(), strict=True)
    yield np.array([f"{width:,} × {height:,}" for width, height in sizes]), "are exactly {} pixels"
    endings = (
        posixpath.splitext(str(path))[1].lower().replace(".jpeg", ".jpg")
        for path in catalog.paths[chosen]
    )
    yield (
        np.array(
            [f"{ending} files" if ending else "files without an extension" for ending in endings]
        ),
        "are {}",
    )


def _same_value(
    column: NDArray[np.str_],
    labels: NDArray[np.int64],
    large: list[int],
    sentence: str,
    names: tuple[str, ...],
) -> Iterator[tuple[int, str, float]]:
    """Classes whose images nearly all share a value that nearly no other image has."""
    values, place = np.unique(column, return_inverse=True)
    totals = np.bincount(place)
    for label in large:
        own = np.bincount(place[labels == label], minlength=len(values))
        best = int(own.argmax())
        share, rest = own[best] / own.sum(), (totals[best] - own[best]) / (len(labels) - own.sum())
        if share >= _MOST_HAVE and rest <= _FEW_HAVE:
            what = sentence.format(values[best])
            text = (
                f"{percent(share)} of ‘{names[label]}’ {what}, against {percent(rest)} of the other"
                " images."
            )
            yield label, text, (share + 1 - rest) / 2


def _measures(
    catalog: Catalog, chosen: NDArray[np.bool_], appearance: NDArray[np.float32]
) -> Iterator[_Measure]:
    widths, heights = catalog.widths[chosen].astype(float), catalog.heights[chosen].astype(float)
    megapixels, aspect = widths * heights / 1e6, widths / heights
    yield _Measure(
        megapixels, _SIZE_AUROC, "larger", "smaller", lambda median: f"{median:.3g} megapixels"
    )
    yield _Measure(
        aspect,
        _SIZE_AUROC,
        "wider in shape",
        "narrower in shape",
        lambda m: f"{m:.2f} times as wide as tall",
    )
    light = appearance[chosen].astype(float)
    yield _Measure(light[:, 0], _LIGHT_AUROC, "brighter", "darker", lambda m: f"brightness {m:.0f}")
    yield _Measure(
        light[:, 1], _LIGHT_AUROC, "richer in contrast", "flatter", lambda m: f"contrast {m:.0f}"
    )
    yield _Measure(
        light[:, 2], _LIGHT_AUROC, "more colourful", "greyer", lambda m: f"colourfulness {m:.0f}"
    )


def _apart(
    measure: _Measure,
    labels: NDArray[np.int64],
    counts: NDArray[np.int64],
    large: list[int],
    names: tuple[str, ...],
) -> Iterator[tuple[int, str, float]]:
    known = np.isfinite(measure.values)
    if np.count_nonzero(known) < 0.9 * len(known):
        return
    values, labels = measure.values[known], labels[known]
    areas = auroc(values, labels, len(counts))
    two = np.count_nonzero(counts) == 2
    # With two classes, a shortcut of one is a shortcut of the other, reversed.
    for label in large[:1] if two else large:
        area = float(areas[label])
        strength = max(area, 1 - area)
        if strength >= measure.threshold:  # never for NaN
            word = measure.more if area > 0.5 else measure.less
            own, rest = np.median(values[labels == label]), np.median(values[labels != label])
            others = [
                name
                for name, count in zip(names, counts, strict=True)
                if count and name != names[label]
            ]
            rival = f"‘{others[0]}’" if two else "another class"
            text = (
                f"‘{names[label]}’ is {word} than {rival} in {percent(strength)} of all pairs of"
                f" images: {measure.median(own)} against {measure.median(rest)} at the median."
            )
            yield label, text, strength
