"""What a cross-validation comes to: how its model was made, its record, and what the caller
gets.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tellapart.catalog.names import escape
from tellapart.catalog.table import Catalog
from tellapart.evaluation.fold_scores import FoldScore, FoldScores
from tellapart.evaluation.metrics import Metrics
from tellapart.experiments.fold_plan import FoldPlan
from tellapart.experiments.out_of_fold import OutOfFold
from tellapart.jobs.train import finished_run
from tellapart.pipeline.clock import Clock
from tellapart.pipeline.fold_record import Folded, read_scores
from tellapart.pipeline.record import Trained
from tellapart.report.parts.wording import percent
from tellapart.report.run.folds import fold_lines
from tellapart.runs.folder import RunFolder


@dataclass(frozen=True)
class CrossValidated:
    """A finished cross-validation.

    Args:
        path: the run folder.
        model: the model file in it.
        report: its HTML page.
        classes: C names, in the order of the model's columns.
        scores: of the folds.
        metrics: of the model file on the test split; NaN without test images.
        statuses: status → number of files.
        seconds: of all, and of the steps.
        warnings: what the user should know, a sentence each.
        made: how the model file was made, a sentence each.
    """

    path: Path
    model: Path
    report: Path
    classes: tuple[str, ...]
    scores: FoldScores
    metrics: Metrics
    statuses: Mapping[str, int]
    seconds: Mapping[str, float]
    warnings: tuple[str, ...]
    made: tuple[str, ...]

    @property
    def page(self) -> Path:
        """The HTML page."""
        return self.report

    @property
    def folds(self) -> tuple[FoldScore, ...]:
        """A score block each, those of the first repeat first."""
        return self.scores.each

    @property
    def mean(self) -> dict[str, float]:
        """Metric → mean over the folds."""
        return self.scores.mean

    @property
    def spread(self) -> dict[str, float]:
        """Metric → standard deviation over the folds."""
        return self.scores.spread

    @property
    def lines(self) -> list[str]:
        """What it says, for a terminal."""
        headline = "balanced_accuracy" if self.scores.pooled[0].balanced_first else "accuracy"
        each = [percent(getattr(one.metrics, headline).value) for one in self.folds]
        shown = ", ".join(each[:10]) + (f", … ({len(each)} in all)" if len(each) > 10 else "")
        return [*fold_lines(self.scores, headline), f"Fold by fold: {shown}.", *self.made]

    def as_json(self) -> dict[str, Any]:
        """What `--json` prints."""
        scores = self.scores.as_json()
        return {
            "run": escape(str(self.path)),
            "model": escape(str(self.model)),
            "report": escape(str(self.report)),
            "classes": list(self.classes),
            "folds": scores.pop("each"),
            "num_folds": scores.pop("folds"),
            "split_of_folds": scores.pop("split"),
            **scores,
            "test": self.metrics.as_json(),
            "made": list(self.made),
            "statuses": dict(self.statuses),
            "warnings": list(self.warnings),
            "seconds": self.seconds["all"],
            "steps": {name: value for name, value in self.seconds.items() if name != "all"},
        }


Made = tuple[
    dict[str, Any], tuple[str, ...], int
]  # plain values, the same in sentences, members of an ensemble


def refit_made(plan: FoldPlan, facts: Mapping[str, Any], what: str) -> Made:
    """How a model was made that learned from all of the pool."""
    text = (
        f"The model file is {what}. Its temperature and its thresholds are those that suit the"
        f" out-of-fold answers. It learned from {len(plan.rows):,} images, the folds' models from"
        " fewer."
    )
    return {"by": "refit", "images": len(plan.rows), **facts}, (text,), 0


def ensemble_made(plan: FoldPlan) -> Made:
    """How a model was made of the folds' own."""
    members = plan.folds * plan.repeats
    text = (
        f"The model file is the mean of the probabilities of the {members} folds' models, in one"
        " graph. Its thresholds are those that suit the out-of-fold answers. The scores of the"
        " folds are those of its members, one by one."
    )
    return {"by": "ensemble", "members": members}, (text,), members


def folded_of(catalog: Catalog, out: OutOfFold, made: Made, **shown: Any) -> Folded:
    """The record of the folds."""
    facts, sentences, members = made
    return Folded(
        out=out,
        scores=out.scores(catalog),
        made=facts,
        sentences=sentences,
        members=members,
        **shown,
    )


def cross_validated(path: Path, trained: Trained, clock: Clock) -> CrossValidated:
    """What the caller gets."""
    assert trained.folds
    return CrossValidated(
        path=path,
        model=path / "model.onnx",
        report=path / "report.html",
        classes=trained.catalog.classes,
        scores=trained.folds.scores,
        metrics=trained.metrics,
        statuses=trained.catalog.status_counts,
        seconds=clock.seconds(),
        warnings=tuple(finding.text for finding in trained.findings),
        made=trained.folds.sentences,
    )


def cross_validated_before(run: RunFolder) -> CrossValidated:
    """What a finished run said when it ended, from its folder alone."""
    before = finished_run(run)
    record = run.read_json("metrics.json")["folds"]
    return CrossValidated(
        path=before.path,
        model=before.model,
        report=before.report,
        classes=before.classes,
        scores=read_scores(run, record),
        metrics=before.metrics,
        statuses=before.statuses,
        seconds=before.seconds,
        warnings=before.warnings,
        made=tuple(record["model"]["text"]),
    )
