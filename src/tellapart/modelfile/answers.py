"""Answers as a table: one row an input, in input order, as CSV, JSON Lines or Parquet.

In CSV a cell that a spreadsheet would run as a formula (it starts with = + - @ ' or a control character) is written
with one apostrophe before it; taking that away gives the exact text back.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tellapart.errors import UserError, choose, needs_extra
from tellapart.modelfile.predictor import Answer
from tellapart.writing import write_whole


def answer_row(answer: Answer, classes: Sequence[str]) -> dict[str, Any]:
    """One row: path, status, note, decision, answer, confidence, then a probability a class. None where there is none.

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


def check_table_name(path: Path) -> None:
    """Refuse, before any work, a table that could not be written after it."""
    choose("kind of table", path.suffix.lower(), list(_WRITERS))
    if path.suffix.lower() == ".parquet":
        _polars()
    if path.is_dir():
        raise UserError(f"{path} is a folder.", "Name a file in it, for example answers.csv.")


def write_answers(path: Path, answers: Sequence[Answer], classes: Sequence[str]) -> None:
    """Write the table whole; the ending of `path` says which kind."""
    rows = [answer_row(answer, classes) for answer in answers]
    columns = list(answer_row(Answer("", ""), classes))
    write_whole(path, _WRITERS[path.suffix.lower()](rows, columns))


def _csv(rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")  # RFC 4180; then a name with a line break of any kind is quoted
    writer.writerow([_cell(name) for name in columns])
    writer.writerows([_cell(row[name]) for name in columns] for row in rows)
    return text.getvalue().encode()


def _cell(value: object) -> object:
    if isinstance(value, str) and value and (value[0] in "=+-@'" or value[0] < " "):
        return "'" + value
    return value


def _json_lines(rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def _parquet(rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> bytes:
    polars = _polars()
    kinds = dict.fromkeys(columns[:5], polars.String) | dict.fromkeys(columns[5:], polars.Float64)
    buffer = io.BytesIO()
    polars.DataFrame(list(rows), schema=kinds).write_parquet(buffer)
    return buffer.getvalue()


def _polars() -> Any:
    try:
        import polars
    except ImportError:
        raise needs_extra("polars", "train") from None
    return polars


_WRITERS: dict[str, Callable[[Sequence[dict[str, Any]], Sequence[str]], bytes]] = {
    ".csv": _csv,
    ".jsonl": _json_lines,
    ".parquet": _parquet,
}
