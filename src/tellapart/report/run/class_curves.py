"""Precision-recall and ROC curves of each class, with a threshold that is moved by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tellapart.evaluation.curves import STEPS, ClassCurve, class_curves
from tellapart.evaluation.predictions import Predictions
from tellapart.report.parts.axes import BOTTOM, LEFT, RIGHT, TOP, LinearAxis
from tellapart.report.parts.curves import polyline
from tellapart.report.parts.figures import Diagram, Dot
from tellapart.report.parts.wording import visible

MOST_CLASSES = 30  # of which a page holds the curves: those that are told apart worst
START = 49  # the place of a probability of 50 % among the steps
_ACROSS, _UP = LinearAxis(0, 1, LEFT, RIGHT, 100), LinearAxis(0, 1, BOTTOM, TOP, 100)


@dataclass(frozen=True)
class CurveRow:
    """One line of the table of areas."""

    name: str
    images: int
    average_precision: float
    auroc: float


def section(shown: Predictions) -> dict[str, Any]:
    """What the template draws: the curves of the class that is told apart worst, and a table.

    Args:
        shown: the predictions that are reported.
    """
    curves = class_curves(shown, MOST_CLASSES)
    if not curves:
        return {"curves": []}
    first = curves[0]
    return {
        "curves": curves,
        "curve_names": [curve.name for curve in curves],
        "curve_rows": [
            CurveRow(curve.name, curve.positives, curve.average_precision, curve.auroc)
            for curve in curves
        ],
        "curves_left": len(shown.classes) - len(curves),
        "curve_line": line(first, START),
        "precision_recall": Diagram(_ACROSS, _UP, (_dot(*_pr(first, START)),), _pr_line(first)),
        "roc": Diagram(_ACROSS, _UP, (_dot(*_roc(first, START)),), _roc_line(first)),
    }


def content(curves: Sequence[ClassCurve]) -> list[dict[str, Any]]:
    """What the script needs to show another class or another probability."""
    return [
        {
            "name": visible(curve.name),
            "positives": curve.positives,
            "negatives": curve.negatives,
            "pr": _pr_line(curve),
            "roc": _roc_line(curve),
            "found": curve.found.tolist(),
            "others": curve.others.tolist(),
        }
        for curve in curves
    ]


def line(curve: ClassCurve, place: int) -> str:
    """What a probability of a class finds, in words."""
    found, others = int(curve.found[place]), int(curve.others[place])
    return (
        f"From {100 * STEPS[place]:.0f} % on, {found:,} of {curve.positives:,} images of"
        f" ‘{visible(curve.name)}’ are found, and {others:,} of {curve.negatives:,} other images are"
        f" taken for ‘{visible(curve.name)}’."
    )


def _dot(x: float, y: float) -> Dot:
    return Dot(_ACROSS.at(x), _UP.at(y), 5.0, "the probability that is chosen")


def _pr(curve: ClassCurve, place: int) -> tuple[float, float]:
    found, others = int(curve.found[place]), int(curve.others[place])
    return found / curve.positives, found / (found + others) if found + others else 1.0


def _roc(curve: ClassCurve, place: int) -> tuple[float, float]:
    return int(curve.others[place]) / curve.negatives, int(curve.found[place]) / curve.positives


def _pr_line(curve: ClassCurve) -> str:
    points = list(zip(curve.recall.tolist(), curve.precision.tolist(), strict=True))
    return polyline(_ACROSS, _UP, [(0.0, points[0][1]), *points])


def _roc_line(curve: ClassCurve) -> str:
    points = list(zip(curve.false_alarms.tolist(), curve.recall.tolist(), strict=True))
    return polyline(_ACROSS, _UP, [(0.0, 0.0), *points])
