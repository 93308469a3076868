"""The verbs: words on the command line → one call each → what it prints.

Nothing heavy is imported here: `--help` needs neither numpy nor torch.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

import tellapart
from tellapart.catalog.names import escape
from tellapart.cli.output import (
    echo,
    print_answers,
    print_class_accuracy,
    print_classes,
    print_found,
    print_json,
    print_scores,
    print_table,
    results_only,
)
from tellapart.cli.values import goes_with, goes_without, minutes, settings
from tellapart.errors import InputsRejected, UserError

app = typer.Typer(
    name="tellapart",
    help="From a folder of images to an image classifier that you can trust and ship.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Json = Annotated[
    bool,
    typer.Option(
        "--json", help="Print one JSON object on standard output, and nothing else there."
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing while working.")]
DATA_HELP = (
    "A folder with one folder a class, or with train/ and test/; a table; IDX or CIFAR; an archive."
)
Data = Annotated[Path, typer.Argument(help=DATA_HELP)]
Recipe = Annotated[
    str | None,
    typer.Option(
        help="A recipe's name (tellapart recipes lists them), or a YAML file; probe by default."
    ),
]
Seed = Annotated[
    int | None, typer.Option(help="Of every random decision; the recipe's by default.")
]
GroupBy = Annotated[
    str | None,
    typer.Option(
        help="Keep together in one split: column:NAME, folder, folder:N, name:PATTERN, or burst."
    ),
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change one key of the recipe; repeatable."),
]
Model = Annotated[Path, typer.Argument(help="A model.onnx, or the run folder that holds it.")]


def _version(wanted: bool) -> None:
    if wanted:
        echo(f"tellapart {tellapart.__version__}")
        raise typer.Exit


@app.callback()
def _verbs(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


@app.command(
    epilog=(
        "Examples:  tellapart train photos/   ·   tellapart train labels.csv --set"
        " head.weighting=balanced   ·   tellapart train photos/ --recipe finetune --budget 20m   · "
        "  tellapart train --recipe cifar10-lenet   ·   tellapart train --resume"
        " runs/20261121-101500-photos"
    )
)
def train(
    data: Annotated[
        Path | None,
        typer.Argument(help=f"{DATA_HELP} Without it the recipe's public data set is downloaded."),
    ] = None,
    recipe: Recipe = None,
    out: Annotated[
        Path | None, typer.Option(help="The folder that holds runs; runs by default.")
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="What to call the run; the data's name by default.")
    ] = None,
    seed: Seed = None,
    splits: Annotated[
        Path | None, typer.Option(help="Use the splits of an earlier run again.")
    ] = None,
    group_by: GroupBy = None,
    set_: Set = None,
    budget: Annotated[
        str | None,
        typer.Option(
            metavar="TIME", help="For the whole command: 90s, 20m, 1h30m. Not with probe."
        ),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Refuse data with leaks or label conflicts.")
    ] = False,
    resume: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN", help="Go on with a run that was stopped; DATA if it was moved."
        ),
    ] = None,
    accept_changes: Annotated[
        bool,
        typer.Option(
            "--accept-changes", help="With --resume: go on although the data has changed."
        ),
    ] = False,
    json_: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train a classifier; check it, measure it, and write the model file and a report into a run
    folder.
    """
    if resume is None:
        goes_with("--resume", {"--accept-changes": accept_changes})
    else:
        new = {"--recipe": recipe, "--out": out, "--name": name, "--seed": seed, "--splits": splits}
        goes_without(
            "--resume",
            {**new, "--group-by": group_by, "--set": set_, "--budget": budget, "--strict": strict},
        )
    with results_only():
        run = tellapart.train(
            data,
            recipe=recipe or "probe",
            out=out or Path("runs"),
            name=name,
            seed=seed,
            splits=splits,
            group_by=group_by,
            strict=strict,
            set={
                **settings(set_),
                **({"training.budget_minutes": minutes(budget)} if budget is not None else {}),
            },
            resume=resume,
            accept_changes=accept_changes,
            quiet=quiet,
        )
    if run is None:  # one of several processes, and not the one that writes
        return
    if json_:
        print_json(run.as_json())
    else:
        print_scores(run.metrics, "test ")
        print_class_accuracy(run.metrics)
        for line in run.comparison_lines:
            echo(line)
        echo(f"report    {run.report}")
        echo(f"model     {run.model}")
        echo(f"use it    tellapart predict {run.model} IMAGES…")
    end(run.statuses)


