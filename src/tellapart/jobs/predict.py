"""`predict`: a model file and images in, one answer an image out. Needs no torch."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass, field
from importlib.metadata import version
from itertools import islice
from os import PathLike
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING, Any, TypeAlias

from tellapart.catalog.names import escape
from tellapart.catalog.table import Catalog
from tellapart.errors import Interrupted, UserError
from tellapart.modelfile.answers import answer_columns, answer_row, answers_frame
from tellapart.modelfile.on_ray import check_engine
from tellapart.modelfile.predictor import Answer, Image, Predictor, image_name, load
from tellapart.progress import Console, Task
from tellapart.sources.reading import AS_IT_LIES, Reading
from tellapart.sources.stream import ImageStream, Shard, all_stay, stream_images
from tellapart.table_file import BEGIN_ANEW
from tellapart.table_parts import Table, check_out, open_table, own_files
from tellapart.tables import Columns, Row

if TYPE_CHECKING:
    import polars

    from tellapart.explain.folder import ExplanationFolder
    from tellapart.sources.tables.table_file import Frame


EXPLAINED = 100  # images at most; a page of more would be read by nobody

# What `predict` takes as its images.
Inputs: TypeAlias = "Image | Iterable[Image | tuple[Image, str | int]] | Frame | Catalog"


@dataclass(frozen=True)
class Predicted:
    """The answers of a model file.

    Args:
        answers: one an image, in the order of the images. Empty where they were not kept.
        classes: C names, in the order of the model's columns.
        table: where they were written; None where no file was asked for.
        statuses: status → number of answers, sorted by name. Those that were in a table before,
            and were not computed again, count too.
        explained: the page of explanations; None where none was asked for.
    """

    answers: tuple[Answer, ...]
    classes: tuple[str, ...]
    table: Path | None = None
    statuses: Mapping[str, int] = field(default_factory=dict)
    explained: Path | None = None

    def to_frame(self) -> polars.DataFrame:
        """A polars data frame with the columns of the table that `predict` writes, without the row
        numbers of a shard.
        """
        return answers_frame(self.answers, self.classes)

    def as_json(self, top: int = 1) -> dict[str, Any]:
        """The JSON object that `--json` prints, with the `top` most probable classes of each."""
        rows = [answer_row(answer, self.classes) for answer in self.answers]
        tops = [answer.top(top) for answer in self.answers]
        answers = [{**row, "top": best} for row, best in zip(rows, tops, strict=True)]
        for entry, answer in zip(answers, self.answers, strict=True):
            if answer.prediction_set:
                entry["set"] = list(answer.prediction_set)
        return {"statuses": dict(self.statuses), "answers": answers, **self.page_as_json()}

    def page_as_json(self) -> dict[str, str]:
        """Where the page of explanations is, if there is one."""
        return {"explained": escape(str(self.explained))} if self.explained else {}


def predict(
    model: str | PathLike[str] | Predictor,
    images: Inputs,
    *,
    out: str | PathLike[str] | None = None,
    keep: bool = True,
    sets: float | None = None,
    set: Mapping[str, Any] | None = None,
    resume: bool = False,
    shard: str | None = None,
    engine: str | None = None,
    provider: str | None = None,
    explain: str | PathLike[str] | None = None,
    quiet: bool = False,
) -> Predicted:
    """Answer images, one row an image, in their order.

    Args:
        model: a model file, a run folder, or a loaded predictor.
        images: one image or several, in any form that `Predictor.predict` takes. A path may also be
            that of a folder, an archive, a table of paths or another file of images, for all
            images in it. Text may be a pattern with * ? or [ ], a web address of an image, or an
            address in a store (s3://, gs://, az://). What `train` takes will do too: a data frame,
            a catalog, a list of (image, label). Labels are not needed, and not used. A generator of
            a million paths is fine.
        out: a .csv, .jsonl or .parquet to write. Answers are written as they come, to a file whose
            name ends in .part until it is whole. A name that ends in /, or a folder, gets Parquet
            in parts with a manifest.
        keep: hold the answers in memory too. With False they are in the table alone, so that a
            million images need no more memory than a few.
        sets: how often each answer's `prediction_set` should hold the truth, in (0, 1). None gives
            no sets.
        set: what a recipe says of the columns of a table, as for `train`: the key data.columns.
        resume: go on behind the last whole row of work that was stopped. The table has then the
            bytes of one that was never stopped. Without such rows it begins at the first image.
        shard: which share of the images to answer, as "3/8": every eighth image from the third on.
            The table then has a first column "row", the number of the image from 0.
        engine: "ray" spreads the images over the machines of a Ray cluster. None means this
            process.
        provider: what runs the network, as "cpu" or "cuda"; None means "cpu", or what a loaded
            predictor has.
        explain: a folder for explanations of the first 100 images: a picture of each with the heat
            maps of the answer and of the runner-up, and index.html. Where the model is a run
            folder, the nearest training images are there too.
        quiet: show no progress.

    Returns:
        The answers. A file that is no usable image gets one whose status says why.

    Raises:
        UserError: no model, no images, no sets of that level, a table or an archive that cannot be
            used, a table of a kind that cannot be written, or one that was begun with another
            model, other images or other options. Or `explain` names a folder of other files, or
            goes with resume or an engine.
        Interrupted: the user stopped it. The message says where the answers so far are.
        Refused: the disk is full.

    >>> predicted = tellapart.predict(run.model, str(photos / "sky"), quiet=True)
    >>> len(predicted.answers), predicted.statuses
    (12, {'ok': 12})
    """
    if out:
        check_out(out)
    console = Console(quiet=quiet)
    share = Shard.parse(shard) if shard else None
    # The table may lie among the images, and is none of them.
    stream = stream_images(images, _reading(set or {}), own_files(out) if out else all_stay)
    _check_wishes(out, keep=keep, resume=resume, engine=engine)
    if explain and (resume or engine):
        raise UserError(
            "Explanations are of images that are answered here and now, so that they cannot go"
            " with --resume or --engine.",
            "Explain a few images in a prediction of their own.",
        )
    predictor = _loaded(model, provider)
    if sets is not None:
        predictor.check_sets(sets)
    if share:
        stream = stream.of_shard(share)
    explanations = None
    if explain:
        # Only here: most predictions explain nothing.
        from tellapart.pipeline.explanations import explanation_folder

        explanations = explanation_folder(explain, model, predictor)
    table = None
    if out:
        origin = _origin(predictor, sets=sets, shard=shard, set=set)
        table = open_table(out, _columns(predictor, sets, share), origin, resume=resume)
    work = _Work(predictor, stream, sets, engine, table, explanations)
    answers, statuses = work.done(console, keep=keep)
    page = None
    if explanations:
        with console.step("Checking the heat maps"):
            page = explanations.finish(more=sum(statuses.values()) > EXPLAINED)
    written = table.path if table else None
    return Predicted(tuple(answers), predictor.classes, written, statuses, page)


def _check_wishes(
    out: str | PathLike[str] | None, *, keep: bool, resume: bool, engine: str | None
) -> None:
    """Refuse what cannot go together.

    Raises:
        UserError: the answers would be lost, there is nothing to go on with, or no such engine.
    """
    check_engine(engine)
    if not (keep or out):
        raise UserError("The answers would be lost.", "Name a table with out, or keep them.")
    if resume and not out:
        raise UserError("Without a table there is nothing to go on with.", "Name one with out.")
    if resume and keep:
        raise UserError(
            "Answers that are in a table already cannot be kept in memory.", "Set keep=False."
        )


def _loaded(model: str | PathLike[str] | Predictor, provider: str | None) -> Predictor:
    if not isinstance(model, Predictor):
        return load(model, provider=provider or "cpu")
    if provider and provider.lower() != model.provider:
        raise UserError(
            f"The predictor was loaded for {model.provider}, not for {provider}.",
            "Give the model file, or load it with that provider.",
        )
    return model


# ── the table ──


def _origin(predictor: Predictor, **options: Any) -> dict[str, Any]:
    """What the rows are made by: whoever goes on with them must have the same."""
    options["set"] = {key: str(value) for key, value in (options["set"] or {}).items()}
    return {
        "model": hashlib.sha256(predictor.graph).hexdigest(),
        "tellapart": version("tellapart"),
        "provider": predictor.provider,
        **options,
    }


def _columns(predictor: Predictor, sets: float | None, shard: Shard | None) -> Columns:
    columns = answer_columns(predictor.classes, sets=sets is not None)
    return {"row": int, **columns} if shard else columns


# ── the work ──


@dataclass(frozen=True)
class _Work:
    """What is to be done: a model, images, and where their answers go."""

    predictor: Predictor
    stream: ImageStream
    sets: float | None
    engine: str | None
    table: Table | None
    explanations: ExplanationFolder | None = None

    def done(self, console: Console, *, keep: bool) -> tuple[list[Answer], dict[str, int]]:
        """The answers that are kept, and how many there are of each status.

        Raises:
            Interrupted: the user stopped it.
        """
        answers: list[Answer] = []
        statuses: Counter[str] = Counter()
        with self.table or nullcontext():
            statuses.update(self._kept_before())
            begun = statuses.total()
            with console.track("Predicting", self.stream.total, done=begun) as task:
                try:
                    with self._counted(task, console), closing(self._answers()) as found:
                        for place, answer in enumerate(found, begun):
                            if self.table:
                                self.table.add(self._row(place, answer))
                            if keep:
                                answers.append(answer)
                            statuses[answer.status] += 1
                            task()
                except KeyboardInterrupt:
                    raise _interrupted(self.table, task.total) from None
        return answers, dict(sorted(statuses.items()))

    def _answers(self) -> Generator[Answer, None, None]:
        if self.engine:
            from tellapart.modelfile.on_ray import answer_on_ray

            return answer_on_ray(self.predictor, self.stream.images, sets=self.sets)
        return self._explained_first()

    def _explained_first(self) -> Generator[Answer, None, None]:
        if self.explanations:
            few = islice(self.stream.images, EXPLAINED)
            yield from self.explanations.answers(few, sets=self.sets)
        yield from self.predictor.predict_each(self.stream.images, sets=self.sets)

    def _row(self, place: int, answer: Answer) -> Row:
        row = answer_row(answer, self.predictor.classes, sets=self.sets is not None)
        shard = self.stream.shard
        return {"row": shard.row(place), **row} if shard else row

    def _kept_before(self) -> Iterator[str]:
        """The statuses of the rows that are in the table already; their images are passed over.

        Raises:
            UserError: the images are not those of these rows.
        """
        if self.table is None:
            return
        for row in self.table.kept():
            image = next(self.stream.images, None)
            name = None if image is None else image_name(image)
            if name != row["path"]:
                raise _other_images(self.table, str(row["path"]), name)
            yield str(row["status"])
        if self.table.is_whole and (image := next(self.stream.images, None)) is not None:
            raise _other_images(self.table, None, image_name(image))

    @contextmanager
    def _counted(self, task: Task, console: Console) -> Iterator[None]:
        """Count the images beside the work, where somebody waits for it."""
        stop = Event()

        def count() -> None:
            if (total := self.stream.count(stop)) is not None:
                task.total = total

        if self.stream.total is None and not console.quiet:
            Thread(target=count, daemon=True).start()
        try:
            yield
        finally:
            stop.set()


def _other_images(table: Table, before: str | None, name: str | None) -> UserError:
    answered = "nothing" if before is None else repr(before)
    given = "nothing" if name is None else repr(name)
    return UserError(
        f"Row {table.rows:,} of {table.part} answers {answered}, and the images have {given} there.",
        f"Give the same images in the same order. {BEGIN_ANEW}",
    )


def _interrupted(table: Table | None, total: int | None) -> Interrupted:
    if table is None or not table.saved:
        return Interrupted(
            "Interrupted; no answer is kept.",
            "With a table to write (--out answers.csv), the answers so far are kept.",
        )
    of = "" if total is None else f" of {total:,}"
    return Interrupted(
        f"Interrupted; the answers to the first {table.saved:,}{of} images are in {table.part}.",
        "The same command with --resume goes on from there.",
    )


# The reading of tables takes a third of a second to import, and most predictions are of files.


def _reading(changes: Mapping[str, Any]) -> Reading:
    if not changes:
        return AS_IT_LIES
    from tellapart.pipeline.data import reading_by

    return reading_by(changes)
