"""Findings about images: copies, classes that overlap, images unlike the rest, and poor ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tellapart.catalog.cues import Cues
from tellapart.catalog.duplicates import find_copies
from tellapart.evaluation.oddities import oddity
from tellapart.evaluation.overlap import Overlap, find_overlaps
from tellapart.jobs.audit.labels import Judged
from tellapart.phrases import count_of
from tellapart.probe.familiarity import fit_subspace
from tellapart.probe.held_out import ASIDE
from tellapart.runs.audit import AuditFinding

SHOWN = 12  # images of one finding
MOST_OUTLIERS = 0.01  # of the images; 10 at least
ODD = 4.0  # spreads above the median
# A quality that more of the images have is how this set is, and no fault of single images.
MOST_POOR = 0.05
SUBSPACE_ROWS = 5000  # more images would not move the directions of what is usual

DARK, FLAT = 20.0, 5.0  # of brightness and of contrast, both 0 to 255
TINY_PX, TINY_SHARE = 64, 0.5  # the shorter side, in pixels and as a share of its median
LONG = 3.0  # times as long as wide

# Scores: what is certain comes first, what is a matter of taste last.
CONFLICT, OVERLAP, OUTLIER, POOR = 1.0, 0.5, 0.3, 0.2


def image_findings(judged: Judged, cues: Cues) -> list[AuditFinding]:
    """All findings about images."""
    return [
        *_copies(judged),
        *_classes(judged),
        *_outliers(judged),
        *_poor(judged, cues),
    ]


def _copies(judged: Judged) -> Iterator[AuditFinding]:
    place_of = {int(row): place for place, row in enumerate(judged.rows)}
    for cluster in find_copies(judged.catalog):
        places = [place_of[row] for row in cluster.rows if row in place_of]
        names = sorted({judged.catalog.classes[judged.labels[place]] for place in places})
        if len(names) < 2:
            continue
        kind = "The same file" if cluster.exact else "Nearly the same image"
        yield AuditFinding(
            kind="copies",
            title=f"{kind} is in {' and '.join(f'‘{name}’' for name in names[:3])}",
            text=(
                f"{kind} is there {count_of(len(places), 'time')} under different labels, so that at"
                " least one of them is wrong. Keep the right one."
            ),
            score=CONFLICT,
            images=tuple(judged.image(place) for place in places[:SHOWN]),
        )


def _classes(judged: Judged) -> Iterator[AuditFinding]:
    for overlap in find_overlaps(judged.logits, judged.labels, judged.clusters):
        yield _overlap_finding(judged, overlap)


def _overlap_finding(judged: Judged, overlap: Overlap) -> AuditFinding:
    first, second = (judged.catalog.classes[label] for label in overlap.classes)
    images = []
    for place in overlap.places[:SHOWN]:
        label = judged.labels[place]
        other = overlap.classes[0] if label == overlap.classes[1] else overlap.classes[1]
        images.append(judged.image(place, other))
    return AuditFinding(
        kind="classes",
        title=f"‘{first}’ and ‘{second}’ overlap",
        text=(
            f"{100 * overlap.mixed:.0f} % of the images of the two look more like the other class;"
            " at 50 % they would be one class. Merge them, or define what tells them apart and go"
            " through both."
        ),
        score=round(OVERLAP + OVERLAP * min(1.0, overlap.mixed), 5),
        images=tuple(images),
    )


def _outliers(judged: Judged) -> Iterator[AuditFinding]:
    distances = oddity(_distances(judged))
    order = np.argsort(-np.nan_to_num(distances, nan=-np.inf), kind="stable")
    most = max(10, round(MOST_OUTLIERS * len(order)))
    for place in order[:most].tolist():
        if not distances[place] > ODD:
            return
        image = judged.image(place)
        yield AuditFinding(
            kind="outlier",
            title=f"{image.path.rpartition('/')[2]} is unlike the other images",
            text=(
                f"The image is labelled ‘{image.label}’ and lies {distances[place]:.1f} spreads"
                " farther from all other images than is usual. Drop it if it shows none of the"
                " classes."
            ),
            score=round(OUTLIER + 0.1 * min(1.0, (distances[place] - ODD) / ODD), 5),
            images=(image,),
        )


def _distances(judged: Judged) -> NDArray[np.float64]:
    """(M,) how far the embedding of each image is from what other folds vary by."""
    distances = np.full(len(judged.rows), np.nan)
    pool = judged.fold_of != ASIDE
    for fold in np.unique(judged.fold_of[judged.fold_of != -1]).tolist():
        known = np.flatnonzero(pool & (judged.fold_of != fold))
        held = judged.fold_of == fold
        if len(known) < 2:
            continue
        step = -(-len(known) // SUBSPACE_ROWS)
        subspace = fit_subspace(judged.features[known[::step]])
        distances[held] = subspace.residuals(judged.features[held])
    return distances


@dataclass(frozen=True)
class _Fault:
    """One way in which an image can be poor: a word, the images, and what was measured of each."""

    word: str
    poor: NDArray[np.bool_]
    measured: Callable[[int], str]


def _poor(judged: Judged, cues: Cues) -> Iterator[AuditFinding]:
    for fault in _faults(judged, cues):
        places = np.flatnonzero(fault.poor).tolist()
        if len(places) > max(1, MOST_POOR * len(judged.rows)):
            continue
        for place in places:
            image = judged.image(place)
            yield AuditFinding(
                kind="quality",
                title=f"{image.path.rpartition('/')[2]} is {fault.word}",
                text=(
                    f"The image is {fault.word}: {fault.measured(place)}. Drop it if nobody could"
                    " tell its class."
                ),
                score=POOR,
                images=(image,),
            )


def _faults(judged: Judged, cues: Cues) -> Iterator[_Fault]:
    light = judged.catalog.light
    if light is not None:
        brightness, contrast = light[judged.rows, 0], light[judged.rows, 1]
        flat = contrast < FLAT
        dark = (brightness < DARK) & ~flat
        yield _Fault("dark", dark, lambda place: f"brightness {brightness[place]:.0f} of 255")
        yield _Fault("flat", flat, lambda place: f"contrast {contrast[place]:.1f} of 255")
    with np.errstate(divide="ignore"):
        blur = oddity(-np.log(cues.numbers["sharpness"]))
    blurred = np.nan_to_num(blur, nan=0.0) > ODD
    yield _Fault("blurred", blurred, lambda place: f"{blur[place]:.1f} spreads below the usual")
    widths, heights = cues.numbers["width"], cues.numbers["height"]
    sides = np.minimum(widths, heights)
    tiny = (sides < TINY_PX) & (sides < TINY_SHARE * np.median(sides))
    ratios = np.maximum(widths, heights) / np.maximum(1, sides)

    def size(place: int) -> str:
        return f"{widths[place]:.0f} × {heights[place]:.0f} pixels"

    yield _Fault("tiny", tiny, size)
    yield _Fault("long and narrow", (ratios > LONG) & ~tiny, size)
