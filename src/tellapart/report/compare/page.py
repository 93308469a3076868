"""The page that compares runs: which is better and how sure that is, where they disagree, and how
they were made.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tellapart.decoding import Decoded
from tellapart.evaluation.metrics import Metrics, Score, is_trusted
from tellapart.evaluation.paired import LOSSES, Pair, Paired
from tellapart.evaluation.predictions import Predictions
from tellapart.report.compare.differences import (
    TITLES,
    difference_text,
    difference_words,
    sure,
    verdicts,
    weak_classes,
)
from tellapart.report.parts.curves import Chart, chart
from tellapart.report.parts.document import render_document
from tellapart.report.parts.gallery import Album, Shot
from tellapart.report.parts.wording import decimal, images, interval, percent

MOST_SHOWN = (
    24  # images of one kind, where two runs are compared; of each of several pairs half as many
)
TONES = 3  # colours of lines; each with as many patterns

_CURVES = {
    "val_loss": ("Loss of val over epochs", 1.0),
    "val_accuracy": ("Accuracy of val over epochs, %", 100.0),
}


@dataclass(frozen=True, kw_only=True)
class ComparedRun:
    """One of the runs.

    Args:
        letter: what it is called on the page.
        name: its folder's.
        facts: name → value, for example recipe and seed.
        settings: of its recipe, as text, key → value; only those in which the runs differ.
        history: a row an epoch; empty where it was not trained by gradient.
        predictions: its answers to the images that all were asked of.
    """

    letter: str
    name: str
    facts: Mapping[str, str]
    settings: Mapping[str, str]
    history: Sequence[Mapping[str, float]]
    predictions: Predictions


@dataclass(frozen=True, kw_only=True)
class ComparisonInput:
    """Everything the page says.

    Args:
        title, created: see `render_document`'s other pages.
        split: which images these are, "test" or "val".
        seed: of the resamples.
        runs: two or more.
        paired: what came out of them, in the same order; its names are the letters.
        remarks: what a reader should know before, a sentence each.
        read: a catalog path to the bytes of its file; None where the images are not at hand.
    """

    title: str
    created: str
    split: str
    seed: int
    runs: tuple[ComparedRun, ...]
    paired: Paired
    remarks: tuple[str, ...] = ()
    read: Callable[[str], bytes | Decoded] | None = None


def render_comparison(given: ComparisonInput) -> str:
    """The page as one self-contained HTML document.

    Raises:
        UserError: if jinja2 is not installed.
    """
    charts = _charts(given.runs)
    sections = [
        ("verdict", "Verdict", True),
        ("scores", "The scores", True),
        ("differences", "How sure", True),
        ("disagreements", "Where they disagree", True),
        ("classes", "Class by class", True),
        ("curves", "Curves", bool(charts)),
        ("settings", "Settings", True),
    ]
    album = Album(given.read) if given.read else None
    return render_document(
        "compare/page.html.jinja",
        contents=[(anchor, name) for anchor, name, there in sections if there],
        title=given.title,
        created=given.created,
        verdicts=verdicts(given.paired, given.split),
        remarks=[*given.remarks, *weak_classes(given.paired)],
        runs=given.runs,
        split=given.split,
        seed=given.seed,
        count=len(given.runs[0].predictions),
        scores=_score_rows(given.paired),
        differences=[_difference_table(pair) for pair in given.paired.pairs],
        disagreements=_disagreements(given, album),
        has_images=album is not None,
        classes=[_class_table(pair) for pair in given.paired.pairs],
        charts=charts,
        places={run.letter: place for place, run in enumerate(given.runs)},
        tones=TONES,
        settings=[
            (key, [run.settings.get(key, "") for run in given.runs])
            for key in given.runs[0].settings
        ],
    )


def comparison_lines(given: ComparisonInput) -> list[str]:
    """The same for a terminal: which runs, the verdict, every score, and where the two disagree."""
    lines = [f"{run.letter}  {run.name}: {_facts(run)}" for run in given.runs]
    lines += verdicts(given.paired, given.split)
    lines += [f"note: {remark}" for remark in [*given.remarks, *weak_classes(given.paired)]]
    for pair in given.paired.pairs:
        a, b = pair.names
        lines.append(
            f"{b} against {a}, {given.split}, {images(pair.main.difference.count)}, seed"
            f" {given.seed}:"
        )
        lines += [
            f"  {TITLES[one.name][0]}: {a} {_value(one.name, one.first)}, {b}"
            f" {_value(one.name, one.second)}; difference {difference_text(one)}; {sure(one, pair)}"
            for one in pair.metrics
        ]
        lines.append(f"  only {a} is right on {len(pair.lost):,}, only {b} on {len(pair.gained):,}")
        if told := [one for one in pair.classes if one.found]:
            classes = ", ".join(f"{one.name} {difference_text(one)}" for one in told)
            lines.append(f"  classes whose recall differs: {classes}")
    for key in given.runs[0].settings:
        lines.append(
            f"{key}: " + ", ".join(f"{run.letter} {run.settings[key] or '–'}" for run in given.runs)
        )
    return lines


def _facts(run: ComparedRun) -> str:
    return ", ".join(f"{name.lower()} {value}" for name, value in run.facts.items() if value)


def disagreement_rows(
    pair: Pair, first: Predictions, second: Predictions
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows that only the first got right, and those that only the second did; the most different
    answers first.
    """
    every = np.arange(len(first))
    apart = np.abs(first.probs[every, first.labels] - second.probs[every, second.labels])
    lost, gained = (
        rows[np.argsort(-apart[rows], kind="stable")] for rows in (pair.lost, pair.gained)
    )
    return lost, gained


