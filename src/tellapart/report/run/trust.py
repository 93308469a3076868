"""How far to trust a prediction: reliability of the confidence, and the cost of abstaining."""

from __future__ import annotations

from typing import Any

import numpy as np

from tellapart.evaluation.abstention import selective
from tellapart.evaluation.calibration import reliability
from tellapart.evaluation.calibration_check import chance_bands
from tellapart.evaluation.metrics import Score
from tellapart.evaluation.predictions import Predictions
from tellapart.evaluation.rule import DECISIONS, AnswerRule
from tellapart.evaluation.threshold import Threshold
from tellapart.report.parts import figures, wording


def section(shown: Predictions, threshold: Threshold | None, rule: AnswerRule) -> dict[str, Any]:
    """What the template draws: reliability, accuracy over coverage, and the decisions.

    Args:
        shown: the predictions that are reported.
        threshold: from which confidence on the model answers, and what it promises; or None.
        rule: what the model answers, and when.
    """
    bins = reliability_bins(shown)
    order = np.argsort(-shown.confidence, kind="stable")
    answered = np.arange(1, len(shown) + 1)
    curve = zip(
        (answered / len(shown)).tolist(),
        (shown.correct[order].cumsum() / answered).tolist(),
        strict=True,
    )
    chosen = selective(shown, rule)
    at_threshold = (chosen.coverage.value, chosen.accuracy_answered.value)
    marked = threshold is not None and chosen.accuracy_answered.count > 0
    return {
        "bins": bins,
        "reliability": figures.reliability_diagram(
            ((b["confidence"], b["accuracy"], int(b["count"])) for b in bins),
            ((b["low"], b["high"], b["chance_low"], b["chance_high"]) for b in bins),
        ),
        "band_line": _band_line(bins),
        "coverage": figures.coverage_diagram(curve, at_threshold if marked else None),
        "abstention_line": wording.abstention_line(
            threshold, rule.costs is not None, len(shown.classes), shown.unfamiliarity is not None
        ),
        "decisions": _decisions(shown, rule),
    }


def reliability_bins(shown: Predictions) -> list[dict[str, float]]:
    """The bins of confidence that hold images, with the accuracy that chance alone gives in each."""
    table, chance = reliability(shown), chance_bands(shown)
    return [
        {
            "low": low,
            "high": high,
            "count": count,
            "confidence": confidence,
            "accuracy": accuracy,
            "chance_low": band[0],
            "chance_high": band[1],
        }
        for low, high, count, confidence, accuracy, band in zip(
            table.edges[:-1].tolist(),
            table.edges[1:].tolist(),
            table.counts.tolist(),
            table.confidence.tolist(),
            table.accuracy.tolist(),
            chance.tolist(),
            strict=True,
        )
        if count
    ]


def _band_line(bins: list[dict[str, float]]) -> str:
    """How many bins chance explains."""
    rounding = 1e-9  # of a share that is one of the bounds
    outside = sum(
        not b["chance_low"] - rounding <= b["accuracy"] <= b["chance_high"] + rounding for b in bins
    )
    start = "The band shows what chance alone gives 19 times out of 20, were every confidence true."
    if not outside:
        return f"{start} No dot lies outside it."
    dots = "1 dot lies" if outside == 1 else f"{outside} dots lie"
    return f"{start} {dots} outside it, of {len(bins)}."


def _decisions(shown: Predictions, rule: AnswerRule) -> list[tuple[str, int, float, Score | None]]:
    """Each decision with its images, their share, and their accuracy. Empty where all is answered."""
    if rule.threshold is None and rule.costs is None and shown.unfamiliarity is None:
        return []
    decisions, answering = rule.decide(shown.probs, shown.unfamiliarity), selective(shown, rule)
    rows = []
    for name in DECISIONS:
        chosen = decisions == name
        has_accuracy = name == "answered" and chosen.any()
        accuracy = answering.accuracy_answered if has_accuracy else None
        rows.append((name, int(chosen.sum()), float(chosen.mean()), accuracy))
    return rows
