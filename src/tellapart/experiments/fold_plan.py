"""Divide the images for cross-validation: the test set stays aside, each fold holds some out."""

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
        rows: (N,) rows of the catalog that form the pool: all that is not test.
        folds: the number of folds.
        fold_of: (R, N) the fold in [0, folds) that holds the image out, for each of R repeats. -1
            means that no fold does.
        seed: of the first repeat. The seeds of the others are derived from it.
    """

    rows: NDArray[np.int64]
    folds: int
    fold_of: NDArray[np.int64]
    seed: int

    @property
    def repeats(self) -> int:
        """The number of times that the pool is divided."""
        return len(self.fold_of)

    @property
    def each(self) -> Iterator[tuple[int, int]]:
        """Every pair of repeat and fold, both counted from 0."""
        return ((repeat, fold) for repeat in range(self.repeats) for fold in range(self.folds))

    def name(self, repeat: int, fold: int) -> str:
        """The name of a fold's run."""
        return f"fold-{fold + 1}" if self.repeats == 1 else f"repeat-{repeat + 1}-fold-{fold + 1}"

    def told(self, repeat: int, fold: int) -> str:
        """The name of a fold in messages."""
        title = f"Fold {fold + 1} of {self.folds}"
        return title if self.repeats == 1 else f"{title}, repeat {repeat + 1} of {self.repeats}"


def check_numbers(folds: int, repeats: int) -> None:
    """Refuse numbers that cannot be used, before any work.

    Raises:
        UserError: they are not whole numbers, or there are fewer than two folds or one repeat.
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
    """The same splits with val given back to train.

    The folds divide this pool, and the final model learns from all of it.
    """
    return text_column("train" if split == "val" else split for split in splits)


def plan_folds(catalog: Catalog, splits: Column, folds: int, repeats: int, seed: int) -> FoldPlan:
    """Divide the pool once for each repeat: stratified, with groups and copies kept whole.

    The division depends on the images' content and the seed, never on their order.

    Args:
        catalog: the images.
        splits: "train" marks the pool.
        folds: the number of folds.
        repeats: the number of times that the pool is divided.
        seed: of the first repeat.

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
    """Sentences about classes that are not in every fold."""
    reached = _folds_with(catalog, plan)
    counts = np.bincount(catalog.labels[plan.rows], minlength=len(catalog.classes))
    never, some = (reached == 0) & (counts > 0), (reached > 0) & (reached < plan.folds)
    remarks = []
    if some.any():
        listed = _listed(catalog, some, [f"{count} of {plan.folds}" for count in reached.tolist()])
        remarks.append(
            f"{_classes(int(some.sum()))} not in every fold, as there are too few different"
            f" images: {listed}. So the scores of folds are not about the same classes."
        )
    if never.any():
        listed = _listed(catalog, never, [_images(count) for count in counts.tolist()])
        remarks.append(
            f"{_classes(int(never.sum()))} in no fold and never judged: {listed}. Each is one image,"
            " one group or one set of copies, and every model needs it for training."
        )
    return remarks


def repeat_seed(seed: int, repeat: int) -> int:
    """The seed of a repeat, counted from 0. The first repeat has the seed itself.

    >>> repeat_seed(7, 0), repeat_seed(7, 1) != repeat_seed(7, 2)
    (7, True)
    """
    if repeat == 0:
        return seed
    # The shift keeps 63 bits: a seed is a signed number in the files that hold it.
    return int(keyed_numbers(seed, "repeat", [str(repeat)])[0] >> np.uint64(1))


def fold_splits(
    catalog: Catalog, plan: FoldPlan, repeat: int, fold: int, options: SplitOptions
) -> Column:
    """The splits of one fold's own run.

    What the fold holds out is the test set of this run, and val is cut from the rest. The true test
    images get "", so that no fold reads them.

    Returns:
        (N,) str for all rows of the catalog. Val is stratified, with groups and copies kept whole.
        It is `options.val` of the rest, with one image at least of each class that has two. There
        is no val if `options.val` is 0.
    """
    held_out = plan.fold_of[repeat] == fold
    splits = text_column([""] * len(catalog))
    splits[plan.rows] = np.where(held_out, "test", "train")
    used = splits != ""
    pool = catalog.rows(used).replace(given_splits=splits[used])
    splits[used] = make_splits(pool, options, repeat_seed(plan.seed, repeat))
    return splits


def _folds_with(catalog: Catalog, plan: FoldPlan) -> NDArray[np.int64]:
    """(C,) the number of folds in which a class has images, in the repeat with the fewest."""
    labels = catalog.labels[plan.rows]
    filled = np.zeros((plan.repeats, len(catalog.classes), plan.folds), bool)
    for repeat, held in enumerate(plan.fold_of):
        filled[repeat, labels[held >= 0], held[held >= 0]] = True
    return np.asarray(filled.sum(axis=2).min(axis=0))


def _listed(catalog: Catalog, chosen: NDArray[np.bool_], facts: list[str]) -> str:
    labels = np.flatnonzero(chosen).tolist()
    shown = [f"{catalog.classes[label]!r} ({facts[label]})" for label in labels[:SHOWN]]
    rest = f" and {len(labels) - SHOWN:,} more" if len(labels) > SHOWN else ""
    return ", ".join(shown) + rest


def _classes(count: int) -> str:
    return f"{count:,} class{' is' if count == 1 else 'es are'}"


def _images(count: int) -> str:
    return f"{count:,} image{'' if count == 1 else 's'}"
