"""`explore`: what a set of images holds, before anything is trained on it. Needs no torch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tellapart.cache import cache_remark
from tellapart.cache.packages import PACKAGES
from tellapart.catalog.appearance import measure_appearance
from tellapart.catalog.duplicates import thumbnails_of
from tellapart.catalog.findings import Finding
from tellapart.catalog.scan import drop_empty_classes
from tellapart.catalog.splits import make_splits
from tellapart.catalog.table import SPLITS, Catalog, Column
from tellapart.errors import UserError
from tellapart.home import user_path
from tellapart.modelfile.on_ray import check_engine
from tellapart.pipeline.data import read_catalog, scan_files, scan_memory
from tellapart.pipeline.findings import HARMFUL, find_all, refuse_findings
from tellapart.pipeline.pages import WithPage, check_page, timestamp, write_page
from tellapart.pipeline.services import Clock
from tellapart.progress import Console
from tellapart.recipe import Recipe
from tellapart.recipe_files import load_recipe
from tellapart.report.explore.page import ExplorationInput, render_exploration, summary_lines
from tellapart.sources.source import Source, name_of
from tellapart.table_file import TableFile
from tellapart.tables import check_table_name

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


@dataclass(frozen=True, kw_only=True)
class Exploration(WithPage):
    """What was found out about the data.

    Args:
        catalog: the data, scanned. Its splits are what a training with the same options would use;
            "" everywhere where it would refuse.
        appearance: (N, 3) float32, brightness, contrast and colourfulness, as
            `catalog.appearance.measure_appearance` defines them.
        findings: what there is to say about the data, the worst kinds first.
        lines: the page's own words, for a terminal; the verdict first.
        html: the page.
        page: where it was written; None where no file was asked for.
        seconds: the whole exploration.
    """

    catalog: Catalog
    appearance: NDArray[np.float32]
    findings: tuple[Finding, ...]
    lines: tuple[str, ...]
    seconds: float

    @property
    def splits(self) -> Column:
        """(N,) str, the split of each row."""
        return self.catalog.splits

    def as_json(self) -> dict[str, Any]:
        """The JSON object that `--json` prints."""
        catalog = self.catalog
        return {
            "source": catalog.source,
            "files": len(catalog),
            "usable": int(catalog.ok.sum()),
            "classes": dict(zip(catalog.classes, catalog.counts().tolist(), strict=True)),
            "splits": {split: len(catalog.split(split)) for split in SPLITS},
            "statuses": catalog.status_counts,
            "ignored": dict(catalog.ignored),
            "findings": [
                {"kind": finding.kind, "text": finding.text, "sets": list(map(list, finding.sets))}
                for finding in self.findings
            ],
            "page": self.escaped_page,
            "seconds": self.seconds,
        }


def explore(
    data: Source,
    *,
    out: str | PathLike[str] | None = None,
    table: str | PathLike[str] | None = None,
    recipe: str | Recipe = "probe",
    seed: int | None = None,
    group_by: str | None = None,
    copies: str | None = None,
    strict: bool = False,
    set: Mapping[str, Any] | None = None,
    engine: str | None = None,
    quiet: bool = False,
) -> Exploration:
    """Inspect every image of a source, and find out what there is to know about the set.

    Args:
        data: the images, in any form that `train` takes.
        out: the HTML page to write. None writes no file; `Exploration.save` writes it later.
        table: a .csv, .jsonl or .parquet to write too, with one row a file.
        recipe: the recipe whose split options decide the splits that are shown.
        seed: the seed of the splits. Default: the recipe's.
        group_by: what must stay on one side of the split, as for `train`.
        copies: which images count as copies of each other, as for `train`.
        strict: refuse, after the page is written, if anything but remarks and proposals was found.
        set: recipe keys and their values.
        engine: "ray" lets a Ray cluster read the images, as for `train`.
        quiet: print nothing.

    Returns:
        The catalog, the findings and the page. `train` takes the catalog as its data.

    Raises:
        UserError: no such source, or nothing can be written there.
        Refused: under `strict`.

    >>> exploration = tellapart.explore(photos, quiet=True)
    >>> len(exploration.catalog), exploration.catalog.classes
    (36, ('brick', 'leaf', 'sky'))
    """
    console, clock = Console(quiet=quiet), Clock()
    options = load_recipe(
        recipe, set, {"seed": seed, "split.group_by": group_by, "split.copies": copies}
    )
    name = name_of(data)
    check_page(out)
    check_engine(engine)
    if table:
        check_table_name(user_path(table))
    if remark := cache_remark():
        console.say(f"note: {remark}")

    catalog = read_catalog(data, name, options, console)
    clock.lap("listing")
    with scan_memory(catalog, options) as memory:
        catalog = scan_files(catalog, options, memory, console, engine=engine)
        clock.lap("reading")
        with console.step("Measuring brightness, contrast and colour"):
            appearance = np.full((len(catalog), 3), np.nan, np.float32)
            appearance[catalog.ok] = measure_appearance(
                thumbnails_of(catalog, np.flatnonzero(catalog.ok), memory)
            )
        clock.lap("appearance")
    with console.step("Looking for leaks and other problems"):
        catalog = _divided(catalog, options)
        findings = find_all(catalog, options.splitting, needs_val=options.by_gradient)
    clock.lap("findings")
    shown = ExplorationInput(
        title=name,
        created=timestamp(),
        catalog=catalog.replace(remarks=()),  # they are among the findings
        findings=findings,
        appearance=appearance,
        seconds=clock.seconds()["all"],
        input_px=_input_px(options),
    )
    with console.step("Writing the page"):
        html = render_exploration(shown)
    exploration = Exploration(
        catalog=catalog,
        appearance=appearance,
        findings=findings,
        lines=tuple(summary_lines(shown)),
        html=html,
        page=write_page(out, html),
        seconds=clock.seconds()["all"],
    )
    clock.lap("page")
    if table:
        with console.step("Writing the table"), TableFile(user_path(table), COLUMNS) as file:
            for row in _rows(exploration):
                file.add(row)
        clock.lap("table")
    console.say(clock.summary())
    harmful = [finding for finding in findings if finding.kind in HARMFUL]
    if strict and harmful:
        for finding in harmful:
            console.say(f"note: {finding.text}")
        if exploration.page:
            console.say(f"page: {exploration.page}")
        refuse_findings(findings, HARMFUL)
    return exploration


def _divided(catalog: Catalog, options: Recipe) -> Catalog:
    """The catalog with the splits that a training would use; where it would refuse, why."""
    try:
        kept = drop_empty_classes(catalog)
        return kept.with_splits(make_splits(kept, options.splitting, options.seed))
    except UserError as error:
        remark = f"A training would stop here: {error}"
        return catalog.replace(remarks=(*catalog.remarks, remark))


def _input_px(options: Recipe) -> int:
    """The side of the network's input; 0 where only the network itself knows it."""
    package = PACKAGES.get(options.backbone.name)
    return options.preprocessing.size_px or (package.size_px if package else 0)


def _rows(exploration: Exploration) -> Iterator[dict[str, Any]]:
    catalog = exploration.catalog
    names = [*catalog.classes, ""]  # label -1 takes the last
    measured = exploration.appearance.T.astype(float).tolist()
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
    ):
        yield dict(zip(COLUMNS, values, strict=True))
