"""The page of a study: its result, the settings that mattered, and every trial."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tellapart.evaluation.metrics import Metrics
from tellapart.evaluation.trial_row import TrialRow
from tellapart.phrases import count_of, in_groups
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

FEW_TRIALS = 8  # finished; with fewer, luck cannot be told from the effect of a setting


@dataclass(frozen=True, kw_only=True)
class TuningInput:
    """Everything that the page shows.

    Args:
        title: the title of the page.
        created: the time of the page, as `wording.timestamp` words it.
        metric: the metric that decides.
        shown: a second metric, for the table.
        judged: where the metric is measured, in words: "on val" or "in 5 folds".
        count: the images that it is measured on.
        clusters: how many these are if copies and the images of a group count once.
        seed: the seed of the study.
        keys: the searched settings.
        logs: the searched settings with a logarithmic range.
        rows: the trials by number.
        best: the best finished trial, or None.
        importances: key → share. Empty where it is not known.
        test: the test scores of the final training. None without a final training or test images.
        finals: the number of final trainings so far.
        elsewhere: the folder and the test accuracy of a final training in another folder of the
            study, or None.
        ran: facts about the study, name → value.
    """

    title: str
    created: str
    metric: str
    shown: str
    judged: str
    count: int
    clusters: int
    seed: int
    keys: Sequence[str]
    logs: frozenset[str]
    rows: Sequence[TrialRow]
    best: TrialRow | None
    importances: Mapping[str, float]
    test: Metrics | None
    elsewhere: tuple[str, str | None] | None
    finals: int
    ran: Mapping[str, str]


def render_tuning(study: TuningInput) -> str:
    """The study's page as one self-contained HTML document.

    Raises:
        UserError: if jinja2 is not installed.
    """
    contents = [("found", "Result"), ("mattered", "Which settings mattered")]
    ranked = sorted(study.importances.items(), key=lambda pair: -pair[1])
    return render_document(
        "tune/page.html.jinja",
        contents=[
            *contents,
            ("history", "History"),
            ("trials", "Trials"),
            ("run", "What was run"),
        ],
        title=study.title,
        created=study.created,
        lines=summary_lines(study),
        settings=(
            {}
            if study.best is None
            else {key: setting(value) for key, value in study.best.settings.items()}
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
    """The result of the study in sentences. The first one is the verdict."""
    best, trials = study.best, len(study.rows)
    counts = ", ".join(f"{count} {state}" for state, count in states(study.rows).items())
    if best is None:
        return ["No trial has finished yet.", f"Trials: {counts or 'none'}."]
    value = score_text(study.metric, best.value)
    images = in_groups(study.count, study.clusters, "image")
    lines = [
        (
            f"Trial {best.number} is the best of {count_of(trials, 'trial')}:"
            f" {study.metric.replace('_', ' ')} {value} {study.judged} ({images},"
            f" seed {study.seed})."
        ),
        f"Trials: {counts}.",
    ]
    if study.elsewhere:
        folder, accuracy = study.elsewhere
        tested = f"the test accuracy is {accuracy}" if accuracy else "there are no test images"
        return [
            *lines,
            f"The final training is in another folder of the study, {folder}: {tested}.",
        ]
    if study.test is None:
        return [
            *lines,
            "This score was used to pick the settings and is optimistic. There is no test score"
            " yet.",
        ]
    return [
        *lines,
        (
            f"Trained again with these settings, the test accuracy is {study.test.accuracy}. Report"
            " this number: the validation score was used to pick the settings and is optimistic."
        ),
        *([f"The test set has now been used {study.finals} times."] if study.finals > 1 else []),
    ]


def history_chart(rows: Sequence[TrialRow], metric: str) -> Chart | None:
    """The score of each finished trial and the best so far. None if no trial has finished."""
    finished = [row for row in rows if row.state == "finished"]
    return chart(
        f"{_in_words(metric)} on val over trials{', %' if metric.endswith(SHARES) else ''}",
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
            f"{count_of(finished, 'finished trial')} {'is' if finished == 1 else 'are'} too few to rank the"
            f" settings. {FEW_TRIALS} are enough."
        )
    if not study.importances:
        return "All trials have the same score: no setting made a difference."
    return (
        f"How much each setting separates the better from the worse of {finished} finished trials,"
        " as a share (PED-ANOVA). With few trials these shares are rough."
    )


def _heads(study: TuningInput) -> list[tuple[str, str, bool]]:
    """Each column's name and title, and whether it holds numbers."""
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
