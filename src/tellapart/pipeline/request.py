"""What is to be trained: a new run as the user asks for it, or the rest of one that was stopped."""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path
from typing import Any

from tellapart.addresses import store_address
from tellapart.catalog.splits import cut_val
from tellapart.catalog.table import Catalog
from tellapart.datasets import Dataset, dataset_of
from tellapart.errors import UserError
from tellapart.extensions import Extensions
from tellapart.home import user_path
from tellapart.pipeline.needs import check_torch
from tellapart.progress import Console
from tellapart.recipe import Recipe
from tellapart.recipe_files import load_recipe
from tellapart.runs.data_place import is_there
from tellapart.runs.folder import FIXES, RunFolder, check_room, reopen_run
from tellapart.runs.identity import RunIdentity
from tellapart.runs.saved_splits import ACCEPT_CHANGES, SavedSplits, read_splits
from tellapart.sources.source import Source, name_of

TYPICAL_RUN_BYTES = 32_000_000
RESTORE = "Restore the data, or begin anew: the finished folds were made of the data as it was."
CROSS_VALIDATION = "cv"  # the option of run.json that makes a run one: folds, repeats and ensemble


@dataclass(frozen=True, kw_only=True)
class Request:
    """One training, as it is asked for.

    Args:
        recipe: how to train.
        source: the data.
        name: what the run is called.
        runs: the folder that holds runs.
        dataset: a public data set that is fetched to `source` first. None means the data is the
            user's.
        splits: saved splits to use again. None means that new ones are made.
        own_splits: whether the splits are, or were, made in this run.
        strict: refuse data with leaks or label conflicts.
        accept_changes: go on although the data is not what it was.
        run: the run folder that is resumed. None means that a new one begins.
        identity: what that folder's run.json says.
        verb: the command that goes on with the run.
        extensions: the user's own networks, losses, metrics and so on, by name.
        preset: what a preset chose and why, as plain values; empty without one.
        began: when the command did, by `time.monotonic`. A budget counts from there.
        engine: what reads and embeds the images, "ray". None means this process.
    """

    recipe: Recipe
    source: Source
    name: str
    runs: Path
    dataset: Dataset | None = None
    splits: SavedSplits | None = None
    own_splits: bool = True
    strict: bool = False
    accept_changes: bool = False
    run: RunFolder | None = None
    identity: RunIdentity | None = None
    verb: str = "train"
    extensions: Extensions = field(default_factory=Extensions)
    preset: Mapping[str, Any] = field(default_factory=dict)
    began: float = field(default_factory=time.monotonic)
    engine: str | None = None

    def divide(self, catalog: Catalog, console: Console) -> Catalog | None:
        """The catalog with the saved splits; None where new ones are to be made."""
        if self.splits is None:
            return None
        if self.run is None:
            options, seed = self.recipe.splitting, self.recipe.seed
            return cut_val(self.splits.extended(catalog, options, seed), options, seed)
        hint = ACCEPT_CHANGES if self.verb == "train" else RESTORE
        splits = self.splits.of(catalog, accept_changes=self.accept_changes, hint=hint)
        for change in self.splits.changes(catalog):
            console.say(f"note: {change}; the run goes on without")
        return catalog.with_splits(splits)

    def splits_digest(self, catalog: Catalog) -> str:
        """The hash of the splits as they were made: in a run that is resumed, by its first session."""
        if self.splits is not None and self.run is not None:
            return self.splits.digest
        return catalog.splits_digest


def asked_request(
    data: Source | None,
    recipe: str | Recipe,
    *,
    out: str | PathLike[str],
    name: str | None,
    seed: int | None,
    splits: str | PathLike[str] | None,
    group_by: str | None,
    copies: str | None,
    strict: bool,
    set: Mapping[str, Any] | None,
    resume: str | PathLike[str] | None,
    verb: str,
    extensions: Extensions,
    accept_changes: bool = False,
) -> Request:
    """A new run, or the rest of the one in `resume`: the options are those of `train` and `cv`.

    Raises:
        UserError: `resume` is no run that can be resumed; its data is not where it was; an option
            that describes a new run does not go with it; one of the user's own parts is missing.
    """
    if resume is None:
        options = {"seed": seed, "split.group_by": group_by, "split.copies": copies}
        return new_request(
            data,
            load_recipe(recipe, set, options, extensions),
            out=out,
            name=name,
            splits=splits,
            strict=strict,
            verb=verb,
            extensions=extensions,
        )
    given = {
        "name": name,
        "seed": seed,
        "splits": splits,
        "group_by": group_by,
        "copies": copies,
        "strict": strict,
        "set": set,
    }
    return _resumed_request(
        resume,
        data,
        accept_changes=accept_changes,
        given=given,
        verb=verb,
        extensions=extensions,
    )


