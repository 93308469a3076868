"""What a cross-validation leaves behind beside an ordinary run: the folds, their answers, and their
scores.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tellapart.catalog.table import Catalog
from tellapart.evaluation.fold_scores import MEASURED, FoldScores, score_folds
from tellapart.experiments.out_of_fold import OutOfFold
from tellapart.runs.folder import RunFolder
from tellapart.runs.saved_predictions import read_predictions


@dataclass(frozen=True, kw_only=True)
class Folded:
    """A cross-validation.

    Args:
        out: the answers.
        scores: what they are worth.
        made: how the model file was made of it, as plain values.
        sentences: the same for a person.
        members: of an ensemble, how many; 0 of a model that was trained on all.
        histories: the folds' rows of history.csv, by what the fold is called.
        experiment: the settings and what came of them, name → value.
    """

    out: OutOfFold
    scores: FoldScores
    made: Mapping[str, Any]
    sentences: tuple[str, ...]
    members: int = 0
    histories: Mapping[str, Sequence[Mapping[str, float]]] = field(default_factory=dict)
    experiment: Mapping[str, str] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """The block "folds" of metrics.json."""
        counts = np.bincount(self.out.labels, minlength=self.out.probs.shape[2]).tolist()
        return {
            **self.scores.as_json(),
            "class_counts": counts,
            "model": {**self.made, "text": list(self.sentences)},
        }


def write_folds(run: RunFolder, catalog: Catalog, folded: Folded) -> None:
    """folds.parquet: path, repeat and fold of each image that is not test, both from 1; no fold
    where none holds it out. predictions-folds.parquet: what the fold's model said of it, as other
    predictions, with repeat and fold.
    """
    plan, out = folded.out.plan, folded.out
    paths = catalog.paths[plan.rows].tolist()
    run.write_table(
        "folds.parquet",
        {
            "path": paths * plan.repeats,
            "repeat": np.repeat(np.arange(1, plan.repeats + 1), len(paths)),
            "fold": [fold + 1 if fold >= 0 else None for fold in plan.fold_of.ravel().tolist()],
        },
    )
    repeats = [out.predictions(catalog, repeat) for repeat in range(plan.repeats)]
    classes = np.array(catalog.classes, object)
    probs = np.concatenate([predictions.probs for predictions in repeats])
    run.write_table(
        "predictions-folds.parquet",
        {
            "path": [path for predictions in repeats for path in predictions.paths],
            "label": np.concatenate([classes[predictions.labels] for predictions in repeats]),
            "answer": np.concatenate([classes[predictions.predicted] for predictions in repeats]),
            "cluster": np.concatenate([predictions.clusters for predictions in repeats]),
            "repeat": np.repeat(
                np.arange(1, plan.repeats + 1), [len(predictions) for predictions in repeats]
            ),
            "fold": np.concatenate([out.folds(repeat) for repeat in range(plan.repeats)]) + 1,
            **{f"p:{name}": probs[:, column] for column, name in enumerate(catalog.classes)},
        },
    )


def read_scores(run: RunFolder, record: Mapping[str, Any]) -> FoldScores:
    """The scores of a finished cross-validation, computed again from its answers.

    Args:
        record: the block "folds" of its metrics.json, for what was said of each fold.

    Raises:
        Refused: predictions-folds.parquet is gone or damaged.
    """
    import polars

    file = run.place / "predictions-folds.parquet"
    predictions = read_predictions(file)
    repeat_of, fold_of = (
        column.to_numpy() - 1 for column in polars.read_parquet(file, columns=["repeat", "fold"])
    )
    repeats = [repeat_of == repeat for repeat in range(record["repeats"])]
    return score_folds(
        [predictions.rows(chosen) for chosen in repeats],
        [fold_of[chosen] for chosen in repeats],
        {(fold["repeat"] - 1, fold["fold"] - 1): _facts(fold) for fold in record["each"]},
        folds=record["folds"],
        seed=record["seed"],
        class_counts=np.array(record["class_counts"], np.int64),
    )


def _facts(fold: Mapping[str, Any]) -> dict[str, Any]:
    """What was said of a fold's model beside its scores."""
    scores = {"repeat", "fold", "count", *MEASURED}
    return {name: value for name, value in fold.items() if name not in scores}
