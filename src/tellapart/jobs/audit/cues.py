"""Shortcuts: a small model on each cue without content, held against chance and the real model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from tellapart.catalog.cues import Cues
from tellapart.evaluation.calibration import softmax
from tellapart.evaluation.metrics import measure
from tellapart.evaluation.predictions import Predictions
from tellapart.evaluation.shortcuts import Shortcut, in_columns, judge_cue
from tellapart.jobs.audit.labels import Judged
from tellapart.probe.held_out import HeldOutHeads
from tellapart.progress import Task
from tellapart.runs.audit import AuditFinding

# Cue → its numbers and its words.
CUES: Mapping[str, tuple[Sequence[str], Sequence[str]]] = {
    "size": (("width", "height", "aspect"), ()),
    "bytes": (("bytes", "bytes_a_pixel"), ()),
    "compression": (("compression",), ("kind",)),
    "border": (("border_brightness", "border_spread", "border_step"), ()),
    "colour": (("red", "green", "blue"), ()),
    "sharpness": (("sharpness",), ()),
    "file name": ((), ("name",)),
    "time": (("year", "hour"), ()),
    "camera": ((), ("camera",)),
}
C_VALUES = (1e-3, 1e-2, 1e-1, 1.0)
SHOWN = 8  # images of one finding

_ADVICE = (
    "A model may learn this instead of the content, and then fail on images from elsewhere. Take all"
    " classes from the same sources, or convert them to one size, file type and light."
)
_ADVICE_OF_NAMES = (
    "No model sees a name, but the classes come from different sources. Look for what else differs"
    " between these."
)


def find_shortcuts(
    judged: Judged, cues: Cues, seed: int, task: Task
) -> tuple[tuple[Shortcut, Predictions], ...]:
    """Every cue that differs between images, judged, with the answers of the small model on it.

    Args:
        judged: the images, and the answers of the real model.
        cues: of the same images.
        seed: of the resamples.
        task: is told the share that is done.
    """
    whole = judged.predictions()
    if not len(whole) or len(np.unique(whole.labels)) < 2:
        return ()
    model = measure(whole, seed=seed).balanced_accuracy.value
    columns = {
        cue: in_columns(
            [cues.numbers[name] for name in numbers], [cues.words[name] for name in words]
        )
        for cue, (numbers, words) in CUES.items()
    }
    columns = {cue: table for cue, table in columns.items() if table.any(axis=0).any()}
    found = []
    for number, (cue, table) in enumerate(columns.items()):
        answers = _answers(judged, table)
        found.append((judge_cue(cue, answers, model, len(columns), seed), answers))
        task.reach((number + 1) / len(columns))
    return tuple(found)


def _answers(judged: Judged, table: NDArray[np.float32]) -> Predictions:
    """The answers of a small model on a cue, by the folds of the real one.

    It answers as if the classes were equally frequent, since balanced accuracy is measured.
    """
    labels, num_classes = judged.labels, len(judged.catalog.classes)
    _, logits = HeldOutHeads(table, judged.fold_of, num_classes).logits(labels, C_VALUES)
    shares = np.bincount(labels, minlength=num_classes) / len(labels)
    logits = logits - np.log(np.maximum(shares, 1e-12)).astype(np.float32)
    answered = np.flatnonzero(judged.answered)
    return judged.predictions(softmax(logits[answered]))


def shortcut_findings(
    judged: Judged, found: Sequence[tuple[Shortcut, Predictions]]
) -> list[AuditFinding]:
    """A finding for each shortcut, with images whose class the cue gives away."""
    place_of = {
        path: place for place, path in enumerate(judged.catalog.paths[judged.rows].tolist())
    }
    findings = []
    for shortcut, answers in found:
        if not shortcut.found:
            continue
        low, high = shortcut.accuracy.low, shortcut.accuracy.high
        text = (
            f"The {shortcut.cue} alone tells the classes apart: {_percent(shortcut.accuracy.value)} %"
            f" balanced accuracy ({_percent(low)} to {_percent(high)}), where guessing has"
            f" {_percent(shortcut.chance)} % and the model {_percent(shortcut.model)} %."
        )
        advice = _ADVICE_OF_NAMES if shortcut.cue in ("file name", "time") else _ADVICE
        images = [judged.image(place_of[path]) for path in _examples(answers)]
        findings.append(
            AuditFinding(
                kind="shortcut",
                title=f"The {shortcut.cue} gives the class away",
                text=f"{text} {advice}",
                score=round(0.5 + 0.45 * shortcut.way, 5),
                images=tuple(images),
            )
        )
    return findings


def _examples(answers: Predictions) -> list[str]:
    """Images that the cue is most sure of and right, from one class after the other."""
    ranked: list[tuple[int, int]] = []
    for label in np.unique(answers.labels).tolist():
        own = np.flatnonzero(answers.correct & (answers.labels == label))
        best = own[np.argsort(-answers.confidence[own], kind="stable")][:SHOWN]
        ranked += [(rank, place) for rank, place in enumerate(best.tolist())]
    return [answers.paths[place] for _, place in sorted(ranked)[:SHOWN]]


def _percent(share: float) -> str:
    return f"{100 * share:.0f}"
