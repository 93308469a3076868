"""The verbs of experiments: several settings, folds, backbones or runs, side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tellapart.cli.output import (
    echo,
    print_class_accuracy,
    print_found,
    print_json,
    print_scores,
    print_table,
    results_only,
)
from tellapart.cli.values import goes_without, minutes, settings
from tellapart.cli.verbs import DATA_HELP, Data, GroupBy, Json, Quiet, Recipe, Seed, Set, app, end

Splits = Annotated[
    Path | None,
    typer.Option(help="Use the splits of an earlier run again; its test set stays unseen."),
]
Strict = Annotated[
    bool, typer.Option("--strict", help="Refuse data with leaks or label conflicts.")
]
Name = Annotated[str | None, typer.Option(help="What to call it; the data's name by default.")]


@app.command(
    epilog=(
        "Examples:  tellapart cv photos/   ·   tellapart cv photos/ --folds 10 --repeats 3   ·  "
        " tellapart cv photos/ --recipe finetune-kfold   ·   tellapart cv --resume"
        " runs/20261121-101500-photos"
    )
)
def cv(
    data: Annotated[
        Path | None, typer.Argument(help=f"{DATA_HELP} Without it that of the recipe.")
    ] = None,
    folds: Annotated[
        int | None, typer.Option(help="In how many the images are divided; 5 by default.")
    ] = None,
    repeats: Annotated[
        int | None, typer.Option(help="How often they are divided anew; once by default.")
    ] = None,
    recipe: Recipe = None,
    ensemble: Annotated[
        bool,
        typer.Option(
            "--ensemble",
            help="Ship the folds' models as one file rather than train once more on all.",
        ),
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="The folder that holds runs; runs by default.")
    ] = None,
    name: Name = None,
    seed: Seed = None,
    splits: Splits = None,
    group_by: GroupBy = None,
    set_: Set = None,
    strict: Strict = False,
    resume: Annotated[
        Path | None,
        typer.Option(metavar="RUN", help="Go on with one that was stopped; DATA if it was moved."),
    ] = None,
    json_: Json = False,
    quiet: Quiet = False,
) -> None:
    """Cross-validate: each image is judged by a model that never saw it. Test stays aside until the
    end.
    """
    from tellapart.jobs.cv.cross_validate import cross_validate

    if resume is not None:
        new = {
            "--folds": folds,
            "--repeats": repeats,
            "--recipe": recipe,
            "--ensemble": ensemble,
            "--out": out,
        }
        more = {
            "--name": name,
            "--seed": seed,
            "--splits": splits,
            "--group-by": group_by,
            "--set": set_,
        }
        goes_without("--resume", {**new, **more, "--strict": strict})
    with results_only():
        done = cross_validate(
            data,
            folds=5 if folds is None else folds,
            repeats=1 if repeats is None else repeats,
            recipe=recipe or "probe",
            ensemble=ensemble,
            out=out or Path("runs"),
            name=name,
            seed=seed,
            splits=splits,
            group_by=group_by,
            strict=strict,
            set=settings(set_),
            resume=resume,
            quiet=quiet,
        )
    if json_:
        print_json(done.as_json())
    else:
        for line in done.lines:
            echo(line)
        print_scores(done.metrics, "test ")
        print_class_accuracy(done.metrics)
        echo(f"report    {done.report}")
        echo(f"model     {done.model}")
    end(done.statuses)


@app.command(
    epilog=(
        "Examples:  tellapart tune photos/ --trials 30   ·   tellapart tune photos/ --recipe"
        " finetune --budget 2h   ·   tellapart tune --study runs/20261121-101500-photos"
    )
)
def tune(
    data: Annotated[
        Path | None, typer.Argument(help=f"{DATA_HELP} Without it that of the study or recipe.")
    ] = None,
    trials: Annotated[
        int | None, typer.Option(help="How many in the whole study, whoever runs them.")
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(
            metavar="TIME", help="For this command, the final training included: 90s, 20m, 2h."
        ),
    ] = None,
    recipe: Recipe = None,
    space: Annotated[
        Path | None,
        typer.Option(help="A YAML file: recipe keys, each with choices or low and high."),
    ] = None,
    folds: Annotated[
        int | None, typer.Option(help="Judge by so many folds rather than by val.")
    ] = None,
    metric: Annotated[
        str | None, typer.Option(help="Of val, to search by; the recipe's training.monitor.")
    ] = None,
    sampler: Annotated[
        str | None, typer.Option(help="tpe, which learns from the trials before, or random.")
    ] = None,
    study: Annotated[
        str | None,
        typer.Option(help="Join or go on with a study: its folder, or with --storage its name."),
    ] = None,
    storage: Annotated[
        str | None,
        typer.Option(metavar="URL", help="A database for many machines; a file by default."),
    ] = None,
    out: Annotated[Path, typer.Option(help="The folder that holds runs.")] = Path("runs"),
    name: Name = None,
    seed: Seed = None,
    splits: Splits = None,
    group_by: GroupBy = None,
    set_: Set = None,
    strict: Strict = False,
    json_: Json = False,
    quiet: Quiet = False,
) -> None:
    """Search for better settings on val or folds, train the best once more, and measure that on
    test once.
    """
    from tellapart.jobs.tune.tune import tune as search

    with results_only():
        tuned = search(
            data,
            trials=trials,
            budget_seconds=None if budget is None else 60 * minutes(budget),
            recipe=recipe,
            space=space,
            storage=storage,
            study=study,
            folds=folds,
            metric=metric,
            sampler=sampler,
            out=out,
            name=name,
            seed=seed,
            splits=splits,
            group_by=group_by,
            strict=strict,
            set=settings(set_),
            quiet=quiet,
        )
    print_found(tuned.as_json(), tuned.lines, tuned.page, json_)
    if tuned.model and not json_:
        echo(f"model     {tuned.model}")
    end(tuned.statuses)


@app.command(
    epilog=(
        "Examples:  tellapart pick photos/   ·   tellapart pick photos/ --max-ms 20   ·   "
        "tellapart pick photos/ --backbones resnet18,resnet50=mine.safetensors"
    )
)
def pick(
    data: Data,
    backbones: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME[=FILE]",
            help="What to look at; repeatable, or separated by commas. A spread by default.",
        ),
    ] = None,
    max_ms: Annotated[
        float | None, typer.Option(help="Milliseconds an image on one thread, at most.")
    ] = None,
    max_mb: Annotated[
        float | None, typer.Option(help="Megabytes of the model file, at most.")
    ] = None,
    budget: Annotated[
        str | None, typer.Option(metavar="TIME", help="For this command: 90s, 20m, 1h30m.")
    ] = None,
    recipe: Recipe = None,
    out: Annotated[
        Path | None, typer.Option(help="The HTML page; NAME-pick.html here by default.")
    ] = None,
    seed: Seed = None,
    splits: Splits = None,
    group_by: GroupBy = None,
    set_: Set = None,
    strict: Strict = False,
    json_: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure backbones on your images and this machine: accuracy, latency, size; and say which to
    take.
    """
    from tellapart.jobs.pick.pick import pick as measure

    picked = measure(
        data,
        backbones=(
            None if backbones is None else [name for text in backbones for name in text.split(",")]
        ),
        max_ms=max_ms,
        max_mb=max_mb,
        budget_seconds=None if budget is None else 60 * minutes(budget),
        recipe=recipe or "probe",
        out=out,
        seed=seed,
        splits=splits,
        group_by=group_by,
        strict=strict,
        set=settings(set_),
        quiet=quiet,
    )
    print_found(picked.as_json(), picked.lines, picked.page, json_)
    end(picked.statuses)


