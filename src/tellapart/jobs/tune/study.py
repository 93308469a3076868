"""A study as `tune` finds or makes it: its folder, its database, and what is searched."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from sqlalchemy.engine import make_url

from tellapart.catalog.names import escape, unescape
from tellapart.catalog.table import Catalog, Column, splits_hash, text_column
from tellapart.errors import Refused, UserError, choose
from tellapart.evaluation.scores import METRICS
from tellapart.experiments.default_spaces import default_space
from tellapart.experiments.fold_plan import FoldPlan, plan_folds, pool_of
from tellapart.experiments.space import Space, read_space, space_from
from tellapart.experiments.study import (
    SAMPLERS,
    Sampler,
    Study,
    StudySettings,
    database_file,
    database_of,
    kept_settings,
)
from tellapart.pipeline.data import find_and_tell, look, read_data
from tellapart.pipeline.request import Order, new_order
from tellapart.progress import Console
from tellapart.recipe import Recipe, recipe_from, recipe_values
from tellapart.recipe_files import load_recipe, read_text
from tellapart.runs.environment import environment
from tellapart.runs.folder import RunFolder, check_room, open_run
from tellapart.runs.history import STUDY
from tellapart.runs.saved_splits import save_splits

FORMAT = 2
OWN_NAME = "study"  # of the study in a database of its own


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What the user said of a study; None, empty or false where nothing was said.

    Args:
        data, recipe, set, seed, splits, group_by, strict, out, name: as for `train`.
        space: a space file.
        metric, folds, sampler: see `StudySettings`.
        storage: a database's URL.
        study: the folder of a study, or the name of one in that database.
    """

    data: Path | None
    recipe: str | Recipe | None
    set: Mapping[str, Any]
    seed: int | None
    splits: Path | None
    group_by: str | None
    strict: bool
    out: Path
    name: str | None
    space: Path | None
    metric: str | None
    folds: int | None
    sampler: str | None
    storage: str | None
    study: str | None


@dataclass(frozen=True, kw_only=True)
class OpenStudy:
    """A study that this process works on.

    Args:
        run: its folder.
        study: its database.
        space: what is searched.
        source: the data.
        name: what the study is called.
        catalog: looked at.
        splits: with the test images, which the trials do not get.
        folds: of all but the test images, to judge by; None: val decides.
    """

    run: RunFolder
    study: Study
    space: Space
    source: Path
    name: str
    catalog: Catalog
    splits: Column
    folds: FoldPlan | None

    @property
    def id(self) -> str:
        """Of the folder: two of one study, made in the same second, have one name."""
        return str(self.run.read_json(STUDY)["id"])

    @property
    def trial_splits(self) -> Column:
        """The splits without the test images."""
        return text_column(np.where(self.splits == "test", "", self.splits).tolist())


