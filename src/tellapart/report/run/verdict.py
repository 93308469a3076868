"""The report in a sentence, what weakens it, and the answers to a reader's questions."""

from __future__ import annotations

from tellapart.report.parts import data_section, wording
from tellapart.report.run import folds
from tellapart.report.run.input import ReportInput
from tellapart.report.run.questions import Question, questions


def sentence(report: ReportInput) -> str:
    """The whole report in one sentence or two."""
    metrics = report.measured
    unseen = None if metrics else folds.verdict(report.folds)
    leaks = "leak" in data_section.finding_counts(report.findings)
    return unseen or wording.verdict(
        metrics, majority(report), report.val_predictions, leaks, report.out_of_fold
    )


def majority(report: ReportInput) -> str:
    """The largest class of train, which the baseline always answers; "" without images."""
    catalog = report.catalog
    train = catalog.counts(catalog.ok & (catalog.splits == "train"))
    largest = train if train.any() else catalog.counts()
    return catalog.classes[int(largest.argmax())] if largest.any() else ""


def caveats(report: ReportInput) -> list[str]:
    """What a reader should know before relying on the verdict, the most serious first."""
    return wording.caveats(
        report.catalog,
        report.measured,
        majority(report),
        report.calibrated_with is not None,
        data_section.finding_counts(report.findings),
        report.check,
    )


def all_clear(report: ReportInput) -> str:
    """What stands in place of warnings, where there are none."""
    if report.metrics is None or report.calibrated_with is None:
        return ""
    kind = "validation" if report.out_of_fold is None else "out-of-fold"
    calibrated_on = wording.images_in_groups(report.calibrated_with, f"{kind} image")
    return wording.all_clear_line(report.metrics, calibrated_on)


def five_questions(report: ReportInput) -> list[Question]:
    """A reader's five questions with their answers."""
    return questions(
        report.measured,
        report.shown,
        report.check,
        caveats(report),
        report.slices,
        report.audit,
        report.stress,
        report.model_file,
    )
