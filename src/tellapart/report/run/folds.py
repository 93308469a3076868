"""How a cross-validation went: the score of each fold, their mean and spread, and their curves."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from tellapart.evaluation.fold_scores import FoldScore, FoldScores
from tellapart.evaluation.metrics import Score
from tellapart.evaluation.predictions import Predictions
from tellapart.phrases import in_groups
from tellapart.report.parts import wording
from tellapart.report.parts.curves import Chart, chart
from tellapart.report.parts.gallery import Album
from tellapart.report.run import confusion

MOST_ERRORS = 12  # images of the gallery
MOST_BANDS = 30  # folds whose interval is drawn; with more, the rows hold numbers only


class FoldedRun(Protocol):
    """What the report reads of a cross-validation. Any object with these attributes will do."""

    @property
    def scores(self) -> FoldScores:
        """The scores of the folds."""

    @property
    def sentences(self) -> tuple[str, ...]:
        """How the model file was made."""

    @property
    def members(self) -> int:
        """How many folds' models the model file holds; 0 for one model trained on all images."""

    @property
    def histories(self) -> Mapping[str, Sequence[Mapping[str, float]]]:
        """The rows of each fold's history.csv by the fold's name; empty for a probe."""

    @property
    def experiment(self) -> Mapping[str, str]:
        """The table of experiments, name → value: the settings and their scores. May be empty."""


def section(
    folds: FoldedRun | None, out_of_fold: Predictions | None, album: Album
) -> dict[str, Any]:
    """Everything that the template draws.

    Args:
        folds: the cross-validation, or None.
        out_of_fold: its predictions of the first repeat. The gallery shows their surest errors.
        album: the thumbnails of the page.
    """
    if folds is None or out_of_fold is None:
        return {"folds": None}
    errors = confusion.confident_errors(out_of_fold)
    columns, rows = _rows(folds.scores)
    reports = [
        (row.name, f"{fold.facts['run']}/report.html")
        for row, fold in zip(rows, folds.scores.each, strict=True)
        if "run" in fold.facts
    ]
    metric = headline(folds.scores)
    return {
        "folds": folds,
        "fold_metric": metric,
        "fold_lines": fold_lines(folds.scores, metric),
        "fold_columns": columns,
        "fold_rows": rows,
        "fold_bands": len(rows) <= MOST_BANDS,
        "fold_together": folds.scores.together[metric],
        "fold_heading": "Fold" if folds.scores.repeats == 1 else "Repeat, fold",
        "fold_reports": reports,
        "fold_charts": _charts(folds.histories),
        "fold_error_count": len(errors),
        "fold_errors": [
            album.hang(out_of_fold.paths[row], *confusion.lines(out_of_fold, row))
            for row in errors[:MOST_ERRORS]
        ],
    }


def headline(scores: FoldScores) -> str:
    """The metric to read first: balanced accuracy where the classes are uneven."""
    return "balanced_accuracy" if scores.pooled[0].balanced_first else "accuracy"


def fold_lines(scores: FoldScores, metric: str) -> list[str]:
    """The folds in words: the mean and the spread, then the score of all predictions together.

    Args:
        scores: the scores of the folds.
        metric: the metric to read first, a share of the images.
    """
    name, together = metric.replace("_", " "), scores.together[metric]
    answered = in_groups(together.count, together.clusters, "image")
    mean, spread = wording.percent(scores.mean[metric]), _points(scores.spread[metric])
    repeats = "" if scores.repeats == 1 else f", repeated {scores.repeats} times"
    return [
        (
            f"{name.capitalize()} over {scores.folds} folds{repeats}: mean {mean}, standard"
            f" deviation {spread}."
        ),
        (
            f"All {answered} together, each predicted by a model that never saw it:"
            f" {_share(together)}; log loss"
            f" {scores.together['log_loss'].value:.3f}."
        ),
    ]