def open_study(asked: Asked, console: Console) -> OpenStudy:
    """Join a study, or begin one.

    Raises:
        UserError: wrong use.
        Refused: it is a study of other data or with other settings.
    """
    folder = Path(asked.study) if asked.study and (Path(asked.study) / STUDY).is_file() else None
    if asked.study and folder is None and not asked.storage:
        raise UserError(
            f"{asked.study} is no study's folder.",
            "Give the folder that tune made, or the study's name together with --storage URL.",
        )
    about = RunFolder(folder).read_json(STUDY) if folder else None
    if about and about.get("format") != FORMAT:
        raise Refused(
            f"The study was made by tellapart {about.get('tellapart')} in another format.",
            "Go on with that version.",
        )
    url, name = _database(asked, folder, about)
    own = database_file(folder) if folder and about and about["storage"] is None else None
    kept = kept_settings(url, name) if url and (own is None or own.is_file()) else None
    if folder and kept is None:
        raise Refused(
            f"The study of {folder} is not in its database"
            f" ({own or make_url(url or '').render_as_string()}).",
            "Put that back, or begin a new study: what the trials found is in trials.csv.",
        )
    plan = _plan(asked, kept, console)
    order = _order(asked, plan.recipe, folder, about)
    catalog, splits = _look(order, folder is None, console)
    folds = _folds(plan, catalog, splits)
    settings = plan.settings(catalog, splits)
    if kept:
        kept.check_same(settings)
    if folder is None:
        folder = _begin(order, settings, catalog, splits, name if url else None, url)
    return OpenStudy(
        run=RunFolder(folder),
        study=Study(url or database_of(folder), name, settings),
        space=plan.space,
        source=order.source,
        name=order.name,
        catalog=catalog,
        splits=splits,
        folds=folds,
    )


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """What is decided before the data is looked at."""

    recipe: Recipe
    space: Space
    metric: str
    folds: int | None
    sampler: Sampler

    def settings(self, catalog: Catalog, splits: Column) -> StudySettings:
        used = np.flatnonzero(catalog.ok)
        rows = [
            (
                str(catalog.paths[row]),
                str(catalog.digests[row]),
                catalog.classes[catalog.labels[row]],
                str(splits[row]),
            )
            for row in used
        ]
        return StudySettings(
            catalog=catalog.digest,
            splits=splits_hash(rows),
            recipe=recipe_values(self.recipe),
            space=self.space.as_json(),
            metric=self.metric,
            folds=self.folds,
            seed=self.recipe.seed,
            sampler=self.sampler,
        )


def _database(
    asked: Asked, folder: Path | None, about: Mapping[str, Any] | None
) -> tuple[str | None, str]:
    """URL and name of the study; no URL for a new study's own database, which is not there yet."""
    if folder is None or about is None:
        if asked.storage and not asked.study:
            raise UserError("The database may hold many studies.", "Name this one: --study NAME.")
        return asked.storage, asked.study or OWN_NAME
    if about["storage"] is None:
        return database_of(folder), OWN_NAME
    if asked.storage is None and "***" in about["storage"]:
        raise UserError(
            f"The study's database wants a password ({about['storage']}).",
            "Give --storage with it.",
        )
    return asked.storage or about["storage"], about["study"]


def _plan(asked: Asked, kept: StudySettings | None, console: Console) -> _Plan:
    """The settings: what the user said, else what the study has, else what is usual."""
    options = {"seed": asked.seed, "split.group_by": asked.group_by}
    base: str | Recipe = recipe_from(kept.recipe) if kept else "probe"
    recipe = load_recipe(asked.recipe or base, asked.set, options)
    usual = "loss" if recipe.method == "probe" else recipe.training.monitor
    metric = choose("metric", asked.metric or (kept.metric if kept else usual), METRICS)
    folds = kept.folds if kept and asked.folds is None else asked.folds
    if folds is not None and not 2 <= folds <= 20:
        raise UserError(f"--folds must be 2 to 20, got {folds}.", "Leave it out to judge by val.")
    sampler = choose("sampler", asked.sampler or (kept.sampler if kept else SAMPLERS[0]), SAMPLERS)
    space = _space(asked, recipe, kept, console)
    return _Plan(
        recipe=recipe, space=space, metric=metric, folds=folds, sampler=cast(Sampler, sampler)
    )


def _space(asked: Asked, recipe: Recipe, kept: StudySettings | None, console: Console) -> Space:
    if asked.space is None and kept:
        return space_from(kept.space, recipe, "the study's space")
    if asked.space is None:
        space, left_out = default_space(recipe, asked.set)
        if left_out:
            console.say(
                f"Not searched, as their weights are not here: {', '.join(left_out)}. "
                "Name them in a space file to have them fetched."
            )
        if not space.parameters:
            raise UserError(
                "Nothing is left to search: --set names all of it.", "Leave a key out of --set."
            )
        return space
    text = read_text(asked.space, "a space", "Give a YAML file: key: [values].")
    space = read_space(text, recipe, asked.space.name)
    if both := sorted(set(space.keys) & asked.set.keys()):
        raise UserError(
            f"{asked.space.name} searches {both[0]}, and --set fixes it.",
            "Leave it out of one of them.",
        )
    return space


