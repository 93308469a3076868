"""Brightness, contrast and colour of the images: in words, as histograms, and by examples."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tellapart.catalog.table import Catalog
from tellapart.phrases import count_of
from tellapart.report.explore.shortcuts import MIN_IMAGES
from tellapart.report.parts import figures
from tellapart.report.parts.gallery import Album, Shot
from tellapart.report.parts.wording import percent

MEASURES = ("brightness", "contrast", "colourfulness")  # the columns of `appearance`
_TOPS = (255, 128, 128)
_MEANINGS = (
    "mean grey level, 0 black to 255 white",
    "standard deviation of the grey levels, 0 flat to 128",
    "distance of the colours from grey; 0 is grey, 40 is colourful",
)
MOST_HISTOGRAMS = 12  # classes; with more, one histogram shows all images
MOST_EXTREMES = 6

VERY_DARK, VERY_BRIGHT = 30, 225
FLAT = 10  # contrast under which next to nothing can be seen
GREY = 3  # colourfulness under which an image is grey; JPEG alone causes up to 2

Appearance = NDArray[np.float32]


@dataclass(frozen=True)
class Measure:
    """One of `MEASURES`, with a histogram for each class, or one of all images."""

    name: str
    meaning: str
    histograms: tuple[figures.Histogram, ...]


@dataclass(frozen=True)
class Extreme:
    """The images with the lowest or the highest values of a measure."""

    heading: str
    shots: tuple[Shot, ...]


def measures(catalog: Catalog, appearance: Appearance) -> list[Measure]:
    """The histograms of the usable images. A measure without values is left out."""
    found = []
    counts = catalog.counts()
    several = np.count_nonzero(counts) > 1 and len(counts) <= MOST_HISTOGRAMS
    for column, name in enumerate(MEASURES):
        values, top = np.where(catalog.ok, appearance[:, column], np.nan), _TOPS[column]
        if not np.isfinite(values).any():
            continue
        if name == "colourfulness":  # few data sets come near the end of the scale
            top = min(max(16 * math.ceil(np.nanpercentile(values, 99) / 16), 16), top)
        span, ends = (
            (0.0, float(top)),
            (
                "0",
                "",
                f"{top}" if np.nanmax(values) <= top else f"{top} or more",
            ),
        )
        if several:
            histograms = [
                figures.histogram(class_name, values[catalog.labels == label], span, ends, values)
                for label, class_name in enumerate(catalog.classes)
                if counts[label]
            ]
        else:
            histograms = [figures.histogram("all images", values, span, ends)]
        found.append(Measure(name, _MEANINGS[column], tuple(histograms)))
    return found


def appearance_lines(catalog: Catalog, appearance: Appearance) -> list[str]:
    """Brightness, contrast and colour in sentences."""
    brightness, contrast, _ = appearance[_known(catalog, appearance)].T
    if not len(brightness):
        return ["Brightness, contrast and colour were not measured."]
    low, high = np.percentile(brightness, [25, 75])
    odd = {
        f"very dark (brightness under {VERY_DARK})": brightness < VERY_DARK,
        f"very bright (over {VERY_BRIGHT})": brightness > VERY_BRIGHT,
        f"nearly flat (contrast under {FLAT})": contrast < FLAT,
    }
    counts = [
        f"{count_of(int(chosen.sum()), 'image')} {'is' if chosen.sum() == 1 else 'are'} {name}"
        for name, chosen in odd.items()
        if chosen.any()
    ]
    odd_line = ", ".join(counts) or "No image is very dark, very bright or nearly flat"
    return [
        f"Half of the images have a brightness of {low:.0f} to {high:.0f}. {odd_line}.",
        _grey_line(catalog, appearance),
    ]


def _grey_line(catalog: Catalog, appearance: Appearance) -> str:
    known = _known(catalog, appearance)
    grey = known & (appearance[:, 2] < GREY)
    count, total = np.count_nonzero(grey), np.count_nonzero(known)
    if count == total:
        return (
            "All images are grey, so colour tells nothing, and the model will expect grey images."
        )
    if not count:
        return "No image is grey."
    counts = catalog.counts(known)
    shares = np.where(counts >= MIN_IMAGES, catalog.counts(grey) / np.maximum(counts, 1), 0)
    where = ""
    if len(shares) > 1 and shares.any():
        most = int(shares.argmax())
        where = f", most often in ‘{catalog.classes[most]}’ ({percent(shares[most])})"
    return f"{count:,} of {total:,} images {'is' if count == 1 else 'are'} grey{where}."


def extremes(catalog: Catalog, appearance: Appearance, album: Album) -> list[Extreme]:
    """The darkest, brightest and flattest images, and the grey ones where they are exceptions."""
    known = np.flatnonzero(_known(catalog, appearance))
    # One image of each content, or copies of the darkest image could fill the row.
    known = known[np.sort(np.unique(catalog.digests[known], return_index=True)[1])]
    ends = [("Darkest", 0, 1), ("Brightest", 0, -1), ("Flattest", 1, 1)]
    grey = np.count_nonzero(appearance[known, 2] < GREY)
    if 0 < grey < len(known) / 2:
        ends.append(("Least colour", 2, 1))
    found = []
    for heading, column, sign in ends:
        rows = known[np.argsort(sign * appearance[known, column], kind="stable")[:MOST_EXTREMES]]
        found.append((heading, column, rows))
    album.prepare(str(catalog.paths[row]) for _, _, rows in found for row in rows)
    return [
        Extreme(
            heading,
            tuple(
                _shot(catalog, int(row), appearance[row, column], MEASURES[column], album)
                for row in rows
            ),
        )
        for heading, column, rows in found
        if len(rows)
    ]


def _shot(catalog: Catalog, row: int, value: float, name: str, album: Album) -> Shot:
    label = int(catalog.labels[row])
    lines: Sequence[str] = ([catalog.classes[label]] if label >= 0 else []) + [
        f"{name} {value:.0f}"
    ]
    return album.hang(str(catalog.paths[row]), *lines)


def _known(catalog: Catalog, appearance: Appearance) -> NDArray[np.bool_]:
    """(N,) whether each image is usable and measured."""
    return catalog.ok & np.isfinite(appearance).all(axis=1)
