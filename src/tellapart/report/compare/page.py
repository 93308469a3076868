"""The page of `compare`: which run is better, with what evidence, and where the runs disagree."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tellapart.decoders.rules import DecodeRules
from tellapart.decoding import Decoded
from tellapart.evaluation.metrics import Metrics, Score, is_trusted
from tellapart.evaluation.paired import LOSSES, Pair, Paired
from tellapart.evaluation.predictions import Predictions
from tellapart.phrases import in_groups
from tellapart.report.compare.differences import (
    difference_text,
    difference_words,
    sure,
    verdicts,
    weak_classes,
)
from tellapart.report.parts.curves import Chart, chart
from tellapart.report.parts.document import render_document
from tellapart.report.parts.gallery import Album, Shot
from tellapart.report.parts.wording import (
    METRICS,
    decimal,
    images_in_groups,
    interval,
    metric_title,
    percent,
)

MOST_SHOWN = 24  # images that only one run got right; with several pairs, half as many for each
TONES = 3  # colours of lines; each comes in as many dash patterns

_CURVES = {
    "val_loss": ("Loss on val over epochs", 1.0),
    "val_accuracy": ("Accuracy on val over epochs, %", 100.0),
}


@dataclass(frozen=True, kw_only=True)
class ComparedRun:
    """One of the runs.

    Args:
        letter: its name on the page.
        name: the name of its folder.
        facts: name → value, for example recipe and seed.
        settings: the settings in which the runs differ, as text, key → value.
        history: the rows of its history.csv; empty without a training by gradient.
        predictions: its predictions of the images that all runs predicted.
    """

    letter: str
    name: str
    facts: Mapping[str, str]
    settings: Mapping[str, str]
    history: Sequence[Mapping[str, float]]
    predictions: Predictions


# Runs may have been decoded by different rules. Each image is shown by the range of its own values.
_SHOWN = DecodeRules(ranges=None)


@dataclass(frozen=True, kw_only=True)
class ComparisonInput:
    """Everything that the page shows.

    Args:
        title: the title of the page.
        created: the time of the comparison, as `wording.timestamp` words it.
        split: the split of the images, "test" or "val".
        seed: the seed of the resamples.
        runs: two or more runs.
        paired: the comparison of the runs, in the same order. Its names are the letters.
        remarks: what a reader should know first, a sentence each.
        read: returns the bytes of the file at a catalog path. None if the images are not available.
    """

    title: str
    created: str
    split: str
    seed: int
    runs: tuple[ComparedRun, ...]
    paired: Paired
    remarks: tuple[str, ...] = ()
    read: Callable[[str], bytes | Decoded] | None = None


def render_comparison(comparison: ComparisonInput) -> str:
    """The page as one self-contained HTML document.

    Raises:
        UserError: if jinja2 is not installed.
    """
    charts = _charts(comparison.runs)
    sections = [
        ("verdict", "Verdict", True),
        ("scores", "The scores", True),
        ("differences", "Evidence", True),
        ("disagreements", "Where they disagree", True),
        ("classes", "Class by class", True),
        ("curves", "Curves", bool(charts)),
        ("settings", "Settings", True),
    ]
    album = Album(comparison.read, rules=_SHOWN) if comparison.read else None
    return render_document(
        "compare/page.html.jinja",
        contents=[(anchor, name) for anchor, name, there in sections if there],
        title=comparison.title,
        created=comparison.created,
        verdicts=verdicts(comparison.paired, comparison.split),
        remarks=[*comparison.remarks, *weak_classes(comparison.paired)],
        runs=comparison.runs,
        split=comparison.split,
        seed=comparison.seed,
        images=images_in_groups(comparison.runs[0].predictions, f"{comparison.split} image"),
        grouped=comparison.runs[0].predictions.num_clusters < len(comparison.runs[0].predictions),
        scores=_score_rows(comparison.paired),
        differences=[_difference_table(pair) for pair in comparison.paired.pairs],
        disagreements=_disagreements(comparison, album),
        has_images=album is not None,
        classes=[_class_table(pair) for pair in comparison.paired.pairs],
        charts=charts,
        places={run.letter: place for place, run in enumerate(comparison.runs)},
        tones=TONES,
        settings=[
            (key, [run.settings.get(key, "") for run in comparison.runs])
            for key in comparison.runs[0].settings
        ],
    )


def comparison_lines(comparison: ComparisonInput) -> list[str]:
    """The page for a terminal: the runs, the verdict, every score, and where the runs disagree."""
    lines = [f"{run.letter}  {run.name}: {_facts(run)}" for run in comparison.runs]
    lines += verdicts(comparison.paired, comparison.split)
    lines += [
        f"note: {remark}" for remark in [*comparison.remarks, *weak_classes(comparison.paired)]
    ]
    for pair in comparison.paired.pairs:
        a, b = pair.names
        difference = pair.main.difference
        images = in_groups(difference.count, difference.clusters, "image")
        lines.append(f"{b} against {a}, {comparison.split}, {images}, seed {comparison.seed}:")
        lines += [
            f"  {METRICS[score.name][0]}: {a} {_value(score.name, score.first)}, {b}"
            f" {_value(score.name, score.second)}; difference {difference_text(score)}; {sure(score, pair)}"
            for score in pair.metrics
        ]
        answers = comparison.runs[pair.places[0]].predictions
        lost, gained = (images_in_groups(answers.rows(rows)) for rows in (pair.lost, pair.gained))
        lines.append(f"  only {a} is correct on {lost}, only {b} on {gained}")
        classes = [
            f"{recall.name} {difference_text(recall)}" for recall in pair.classes if recall.found
        ]
        if classes:
            lines.append(f"  classes whose recall differs: {', '.join(classes)}")
    for key in comparison.runs[0].settings:
        lines.append(
            f"{key}: "
            + ", ".join(f"{run.letter} {run.settings[key] or '–'}" for run in comparison.runs)
        )
    return lines


def _facts(run: ComparedRun) -> str:
    return ", ".join(f"{name.lower()} {value}" for name, value in run.facts.items() if value)


def disagreement_rows(
    pair: Pair, first: Predictions, second: Predictions
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows that only the first run got right, and rows that only the second got right. Those with
    the largest difference in the label's probability come first.
    """
    every = np.arange(len(first))
    apart = np.abs(first.probs[every, first.labels] - second.probs[every, second.labels])
    lost, gained = (
        rows[np.argsort(-apart[rows], kind="stable")] for rows in (pair.lost, pair.gained)
    )
    return lost, gained


