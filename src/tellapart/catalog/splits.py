"""Train, val and test: stratified by class, whole clusters only, keyed by seed and content."""

from __future__ import annotations

from collections import defaultdict
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
        UserError: too few pictures, or clusters too large, to leave something to train and to test on.
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
    rows_of = defaultdict(list)
    for row, cluster in enumerate(clusters(catalog)):
        if splits[row]:
            rows_of[cluster].append(row)
    crossing = ((tuple(sorted({str(splits[row]) for row in rows}, key=SPLITS.index)), rows) for rows in rows_of.values())
    return [Leak(names, tuple(rows)) for names, rows in crossing if len(names) > 1]


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
    """A row without a stated split goes where a row of its cluster was put by the user."""
    cluster_of = clusters(catalog)
    stated = {cluster_of[row]: splits[row] for row in np.flatnonzero(splits != "")}
    for row in np.flatnonzero(catalog.ok & (splits == "")):
        splits[row] = stated.get(cluster_of[row], "")


def _divide(catalog: Catalog, rows: NDArray[np.int64], shares: dict[str, float], seed: int) -> Column:
    """(len(rows),) str. Largest clusters first, each where its classes still want most pictures."""
    num_classes, names = len(catalog.classes), list(shares)
    counts = np.bincount(catalog.labels[rows], minlength=num_classes)
    wanted = np.array([_targets(int(count), list(shares.values())) for count in counts]).reshape(num_classes, -1)
    members = _members(clusters(catalog)[rows])
    chosen = np.empty(len(rows), object)
    for group in _in_keyed_order(catalog, rows, members, "split", seed):
        labels = catalog.labels[rows[group]]
        split = int(wanted[labels].sum(axis=0).argmax())
        chosen[group] = names[split]
        np.subtract.at(wanted[:, split], labels, 1)
    return chosen


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
                f"Class {name!r} has no picture left to train on: its pictures are one group, or all in val or test.",
                "Add pictures of it, make its groups smaller, or take the class out.",
            )


def make_folds(catalog: Catalog, rows: NDArray[np.int64], folds: int, seed: int) -> NDArray[np.int64]:
    """Divide rows of the catalog for cross-validation: stratified, whole clusters only, keyed by content.

    Returns:
        (len(rows),) the fold that holds the row out, in [0, folds); -1 for the rows of a class that is one cluster,
        which no fold can do without.
    """
    labels, cluster_of = catalog.labels[rows], clusters(catalog)[rows]
    members = _members(cluster_of)
    filled = np.zeros((len(catalog.classes), folds), np.int64)
    fold_of = np.full(len(rows), -1, np.int64)
    several = {int(label) for label in np.unique(labels) if len(np.unique(cluster_of[labels == label])) > 1}
    for group in _in_keyed_order(catalog, rows, members, f"folds {folds}", seed):
        if several.issuperset(map(int, labels[group])):
            # The emptiest fold for these classes; among equals the one with the fewest pictures in all.
            fold = int(np.lexsort((filled.sum(axis=0), filled[labels[group]].sum(axis=0)))[0])
            fold_of[group] = fold
            np.add.at(filled[:, fold], labels[group], 1)
    return fold_of


def _members(cluster_of: NDArray[np.int64]) -> list[list[int]]:
    members = defaultdict(list)
    for position, cluster in enumerate(cluster_of):
        members[cluster].append(position)
    return list(members.values())


def _in_keyed_order(
    catalog: Catalog, rows: NDArray[np.int64], members: list[list[int]], purpose: str, seed: int
) -> list[list[int]]:
    """Largest clusters first, equals in an order that the seed and their content decide."""
    chance = keyed_numbers(seed, purpose, (min(catalog.digests[rows[group]]) for group in members))
    return [group for _, group in sorted(zip(chance, members, strict=True), key=lambda pair: (-len(pair[1]), pair[0]))]
