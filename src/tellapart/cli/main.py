"""The command line: its verbs, and the one edge where an error becomes a line and an exit code.

Nothing heavy is imported here: `--help` needs neither numpy nor torch.
"""

from __future__ import annotations

import errno
import io
import json
import logging
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import tellapart
from tellapart.catalog.names import escape
from tellapart.errors import InputsRejected, Interrupted, UserError, needs_extra
from tellapart.progress import shown
from tellapart.writing import disk_error

if TYPE_CHECKING:
    from tellapart.evaluation.metrics import Metrics
    from tellapart.modelfile.predictor import Answer

app = typer.Typer(
    name="tellapart",
    help="From a folder of pictures to an image classifier that you can trust and ship.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

SIGINT_EXIT = 130

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output, and nothing else there.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing while working.")]
Data = Annotated[
    Path,
    typer.Argument(
        help="A folder with one folder a class, or with train/ and test/; a table; IDX or CIFAR; an archive."
    ),
]
Recipe = Annotated[str, typer.Option(help="A recipe's name, or a YAML file.")]
Seed = Annotated[int | None, typer.Option(help="Of every random decision; 0 by default.")]
GroupBy = Annotated[
    str | None,
    typer.Option(help="Keep together in one split: column:NAME, folder, folder:N, name:PATTERN, or burst."),
]
Set = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change one key of the recipe; repeatable.")
]
Model = Annotated[Path, typer.Argument(help="A model.onnx, or the run folder that holds it.")]


def _version(wanted: bool) -> None:
    if wanted:
        _echo(f"tellapart {tellapart.__version__}")
        raise typer.Exit


