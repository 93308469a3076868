"""What a cross-validation comes to: how its model was made, and what the caller gets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from tellapart.catalog.table import Catalog
from tellapart.errors import UserError
from tellapart.evaluation.fold_scores import FoldScore, FoldScores
from tellapart.evaluation.metrics import Metrics
from tellapart.experiments.fold_plan import FoldPlan
from tellapart.experiments.out_of_fold import OutOfFold
from tellapart.pipeline.fold_record import Folded, read_scores
from tellapart.pipeline.run import Run
from tellapart.report.parts.wording import percent
from tellapart.report.run.folds import fold_lines, headline
from tellapart.runs.folder import RunFolder


@dataclass(frozen=True)
class CrossValidated:
    """A finished cross-validation.

    Args:
        run: the run that holds the model file, the report and the test scores.
        scores: of the folds.
        made: how the model file was made, a sentence each.
    """

    run: Run
    scores: FoldScores
    made: tuple[str, ...]

    @classmethod
    def open(cls, path: str | PathLike[str]) -> CrossValidated:
        """The cross-validation in a run folder.

        Raises:
            UserError: no finished run, or one that is no cross-validation.
            Refused: a file of it is gone or damaged.
        """
        run = Run.open(path)
        folder = RunFolder(run.path)
        record = folder.read_json("metrics.json").get("folds")
        if record is None:
            raise UserError(
                f"{path} is one training, and no cross-validation.", "Open it with Run.open."
            )
        return cls(run, read_scores(folder, record), tuple(record["model"]["text"]))

    @property
    def path(self) -> Path:
        """The run folder."""
        return self.run.path

    @property
    def model(self) -> Path:
        """The model file."""
        return self.run.model

    @property
    def report(self) -> Path:
        """The HTML report."""
        return self.run.report

    @property
    def classes(self) -> tuple[str, ...]:
        """C names, in the order of the model's columns."""
        return self.run.classes

    @property
    def metrics(self) -> Metrics:
        """The model file's metrics on the test split."""
        return self.run.metrics

    @property
    def statuses(self) -> Mapping[str, int]:
        """Status → number of files."""
        return self.run.statuses

    @property
    def seconds(self) -> Mapping[str, float]:
        """Seconds of each step, and "all"."""
        return self.run.seconds

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the user should know, a sentence each."""
        return self.run.warnings

    @property
    def folds(self) -> tuple[FoldScore, ...]:
        """The scores of each fold, those of the first repeat first."""
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
        """Summary lines for the terminal."""
        metric = headline(self.scores)
        values = [percent(getattr(fold.metrics, metric).value) for fold in self.folds]
        more = f", … ({len(values)} in all)" if len(values) > 10 else ""
        shown = ", ".join(values[:10]) + more
        return [*fold_lines(self.scores, metric), f"Fold by fold: {shown}.", *self.made]

    def as_json(self) -> dict[str, Any]:
        """The JSON object that `--json` prints."""
        run, scores = self.run.as_json(), self.scores.as_json()
        del run["comparison"], run["seed"]
        return {
            **run,
            "folds": scores.pop("each"),
            "num_folds": scores.pop("folds"),
            "split_of_folds": scores.pop("split"),
            **scores,
            "made": list(self.made),
        }

    def __str__(self) -> str:
        first, second = str(self.run).split("\n")
        mean, spread = self.mean["accuracy"], self.spread["accuracy"]
        folds = f"{len(self.folds)} folds: accuracy {percent(mean)} ± {percent(spread)}"
        return f"{first}; {folds}\n{second}"

    __repr__ = __str__

    def _repr_html_(self) -> str:
        lines = "".join(f"<li>{line}</li>" for line in self.lines)
        return f"{self.run._repr_html_()}<ul>{lines}</ul>"


@dataclass(frozen=True)
class Making:
    """How the model file of a cross-validation was made.

    Args:
        facts: plain values, for metrics.json.
        sentences: the same for a person.
        members: how many models the file holds; 0 for one that was trained on all images.
    """

    facts: Mapping[str, Any]
    sentences: tuple[str, ...]
    members: int = 0

    def folded(self, catalog: Catalog, out: OutOfFold, **shown: Any) -> Folded:
        """The record of the folds."""
        return Folded(
            out=out,
            scores=out.scores(catalog),
            made=self.facts,
            sentences=self.sentences,
            members=self.members,
            **shown,
        )


def refit_making(plan: FoldPlan, facts: Mapping[str, Any], what: str) -> Making:
    """How a model was made that learned from the whole pool."""
    text = (
        f"The model file is {what}. Its temperature and its thresholds are fitted on the out-of-fold"
        f" answers. It learned from {len(plan.rows):,} images, the folds' models from fewer."
    )
    return Making({"by": "refit", "images": len(plan.rows), **facts}, (text,))


def ensemble_making(plan: FoldPlan) -> Making:
    """How a model was made of the folds' own."""
    members = plan.folds * plan.repeats
    text = (
        f"The model file gives the mean of the probabilities of the {members} folds' models, in one"
        " graph. Its thresholds are fitted on the out-of-fold answers. The scores of the folds are"
        " those of its members, one by one."
    )
    return Making({"by": "ensemble", "members": members}, (text,), members)
