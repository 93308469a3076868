"""The page of a study: what was found, what mattered, how each trial went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tellapart.evaluation.metrics import Metrics
from tellapart.evaluation.trial_row import TrialRow
from tellapart.progress import duration
from tellapart.report.parts.curves import Chart, chart
from tellapart.report.parts.document import render_document
from tellapart.report.tune.parallel import parallel
from tellapart.report.tune.trial_table import (
    SHARES,
    best_so_far,
    score_names,
    score_text,
    setting,
    short,
    states,
)

FEW_TRIALS = 8  # finished; below, which setting mattered cannot be told from which trial was lucky


@dataclass(frozen=True, kw_only=True)
class TuningInput:
    """All that the page tells.

    Args:
        metric: that decides.
        shown: a second one, for the table.
        judged: where, in words: "on val" or "in 5 folds".
        count: the images of that.
        seed: of the study.
        keys: what is searched.
        logs: those of them with a logarithmic range.
        rows: by number.
        best: the finished one that won; None: none is finished.
        importances: key → share, empty where that is not known.
        test: of the final training; None: there is none yet, or it has no test images.
        looks: finals so far.
        elsewhere: of a final training in another folder of the study: that folder's name, and its
            test accuracy.
        ran: facts, name → value.
    """

    title: str
    created: str
    metric: str
    shown: str
    judged: str
    count: int
    seed: int
    keys: Sequence[str]
    logs: frozenset[str]
    rows: Sequence[TrialRow]
    best: TrialRow | None
    importances: Mapping[str, float]
    test: Metrics | None
    elsewhere: tuple[str, str | None] | None
    looks: int
    ran: Mapping[str, str]


def render_tuning(study: TuningInput) -> str:
    """The study's page as one self-contained HTML document.

    Raises:
        UserError: if jinja2 is not installed.
    """
    contents = [("found", "What was found"), ("mattered", "What mattered"), ("history", "History")]
    ranked = sorted(study.importances.items(), key=lambda pair: -pair[1])
    return render_document(
        "tune/page.html.jinja",
        contents=[*contents, ("trials", "Trials"), ("run", "What was run")],
        title=study.title,
        created=study.created,
        lines=summary_lines(study),
        settings=(
            {}
            if study.best is None
            else {key: setting(of) for key, of in study.best.settings.items()}
        ),
        importances=ranked,
        importance_line=_importance_line(study),
        strands=parallel(
            study.rows,
            [key for key, _ in ranked] or study.keys,
            study.logs,
            study.metric,
            study.best,
        ),
        history=history_chart(study.rows, study.metric),
        heads=_heads(study),
        table=[_cells(row, study) for row in study.rows],
        best=study.best.number if study.best else None,
        ran=study.ran,
    )


def summary_lines(study: TuningInput) -> list[str]:
    """What the study found, in words; the first is the verdict."""
    best, counts = study.best, states(study.rows)
    told = ", ".join(f"{count} {state}" for state, count in counts.items())
    if best is None:
        return ["No trial has finished yet.", f"Trials: {told or 'none'}."]
    value = score_text(study.metric, best.value)
    lines = [
        (
            f"The best of {len(study.rows)} trials is trial {best.number}:"
            f" {study.metric.replace('_', ' ')} {value} {study.judged} ({study.count:,} images,"
            f" seed {study.seed})."
        ),
        f"Trials: {told}.",
    ]
    if study.elsewhere:
        folder, accuracy = study.elsewhere
        tested = f"its test accuracy is {accuracy}" if accuracy else "there are no test images"
        return [
            *lines,
            f"It was trained once more in another folder of the study, {folder}: {tested}.",
        ]
    if study.test is None:
        return [*lines, "That is the best of many, so it is too good; there is no test score yet."]
    return [
        *lines,
        (
            f"Trained once more, its test accuracy is {study.test.accuracy}. Quote this one: the"
            " val score chose the settings, so it is too good."
        ),
        *([f"The test set has now been looked at {study.looks} times."] if study.looks > 1 else []),
    ]


def history_chart(rows: Sequence[TrialRow], metric: str) -> Chart | None:
    """Each finished trial's value and the best so far, over the trials; None where none has
    finished.
    """
    finished = [row for row in rows if row.state == "finished"]
    return chart(
        f"{_in_words(metric)} of val over trials{', %' if metric.endswith(SHARES) else ''}",
        "trial",
        [
            ("each trial", [(row.number, row.value) for row in finished], True),
            ("best so far", best_so_far(finished, metric), False),
        ],
        100 if metric.endswith(SHARES) else 1,
    )


def _importance_line(study: TuningInput) -> str:
    finished = sum(row.state == "finished" for row in study.rows)
    if finished < FEW_TRIALS:
        return (
            f"{finished} finished trials are too few to say which setting mattered; from"
            f" {FEW_TRIALS} on it is told."
        )
    if not study.importances:
        return "All trials have the same value: nothing that was searched mattered."
    return (
        f"The share of each setting in what told the better from the worse of {finished} finished"
        " trials, by PED-ANOVA. With few trials these shares are rough."
    )


def _heads(study: TuningInput) -> list[tuple[str, str, bool]]:
    """Name, title, and whether a column holds numbers."""
    scores = [(_in_words(name), name, True) for name in score_names(study.metric, study.shown)]
    searched = [(short(key), key, False) for key in study.keys]
    return [("State", "", False), *searched, ("Epochs run", "", True), ("Time", "", True), *scores]


def _cells(row: TrialRow, study: TuningInput) -> dict[str, Any]:
    names = score_names(study.metric, study.shown)
    settings = [
        (setting(row.settings[key]), row.settings[key]) if key in row.settings else ("", "")
        for key in study.keys
    ]
    scores = [
        (score_text(name, row.scores[name]), row.scores[name]) if name in row.scores else ("–", "")
        for name in names
    ]
    epochs = ("–", "") if row.epochs is None else (str(row.epochs), row.epochs)
    seconds = ("–", "") if row.seconds is None else (duration(row.seconds), row.seconds)
    cells = [(row.state, row.state), *settings, epochs, seconds, *scores]
    return {"number": row.number, "cells": cells, "reason": row.reason}


def _in_words(name: str) -> str:
    return name.replace("_", " ").capitalize()
