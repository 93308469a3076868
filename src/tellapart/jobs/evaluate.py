"""`evaluate`: a model file and labelled images in, the same numbers as a training reports out.
Needs no torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from typing import Any, Literal

import numpy as np

from tellapart.catalog.scan import scan
from tellapart.catalog.sources import Source, name_of, read_source
from tellapart.catalog.table import Catalog
from tellapart.errors import UserError, choose
from tellapart.evaluation.abstention import Selective, selective
from tellapart.evaluation.metrics import Metrics, measure
from tellapart.evaluation.predictions import Predictions
from tellapart.modelfile.predictor import Predictor, load
from tellapart.modelfile.scan_predictions import Answers
from tellapart.pipeline.request import as_source
from tellapart.progress import Console


@dataclass(frozen=True)
class Evaluation:
    """What a model file is worth on labelled images.

    Args:
        metrics: with their intervals.
        answering: what abstaining costs and buys.
        predictions: all that they are computed from.
        statuses: status → number of files.
        warnings: what the user should know, a sentence each.
        split: which images were measured: those of the test split, or all, where there is none.
        seed: of the bootstrap intervals.
    """

    metrics: Metrics
    answering: Selective
    predictions: Predictions
    statuses: Mapping[str, int]
    warnings: tuple[str, ...]
    split: Literal["test", "all"]
    seed: int

    def as_json(self) -> dict[str, Any]:
        """The JSON object that `--json` prints."""
        return {
            "test": self.metrics.as_json(),
            "answering": self.answering.as_json(),
            "classes": list(self.predictions.classes),
            "statuses": dict(self.statuses),
            "warnings": list(self.warnings),
            "split": self.split,
            "seed": self.seed,
        }


def evaluate(
    model: str | PathLike[str] | Predictor,
    data: Source,
    *,
    seed: int = 0,
    quiet: bool = False,
) -> Evaluation:
    """Measure a model file on a source of labelled images.

    Args:
        model: a model file, a run folder, or a loaded predictor.
        data: labelled images, in any form that `train` takes. Where it has a test split, that is
            measured, else all of it.
        seed: the seed of the bootstrap intervals.
        quiet: print nothing.

    Returns:
        The metrics with their intervals, and the predictions they are computed from.

    Raises:
        UserError: no such file or source, or a class that the model does not know.

    >>> evaluation = tellapart.evaluate(run.model, photos, quiet=True)
    >>> evaluation.split, len(evaluation.predictions)
    ('all', 36)
    """
    console = Console(quiet=quiet)
    predictor = model if isinstance(model, Predictor) else load(model)
    catalog = read_source(as_source(data))
    has_test = bool((catalog.given_splits == "test").any())
    measured = catalog.rows(catalog.given_splits == "test") if has_test else catalog
    console.say(
        f"{name_of(data)}: {catalog.source}; measuring on {'its test split' if has_test else 'all'},"
        f" {len(measured):,} files"
    )
    measured = _with_classes_of(predictor, measured)

    answers = Answers(predictor)
    with console.track("Predicting", len(measured)) as advance:
        measured = scan(
            measured, max_pixels=predictor.card.max_pixels, hook=answers, advance=advance
        )
    predictions = answers.predictions(measured)

    warnings = _warnings(predictor, catalog, measured, has_test)
    for warning in warnings:
        console.say(f"note: {warning}")
    train_counts = predictor.card.train_counts
    return Evaluation(
        metrics=measure(predictions, seed=seed, class_counts=np.array(train_counts)),
        answering=selective(predictions, predictor.card.rule),
        predictions=predictions,
        statuses=measured.status_counts,
        warnings=warnings,
        split="test" if has_test else "all",
        seed=seed,
    )


def _with_classes_of(predictor: Predictor, catalog: Catalog) -> Catalog:
    """The catalog with the model's class map; the data's classes must be among the model's."""
    used = [catalog.classes[label] for label in np.unique(catalog.labels)]
    for name in used:
        choose("class, not one of the model's:", name, predictor.classes)
    place = {name: position for position, name in enumerate(predictor.classes)}
    mapped = np.array([place.get(name, -1) for name in catalog.classes], np.int64)
    return catalog.replace(classes=predictor.classes, labels=mapped[catalog.labels])


def _warnings(
    predictor: Predictor, catalog: Catalog, measured: Catalog, has_test: bool
) -> tuple[str, ...]:
    if not measured.ok.any():
        raise UserError(
            f"None of the {len(measured)} files can be used.",
            "Run tellapart predict on them to see why.",
        )
    warnings = list(catalog.remarks)
    if not has_test and measured.digest == predictor.card.digests.get("catalog"):
        warnings.append(
            "This is the data that the model was trained on, train images and all: the score is too"
            " good. The run's own report has the score of its test images."
        )
    missing = [
        name for name, count in zip(measured.classes, measured.counts(), strict=True) if not count
    ]
    if missing:
        shown = ", ".join(map(repr, missing[:5])) + (" …" if len(missing) > 5 else "")
        warnings.append(f"{len(missing)} of the model's classes have no image here: {shown}.")
    return tuple(warnings)
