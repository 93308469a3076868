"""What fine-tuning leaves to decide: how far to go from the probe, and whether to go at all."""

from __future__ import annotations

import time
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
from tellapart.training.weight_line import SHARES, WeightLine


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
    where = f", {100 * best:.0f} % of the way from the probe" if best < 1 else ""
    console.say(f"{choice.sentence}{where}")
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
    # The ends come first: the networks between them are tried while there is time.
    order = sorted((0.0, *SHARES), key=lambda share: share not in (0.0, 1.0))
    with console.track("Choosing between the probe and the fine-tuned", len(order)) as advance:
        for share in order:
            between = share not in (0.0, 1.0)
            if between and until is not None and time.monotonic() > until:
                break
            line.go_to(share)
            try:
                found[share], present = line.answers()
            except NotFinite:
                if not between:
                    raise
                continue
            everywhere &= present
            advance()
    shares = sorted(found)
    probs = [found[share] for share in shares]
    rows = catalog.split("val")[everywhere]
    paths, numbers = tuple(catalog.paths[rows]), clusters(catalog)[rows]
    answers = [
        Predictions(values[everywhere], catalog.labels[rows], paths, catalog.classes, None, numbers)
        for values in probs
    ]
    return shares, answers
