"""A reader's five questions, each answered in a sentence, with the section that says more."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from tellapart.evaluation.calibration_check import CalibrationCheck
from tellapart.evaluation.metrics import Metrics
from tellapart.evaluation.predictions import Predictions
from tellapart.evaluation.slices import Slices
from tellapart.phrases import count_of
from tellapart.report.parts import wording
from tellapart.report.parts.wording import interval, percent
from tellapart.report.run import confusion
from tellapart.report.run.audit import Audit
from tellapart.report.run.robustness import Stress
from tellapart.report.run.slices import darkest

SURE = 0.95  # an error that is this confident is a label to look at first


@dataclass(frozen=True)
class Question:
    """A question of a reader.

    Args:
        text: the question.
        answer: a sentence or two.
        anchor: the id of the section that says more.
    """

    text: str
    answer: str
    anchor: str


def questions(
    metrics: Metrics | None,
    shown: Predictions | None,
    check: CalibrationCheck | None,
    caveats: Sequence[str],
    slices: Slices | None,
    audit: Audit | None,
    stress: Stress | None,
    model_file: str | None,
) -> list[Question]:
    """The five questions with their answers.

    Args:
        metrics: the scores on the test split, or None.
        shown: the predictions that the page shows, or None.
        check: of the confidences, or None.
        caveats: what weakens the score.
        slices: which slices were tested, or None.
        audit: what an audit of the labels found, or None.
        stress: how the answers change under stress, or None.
        model_file: the name of the model file, or None.
    """
    return [
        _trust(metrics, check, caveats),
        _errors(shown, slices),
        _labels(shown, audit),
        _night(slices, stress),
        _use(model_file),
    ]


def _trust(
    metrics: Metrics | None, check: CalibrationCheck | None, caveats: Sequence[str]
) -> Question:
    if metrics is None:
        return Question(
            "Can I trust the accuracy?",
            "There is no test split, so no score tells how good the model is on new images.",
            "verdict",
        )
    score = metrics.balanced_accuracy if metrics.balanced_first else metrics.accuracy
    name = "balanced accuracy" if metrics.balanced_first else "accuracy"
    value = wording.percent(score.value)
    text = f"Can I trust the {value}?"
    bounds = wording.interval(score)
    match = "" if check is None else " Its confidences match the accuracy."
    if check is not None and not check.passed:
        match = " Its confidences do not match the accuracy."
    warnings = "There are no warnings."
    if caveats:
        reads = "one warning" if len(caveats) == 1 else f"{len(caveats)} warnings"
        warnings = f"Read {reads} first."
    range_ = f"On new images of the same kind the {name} is {bounds}, with 95\u202f% confidence."
    return Question(text, f"{range_}{match} {warnings}", "score")


def _errors(shown: Predictions | None, slices: Slices | None) -> Question:
    text = "What goes wrong?"
    if shown is None:
        return Question(text, "No images were held out, so no error is known.", "data")
    wrong = int((~shown.correct).sum())
    if not wrong:
        return Question(
            text, f"None of {count_of(len(shown), 'image')} is answered wrongly.", "confusion"
        )
    worst = confusion.pairs(shown)[0]
    images = count_of(worst.count, "image")
    are = "is" if wrong == 1 else "are"
    answer = (
        f"{wrong:,} of {len(shown):,} answers {are} wrong. The most frequent error is"
        f" ‘{worst.truth}’ taken for ‘{worst.answer}’ ({images})."
    )
    if slices is not None and slices.failing:
        answer += f" {slices.lines[0]}"
    return Question(text, answer, "confusion")


def _labels(shown: Predictions | None, audit: Audit | None) -> Question:
    text = "Which labels are wrong?"
    if audit is not None:
        return Question(text, audit.lines[0], "labels")
    sure = 0 if shown is None else int((~shown.correct & (shown.confidence >= SURE)).sum())
    first = "No audit was made."
    if not sure:
        return Question(text, f"{first} No error is confident enough to suggest one.", "labels")
    errors = count_of(sure, "confident error")
    are = "is the first" if sure == 1 else "are the first"
    return Question(text, f"{first} {errors} {are} to look at.", "errors")


def _night(slices: Slices | None, stress: Stress | None) -> Question:
    text = "Does it work at night?"
    if stress is not None:
        return Question(text, stress.dark_line, "robustness")
    dark = darkest(slices)
    if dark is not None:
        verdict = "worse than the rest" if dark.fails else "no worse than the rest beyond chance"
        answer = (
            f"Of the {dark.images:,} darkest test images {percent(dark.accuracy.value)} are right"
            f" ({interval(dark.accuracy)}): {verdict}. A stress test tells about darker ones."
        )
        return Question(text, answer, "slices")
    return Question(
        text,
        "It was not measured. A stress test tells how the answers change in darker images.",
        "robustness",
    )


def _use(model_file: str | None) -> Question:
    text = "How do I use it?"
    if model_file is None:
        return Question(text, "This run wrote no model file.", "use")
    command = f"tellapart predict {shlex.quote(model_file)} photos/"
    return Question(text, f"The model is one file. Run: {command}", "use")
