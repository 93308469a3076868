"""report.json: the facts of the page for other programs, in one schema."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tellapart.evaluation.abstention import selective
from tellapart.evaluation.curves import class_curves
from tellapart.evaluation.metrics import confusion as confusion_table
from tellapart.evaluation.predictions import Predictions
from tellapart.evaluation.sweep import sweep
from tellapart.report.parts import data_section
from tellapart.report.run import class_curves as curves_section
from tellapart.report.run import confusion, verdict
from tellapart.report.run.input import ReportInput
from tellapart.report.run.trust import reliability_bins

SCHEMA = "tellapart.report/1"
MOST_ERRORS = 1000  # named by their paths, the most confident first


def report_facts(report: ReportInput) -> dict[str, Any]:
    """The facts of a report as plain values: a number that does not exist is null.

    Every report has all keys. What was not measured is null or empty.
    """
    return {
        "schema": SCHEMA,
        "title": report.title,
        "created": report.created,
        "verdict": verdict.sentence(report),
        "warnings": verdict.caveats(report),
        "questions": [
            {"question": question.text, "answer": question.answer, "section": question.anchor}
            for question in verdict.five_questions(report)
        ],
        "measured_on": _measured_on(report),
        "scores": report.metrics and report.metrics.as_json(),
        **_answers(report),
        "folds": report.folds and report.folds.scores.as_json(),
        "left_out_classes": report.left_out and report.left_out.as_json(),
        "learning_curve": report.learning and report.learning.as_json(),
        "slices": report.slices and report.slices.as_json(),
        "robustness": report.stress and report.stress.as_json(),
        "audit": report.audit and report.audit.as_json(),
        "training": {
            "history": [dict(row) for row in report.history],
            "comparison": report.comparison and report.comparison.as_json(),
        },
        "data": _data(report),
        "model": {"file": report.model_file, "licence": report.licence, **report.model},
        "run": {name: dict(pairs) for name, pairs in report.provenance.items()},
        "no_pictures": report.no_pictures or None,
    }


def _measured_on(report: ReportInput) -> str | None:
    """Which images the answers of the page are about."""
    shown = report.shown
    if shown is None:
        return None
    if shown is report.predictions:
        return "test"
    return "val" if shown is report.val_predictions else "out of fold"


def _answers(report: ReportInput) -> dict[str, Any]:
    """What the page says of the answers; null or empty without any."""
    shown, threshold = report.shown, report.threshold
    calibration = {
        "temperature": report.temperature,
        "check": report.check and report.check.as_json(),
        "reliability": [] if shown is None else reliability_bins(shown),
    }
    rule = {
        "threshold": threshold and threshold.as_json(),
        "rule": report.rule.as_json(),
        "familiar_share": report.familiar_shares and report.familiar_shares[1],
    }
    if shown is None:
        return {
            "calibration": calibration,
            "answering": rule,
            "thresholds": None,
            "curves": [],
            "coverage": None,
            "confusion": None,
            "errors": {"count": 0, "worst": []},
            "nearest": {},
        }
    return {
        "calibration": calibration,
        "answering": {**rule, **selective(shown, report.rule).as_json()},
        "thresholds": sweep(shown, report.rule.threshold).as_json(),
        "curves": [curve.as_json() for curve in class_curves(shown, curves_section.MOST_CLASSES)],
        "coverage": _coverage(shown),
        "confusion": _confusion(shown),
        "errors": _errors(shown),
        "nearest": _nearest(report),
    }


def _coverage(shown: Predictions) -> dict[str, list[float]]:
    """The accuracy of the most confident 1 %, 2 %, … of the answers."""
    right = shown.correct[np.argsort(-shown.confidence, kind="stable")].cumsum()
    counts = np.unique(np.ceil(np.arange(1, 101) / 100 * len(shown)).astype(int))
    return {
        "share": (counts / len(shown)).round(6).tolist(),
        "accuracy": (right[counts - 1] / counts).round(6).tolist(),
    }


def _confusion(shown: Predictions) -> dict[str, Any]:
    """Counts by true class and answer; of many classes only those that occur."""
    table = confusion_table(shown)
    rows, columns = np.nonzero(table)
    names = shown.classes
    return {
        "classes": list(names),
        "counts": [
            {"label": names[row], "answer": names[column], "images": int(table[row, column])}
            for row, column in zip(rows.tolist(), columns.tolist(), strict=True)
        ],
    }


def _errors(shown: Predictions) -> dict[str, Any]:
    wrong = confusion.confident_errors(shown)
    confidence, answers = shown.confidence, shown.predicted
    return {
        "count": len(wrong),
        "worst": [
            {
                "path": shown.paths[row],
                "label": shown.classes[shown.labels[row]],
                "answer": shown.classes[answers[row]],
                "confidence": round(float(confidence[row]), 6),
            }
            for row in wrong[:MOST_ERRORS].tolist()
        ],
    }


def _nearest(report: ReportInput) -> dict[str, list[dict[str, Any]]]:
    """The training images that the page shows beside its errors and its least confident answers."""
    return {
        path: [
            {"path": near.path, "label": near.label, "similarity": round(near.similarity, 6)}
            for near in entry.nearest
        ]
        for path, entry in report.evidence.items()
        if entry.nearest
    }


def _data(report: ReportInput) -> dict[str, Any]:
    catalog = report.catalog
    rows = data_section.balance_rows(catalog)
    return {
        "source": catalog.source or None,
        "files": len(catalog),
        "statuses": catalog.status_counts,
        "skipped": dict(catalog.ignored),
        "splits": data_section.split_counts(catalog),
        "classes": [
            {
                "name": row.name,
                **dict(zip(("train", "val", "test"), row.counts, strict=True)),
                "unused": row.unused,
            }
            for row in rows
        ],
        "findings": [
            {
                "kind": finding.kind,
                "text": finding.text,
                "sets": len(finding.sets),
                "examples": [list(paths) for paths in finding.sets[:10]],
            }
            for finding in report.findings
        ],
    }


def finite(value: Any) -> Any:
    """Plain values in which each number that is not finite is None.

    >>> finite({"a": [1.0, float("nan")]})
    {'a': [1.0, None]}
    """
    if isinstance(value, dict):
        return {key: finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [finite(entry) for entry in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