@app.command(
    epilog=(
        "Examples:  tellapart runs   ·   tellapart runs --sort accuracy --where recipe=finetune"
        " --settings   ·   tellapart runs --where 'accuracy>0.9' --out runs.csv"
    )
)
def runs(
    folder: Annotated[Path, typer.Argument(help="The folder that holds runs.")] = Path("runs"),
    sort: Annotated[
        str | None, typer.Option(help="A column or a recipe key; the newest first by default.")
    ] = None,
    descending: Annotated[
        bool | None,
        typer.Option("--descending/--ascending", help="The largest, or the smallest, first."),
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(metavar="FILTER", help="As recipe=finetune or 'accuracy>0.9'; repeatable."),
    ] = None,
    settings: Annotated[
        bool, typer.Option("--settings", help="Show the recipe keys in which the runs differ.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="Write a table: .csv, .jsonl or .parquet.")
    ] = None,
    json_: Json = False,
) -> None:
    """List the runs of a folder with their scores; sort, filter, and show what was different."""
    from tellapart.jobs.runs import list_runs

    listed = list_runs(
        folder, sort=sort, descending=descending, where=where or (), settings=settings, out=out
    )
    if json_:
        print_json(listed.as_json())
        return
    if listed.runs:
        print_table(listed.heads, listed.cells, always_heads=True)
    for line in listed.lines:
        echo(line)


@app.command(
    epilog=(
        "Examples:  tellapart compare runs/20261121-101500-photos runs/20261121-112000-photos   ·  "
        " tellapart compare runs/*-photos --data photos/ --out which.html"
    )
)
def compare(
    folders: Annotated[
        list[Path],
        typer.Argument(metavar="RUNS…", help="Finished runs; the first is the yardstick."),
    ],
    out: Annotated[
        Path | None, typer.Option(help="The HTML page; compare.html here by default.")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="Where the images are, to show those on which the runs disagree."),
    ] = None,
    split: Annotated[
        str, typer.Option(help="test, or val, with which the runs were chosen.")
    ] = "test",
    seed: Annotated[int, typer.Option(min=0, help="Of the bootstrap.")] = 0,
    json_: Json = False,
    quiet: Quiet = False,
) -> None:
    """Say whether one run is better than another: a paired test on the same images, and where they
    disagree.
    """
    from tellapart.jobs.compare import compare_runs

    compared = compare_runs(folders, out=out, data=data, split=split, seed=seed, quiet=quiet)
    print_found(compared.as_json(), compared.lines, compared.page, json_)
