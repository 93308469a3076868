"""The verb with which people decide on what an audit has found."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

import tellapart
from tellapart.cli.help import Verb, argument, examples, flag, option
from tellapart.cli.options import Json, Quiet, RunData
from tellapart.cli.output import echo, print_json
from tellapart.cli.values import goes_with, goes_without
from tellapart.errors import UserError

verbs = typer.Typer()
verb = partial(verbs.command, cls=Verb, rich_help_panel="Data")


@verb(
    epilog=examples(
        "review runs/20261121-101500-photos",
        "review runs/20261121-101500-photos --who ann --fixes ann.jsonl",
        "review --merge ann.jsonl bob.jsonl --out both.jsonl",
        "review runs/20261121-101500-photos --fixes both.jsonl --retrain",
    )
)
def review(
    ctx: typer.Context,
    run: Annotated[
        Path | None, argument("A run folder that tellapart audit has looked at.", "RUN")
    ] = None,
    fixes: Annotated[
        Path | None,
        option(
            "The file that decisions are added to, and that --retrain takes. Default:"
            " audit/fixes.jsonl in the run.",
            metavar="FILE",
        ),
    ] = None,
    who: Annotated[
        str | None,
        option("The name of the person who decides. Default: this account's.", metavar="NAME"),
    ] = None,
    data: RunData = None,
    port: Annotated[
        int,
        option(
            "The port of the page; 0 takes a free one. Default: 0.", metavar="N", min=0, max=65535
        ),
    ] = 0,
    retrain: Annotated[
        bool,
        flag(
            "Instead, train the run again with the fixes, and show what they gained on its test"
            " images.",
            "--retrain",
        ),
    ] = False,
    merge: Annotated[
        tuple[Path, Path] | None,
        option(
            "Instead, merge the fixes of two people into --out, and show how far they agree.",
            "--merge",
            metavar="FILE FILE",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        option(
            "With --merge: the file to write. With --retrain: the folder that holds the runs."
            " Default: the folder that the run lies in.",
            metavar="PATH",
        ),
    ] = None,
    json_: Json = False,
    quiet: Quiet = False,
) -> None:
    """Review what an audit found, on a page of this machine. Needs tellapart[serve].

    Decisions go into a file that --fixes of the other verbs applies. No image file changes.
    """
    if merge is not None:
        goes_without("--merge", ctx, "out json_ quiet")
        _merge(merge, out, json_=json_)
        return
    if run is None:
        raise UserError("Nothing says what to review.", "Name a run: tellapart review RUN")
    if retrain:
        goes_without("--retrain", ctx, "run fixes data out json_ quiet")
        found = tellapart.retrain(run, fixes=fixes, data=data, out=out, quiet=quiet)
        if json_:
            print_json(found.as_json())
        else:
            for line in found.lines:
                echo(line)
        return
    goes_with("--merge or --retrain", ctx, "out", "json_")
    tellapart.review(run, fixes=fixes, who=who, data=data, port=port, quiet=quiet)


def _merge(files: tuple[Path, Path], out: Path | None, *, json_: bool) -> None:
    if out is None:
        raise UserError("--merge needs a file to write.", "Add --out FILE.")
    merged = tellapart.merge_fixes(*files, out=out)
    if json_:
        print_json(merged.as_json())
    else:
        for line in merged.text:
            echo(line)
