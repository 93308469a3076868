"""`predict`: a model file and images in, one answer an image out. Needs no torch."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from contextlib import nullcontext
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from tellapart.catalog.table import Catalog
from tellapart.errors import Interrupted, UserError
from tellapart.home import user_path
from tellapart.image_input import FORMS, is_image
from tellapart.modelfile.answers import answer_columns, answer_row, answers_frame
from tellapart.modelfile.predictor import Answer, Image, Predictor, load
from tellapart.progress import Console
from tellapart.sources.inputs import expand_inputs
from tellapart.sources.reading import AS_IT_LIES, Reading
from tellapart.table_file import TableFile
from tellapart.tables import check_table_name

if TYPE_CHECKING:
    import polars

    from tellapart.sources.tables.table_file import Frame


# What `predict` takes as its images.
Inputs: TypeAlias = "Image | Iterable[Image | tuple[Image, str | int]] | Frame | Catalog"


@dataclass(frozen=True)
class Predicted:
    """The answers of a model file.

    Args:
        answers: one an image, in the order of the images. Empty where they were not kept.
        classes: C names, in the order of the model's columns.
        table: where they were written; None where no file was asked for.
        statuses: status → number of answers, sorted by name.
    """

    answers: tuple[Answer, ...]
    classes: tuple[str, ...]
    table: Path | None = None
    statuses: Mapping[str, int] = field(default_factory=dict)

    def to_frame(self) -> polars.DataFrame:
        """A polars data frame with the columns of the table that `predict` writes."""
        return answers_frame(self.answers, self.classes)

    def as_json(self, top: int = 1) -> dict[str, Any]:
        """The JSON object that `--json` prints, with the `top` most probable classes of each."""
        rows = [answer_row(answer, self.classes) for answer in self.answers]
        tops = [answer.top(top) for answer in self.answers]
        answers = [{**row, "top": best} for row, best in zip(rows, tops, strict=True)]
        for entry, answer in zip(answers, self.answers, strict=True):
            if answer.prediction_set:
                entry["set"] = list(answer.prediction_set)
        return {"statuses": dict(self.statuses), "answers": answers}


def predict(
    model: str | PathLike[str] | Predictor,
    images: Inputs,
    *,
    out: str | PathLike[str] | None = None,
    keep: bool = True,
    sets: float | None = None,
    set: Mapping[str, Any] | None = None,
    quiet: bool = False,
) -> Predicted:
    """Answer images, one row an image, in their order.

    Args:
        model: a model file, a run folder, or a loaded predictor.
        images: one image or several, in any form that `Predictor.predict` takes. A path may also be
            that of a folder, an archive, a table of paths or another file of images, for all
            images in it. Text may be a pattern with * ? or [ ], or a web address of an image. What
            `train` takes will do too: a data frame, a catalog, a list of (image, label). Labels
            are not needed, and not used.
        out: a .csv, .jsonl or .parquet to write. Answers are written as they come, to a file whose
            name ends in .part until it is whole.
        keep: hold the answers in memory too. With False they are in the table alone, so that a
            million images need no more memory than a few.
        sets: how often each answer's `prediction_set` should hold the truth, in (0, 1). None gives
            no sets.
        set: what a recipe says of the columns of a table, as for `train`: the key data.columns.
        quiet: show no progress.

    Returns:
        The answers. A file that is no usable image gets one whose status says why.

    Raises:
        UserError: no model, no images, no sets of that level, a table or an archive that cannot be
            used, or a table of a kind that cannot be written.
        Interrupted: the user stopped it. The message says where the answers so far are.
        Refused: the disk is full.

    >>> predicted = tellapart.predict(run.model, str(photos / "sky"), quiet=True)
    >>> len(predicted.answers), predicted.statuses
    (12, {'ok': 12})
    """
    if out:
        check_table_name(user_path(out))
    console = Console(quiet=quiet)
    inputs = _inputs(images, _reading(set or {}))
    if not inputs:
        raise UserError(
            "There is nothing to predict.", "Name images, folders or patterns, or - for a list."
        )
    if not (keep or out):
        raise UserError("The answers would be lost.", "Name a table with out, or keep them.")
    predictor = model if isinstance(model, Predictor) else load(model)
    if sets is not None:
        predictor.check_sets(sets)
    table = _table(user_path(out), predictor, sets) if out else None
    answers, statuses = _answered(predictor, inputs, sets, table, console, keep=keep)
    return Predicted(tuple(answers), predictor.classes, table.path if table else None, statuses)


def _table(path: Path, predictor: Predictor, sets: float | None) -> TableFile:
    return TableFile(path, answer_columns(predictor.classes, sets=sets is not None))


def _answered(
    predictor: Predictor,
    inputs: Sequence[Image],
    sets: float | None,
    table: TableFile | None,
    console: Console,
    *,
    keep: bool,
) -> tuple[list[Answer], dict[str, int]]:
    """The answers that are kept, and how many there are of each status.

    Raises:
        Interrupted: the user stopped it.
    """
    answers: list[Answer] = []
    statuses: Counter[str] = Counter()
    try:
        with table or nullcontext(), console.track("Predicting", len(inputs)) as advance:
            for answer in predictor.predict_each(inputs, sets=sets):
                if table:
                    table.add(answer_row(answer, predictor.classes, sets=sets is not None))
                if keep:
                    answers.append(answer)
                statuses[answer.status] += 1
                advance()
    except KeyboardInterrupt:
        raise _interrupted(table, len(inputs)) from None
    return answers, dict(sorted(statuses.items()))


def _interrupted(table: TableFile | None, count: int) -> Interrupted:
    if table is None or not table.rows:
        return Interrupted(
            "Interrupted; no answer is kept.",
            "With a table to write (--out answers.csv), the answers so far are kept.",
        )
    return Interrupted(
        f"Interrupted; the answers to the first {table.rows:,} of {count:,} images are in"
        f" {table.part}.",
        "Give that file another name to keep it. The same command starts from the first image.",
    )


# The reading of tables takes a third of a second to import, and most predictions are of files.


def _reading(changes: Mapping[str, Any]) -> Reading:
    if not changes:
        return AS_IT_LIES
    from tellapart.pipeline.data import reading_by

    return reading_by(changes)


def _in_rows(images: object, reading: Reading) -> list[Image] | None:
    """The images of a catalog or a data frame. None means that it is something else."""
    if isinstance(images, Catalog):
        from tellapart.sources.held_images import images_of

        return list(images_of(images))
    if hasattr(images, "columns"):
        from tellapart.sources.held_images import images_of_frame
        from tellapart.sources.tables.table_file import is_frame

        return list(images_of_frame(images, reading)) if is_frame(images) else None
    return None


def _inputs(images: Inputs, reading: Reading) -> list[Image]:
    """The images one by one; folders, patterns, archives, tables and catalogs expanded.

    Raises:
        UserError: an object is neither an image nor a list of images.
    """
    if (rows := _in_rows(images, reading)) is not None:
        return rows
    if is_image(images) or hasattr(images, "shape"):
        images = [cast("Image", images)]
    if isinstance(images, Mapping | Set) or not isinstance(images, Iterable):
        raise UserError(f"Images cannot be of type {type(images).__name__}.", FORMS)
    several: list[Any] = list(images)
    expanded: list[Image] = []
    for image in several:
        if isinstance(image, tuple) and len(image) == 2:  # with its label, which is not needed
            image = image[0]
        if isinstance(image, str | PathLike):
            named = image if isinstance(image, str) else Path(image)
            expanded += expand_inputs([named], io.BytesIO(), reading, alone=len(several) == 1)
        else:
            expanded.append(image)
    return expanded
