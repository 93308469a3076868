"""The verbs that compare: folds, trials, backbones and runs, side by side."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

import tellapart
from tellapart.cli.help import Verb, argument, examples, flag, option
from tellapart.cli.options import (
    DATA_HELP,
    BootstrapSeed,
    Budget,
    Columns,
    Copies,
    Crops,
    Data,
    Fixes,
    GroupBy,
    Json,
    LabelBy,
    Name,
    Out,
    Quiet,
    Recipe,
    Resume,
    Seed,
    Set,
    Splits,
    Strict,
    Table,
)
from tellapart.cli.output import (
    echo,
    end_with,
    print_class_accuracy,
    print_found,
    print_json,
    print_scores,
    print_table,
    results_only,
)
from tellapart.cli.values import goes_without, page_called, page_for, seconds, settings

verbs = typer.Typer()
verb = partial(verbs.command, cls=Verb, rich_help_panel="Experiments")


@verb(
    epilog=examples(
        "cv photos/",
        "cv photos/ --folds 10 --repeats 3",
        "cv photos/ --recipe finetune-kfold",
        "cv --resume runs/20261121-101500-photos",
    )
)
def cv(
    ctx: typer.Context,
    data: Annotated[
        Path | None,
        argument(f"{DATA_HELP} Default: the recipe's public data set, downloaded.", "DATA"),
    ] = None,
    folds: Annotated[
        int | None,
        option("Number of folds that the images are divided into. Default: 5.", metavar="N"),
    ] = None,
    repeats: Annotated[
        int | None,
        option("Number of times that the images are divided anew. Default: 1.", metavar="N"),
    ] = None,
    recipe: Recipe = None,
    ensemble: Annotated[
        bool,
        flag(
            "Ship the models of the folds as one file, instead of training once more on all.",
            "--ensemble",
        ),
    ] = False,
    out: Out = None,
    name: Name = None,
    seed: Seed = None,
    splits: Splits = None,
    group_by: GroupBy = None,
    copies: Copies = None,
    columns: Columns = None,
    label_by: LabelBy = None,
    crops: Crops = False,
    fixes: Fixes = None,
    set_: Set = None,
    strict: Strict = False,
    resume: Resume = None,
    json_: Json = False,
    quiet: Quiet = False,
) -> None:
    """Cross-validate: each image is judged by a model that never saw it; test stays aside."""
    if resume is not None:
        goes_without("--resume", ctx, "data json_ quiet")
    with results_only():
        result = tellapart.cross_validate(
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
            copies=copies,
            strict=strict,
            set=settings(set_, columns, label_by, fixes, crops=crops),
            resume=resume,
            quiet=quiet,
        )
    if json_:
        print_json(result.as_json())
    else:
        for line in result.lines:
            echo(line)
        print_scores(result.metrics, "test ")
        print_class_accuracy(result.metrics)
        echo(f"report    {result.report}")
        echo(f"model     {result.model}")
    end_with(result.statuses, quiet=quiet or json_)


@verb(
    epilog=examples(
        "tune photos/ --trials 30",
        "tune photos/ --recipe finetune --budget 2h",
        "tune --study runs/20261121-101500-photos",
    )
)
def tune(
    data: Annotated[
        Path | None,
        argument(
            f"{DATA_HELP} Default: the study's data, or the recipe's public data set.", "DATA"
        ),
    ] = None,
    trials: Annotated[
        int | None,
        option(
            "Number of trials in the whole study, over all processes. A new study needs this or"
            " --budget.",
            metavar="N",
        ),
    ] = None,
    budget: Annotated[
        str | None,
        option(
            "A time limit for this command with its final training, as 90s, 20m or 2h.",
            metavar="TIME",
        ),
    ] = None,
    recipe: Annotated[
        str | None,
        option(
            "The recipe to search around: its name or a YAML file. Default: the study's, or probe.",
            metavar="RECIPE",
        ),
    ] = None,
    space: Annotated[
        Path | None,
        option(
            "A YAML file of recipe keys, each with a list of values or with low and high."
            " Default: the recipe's own space.",
            metavar="FILE",
        ),
    ] = None,
    folds: Annotated[
        int | None,
        option("Judge each trial by this many folds. Default: judge by val.", metavar="N"),
    ] = None,
    metric: Annotated[
        str | None,
        option(
            "What to rank trials by, on val: loss, accuracy, balanced_accuracy, precision, recall, f1 or"
            " top5_accuracy. Default: loss for a probe, else the recipe's training.monitor.",
            metavar="METRIC",
        ),
    ] = None,
    sampler: Annotated[
        str | None,
        option(
            "How settings are drawn: tpe learns from earlier trials, random does not."
            " Default: tpe.",
            metavar="SAMPLER",
        ),
    ] = None,
    study: Annotated[
        str | None,
        option(
            "Join or continue a study, by its folder. With --storage, by its name.",
            metavar="STUDY",
        ),
    ] = None,
    storage: Annotated[
        str | None,
        option(
            "A database that several machines share, as postgresql://USER@HOST/NAME. Default: a"
            " file in the study's folder.",
            metavar="URL",
        ),
    ] = None,
    out: Annotated[
        Path, option("The folder that holds the runs. Default: runs.", metavar="FOLDER")
    ] = Path("runs"),
    name: Name = None,
    seed: Seed = None,
    splits: Splits = None,
    group_by: GroupBy = None,
    copies: Copies = None,
    columns: Columns = None,
    label_by: LabelBy = None,
    crops: Crops = False,
    fixes: Fixes = None,
    set_: Set = None,
    strict: Strict = False,
    json_: Json = False,
    quiet: Quiet = False,
) -> None:
    """Search for better settings on val or folds, train the best once more, and test that once."""
    with results_only():
        tuned = tellapart.tune(
            data,
            trials=trials,
            budget_seconds=None if budget is None else seconds(budget),
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
            copies=copies,
            strict=strict,
            set=settings(set_, columns, label_by, fixes, crops=crops),
            quiet=quiet,
        )
    print_found(tuned.as_json(), tuned.lines, tuned.page, json_)
    if tuned.model and not json_:
        echo(f"model     {tuned.model}")
    end_with(tuned.statuses, quiet=quiet or json_)


@verb(
    epilog=examples(
        "pick photos/",
        "pick photos/ --max-ms 20",
        "pick photos/ --ms-worth 0.5",
        "pick photos/ --backbones tf_efficientnet_lite2:int8,resnet50=mine.safetensors",
    )
)
def pick(
    data: Data,
    backbones: Annotated[
        list[str] | None,
        option(
            "A backbone to measure. @PIXELS gives another size of input, :int8 or :fp32 another"
            " precision, and =FILE other weights. May be repeated, or be a list with commas."
            " Default: those of the shortlist whose weights are here.",
            metavar="NAME[@PIXELS][:PRECISION][=FILE]",
        ),
    ] = None,
    max_ms: Annotated[
        float | None,
        option(
            "The most milliseconds per image on one thread, decoding included.",
            metavar="MS",
        ),
    ] = None,
    max_mb: Annotated[
        float | None, option("The most megabytes of the model file.", metavar="MB")
    ] = None,
    ms_worth: Annotated[
        float | None,
        option(
            "Points of accuracy that a millisecond per image is worth to you. A faster network is"
            " then recommended where it saves more than it loses. Default: only accuracy counts.",
            metavar="POINTS",
        ),
    ] = None,
    budget: Budget = None,
    recipe: Recipe = None,
    out: Annotated[
        Path | None,
        option(
            "The HTML page. Default: NAME-pick.html in the current folder, with the name of the"
            " data.",
            metavar="FILE",
        ),
    ] = None,
    seed: Seed = None,
    splits: Splits = None,
    group_by: GroupBy = None,
    copies: Copies = None,
    columns: Columns = None,
    label_by: LabelBy = None,
    crops: Crops = False,
    fixes: Fixes = None,
    set_: Set = None,
    strict: Strict = False,
    json_: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure backbones on your images and machine, in accuracy, time and size; recommend one."""
    names = [name for text in backbones or () for name in text.split(",")]
    picked = tellapart.pick(
        data,
        backbones=names or None,
        max_ms=max_ms,
        max_mb=max_mb,
        ms_worth=ms_worth,
        budget_seconds=None if budget is None else seconds(budget),
        recipe=recipe or "probe",
        out=page_for(out, data, "pick"),
        seed=seed,
        splits=splits,
        group_by=group_by,
        copies=copies,
        strict=strict,
        set=settings(set_, columns, label_by, fixes, crops=crops),
        quiet=quiet,
    )
    print_found(picked.as_json(), picked.lines, picked.page, json_)
    end_with(picked.statuses, quiet=quiet or json_)


