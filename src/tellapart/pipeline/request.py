"""What is to be trained: a new run as the user asked for it, or the rest of one that was
interrupted.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

from tellapart.catalog.table import Catalog, Column
from tellapart.datasets import Dataset, dataset_of
from tellapart.errors import UserError
from tellapart.pipeline.looking import name_of
from tellapart.progress import Console
from tellapart.recipe import Recipe
from tellapart.recipe_files import load_recipe
from tellapart.runs.folder import RunFolder, check_room, reopen_run
from tellapart.runs.identity import RunIdentity
from tellapart.runs.saved_splits import ACCEPT_CHANGES, SavedSplits, read_splits

TYPICAL_RUN_BYTES = 32_000_000
RESTORE = "Restore the data, or begin anew: the folds that are done were made of what it was."
CROSS_VALIDATION = "cv"  # in the options of a run that is one: folds, repeats and ensemble


@dataclass(frozen=True, kw_only=True)
class Order:
    """One training.

    Args:
        source: the data.
        name: of the run.
        runs: the folder that holds runs.
        dataset: what is to be fetched to `source` first; None: the data is the user's.
        splits: to use again; None: they are made.
        strict: refuse data with leaks or label conflicts.
        accept_changes: go on though the data is not what it was.
        run, identity: of the run that is resumed; None: a new one begins.
        verb: of the command that goes on with it.
        began: when the command did, by `time.monotonic`.
    """

    recipe: Recipe
    source: Path
    name: str
    runs: Path
    dataset: Dataset | None = None
    splits: SavedSplits | None = None
    strict: bool = False
    accept_changes: bool = False
    run: RunFolder | None = None
    identity: RunIdentity | None = None
    verb: str = "train"
    began: float = field(default_factory=time.monotonic)

    @property
    def own_splits(self) -> bool:
        """Whether the splits were made in this run, not in an earlier one."""
        return bool(self.identity.options["own_splits"]) if self.identity else self.splits is None

    def saved_splits_of(self, catalog: Catalog, console: Console) -> Column | None:
        """The splits that are used again, as they fit the data; None where new ones are to be
        made.
        """
        if self.splits is None:
            return None
        if self.run is None:
            return self.splits.of(catalog)
        hint = ACCEPT_CHANGES if self.verb == "train" else RESTORE
        splits = self.splits.of(catalog, accept_changes=self.accept_changes, hint=hint)
        for change in self.splits.changes(catalog):
            console.say(f"note: {change}; the run goes on without")
        return splits


def new_order(
    data: str | PathLike[str] | None,
    recipe: Recipe,
    *,
    out: str | PathLike[str],
    name: str | None,
    splits: str | PathLike[str] | None,
    strict: bool,
    verb: str = "train",
) -> Order:
    """A new run. Without data it is the recipe's public data set."""
    dataset = dataset_of(recipe) if data is None else None
    source = dataset.path if dataset else Path(data or "")
    check_room(Path(out), TYPICAL_RUN_BYTES)
    return Order(
        recipe=recipe,
        source=source,
        dataset=dataset,
        name=name or name_of(source),
        runs=Path(out),
        splits=read_splits(Path(splits)) if splits else None,
        strict=strict,
        verb=verb,
    )


def resumed_order(
    resume: str | PathLike[str],
    data: str | PathLike[str] | None,
    *,
    accept_changes: bool = False,
    given: Mapping[str, Any],
    verb: str = "train",
) -> Order:
    """The rest of a run.

    Args:
        resume: its folder.
        data: where the data is now; None: where it was, seen from the run folder.
        given: options that describe a new run, and so do not go with it; none may be set.

    Raises:
        UserError: it is no run that can be resumed; its data is not where it was; an option that
            does not go with it.
    """
    wrong = [
        name for name, value in given.items() if value not in (None, {}) and value is not False
    ]
    if wrong:
        raise UserError(
            f"A resumed run keeps its settings, and {' and '.join(wrong)} would change them.",
            "Leave it out.",
        )
    run = reopen_run(Path(resume))
    identity = RunIdentity.from_json(run.read_json("run.json"))
    right = _verb_of(identity)
    if verb != right:
        what = "a cross-validation" if right == "cv" else "one training, and no cross-validation"
        raise UserError(
            f"{run.path} is {what}.", f"Go on with: {how_to_resume(run.path, verb=right)}"
        )
    source = Path(data) if data is not None else identity.data_of(run.path)
    if not (source.exists() or run.finished):
        raise UserError(
            f"The data of {run.path} is not where it was ({source}).",
            f"Say where it is: {how_to_resume(run.path, 'DATA', verb=verb)}",
        )
    return Order(
        recipe=load_recipe(str(run.path / "recipe.yaml")),
        source=source,
        name=identity.name,
        runs=run.path.parent,
        splits=read_splits(run.path),
        accept_changes=accept_changes,
        run=run,
        identity=identity,
        verb=verb,
    )


def _verb_of(identity: RunIdentity) -> str:
    return "cv" if CROSS_VALIDATION in identity.options else "train"


def how_to_go_on(run: RunFolder) -> str:
    """The command that goes on with a run that `open_run` began, by its own verb."""
    return how_to_resume(run.path, verb=_verb_of(RunIdentity.from_json(run.read_json("run.json"))))


def how_to_resume(run: Path, *words: str, verb: str = "train") -> str:
    """The command that goes on with a run, as a shell takes it."""
    return shlex.join(["tellapart", verb, *words, "--resume", str(run)])