def _score_rows(paired: Paired) -> list[dict[str, Any]]:
    """A row for each metric, the main one first: title, meaning and the value of each run."""
    return [
        {
            "title": metric_title(difference.name),
            "meaning": METRICS[difference.name][1],
            "cells": [_cell(difference.name, metrics) for metrics in paired.metrics],
        }
        for difference in paired.pairs[0].metrics
    ]


def _cell(name: str, metrics: Metrics) -> tuple[str, str]:
    score: Score = getattr(metrics, name)
    if name in LOSSES:
        return decimal(score.value), f"{decimal(score.low)} to {decimal(score.high)}"
    return percent(score.value), interval(score)


def _value(name: str, score: Score) -> str:
    return decimal(score.value) if name in LOSSES else percent(score.value)


def _difference_table(pair: Pair) -> dict[str, Any]:
    rows = [
        {
            "title": metric_title(difference.name),
            "words": difference_words(difference),
            "sure": sure(difference, pair),
            "found": difference.found,
        }
        for difference in pair.metrics
    ]
    return {"names": pair.names, "rows": rows}


def _class_table(pair: Pair) -> dict[str, Any]:
    rows = [
        {
            "recall": difference,
            "words": difference_words(difference),
            "trusted": is_trusted(difference.difference.clusters),
            "sure": sure(difference, pair),
        }
        for difference in sorted(
            pair.classes, key=lambda difference: -abs(difference.difference.value)
        )
    ]
    return {"names": pair.names, "rows": rows}


def _disagreements(comparison: ComparisonInput, album: Album | None) -> list[dict[str, Any]]:
    """The images that only one run of each pair got right, and their number."""
    pairs = comparison.paired.pairs
    most = MOST_SHOWN if len(pairs) == 1 else MOST_SHOWN // 2
    sets = []
    for pair in pairs:
        runs = [comparison.runs[place] for place in pair.places]
        lost_and_gained = disagreement_rows(pair, *(run.predictions for run in runs))
        kinds = [
            (name, len(rows), [_shot(runs, int(row), album) for row in rows[:most]])
            for name, rows in zip(pair.names, lost_and_gained, strict=True)
        ]
        sets.append({"names": pair.names, "kinds": kinds})
    return sets


def _shot(runs: Sequence[ComparedRun], row: int, album: Album | None) -> Shot:
    predictions = runs[0].predictions
    path, truth = predictions.paths[row], int(predictions.labels[row])
    lines = [f"label {predictions.classes[truth]}"]
    for run in runs:
        answer, sure = int(run.predictions.answers[row]), run.predictions.confidence[row]
        mark = "✓" if answer == truth else "✗"
        lines.append(f"{run.letter} {mark} {predictions.classes[answer]}, {percent(float(sure))}")
    return album.hang(path, *lines) if album is not None else Shot(path, tuple(lines))


def _charts(runs: Sequence[ComparedRun]) -> list[Chart]:
    """A chart for each score with a line for each run. A run without the score has no line."""
    charts = []
    for key, (label, unit) in _CURVES.items():
        lines = [
            (run.letter, [(row["epoch"], row[key]) for row in run.history if key in row], False)
            for run in runs
        ]
        charts.append(chart(label, "epoch", lines, unit))
    return [drawn for drawn in charts if drawn is not None]