def new_request(
    data: Source | None,
    recipe: Recipe,
    *,
    out: str | PathLike[str],
    name: str | None,
    splits: str | PathLike[str] | None,
    strict: bool,
    verb: str = "train",
    extensions: Extensions | None = None,
) -> Request:
    """A new run. Without data it is the recipe's public data set."""
    check_torch(recipe, extensions or Extensions())
    dataset = dataset_of(recipe) if data is None else None
    source: Source = dataset.path if dataset else as_source(data)
    check_room(user_path(out), TYPICAL_RUN_BYTES)
    return Request(
        recipe=recipe,
        source=source,
        dataset=dataset,
        name=name or name_of(source),
        runs=user_path(out),
        splits=read_splits(user_path(splits)) if splits else None,
        own_splits=splits is None,
        strict=strict,
        verb=verb,
        extensions=extensions or Extensions(),
    )


def _resumed_request(
    resume: str | PathLike[str],
    data: Source | None,
    *,
    accept_changes: bool,
    given: Mapping[str, Any],
    verb: str,
    extensions: Extensions,
) -> Request:
    """The rest of a run.

    Args:
        resume: its folder.
        data: where the data is now. None means where it was, seen from the run folder.
        given: options that describe a new run, and so do not go with it; none may be set.
        extensions: the user's own parts, which the run needs again.

    Raises:
        UserError: it is no run that can be resumed; its data is not where it was; an option that
            does not go with it; one of the user's own parts is missing.
    """
    wrong = [
        name for name, value in given.items() if value not in (None, {}) and value is not False
    ]
    if wrong:
        raise UserError(
            f"A resumed run keeps its settings, and {' and '.join(wrong)} would change them.",
            "Leave it out.",
        )
    run = reopen_run(user_path(resume))
    identity = RunIdentity.from_json(run.read_json("run.json"))
    right = _verb_of(identity)
    if verb != right:
        what = "a cross-validation" if right == "cv" else "one training, and no cross-validation"
        raise UserError(
            f"{run.path} is {what}.", f"Go on with: {how_to_resume(run.path, verb=right)}"
        )
    extensions.check_given(identity.options.get("extensions", {}))
    recipe = load_recipe(str(run.path / "recipe.yaml"), extensions=extensions)
    if run.has(FIXES):  # the run's own copy, since the original may have got more decisions
        recipe = replace(recipe, data=replace(recipe.data, fixes=str(run.path / FIXES)))
    return Request(
        recipe=recipe,
        source=_source_of(run, identity, data, verb),
        name=identity.name,
        runs=run.path.parent,
        splits=read_splits(run.path),
        own_splits=bool(identity.options["own_splits"]),
        accept_changes=accept_changes,
        run=run,
        identity=identity,
        verb=verb,
        extensions=extensions,
        preset=identity.options.get("preset", {}),
    )


def as_source(data: Source | None) -> Source:
    """Data as the catalog reads it: text and path-likes become paths, or addresses in a store."""
    if address := store_address(data):
        return address
    return user_path(data) if isinstance(data, str | PathLike) else data  # type: ignore[return-value]


def _source_of(run: RunFolder, identity: RunIdentity, data: Source | None, verb: str) -> Source:
    """The data of a run that is resumed, where it is now."""
    if data is not None:
        return as_source(data)
    source = identity.data_of(run.path)
    if source is None and not run.finished:
        function = "cross_validate" if verb == "cv" else verb
        raise UserError(
            f"The data of {run.path} was given in Python, in memory.",
            f"Give it again: tellapart.{function}(data, resume={str(run.path)!r})",
        )
    if not (source is None or is_there(source) or run.finished):
        raise UserError(
            f"The data of {run.path} is not where it was ({source}).",
            f"Say where it is: {how_to_resume(run.path, 'DATA', verb=verb)}",
        )
    return source or run.path


def _verb_of(identity: RunIdentity) -> str:
    return "cv" if CROSS_VALIDATION in identity.options else "train"


def how_to_go_on(run: RunFolder) -> str:
    """The command that goes on with a resumable run, by its own verb."""
    return how_to_resume(run.path, verb=_verb_of(RunIdentity.from_json(run.read_json("run.json"))))


def how_to_resume(run: Path, *words: str, verb: str = "train") -> str:
    """The command that goes on with a run, as a shell takes it."""
    return shlex.join(["tellapart", verb, *words, "--resume", str(run)])


def inside(
    request: Request, recipe: Recipe, runs: Path, name: str, *, resumed: Path | None = None
) -> Request:
    """The request of a run inside a run: a fold, a trial.

    Its data is in hand, so nothing is read, and its splits are not its own. A budget counts from
    now.

    Args:
        runs: the folder that holds the inner runs.
        resumed: the folder of the inner run, if it was begun before.
    """
    folder = RunFolder(resumed) if resumed else None
    return replace(
        request,
        recipe=recipe,
        runs=runs,
        name=name,
        splits=None,
        own_splits=False,
        accept_changes=False,
        run=folder,
        identity=RunIdentity.from_json(folder.read_json("run.json")) if folder else None,
        verb="train",
        began=time.monotonic(),
    )
