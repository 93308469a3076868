"""Measure the time of whole model files for one image, in turns, and that of decoding its file.

The files take turns so that a busy moment of the machine falls on all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from tellapart.decoders.rules import DecodeRules
from tellapart.decoding import decode
from tellapart.experiments.pareto import Latency
from tellapart.modelfile.session import Session

ROUNDS = 5
IMAGES = 6  # of each round
FILES = 24  # that are decoded; more than images, as files differ more than networks do
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


def measure_embedding(
    graphs: Mapping[str, bytes], images: Sequence[NDArray[np.uint8]]
) -> dict[str, Latency]:
    """Milliseconds of each graph from a decoded image to its embedding, on one thread.

    Args:
        graphs: name → graph without a head.
        images: as for `measure_latency`.
    """
    return measure_latency(graphs, images, 1, run=partial(timed_run, outputs=("embedding",)))


def measure_decoding(files: Sequence[bytes], rules: DecodeRules) -> Latency:
    """Milliseconds from the bytes of an image file to its pixels, on one thread.

    Args:
        files: of images. Without any the time is 0.
        rules: the settings of the decode contract.
    """
    if not files:
        return Latency(0.0, 0.0, 0.0, 1)
    spent = []
    decode(files[0], rules=rules)  # the first image pays for what Pillow loads late
    for data in files:
        began = perf_counter()
        decode(data, rules=rules)
        spent.append(1000 * (perf_counter() - began))
    return _summary(spent, 1)


def _summary(values: Sequence[float], threads: int) -> Latency:
    low, median, high = np.quantile(values, (0.25, 0.5, 0.75)).tolist()
    return Latency(median, low, high, threads)


def timed_run(
    session: Session, image: NDArray[np.uint8], outputs: Sequence[str] = OUTPUTS
) -> float:
    """The milliseconds of one run."""
    batch = image[None]
    began = perf_counter()
    session.run(batch, outputs)
    return 1000 * (perf_counter() - began)
