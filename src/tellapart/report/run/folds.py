"""What the report shows of a cross-validation: a score for each fold, their mean and spread, and
how each went.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tellapart.evaluation.fold_scores import FoldScore, FoldScores
from tellapart.evaluation.metrics import Score
from tellapart.evaluation.predictions import Predictions
from tellapart.report.parts import wording
from tellapart.report.parts.curves import Chart, chart
from tellapart.report.parts.gallery import Album
from tellapart.report.run import confusion

MOST_ERRORS = 12  # images of the gallery
MOST_BANDS = 30  # folds whose interval is drawn; more rows get numbers only

Row = Mapping[str, float]


@dataclass(frozen=True)
class Folds:
    """A cross-validation, as its page needs it.

    Args:
        scores: of the folds.
        predictions: what the folds' models said of the images that they held out; of several
            repeats the first.
        sentences: how the model file was made of it.
        histories: the folds' rows of history.csv, by what the fold is called; empty where nothing
            is trained by steps.
        experiment: the settings and what came of them, name → value, for the table of experiments;
            may be empty.
        members: of an ensemble of the folds' models, how many; 0 where the model is one that
            learned from all.
    """

    scores: FoldScores
    predictions: Predictions
    sentences: tuple[str, ...] = ()
    histories: Mapping[str, Sequence[Row]] = field(default_factory=dict)
    experiment: Mapping[str, str] = field(default_factory=dict)
    members: int = 0

    @property
    def headline(self) -> str:
        """The metric to read first."""
        return "balanced_accuracy" if self.scores.pooled[0].balanced_first else "accuracy"


def section(folds: Folds | None, album: Album) -> dict[str, Any]:
    """What the template draws. The images are those of the most confident errors out of fold."""
    if folds is None:
        return {"folds": None}
    said = folds.predictions
    wrong = confusion.confident_errors(said)
    columns, rows = _rows(folds)
    runs = [
        (row, one) for row, one in zip(rows, folds.scores.each, strict=True) if "run" in one.facts
    ]
    return {
        "folds": folds,
        "fold_lines": fold_lines(folds.scores, folds.headline),
        "fold_columns": columns,
        "fold_rows": rows,
        "fold_bands": len(rows) <= MOST_BANDS,
        "fold_together": folds.scores.together[folds.headline],
        "fold_heading": "Fold" if folds.scores.repeats == 1 else "Repeat, fold",
        "fold_reports": [(row.name, f"{one.facts['run']}/report.html") for row, one in runs],
        "fold_charts": _charts(folds.histories),
        "fold_error_count": len(wrong),
        "fold_errors": [
            album.hang(said.paths[row], *confusion.lines(said, row)) for row in wrong[:MOST_ERRORS]
        ],
    }


def fold_lines(scores: FoldScores, headline: str) -> list[str]:
    """The folds in words: mean and spread, and all answers together.

    Args:
        headline: the metric, a share of the images.
    """
    name, count = headline.replace("_", " "), scores.together[headline].count
    mean, spread = scores.mean[headline], scores.spread[headline]
    times = "" if scores.repeats == 1 else f", divided {scores.repeats} times"
    return [
        (
            f"{name.capitalize()} over {scores.folds} folds{times}: mean {wording.percent(mean)}, "
            f"spread {_points(spread)} (standard deviation)."
        ),
        (
            f"All {wording.images(count)} together, each judged by a model that never saw it:"
            f" {_share(scores.together[headline])}; log loss"
            f" {scores.together['log_loss'].value:.3f}."
        ),
    ]


def verdict(folds: Folds | None) -> str | None:
    """The report in a sentence, where there is no test; None without folds."""
    if folds is None or not len(folds.predictions):
        return None
    score = folds.scores.together[folds.headline]
    name = (
        "it recognises {} of a class on average"
        if folds.headline != "accuracy"
        else "it is right {} of the time"
    )
    return (
        f"On {wording.images(score.count)}, each judged by a model that never saw it,"
        f" {name.format(wording.percent(score.value))} ({wording.interval_in_words(score)}). There"
        " is no test split: these are the images that the settings were judged by."
    )


def calibration_line(folds: Folds, temperature: float) -> str:
    """How the probabilities were calibrated."""
    on = f"the out-of-fold answers to {wording.images(len(folds.predictions))}"
    if folds.members:
        return (
            f"Each of the {folds.members} members is calibrated, their mean is not again; the"
            f" threshold suits {on}."
        )
    return f"Calibrated on {on}, temperature {temperature:.3g}."


@dataclass(frozen=True)
class FoldRow:
    """One line of the table."""

    name: str
    count: int
    score: Score
    cells: tuple[str, ...]


def _rows(folds: Folds) -> tuple[list[str], list[FoldRow]]:
    """The headings of the cells, and a row a fold. What no fold has is no column."""
    each, headline = folds.scores.each, folds.headline
    other = "accuracy" if headline != "accuracy" else "balanced_accuracy"
    columns: dict[str, Callable[[FoldScore], str]] = {
        other.replace("_", " ").capitalize(): lambda one: wording.percent(
            getattr(one.metrics, other).value
        ),
        "Log loss": lambda one: wording.decimal(one.metrics.log_loss.value),
        "Regularisation": lambda one: _fact(one, "c"),
        "Best epoch": lambda one: _fact(one, "best_epoch"),
        "Shipped": lambda one: _fact(one, "shipped"),
    }
    there = {name: cell for name, cell in columns.items() if any(cell(one) for one in each)}
    rows = [
        FoldRow(
            _called(one, folds.scores),
            one.count,
            getattr(one.metrics, headline),
            tuple(cell(one) for cell in there.values()),
        )
        for one in each
    ]
    return list(there), rows


def _called(one: FoldScore, scores: FoldScores) -> str:
    return f"{one.fold}" if scores.repeats == 1 else f"{one.repeat}.{one.fold}"


def _fact(one: FoldScore, name: str) -> str:
    value = one.facts.get(name)
    return "" if value is None else wording.number(value)


def _charts(histories: Mapping[str, Sequence[Row]]) -> list[Chart]:
    """An image a number: each fold's line, and their mean."""
    names = dict.fromkeys(key for rows in histories.values() for row in rows for key in row)
    train = "train_loss" if "train_loss" in names else "loss"
    wanted = {
        "val_loss": ("Val loss", 1.0),
        "val_accuracy": ("Val accuracy, %", 100.0),
        train: ("Train loss", 1.0),
        "train_accuracy": ("Train accuracy, %", 100.0),
    }
    drawn = [_chart(histories, key, *wanted[key]) for key in wanted if key in names]
    return [one for one in drawn if one is not None]


def _chart(
    histories: Mapping[str, Sequence[Row]], key: str, name: str, unit: float
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
