"""What a verb puts on standard output."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from tellapart.progress import shown

if TYPE_CHECKING:
    from tellapart.evaluation.metrics import ClassScores, Metrics
    from tellapart.modelfile.predictor import Answer

MOST_CLASSES = 20  # told one by one after a training


@contextlib.contextmanager
def results_only() -> Iterator[None]:
    """Standard output is for what a verb finds: what libraries print while it works goes to
    standard error.
    """
    with contextlib.redirect_stdout(sys.stderr):
        yield


def hush() -> None:
    """From here on they print nothing there any more, at the very end neither."""
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
    sys.stdout = sys.stderr


def echo(line: str, *, err: bool = False) -> None:
    """One line."""
    typer.echo(shown(line), err=err)


def print_json(values: dict[str, Any]) -> None:
    """One JSON object."""
    # ensure_ascii: then a terminal or pipe of any encoding can carry it
    echo(json.dumps(values, allow_nan=False))


def print_found(values: dict[str, Any], lines: Sequence[str], page: Path, json_: bool) -> None:
    """What a look at the data found, and the page that shows it."""
    if json_:
        print_json(values)
    else:
        for line in lines:
            echo(line)
        echo(f"page      {page}")


def print_scores(metrics: Metrics, split: str = "") -> None:
    """Accuracy over all classes; `split` says of which images."""
    if metrics.balanced_first:
        echo(f"{split}balanced accuracy  {metrics.balanced_accuracy}")
    echo(f"{split}accuracy  {metrics.accuracy}")
    if metrics.majority_baseline is not None:
        echo(f"always the largest class would be right {metrics.majority_baseline}")


def print_classes(metrics: Metrics) -> None:
    """A line a class."""
    for one in metrics.per_class:
        echo(f"{one.name}: recall {one.recall}, precision {one.precision}{_trust(one)}")


def print_class_accuracy(metrics: Metrics) -> None:
    """Of each class, how many of its images are right; of very many classes nothing, for the report
    has them.
    """
    if len(metrics.per_class) <= MOST_CLASSES:
        for one in metrics.per_class:
            echo(f"  {one.name}: {one.recall}{_trust(one)}")


def _trust(one: ClassScores) -> str:
    return "" if one.trusted else "   too few to trust"


def print_answers(answers: Sequence[Answer], top: int) -> None:
    """A line an image."""
    print_table(
        ["image", "answer", "confidence", "decision", "note"],
        (_cells(answer, top) for answer in answers),
    )


def print_table(
    heads: Sequence[str], rows: Iterable[Sequence[str]], *, always_heads: bool = False
) -> None:
    """A table for a person; where the output is no terminal, tab-separated lines that nothing cuts
    off.

    Args:
        always_heads: there too, above the rows, where the columns are not always the same.
    """
    cells = [[shown(cell) for cell in row] for row in rows]
    if not sys.stdout.isatty():
        for row in [heads, *cells] if always_heads and cells else cells:
            typer.echo("\t".join(row))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*heads, box=None, pad_edge=False)
    for row in cells:
        table.add_row(*(Text(cell, overflow="fold") for cell in row))
    Console().print(table)


def _cells(answer: Answer, top: int) -> list[str]:
    best = answer.top(top)
    names, shares = (
        ", ".join(name for name, _ in best),
        ", ".join(f"{share:.1%}" for _, share in best),
    )
    remark = answer.detail if answer.status != "ok" else ", ".join(answer.notes)
    return [answer.path, names, shares, answer.decision or answer.status, remark]
