"""The training by gradient: its curves, and the comparison with the probe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tellapart.evaluation.comparison import Comparison
from tellapart.report.parts.curves import Chart, Points, chart

Row = Mapping[str, float]


def section(history: Sequence[Row], rates: Points, comparison: Comparison | None) -> dict[str, Any]:
    """Everything that the template draws.

    Args:
        history: the rows of history.csv, one for each epoch. May be empty.
        rates: pairs of epochs done and learning rate, in order. If empty, the history's are drawn.
        comparison: the probe against the fine-tuned network, or None.
    """
    return {
        "charts": _charts(history, rates) if history else [],
        "epochs": len(history),
        "comparison": comparison,
        "comparison_lines": [] if comparison is None else comparison.lines(),
    }


def _charts(history: Sequence[Row], rates: Points) -> list[Chart]:
    evaluated = any("train_loss" in row for row in history)
    train = ("train", "train_loss") if evaluated else ("train, mean during the epoch", "loss")
    charts = [_over_epochs("loss", history, train, ("val", "val_loss"))]
    if names := _metrics(history):
        name = "accuracy" if "accuracy" in names else names[0]
        charts.append(
            _over_epochs(name, history, ("train", f"train_{name}"), ("val", f"val_{name}"))
        )
    points = rates or _column(history, "lr")
    charts.append(chart("Learning rate over epochs", "epoch", [("learning rate", points, False)]))
    return [drawn for drawn in charts if drawn is not None]


def _over_epochs(
    name: str, history: Sequence[Row], train: tuple[str, str], val: tuple[str, str]
) -> Chart | None:
    """A chart of two columns of the history, each with its title. None where both are empty."""
    lines = [
        (title, _column(history, key), faint)
        for (title, key), faint in ((train, True), (val, False))
    ]
    shown = name.replace("_", " ")
    unit, of = (100, ", %") if name == "accuracy" else (1, "")
    return chart(f"{shown.capitalize()} over epochs{of}", "epoch", lines, unit)


def _column(history: Sequence[Row], key: str) -> Points:
    return [(row["epoch"], row[key]) for row in history if key in row]


def _metrics(history: Sequence[Row]) -> list[str]:
    """The metrics on val except the loss, in the order of the history."""
    names = dict.fromkeys(
        key for row in history for key in row if key.startswith("val_") and key != "val_loss"
    )
    return [name.removeprefix("val_") for name in names]