@app.command(
    epilog=(
        "Examples:  tellapart predict model.onnx photo.jpg new/ 'more/*.png'   ·   "
        "find . -name '*.jpg' | tellapart predict model.onnx - --out answers.csv"
    )
)
def predict(
    model: Model,
    images: Annotated[
        list[str], typer.Argument(help="Files, folders, patterns; - for a list on standard input.")
    ],
    out: Annotated[
        Path | None, typer.Option(help="Write a table: .csv, .jsonl or .parquet.")
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="How many classes to show for each image.")] = 1,
    json_: Json = False,
    quiet: Quiet = False,
) -> None:
    """Say what is on images, one row a file, in order. Needs no torch."""
    from tellapart.catalog.inputs import expand_inputs
    from tellapart.jobs.predict import count_statuses, predict_files
    from tellapart.modelfile.answers import answer_row
    from tellapart.progress import Console

    files = expand_inputs(images, sys.stdin.buffer if sys.stdin else io.BytesIO())
    predictor, answers = predict_files(model, files, out=out, console=Console(quiet=quiet))
    statuses = count_statuses(answers)
    if json_:
        rows = [
            answer_row(answer, predictor.classes) | {"top": answer.top(top)} for answer in answers
        ]
        print_json(
            {
                "statuses": statuses,
                **({"out": escape(str(out)), "rows": len(rows)} if out else {"answers": rows}),
            }
        )
    elif out:
        echo(f"{len(answers):,} rows written to {out}")
    else:
        print_answers(answers, top)
    end(statuses)


@app.command(
    epilog=(
        "Examples:  tellapart explore photos/   ·   tellapart explore photos.zip --group-by"
        " name:'^(p[0-9]+)_'   ·   tellapart explore photos/ --check --image cats/7.jpg   ·  "
        " tellapart explore photos/ --augment finetune"
    )
)
def explore(
    data: Data,
    out: Annotated[
        Path | None,
        typer.Option(
            help="The HTML page; NAME-explore.html, -check.html or -augment.html here by default."
        ),
    ] = None,
    table: Annotated[
        Path | None, typer.Option(help="Write every file's row too: .csv, .jsonl or .parquet.")
    ] = None,
    recipe: Recipe = None,
    seed: Seed = None,
    group_by: GroupBy = None,
    set_: Set = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 5 if anything but remarks is found.")
    ] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Walk one image through the whole pipeline instead.")
    ] = False,
    image: Annotated[
        str | None, typer.Option(help="With --check or --augment: which, by its path in the data.")
    ] = None,
    model: Annotated[
        Path | None, typer.Option(help="With --check: a model, to end with its answer.")
    ] = None,
    augment: Annotated[
        str | None,
        typer.Option(metavar="RECIPE", help="Show what a training by this recipe sees instead."),
    ] = None,
    json_: Json = False,
    quiet: Quiet = False,
) -> None:
    """Look at the data: every file's status, balance, copies, conflicts, leaks; on one HTML page.
    Needs no torch.
    """
    if augment is not None:
        others = {"--check": check, "--model": model, "--recipe": recipe}
        goes_without(
            "--augment", {**others, "--table": table, "--group-by": group_by, "--strict": strict}
        )
        from tellapart.jobs.augment import show_augmented

        seen = show_augmented(
            data, recipe=augment, image=image, out=out, seed=seed, set=settings(set_), quiet=quiet
        )
        print_found(seen.as_json(), seen.lines(), seen.page, json_)
        return
    if check:
        goes_without(
            "--check",
            {"--table": table, "--seed": seed, "--group-by": group_by, "--strict": strict},
        )
        from tellapart.jobs.check import check as check_image

        checked = check_image(
            data,
            image=image,
            model=model,
            out=out,
            recipe=recipe or "probe",
            set=settings(set_),
            quiet=quiet,
        )
        print_found(checked.as_json(), checked.lines(), checked.page, json_)
        return
    goes_with("--check or --augment", {"--image": image})
    goes_with("--check", {"--model": model})
    exploration = tellapart.explore(
        data,
        out=out,
        table=table,
        recipe=recipe or "probe",
        seed=seed,
        group_by=group_by,
        strict=strict,
        set=settings(set_),
        quiet=quiet,
    )
    print_found(exploration.as_json(), exploration.lines, exploration.page, json_)
    end(exploration.catalog.status_counts)


