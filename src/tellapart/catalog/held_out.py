"""Which clusters are the test set: each by its own key, so that new images move no old ones.

A cluster is held out if the number that the seed and its key give is below the share of test. So
neither the other clusters nor their number has a say, and the share is only near. Retraining of
Inception and Speech Commands hash names for the same reason:
https://arxiv.org/abs/1804.03209, section 5.1.

No rule keeps every old cluster in place and also gives each class of two clusters a test image: of
three clusters two would be on the same side, and these two were once all that there was. So where
the keys of a class leave it without test images, its lowest cluster is lent to test, and goes back
once new clusters make up for it. In the same way a class that keeps too little takes its highest
clusters back. Only such classes move old clusters, and `--splits` keeps these too.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from tellapart.catalog.table import Catalog
from tellapart.keyed import keyed_numbers

# A cluster with more of a class than this stays in train: as test it would leave too little to
# learn from.
DOMINANT = 0.5


def cluster_keys(catalog: Catalog, clusters: Iterable[Sequence[int]]) -> list[str]:
    """What each cluster is known by, as stable as can be had.

    It is the name of its group, so an image that joins the group changes nothing; the first name
    in the alphabet where copies join several groups. Without a group it is the content of the
    image with the most pixels, as later copies are seldom larger. A copy that is larger, or of the
    same size with a smaller digest, does change the key.

    Args:
        catalog: scanned.
        clusters: rows of each cluster.
    """
    keys = []
    repeats: Counter[str] = Counter()
    for rows in clusters:
        names = {catalog.groups[row] for row in rows} - {""}
        pixels = {row: int(catalog.widths[row]) * int(catalog.heights[row]) for row in rows}
        first = min(rows, key=lambda row: (-pixels[row], catalog.digests[row]))
        key = f"group\0{min(names)}" if names else catalog.digests[first]
        # Where identical files are no copies, one key for all of them would still tie them.
        repeat = repeats[key] if catalog.identical_apart else 0
        repeats[key] += 1
        keys.append(f"{key}\0{repeat}" if repeat else key)
    return keys


def held_out(
    keys: Sequence[str],
    labels: Sequence[Sequence[int]],
    share: float,
    seed: int,
    *,
    fixed: Sequence[str],
    has_val: bool,
) -> NDArray[np.bool_]:
    """(K,) which of K clusters are the test set.

    Args:
        keys: (K,) what each cluster is known by.
        labels: (K,) the labels of each cluster's images.
        share: that test should have, in (0, 1).
        seed: of the keyed numbers.
        fixed: (K,) the split that a cluster already has, or "" where it is to be decided. Fixed
            clusters never move.
        has_val: whether val is cut from what is left.
    """
    places = keyed_numbers(seed, "split", keys).astype(np.float64) / 2.0**64
    choice = _Choice(places, labels, share, fixed, has_val)
    for label in choice.classes():
        choice.take_back(label)
    for label in choice.classes():
        choice.lend(label)
    return np.asarray(choice.in_test & (np.array(fixed) == ""))


class _Choice:
    """The clusters that are held out, while the classes' needs are met.

    Args:
        places: (K,) the keyed number of each cluster, in [0, 1).
        labels, share, fixed, has_val: as in `held_out`.
    """

    def __init__(
        self,
        places: NDArray[np.float64],
        labels: Sequence[Sequence[int]],
        share: float,
        fixed: Sequence[str],
        has_val: bool,
    ) -> None:
        self._places, self._share, self._has_val = places, share, has_val
        self._free = [split == "" for split in fixed]
        self._inside = [sorted(set(own)) for own in labels]
        self._members: dict[int, list[int]] = defaultdict(list)
        for cluster, own in enumerate(self._inside):
            for label in own:
                self._members[label].append(cluster)
        self._dominant = _dominant(labels)
        by_key = (places < share) & ~self._dominant
        self.in_test = np.where(self._free, by_key, np.array(fixed) == "test")
        # A fixed val image is no train image, so it does not count as what a class keeps.
        self._kept = np.array([split not in ("test", "val") for split in fixed]) & ~self.in_test

    def classes(self) -> list[int]:
        """The labels, in an order that neither their names nor their numbers decide."""
        lowest = {label: self._places[own].min() for label, own in self._members.items()}
        return sorted(self._members, key=lambda label: lowest[label])

    def take_back(self, label: int) -> None:
        """Take the highest clusters of a class out of test, until it keeps enough."""
        in_test = [c for c in self._members[label] if self.in_test[c] and self._free[c]]
        for cluster in sorted(in_test, key=lambda c: -self._places[c]):
            if self._keeps(label) >= self._least(label):
                return
            self._move(cluster, to_test=False)

    def lend(self, label: int) -> None:
        """Give a class without test images its lowest cluster that no class needs for training."""
        members = self._members[label]
        if len(members) < 2 or self.in_test[members].any():
            return
        kept = [c for c in members if self._kept[c] and self._free[c]]
        kept.sort(key=lambda c: (self._dominant[c], self._places[c]))
        for cluster in kept:
            if all(self._keeps(other) > 1 for other in self._inside[cluster]):
                self._move(cluster, to_test=True)
                return

    def _move(self, cluster: int, *, to_test: bool) -> None:
        self.in_test[cluster], self._kept[cluster] = to_test, not to_test

    def _keeps(self, label: int) -> int:
        return int(self._kept[self._members[label]].sum())

    def _least(self, label: int) -> int:
        """How many clusters a class keeps: its share or at least half, and one each for train and
        val as long as test has one.
        """
        count = len(self._members[label])
        few = min(count - 1, 1 + self._has_val)
        return max(1, few, math.ceil(count * min(0.5, 1 - self._share)))


def _dominant(labels: Sequence[Sequence[int]]) -> NDArray[np.bool_]:
    """(K,) which clusters hold more than DOMINANT of the images of one of their classes."""
    owner = np.repeat(np.arange(len(labels)), [len(own) for own in labels])
    label_of = np.concatenate([np.asarray(own, np.int64) for own in labels])
    totals = np.bincount(label_of)
    pairs, counts = np.unique(np.stack([owner, label_of]), axis=1, return_counts=True)
    dominant = np.zeros(len(labels), bool)
    dominant[pairs[0][counts > DOMINANT * totals[pairs[1]]]] = True
    return dominant
