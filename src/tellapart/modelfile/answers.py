"""Answers as a table: one row an image, in the order of the images."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tellapart.modelfile.predictor import Answer
from tellapart.tables import Columns, to_frame, write_table

if TYPE_CHECKING:
    import polars


def answer_row(answer: Answer, classes: Sequence[str], *, sets: bool = False) -> dict[str, Any]:
    """One row: path, status, note, decision, answer, confidence, then a probability a class.

    A cell is None where the answer has no value for it. The note of an image that cannot be used is
    the sentence that says why.

    Args:
        answer: to one image.
        classes: C names.
        sets: whether the column "set" follows: the classes of the prediction set as a JSON list.

    >>> answer_row(Answer("x.jpg", "empty"), ["cat"])["p:cat"] is None
    True
    """
    return {
        "path": answer.path,
        "status": answer.status,
        "note": ";".join(answer.notes) if answer.status == "ok" else answer.detail,
        "decision": answer.decision or None,
        "answer": answer.answer or None,
        "confidence": answer.confidence,
        **{f"p:{name}": answer.probabilities.get(name) for name in classes},
        **({"set": _set_text(answer)} if sets else {}),
    }


def answer_columns(classes: Sequence[str], *, sets: bool = False) -> Columns:
    """The columns of `answer_row`, with the type of their cells."""
    names = answer_row(Answer("", ""), classes, sets=sets)
    texts = {name for name in names if not name.startswith("p:")} - {"confidence"}
    return {name: str if name in texts else float for name in names}


def _set_text(answer: Answer) -> str | None:
    if not answer.prediction_set:
        return None
    return json.dumps(answer.prediction_set, ensure_ascii=False)


def write_answers(path: Path, answers: Sequence[Answer], classes: Sequence[str]) -> None:
    """Write the table whole, as CSV, JSON Lines or Parquet; the ending of `path` says which."""
    write_table(path, *_table(answers, classes))


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
    return to_frame(*_table(answers, classes))


def _table(
    answers: Sequence[Answer], classes: Sequence[str]
) -> tuple[list[dict[str, Any]], Columns]:
    """The rows, and the type of each column. The column of sets is there if any answer has one."""
    sets = any(answer.prediction_set for answer in answers)
    rows = [answer_row(answer, classes, sets=sets) for answer in answers]
    return rows, answer_columns(classes, sets=sets)
