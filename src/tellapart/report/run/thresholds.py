"""The threshold moved by hand: how many images go to a person, and how many answers are wrong."""

from __future__ import annotations

from typing import Any

from tellapart.evaluation.predictions import Predictions
from tellapart.evaluation.sweep import Sweep, sweep

_TABLE = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)  # without the script, a table of these stands


def section(shown: Predictions, shipped: float | None) -> dict[str, Any]:
    """What the template draws.

    Args:
        shown: the predictions that are reported.
        shipped: the threshold of the model file. None means that it has none.
    """
    swept = sweep(shown, shipped)
    start = swept.place(shipped)
    places = sorted({*map(swept.place, _TABLE), start})
    return {
        "sweep": swept,
        "sweep_start": start,
        "sweep_line": swept.line(start),
        "sweep_rows": [
            (swept.thresholds[place], swept.unanswered[place], swept.wrong[place])
            for place in places
        ],
        "has_threshold": shipped is not None,
    }


def content(swept: Sweep) -> dict[str, Any]:
    """What the script needs to move the threshold."""
    return {
        "count": swept.count,
        "thresholds": [round(threshold, 4) for threshold in swept.thresholds],
        "asked": list(swept.unanswered),
        "wrong": list(swept.wrong),
    }
