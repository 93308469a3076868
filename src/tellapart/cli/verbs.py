"""The command line program: its groups of verbs and its version.

Nothing heavy is imported here: `--help` needs neither numpy nor torch.
"""

from __future__ import annotations

from typing import Annotated

import typer

import tellapart
from tellapart.cli import data, experiments, review, train, use
from tellapart.cli.help import Verbs, flag
from tellapart.cli.output import echo

app = typer.Typer(
    name="tellapart",
    cls=Verbs,
    help="From a folder of images to an image classifier that you can trust and ship.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for group in (data, review, train, use, experiments):  # in this order in the help
    app.add_typer(group.verbs)


def _version(wanted: bool) -> None:
    if wanted:
        echo(f"tellapart {tellapart.__version__}")
        raise typer.Exit


@app.callback()
def _program(
    version: Annotated[
        bool, flag("Print the version.", "--version", callback=_version, is_eager=True)
    ] = False,
) -> None:
    pass
