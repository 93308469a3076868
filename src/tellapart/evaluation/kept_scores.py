"""Scores as metrics.json holds them, read back: what a finished run measured needs no second look."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from tellapart.evaluation.comparison import Comparison
from tellapart.evaluation.learning_curve import LearningCurve
from tellapart.evaluation.left_out import LeftOut
from tellapart.evaluation.metrics import ClassScores, Metrics, Score
from tellapart.evaluation.threshold import Threshold

_SHARES = ("accuracy", "balanced_accuracy", "macro_f1", "log_loss", "brier", "ece")


def score_from(values: Mapping[str, Any]) -> Score:
    """The score whose `as_json` gave these values.

    Raises:
        KeyError, TypeError, ValueError: they are not those of a score.

    >>> score_from(Score(0.9, 0.8, 0.95, 20, 10).as_json())
    Score(value=0.9, low=0.8, high=0.95, count=20, clusters=10)
    """
    value, low, high = (_number(values[name]) for name in ("value", "low", "high"))
    return Score(value, low, high, int(values["count"]), int(values.get("clusters", 0)))


def metrics_from(values: Mapping[str, Any]) -> Metrics:
    """The metrics whose `as_json` gave these values.

    Raises:
        KeyError, TypeError, ValueError: they are not those of metrics.
    """
    top5, baseline = values["top5_accuracy"], values["majority_baseline"]
    return Metrics(
        **{name: score_from(values[name]) for name in _SHARES},
        top5_accuracy=None if top5 is None else score_from(top5),
        majority_baseline=None if baseline is None else score_from(baseline),
        balanced_first=bool(values["balanced_first"]),
        per_class=tuple(
            ClassScores(
                scores["name"],
                int(scores["count"]),
                int(scores["predicted_count"]),
                score_from(scores["recall"]),
                score_from(scores["precision"]),
                _number(scores["f1"]),
            )
            for scores in values["per_class"]
        ),
    )


def threshold_from(values: Mapping[str, Any] | None) -> Threshold | None:
    """The threshold whose `as_json` gave these values; None where there was none.

    Raises:
        KeyError, TypeError: they are not those of a threshold.

    >>> threshold = Threshold(0.5, 0.95, True, 100, 1.0, None)
    >>> threshold_from(threshold.as_json()) == threshold, threshold_from(None)
    (True, None)
    """
    if values is None:
        return None
    return Threshold(**{name: value for name, value in values.items() if name != "certainty"})


def comparison_from(values: Mapping[str, Any] | None) -> Comparison | None:
    """The comparison whose `as_json` gave these values; None where there was none.

    Raises:
        KeyError, TypeError, ValueError: they are not those of a comparison.
    """
    if values is None:
        return None
    first, second = values["names"]
    difference = score_from(values["difference"])
    return Comparison(
        first=score_from(values["first"]),
        second=score_from(values["second"]),
        difference=difference,
        gained=int(values["gained"]),
        lost=int(values["lost"]),
        differing=int(values["differing_clusters"]),
        p=float(values["p"]),
        test="sign-flip" if difference.clusters < difference.count else "mcnemar",
        names=(first, second),
        seconds=values["seconds"],
        shipped=values["shipped"],
        split=values["split"],
    )


def left_out_from(values: Mapping[str, Any] | None) -> LeftOut | None:
    """The measure whose `as_json` gave these values; None where there was none.

    Raises:
        KeyError, TypeError: they are not those of such a measure.

    >>> left_out = LeftOut({"cat": 0.9, "dog": 0.7}, False)
    >>> left_out_from(left_out.as_json()) == left_out
    True
    """
    if values is None:
        return None
    return LeftOut(dict(values["by_class"]), bool(values["by_residual"]))


def learning_curve_from(values: Mapping[str, Any] | None) -> LearningCurve | None:
    """The curve whose `as_json` gave these values; None where there was none.

    Raises:
        KeyError, TypeError, ValueError: they are not those of a curve.
    """
    if values is None:
        return None
    return LearningCurve(
        sizes=tuple(map(int, values["sizes"])),
        accuracies=tuple(score_from(score) for score in values["accuracies"]),
        images=int(values["images"]),
        now=float(values["now"]),
        doubled=score_from(values["doubled"]),
        gain=score_from(values["gain"]),
    )


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)
