"""A finished run, as its folder tells it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape as html_escape
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tellapart.catalog.names import escape
from tellapart.errors import UserError
from tellapart.evaluation.metrics import Metrics, measure
from tellapart.evaluation.predictions import Predictions
from tellapart.home import user_path
from tellapart.modelfile.predictor import Predictor, load
from tellapart.runs.folder import RunFolder
from tellapart.runs.saved_predictions import read_predictions

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Run:
    """A finished training.

    Args:
        path: the run folder.
        model: the model file in it.
        report: the HTML report in it.
        classes: C names, in the order of the model's columns.
        metrics: of the test split, by the model file. Without test images they are NaN, of count 0.
        statuses: status → number of files.
        seconds: of each step, and "all".
        warnings: what the user should know, a sentence each.
        seed: the recipe's, also of the bootstrap intervals.
        comparison_lines: how the fine-tuned network compares with the probe that it started from, a
            sentence each. Empty for other recipes.

    >>> tellapart.Run.open(run.path).classes
    ('brick', 'leaf', 'sky')
    """

    path: Path
    model: Path
    report: Path
    classes: tuple[str, ...]
    metrics: Metrics
    statuses: Mapping[str, int]
    seconds: Mapping[str, float]
    warnings: tuple[str, ...]
    seed: int
    comparison_lines: tuple[str, ...] = field(default=())

    @classmethod
    def open(cls, path: str | PathLike[str]) -> Run:
        """The run in a folder.

        Raises:
            UserError: no run folder, or one that is not finished.
            Refused: a file of it is gone or damaged.
        """
        folder = RunFolder(user_path(path))
        if not (folder.has("metrics.json") and folder.has("model.onnx")):
            raise UserError(
                f"{path} is no finished run.",
                "Give the folder of one, for example runs/20261121-101500-photos.",
            )
        card, record = load(folder.path).card, folder.read_json("metrics.json")
        test = read_predictions(folder.path / "predictions-test.parquet")
        return cls(
            path=folder.path,
            model=folder.path / "model.onnx",
            report=folder.path / "report.html",
            classes=card.classes,
            metrics=measure(test, seed=record["seed"], class_counts=np.array(card.train_counts)),
            statuses=_statuses(folder.path),
            seconds=record["seconds"],
            warnings=tuple(record["warnings"]),
            seed=record["seed"],
            comparison_lines=tuple(record.get("comparison", {}).get("text", ())),
        )

    def predictor(self) -> Predictor:
        """The shipped model, loaded."""
        return load(self.model)

    def predictions(self, split: str = "test") -> Predictions:
        """The model file's predictions for one split, "test" or "val"."""
        return read_predictions(self.path / f"predictions-{split}.parquet")

    def torch_module(self, networks: Mapping[str, Any] | None = None) -> nn.Module:
        """The trained network in torch, in evaluation mode.

        It takes preprocessed images (N, C_in, S, S) float32, as `predictor().card.preprocessing`
        makes them, and gives calibrated logits (N, C): their softmax is the model file's answer.

        Args:
            networks: the user's own networks, if the run was trained with one.

        Raises:
            UserError: the run is an ensemble, which has no single network; or torch is missing.
            Refused: the checkpoint or the head of the run is gone or damaged.
        """
        from tellapart.pipeline.torch_module import torch_module

        return torch_module(self.path, networks or {})

    def as_json(self) -> dict[str, Any]:
        """The JSON object that `--json` prints."""
        return {
            "run": escape(str(self.path)),
            "model": escape(str(self.model)),
            "report": escape(str(self.report)),
            "classes": list(self.classes),
            "test": self.metrics.as_json(),
            "statuses": dict(self.statuses),
            "warnings": list(self.warnings),
            "comparison": list(self.comparison_lines),
            "seed": self.seed,
            "seconds": self.seconds["all"],
            "steps": {name: value for name, value in self.seconds.items() if name != "all"},
        }

    def __str__(self) -> str:
        accuracy = self.metrics.accuracy
        score = f"accuracy {accuracy}" if accuracy.count else "no test images"
        count = len(self.warnings)
        return (
            f"Run {self.path}: {score}\n{count} warning{'s' * (count != 1)}; report: {self.report}"
        )

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """The score, the warnings and a link to the report, for a notebook."""
        first, _ = str(self).split("\n")
        warnings = "".join(f"<li>{html_escape(warning)}</li>" for warning in self.warnings)
        link = html_escape(self.report.as_posix(), quote=True)
        return (
            f"<p><strong>{html_escape(first)}</strong></p><ul>{warnings}</ul>"
            f'<p><a href="{link}">Open the report</a></p>'
        )


def _statuses(path: Path) -> dict[str, int]:
    import polars

    statuses = polars.read_parquet(path / "catalog.parquet", columns=["status"])["status"]
    return dict(sorted(Counter(statuses.to_list()).items()))
