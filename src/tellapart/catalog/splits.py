"""Train, val and test: whole clusters only, test by each cluster's own key and val by class."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tellapart.catalog.duplicates import clusters
from tellapart.catalog.held_out import cluster_keys, held_out
from tellapart.catalog.table import Catalog, Column, text_column
from tellapart.errors import UserError
from tellapart.keyed import keyed_numbers
from tellapart.options import SplitOptions


def make_splits(
    catalog: Catalog, options: SplitOptions, seed: int, *, kept: Column | None = None
) -> Column:
    """Divide the usable images. Splits that the source states are kept as they are.

    Val and test are cut from what is free if the source states no test, and only val if it does.
    Nothing is cut where it states val too. Images of one group, and copies of one image, go to one
    split. New clusters move no old one between test and the rest (`held_out` has the exceptions);
    they may move some between train and val, which are stratified by class.

    Args:
        catalog: scanned.
        options: the shares.
        seed: of the keyed numbers.
        kept: (N,) the split that an earlier training had an image in, or "". These stay, and the
            other images of their clusters follow.

    Returns:
        (N,) str: "train", "val", "test", or "" for a row whose status is not ok.

    Raises:
        UserError: all images are one group, or a class has nothing left to train on.
    """
    splits, free, shares = planned(catalog, options)
    if kept is not None:
        old = catalog.ok & (kept != "")
        splits[old] = kept[old]
        splits[free & ~old] = ""
        _follow_stated_copies(catalog, splits)
        free = catalog.ok & (splits == "")
    if len(shares) > 1 or "" in splits[catalog.ok]:
        _divide(catalog, splits, free, shares, seed)
    _check_trainable(catalog, splits)
    return splits


def cut_val(catalog: Catalog, options: SplitOptions, seed: int) -> Catalog:
    """The catalog with val, where it is wanted and its splits have none: those of a probe, say.

    Val is cut from train, and a remark says so. Test stays as it is.
    """
    if not options.val or (catalog.splits == "val").any():
        return catalog
    used = catalog.splits != ""
    pool = catalog.rows(used).replace(given_splits=catalog.splits[used])
    splits = catalog.splits.copy()
    splits[used] = make_splits(pool, replace(options, test=0.0), seed)
    count = int((splits == "val").sum())
    text = f"The saved splits have no val, so {count:,} images of train validate now."
    return catalog.with_splits(splits).replace(remarks=(*catalog.remarks, text))


def planned(
    catalog: Catalog, options: SplitOptions
) -> tuple[Column, NDArray[np.bool_], dict[str, float]]:
    """The splits before anything is cut, which rows are free to be cut from, and the share of these
    that each split gets.
    """
    given = catalog.given_splits
    splits = text_column(np.where(catalog.ok, given, ""))
    stated = set(given[catalog.ok])
    if "" in stated and len(stated) > 1:
        _follow_stated_copies(catalog, splits)
    free = catalog.ok & (splits == ("" if "" in stated else "train"))
    asked = {"val": options.val or 0.0, "test": options.test}
    cut = {split: share for split, share in asked.items() if share and split not in stated}
    return splits, free, {"train": 1 - sum(cut.values()), **cut}


def what_they_are(catalog: Catalog, rows: NDArray[np.bool_]) -> str:
    """What a user knows the images of a cluster by."""
    names = sorted(set(catalog.groups[rows & catalog.ok]) - {""})
    if not names:
        return f"copies of {catalog.paths[rows][0]!r}"
    rest = f" and {len(names) - 1:,} more that share copies with it" if len(names) > 1 else ""
    return f"of group {names[0]!r}{rest}"


def _follow_stated_copies(catalog: Catalog, splits: Column) -> None:
    """Put a row without a stated split where the user put a row of its cluster. Train wins over
    val, and val over test.
    """
    cluster_of = clusters(catalog)
    free = catalog.ok & (splits == "")
    homes = {split: cluster_of[splits == split] for split in ("test", "val", "train")}
    for split, taken in homes.items():
        splits[free & np.isin(cluster_of, taken)] = split


def _divide(
    catalog: Catalog, splits: Column, free: NDArray[np.bool_], shares: dict[str, float], seed: int
) -> None:
    """Give each free row its split: test first, then val and train from what is left."""
    if not free.any():
        return
    cluster_of = clusters(catalog)
    if free.sum() == catalog.ok.sum() > 1 and len(shares) > 1:
        _check_divisible(catalog, cluster_of, free)
    left = free.copy()
    if "test" in shares:
        test = _test_rows(catalog, splits, free, cluster_of, shares, seed)
        splits[test] = "test"
        left &= ~test
    rest = [shares["train"], *([shares["val"]] if "val" in shares else [])]
    rows = np.flatnonzero(left)
    groups = _in_keyed_order(catalog, rows, cluster_of[rows], "val", seed)
    labels_of = [catalog.labels[rows[group]].tolist() for group in groups]
    needs = _Needs(labels_of, [share / sum(rest) for share in rest])
    for group, inside in zip(groups, labels_of, strict=True):
        splits[rows[group]] = ("train", "val")[needs.place(inside)]


def _check_divisible(
    catalog: Catalog, cluster_of: NDArray[np.int64], free: NDArray[np.bool_]
) -> None:
    """Refuse images that are all one cluster."""
    if len(set(cluster_of[free].tolist())) == 1:
        raise UserError(
            f"All {int(free.sum()):,} images are"
            f" {what_they_are(catalog, cluster_of == cluster_of[free][0])}, and stay on one side"
            " of the split: nothing is left to test on.",
            "Group them by what tells them apart, or add other images.",
        )


def _test_rows(
    catalog: Catalog,
    splits: Column,
    free: NDArray[np.bool_],
    cluster_of: NDArray[np.int64],
    shares: dict[str, float],
    seed: int,
) -> NDArray[np.bool_]:
    """(N,) the free rows that are held out for test."""
    members: dict[tuple[int, str], list[int]] = defaultdict(list)
    # Only the user's own splits can divide a cluster. Each side is then a cluster of its own.
    homes = np.where(free, "", splits)
    for row in np.flatnonzero(catalog.ok).tolist():
        members[cluster_of[row], homes[row]].append(row)
    chosen = held_out(
        cluster_keys(catalog, members.values()),
        [catalog.labels[rows].tolist() for rows in members.values()],
        shares["test"],
        seed,
        fixed=[home for _, home in members],
        has_val="val" in shares,
    )
    test = np.zeros(len(catalog), bool)
    for rows, is_test in zip(members.values(), chosen.tolist(), strict=True):
        test[rows] = is_test
    return test


class _Needs:
    """What each class still needs in train and val, while clusters are handed out.

    Args:
        groups: the labels of each cluster's images, in the order in which they will be handed out.
        shares: the share of each split, train first.
    """

    def __init__(self, groups: list[list[int]], shares: Sequence[float]) -> None:
        counts = Counter(label for group in groups for label in group)
        self._wanted = {label: targets_of(count, shares) for label, count in counts.items()}
        # A class that is short of clusters gets train first.
        order = (0, *range(len(shares) - 1, 0, -1))
        self._without: dict[int, list[int]] = {
            label: [split for split in order if wanted[split]]
            for label, wanted in self._wanted.items()
        }
        self._left = Counter(label for group in groups for label in set(group))

    def place(self, group: list[int]) -> int:
        """The number of the split that the next cluster goes to. It counts as placed there."""
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
        """The split of a single image. They fill up val, then train, so that one more or less moves
        few others.
        """
        wanted = self._wanted[label]
        backwards = range(len(wanted) - 1, 0, -1)
        return self._unless_short([label], next((s for s in backwards if wanted[s] > 0), 0))

    def _together(self, group: list[int], classes: list[int]) -> int:
        """The split of copies or a group. The largest of a class goes to train, the others where
        their classes want most.
        """
        if any(0 in self._without[label] for label in classes):
            return 0
        wants: list[int] = [
            sum(wanted) for wanted in zip(*(self._wanted[label] for label in group), strict=True)
        ]
        return self._unless_short(
            classes, max(range(len(wants)), key=lambda split: (wants[split], split))
        )

    def _unless_short(self, classes: list[int], split: int) -> int:
        """`split`, unless a class has only as many clusters left as splits without it: then one of
        those.
        """
        for label in classes:
            without = self._without[label]
            if self._left[label] <= len(without) and split not in without:
                return without[0]
        return split


def targets_of(count: int, shares: Sequence[float]) -> list[int]:
    """How many of a class's `count` images each split gets, train first.

    Each other split gets its rounded share but at least one, as long as train keeps one; test comes
    before val.

    >>> [targets_of(n, [0.7, 0.15, 0.15]) for n in (1, 2, 3, 20, 100)]
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
    for label, count in enumerate(catalog.counts(splits == "train").tolist()):
        if not count:
            mine = catalog.ok & (catalog.labels == label)
            stated = int(np.isin(catalog.given_splits[mine], ["val", "test"]).sum())
            tied = int(mine.sum()) - stated
            raise UserError(
                f"Class {catalog.classes[label]!r} has no image left to train on: of its"
                f" {mine.sum():,}, {stated:,} are in val or test as the source has it, and {tied:,}"
                " are copies or of the groups of images there.",
                "Add training images of it, or take the class out.",
            )


