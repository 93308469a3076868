"""Answers as a table: one row an image, in the order of the images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tellapart.modelfile.predictor import Answer
from tellapart.tables import Columns, to_frame, write_table

if TYPE_CHECKING:
    import polars

NUM_TEXTS = 5  # the columns before the confidence


def answer_row(answer: Answer, classes: Sequence[str]) -> dict[str, Any]:
    """One row: path, status, note, decision, answer, confidence, then a probability a class.

    A cell is None where the answer has no value for it.

    >>> answer_row(Answer("x.jpg", "empty"), ["cat"])["p:cat"] is None
    True
    """
    return {
        "path": answer.path,
        "status": answer.status,
        "note": ";".join(answer.notes),
        "decision": answer.decision or None,
        "answer": answer.answer or None,
        "confidence": answer.confidence,
        **{f"p:{name}": answer.probabilities.get(name) for name in classes},
    }


def write_answers(path: Path, answers: Sequence[Answer], classes: Sequence[str]) -> None:
    """Write the table whole, as CSV, JSON Lines or Parquet; the ending of `path` says which."""
    write_table(path, [answer_row(answer, classes) for answer in answers], _columns(classes))


def answers_frame(answers: Sequence[Answer], classes: Sequence[str]) -> polars.DataFrame:
    """The table as a polars data frame, with the columns of `answer_row`.

    Args:
        answers: what `Predictor.predict` gave for a list.
        classes: the predictor's classes, in the order of the columns wanted.

    Raises:
        UserError: polars is not installed.

    >>> answers = predictor.predict([photos / "sky" / "000.jpg", b""])
    >>> answers_frame(answers, predictor.classes).select("status", "answer").rows()
    [('ok', 'sky'), ('empty', None)]
    """
    return to_frame([answer_row(answer, classes) for answer in answers], _columns(classes))


def _columns(classes: Sequence[str]) -> Columns:
    names = answer_row(Answer("", ""), classes)
    return {name: str if place < NUM_TEXTS else float for place, name in enumerate(names)}
