"""One look at the images of a data set: labels judged, errors counted, cues tried."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tellapart.catalog.cues import measure_cues
from tellapart.catalog.table import Catalog
from tellapart.errors import UserError
from tellapart.evaluation.label_errors import Power, Reading, read_order
from tellapart.evaluation.shortcuts import Shortcut
from tellapart.jobs.audit.cues import find_shortcuts, shortcut_findings
from tellapart.jobs.audit.images import image_findings
from tellapart.jobs.audit.labels import (
    Judged,
    count_wrong,
    find_power,
    judge_labels,
    label_findings,
)
from tellapart.pipeline.services import Services
from tellapart.probe.embeddings import FeatureExtractor
from tellapart.runs.audit import AuditFinding


@dataclass(frozen=True)
class Look:
    """What was found, and what it is worth.

    Args:
        judged: the images, and what heads that did not see them say.
        power: the share of wrong labels that it finds.
        reading: what to expect of the labels; None where images are too few.
        shortcuts: every cue that was tried.
        findings: in no order.
    """

    judged: Judged
    power: tuple[Power, ...]
    reading: Reading | None
    shortcuts: tuple[Shortcut, ...]
    findings: tuple[AuditFinding, ...]


def look(
    catalog: Catalog,
    features: FeatureExtractor,
    rows: NDArray[np.int64],
    seed: int,
    services: Services,
) -> Look:
    """Judge the labels and the images of some rows.

    Args:
        catalog: divided.
        features: that saw the images.
        rows: (M,) of usable images with a label.
        seed: of every random decision.
        services: show the progress, and measure it.

    Raises:
        UserError: the images are of fewer than two classes.
    """
    if len(np.unique(catalog.labels[rows])) < 2:
        raise UserError(
            "The images are of fewer than two classes, so that no label can be wrong.",
            "Give data with one folder a class.",
        )
    with services.step("labels", "Judging the labels") as task:
        judged = judge_labels(catalog, features.of(catalog, rows), rows, seed, task)
    with services.step("errors", "Counting the errors"):
        count = count_wrong(judged)
        power = find_power(judged, count)
        reading = read_order(judged.scores, count) if power else None
    with services.console.track("Measuring cues and quality", len(rows)) as advance:
        cues = measure_cues(catalog, rows, advance)
    services.clock.lap("cues")
    with services.step("shortcuts", "Trying the cues") as task:
        tried = find_shortcuts(judged, cues, seed, task)
    with services.step("images", "Looking at the images"):
        findings = (
            *label_findings(judged, reading),
            *shortcut_findings(judged, tried),
            *image_findings(judged, cues),
        )
    return Look(judged, power, reading, tuple(shortcut for shortcut, _ in tried), findings)
