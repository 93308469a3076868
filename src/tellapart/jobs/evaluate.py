"""`evaluate`: a model file and labelled images in, the same numbers as a training reports out.

Images that the model has seen are counted, named and left out of the score. Without images, a run is
measured again from the answers that it has kept. Needs no torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tellapart.catalog.duplicates import link_copies, take_prints
from tellapart.catalog.scan import scan
from tellapart.catalog.slice_columns import Columns, slice_columns
from tellapart.catalog.table import Catalog
from tellapart.errors import UserError, choose
from tellapart.evaluation.abstention import Selective, selective
from tellapart.evaluation.metrics import Metrics, measure
from tellapart.evaluation.predictions import Predictions
from tellapart.evaluation.rule import AnswerRule
from tellapart.evaluation.slices import Slices, measure_slices
from tellapart.home import user_path
from tellapart.modelfile.predictor import Predictor, load
from tellapart.modelfile.scan_predictions import AnswersAndThumbnails
from tellapart.modelfile.seen import Recognised, SeenImages, seen_by_content
from tellapart.phrases import count_of, listed
from tellapart.pipeline.data import reading_of, recipe_of_form, with_fixes
from tellapart.pipeline.request import as_source
from tellapart.progress import Console
from tellapart.recipe import Recipe
from tellapart.runs.saved_columns import read_slice_columns
from tellapart.runs.saved_predictions import read_predictions
from tellapart.runs.saved_splits import read_splits
from tellapart.sources.source import Source, name_of, read_source

UNKNOWN = (
    "This model file does not say which images it was made of, so images that it has seen cannot be"
    " told apart. If there are some, the score is too good. A newer training writes it down."
)


@dataclass(frozen=True)
class Seen:
    """The images that the model has seen. They are no part of the score.

    Args:
        train: paths of those that it was trained on.
        val: paths of those that it was chosen or calibrated with.
        alike: which of both are copies that were saved anew, known by their looks.
        partial: whether the model file remembers only some of its images, so that there may be more.
        with_them: the metrics of all images, these too; None without any. They are too good.
    """

    train: tuple[str, ...]
    val: tuple[str, ...]
    alike: tuple[str, ...]
    partial: bool
    with_them: Metrics | None

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self.train) + len(self.val)

    def as_json(self) -> dict[str, Any]:
        """The JSON object of `--json`."""
        return {
            "count": self.count,
            "train": list(self.train),
            "val": list(self.val),
            "alike": list(self.alike),
            "partial": self.partial,
            "with_them": self.with_them and self.with_them.as_json(),
        }


@dataclass(frozen=True)
class Evaluation:
    """What a model file is worth on labelled images.

    Args:
        metrics: with their intervals. Images that the model has seen do not count.
        answering: what abstaining costs and buys.
        predictions: all that they are computed from.
        seen: the images that the model has seen. None where neither file nor run folder tells.
        statuses: status → number of files.
        warnings: what the user should know, a sentence each.
        split: which images were measured: those of the test split, or all, where there is none.
        seed: of the bootstrap intervals.
        slices: the accuracy of each slice. None where it was not asked for.
    """

    metrics: Metrics
    answering: Selective
    predictions: Predictions
    seen: Seen | None
    statuses: Mapping[str, int]
    warnings: tuple[str, ...]
    split: Literal["test", "all"]
    seed: int
    slices: Slices | None = None

    def as_json(self) -> dict[str, Any]:
        """The JSON object that `--json` prints."""
        return {
            "test": self.metrics.as_json(),
            "answering": self.answering.as_json(),
            "seen": self.seen and self.seen.as_json(),
            "classes": list(self.predictions.classes),
            "statuses": dict(self.statuses),
            "warnings": list(self.warnings),
            "split": self.split,
            "seed": self.seed,
            **({"slices": self.slices.as_json()} if self.slices else {}),
        }


def evaluate(
    model: str | PathLike[str] | Predictor,
    data: Source | None = None,
    *,
    set: Mapping[str, Any] | None = None,
    slices: Sequence[str] | None = None,
    seed: int = 0,
    quiet: bool = False,
) -> Evaluation:
    """Measure a model file on a source of labelled images.

    Images that the model was trained or chosen on are counted and named, and the score is that of
    the others. They are known by their content, and by their looks where they were saved anew. So
    the whole data of a training gives the score of its test images.

    Args:
        model: a model file, a run folder, or a loaded predictor.
        data: labelled images, in any form that `train` takes. Where it has a test split, that is
            measured, else all of it. None measures the answers to the test images that a run folder
            has kept, without any image.
        set: what a recipe says of the form of the data, as for `train`: the keys data.columns,
            data.label_by, data.crops and data.fixes.
        slices: columns by which the accuracy is measured slice by slice: those of the data's table,
            "folder:1" and further levels, "short side", "aspect ratio", "brightness", "contrast",
            "colourfulness", "taken" and "camera". ["all"] takes all that are known. None takes
            none.
        seed: the seed of the bootstrap intervals.
        quiet: print nothing.

    Returns:
        The metrics with their intervals, and the predictions they are computed from.

    Raises:
        UserError: no such file or source, a class that the model does not know, no image that is
            new to the model, or no such column.

    >>> evaluation = tellapart.evaluate(run.model, photos, quiet=True)
    >>> evaluation.split, len(evaluation.predictions) + evaluation.seen.count
    ('all', 36)
    """
    console = Console(quiet=quiet)
    predictor = model if isinstance(model, Predictor) else load(model)
    if data is None:
        return _of_run(model, predictor, slices, seed)
    rules = predictor.card.decoding
    form = recipe_of_form(set or {})
    with console.step("Listing the files"):
        catalog = read_source(as_source(data), replace(reading_of(form), rules=rules))
    has_test = bool((catalog.given_splits == "test").any())
    measured = catalog.rows(catalog.given_splits == "test") if has_test else catalog
    console.say(
        f"{name_of(data)}: {catalog.source}; measuring on {'its test split' if has_test else 'all'},"
        f" {len(measured):,} files"
    )
    measured = _with_classes_of(predictor, measured)

    hook = AnswersAndThumbnails(predictor)
    with console.track("Predicting", len(measured)) as advance:
        measured = scan(measured, rules=rules, hook=hook, advance=advance)
    measured = _fixed(measured, form)
    warnings = _warnings(predictor, catalog, measured)
    with console.step("Looking for images that the model has seen"):
        measured = take_prints(link_copies(measured.replace(remarks=()), hook), hook)
    warnings += measured.remarks
    predictions = hook.answers.predictions(measured)
    counts = np.array(predictor.card.train_counts)

    seen, is_new = None, np.ones(len(predictions), bool)
    recognised = _recognise(model, predictor, measured)
    if recognised is None:
        warnings += (UNKNOWN,)
    else:
        is_new = recognised.uses == ""
        whole = None if is_new.all() else measure(predictions, seed=seed, class_counts=counts)
        seen = _seen(predictions.paths, recognised, predictor.card.seen, whole)
        warnings += _seen_warnings(seen, len(predictions))
    for warning in warnings:
        console.say(f"note: {warning}")
    predictions = predictions.rows(is_new)
    with console.step("Measuring the intervals"):
        metrics = measure(predictions, seed=seed, class_counts=counts)
        columns = _columns(measured, hook, is_new) if slices else {}
        sliced = _sliced(predictions, predictor.card.rule, columns, slices)
    return Evaluation(
        metrics=metrics,
        answering=selective(predictions, predictor.card.rule),
        predictions=predictions,
        seen=seen,
        statuses=measured.status_counts,
        warnings=warnings,
        split="test" if has_test else "all",
        seed=seed,
        slices=sliced,
    )


def _of_run(
    model: str | PathLike[str] | Predictor,
    predictor: Predictor,
    slices: Sequence[str] | None,
    seed: int,
) -> Evaluation:
    """A run measured again from what its folder keeps.

    Raises:
        UserError: the model is no run folder, or it has no test images.
    """
    folder = None if isinstance(model, Predictor) else user_path(model)
    file = folder and folder / "predictions-test.parquet"
    if folder is None or file is None or not file.is_file():
        raise UserError(
            "Nothing says which images to measure the model on.",
            "Give labelled images after the model, or the folder of a finished run.",
        )
    predictions = read_predictions(file)
    if not len(predictions):
        raise UserError(
            f"{folder} has no test images.", "Give labelled images that are new to the model."
        )
    columns = read_slice_columns(folder, predictions.paths) if slices else {}
    return Evaluation(
        metrics=measure(predictions, seed=seed, class_counts=np.array(predictor.card.train_counts)),
        answering=selective(predictions, predictor.card.rule),
        predictions=predictions,
        seen=Seen((), (), (), partial=False, with_them=None),
        statuses={"ok": len(predictions)},
        warnings=(),
        split="test",
        seed=seed,
        slices=_sliced(predictions, predictor.card.rule, columns, slices),
    )


def _columns(measured: Catalog, hook: AnswersAndThumbnails, is_new: NDArray[np.bool_]) -> Columns:
    """The columns of the usable images that are new to the model."""
    used = measured.rows(measured.ok)
    return slice_columns(used.replace(light=hook.light_of(used)).rows(is_new))


def _sliced(
    predictions: Predictions,
    rule: AnswerRule,
    columns: Columns,
    wanted: Sequence[str] | None,
) -> Slices | None:
    """The accuracy by the columns that are wanted. None where none are.

    Raises:
        UserError: there is no such column.
    """
    if not wanted:
        return None
    if list(wanted) != ["all"]:
        columns = {name: columns[choose("column", name, columns)] for name in wanted}
    answered = rule.decide(predictions.probs, predictions.unfamiliarity) == "answered"
    return measure_slices(predictions, columns, answered)


def _recognise(
    model: str | PathLike[str] | Predictor, predictor: Predictor, measured: Catalog
) -> Recognised | None:
    """What the usable images were to the model; None where nothing tells."""
    splits = {} if isinstance(model, Predictor) else _splits_of_run(user_path(model))
    images = predictor.card.seen
    if splits:
        images = seen_by_content(splits, images)
    if images is None or measured.prints is None:
        return None
    rows = measured.ok
    tested = frozenset(digest for digest, split in splits.items() if split == "test")
    return images.recognise(measured.digests[rows].tolist(), measured.prints[rows], tested)


def _splits_of_run(model: Path) -> dict[str, str]:
    """Content hash → split of all images of a run, where the model is a run folder."""
    splits: dict[str, str] = {}
    try:
        rows = read_splits(model).rows.values() if model.is_dir() else ()
    except UserError:  # the model file has them too, but for those beyond its limit
        return splits
    # The user's own splits may hold an image twice. It was trained on, then.
    for use in ("test", "val", "train"):
        splits |= {row[1]: use for row in rows if row[3] == use}
    return splits


def _seen(
    paths: tuple[str, ...],
    recognised: Recognised,
    images: SeenImages | None,
    with_them: Metrics | None,
) -> Seen:
    def those(rows: NDArray[np.bool_]) -> tuple[str, ...]:
        return tuple(path for path, row in zip(paths, rows.tolist(), strict=True) if row)

    return Seen(
        train=those(recognised.uses == "train"),
        val=those(recognised.uses == "val"),
        alike=those(recognised.alike),
        partial=images is not None and images.partial,
        with_them=with_them,
    )


def _seen_warnings(seen: Seen, count: int) -> tuple[str, ...]:
    """What is to be said of the images that the model has seen.

    Raises:
        UserError: it has seen all.
    """
    if not seen.count:
        return ()
    if seen.count == count:
        raise UserError(
            f"The model has seen all {count:,} images: it was trained on {len(seen.train):,}, and"
            f" chosen or calibrated with {len(seen.val):,}. They cannot tell how good it is.",
            "Give images that are new to it. The run's report has the score of its test images.",
        )
    uses = [
        f"{count_of(len(paths), 'image was', 'images were')} {use} ({listed(paths, 3)})"
        for use, paths in (
            ("trained on", seen.train),
            ("used to choose or calibrate the model", seen.val),
        )
        if paths
    ]
    least = "at least " if seen.partial else ""
    alike = f" {len(seen.alike):,} of them are known by their looks." if seen.alike else ""
    accuracy = seen.with_them and seen.with_them.accuracy.value
    return (
        f"The model has seen {least}{seen.count:,} of {count:,} images, which are left out of the"
        f" score: {', and '.join(uses)}.{alike} With them the accuracy would be {accuracy:.1%}.",
    )


def _with_classes_of(predictor: Predictor, catalog: Catalog) -> Catalog:
    """The catalog with the model's class map; the data's classes must be among the model's."""
    used = [catalog.classes[label] for label in np.unique(catalog.labels)]
    for name in used:
        choose("class, not one of the model's:", name, predictor.classes)
    place = {name: position for position, name in enumerate(predictor.classes)}
    mapped = np.array([place.get(name, -1) for name in catalog.classes], np.int64)
    return catalog.replace(classes=predictor.classes, labels=mapped[catalog.labels])


def _fixed(measured: Catalog, form: Recipe) -> Catalog:
    """The scanned images as the decisions of `data.fixes` correct them.

    Raises:
        UserError: a decision makes a class that the model does not know.
    """
    fixed = with_fixes(measured, form)
    for name in fixed.classes:
        choose("class, not one of the model's:", name, measured.classes)
    return fixed


def _warnings(predictor: Predictor, catalog: Catalog, measured: Catalog) -> tuple[str, ...]:
    if not measured.ok.any():
        raise UserError(
            f"None of the {len(measured)} files can be used.",
            "Run tellapart predict on them to see why.",
        )
    warnings = [*catalog.remarks]
    if measured.fixes:
        warnings.append(measured.fixes.text)
    missing = [
        name for name, count in zip(measured.classes, measured.counts(), strict=True) if not count
    ]
    if missing:
        shown = ", ".join(map(repr, missing[:5])) + (" …" if len(missing) > 5 else "")
        warnings.append(f"{len(missing)} of the model's classes have no image here: {shown}.")
    return tuple(warnings)
