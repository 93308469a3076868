"""The verbs that train, and those that list what a training may be made of."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

import tellapart
from tellapart.cli.help import Verb, WithListing, argument, examples, flag, option
from tellapart.cli.options import (
    DATA_HELP,
    Columns,
    Copies,
    Crops,
    Data,
    Engine,
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
)
from tellapart.cli.output import (
    agree_to_weights,
    echo,
    end_with,
    print_class_accuracy,
    print_found,
    print_json,
    print_keys,
    print_scores,
    print_table,
    results_only,
)
from tellapart.cli.values import (
    budget_settings,
    goes_with,
    goes_without,
    is_first_process,
    page_for,
    settings,
)
from tellapart.errors import UserError

verbs = typer.Typer()
verb = partial(verbs.command, cls=Verb, rich_help_panel="Train")


@verb(
    epilog=examples(
        "train photos/",
        "train labels.csv --set head.weighting=balanced",
        "train photos/ --recipe finetune --budget 20m",
        "train photos/ --preset balanced",
        "train --recipe cifar10-lenet",
        "train --resume runs/20261121-101500-photos",
    )
)
def train(
    ctx: typer.Context,
    data: Annotated[
        Path | None,
        argument(f"{DATA_HELP} Default: the recipe's public data set, downloaded.", "DATA"),
    ] = None,
    recipe: Recipe = None,
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
    preset: Annotated[
        str | None,
        option(
            "Let measurements choose the network: fast (the default network), balanced (the most"
            " accurate packaged network within 3 times the time), or best (the most accurate of the"
            " shortlist, fine-tuned within --budget). Default: none.",
            metavar="PRESET",
        ),
    ] = None,
    budget: Annotated[
        str | None,
        option(
            "A time limit for the whole command, as 90s, 20m or 1h30m, for recipes that train by"
            " gradient. Default: none, or 30m with --preset best.",
            metavar="TIME",
        ),
    ] = None,
    strict: Strict = False,
    resume: Resume = None,
    accept_changes: Annotated[
        bool,
        flag("With --resume: continue although the data has changed.", "--accept-changes"),
    ] = False,
    engine: Engine = None,
    json_: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train a classifier, measure it, and write its model file and report into a run folder."""
    if resume is None:
        goes_with("--resume", ctx, "accept_changes")
    else:
        goes_without("--resume", ctx, "data accept_changes engine json_ quiet")
    changes = settings(set_, columns, label_by, fixes, crops=crops)
    if preset is not None and recipe is not None:
        raise UserError("--preset does not go with --recipe.", "Leave one of them out.")
    trained_by = "finetune" if preset == "best" else recipe or "probe"
    with results_only():
        run = tellapart.train(
            data,
            preset=preset,
            recipe=recipe or "probe",
            out=out or Path("runs"),
            name=name,
            seed=seed,
            splits=splits,
            group_by=group_by,
            copies=copies,
            strict=strict,
            set={**changes, **budget_settings(budget, trained_by, changes)},
            resume=resume,
            accept_changes=accept_changes,
            engine=engine,
            quiet=quiet,
        )
    if not is_first_process():  # of several that train together, one prints
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
    end_with(run.statuses, quiet=quiet or json_)


@verb(
    epilog=examples(
        "find-rate photos/", "find-rate photos/ --recipe finetune --set training.batch_size=64"
    )
)
def find_rate(
    data: Data,
    recipe: Annotated[
        str,
        option(
            "A recipe that trains by gradient: its name or a YAML file. Default: finetune.",
            metavar="RECIPE",
        ),
    ] = "finetune",
    out: Annotated[
        Path | None,
        option(
            "The HTML page. Default: NAME-rates.html in the current folder, with the name of the"
            " data.",
            metavar="FILE",
        ),
    ] = None,
    seed: Seed = None,
    columns: Columns = None,
    label_by: LabelBy = None,
    crops: Crops = False,
    fixes: Fixes = None,
    set_: Set = None,
    json_: Json = False,
    quiet: Quiet = False,
) -> None:
    """Try learning rates from tiny to huge in one short training, and suggest training.lr."""
    found = tellapart.find_rate(
        data,
        recipe=recipe,
        out=page_for(out, data, "rates"),
        seed=seed,
        set=settings(set_, columns, label_by, fixes, crops=crops),
        quiet=quiet,
    )
    print_found(found.as_json(), found.lines, found.page, json_)


@verb(epilog=examples("recipes", "recipes finetune", "recipes mine.yaml --json"))
def recipes(
    name: Annotated[
        str | None,
        argument("A recipe or a YAML file whose keys to list. Default: list recipes.", "NAME"),
    ] = None,
    json_: Json = False,
) -> None:
    """List the recipes; or the keys of one, with value, default, what it takes and its meaning."""
    from tellapart.recipe import option_text

    if name is None:
        titles = {recipe.name: recipe.title for recipe in tellapart.recipes()}
        if json_:
            print_json({"recipes": titles})
        else:
            print_table(["recipe", "what it is"], titles.items(), always_heads=True)
        return
    keys = tellapart.recipes(name)
    if json_:
        print_json({"recipe": name, "keys": [vars(key) for key in keys]})
    else:
        rows = [
            (key.name, option_text(key.value), option_text(key.default), key.takes, key.help)
            for key in keys
        ]
        print_keys(rows)


networks = typer.Typer(
    cls=WithListing,
    help="List the networks that can be a backbone, or fetch the weights of one.\n\ntellapart"
    " backbones PATTERN is short for tellapart backbones list PATTERN.",
    epilog=examples(
        "backbones mobilenet", "backbones 'resnet*' --json", "backbones fetch convnext_nano"
    ),
)
verbs.add_typer(networks, name="backbones", rich_help_panel="Train")


@networks.command("list", cls=Verb, epilog=examples("backbones list 'mobilenetv4*'"))
def backbones(
    pattern: Annotated[
        str | None,
        argument("A part of the names, or a pattern with *. Default: list all.", "PATTERN"),
    ] = None,
    json_: Json = False,
) -> None:
    """List the networks that can be a backbone: parameters, input size, weights and licence."""
    found = tellapart.backbones(pattern)
    if not found:
        raise UserError(
            f"No backbone's name contains {pattern!r}.", "Run tellapart backbones to see them all."
        )
    if json_:
        print_json({"backbones": [vars(network) for network in found]})
        return
    from tellapart.modelfile.licences import in_words

    rows = []
    for network in found:
        licence = in_words(network.licence) if network.licence else ""
        count = "" if network.parameters is None else f"{network.parameters:,}"
        rows.append((network.name, count, f"{network.size_px} px", network.weights, licence))
    print_table(["backbone", "parameters", "input", "weights", "licence"], rows)


@networks.command(
    "fetch",
    cls=Verb,
    epilog=examples("backbones fetch convnext_nano", "backbones fetch convnext_nano --yes"),
)
def fetch(
    name: Annotated[
        str, argument("The name of a network; tellapart backbones lists the names.", "NAME")
    ],
    yes: Annotated[
        bool, flag("Fetch without asking, once size, digest and licence are shown.", "--yes", "-y")
    ] = False,
    json_: Json = False,
) -> None:
    """Fetch the weights of a network from the hub once, so that they are found offline afterwards."""
    weights = tellapart.fetch_backbone(name, agree=partial(agree_to_weights, yes=yes))
    if json_:
        print_json(weights.as_json())
    elif weights.path is None:
        echo("Nothing was fetched.")
    else:
        echo(f"The weights of {name} are here, and every training finds them without a network.")
        echo(f"file      {weights.path}")
        echo(f"use it    tellapart train DATA --set backbone.name={name}")
