"""A study as `tune` finds or makes it: its folder, its database, and what is searched."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from sqlalchemy.engine import make_url

from tellapart.catalog.names import escape
from tellapart.catalog.table import Catalog
from tellapart.errors import Refused, UserError, choose
from tellapart.evaluation.scores import METRICS
from tellapart.experiments.database import database_file, database_of
from tellapart.experiments.default_spaces import default_space
from tellapart.experiments.fold_plan import FoldPlan, plan_folds, pool_of
from tellapart.experiments.space import Space, read_space, space_from
from tellapart.experiments.study import (
    SAMPLERS,
    Sampler,
    Study,
    StudySettings,
    open_or_create,
)
from tellapart.extensions import Extensions
from tellapart.pipeline.data import Data, data_in_hand, divide, load_data, read_data, scan_images
from tellapart.pipeline.request import Request, new_request
from tellapart.progress import Console
from tellapart.recipe import Recipe, recipe_from, recipe_values
from tellapart.recipe_files import load_recipe, read_text
from tellapart.runs.data_place import is_there, place_at
from tellapart.runs.environment import environment
from tellapart.runs.folder import RunFolder, check_room, start_run
from tellapart.runs.history import STUDY
from tellapart.runs.identity import new_identity
from tellapart.runs.saved_splits import save_splits
from tellapart.sources.source import Source

FORMAT = 3
OWN_NAME = "study"  # of the study in a database of its own


@dataclass(frozen=True, kw_only=True)
class StudyRequest:
    """What the user asks of a study; None, empty or false where nothing is said.

    Args:
        data, recipe, set, seed, splits, group_by, copies, strict, out, name: as for `train`.
        trials: how many the whole study is to have.
        budget_seconds: for this command, the final training included.
        space: a space file.
        metric, folds, sampler: see `StudySettings`.
        storage: a database's URL.
        study: the folder of a study, or the name of one in that database.
        extensions: the user's own parts.
    """

    data: Source | None = None
    recipe: str | Recipe | None = None
    set: Mapping[str, Any]
    seed: int | None = None
    splits: Path | None = None
    group_by: str | None = None
    copies: str | None = None
    strict: bool = False
    out: Path
    name: str | None = None
    trials: int | None = None
    budget_seconds: float | None = None
    space: Path | None = None
    metric: str | None = None
    folds: int | None = None
    sampler: str | None = None
    storage: str | None = None
    study: str | None = None
    extensions: Extensions = field(default_factory=Extensions)

    def __post_init__(self) -> None:
        for option, value in (("trials", self.trials), ("budget", self.budget_seconds)):
            if value is not None and value <= 0:
                raise UserError(
                    f"{option} must be above 0, got {value:g}.", f"Set it with --{option}."
                )
        if self.study is None and self.trials is None and self.budget_seconds is None:
            raise UserError("How long to search is not said.", "Give --trials 20, or --budget 30m.")


@dataclass(frozen=True, kw_only=True)
class OpenStudy:
    """A study that this process works on.

    Args:
        run: its folder.
        id: of the folder. Two folders of one study, made in the same second, have the same name.
        study: its database.
        space: what is searched.
        request: what a training of the study is asked for.
        data: with the test images, which the trials do not get.
        folds: of all but the test images, to judge by. None means that val judges.
    """

    run: RunFolder
    id: str
    study: Study
    space: Space
    request: Request
    data: Data
    folds: FoldPlan | None

    @property
    def judged(self) -> str:
        """Where trials are judged, in words."""
        folds = self.study.settings.folds
        return "on val" if folds is None else f"in {folds} folds"

    @property
    def by_gradient(self) -> bool:
        """Whether trials train the network too."""
        return self.space.base.by_gradient

    def trial_recipe(self, settings: Mapping[str, Any], seed: int) -> Recipe:
        """A trial's recipe. By gradient its best epoch is chosen by the study's metric, which also
        ranks the trials.
        """
        options: dict[str, Any] = {"seed": seed}
        if self.by_gradient:
            options["training.monitor"] = self.study.settings.metric
        return self.space.recipe(settings, options)


def open_study(asked: StudyRequest, console: Console) -> OpenStudy:
    """Join a study, or begin one.

    Raises:
        UserError: wrong use.
        Refused: it is a study of other data or with other settings.
    """
    place = _find(asked)
    plan = _plan(asked, place.study.settings if place.study else None, console)
    request = _request(asked, plan.recipe, place)
    data = _load(request, place.folder is None, console)
    folds = _folds(plan, data.catalog)
    settings = plan.settings(data)
    if place.study:
        place.study.settings.check_same(settings)
    folder = place.folder or _begin(request, settings, data, place)
    study = place.study or open_or_create(place.url or database_of(folder), place.name, settings)
    run = RunFolder(folder)
    return OpenStudy(
        run=run,
        id=str(run.read_json(STUDY)["id"]),
        study=study,
        space=plan.space,
        request=request,
        data=data,
        folds=folds,
    )


@dataclass(frozen=True, kw_only=True)
class _Place:
    """Where a study is.

    Args:
        folder: its folder here. None means that this process makes one.
        about: what the folder's study.json says.
        url: of its database. None means one in a folder that is still to be made.
        name: of the study in the database.
        study: opened, if it is there.
    """

    folder: Path | None
    about: Mapping[str, Any]
    url: str | None
    name: str
    study: Study | None


def _find(asked: StudyRequest) -> _Place:
    """Where the study is that the user asks for."""
    folder = Path(asked.study) if asked.study and (Path(asked.study) / STUDY).is_file() else None
    if asked.study and folder is None and not asked.storage:
        raise UserError(
            f"{asked.study} is no study's folder.",
            "Give the folder that tune made, or the study's name together with --storage URL.",
        )
    about = RunFolder(folder).read_json(STUDY) if folder else {}
    if about and about.get("format") != FORMAT:
        raise Refused(
            f"The study was made by tellapart {about.get('tellapart')} in another format.",
            "Go on with that version.",
        )
    url, name = _database(asked, folder, about)
    own = database_file(folder) if folder and about["storage"] is None else None
    study = open_or_create(url, name) if url and (own is None or own.is_file()) else None
    if folder and study is None:
        raise Refused(
            f"The study of {folder} is not in its database"
            f" ({own or make_url(url or '').render_as_string()}).",
            "Put that back, or begin a new study: what the trials found is in trials.csv.",
        )
    return _Place(folder=folder, about=about, url=url, name=name, study=study)


def _database(
    asked: StudyRequest, folder: Path | None, about: Mapping[str, Any]
) -> tuple[str | None, str]:
    """URL and name of the study; no URL for a new study's own database, which is not there yet."""
    if folder is None:
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


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """What is decided before the data is read."""

    recipe: Recipe
    space: Space
    metric: str
    folds: int | None
    sampler: Sampler

    def settings(self, data: Data) -> StudySettings:
        return StudySettings(
            catalog=data.catalog.digest,
            splits=data.catalog.splits_digest,
            recipe=recipe_values(self.recipe),
            space=self.space.as_json(),
            metric=self.metric,
            folds=self.folds,
            seed=self.recipe.seed,
            sampler=self.sampler,
        )