@verb(
    epilog=examples(
        "runs",
        "runs --sort accuracy --where recipe=finetune --settings",
        "runs --where 'accuracy>0.9' --out runs.csv",
    )
)
def runs(
    folder: Annotated[
        Path, argument("The folder that holds the runs. Default: runs.", "FOLDER")
    ] = Path("runs"),
    sort: Annotated[
        str | None,
        option("The column or recipe key to sort by. Default: date.", metavar="COLUMN"),
    ] = None,
    descending: Annotated[
        bool | None,
        flag(
            "Put the largest value first, or the smallest. Default: the largest accuracy or date"
            " first, else the smallest.",
            "--descending/--ascending",
        ),
    ] = None,
    where: Annotated[
        list[str] | None,
        option(
            "List only runs where this holds for a column or a recipe key: recipe=finetune,"
            " 'accuracy>0.9', 'run=*photos*'. May be repeated.",
            metavar="FILTER",
        ),
    ] = None,
    settings: Annotated[
        bool, flag("Also show the recipe keys in which the runs differ.", "--settings")
    ] = False,
    out: Table = None,
    json_: Json = False,
) -> None:
    """List the runs of a folder with their scores; sort and filter them; show what differs.

    Columns: run, recipe, backbone, state, accuracy, accuracy_low,
    accuracy_high, test_images, val_accuracy, val_accuracy_low,
    val_accuracy_high, val_images, seconds, splits, seed, date.
    """
    listed = tellapart.list_runs(
        folder, sort=sort, descending=descending, where=where or (), settings=settings, out=out
    )
    if json_:
        print_json(listed.as_json())
        return
    if listed.runs:
        essential = () if settings else listed.essential
        print_table(listed.heads, listed.cells, always_heads=True, essential=essential)
    for line in listed.lines:
        echo(line)


@verb(
    epilog=examples(
        "compare runs/20261121-101500-photos runs/20261121-112000-photos",
        "compare runs/*-photos --data photos/ --out which.html",
    )
)
def compare(
    folders: Annotated[
        list[Path],
        argument("Finished runs. The first is the one to compare with.", "RUNS"),
    ],
    out: Annotated[
        Path | None,
        option("The HTML page. Default: compare.html in the current folder.", metavar="FILE"),
    ] = None,
    data: Annotated[
        Path | None,
        option(
            "Where the images are, to show those on which the runs disagree. Default: where each"
            " run found them.",
            metavar="DATA",
        ),
    ] = None,
    split: Annotated[
        str,
        option(
            "The images to compare on: test, or val. Runs chosen by val look too good there."
            " Default: test.",
            metavar="SPLIT",
        ),
    ] = "test",
    seed: BootstrapSeed = 0,
    json_: Json = False,
    quiet: Quiet = False,
) -> None:
    """Test whether one run is better than another on the same images, and show where they differ."""
    compared = tellapart.compare_runs(
        folders,
        out=out or page_called("compare.html"),
        data=data,
        split=split,
        seed=seed,
        quiet=quiet,
    )
    print_found(compared.as_json(), compared.lines, compared.page, json_)