def verdict(folds: FoldedRun | None) -> str | None:
    """The report in a sentence, where there is no test split; None without folds."""
    if folds is None or not folds.scores.together["accuracy"].count:
        return None
    metric = headline(folds.scores)
    score = folds.scores.together[metric]
    value = wording.percent(score.value)
    result = (
        f"it is correct {value} of the time"
        if metric == "accuracy"
        else f"its recall is {value}, averaged over the classes"
    )
    return (
        f"On {in_groups(score.count, score.clusters, 'image')}, each predicted by a model that never saw it,"
        f" {result} ({wording.interval_in_words(score)}). There is no test split: if you choose"
        " settings by this score, it becomes optimistic."
    )


def calibration_line(folds: FoldedRun, out_of_fold: Predictions, temperature: float) -> str:
    """How the probabilities were calibrated."""
    images = f"the out-of-fold predictions of {wording.images_in_groups(out_of_fold)}"
    if folds.members:
        return (
            f"Each of the {folds.members} members is calibrated; their mean is not calibrated"
            f" again. The threshold was chosen on {images}."
        )
    return f"Calibrated on {images}, temperature {temperature:.3g}."


@dataclass(frozen=True)
class FoldRow:
    """One line of the table."""

    name: str
    count: int
    score: Score
    cells: tuple[str, ...]


def _rows(scores: FoldScores) -> tuple[list[str], list[FoldRow]]:
    """The headings of the cells, and a row for each fold. A column without any value is left out."""
    metric = headline(scores)
    other = "accuracy" if metric != "accuracy" else "balanced_accuracy"
    columns: dict[str, Callable[[FoldScore], str]] = {
        other.replace("_", " ").capitalize(): lambda fold: wording.percent(
            getattr(fold.metrics, other).value
        ),
        "Log loss": lambda fold: wording.decimal(fold.metrics.log_loss.value),
        "Regularisation": lambda fold: _fact(fold, "c"),
        "Best epoch": lambda fold: _fact(fold, "best_epoch"),
        "Shipped": lambda fold: _fact(fold, "shipped"),
    }
    filled = {name: cell for name, cell in columns.items() if any(map(cell, scores.each))}
    rows = [
        FoldRow(
            f"{fold.fold}" if scores.repeats == 1 else f"{fold.repeat}.{fold.fold}",
            fold.count,
            getattr(fold.metrics, metric),
            tuple(cell(fold) for cell in filled.values()),
        )
        for fold in scores.each
    ]
    return list(filled), rows


def _fact(fold: FoldScore, name: str) -> str:
    value = fold.facts.get(name)
    return "" if value is None else wording.number(value)


def _charts(histories: Mapping[str, Sequence[Mapping[str, float]]]) -> list[Chart]:
    """A chart for each metric: the line of each fold, and their mean."""
    names = dict.fromkeys(key for rows in histories.values() for row in rows for key in row)
    train = "train_loss" if "train_loss" in names else "loss"
    titles = {
        "val_loss": ("Val loss", 1.0),
        "val_accuracy": ("Val accuracy, %", 100.0),
        train: ("Train loss", 1.0),
        "train_accuracy": ("Train accuracy, %", 100.0),
    }
    charts = [_chart(histories, key, *titles[key]) for key in titles if key in names]
    return [drawn for drawn in charts if drawn is not None]


def _chart(
    histories: Mapping[str, Sequence[Mapping[str, float]]], key: str, name: str, unit: float
) -> Chart | None:
    lines = [
        [(row["epoch"], row[key]) for row in rows if key in row] for rows in histories.values()
    ]
    by_epoch: dict[float, list[float]] = {}
    for line in lines:
        for epoch, value in line:
            by_epoch.setdefault(epoch, []).append(value)
    # Where a fold stopped earlier than others, a mean of those left would jump.
    mean = [
        (epoch, sum(values) / len(values))
        for epoch, values in by_epoch.items()
        if len(values) == len(lines)
    ]
    faint = [("each fold", line, True) for line in lines]
    # The heading names both kinds of lines, so the chart needs no legend.
    return chart(
        f"{name}: each fold, and their mean", "epoch", [*faint, ("mean", mean, False)], unit
    )


def _share(score: Score) -> str:
    return f"{wording.percent(score.value)} ({wording.interval_in_words(score)})"


def _points(spread: float) -> str:
    return f"{100 * spread:.1f} points" if spread == spread else "not known"
