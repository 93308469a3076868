"""A run as one self-contained HTML file.

    ReportInput ─▶ words, tables, figures, thumbnails ─▶ template ─▶ one string

The file loads nothing: styles, script and images are inside, and its policy forbids the rest.
Whatever comes from the user's files (names of classes, names of files) is text in it, never markup.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tellapart.evaluation.calibration_check import CalibrationCheck
from tellapart.evaluation.metrics import Metrics, Score
from tellapart.report.parts import data_section, wording
from tellapart.report.parts.document import render_document
from tellapart.report.parts.gallery import Album
from tellapart.report.run import (
    audit,
    class_curves,
    confusion,
    epochs,
    evidence,
    folds,
    growth,
    robustness,
    slices,
    thresholds,
    trust,
    usage,
    verdict,
)
from tellapart.report.run.input import ReportInput

__all__ = ["ReportInput", "render"]


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
    about_labels = audit.section(report.audit, album)
    return render_document(
        "run/page.html.jinja",
        content=_content(shown, album),
        contents=_contents(report, bool(shown), bool(shown.get("curves"))),
        title=report.title,
        created=report.created,
        model=report.model,
        model_file=report.model_file,
        no_pictures=report.no_pictures,
        snippets=_snippets(report),
        provenance=report.provenance,
        **epochs.section(report.history, report.rates, report.comparison),
        **about_folds,
        **about_labels,
        **about_data,
        **_score_section(report),
        **growth.section(report.learning),
        **slices.section(report.slices),
        **robustness.section(report.stress),
        **({"shown": None} | shown),
    )


def _contents(report: ReportInput, has_answers: bool, has_curves: bool) -> list[tuple[str, str]]:
    """The sections that the page has: their ids and names."""
    sections = [
        ("verdict", "Verdict", True),
        ("score", "The score", True),
        ("folds", "The folds", report.folds is not None),
        ("classes", "Class by class", report.measured is not None),
        ("confusion", "Confusion", has_answers),
        ("errors", "Images worth a look", has_answers),
        ("labels", "Labels", True),
        ("trust", "How far to trust it", has_answers),
        ("curves", "Class by threshold", has_curves),
        ("slices", "Slices", report.slices is not None),
        ("robustness", "Robustness", True),
        ("growth", "More images", report.learning is not None),
        ("training", "The training", bool(report.history or report.comparison)),
        ("data", "The data", True),
        ("use", "How to use it", True),
        ("run", "What was run", True),
    ]
    return [(anchor, name) for anchor, name, there in sections if there]


def _content(shown: Mapping[str, Any], album: Album) -> str:
    """What the script shows on demand, as JSON that is safe inside a script element."""
    if not shown:
        return confusion.as_json({"cells": {}, "thumbnails": {}})
    cells = confusion.dialogs(shown["shown"], shown["cells"], album)
    return confusion.as_json(
        {
            **cells,
            "sweep": thresholds.content(shown["sweep"]),
            "curves": class_curves.content(shown["curves"]),
        }
    )


def _snippets(report: ReportInput) -> list[tuple[str, str]]:
    if not report.model_file:
        return []
    return usage.snippets(report.model_file, weighted=bool(report.rule.weights))


def _score_section(report: ReportInput) -> dict[str, Any]:
    metrics, check, caveats = report.measured, report.check, verdict.caveats(report)
    return {
        "metrics": metrics,
        "grouped": metrics is not None and metrics.accuracy.clusters < metrics.accuracy.count,
        "verdict": verdict.sentence(report),
        "majority": verdict.majority(report),
        "check_line": wording.calibration_check_line(check) if check else "",
        "caveats": caveats,
        "all_clear": verdict.all_clear(report) if metrics and not caveats else "",
        "questions": verdict.five_questions(report),
        "scores": _score_lines(metrics) if metrics else (),
        "losses": _losses(metrics, check) if metrics else (),
        "class_rows": metrics.per_class if metrics else (),
    }


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
    shown = report.shown
    if shown is None:
        return {}
    on_val = shown is report.val_predictions
    on_test = shown is report.predictions
    source = "of the validation split" if on_val else "predicted out of fold"
    if on_test:
        source = "of the test split"
    wrong = confusion.confident_errors(shown)
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
        **evidence.section(shown, report.evidence, album),
        "picked": [album.hang(shown.paths[row], *confusion.marked(shown, row)) for row in picked],
        **trust.section(shown, report.threshold, report.rule),
        **thresholds.section(shown, report.rule.threshold),
        **class_curves.section(shown),
        "familiar_line": report.familiar_shares and wording.familiar_line(*report.familiar_shares),
        "left_out_line": report.left_out and wording.left_out_line(report.left_out),
        "calibration_line": _calibration_line(report),
    }


def _calibration_line(report: ReportInput) -> str:
    if report.folds is not None and report.out_of_fold is not None:
        return folds.calibration_line(report.folds, report.out_of_fold, report.temperature)
    return wording.calibration_line(report.val_predictions, report.out_of_fold, report.temperature)