def _order(
    asked: Asked, recipe: Recipe, folder: Path | None, about: Mapping[str, Any] | None
) -> Order:
    data = asked.data
    if data is None and folder is not None and about is not None:
        data = Path(
            os.path.normpath(os.path.join(os.path.realpath(folder), unescape(about["data"])))
        )
        if not data.exists():
            raise UserError(
                f"The data of {folder} is not where it was ({data}).", "Say where it is."
            )
    splits = asked.splits or folder
    name = asked.name or (about["name"] if about else None)
    return new_order(
        data, recipe, out=asked.out, name=name, splits=splits, strict=asked.strict, verb="tune"
    )


def _look(order: Order, is_new: bool, console: Console) -> tuple[Catalog, Column]:
    catalog, splits = look(order, read_data(order, console), None, console)
    if is_new:
        find_and_tell(order, catalog, splits, console)
    return catalog, splits


def _folds(plan: _Plan, catalog: Catalog, splits: Column) -> FoldPlan | None:
    """The folds that trials are judged by, the same in every trial, as `cv` makes them; None: val
    decides.

    Raises:
        UserError: the images do not allow so many folds, or there is no val.
    """
    if plan.folds is not None:
        return plan_folds(catalog, pool_of(splits), plan.folds, 1, plan.recipe.seed)
    if not (splits == "val").any():
        raise UserError(
            "There is no val to judge trials by, and test is never used for that.",
            "Cut one with --set split.val=0.15, or judge by --folds 5.",
        )
    return None


def _begin(
    order: Order,
    settings: StudySettings,
    catalog: Catalog,
    splits: Column,
    name: str | None,
    url: str | None,
) -> Path:
    """The folder of a new study, there from now on. Its database is in it when it appears."""

    def begin(run: RunFolder) -> None:
        run.write_yaml(
            "base.yaml", settings.recipe
        )  # not recipe.yaml: a study is no run, its trials are
        run.write_json("environment.json", environment())
        save_splits(run, catalog, splits)
        run.write_yaml("space.yaml", settings.space)
        run.write_json(STUDY, _about(order, settings, run.path, name, url))
        if url is None:
            run.write("study.sqlite", _new_database(settings))

    check_room(order.runs, 2**20)
    return open_run(order.runs, escape(order.name), begin).path


def _about(
    order: Order, settings: StudySettings, folder: Path, name: str | None, url: str | None
) -> dict[str, Any]:
    from tellapart.runs.identity import new_identity

    identity = new_identity(folder, name=order.name, data=order.source, options={})
    kept = {
        key: value for key, value in identity.as_json().items() if key not in ("options", "format")
    }
    shown = make_url(url).render_as_string(hide_password=True) if url else None
    plain = {
        key: value for key, value in settings.as_json().items() if key not in ("recipe", "space")
    }
    return {
        **kept,
        "format": FORMAT,
        "storage": shown,
        "study": name or OWN_NAME,
        "settings": plain,
    }


def _new_database(settings: StudySettings) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        study = Study(database_of(Path(folder)), OWN_NAME, settings)
        study.close()
        return (Path(folder) / "study.sqlite").read_bytes()


def trial_recipe(study: OpenStudy, settings: Mapping[str, Any], seed: int) -> Recipe:
    """A trial's recipe: by gradient its best epoch is chosen by the study's metric, as the trial
    is.
    """
    recipe = study.space.base
    more: dict[str, Any] = {"seed": seed}
    if recipe.method != "probe":
        more |= {"training.monitor": study.study.settings.metric}
    return study.space.recipe(settings, more)


def judged(study: OpenStudy) -> str:
    """Where trials are judged, in words."""
    folds = study.study.settings.folds
    return "on val" if folds is None else f"in {folds} folds"


def with_train_scores(recipe: Recipe) -> Recipe:
    """The recipe of a trial that is measured on train too, for the table, where that costs little
    beside learning.
    """
    if recipe.method != "fit":
        return recipe
    return replace(recipe, training=replace(recipe.training, evaluate_train=True))
