"""`report`: the report of a finished run, made anew from what its folder keeps. Needs no torch."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from tellapart.catalog.files import Files
from tellapart.catalog.names import escape
from tellapart.errors import UserError
from tellapart.home import user_path
from tellapart.pipeline.data import reading_by
from tellapart.pipeline.request import as_source
from tellapart.pipeline.run_report import (
    FACTS_OF_PAGE,
    MODEL_CARD,
    REPORT,
    NoFiles,
    write_pages,
)
from tellapart.progress import Console
from tellapart.runs.data_place import data_of
from tellapart.runs.folder import RunFolder
from tellapart.runs.history import past_run, read_settings
from tellapart.sources.source import Source, read_source


@dataclass(frozen=True)
class WrittenReport:
    """The files of a report that was made anew.

    Args:
        page: the page, one self-contained HTML document.
        facts: the same facts as JSON.
        model_card: the model card, in Markdown.
        no_pictures: why the page has no images, in a sentence; "" where it has them.

    >>> tellapart.write_report(run.path, quiet=True).page.name
    'report.html'
    """

    page: Path
    facts: Path
    model_card: Path
    no_pictures: str

    def as_json(self) -> dict[str, Any]:
        """The JSON object that `--json` prints."""
        return {
            "report": escape(str(self.page)),
            "facts": escape(str(self.facts)),
            "model_card": escape(str(self.model_card)),
            "no_pictures": self.no_pictures or None,
        }


def write_report(
    run: str | PathLike[str], *, data: Source | None = None, quiet: bool = False
) -> WrittenReport:
    """Make the report of a finished run anew, from what its folder keeps.

    The pages are those that the training wrote, in the words of this version. Images that are gone
    or changed are only named.

    Args:
        run: the run folder.
        data: where the data of the training is now, in any form that `train` takes. Default: where
            the run says it is.
        quiet: print nothing.

    Raises:
        UserError: no run folder, one that is not finished, or no such data.
        Refused: a file of the run is gone or damaged.

    >>> tellapart.write_report(run.path, quiet=True).no_pictures
    ''
    """
    console, folder = Console(quiet=quiet), RunFolder(user_path(run))
    if past_run(folder.path).state != "finished":
        raise UserError(
            f"{run} is not finished, so there is nothing to report yet.",
            f"Finish it first: tellapart train --resume {run}"
            if folder.has("run.json")
            else "Train it anew.",
        )
    with console.step("Looking for the images"):
        files, no_pictures = _files_of(folder, data)
    if no_pictures:
        console.say(f"note: {no_pictures}")
    with console.step("Writing the report"):
        write_pages(folder, files, no_pictures)
    return WrittenReport(
        page=folder.path / REPORT,
        facts=folder.path / FACTS_OF_PAGE,
        model_card=folder.path / MODEL_CARD,
        no_pictures=no_pictures,
    )


def _files_of(run: RunFolder, data: Source | None) -> tuple[Files, str]:
    """The files of the run's images, and why there are none; "" where they are there."""
    form = {key: value for key, value in read_settings(run.path).items() if key.startswith("data.")}
    if data is not None:
        return read_source(as_source(data), reading_by(form)).files, ""
    place = data_of(run.path)
    if place is None:
        return NoFiles(), (
            "The run does not say where its images are, so this page has no pictures. Say where"
            " they are with --data."
        )
    try:
        return read_source(place, reading_by(form)).files, ""
    except UserError:
        return NoFiles(), (
            "The images are no longer where the run has them, so this page has no pictures. Say"
            " where they are with --data."
        )
