"""How long a whole model file takes for one image: the files in turns, so that a busy moment falls
on all of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from tellapart.experiments.pareto import Latency
from tellapart.modelfile.session import Session

ROUNDS = 5
IMAGES = 6  # of each round
OUTPUTS = ("probabilities", "embedding", "unfamiliarity")  # what the predictor asks for


def measure_latency(
    models: Mapping[str, bytes], images: Sequence[NDArray[np.uint8]], threads: int
) -> dict[str, Latency]:
    """Milliseconds of each model file for a decoded image, one image at a time.

    Args:
        models: name → model file.
        images: (H, W, 3) uint8 each, at least one; each file sees all of them in every round, after
            one to warm up.
        threads: that work on one image together.
    """
    sessions = {name: Session(model, threads) for name, model in models.items()}
    for session in sessions.values():
        _run(session, images[0])
    spent: dict[str, list[float]] = {name: [] for name in sessions}
    names = list(sessions)
    for turn in range(ROUNDS):
        for name in (
            names[turn % len(names) :] + names[: turn % len(names)]
        ):  # none is always the one that goes first
            spent[name] += [_run(sessions[name], image) for image in images]
    return {name: _summary(values, threads) for name, values in spent.items()}


def _summary(values: Sequence[float], threads: int) -> Latency:
    low, median, high = np.quantile(values, (0.25, 0.5, 0.75)).tolist()
    return Latency(median, low, high, threads)


def _run(session: Session, image: NDArray[np.uint8]) -> float:
    """Milliseconds of one run."""
    batch = image[None]
    began = perf_counter()
    session.run(batch, OUTPUTS)
    return 1000 * (perf_counter() - began)