@app.callback()
def _verbs(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


@app.command(
    epilog="Examples:  tellapart train photos/   ·   tellapart train labels.csv --set head.weighting=balanced"
    "   ·   tellapart train photos/ --splits runs/20261121-101500-photos"
)
def train(
    data: Data,
    recipe: Recipe = "probe",
    out: Annotated[Path, typer.Option(help="The folder that holds runs.")] = Path("runs"),
    name: Annotated[str | None, typer.Option(help="What to call the run; the data's name by default.")] = None,
    seed: Seed = None,
    splits: Annotated[Path | None, typer.Option(help="Use the splits of an earlier run again.")] = None,
    group_by: GroupBy = None,
    set_: Set = None,
    strict: Annotated[bool, typer.Option("--strict", help="Refuse data with leaks or label conflicts.")] = False,
    json_: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train a classifier; check it, measure it, and write the model file and a report into a run folder."""
    run = tellapart.train(
        data,
        recipe=recipe,
        out=out,
        name=name,
        seed=seed,
        splits=splits,
        group_by=group_by,
        strict=strict,
        set=_settings(set_),
        quiet=quiet,
    )
    if json_:
        _print_json(run.as_json())
    else:
        _print_scores(run.metrics)
        _echo(f"report    {run.report}")
        _echo(f"model     {run.model}")
        _echo(f"use it    tellapart predict {run.model} PICTURES…")
    _end(run.statuses)


@app.command(
    epilog="Examples:  tellapart predict model.onnx photo.jpg new/ 'more/*.png'   ·   "
    "find . -name '*.jpg' | tellapart predict model.onnx - --out answers.csv"
)
def predict(
    model: Model,
    pictures: Annotated[list[str], typer.Argument(help="Files, folders, patterns; - for a list on standard input.")],
    out: Annotated[Path | None, typer.Option(help="Write a table: .csv, .jsonl or .parquet.")] = None,
    top: Annotated[int, typer.Option(min=1, help="How many classes to show for each picture.")] = 1,
    json_: Json = False,
    quiet: Quiet = False,
) -> None:
    """Say what is on pictures, one row a file, in order. Needs no torch."""
    from tellapart.catalog.inputs import expand_inputs
    from tellapart.jobs.prediction import count_statuses, predict_files
    from tellapart.modelfile.answers import answer_row
    from tellapart.progress import Talk

    files = expand_inputs(pictures, sys.stdin.buffer if sys.stdin else io.BytesIO())
    predictor, answers = predict_files(model, files, out=out, talk=Talk(quiet=quiet))
    statuses = count_statuses(answers)
    if json_:
        rows = [answer_row(answer, predictor.classes) | {"top": answer.top(top)} for answer in answers]
        _print_json(
            {"statuses": statuses, **({"out": escape(str(out)), "rows": len(rows)} if out else {"answers": rows})}
        )
    elif out:
        _echo(f"{len(answers):,} rows written to {out}")
    else:
        _print_answers(answers, top)
    _end(statuses)


@app.command(
    epilog="Examples:  tellapart explore photos/   ·   tellapart explore photos.zip --group-by name:'^(p[0-9]+)_'"
    "   ·   tellapart explore photos/ --check --picture cats/7.jpg"
)
def explore(
    data: Data,
    out: Annotated[
        Path | None, typer.Option(help="The HTML page; NAME-explore.html or NAME-check.html here by default.")
    ] = None,
    table: Annotated[Path | None, typer.Option(help="Write every file's row too: .csv, .jsonl or .parquet.")] = None,
    recipe: Recipe = "probe",
    seed: Seed = None,
    group_by: GroupBy = None,
    set_: Set = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 5 if anything but remarks is found.")] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Walk one picture through the whole pipeline instead.")
    ] = False,
    picture: Annotated[str | None, typer.Option(help="With --check: which, by its path in the data.")] = None,
    model: Annotated[Path | None, typer.Option(help="With --check: a model, to end with its answer.")] = None,
    json_: Json = False,
    quiet: Quiet = False,
) -> None:
    """Look at the data: every file's status, balance, copies, conflicts, leaks; on one HTML page. Needs no torch."""
    if check:
        _goes_without("--check", {"--table": table, "--seed": seed, "--group-by": group_by, "--strict": strict or None})
        from tellapart.jobs.checking import check as check_picture

        checked = check_picture(
            data, picture=picture, model=model, out=out, recipe=recipe, set=_settings(set_), quiet=quiet
        )
        _print_found(checked.as_json(), checked.lines(), checked.page, json_)
        return
    if picture is not None or model is not None:
        raise UserError("--picture and --model go with --check only.", "Add --check.")
    exploration = tellapart.explore(
        data,
        out=out,
        table=table,
        recipe=recipe,
        seed=seed,
        group_by=group_by,
        strict=strict,
        set=_settings(set_),
        quiet=quiet,
    )
    _print_found(exploration.as_json(), exploration.lines, exploration.page, json_)
    _end(exploration.catalog.status_counts)


@app.command(epilog="Example:  tellapart evaluate runs/20261121-101500-photos more-photos/")
def evaluate(
    model: Model,
    data: Data,
    seed: Annotated[int, typer.Option(min=0, help="Of the bootstrap intervals.")] = 0,
    json_: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure a model on labelled pictures, with error bars. Needs no torch."""
    evaluation = tellapart.evaluate(model, data, seed=seed, quiet=quiet)
    if json_:
        _print_json(evaluation.as_json())
    else:
        _print_scores(evaluation.metrics)
        _echo(f"answered  {evaluation.answering.coverage}")
        _echo(f"  of them right {evaluation.answering.accuracy_answered}")
        _print_classes(evaluation.metrics)
    _end(evaluation.statuses)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one verb and exit: 0 done, 1 our fault, 2 wrong use, 3 some inputs rejected, 4 interrupted, 5 refused."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    signal.signal(signal.SIGTERM, _stop)
    logging.getLogger("PIL").setLevel(logging.CRITICAL)  # what it has to say is in the file's status
    interrupted = Interrupted(
        "Interrupted; nothing is half-written.", "What was computed is kept: run the same command again to go on."
    )
    try:
        code = app(words, standalone_mode=False, prog_name="tellapart")
        if code == SIGINT_EXIT:  # what the command line library makes of KeyboardInterrupt
            code = _failed(interrupted, words)
    except (KeyboardInterrupt, EOFError):
        code = _failed(interrupted, words)
    except BrokenPipeError:  # the reader of our output has gone; that is its right
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - open until the interpreter has flushed it
        code = 0
    except UserError as error:
        code = _failed(error, words)
    except Exception as error:
        code = _failed(_as_user_error(error), words)
    sys.exit(code if isinstance(code, int) else 0)


def _stop(signal_number: int, frame: object) -> None:
    raise KeyboardInterrupt


def _as_user_error(error: Exception) -> UserError:
    """The command line library's own errors are wrong use; anything else is our fault, told in one line."""
    if hasattr(error, "format_message"):
        return UserError(_plain(error.format_message()).rstrip(".") + ".", "Run it with --help to see what there is.")
    if os.environ.get("TELLAPART_TRACEBACK"):
        raise error
    if isinstance(error, ModuleNotFoundError) and error.name and not error.name.startswith("tellapart"):
        return needs_extra(error.name, "train")
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return disk_error(error, Path(error.filename or "standard output"), 0)
    if type(error).__name__ == "Abort":  # the same, in older releases of that library
        return Interrupted("Interrupted; nothing is half-written.", "Run the same command again to go on.")
    fault = UserError(
        f"Unexpected fault: {type(error).__name__}: {' '.join(str(error).split())[:300]}",
        "Please report it; TELLAPART_TRACEBACK=1 shows where it came from.",
    )
    fault.kind, fault.exit_code = "fault", 1
    return fault


def _plain(text: str) -> str:
    return " ".join(text.split())


def _failed(error: UserError, words: Sequence[str]) -> int:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C while the first one is being told
    if "--json" in words:
        _print_json({"error": {"kind": error.kind, "message": error.message, "hint": error.hint}})
    else:
        _echo(f"error: {error}", err=True)
    return error.exit_code


def _end(statuses: dict[str, int] | Any) -> None:
    if any(status != "ok" for status in statuses):
        raise typer.Exit(InputsRejected.exit_code)


def _echo(line: str, *, err: bool = False) -> None:
    """One line."""
    typer.echo(shown(line), err=err)


def _goes_without(option: str, others: dict[str, object]) -> None:
    given = [name for name, value in others.items() if value is not None]
    if given:
        raise UserError(f"{option} does not go with {' and '.join(given)}.", "Leave one of them out.")


def _settings(pairs: Sequence[str] | None) -> dict[str, str]:
    settings = {}
    for pair in pairs or ():
        key, sign, value = pair.partition("=")
        if not sign:
            raise UserError(f"--set {pair} has no value.", f"Write --set {key}=VALUE.")
        settings[key] = value
    return settings


def _print_json(values: dict[str, Any]) -> None:
    # ensure_ascii: then a terminal or pipe of any encoding can carry it
    _echo(json.dumps(values, allow_nan=False))


def _print_found(values: dict[str, Any], lines: Sequence[str], page: Path, json_: bool) -> None:
    if json_:
        _print_json(values)
    else:
        for line in lines:
            _echo(line)
        _echo(f"page      {page}")


def _print_scores(metrics: Metrics) -> None:
    if metrics.balanced_first:
        _echo(f"balanced accuracy  {metrics.balanced_accuracy}")
    _echo(f"accuracy  {metrics.accuracy}")
    if metrics.majority_baseline is not None:
        _echo(f"always the largest class would be right {metrics.majority_baseline}")


def _print_classes(metrics: Metrics) -> None:
    for one in metrics.per_class:
        trust = "" if one.trusted else "   too few to trust"
        _echo(f"{one.name}: recall {one.recall}, precision {one.precision}{trust}")


def _print_answers(answers: Sequence[Answer], top: int) -> None:
    """A table for a person; where the output is no terminal, tab-separated lines that nothing cuts off."""
    heads = ["picture", "answer", "confidence", "decision", "note"]
    rows = [[shown(cell) for cell in _cells(answer, top)] for answer in answers]
    if not sys.stdout.isatty():
        for row in rows:
            typer.echo("\t".join(row))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*heads, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*(Text(cell, overflow="fold") for cell in row))
    Console().print(table)


def _cells(answer: Answer, top: int) -> list[str]:
    best = answer.top(top)
    names, shares = ", ".join(name for name, _ in best), ", ".join(f"{share:.1%}" for _, share in best)
    remark = answer.detail if answer.status != "ok" else ", ".join(answer.notes)
    return [answer.path, names, shares, answer.decision or answer.status, remark]
