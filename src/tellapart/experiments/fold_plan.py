"""How the images are divided for cross-validation: what stays aside, and which fold holds which
image out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tellapart.catalog.splits import make_folds, make_splits
from tellapart.catalog.table import Catalog, Column, text_column
from tellapart.errors import UserError
from tellapart.keyed import keyed_numbers
from tellapart.options import SplitOptions

SHOWN = 5  # classes in one sentence


@dataclass(frozen=True)
class FoldPlan:
    """Which fold holds which image out.

    Args:
        rows: (N,) of the catalog: the pool, all that is not test.
        folds: how many.
        fold_of: (R, N) in each repeat the fold that holds the image out, in [0, folds); -1: none
            does.
        seed: of the first repeat; the others' are derived from it.
    """

    rows: NDArray[np.int64]
    folds: int
    fold_of: NDArray[np.int64]
    seed: int

    @property
    def repeats(self) -> int:
        """How often the pool is divided."""
        return len(self.fold_of)

    @property
    def each(self) -> Iterator[tuple[int, int]]:
        """Every (repeat, fold), from 0."""
        return ((repeat, fold) for repeat in range(self.repeats) for fold in range(self.folds))

    def name(self, repeat: int, fold: int) -> str:
        """What the run of a fold is called."""
        return f"fold-{fold + 1}" if self.repeats == 1 else f"repeat-{repeat + 1}-fold-{fold + 1}"

    def told(self, repeat: int, fold: int) -> str:
        """The same for a person."""
        of = f"Fold {fold + 1} of {self.folds}"
        return of if self.repeats == 1 else f"{of}, repeat {repeat + 1} of {self.repeats}"


def check_numbers(folds: int, repeats: int) -> None:
    """Refuse numbers that mean nothing, before any work.

    Raises:
        UserError: no whole numbers, fewer than two folds, or no repeat.
    """
    for name, number in (("folds", folds), ("repeats", repeats)):
        if not isinstance(number, int):
            raise UserError(
                f"{name} must be a whole number, got {number!r}.", f"Give one, as {name}=5."
            )
    if folds < 2:
        raise UserError(
            f"Cross-validation needs 2 folds or more, got {folds}.", "Five are usual: --folds 5."
        )
    if repeats < 1:
        raise UserError(
            f"The folds must be made at least once, got {repeats} repeats.",
            "Give --repeats 1 or more.",
        )


def pool_of(splits: Column) -> Column:
    """The same splits with val given back to train: what the folds divide, and what the final model
    learns from.
    """
    return text_column("train" if split == "val" else split for split in splits)


def plan_folds(catalog: Catalog, splits: Column, folds: int, repeats: int, seed: int) -> FoldPlan:
    """Divide the pool, once for each repeat: stratified, groups and copies whole, keyed by content.

    Args:
        splits: "train" is the pool.

    Raises:
        UserError: no class has an image for each fold.
    """
    rows = np.flatnonzero(splits == "train")
    fold_of = np.stack(
        [make_folds(catalog, rows, folds, repeat_seed(seed, repeat)) for repeat in range(repeats)]
    )
    plan = FoldPlan(rows, folds, fold_of, seed)
    reached = _folds_with(catalog, plan)
    if reached.max() < folds:
        best = int(reached.argmax())
        most = int(reached[best])
        has = _images(int(catalog.counts(splits == "train")[best]))
        raise UserError(
            f"{folds} folds are more than the images allow: no class has one for each."
            f" {catalog.classes[best]!r} comes farthest: it has {has}, of which groups and copies"
            f" stay whole, and fills {most}.",
            f"Use --folds {most}." if most > 1 else "Add images, or group them more finely.",
        )
    return plan


def plan_remarks(catalog: Catalog, plan: FoldPlan) -> list[str]:
    """What the user should know of the folds, a sentence each: classes that are not in all of
    them.
    """
    reached, counts = (
        _folds_with(catalog, plan),
        np.bincount(catalog.labels[plan.rows], minlength=len(catalog.classes)),
    )
    never, some = (reached == 0) & (counts > 0), (reached > 0) & (reached < plan.folds)
    remarks = []
    if some.any():
        listed = _listed(catalog, some, [f"{count} of {plan.folds}" for count in reached.tolist()])
        remarks.append(
            f"{_classes(int(some.sum()))} not in every fold, for want of images that differ:"
            f" {listed}. Their share of a fold's score comes and goes."
        )
    if never.any():
        listed = _listed(catalog, never, [_images(count) for count in counts.tolist()])
        remarks.append(
            f"{_classes(int(never.sum()))} in no fold, and so never judged: {listed}. Each is one"
            " image, one group or one set of copies, which every model needs to learn from."
        )
    return remarks


def repeat_seed(seed: int, repeat: int) -> int:
    """The seed of a repeat, from 0; the first one's is the seed itself.

    >>> repeat_seed(7, 0), repeat_seed(7, 1) != repeat_seed(7, 2)
    (7, True)
    """
    return (
        seed
        if repeat == 0
        else int(keyed_numbers(seed, "repeat", [str(repeat)])[0] >> np.uint64(1))
    )


def fold_splits(
    catalog: Catalog, plan: FoldPlan, repeat: int, fold: int, options: SplitOptions
) -> Column:
    """The splits of one fold's own run: what it holds out is its test, val is cut from the rest,
    the true test is "".

    Returns:
        (N,) str, for all rows of the catalog. Val is stratified, groups and copies whole, with
        `options.val` of the rest and one image of each class that has two at least; there is none
        where `options.val` is 0.
    """
    held_out = plan.fold_of[repeat] == fold
    splits = text_column([""] * len(catalog))
    splits[plan.rows] = np.where(held_out, "test", "train")
    used = splits != ""
    part = catalog.rows(used).replace(given_splits=splits[used])
    splits[used] = make_splits(part, options, repeat_seed(plan.seed, repeat))
    return splits


def _folds_with(catalog: Catalog, plan: FoldPlan) -> NDArray[np.int64]:
    """(C,) in how many folds a class has images, where that is fewest."""
    labels = catalog.labels[plan.rows]
    filled = np.zeros((plan.repeats, len(catalog.classes), plan.folds), bool)
    for repeat, held in enumerate(plan.fold_of):
        filled[repeat, labels[held >= 0], held[held >= 0]] = True
    return np.asarray(filled.sum(axis=2).min(axis=0))


def _listed(catalog: Catalog, chosen: NDArray[np.bool_], told: list[str]) -> str:
    labels = np.flatnonzero(chosen).tolist()
    more = f" and {len(labels) - SHOWN:,} more" if len(labels) > SHOWN else ""
    return (
        ", ".join(f"{catalog.classes[label]!r} ({told[label]})" for label in labels[:SHOWN]) + more
    )


def _classes(count: int) -> str:
    return f"{count:,} class{' is' if count == 1 else 'es are'}"


def _images(count: int) -> str:
    return f"{count:,} image{'' if count == 1 else 's'}"
