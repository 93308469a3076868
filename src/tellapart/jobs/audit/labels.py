"""Label errors: heads that did not see an image judge its label, and wrong labels judge the heads."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tellapart.catalog.duplicates import clusters
from tellapart.catalog.splits import make_folds
from tellapart.catalog.table import Catalog
from tellapart.evaluation.calibration import fit_temperature, softmax
from tellapart.evaluation.error_count import ErrorCount, count_errors
from tellapart.evaluation.label_errors import (
    FIRST_SHARE,
    Power,
    Reading,
    error_order,
    label_margins,
    label_scores,
    measure_power,
    proposals,
    suspects,
    taken_for,
)
from tellapart.evaluation.predictions import Predictions
from tellapart.options import HeadOptions
from tellapart.probe.held_out import ASIDE, HeldOutHeads
from tellapart.progress import Task
from tellapart.runs.audit import AuditFinding, AuditImage

FOLDS = 5
LEAST_SCORE = 0.4  # of a finding: a label that no head gives comes before a poor image


@dataclass(frozen=True)
class Judged:
    """The images that are audited, and what heads that did not see them say of each.

    Args:
        catalog: the images.
        rows: (M,) rows of the catalog with a usable image and a label.
        features: (M, D) embeddings.
        fold_of: (M,) the fold that held an image out, -1 where none did, `ASIDE` for test images.
        c: the C that answers best.
        logits: (M, C) of the heads.
        again: (M, C) calibrated, of heads that suspected labels taught nothing.
    """

    catalog: Catalog
    rows: NDArray[np.int64]
    features: NDArray[np.float32]
    fold_of: NDArray[np.int64]
    c: float
    logits: NDArray[np.float32]
    again: NDArray[np.float32]

    @cached_property
    def scores(self) -> NDArray[np.floating]:
        """(M,) how well each label fits."""
        return label_scores(self.again, self.labels)

    @cached_property
    def margins(self) -> NDArray[np.floating]:
        """(M,) how far the logit of each label lies above the best other one."""
        return label_margins(self.again, self.labels)

    @cached_property
    def proposals(self) -> NDArray[np.int64]:
        """(M,) the best class beside the label."""
        return proposals(self.again, self.labels)

    @property
    def labels(self) -> NDArray[np.int64]:
        """(M,) their labels."""
        return np.asarray(self.catalog.labels[self.rows])

    @property
    def clusters(self) -> NDArray[np.int64]:
        """(M,) their clusters."""
        return clusters(self.catalog)[self.rows]

    @property
    def answered(self) -> NDArray[np.bool_]:
        """(M,) which images a head answered that had not seen them."""
        return np.asarray(np.isfinite(self.logits).all(axis=1))

    @property
    def probs(self) -> NDArray[np.float32]:
        """(M, C) calibrated; NaN where no head answered."""
        answered = self.answered
        probs = np.full_like(self.logits, np.nan)
        if answered.any():
            temperature = fit_temperature(self.logits[answered], self.labels[answered])
            probs[answered] = softmax(self.logits[answered], temperature)
        return probs

    def predictions(self, probs: NDArray[np.float32] | None = None) -> Predictions:
        """The answers to those images that have one.

        Args:
            probs: (answered, C). None means those of the head that answers best.
        """
        places = np.flatnonzero(self.answered)
        return Predictions(
            self.probs[places] if probs is None else probs,
            self.labels[places],
            tuple(self.catalog.paths[self.rows[places]]),
            self.catalog.classes,
            clusters=self.clusters[places],
        )

    def image(
        self, place: int, proposal: int | None = None, confidence: float | None = None
    ) -> AuditImage:
        """An image of a finding, by its place among the rows."""
        row = self.rows[place]
        return AuditImage(
            path=str(self.catalog.paths[row]),
            digest=str(self.catalog.digests[row]),
            label=self.catalog.classes[self.catalog.labels[row]],
            split=str(self.catalog.splits[row]),
            proposal=None if proposal is None else self.catalog.classes[proposal],
            confidence=None
            if confidence is None or np.isnan(confidence)
            else round(float(confidence), 4),
        )


def folds_of(catalog: Catalog, rows: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """(M,) the fold of each row: whole clusters only, and test images aside.

    A head that test images had a part in would judge the labels of train with them.
    """
    fold_of = np.full(len(rows), ASIDE)
    pool = catalog.splits[rows] != "test"
    fold_of[pool] = make_folds(catalog, rows[pool], FOLDS, seed)
    return fold_of


def judge_labels(
    catalog: Catalog, features: NDArray[np.float32], rows: NDArray[np.int64], seed: int, task: Task
) -> Judged:
    """Judge every label.

    Args:
        catalog: divided.
        features: (M, D) of the rows.
        rows: (M,) of usable images with a label.
        seed: of the folds.
        task: is told the share that is done.
    """
    labels, num_classes = catalog.labels[rows], len(catalog.classes)
    fold_of = folds_of(catalog, rows, seed)
    heads = HeldOutHeads(features, fold_of, num_classes)
    c, logits = heads.logits(labels, HeadOptions().c_values, lambda share: task.reach(0.8 * share))
    again = _second_look(heads, c, logits, labels)
    task.reach(1.0)
    return Judged(catalog, rows, features, fold_of, c, logits, again)


def _second_look(
    heads: HeldOutHeads, c: float, logits: NDArray[np.float32], labels: NDArray[np.int64]
) -> NDArray[np.float32]:
    """(M, C) calibrated logits of heads that are fitted without the labels suspected at first.

    Planted flips, 5 % of 1,500 images of 20 classes, four draws: of those between similar classes
    68 % stand among the first 5 % and not 62 %, of those to the next class 85 and not 78 %, of
    those at random 84 % both times.
    """
    known = np.isfinite(logits).all(axis=1)
    temperature = fit_temperature(logits[known], labels[known]) if known.any() else 1.0
    suspected = suspects(logits / temperature, labels)
    _, again = heads.without(suspected).logits(labels, (c,))
    return np.asarray(again / np.float32(temperature))


def similar_classes(judged: Judged) -> NDArray[np.int64] | None:
    """(C,) the class that each class is most often taken for; None where there are two."""
    if len(judged.catalog.classes) == 2:
        return None
    return taken_for(judged.logits, judged.labels)


def count_wrong(judged: Judged) -> ErrorCount:
    """How many of the labels are wrong."""
    return count_errors(judged.again, judged.labels, similar_classes(judged))


def find_power(judged: Judged, count: ErrorCount) -> tuple[Power, ...]:
    """The power of the audit, by errors at random and between similar classes.

    With two classes both are the same.

    Args:
        judged: the labels as they are.
        count: of the errors among them.
    """
    similar = similar_classes(judged)
    kinds = {"random": None} if similar is None else {"random": None, "similar": similar}
    powers = (
        measure_power(kind, judged.again, judged.labels, count.wrong, taken)
        for kind, taken in kinds.items()
    )
    return tuple(power for power in powers if power)


def label_findings(judged: Judged, reading: Reading | None) -> list[AuditFinding]:
    """A finding for each image that is worth a look, and for the first 5 % at least."""
    order = error_order(judged.scores)
    if reading is None:
        return []
    most = max(reading.stop, round(FIRST_SHARE * len(order)))
    probs = judged.probs
    return [
        _finding(
            judged,
            int(order[rank]),
            float(probs[order[rank], judged.proposals[order[rank]]]),
            precision,
        )
        for rank, precision in enumerate(_scores(reading.precision[:most]))
        if judged.margins[order[rank]] < 0 or rank < reading.stop
    ]


def _scores(precision: NDArray[np.float64]) -> list[float]:
    """The scores of the findings; equals stay in their order."""
    ranks = np.arange(len(precision)) / max(1, len(precision))
    sure = np.clip(0.99 * precision + 0.01 * (1 - ranks), 0, 1)
    scores: list[float] = (LEAST_SCORE + (1 - LEAST_SCORE) * sure).round(5).tolist()
    return scores


def _finding(judged: Judged, place: int, confidence: float, score: float) -> AuditFinding:
    image = judged.image(place, int(judged.proposals[place]), confidence)
    name = image.path.rpartition("/")[2]
    percent = f"{100 * confidence:.0f} %"
    text = (
        f"The label is ‘{image.label}’. A model that did not see the image gives ‘{image.proposal}’"
        f" a probability of {percent}. Relabel the image if that is right."
    )
    if image.split == "test":
        text += " It is a test image: a correction changes the score that was reported."
    title = f"{name} is labelled ‘{image.label}’ and looks like ‘{image.proposal}’"
    return AuditFinding(kind="label", title=title, text=text, score=score, images=(image,))