@app.command(epilog="Example:  tellapart evaluate runs/20261121-101500-photos more-photos/")
def evaluate(
    model: Model,
    data: Data,
    seed: Annotated[int, typer.Option(min=0, help="Of the bootstrap intervals.")] = 0,
    json_: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure a model on labelled images, with error bars. Needs no torch."""
    evaluation = tellapart.evaluate(model, data, seed=seed, quiet=quiet)
    if json_:
        print_json(evaluation.as_json())
    else:
        print_scores(evaluation.metrics)
        echo(f"answered  {evaluation.answering.coverage}")
        echo(f"  of them right {evaluation.answering.accuracy_answered}")
        print_classes(evaluation.metrics)
    end(evaluation.statuses)


@app.command(
    epilog=(
        "Examples:  tellapart recipes   ·   tellapart recipes finetune   ·   tellapart recipes"
        " mine.yaml --json"
    )
)
def recipes(
    name: Annotated[
        str | None, typer.Argument(help="A recipe, or a YAML file, to list the keys of.")
    ] = None,
    json_: Json = False,
) -> None:
    """List the recipes; or one recipe's keys, each with its value, its default, what it takes and
    what it means.
    """
    from tellapart.recipe import option_text
    from tellapart.recipe_keys import recipes as list_recipes

    if name is None:
        titles = {recipe.name: recipe.title for recipe in list_recipes()}
        if json_:
            print_json({"recipes": titles})
        else:
            print_table(["recipe", "what it is"], titles.items())
        return
    keys = list_recipes(name)
    if json_:
        print_json({"recipe": name, "keys": [vars(key) for key in keys]})
    else:
        heads = ["key", "value", "default", "takes", "what it means"]
        rows = [
            (key.name, option_text(key.value), option_text(key.default), key.takes, key.help)
            for key in keys
        ]
        print_table(heads, rows)


@app.command(
    epilog="Examples:  tellapart backbones mobilenet   ·   tellapart backbones 'resnet*' --json"
)
def backbones(
    pattern: Annotated[
        str | None, typer.Argument(help="A part of the names, or a pattern with *.")
    ] = None,
    json_: Json = False,
) -> None:
    """List the networks that can be a backbone: parameters, input size, licence, and where the
    weights are.
    """
    from tellapart.models.zoo import backbones as list_backbones

    found = list_backbones(pattern)
    if not found:
        raise UserError(
            f"No backbone's name contains {pattern!r}.", "Run tellapart backbones to see them all."
        )
    if json_:
        print_json({"backbones": [vars(one) for one in found]})
    else:
        heads = ["backbone", "parameters", "input", "weights", "licence"]
        counts = ["" if one.parameters is None else f"{one.parameters:,}" for one in found]
        print_table(
            heads,
            [
                (one.name, count, f"{one.size_px} px", one.weights, one.licence)
                for one, count in zip(found, counts, strict=True)
            ],
        )


@app.command(
    epilog="Example:  tellapart find-rate photos/ --recipe finetune --set training.batch_size=64"
)
def find_rate(
    data: Data,
    recipe: Annotated[
        str, typer.Option(help="A recipe that trains by gradient: its name, or a YAML file.")
    ] = "finetune",
    out: Annotated[
        Path | None, typer.Option(help="The HTML page; NAME-rates.html here by default.")
    ] = None,
    seed: Seed = None,
    set_: Set = None,
    json_: Json = False,
    quiet: Quiet = False,
) -> None:
    """Try learning rates from tiny to huge in one short training; plot the loss, and suggest
    training.lr.
    """
    from tellapart.jobs.find_rate import find_rate as find

    found = find(data, recipe=recipe, out=out, seed=seed, set=settings(set_), quiet=quiet)
    print_found(found.as_json(), found.lines, found.page, json_)


def end(statuses: Mapping[str, int]) -> None:
    """Exit with the code for rejected inputs, if some were."""
    if any(status != "ok" for status in statuses):
        raise typer.Exit(InputsRejected.exit_code)
