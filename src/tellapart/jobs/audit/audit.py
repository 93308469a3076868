"""`audit`: likely label errors, shortcuts and odd images of a data set, and how far to trust that.

data ─▶ held-out answers ─▶ label errors, their power ─▶ findings ─▶ three files
     └▶ cues without content ─▶ shortcuts ────────────────┘

Needs no torch. No label, no image and no split is changed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from tellapart.catalog.names import escape
from tellapart.catalog.table import SPLITS
from tellapart.errors import UserError
from tellapart.evaluation.label_errors import Power
from tellapart.evaluation.shortcuts import Shortcut
from tellapart.home import user_path
from tellapart.jobs.audit.look import look
from tellapart.jobs.audit.target import embedded, is_run, request_of
from tellapart.jobs.audit.unlabelled import rank_unlabelled
from tellapart.pipeline.pages import WithPage, check_page, timestamp
from tellapart.pipeline.probe_run import train_probe
from tellapart.pipeline.request import as_source
from tellapart.pipeline.services import open_services
from tellapart.report.audit.page import AuditInput, audit_lines, render_audit
from tellapart.runs.audit import PAGE, AuditFinding, numbered, write_audit
from tellapart.sources.source import Source


@dataclass(frozen=True, kw_only=True)
class Audit(WithPage):
    """What an audit found.

    Args:
        folder: where findings.jsonl, audit.json and audit.html are.
        run: the run folder whose data was audited; None where the findings went elsewhere and
            nothing was trained.
        findings: all of them, the worst first.
        power: which share of wrong labels the audit finds, by random ones and by those between
            similar classes. Empty where images were too few.
        expected: about how many labels are wrong; None where that is not known.
        between: the 95 % interval of that number; None where it is not known.
        stop: how many of the likely label errors to read.
        held: how many wrong labels are expected among those to read.
        shortcuts: every cue that was tried.
        images: how many images were audited, by split.
        seconds: the whole audit.
    """

    folder: Path
    run: Path | None
    findings: tuple[AuditFinding, ...]
    power: tuple[Power, ...]
    expected: float | None
    between: tuple[float, float] | None
    stop: int
    held: float
    shortcuts: tuple[Shortcut, ...]
    images: Mapping[str, int]
    seconds: float

    @property
    def counts(self) -> dict[str, int]:
        """Kind → number of findings, the worst kind first."""
        return dict(Counter(finding.kind for finding in self.findings))

    @property
    def lines(self) -> list[str]:
        """The result in sentences, for a terminal."""
        return audit_lines(_shown(self))

    def summary(self) -> dict[str, Any]:
        """What audit.json holds."""
        return {
            "images": dict(self.images),
            "findings": self.counts,
            "expected_errors": self.expected,
            "expected_between": self.between and list(self.between),
            "read_first": self.stop,
            "expected_in_read": self.held,
            "power": [power.as_json() for power in self.power],
            "shortcuts": [shortcut.as_json() for shortcut in self.shortcuts],
            "text": self.lines,
            "seconds": self.seconds,
        }

    def as_json(self) -> dict[str, Any]:
        """The JSON object that `--json` prints."""
        run = None if self.run is None else escape(str(self.run))
        return {**self.summary(), "folder": escape(str(self.folder)), "run": run}


def audit(
    target: Source,
    *,
    data: Source | None = None,
    unlabelled: str | PathLike[str] | None = None,
    out: str | PathLike[str] | None = None,
    runs: str | PathLike[str] = "runs",
    recipe: str | None = None,
    seed: int | None = None,
    group_by: str | None = None,
    copies: str | None = None,
    set: Mapping[str, Any] | None = None,
    quiet: bool = False,
) -> Audit:
    """Find likely label errors, shortcuts and odd images, and measure how many errors are found.

    Every image is judged by heads that did not see it: images of train and val by folds, images of
    test by a head of all others. Each image is also given wrong labels, to measure how many of these
    the audit brings to the front. Nothing of the data is changed.

    Args:
        target: a run folder, or data in any form that `train` takes. Data is trained on first, and
            its run holds the audit.
        data: where the data of the run is now. Default: where the run says it is.
        unlabelled: a folder of images without labels, of which those to label next are named.
        out: the folder for findings.jsonl, audit.json and audit.html. Default: `audit` in the run.
            With data as the target, nothing is trained then.
        runs: the folder for the run that is trained where the target is data.
        recipe: a recipe without gradient training, where the target is data. Default: "probe".
        seed: the seed of every random decision. Default: the recipe's.
        group_by: what must stay on one side of a split, as for `train`.
        copies: which images count as copies, as for `train`.
        set: recipe keys and their values.
        quiet: print nothing.

    Returns:
        The findings, and what they are worth.

    Raises:
        UserError: no such data, fewer than two classes, or options that a run does not go with.
        Refused: the files of the run or its images are damaged.

    >>> found = tellapart.audit(photos, out="findings", quiet=True)
    >>> sum(found.images.values()), found.folder.name
    (36, 'findings')
    """
    source = as_source(target)
    options = {
        "recipe": recipe,
        "seed": seed,
        "group_by": group_by,
        "copies": copies,
        "set": set,
    }
    if out is not None:
        _check_folder(user_path(out))
    if unlabelled is not None and not user_path(unlabelled).exists():
        raise UserError(f"{unlabelled} does not exist.", "Give --unlabelled a folder of images.")
    request = request_of(source, data, options, user_path(runs))
    with open_services(quiet=quiet) as services:
        frozen, read = embedded(request, services)
        catalog = read.catalog
        run = source if is_run(source) and isinstance(source, Path) else None
        if run is None and out is None:
            run = train_probe(frozen, read, request, services)
        folder = user_path(out) if out is not None else (run or Path()) / "audit"
        rows = np.flatnonzero((catalog.splits != "") & (catalog.labels >= 0))
        looked = look(catalog, frozen.features, rows, request.recipe.seed, services)
        findings = list(looked.findings)
        if unlabelled is not None:
            folder_of_images = user_path(unlabelled)
            findings += rank_unlabelled(
                folder_of_images, looked.judged, frozen.features, services.console
            )
            services.clock.lap("unlabelled images")
        reading = looked.reading
        result = Audit(
            folder=folder,
            run=run,
            findings=numbered(findings),
            power=looked.power,
            expected=None if reading is None else round(reading.expected, 1),
            between=None if reading is None else (round(reading.low, 1), round(reading.high, 1)),
            stop=0 if reading is None else reading.stop,
            held=0.0 if reading is None else round(reading.held, 1),
            shortcuts=looked.shortcuts,
            images={split: int((catalog.splits[rows] == split).sum()) for split in SPLITS},
            seconds=services.clock.seconds()["all"],
            html="",
            page=folder / PAGE,
        )
        with services.step("page", "Writing the page"):
            html = render_audit(_shown(result), catalog, timestamp(), request.name)
            write_audit(folder, result.findings, result.summary(), html)
        services.console.say(services.clock.summary())
    return replace(result, html=html)


def _shown(result: Audit) -> AuditInput:
    return AuditInput(
        images=result.images,
        findings=result.findings,
        power=result.power,
        expected=result.expected,
        between=result.between,
        stop=result.stop,
        held=result.held,
        shortcuts=result.shortcuts,
        seconds=result.seconds,
    )


def _check_folder(folder: Path) -> None:
    """Refuse, before any work, a folder that is none, or that holds somebody else's files.

    Raises:
        UserError: it is a file, or a file in it was not written by tellapart.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file.", "Give --out a folder.")
    check_page(folder / PAGE)
