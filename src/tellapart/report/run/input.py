"""Everything that the report of a run says: what the page, report.json and the model card are made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from tellapart.catalog.findings import Finding
from tellapart.catalog.table import Catalog
from tellapart.evaluation.calibration_check import CalibrationCheck, check_calibration
from tellapart.evaluation.comparison import Comparison
from tellapart.evaluation.learning_curve import LearningCurve
from tellapart.evaluation.left_out import LeftOut
from tellapart.evaluation.metrics import Metrics
from tellapart.evaluation.predictions import Predictions
from tellapart.evaluation.rule import AnswerRule
from tellapart.evaluation.slices import Slices
from tellapart.evaluation.threshold import Threshold
from tellapart.report.run.audit import Audit
from tellapart.report.run.evidence import Evidence
from tellapart.report.run.folds import FoldedRun
from tellapart.report.run.robustness import Stress


@dataclass(frozen=True)
class ReportInput:
    """Everything a report says.

    Args:
        title: the title of the page, for example the name of the data.
        created: the time of the run, as `wording.timestamp` words it.
        catalog: the data, scanned and divided into splits.
        findings: what is worth knowing about the data, the worst of each kind first.
        predictions: the predictions on the test split, or None.
        val_predictions: the predictions on the val split, or None. None means not calibrated.
        metrics: the scores on the test split, or None.
        threshold: from which confidence on the model answers, and what it promises; or None.
        rule: what the model answers, and when it does not.
        temperature: the temperature of the calibration.
        model: facts about the model, name → value.
        provenance: what exactly was run: heading → name → value. Leave out paths of this machine.
        model_file: the name of the written model, without folders. None if none was written.
        history: the rows of history.csv of a gradient training: "epoch", "lr", "loss", "val_loss",
            "val_accuracy", ….
        rates: the epochs done and the learning rate of a gradient training. If empty, the report
            draws the rates of the history.
        comparison: the probe against the fine-tuned network on the test split, or None.
        folds: the cross-validation, or None.
        out_of_fold: predictions for train images by models that were not fitted on them: of the
            first repeat of a cross-validation, or of the folds of a probe. They calibrated the
            model, and stand in for a missing test split. None means that there are none.
        left_out: how well a class that was never shown would be noticed, or None.
        familiar_shares: the chance that was asked for that a new image of the same kinds counts as
            familiar, and the chance that the images can promise. None if it was not measured.
        learning: how the accuracy grows with the number of images. None if it was not measured.
        slices: which slices of the test images were tested. None if none were.
        audit: what an audit of the labels found. None if none was made.
        stress: how the answers change in worse images. None if it was not measured.
        evidence: path of an image → why the model answers it so. Empty without images.
        licence: of the weights; "" where it is not known.
        no_pictures: why the page has no images, in a sentence. Default: it has them.
    """

    title: str
    created: str
    catalog: Catalog
    findings: tuple[Finding, ...] = ()
    predictions: Predictions | None = None
    val_predictions: Predictions | None = None
    metrics: Metrics | None = None
    threshold: Threshold | None = None
    rule: AnswerRule = field(default_factory=AnswerRule)
    temperature: float = 1.0
    model: Mapping[str, str | int | float] = field(default_factory=dict)
    provenance: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    model_file: str | None = "model.onnx"
    history: tuple[Mapping[str, float], ...] = ()
    rates: tuple[tuple[float, float], ...] = ()
    comparison: Comparison | None = None
    folds: FoldedRun | None = None
    out_of_fold: Predictions | None = None
    left_out: LeftOut | None = None
    familiar_shares: tuple[float, float] | None = None
    learning: LearningCurve | None = None
    slices: Slices | None = None
    audit: Audit | None = None
    stress: Stress | None = None
    evidence: Mapping[str, Evidence] = field(default_factory=dict)
    licence: str = ""
    no_pictures: str = ""

    @cached_property
    def check(self) -> CalibrationCheck | None:
        """Of the confidences on the test split; None without test images."""
        return None if self.predictions is None else check_calibration(self.predictions)

    @property
    def shown(self) -> Predictions | None:
        """The predictions that the page shows: on test, else those of the calibration."""
        held = (self.predictions, self.calibrated_with)
        return next((answers for answers in held if answers is not None and len(answers)), None)

    @property
    def calibrated_with(self) -> Predictions | None:
        """The predictions that the calibration was fitted on. None means not calibrated."""
        return self.val_predictions if self.out_of_fold is None else self.out_of_fold

    @property
    def measured(self) -> Metrics | None:
        """The metrics, unless there are no test images."""
        return self.metrics if self.metrics and self.metrics.accuracy.count else None

    def __post_init__(self) -> None:
        if (self.metrics is None) != (self.predictions is None):
            raise ValueError("predictions and metrics of the test split come together, or neither")
        if self.folds is not None and self.out_of_fold is None:
            raise ValueError("folds need their out-of-fold predictions")
