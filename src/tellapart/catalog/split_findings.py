"""What the user should know of a division: leaks, classes that a split lacks, missed sizes."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tellapart.catalog.duplicates import clusters
from tellapart.catalog.splits import planned, targets_of, what_they_are
from tellapart.catalog.table import SPLITS, Catalog
from tellapart.options import SplitOptions
from tellapart.phrases import count_of

# A split whose size misses the wanted one by more than both of these is worth a sentence.
MISSED_SHARE = 0.2  # of the wanted size
MISSED_COUNT = 5  # images

SHOWN = 5  # classes in one sentence


@dataclass(frozen=True)
class Leak:
    """One image, or one group, that lies in more than one split.

    Args:
        splits: those that it lies in.
        rows: its rows in the catalog.
    """

    splits: tuple[str, ...]
    rows: tuple[int, ...]


def find_leaks(catalog: Catalog) -> list[Leak]:
    """Clusters with rows in more than one split. Only splits that the user brought can have
    some.
    """
    if not _may_leak(catalog):
        return []
    cluster_of, splits = clusters(catalog), catalog.splits
    homes = np.zeros(len(catalog), np.int64)  # cluster → in how many splits it is
    for split in SPLITS:
        homes[np.unique(cluster_of[splits == split])] += 1
    rows_of = defaultdict(list)
    for row in np.flatnonzero((homes[cluster_of] > 1) & (splits != "")).tolist():
        rows_of[cluster_of[row]].append(row)
    return [
        Leak(tuple(split for split in SPLITS if split in splits[rows]), tuple(rows))
        for rows in rows_of.values()
    ]


def small_classes(catalog: Catalog) -> list[str]:
    """A sentence for each of val and test that lacks a class, with what to do."""
    stated, splits = set(catalog.given_splits[catalog.ok]), catalog.splits
    least = 1 + sum(bool((splits == split).any()) for split in {"val", "test"} - stated)
    sentences = []
    for split in ("val", "test"):
        counts = catalog.counts(splits == split)
        if not counts.any() or counts.all():
            continue
        divided = np.isin(catalog.given_splits, ["", "train"]) | (split in stated)
        pieces = _Pieces(catalog, catalog.ok & divided)
        missing = set(np.flatnonzero(counts == 0).tolist())
        tied = set() if split in stated else pieces.tied(least) & missing
        advice = []
        if tied != missing:
            advice.append(
                "Add images of them. A class needs three at least, and thirty in test make a score"
                " to trust."
            )
        if tied:
            number = {2: "two", 3: "three"}[least]
            advice.append(
                f"Groups and copies stay whole, so a class needs {number} of its own:"
                f" {pieces.advice}."
            )
        share = f"{len(missing):,} of {len(catalog.classes):,} classes"
        verb = "has" if len(missing) == 1 else "have"
        sentences.append(
            f"{share} {verb} no image in {split}: {pieces.listed(missing, tied)}."
            f" {' '.join(advice)}"
        )
    return sentences


def missed_shares(catalog: Catalog, options: SplitOptions) -> list[str]:
    """A sentence, if keys, groups and copies keep the splits far from the wanted sizes.

    Args:
        catalog: divided by `make_splits`.
        options: what `make_splits` was given.
    """
    _, free, shares = planned(catalog, options)
    targets = [targets_of(count, list(shares.values())) for count in catalog.counts(free).tolist()]
    sizes = {
        split: (int((catalog.splits[free] == split).sum()), int(wanted))
        for split, wanted in zip(shares, np.sum(targets, axis=0), strict=True)
    }
    del sizes["train"]
    if not any(_is_missed(size, wanted) for size, wanted in sizes.values()):
        return []
    reached = ", ".join(
        f"{split} has {count_of(size, 'image')} instead of {wanted:,}"
        for split, (size, wanted) in sizes.items()
    )
    pieces = _Pieces(catalog, free)
    if not pieces.whole:
        return [
            "Each image goes where its own key puts it, so the splits are only near their wanted"
            f" sizes: {reached}. Another seed deals them anew."
        ]
    text = f"Groups and copies stay whole, so the splits miss their wanted sizes: {reached}."
    tied = pieces.tied(len(shares))
    # Where each split has images, `small_classes` says which classes it lacks.
    if tied and any(size == 0 for size, _ in sizes.values()):
        share = f"{len(tied):,} of {len(catalog.classes):,} classes"
        return [
            f"{text} {share} cannot be in each of them: {pieces.listed(tied, tied)};"
            f" {pieces.advice}."
        ]
    return [f"{text} {pieces.largest()}."]


def _is_missed(size: int, wanted: int) -> bool:
    too_far = abs(size - wanted) > max(MISSED_COUNT, MISSED_SHARE * wanted)
    return too_far or size == 0 < wanted


def _may_leak(catalog: Catalog) -> bool:
    """Whether two rows that have something in common may lie in different splits.

    This is far quicker than the clusters, and for most catalogs the answer is no.
    """
    homes = catalog.splits[catalog.ok].tolist()
    if "" in homes:  # a chain of copies could lead through a row that lies in no split
        return True
    digests = [] if catalog.identical_apart else [catalog.digests]
    for column in (*digests, catalog.copies, catalog.groups):
        keys = column[catalog.ok].tolist()
        home_of = dict(zip(keys, homes, strict=True))
        if any(home_of[key] != home for key, home in zip(keys, homes, strict=True) if key != ""):
            return True
    return False


class _Pieces:
    """What the classes are made of: clusters, none of which can be divided.

    Args:
        catalog: N rows of C classes.
        rows: (N,) which of them are divided.
    """

    def __init__(self, catalog: Catalog, rows: NDArray[np.bool_]) -> None:
        self._catalog, self._rows = catalog, rows
        self._cluster_of = clusters(catalog)
        used = rows & (catalog.labels >= 0)
        size = len(catalog.classes)
        # (cluster, class) as one number, once each.
        pairs = np.unique(self._cluster_of[used] * size + catalog.labels[used])
        alone = np.bincount(pairs // size)[pairs // size] == 1
        self._images = catalog.counts(rows)
        self._clusters = np.bincount(pairs % size, minlength=size)
        # Clusters without images of another class.
        self._own = np.bincount(pairs[alone] % size, minlength=size)

    @property
    def advice(self) -> str:
        """What to do for a class that is tied."""
        if (self._catalog.groups != "").any():
            return "add images of other groups, or group more finely"
        return "add images that differ"

    @property
    def whole(self) -> bool:
        """Whether any cluster has more than one image."""
        return bool(np.bincount(self._cluster_of[self._rows]).max() > 1)

    def tied(self, least: int) -> set[int]:
        """The labels of the classes that have fewer than `least` clusters of their own, though they
        have as many images.
        """
        return set(np.flatnonzero(self._own < np.minimum(least, self._images)).tolist())

    def listed(self, labels: set[int], tied: set[int]) -> str:
        """The largest of some classes with their images, and with their clusters where they are
        tied.
        """
        ordered = sorted(labels, key=lambda label: (-self._images[label], label))
        rest = f" and {len(labels) - SHOWN:,} more" if len(labels) > SHOWN else ""
        return ", ".join(self._described(label, label in tied) for label in ordered[:SHOWN]) + rest

    def largest(self) -> str:
        """The largest cluster, with what its images are."""
        count, whole = self._largest(self._rows)
        return f"{count:,} of {self._rows.sum():,} images are {whole}"

    def _largest(self, rows: NDArray[np.bool_]) -> tuple[int, str]:
        sizes = np.bincount(self._cluster_of[rows])
        return int(sizes.max()), what_they_are(self._catalog, self._cluster_of == sizes.argmax())

    def _described(self, label: int, tied: bool) -> str:
        text = count_of(int(self._images[label]), "image")
        if tied:
            text += self._described_clusters(label)
        return f"{self._catalog.classes[label]!r} ({text})"

    def _described_clusters(self, label: int) -> str:
        """What the images of a class are made of, to go on with after their number."""
        pieces = int(self._clusters[label])
        mine = self._rows & (self._catalog.labels == label)
        grouped = bool((self._catalog.groups[mine] != "").any())
        noun = "group" if grouped else "different image"
        most, whole = self._largest(mine)
        text = ""
        if pieces > 1:
            text = f" in {count_of(pieces, noun)}" if grouped else f", {pieces:,} of them different"
            text += f"; {most:,} are {whole}" if most > 1 else ""
        elif most > 1:
            text = f", all {whole}"
        shared = pieces - int(self._own[label])
        return text + (f"; {count_of(shared, noun)} shared with other classes" if shared else "")
