"""What a verb puts on standard output."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from tellapart.errors import InputsRejected, UserError
from tellapart.phrases import count_of
from tellapart.progress import shown, wrapped

if TYPE_CHECKING:
    from tellapart.evaluation.metrics import ClassScores, Metrics
    from tellapart.evaluation.slices import Slice, Slices
    from tellapart.modelfile.predictor import Answer
    from tellapart.models.fetch import HubWeights

SHOWN = 3  # names of classes without images, beside an accuracy
MOST_CLASSES = 20  # with more, a training prints no line per class
# Labels of lines that hold a path or a command. They are not wrapped, so that they can be copied.
COPIED = ("file", "next", "page", "report", "model", "use it")
LABEL_WIDTH = 10


@contextlib.contextmanager
def results_only() -> Iterator[None]:
    """Keep standard output for results: what libraries print meanwhile goes to standard error."""
    with contextlib.redirect_stdout(sys.stderr):
        yield


def never_fail_to_print() -> None:
    """Let a terminal or a pipe that cannot show a character get an escape in its place."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")


def hush() -> None:
    """Keep libraries from printing on standard output as the process ends."""
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
    sys.stdout = sys.stderr


def echo(line: str, *, err: bool = False, bold: bool = False) -> None:
    """Print one line. A terminal wraps it at words, unless it holds a path or a command.

    Args:
        line: what to print.
        err: print it on standard error.
        bold: let it stand out on a terminal.
    """
    line, stream = shown(line), sys.stderr if err else sys.stdout
    if stream and stream.isatty():
        if line[:LABEL_WIDTH].rstrip() not in COPIED:
            line = wrapped(line, shutil.get_terminal_size().columns)
        line = typer.style(line, bold=True) if bold else line
    typer.echo(line, err=err)


def print_json(values: dict[str, Any]) -> None:
    """Print one JSON object on one line."""
    # json.dumps escapes all that is not ASCII, so a pipe of any encoding can carry it.
    typer.echo(json.dumps(values, allow_nan=False))


def print_found(
    values: dict[str, Any], lines: Sequence[str], page: Path | None, json_: bool
) -> None:
    """Print what a verb found, and the page that shows it."""
    if json_:
        print_json(values)
    else:
        for place, line in enumerate(lines):
            echo(line, bold=place == 0)
        echo(f"page      {page}")


def print_scores(metrics: Metrics, split: str = "") -> None:
    """Print the accuracy over all classes, and the baseline.

    Args:
        metrics: of the images.
        split: which images these are, as "test ".
    """
    over = _over_tested_classes(metrics)
    if metrics.balanced_first:
        echo(f"{split}balanced accuracy  {metrics.balanced_accuracy}{over}", bold=True)
    echo(f"{split}accuracy  {metrics.accuracy}{over}", bold=True)
    if metrics.majority_baseline is not None and metrics.accuracy.count:
        echo(
            "baseline: always answering the largest class of train is correct for"
            f" {metrics.majority_baseline}"
        )


def _over_tested_classes(metrics: Metrics) -> str:
    """Which classes an accuracy says nothing of, to go on with after it; "" if there are none."""
    missing = [scores.name for scores in metrics.per_class if not scores.recall.count]
    if not missing or not metrics.accuracy.count:
        return ""
    shown = ", ".join(map(repr, missing[:SHOWN])) + (" …" if len(missing) > SHOWN else "")
    total = len(metrics.per_class)
    return (
        f", over the {total - len(missing):,} of {total:,} classes that have images here; missing:"
        f" {shown}"
    )


def print_classes(metrics: Metrics) -> None:
    """Print recall and precision, a line per class."""
    for scores in metrics.per_class:
        echo(f"{scores.name}: recall {scores.recall}, precision {scores.precision}{_trust(scores)}")


def print_slices(slices: Slices) -> None:
    """Print which slices fail, then a row per slice. Shares are in percent."""
    for line in slices.lines:
        echo(line)
    heads = ["slice", "images", "right %", "to rest", "p", "answered", "p"]
    print_table(heads, map(_slice_cells, slices.tested), always_heads=True)


