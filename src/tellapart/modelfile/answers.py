"""Answers as a table: one row an input, in input order."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tellapart.modelfile.predictor import Answer
from tellapart.tables import write_table


def answer_row(answer: Answer, classes: Sequence[str]) -> dict[str, Any]:
    """One row: path, status, note, decision, answer, confidence, then a probability a class. None
    where there is none.

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
    columns = answer_row(Answer("", ""), classes)
    kinds = {name: str if place < NUM_TEXTS else float for place, name in enumerate(columns)}
    write_table(path, [answer_row(answer, classes) for answer in answers], kinds)


NUM_TEXTS = 5  # the columns before the confidence
