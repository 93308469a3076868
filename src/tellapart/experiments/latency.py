"""Measure the time of whole model files for one image, in turns.

The files take turns so that a busy moment of the machine falls on all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from tellapart.experiments.pareto import Latency
from tellapart.modelfile.session import Session

ROUNDS = 5
IMAGES = 6  # of each round
OUTPUTS = ("probabilities", "embedding", "unfamiliarity")  # what the predictor asks for


def measure_latency(
    models: Mapping[str, bytes],
    images: Sequence[NDArray[np.uint8]],
    threads: int,
    *,
    run: Callable[[Session, NDArray[np.uint8]], float] | None = None,
) -> dict[str, Latency]:
    """Milliseconds of each model file per decoded image, one image at a time.

    Args:
        models: name → model file.
        images: at least one, each (H, W, 3) uint8. Each file gets all of them in every round, after
            one to warm up.
        threads: how many work on one image together.
        run: runs a session on one image and returns the milliseconds. None means `timed_run`.
    """
    run = run or timed_run
    sessions = {name: Session(model, threads) for name, model in models.items()}
    for session in sessions.values():
        run(session, images[0])
    spent: dict[str, list[float]] = {name: [] for name in sessions}
    names = list(sessions)
    for turn in range(ROUNDS):
        first = turn % len(names)  # another one in each round, as going first may cost or save time
        for name in names[first:] + names[:first]:
            spent[name] += [run(sessions[name], image) for image in images]
    return {name: _summary(values, threads) for name, values in spent.items()}


def _summary(values: Sequence[float], threads: int) -> Latency:
    low, median, high = np.quantile(values, (0.25, 0.5, 0.75)).tolist()
    return Latency(median, low, high, threads)


def timed_run(session: Session, image: NDArray[np.uint8]) -> float:
    """The milliseconds of one run."""
    batch = image[None]
    began = perf_counter()
    session.run(batch, OUTPUTS)
    return 1000 * (perf_counter() - began)