def _slice_cells(entry: Slice) -> list[str]:
    score, answered = entry.accuracy, entry.answered
    coverage = "" if answered is None else f"{100 * answered.value:.1f}"
    return [
        entry.title,
        str(entry.images),
        f"{100 * score.value:.1f} ({100 * score.low:.0f} to {100 * score.high:.0f})",
        f"{100 * entry.difference.value:+.1f}",
        f"{entry.p:.2g}",
        coverage,
        "" if entry.p_answered is None else f"{entry.p_answered:.2g}",
    ]


def print_class_accuracy(metrics: Metrics) -> None:
    """Print recall per class, unless nothing was measured, or there are more than `MOST_CLASSES`.

    The report has the recall of every class.
    """
    if metrics.accuracy.count and len(metrics.per_class) <= MOST_CLASSES:
        for scores in metrics.per_class:
            echo(f"  {scores.name}: recall {scores.recall}{_trust(scores)}")


def agree_to_weights(weights: HubWeights, *, yes: bool) -> bool:
    """Show what would be fetched, and ask whether to.

    Args:
        weights: as the hub announces them.
        yes: do not ask.

    Raises:
        UserError: there is no terminal to ask at.
    """
    echo(f"{weights.name}: {weights.bytes / 1e6:.1f} MB from {weights.repository}", err=True)
    echo(f"file      {weights.file}, commit {weights.commit}", err=True)
    echo(f"SHA-256   {weights.digest}", err=True)
    from tellapart.modelfile.licences import in_words

    echo(f"licence   {in_words(weights.licence)}", err=True)
    if yes:
        return True
    if not sys.stdin or not sys.stdin.isatty():
        raise UserError(
            "There is no terminal to ask at, so nothing was fetched.",
            f"Agree to size and licence by an option: tellapart backbones fetch {weights.name} --yes",
        )
    return typer.confirm("Fetch it?", err=True)


def end_with(statuses: Mapping[str, int], *, quiet: bool) -> None:
    """Exit with the code for rejected inputs if there are some, and say so.

    Args:
        statuses: how many inputs have each status.
        quiet: say nothing.
    """
    rejected = {status: count for status, count in statuses.items() if status != "ok"}
    if not rejected:
        return
    if not quiet:
        total, unused = sum(statuses.values()), sum(rejected.values())
        listed = ", ".join(f"{count:,} {status}" for status, count in rejected.items())
        echo(
            f"Done, with exit code {InputsRejected.exit_code}: {unused:,} of {total:,} files could"
            f" not be used ({listed}).",
            err=True,
        )
    raise typer.Exit(InputsRejected.exit_code)


def _trust(scores: ClassScores) -> str:
    return "" if scores.trusted else "   few images: only a hint"


def print_answers(answers: Sequence[Answer], top: int) -> None:
    """Print a line per image, and on a terminal how many were answered."""
    heads = ["image", "answer", "confidence", "decision", "note"]
    rows = [_cells(answer, top) for answer in answers]
    if any(answer.prediction_set for answer in answers):
        heads.insert(4, "set")
        for row, answer in zip(rows, answers, strict=True):
            row.insert(4, ", ".join(answer.prediction_set))
    on_terminal = sys.stdout.isatty()
    folder = _common_folder([answer.path for answer in answers]) if on_terminal else ""
    if folder:
        echo(f"images of {folder}")
        rows = [[row[0].removeprefix(folder), *row[1:]] for row in rows]
    print_table(heads, rows)
    if on_terminal and len(answers) > 1:
        echo(_decisions(answers))


def _common_folder(paths: Sequence[str]) -> str:
    """The folder that all files lie in, with a slash at its end; "" where there is none."""
    if len(paths) < 2:
        return ""
    # What the smallest and the largest of all have in common, those between them have too.
    pairs = enumerate(zip(min(paths), max(paths), strict=False))
    end = next((place for place, (low, high) in pairs if low != high), 0)
    return min(paths)[: min(paths).rfind("/", 0, end) + 1]


