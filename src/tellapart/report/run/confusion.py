"""The confusion matrix with its images, and the galleries of errors and of random images."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tellapart.evaluation.metrics import confusion
from tellapart.evaluation.predictions import Predictions
from tellapart.keyed import keyed_numbers
from tellapart.report.parts.gallery import Album, Shot
from tellapart.report.parts.wording import percent, visible

MOST_CLASSES = 30  # in a matrix; above, the most confused pairs stand in a table
MOST_PAIRS = 40
MOST_IN_CELL = 12
MOST_IN_GALLERY = 24

# A cell's shade shows its share of its row. Correct predictions have their own colour and their own
# steps.
_ERROR_STEPS = (0.02, 0.05, 0.15, 0.4)
_RIGHT_STEPS = (0.5, 0.7, 0.85, 0.95)


@dataclass(frozen=True)
class Cell:
    """The images of one class with one prediction. `key` opens them; "" where there are none."""

    truth: str
    answer: str
    count: int
    share: float  # of the images of the true class
    shade: str  # the name of its colour
    key: str


@dataclass(frozen=True)
class Row:
    """The predictions for the images of one class, in class order."""

    name: str
    cells: tuple[Cell, ...]


def matrix(predictions: Predictions) -> list[Row]:
    """The confusion matrix: a row for each actual class, a column for each predicted class."""
    table = confusion(predictions)
    return [
        Row(name, tuple(_cell(predictions, table, row, column) for column in range(len(table))))
        for row, name in enumerate(predictions.classes)
    ]


def pairs(predictions: Predictions) -> list[Cell]:
    """The most frequent confusions, at most `MOST_PAIRS`."""
    table = confusion(predictions)
    wrong = table.copy()
    np.fill_diagonal(wrong, 0)
    most = np.argsort(-wrong, axis=None, kind="stable")[:MOST_PAIRS]
    cells = [_cell(predictions, table, *divmod(int(flat), len(table))) for flat in most]
    return [cell for cell in cells if cell.count]


def confident_errors(predictions: Predictions) -> NDArray[np.int64]:
    """Rows of the wrong predictions, the most confident first."""
    wrong = np.flatnonzero(~predictions.correct)
    return wrong[np.argsort(-predictions.confidence[wrong], kind="stable")]


def least_confident(predictions: Predictions, shown: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rows of the least confident predictions, right or wrong, without those already shown."""
    order = np.argsort(predictions.confidence, kind="stable")
    return order[~np.isin(order, shown)]


def picks(predictions: Predictions) -> NDArray[np.int64]:
    """Rows of random images, chosen by their paths alone. They show typical predictions."""
    return np.argsort(keyed_numbers(0, "shown", predictions.paths), kind="stable")[:MOST_IN_GALLERY]


def marked(predictions: Predictions, row: int) -> tuple[str, str]:
    """The label, and the prediction with a mark that says whether it is correct."""
    truth, answer = (
        predictions.classes[predictions.labels[row]],
        predictions.classes[predictions.predicted[row]],
    )
    return (
        f"label {truth}",
        (
            f"{'✓' if truth == answer else '✗'} {answer},"
            f" {percent(float(predictions.confidence[row]))}"
        ),
    )


def lines(predictions: Predictions, row: int) -> tuple[str, str]:
    """The caption of an image in a gallery: the prediction, then the label where it differs."""
    truth, answer = (
        predictions.classes[predictions.labels[row]],
        predictions.classes[predictions.answers[row]],
    )
    sure = percent(float(predictions.confidence[row]))
    return (f"{sure} {answer}", "correct" if truth == answer else f"label {truth}")


def dialogs(predictions: Predictions, cells: list[Cell], album: Album) -> dict[str, Any]:
    """The dialogs as plain values: cell key → heading and images, and the thumbnails.

    Errors get their thumbnails first, one for each cell in turn. So even a full album leaves no
    confusion without a thumbnail.
    """
    # Both are properties that go through all probabilities, so they are computed once.
    predicted, confidence = predictions.predicted, predictions.confidence
    rows = {
        cell.key: _rows_of(cell, predictions.labels, predicted, confidence)
        for cell in cells
        if cell.key
    }
    by_worth = sorted(
        (cell for cell in cells if cell.key), key=lambda cell: cell.truth == cell.answer
    )
    for turn in range(MOST_IN_CELL):
        for cell in by_worth:
            if turn < len(rows[cell.key]):
                album.file(predictions.paths[rows[cell.key][turn]])
    return {
        "cells": {
            cell.key: {
                "truth": visible(cell.truth),
                "answer": visible(cell.answer),
                "count": cell.count,
                "images": [
                    _entry(album.file(predictions.paths[row]), confidence[row])
                    for row in rows[cell.key]
                ],
            }
            for cell in by_worth
        },
        "thumbnails": album.loose,
    }


def as_json(content: Mapping[str, Any]) -> str:
    """Plain values as JSON that is safe inside a script element."""
    # "<" could end the script element or begin a comment in it.
    return json.dumps(content, separators=(",", ":")).replace("<", "\\u003c")


def _entry(shot: Shot, confidence: float) -> list[str]:
    return [visible(shot.path), percent(float(confidence)), shot.key, visible(shot.problem)]


def _rows_of(
    cell: Cell,
    labels: NDArray[np.int64],
    predicted: NDArray[np.int64],
    confidence: NDArray[np.float32],
) -> list[int]:
    """The most confident errors of a cell, or its least confident correct predictions."""
    truth, answer = map(int, cell.key.split("-"))
    rows = np.flatnonzero((labels == truth) & (predicted == answer))
    order = np.argsort(confidence[rows] if truth == answer else -confidence[rows], kind="stable")
    return [int(row) for row in rows[order[:MOST_IN_CELL]]]


def _cell(predictions: Predictions, table: NDArray[np.int64], row: int, column: int) -> Cell:
    count = int(table[row, column])
    share = count / max(int(table[row].sum()), 1)
    right = row == column
    step = int(np.searchsorted(_RIGHT_STEPS if right else _ERROR_STEPS, share, side="right")) + 1
    return Cell(
        truth=predictions.classes[row],
        answer=predictions.classes[column],
        count=count,
        share=share,
        shade="" if not count else f"{'right' if right else 'wrong'}-{step}",
        key=f"{row}-{column}" if count else "",
    )
