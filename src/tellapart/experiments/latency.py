"""How long a whole model file takes for one picture: the files in turns, so that a busy moment falls on all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from tellapart.experiments.pareto import Latency
from tellapart.modelfile.session import Session  # before onnxruntime: it says how that is to be imported

import onnxruntime as ort  # isort: skip

ROUNDS = 5
PICTURES = 6  # of each round
OUTPUTS = ("probabilities", "embedding", "unfamiliarity")  # what the predictor asks for


def measure_latency(
    models: Mapping[str, bytes], pictures: Sequence[NDArray[np.uint8]], threads: int
) -> dict[str, Latency]:
    """Milliseconds of each model file for a decoded picture, one picture at a time.

    Args:
        models: name → model file.
        pictures: (H, W, 3) uint8 each, at least one; each file sees all of them in every round, after one to warm up.
        threads: that work on one picture together.
    """
    sessions = {name: _session(model, threads) for name, model in models.items()}
    for session in sessions.values():
        _run(session, pictures[0])
    spent: dict[str, list[float]] = {name: [] for name in sessions}
    names = list(sessions)
    for turn in range(ROUNDS):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:  # none is always the one that goes first
            spent[name] += [_run(sessions[name], picture) for picture in pictures]
    return {name: _summary(values, threads) for name, values in spent.items()}


def _summary(values: Sequence[float], threads: int) -> Latency:
    low, median, high = np.quantile(values, (0.25, 0.5, 0.75)).tolist()
    return Latency(median, low, high, threads)


def _session(model: bytes, threads: int) -> ort.InferenceSession | Session:
    if threads == 1:
        return Session(model)  # as the predictor has it
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.force_spinning_stop", "1")  # its threads must not slow the next one
    options.log_severity_level = 4
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _run(session: ort.InferenceSession | Session, picture: NDArray[np.uint8]) -> float:
    """Milliseconds of one run."""
    batch = picture[None]
    began = perf_counter()
    if isinstance(session, Session):
        session.run(batch, OUTPUTS)
    else:
        session.run(list(OUTPUTS), {"pixels": batch})
    return 1000 * (perf_counter() - began)
