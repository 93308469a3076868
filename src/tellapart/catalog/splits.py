"""Train, val and test: stratified by class, whole clusters only, keyed by seed and content."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tellapart.catalog.duplicates import clusters
from tellapart.catalog.table import SPLITS, Catalog, Column, text_column
from tellapart.errors import UserError
from tellapart.keyed import keyed_numbers
from tellapart.recipe import SplitOptions


@dataclass(frozen=True)
class Leak:
    """One picture, or one group, that lies in two splits. `rows` are its rows in the catalog."""

    splits: tuple[str, ...]
    rows: tuple[int, ...]


def make_splits(catalog: Catalog, options: SplitOptions, seed: int) -> Column:
    """Divide the usable pictures; what the source says of splits is kept as it is.

    With no test in the source, val and test are cut from what is free; with a test, only val is. Where the source
    has val too, nothing is cut. Pictures of one group, and copies of one picture, go to one split.

    Returns:
        (N,) str: "train", "val", "test", or "" for a row whose status is not ok.

    Raises:
        UserError: a class has nothing left to train on.
    """
    given = catalog.given_splits
    splits = text_column(np.where(catalog.ok, given, ""))
    stated = set(given[catalog.ok])
    if "" in stated:
        _follow_stated_copies(catalog, splits)
    free = catalog.ok & (splits == ("" if "" in stated else "train"))
    shares = {"val": options.val, "test": options.test}
    cut = {split: share for split, share in shares.items() if share and split not in stated}
    if cut or "" in stated:
        splits[free] = _divide(catalog, np.flatnonzero(free), {"train": 1 - sum(cut.values()), **cut}, seed)
    _check_trainable(catalog, splits)
    return splits


def find_leaks(catalog: Catalog, splits: Column) -> list[Leak]:
    """Clusters with rows in more than one split, which only a split that the user brought can have."""
    cluster_of = clusters(catalog)
    homes = np.zeros(len(catalog), np.int64)  # cluster → in how many splits it is
    for split in SPLITS:
        homes[np.unique(cluster_of[splits == split])] += 1
    rows_of = defaultdict(list)
    for row in np.flatnonzero((homes[cluster_of] > 1) & (splits != "")).tolist():
        rows_of[cluster_of[row]].append(row)
    return [Leak(tuple(s for s in SPLITS if s in splits[rows]), tuple(rows)) for rows in rows_of.values()]


def small_classes(catalog: Catalog, splits: Column) -> list[str]:
    """A sentence for each split that lacks a class, with what to do; a class without a picture in train is an error."""
    sentences = []
    for split in ("val", "test"):
        if not (splits == split).any():
            continue
        missing = [name for name, n in zip(catalog.classes, catalog.counts(splits == split), strict=True) if n == 0]
        if missing:
            shown = ", ".join(map(repr, missing[:5])) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
            sentences.append(
                f"{len(missing)} of {len(catalog.classes)} classes have no picture in {split}: {shown}. "
                "Add pictures of them: three a class is the least, thirty in test make a score to trust."
            )
    return sentences


def _follow_stated_copies(catalog: Catalog, splits: Column) -> None:
    """A row without a stated split goes where the user put a row of its cluster: into train, if into several."""
    cluster_of = clusters(catalog)
    free = catalog.ok & (splits == "")
    homes = {split: cluster_of[splits == split] for split in ("test", "val", "train")}
    for split, taken in homes.items():
        splits[free & np.isin(cluster_of, taken)] = split


def _divide(catalog: Catalog, rows: NDArray[np.int64], shares: dict[str, float], seed: int) -> Column:
    """(len(rows),) str: whole clusters, handed out by `_Needs`."""
    labels = catalog.labels[rows].tolist()
    groups = _in_keyed_order(catalog, rows, clusters(catalog)[rows], "split", seed)
    labels_of = [[labels[member] for member in group] for group in groups]
    needs = _Needs(labels_of, list(shares.values()))
    names, chosen = list(shares), [""] * len(rows)
    for group, inside in zip(groups, labels_of, strict=True):
        name = names[needs.place(inside)]
        for member in group:
            chosen[member] = name
    return text_column(chosen)


class _Needs:
    """What each class still needs in each split, while clusters are handed out.

    Args:
        groups: the labels of each cluster's pictures, in the order in which they will be handed out.
        shares: of each split, train first, test last.
    """

    def __init__(self, groups: list[list[int]], shares: Sequence[float]) -> None:
        counts = Counter(label for group in groups for label in group)
        self._wanted = {label: _targets(count, shares) for label, count in counts.items()}
        order = (0, *range(len(shares) - 1, 0, -1))  # when short of clusters: train first, then test, then val
        self._without: dict[int, list[int]] = {
            label: [s for s in order if wanted[s]] for label, wanted in self._wanted.items()
        }
        self._left = Counter(label for group in groups for label in set(group))

    def place(self, group: list[int]) -> int:
        """The number of the split that the next cluster goes to; it counts as placed there."""
        classes = sorted(set(group))
        split = self._alone(group[0]) if len(group) == 1 else self._together(group, classes)
        for label in group:
            self._wanted[label][split] -= 1
        for label in classes:
            self._left[label] -= 1
            if split in self._without[label]:
                self._without[label].remove(split)
        return split

    def _alone(self, label: int) -> int:
        """Single pictures fill up test, then val, then train, so that one more or less moves few others."""
        wanted = self._wanted[label]
        return self._unless_short([label], next((s for s in range(len(wanted) - 1, 0, -1) if wanted[s] > 0), 0))

    def _together(self, group: list[int], classes: list[int]) -> int:
        """Of copies and groups, a class's largest goes to train, the others where their classes want most."""
        if any(0 in self._without[label] for label in classes):
            return 0
        wants: list[int] = [sum(wanted) for wanted in zip(*(self._wanted[label] for label in group), strict=True)]
        return self._unless_short(classes, max(range(len(wants)), key=lambda split: (wants[split], split)))

    def _unless_short(self, classes: list[int], split: int) -> int:
        """`split`, but where a class has only as many clusters left as splits that have none, one of those."""
        for label in classes:
            without = self._without[label]
            if self._left[label] <= len(without) and split not in without:
                return without[0]
        return split


