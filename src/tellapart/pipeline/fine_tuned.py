"""What fine-tuning leaves to decide: how far to go from the probe, and whether to go at all."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tellapart.catalog.duplicates import clusters
from tellapart.catalog.table import Catalog
from tellapart.evaluation.choice import Choice, choose_network
from tellapart.evaluation.predictions import Predictions
from tellapart.models.classifier import Classifier
from tellapart.progress import Console
from tellapart.recipe import Recipe
from tellapart.training.checkpoints import Checkpoints, NotFinite
from tellapart.training.phases import TrainingData
from tellapart.training.state import Progress
from tellapart.training.weight_line import MEASURED_IMAGES, SHARES, WeightLine


def settle(
    line: WeightLine,
    data: TrainingData,
    catalog: Catalog,
    progress: Progress,
    recipe: Recipe,
    console: Console,
    share: float | None,
    until: float | None = None,
) -> tuple[Choice | None, dict[str, Any]]:
    """Put the best network between the probe and the end of the training into the classifier.

    Args:
        line: from the probe to the end of the training.
        data: without val, nothing is chosen.
        catalog: with its splits.
        progress: how many epochs val was looked at.
        recipe: its seed.
        console: where the choice is printed.
        share: how far to go. None lets val choose.
        until: when, by `time.monotonic`, no further network is tried. The ends of the line always
            are. None means that all are tried.

    Returns:
        The choice between the probe and that network, and what is recorded: "share", and "choice"
        where val decided.
    """
    if share is not None or data.val is None:
        if share is None:
            console.say("note: There is no val to choose by: the fine-tuned network is shipped")
        share = 1.0 if share is None else share
        line.go_to(share)
        return None, {"share": share}
    shares, answers = _answers(line, data, catalog, console, until)
    # Where the last network is kept, val was looked at for no other.
    looks = max(1, len(progress.history)) if progress.best else 1
    choice = choose_network(answers, looks=looks, seed=recipe.seed)
    best = shares[choice.best]
    line.go_to(best)
    where = f", {100 * best:.0f} % of the way from the probe," if best < 1 else ""
    console.say(choice.sentence(f"the fine-tuned network{where}"))
    return choice, {"share": best, "choice": choice.as_json()}


def keep_between(
    classifier: Classifier, checkpoints: Checkpoints, progress: Progress, share: float
) -> str | None:
    """Keep a network that lies between the ends of a training, which no checkpoint holds; returns
    the name of its file.
    """
    if share == 1:
        return None
    return checkpoints.save_between(progress.step, classifier.state_dict(), {"share": share})


def _answers(
    line: WeightLine,
    data: TrainingData,
    catalog: Catalog,
    console: Console,
    until: float | None,
) -> tuple[list[float], list[Predictions]]:
    """The networks on the line whose answers are finite, the probe first, and their answers for val."""
    found: dict[float, NDArray[np.float32]] = {}
    everywhere = np.ones(len(catalog.split("val")), bool)
    ends = [share for share in (0.0, *SHARES) if share in (0.0, 1.0)]
    between = [share for share in SHARES if share not in ends]
    with console.track("Comparing with the probe on val", len(ends + between)) as advance:

        def look(share: float) -> None:
            line.go_to(share)
            found[share], present = line.answers()
            np.logical_and(everywhere, present, out=everywhere)
            advance()

        began = time.monotonic()
        for share in ends:
            look(share)
        # Between the ends, the statistics of BatchNorm are measured on train images too.
        images = 1 + min(MEASURED_IMAGES, len(data.train)) / max(len(everywhere), 1)
        seconds = images * (time.monotonic() - began) / len(ends)
        for share in between:
            if until is not None and time.monotonic() + seconds > until:
                break
            with suppress(NotFinite):
                look(share)
    shares = sorted(found)
    probs = [found[share] for share in shares]
    rows = catalog.split("val")[everywhere]
    paths, numbers = tuple(catalog.paths[rows]), clusters(catalog)[rows]
    answers = [
        Predictions(values[everywhere], catalog.labels[rows], paths, catalog.classes, None, numbers)
        for values in probs
    ]
    return shares, answers
