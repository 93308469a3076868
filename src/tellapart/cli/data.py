"""The verb that looks at data."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

import tellapart
from tellapart.cli.help import Verb, argument, examples, flag, option
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
    Quiet,
    Recipe,
    RunData,
    Seed,
    Set,
)
from tellapart.cli.output import echo, end_with, print_found, print_json, print_table
from tellapart.cli.values import goes_with, goes_without, page_for, settings

FINDINGS = "findings.jsonl"
SHOWN = 20  # findings in the table; the file holds all

verbs = typer.Typer()
verb = partial(verbs.command, cls=Verb, rich_help_panel="Data")


@verb(
    epilog=examples(
        "explore photos/",
        "explore photos.zip --group-by 'name:^(p[0-9]+)_'",
        "explore photos/ --check --image cats/7.jpg",
        "explore photos/ --augment finetune",
    )
)
def explore(
    ctx: typer.Context,
    data: Data,
    out: Annotated[
        Path | None,
        option(
            "The HTML page. Default: NAME-explore.html, NAME-check.html or NAME-augment.html in the"
            " current folder, with the name of the data.",
            metavar="FILE",
        ),
    ] = None,
    table: Annotated[
        Path | None,
        option("Also write one row per file: .csv, .jsonl or .parquet.", metavar="FILE"),
    ] = None,
    recipe: Recipe = None,
    seed: Seed = None,
    group_by: GroupBy = None,
    copies: Copies = None,
    columns: Columns = None,
    label_by: LabelBy = None,
    crops: Crops = False,
    fixes: Fixes = None,
    set_: Set = None,
    strict: Annotated[
        bool,
        flag(
            "Exit with code 5 if there are leaks, conflicting labels, copies or unusable files.",
            "--strict",
        ),
    ] = False,
    check: Annotated[
        bool,
        flag("Instead, follow one image through every step up to the network.", "--check"),
    ] = False,
    augment: Annotated[
        str | None,
        option(
            "Instead, show images as a training by this recipe augments them.", metavar="RECIPE"
        ),
    ] = None,
    image: Annotated[
        str | None,
        option(
            "With --check or --augment: the image to show, by its path in DATA. Default: the first"
            " usable one, or some of each class.",
            metavar="PATH",
        ),
    ] = None,
    model: Annotated[
        Path | None,
        option("With --check: also show what this model answers.", metavar="MODEL"),
    ] = None,
    engine: Engine = None,
    json_: Json = False,
    quiet: Quiet = False,
) -> None:
    """Show the status of every file, class balance, copies, label conflicts and leaks on a page.

    Needs no torch.
    """
    shared: dict[str, Any] = {
        "set": settings(set_, columns, label_by, fixes, crops=crops),
        "quiet": quiet,
    }
    if augment is not None:
        goes_without(
            "--augment", ctx, "data columns label_by crops out seed set_ image json_ quiet"
        )
        shown = tellapart.augment(
            data,
            recipe=augment,
            image=image,
            out=page_for(out, data, "augment"),
            seed=seed,
            **shared,
        )
        print_found(shown.as_json(), shown.lines(), shown.page, json_)
        return
    if check:
        goes_without(
            "--check",
            ctx,
            "data columns label_by crops fixes out recipe set_ image model json_ quiet",
        )
        steps = tellapart.check(
            data,
            image=image,
            model=model,
            out=page_for(out, data, "check"),
            recipe=recipe or "probe",
            **shared,
        )
        print_found(steps.as_json(), steps.lines(), steps.page, json_)
        return
    goes_with("--check or --augment", ctx, "image")
    goes_with("--check", ctx, "model")
    exploration = tellapart.explore(
        data,
        out=page_for(out, data, "explore"),
        table=table,
        recipe=recipe or "probe",
        seed=seed,
        group_by=group_by,
        copies=copies,
        strict=strict,
        engine=engine,
        **shared,
    )
    print_found(exploration.as_json(), exploration.lines, exploration.page, json_)
    end_with(exploration.catalog.status_counts, quiet=quiet or json_)


@verb(
    epilog=examples(
        "audit photos/",
        "audit runs/20261121-101500-photos --data photos/",
        "audit photos/ --out findings --unlabelled new/",
    )
)
def audit(
    target: Annotated[
        Path,
        argument(f"The folder of a finished run, or data. {DATA_HELP}", "TARGET"),
    ],
    data: RunData = None,
    unlabelled: Annotated[
        Path | None,
        option("Also rank the images of this folder by what labels would teach.", metavar="FOLDER"),
    ] = None,
    out: Annotated[
        Path | None,
        option(
            "The folder for the findings. Without it, data is trained on first. Default: audit in"
            " the run folder.",
            metavar="FOLDER",
        ),
    ] = None,
    recipe: Recipe = None,
    seed: Seed = None,
    group_by: GroupBy = None,
    copies: Copies = None,
    columns: Columns = None,
    label_by: LabelBy = None,
    crops: Crops = False,
    fixes: Fixes = None,
    set_: Set = None,
    json_: Json = False,
    quiet: Quiet = False,
) -> None:
    """Find likely label errors, shortcuts and odd images, and say how many errors it finds.

    Changes nothing of the data. Needs no torch.
    """
    found = tellapart.audit(
        target,
        data=data,
        unlabelled=unlabelled,
        out=out,
        recipe=recipe,
        seed=seed,
        group_by=group_by,
        copies=copies,
        set=settings(set_, columns, label_by, fixes, crops=crops),
        quiet=quiet,
    )
    if json_:
        print_json(found.as_json())
        return
    first = [
        (str(finding.number), finding.kind, finding.title) for finding in found.findings[:SHOWN]
    ]
    print_table(("number", "kind", "finding"), first)
    for line in found.lines:
        echo(line)
    echo(f"findings  {found.folder / FINDINGS}")
    echo(f"page      {found.page}")