# A decision → what explains it below the table.
_MEANINGS = {
    "unsure": " (less sure than the model's threshold)",
    "unfamiliar": " (unlike the images of the training)",
}


def _decisions(answers: Sequence[Answer]) -> str:
    """How many images have each decision, or the status that stands in its place."""
    counts = Counter(answer.decision or answer.status for answer in answers)
    each = [f"{count:,} {name}{_MEANINGS.get(name, '')}" for name, count in counts.most_common()]
    return f"{count_of(len(answers), 'image')}: {', '.join(each)}"


def print_table(
    heads: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    always_heads: bool = False,
    essential: Sequence[str] = (),
) -> None:
    """Print a table for a terminal. Elsewhere it is tab-separated lines, which nothing cuts off.

    Args:
        heads: the names of the columns.
        rows: as many cells in each.
        always_heads: print the heads elsewhere too, where the columns are not always the same.
        essential: the columns that a terminal shows which is too narrow for all. Without them each
            row becomes a block.
    """
    cells = [[shown(cell) for cell in row] for row in rows]
    width = shutil.get_terminal_size().columns
    if not sys.stdout.isatty():
        for row in [heads, *cells] if always_heads and cells else cells:
            typer.echo("\t".join(row))
        return
    chosen = [place for place, head in enumerate(heads) if head in essential]
    fewer = [[row[place] for place in chosen] for row in cells]
    if _needed_width(cells, width) <= width:
        _print_columns(heads, cells)
    elif chosen and _needed_width(fewer, width) <= width:
        _print_columns([heads[place] for place in chosen], fewer)
        echo("A wider terminal shows all columns, and --out FILE.csv writes them.")
    else:
        _print_blocks(heads, cells, width)


def print_keys(rows: Sequence[tuple[str, str, str, str, str]]) -> None:
    """Print recipe keys. A terminal gets them by section, and elsewhere they are a table.

    Args:
        rows: key, value, default, what it takes and what it means.
    """
    if not sys.stdout.isatty():
        heads = ["key", "value", "default", "takes", "what it means"]
        print_table(heads, rows, always_heads=True)
        return
    for section, keys in groupby(rows, key=lambda row: row[0].rpartition(".")[0]):
        echo("")
        echo(section or "the recipe", bold=True)
        for key, value, default, takes, meaning in keys:
            usual = f"; default: {default}" if value != default else ""
            echo(f"  {key}={value}   ({takes}{usual})")
            echo(f"      {meaning}")


def _needed_width(cells: Sequence[Sequence[str]], width: int) -> int:
    """The width of a table that breaks no word, but for long names in its first column."""
    columns = list(zip(*cells, strict=True))
    longest = [
        max((len(word) for cell in column for word in cell.split()), default=0)
        for column in columns
    ]
    return sum(
        min(most, width // 2) if place == 0 else most + 2 for place, most in enumerate(longest)
    )


def _print_blocks(heads: Sequence[str], cells: Sequence[Sequence[str]], width: int) -> None:
    """A line for the name of each row, and its other cells below, wrapped at words."""
    for name, *values in cells:
        facts = [f"{head}: {value}" for head, value in zip(heads[1:], values, strict=True) if value]
        typer.echo(name)
        typer.echo(wrapped(f"  {' · '.join(facts)}", width))


def _print_columns(heads: Sequence[str], cells: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    table = Table(*heads, box=None, pad_edge=False)
    for column in table.columns:
        column.overflow = "fold"
    # Names are what a reader looks for: they are not broken unless they are very long.
    widest = max((len(row[0]) for row in cells), default=0)
    table.columns[0].no_wrap = widest <= console.width // 3
    for row in cells:
        table.add_row(*(Text(cell, overflow="fold") for cell in row))
    console.print(table)


def _cells(answer: Answer, top: int) -> list[str]:
    best = answer.top(top)
    names = ", ".join(name for name, _ in best)
    shares = ", ".join(f"{share:.1%}" for _, share in best)
    remark = answer.detail if answer.status != "ok" else ", ".join(answer.notes)
    return [answer.path, names, shares, answer.decision or answer.status, remark]