def _targets(count: int, shares: Sequence[float]) -> list[int]:
    """How many of a class's `count` pictures each split gets, train first.

    Each other split gets its rounded share but at least one, as long as train keeps one; test comes before val.

    >>> [_targets(n, [0.7, 0.15, 0.15]) for n in (1, 2, 3, 20, 100)]
    [[1, 0, 0], [1, 0, 1], [1, 1, 1], [14, 3, 3], [70, 15, 15]]
    """
    left = count
    others = []
    for share in reversed(shares[1:]):
        take = min(max(1, round(share * count)), max(left - 1, 0))
        others.append(take)
        left -= take
    return [left, *reversed(others)]


def _check_trainable(catalog: Catalog, splits: Column) -> None:
    for name, count in zip(catalog.classes, catalog.counts(splits == "train"), strict=True):
        if not count:
            raise UserError(
                f"Class {name!r} has no picture left to train on: its pictures are all in val or test, or go with "
                "copies or groups that are.",
                "Add training pictures of it, or take the class out.",
            )


def make_folds(catalog: Catalog, rows: NDArray[np.int64], folds: int, seed: int) -> NDArray[np.int64]:
    """Divide rows of the catalog for cross-validation: stratified, whole clusters only, keyed by content.

    Whichever fold is held out, every class keeps pictures in the others.

    Returns:
        (len(rows),) the fold that holds the row out, in [0, folds); -1 for the rows of a class that is one cluster,
        which no fold can do without.
    """
    labels, cluster_of = catalog.labels[rows], clusters(catalog)[rows]
    pairs = np.unique(np.stack([labels, cluster_of]), axis=1)
    alone = set(np.flatnonzero(np.bincount(pairs[0]) == 1).tolist())
    filled = np.zeros((len(catalog.classes), folds), np.int64).tolist()
    totals = [0] * folds
    fold_of = np.full(len(rows), -1, np.int64)
    for group in _in_keyed_order(catalog, rows, cluster_of, f"folds {folds}", seed):
        own = labels[group].tolist()
        if alone.isdisjoint(own):
            # The emptiest fold for these classes; among equals the one with the fewest pictures in all.
            load = [(sum(filled[label][fold] for label in own), totals[fold]) for fold in range(folds)]
            fold = load.index(min(load))
            fold_of[group] = fold
            totals[fold] += len(group)
            for label in own:
                filled[label][fold] += 1
    for label, counts in enumerate(filled):
        if sum(map(bool, counts)) == 1:  # clusters that it shares with other classes brought all of it into one fold
            fold_of[cluster_of == cluster_of[labels == label][0]] = -1
    return fold_of


def _in_keyed_order(
    catalog: Catalog, rows: NDArray[np.int64], cluster_of: NDArray[np.int64], purpose: str, seed: int
) -> list[list[int]]:
    """Positions in `rows` of each cluster: largest first, equals in an order that the seed and their content decide."""
    members = defaultdict(list)
    for position, cluster in enumerate(cluster_of.tolist()):
        members[cluster].append(position)
    groups, digests = list(members.values()), catalog.digests[rows].tolist()
    chance = keyed_numbers(seed, purpose, (min(digests[member] for member in group) for group in groups)).tolist()
    return [group for _, group in sorted(zip(chance, groups, strict=True), key=lambda pair: (-len(pair[1]), pair[0]))]