def make_folds(
    catalog: Catalog, rows: NDArray[np.int64], folds: int, seed: int
) -> NDArray[np.int64]:
    """Divide rows of the catalog for cross-validation: stratified, whole clusters only, keyed by
    content.

    Whichever fold is held out, every class keeps images in the others.

    Returns:
        (len(rows),) the fold that holds the row out, in [0, folds). It is -1 for the rows of a class
        that is one cluster, for no fold can do without them.
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
            # The emptiest fold for these classes. Among equals it is the one with the fewest
            # images.
            load = [
                (sum(filled[label][fold] for label in own), totals[fold]) for fold in range(folds)
            ]
            fold = load.index(min(load))
            fold_of[group] = fold
            totals[fold] += len(group)
            for label in own:
                filled[label][fold] += 1
    for label, counts in enumerate(filled):
        # Clusters that it shares with other classes can bring all of a class into one fold.
        if sum(map(bool, counts)) == 1:
            fold_of[cluster_of == cluster_of[labels == label][0]] = -1
    return fold_of


def _in_keyed_order(
    catalog: Catalog,
    rows: NDArray[np.int64],
    cluster_of: NDArray[np.int64],
    purpose: str,
    seed: int,
) -> list[list[int]]:
    """Positions in `rows` of each cluster: largest first, equals in an order that the seed and
    their content decide.
    """
    members = defaultdict(list)
    for position, cluster in enumerate(cluster_of.tolist()):
        members[cluster].append(position)
    groups, digests = list(members.values()), catalog.digests[rows].tolist()
    keys = (min(digests[member] for member in group) for group in groups)
    chance = keyed_numbers(seed, purpose, keys).tolist()
    pairs = sorted(zip(chance, groups, strict=True), key=lambda pair: (-len(pair[1]), pair[0]))
    return [group for _, group in pairs]
