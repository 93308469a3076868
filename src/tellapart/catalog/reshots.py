"""Shots of one scene by a fixed camera: they look like copies, but are images of their own.

    clusters ──▶ of one size, and all ──▶ pixels of some ──▶ each two differ ──▶ shots, not copies
                 or most of a class                          equally: noise

Copies of one file are told from them by how much they differ. Each shot has noise of its own, and
of one strength, so any two differ equally, in strength and in fine structure. Copies differ little
or much, as they were saved or edited alike or not. Where that is not clear they count as copies.

Shots of one scene are still alike, and are better kept on one side. So they are only set apart
where that would make a class untestable, or where they would count as one image with two labels.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tellapart.catalog.files import unchanged_pixels
from tellapart.catalog.held_out import DOMINANT
from tellapart.catalog.table import Catalog

FEWEST = 12  # of fewer images the differences say too little
_SAMPLED = 16  # images of each scene that are decoded once more
_SIDE = 128  # pixels: at the side of a thumbnail the noise has averaged out
# The largest difference of two shots over the smallest. In synthetic sets shots mostly stay under
# 1.17, and copies of one size have 1.23 and more.
_MOST_UNEVEN = 1.2
_LEAST = 1e-3  # files with the same pixels do not differ, but for rounding
_LIKENESS = 0.8  # the correlation with a scene of images that show it and something more
# From the smallest to the largest correlation of fine structures. Shots reach 0.07, which is chance,
# and copies have 0.10 and more.
_MOST_SPREAD = 0.085


def shots_of_scenes(
    catalog: Catalog, rows: NDArray[np.int64], cluster_of: NDArray[np.int64]
) -> list[NDArray[np.int64]]:
    """The rows of each cluster that are shots of one scene, and not copies.

    Args:
        catalog: scanned.
        rows: (M,) of the different images.
        cluster_of: (M,) the cluster of each.

    Raises:
        Refused: a file has changed since the scan.
    """
    numbers, counts = np.unique(cluster_of, return_counts=True)
    clusters = [rows[cluster_of == number] for number in numbers[counts >= FEWEST]]
    scenes = [
        members
        for members in clusters
        if _matters(catalog, rows, members) and _are_shots(catalog, members)
    ]
    if not scenes:
        return []
    small = [rows[cluster_of == number] for number in numbers[(counts > 1) & (counts < FEWEST)]]
    return [_with_others(catalog, scene, small) for scene in scenes]


def differ_equally(images: Sequence[NDArray[np.uint8]]) -> bool:
    """Whether any two of some images differ about equally, as shots by a fixed camera do.

    Args:
        images: (H, W, 3) each, of one scene.
    """
    points = np.stack([_normalised(pixels) for pixels in images])
    pairs = np.triu_indices(len(points), 1)
    differences = _differences(points)
    least = float(differences.min())
    if least < _LEAST or differences.max() > _MOST_UNEVEN * least:
        return False
    squares = points.reshape(-1, _SIDE, _SIDE)
    fine = np.diff(np.diff(squares, axis=1), axis=2).reshape(len(points), -1)
    return bool(np.ptp(np.asarray(np.corrcoef(fine))[pairs]) <= _MOST_SPREAD)


def _matters(catalog: Catalog, rows: NDArray[np.int64], members: NDArray[np.int64]) -> bool:
    """Whether images as one would leave a class without a test, or be of several classes."""
    size = len(catalog.classes)
    labels = (catalog.labels[some] for some in (rows, members))
    all_of, own = (np.bincount(label[label >= 0], minlength=size) for label in labels)
    return bool((own > DOMINANT * all_of).any() or (own > 0).sum() > 1)


def _are_shots(catalog: Catalog, members: NDArray[np.int64]) -> bool:
    sizes = set(zip(catalog.widths[members], catalog.heights[members], strict=True))
    if len(sizes) > 1:
        return False
    some = members[np.linspace(0, len(members) - 1, min(_SAMPLED, len(members))).astype(int)]
    return differ_equally(
        [
            unchanged_pixels(catalog.files, catalog.paths[row], catalog.digests[row], catalog.rules)
            for row in some.tolist()
        ]
    )


def _with_others(
    catalog: Catalog, scene: NDArray[np.int64], small: Sequence[NDArray[np.int64]]
) -> NDArray[np.int64]:
    """The shots of a scene, with the clusters that show it and something more. Their images differ
    no less than its shots do, so that they are no copies either.
    """
    shots = _points(catalog, scene[:FEWEST])
    middle, least = shots.mean(0), _differences(shots).min() / _MOST_UNEVEN
    size = catalog.widths[scene[0]], catalog.heights[scene[0]]
    others = []
    for members in small:
        same_size = (catalog.widths[members] == size[0]) & (catalog.heights[members] == size[1])
        if same_size.all():
            points = _points(catalog, members)
            if (points @ middle).min() >= _LIKENESS and _differences(points).min() >= least:
                others.append(members)
    return np.concatenate([scene, *others])


def _points(catalog: Catalog, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    pixels = (
        unchanged_pixels(catalog.files, catalog.paths[row], catalog.digests[row], catalog.rules)
        for row in rows.tolist()
    )
    return np.stack([_normalised(image) for image in pixels])


def _differences(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of each two points, the sine of the angle between them."""
    alike: NDArray[np.float64] = np.asarray(points @ points.T)[np.triu_indices(len(points), 1)]
    return np.asarray(np.sqrt(1 - alike.clip(0, 1) ** 2))


def _normalised(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The grey of an image, small, as a vector of length 1 that no change of light alters."""
    grey = Image.fromarray(pixels).convert("L")
    small = grey.resize((_SIDE, _SIDE), Image.Resampling.BILINEAR, reducing_gap=3.0)
    values = np.array(small, np.float64).ravel()
    values -= values.mean()
    normalised: NDArray[np.float64] = values / max(float(np.linalg.norm(values)), 1e-9)
    return normalised
