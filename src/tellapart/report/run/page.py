"""A run as one self-contained HTML file.

    ReportInput ─▶ words, tables, figures, thumbnails ─▶ template ─▶ one string

The file loads nothing: styles, script and images are inside, and its policy forbids the rest.
Whatever comes from the user's files (names of classes, names of files) is text in it, never markup.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tellapart.catalog.findings import Finding
from tellapart.catalog.table import Catalog
from tellapart.evaluation.calibration_check import CalibrationCheck, check_calibration
from tellapart.evaluation.comparison import Comparison
from tellapart.evaluation.left_out import LeftOut
from tellapart.evaluation.metrics import Metrics, Score
from tellapart.evaluation.predictions import Predictions
from tellapart.evaluation.rule import AnswerRule
from tellapart.evaluation.threshold import Threshold
from tellapart.report.parts import data_section, wording
from tellapart.report.parts.document import render_document
from tellapart.report.parts.gallery import Album
from tellapart.report.run import confusion, epochs, folds, trust, usage
from tellapart.report.run.folds import FoldedRun

__all__ = ["ReportInput", "render"]


@dataclass(frozen=True)
class ReportInput:
    """Everything a report says.

    Args:
        title: the title of the page, for example the name of the data.
        created: the time of the run, as `wording.timestamp` words it.
        catalog: the data, scanned and divided into splits.
        findings: what is worth knowing about the data, the worst of each kind first.
        predictions: the predictions on the test split, or None.
        val_predictions: the predictions on the val split, or None. None means not calibrated.
        metrics: the scores on the test split, or None.
        threshold: from which confidence on the model answers, and what it promises; or None.
        rule: what the model answers, and when it does not.
        temperature: the temperature of the calibration.
        model: facts about the model, name → value.
        provenance: what exactly was run: heading → name → value. Leave out paths of this machine.
        model_file: the name of the written model, without folders. None if none was written.
        history: the rows of history.csv of a gradient training: "epoch", "lr", "loss", "val_loss",
            "val_accuracy", ….
        rates: the epochs done and the learning rate of a gradient training. If empty, the report
            draws the rates of the history.
        comparison: the probe against the fine-tuned network on the test split, or None.
        folds: the cross-validation, or None.
        out_of_fold: predictions for train images by models that were not fitted on them: of the
            first repeat of a cross-validation, or of the folds of a probe. They calibrated the
            model, and stand in for a missing test split. None means that there are none.
        left_out: how well a class that was never shown would be noticed, or None.
        familiar_shares: the chance that was asked for that a new image of the same kinds counts as
            familiar, and the chance that the images can promise. None if it was not measured.
    """

    title: str
    created: str
    catalog: Catalog
    findings: tuple[Finding, ...] = ()
    predictions: Predictions | None = None
    val_predictions: Predictions | None = None
    metrics: Metrics | None = None
    threshold: Threshold | None = None
    rule: AnswerRule = field(default_factory=AnswerRule)
    temperature: float = 1.0
    model: Mapping[str, str | int | float] = field(default_factory=dict)
    provenance: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    model_file: str | None = "model.onnx"
    history: tuple[Mapping[str, float], ...] = ()
    rates: tuple[tuple[float, float], ...] = ()
    comparison: Comparison | None = None
    folds: FoldedRun | None = None
    out_of_fold: Predictions | None = None
    left_out: LeftOut | None = None
    familiar_shares: tuple[float, float] | None = None

    @property
    def calibrated_with(self) -> Predictions | None:
        """The predictions that the calibration was fitted on. None means not calibrated."""
        return self.val_predictions if self.out_of_fold is None else self.out_of_fold

    @property
    def measured(self) -> Metrics | None:
        """The metrics, unless there are no test images."""
        return self.metrics if self.metrics and self.metrics.accuracy.count else None

    def __post_init__(self) -> None:
        if (self.metrics is None) != (self.predictions is None):
            raise ValueError("predictions and metrics of the test split come together, or neither")
        if self.folds is not None and self.out_of_fold is None:
            raise ValueError("folds need their out-of-fold predictions")


@dataclass(frozen=True)
class ScoreLine:
    """One line of the score section. `baseline` is the score of a constant answer, or None."""

    name: str
    meaning: str
    score: Score
    baseline: float | None


def render(report: ReportInput) -> str:
    """The report as one HTML document. An image that can no longer be read is only named.

    Raises:
        UserError: if jinja2 is not installed.
    """
    album = Album(report.catalog.files.read, rules=report.catalog.rules)
    # Images get their thumbnails in the order of these lines until the album is full: errors first.
    shown = _answers_section(report, album)
    about_folds = folds.section(report.folds, report.out_of_fold, album)
    about_data = _data_section(report, album)
    content = (
        confusion.cells_as_json(shown["shown"], shown["cells"], album)
        if shown
        else '{"cells":{},"thumbnails":{}}'
    )
    sections = [
        ("verdict", "Verdict", True),
        ("score", "The score", True),
        ("folds", "The folds", report.folds is not None),
        ("classes", "Class by class", report.measured is not None),
        ("confusion", "Confusion", bool(shown)),
        ("errors", "Images worth a look", bool(shown)),
        ("trust", "How far to trust it", bool(shown)),
        ("training", "The training", bool(report.history or report.comparison)),
        ("data", "The data", True),
        ("use", "How to use it", True),
        ("run", "What was run", True),
    ]
    return render_document(
        "run/page.html.jinja",
        content=content,
        contents=[(anchor, name) for anchor, name, there in sections if there],
        title=report.title,
        created=report.created,
        model=report.model,
        model_file=report.model_file,
        snippets=_snippets(report),
        provenance=report.provenance,
        **epochs.section(report.history, report.rates, report.comparison),
        **about_folds,
        **about_data,
        **_score_section(report),
        **({"shown": None} | shown),
    )


def _snippets(report: ReportInput) -> list[tuple[str, str]]:
    if not report.model_file:
        return []
    return usage.snippets(report.model_file, weighted=bool(report.rule.weights))


def _score_section(report: ReportInput) -> dict[str, Any]:
    metrics, catalog = report.measured, report.catalog
    train = catalog.counts(catalog.ok & (catalog.splits == "train"))
    largest = train if train.any() else catalog.counts()
    majority = catalog.classes[int(largest.argmax())] if largest.any() else ""
    counts = data_section.finding_counts(report.findings)
    calibrated = report.calibrated_with is not None
    unseen = None if metrics else folds.verdict(report.folds)
    check = check_calibration(report.predictions) if report.predictions is not None else None
    caveats = wording.caveats(catalog, metrics, majority, calibrated, counts, check)
    return {
        "metrics": metrics,
        "grouped": metrics is not None and metrics.accuracy.clusters < metrics.accuracy.count,
        "verdict": (
            unseen
            or wording.verdict(
                metrics, majority, report.val_predictions, "leak" in counts, report.out_of_fold
            )
        ),
        "majority": majority,
        "check_line": wording.calibration_check_line(check) if check else "",
        "caveats": caveats,
        "all_clear": _all_clear(report) if metrics and not caveats else "",
        "scores": _score_lines(metrics) if metrics else (),
        "losses": _losses(metrics, check) if metrics else (),
        "class_rows": metrics.per_class if metrics else (),
    }


def _all_clear(report: ReportInput) -> str:
    if report.metrics is None or report.calibrated_with is None:
        return ""
    kind = "validation" if report.out_of_fold is None else "out-of-fold"
    calibrated_on = wording.images_in_groups(report.calibrated_with, f"{kind} image")
    return wording.all_clear_line(report.metrics, calibrated_on)


def _score_lines(metrics: Metrics) -> list[ScoreLine]:
    tested = sum(scores.count > 0 for scores in metrics.per_class)
    baseline = metrics.majority_baseline
    accuracy = _score_line("accuracy", metrics.accuracy, baseline.value if baseline else None)
    balanced = _score_line(
        "balanced_accuracy", metrics.balanced_accuracy, 1 / tested if tested else None
    )
    lines = [balanced, accuracy] if metrics.balanced_first else [accuracy, balanced]
    lines.append(_score_line("macro_f1", metrics.macro_f1))
    if metrics.top5_accuracy is not None:
        lines.append(_score_line("top5_accuracy", metrics.top5_accuracy))
    return lines


def _score_line(name: str, score: Score, baseline: float | None = None) -> ScoreLine:
    return ScoreLine(wording.metric_title(name), wording.METRICS[name][1], score, baseline)


def _losses(metrics: Metrics, check: CalibrationCheck | None) -> list[tuple[str, str, float, str]]:
    """Title, meaning, value, and what to hold the value against.

    The interval of a calibration error is too narrow where images are few or in groups. What
    chance alone makes says more.
    """
    rows = []
    for name in ("log_loss", "brier", "ece"):
        score: Score = getattr(metrics, name)
        beside = f"{wording.decimal(score.low)} to {wording.decimal(score.high)}"
        if name == "ece" and check is not None:
            beside = f"by chance up to {wording.decimal(check.ece_by_chance)}"
        rows.append((wording.metric_title(name), wording.METRICS[name][1], score.value, beside))
    return rows


def _data_section(report: ReportInput, album: Album) -> dict[str, Any]:
    catalog = report.catalog
    balance = data_section.balance_rows(catalog)
    split_counts = data_section.split_counts(catalog)
    return {
        "catalog": catalog,
        "unlabelled": int(np.count_nonzero(catalog.ok & (catalog.labels < 0))),
        "sizes": data_section.size_line(catalog),
        "split_counts": split_counts,
        "tiles_of_data": data_section.tiles(catalog, split_counts),
        "status_rows": data_section.status_rows(catalog),
        "note_rows": data_section.note_rows(catalog),
        "balance_rows": balance,
        "balance_line": data_section.balance_line(balance),
        "samples": data_section.samples(catalog, album),
        "finding_groups": data_section.finding_groups(
            report.findings, album, data_section.captions(catalog)
        ),
    }


def _answers_section(report: ReportInput, album: Album) -> dict[str, Any]:
    """The predictions on test. Without a test split, those of the calibration stand in, and the
    page says so. Empty without either.
    """
    candidates = [report.predictions, report.calibrated_with]
    shown = next((held for held in candidates if held is not None and len(held)), None)
    if shown is None:
        return {}
    on_val = shown is report.val_predictions
    on_test = shown is report.predictions
    source = "of the validation split" if on_val else "predicted out of fold"
    if on_test:
        source = "of the test split"
    wrong = confusion.confident_errors(shown)
    errors = wrong[: confusion.MOST_IN_GALLERY]
    unsure = confusion.least_confident(shown, errors)[: confusion.MOST_IN_GALLERY // 2]
    picked = confusion.picks(shown)
    matrix = confusion.matrix(shown) if len(shown.classes) <= confusion.MOST_CLASSES else []
    pairs = [] if matrix else confusion.pairs(shown)
    warning = (
        " The model was chosen on these images, so new ones will look worse." if on_val else ""
    )
    return {
        "shown": shown,
        "shown_line": f"{wording.images_in_groups(shown)} {source}, {len(wrong):,} wrong.{warning}",
        "cells": [cell for row in matrix for cell in row.cells] or pairs,
        "matrix_rows": matrix,
        "pair_rows": pairs,
        "error_count": len(wrong),
        "errors": [album.hang(shown.paths[row], *confusion.lines(shown, row)) for row in errors],
        "unsure": [album.hang(shown.paths[row], *confusion.lines(shown, row)) for row in unsure],
        "picked": [album.hang(shown.paths[row], *confusion.marked(shown, row)) for row in picked],
        **trust.section(shown, report.threshold, report.rule),
        "familiar_line": report.familiar_shares and wording.familiar_line(*report.familiar_shares),
        "left_out_line": report.left_out and wording.left_out_line(report.left_out),
        "calibration_line": _calibration_line(report),
    }


def _calibration_line(report: ReportInput) -> str:
    if report.folds is not None and report.out_of_fold is not None:
        return folds.calibration_line(report.folds, report.out_of_fold, report.temperature)
    return wording.calibration_line(report.val_predictions, report.out_of_fold, report.temperature)