def _plan(asked: StudyRequest, kept: StudySettings | None, console: Console) -> _Plan:
    """The settings: what the user says, else what the study has, else the defaults."""
    options = {
        "seed": asked.seed,
        "split.group_by": asked.group_by,
        "split.copies": asked.copies,
    }
    own = asked.extensions
    base: str | Recipe = recipe_from(kept.recipe, supplied=own.names) if kept else "probe"
    recipe = load_recipe(asked.recipe or base, asked.set, options, own).with_val()
    usual = recipe.training.monitor if recipe.by_gradient else "loss"
    metric = choose("metric", asked.metric or (kept.metric if kept else usual), METRICS)
    folds = kept.folds if kept and asked.folds is None else asked.folds
    if folds is not None and not 2 <= folds <= 20:
        raise UserError(f"--folds must be 2 to 20, got {folds}.", "Leave it out to judge by val.")
    sampler = choose("sampler", asked.sampler or (kept.sampler if kept else SAMPLERS[0]), SAMPLERS)
    space = _space(asked, recipe, kept, console)
    return _Plan(
        recipe=recipe, space=space, metric=metric, folds=folds, sampler=cast(Sampler, sampler)
    )


def _space(
    asked: StudyRequest, recipe: Recipe, kept: StudySettings | None, console: Console
) -> Space:
    if asked.space is None and kept:
        return space_from(kept.space, recipe, "the study's space")
    if asked.space is None:
        space, left_out = default_space(recipe, asked.set)
        if left_out:
            console.say(
                f"Skipped (weights not installed): {', '.join(left_out)}."
                " Name them in a space file to have them fetched."
            )
        if not space.parameters:
            raise UserError(
                "Nothing is left to search: --set names all of it.", "Leave a key out of --set."
            )
        return space
    text = read_text(asked.space, "a space", "Give a YAML file: key: [values].")
    space = read_space(text, recipe, asked.space.name)
    if both := sorted({*space.keys} & asked.set.keys()):
        raise UserError(
            f"{asked.space.name} searches {both[0]}, and --set fixes it.",
            "Leave it out of one of them.",
        )
    return space


