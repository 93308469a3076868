"""`explore`: what a set of images holds, before anything is trained on it. Needs no torch."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tellapart.cache.packages import PACKAGES
from tellapart.catalog.appearance import measure_appearance
from tellapart.catalog.duplicates import thumbnails_of
from tellapart.catalog.names import escape
from tellapart.catalog.scan import drop_empty_classes
from tellapart.catalog.sources import read_source
from tellapart.catalog.splits import make_splits
from tellapart.catalog.table import SPLITS, Catalog, Column, text_column
from tellapart.errors import UserError
from tellapart.pipeline.findings import HARMFUL, find_all, refuse_findings
from tellapart.pipeline.looking import look_through, memory_for, name_of
from tellapart.progress import Console, duration
from tellapart.recipe import Recipe
from tellapart.recipe_files import load_recipe
from tellapart.report.explore.page import ExplorationInput, render_exploration, summary_lines
from tellapart.report.parts.data_section import Finding
from tellapart.tables import check_table_name, write_table
from tellapart.writing import write_whole

COLUMNS: Mapping[str, type] = {
    "path": str,
    "class": str,
    "split": str,
    "group": str,
    "status": str,
    "notes": str,
    "width": int,
    "height": int,
    "brightness": float,
    "contrast": float,
    "colourfulness": float,
    "taken": str,
    "copies": str,
    "sha256": str,
}


@dataclass(frozen=True)
class Exploration:
    """What was found out about the data.

    Args:
        catalog: the data, scanned.
        splits: (N,) str, what a training with the same options would use; "" all over where it
            would refuse.
        looks: (N, 3) float32, brightness, contrast and colourfulness, as `catalog.looks.looks`
            defines them.
        findings: the worst kinds first.
        lines: the page's own words, for a terminal; the verdict first.
        page: the HTML page.
        seconds: the whole exploration.
    """

    catalog: Catalog
    splits: Column
    looks: NDArray[np.float32]
    findings: tuple[Finding, ...]
    lines: tuple[str, ...]
    page: Path
    seconds: float

    def as_json(self) -> dict[str, Any]:
        """What `--json` prints."""
        catalog = self.catalog
        return {
            "source": catalog.source,
            "files": len(catalog),
            "usable": int(catalog.ok.sum()),
            "classes": dict(zip(catalog.classes, catalog.counts().tolist(), strict=True)),
            "splits": {split: int((self.splits == split).sum()) for split in SPLITS},
            "statuses": catalog.status_counts,
            "ignored": dict(catalog.ignored),
            "findings": [
                {"kind": one.kind, "text": one.text, "sets": list(map(list, one.sets))}
                for one in self.findings
            ],
            "page": escape(str(self.page)),
            "seconds": self.seconds,
        }


def explore(
    data: str | PathLike[str],
    *,
    out: str | PathLike[str] | None = None,
    table: str | PathLike[str] | None = None,
    recipe: str | Recipe = "probe",
    seed: int | None = None,
    group_by: str | None = None,
    strict: bool = False,
    set: Mapping[str, Any] | None = None,
    quiet: bool = False,
) -> Exploration:
    """Look at every image of a source, and write what there is to know of them into one HTML page.

    Args:
        data: any source that `train` takes.
        out: the page; `<name of the data>-explore.html` in the current folder by default.
        table: a .csv, .jsonl or .parquet to be written too, with one row a file.
        recipe, seed, group_by, set: as for `train`; they decide the splits that are shown.
        strict: refuse, after the page is written, if anything but remarks and proposals was found.
        quiet: print nothing.

    Raises:
        UserError: no such source, or nothing can be written there.
        Refused: under `strict`.
    """
    console, start = Console(quiet=quiet), time.monotonic()
    options = load_recipe(recipe, set, {"seed": seed, "split.group_by": group_by})
    source = Path(data)
    called = name_of(source)
    page = Path(out) if out else Path(f"{called}-explore.html")
    check_page(page)
    if table:
        check_table_name(Path(table))

    catalog = read_source(source, group_column=options.split.group_column)
    console.say(
        f"{called}: {catalog.source}; {len(catalog):,} files, {len(catalog.classes)} classes"
    )
    with memory_for(catalog, options) as memory:
        catalog = look_through(catalog, options, memory, console)
        measured = np.full((len(catalog), 3), np.nan, np.float32)
        measured[catalog.ok] = measure_appearance(
            thumbnails_of(catalog, np.flatnonzero(catalog.ok), memory)
        )
    catalog, splits = _divided(catalog, options)
    findings = find_all(catalog, splits, options.split)
    seconds = round(time.monotonic() - start, 2)
    found = ExplorationInput(
        title=called,
        created=time.strftime("%d %B %Y, %H:%M"),
        catalog=catalog.replace(remarks=()),  # they are among the findings
        splits=splits,
        findings=findings,
        looks=measured,
        seconds=seconds,
        input_px=_input_px(options),
    )
    write_whole(page, render_exploration(found))
    exploration = Exploration(
        catalog, splits, measured, findings, tuple(summary_lines(found)), page, seconds
    )
    if table:
        write_table(Path(table), _rows(exploration), COLUMNS)
    console.say(f"Looked at after {duration(seconds)}")
    if strict:
        refuse_findings(findings, HARMFUL)
    return exploration


def check_page(page: Path) -> None:
    """Refuse, before any work, a page that cannot be written, or that would replace somebody else's
    file.

    Raises:
        UserError: it is a folder, or a file that was not written by an exploration.
    """
    if page.is_dir():
        raise UserError(
            f"{page} is a folder.", f"Name a file in it, for example {page / 'explore.html'}."
        )
    if page.exists() and b'name="generator" content="tellapart"' not in page.read_bytes()[:4096]:
        raise UserError(
            f"{page} is there already, and is no page of ours.", "Choose another name with --out."
        )


def _divided(catalog: Catalog, options: Recipe) -> tuple[Catalog, Column]:
    """The catalog and its splits as a training would use them; where it would refuse, why."""
    try:
        return (kept := drop_empty_classes(catalog)), make_splits(kept, options.split, options.seed)
    except UserError as error:
        remark = f"A training would stop here: {error}"
        return catalog.replace(remarks=(*catalog.remarks, remark)), text_column([""] * len(catalog))


def _input_px(options: Recipe) -> int:
    """The side of the network's input; 0 where only the network itself knows it."""
    package = PACKAGES.get(options.backbone.name)
    return options.preprocessing.size_px or (package.size_px if package else 0)


def _rows(exploration: Exploration) -> list[dict[str, Any]]:
    catalog = exploration.catalog
    names = [*catalog.classes, ""]  # label -1 takes the last
    measured = exploration.looks.T.astype(float).tolist()
    return [
        dict(zip(COLUMNS, values, strict=True))
        for values in zip(
            catalog.paths,
            (names[label] for label in catalog.labels),
            exploration.splits,
            catalog.groups,
            catalog.statuses,
            catalog.notes,
            catalog.widths.tolist(),
            catalog.heights.tolist(),
            *(
                [None if math.isnan(value) else round(value, 1) for value in column]
                for column in measured
            ),
            catalog.taken,
            catalog.paths[catalog.copies],
            catalog.digests,
            strict=True,
        )
    ]