def _score_rows(paired: Paired) -> list[dict[str, Any]]:
    """A row a metric, the main one first: title, meaning and the value of each run."""
    return [
        {
            "title": _heading(one.name),
            "meaning": TITLES[one.name][1],
            "cells": [_cell(one.name, metrics) for metrics in paired.metrics],
        }
        for one in paired.pairs[0].metrics
    ]


def _heading(name: str) -> str:
    title = TITLES[name][0]
    return title[0].upper() + title[1:]


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
            "title": _heading(one.name),
            "words": difference_words(one),
            "sure": sure(one, pair),
            "found": one.found,
        }
        for one in pair.metrics
    ]
    return {"names": pair.names, "rows": rows}


def _class_table(pair: Pair) -> dict[str, Any]:
    rows = [
        {
            "one": one,
            "words": difference_words(one),
            "trusted": is_trusted(one.difference.count),
            "sure": sure(one, pair),
        }
        for one in sorted(pair.classes, key=lambda one: -abs(one.difference.value))
    ]
    return {"names": pair.names, "rows": rows}


def _disagreements(given: ComparisonInput, album: Album | None) -> list[dict[str, Any]]:
    """For every two runs the images that only one got right, and how many those are."""
    pairs, most = (
        given.paired.pairs,
        (MOST_SHOWN if len(given.paired.pairs) == 1 else MOST_SHOWN // 2),
    )
    sets = []
    for pair in pairs:
        runs = [given.runs[place] for place in pair.places]
        rows = disagreement_rows(pair, *(run.predictions for run in runs))
        shown = [[_shot(runs, int(row), album) for row in some[:most]] for some in rows]
        kinds = zip(pair.names, rows, shown, strict=True)
        sets.append(
            {
                "names": pair.names,
                "kinds": [(name, len(some), shots) for name, some, shots in kinds],
            }
        )
    return sets


def _shot(runs: Sequence[ComparedRun], row: int, album: Album | None) -> Shot:
    predictions = runs[0].predictions
    path, truth = predictions.paths[row], int(predictions.labels[row])
    lines = [f"is {predictions.classes[truth]}"]
    for run in runs:
        probs = run.predictions.probs[row]
        answer = int(probs.argmax())
        mark = "✓" if answer == truth else "✗"
        lines.append(
            f"{run.letter} {mark} {predictions.classes[answer]}, {percent(float(probs[answer]))}"
        )
    return album.hang(path, *lines) if album is not None else Shot(path, tuple(lines))


def _charts(runs: Sequence[ComparedRun]) -> list[Chart]:
    """A chart a score, a line a run; a run without the score is told by a gap in the legend."""
    charts = []
    for key, (label, unit) in _CURVES.items():
        lines = [
            (run.letter, [(row["epoch"], row[key]) for row in run.history if key in row], False)
            for run in runs
        ]
        charts.append(chart(label, "epoch", lines, unit))
    return [one for one in charts if one is not None]