def _request(asked: StudyRequest, recipe: Recipe, place: _Place) -> Request:
    data = asked.data
    if data is None and place.folder is not None:
        if place.about["data"] is None:
            raise UserError(
                f"The data of {place.folder} was given in Python, in memory.",
                f"Give it again: tellapart.tune(data, study={str(place.folder)!r})",
            )
        data = place_at(place.folder, place.about["data"])
        if data is None or not is_there(data):
            raise UserError(
                f"The data of {place.folder} is not where it was ({data}).", "Say where it is."
            )
    return new_request(
        data,
        recipe,
        out=asked.out,
        name=asked.name or place.about.get("name"),
        splits=asked.splits or place.folder,
        strict=asked.strict,
        verb="tune",
        extensions=asked.extensions,
    )


def _load(request: Request, is_new: bool, console: Console) -> Data:
    """The data; of a study that is joined, what there is to say was said when it began."""
    catalog = read_data(request, console)
    if is_new:
        return load_data(request, catalog, console)
    catalog = scan_images(request, catalog, console)
    if request.splits is not None:
        # All processes of a study see the same images: new ones are refused here, and named.
        return data_in_hand(catalog.with_splits(request.splits.of(catalog)))
    return data_in_hand(divide(request, catalog, console))


def _folds(plan: _Plan, catalog: Catalog) -> FoldPlan | None:
    """The folds that trials are judged by, the same in every trial, as `cv` makes them.

    Returns:
        None where val judges.

    Raises:
        UserError: the images do not allow so many folds, or there is no val.
    """
    if plan.folds is not None:
        return plan_folds(catalog, pool_of(catalog.splits), plan.folds, 1, plan.recipe.seed)
    if not len(catalog.split("val")):
        raise UserError(
            "There is no val to judge trials by, and test is never used for that.",
            "Cut one with --set split.val=0.15, or judge by --folds 5.",
        )
    return None


def _begin(request: Request, settings: StudySettings, data: Data, place: _Place) -> Path:
    """The folder of a new study. Its own database is in it when it appears."""

    def write(run: RunFolder) -> None:
        # It is not called recipe.yaml: a study is no run, its trials are.
        run.write_yaml("base.yaml", settings.recipe)
        run.write_json("environment.json", environment())
        save_splits(run, data.catalog)
        run.write_yaml("space.yaml", settings.space)
        run.write_json(STUDY, _about(request, settings, run.path, place))
        if place.url is None:
            open_or_create(database_of(run.place), place.name, settings).close()

    check_room(request.runs, 2**20)
    return start_run(request.runs, escape(request.name), write).path


def _about(
    request: Request, settings: StudySettings, folder: Path, place: _Place
) -> dict[str, Any]:
    identity = new_identity(folder, name=request.name, data=request.source, options={}).as_json()
    kept = {key: value for key, value in identity.items() if key not in ("options", "format")}
    url = place.url
    shown = make_url(url).render_as_string(hide_password=True) if url else None
    values = settings.as_json().items()
    plain = {key: value for key, value in values if key not in ("recipe", "space")}
    return {**kept, "format": FORMAT, "storage": shown, "study": place.name, "settings": plain}


def with_train_scores(recipe: Recipe) -> Recipe:
    """The recipe of a trial that is measured on train too, for the table of trials, where that
    costs little beside the learning.
    """
    if recipe.method != "fit":
        return recipe
    return replace(recipe, training=replace(recipe.training, evaluate_train=True))
