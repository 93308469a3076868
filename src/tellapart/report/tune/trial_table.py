"""The trials of a study as rows: what each was, and how it is told."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from tellapart.evaluation.scores import better
from tellapart.evaluation.trial_row import TrialRow
from tellapart.report.parts.wording import percent
from tellapart.tables import Row

SHARES = (
    "accuracy",
    "precision",
    "recall",
    "f1",
)  # how the names of metrics end that are shown in percent


def trials_table(
    rows: Sequence[TrialRow], keys: Sequence[str], metric: str, shown: str
) -> tuple[list[Row], dict[str, type]]:
    """The table of trials for other programs, and its columns. Numbers are not rounded."""
    names, chosen = score_names(metric, shown), f"val_{metric}_chosen"
    columns: dict[str, type] = {
        "trial": int,
        "state": str,
        **dict.fromkeys(keys, str),
        "epochs": int,
        "seconds": float,
    }
    columns |= {chosen: float, **dict.fromkeys(names, float), "reason": str, "run": str}
    table: list[Row] = [
        {
            "trial": row.number,
            "state": row.state,
            **{key: _cell(row.settings[key]) if key in row.settings else None for key in keys},
            "epochs": row.epochs,
            "seconds": row.seconds,
            chosen: row.value if math.isfinite(row.value) else None,
            **{name: row.scores.get(name) for name in names},
            "reason": row.reason,
            "run": row.run,
        }
        for row in rows
    ]
    return table, columns


def best_so_far(rows: Sequence[TrialRow], metric: str) -> list[tuple[float, float]]:
    """Trial number and the best value up to it.

    >>> rows = [TrialRow(number=n, state="finished", settings={}, value=v) for n, v in enumerate([0.5, 0.7, 0.4])]
    >>> best_so_far(rows, "loss")
    [(0, 0.5), (1, 0.5), (2, 0.4)]
    """
    points: list[tuple[float, float]] = []
    best: float | None = None
    for row in rows:
        best = row.value if better(metric, row.value, best) else best
        if best is not None:
            points.append((row.number, best))
    return points


def states(rows: Sequence[TrialRow]) -> dict[str, int]:
    """State → trials, the finished first."""
    order = ("finished", "pruned", "failed", "running")
    counts = {state: sum(row.state == state for row in rows) for state in order}
    return {state: count for state, count in counts.items() if count}


def score_text(metric: str, value: float) -> str:
    """The value of a metric as text.

    >>> score_text("accuracy", 0.9512), score_text("loss", 0.12345)
    ('95.1\u202f%', '0.1235')
    """
    return percent(value) if metric.endswith(SHARES) else f"{value:.4g}"


def setting(value: Any) -> str:
    """The value of a setting as text.

    >>> setting(0.00025134), setting(None), setting(True), setting("")
    ('0.0002513', 'none', 'true', 'none')
    """
    if value is None or value == "":
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def short(key: str) -> str:
    """A recipe key as the heading of a column.

    >>> short("backbone.name"), short("training.lr")
    ('backbone', 'lr')
    """
    group, _, name = key.rpartition(".")
    return group if name == "name" else name


def score_names(metric: str, shown: str) -> list[str]:
    """The columns of scores: the loss and both metrics on train and val."""
    names = dict.fromkeys(["loss", metric, shown])
    return [f"{split}_{name}" for name in names for split in ("train", "val")]


def _cell(value: Any) -> Any:
    """A setting in full. "none" differs from the empty cell of a setting that does not apply."""
    return setting(value) if value in (None, "") or isinstance(value, bool) else value
