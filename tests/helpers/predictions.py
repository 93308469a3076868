"""Predictions with one thing changed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tellapart.evaluation.predictions import Predictions


def with_probs(predictions: Predictions, probs: np.ndarray) -> Predictions:
    """The same images with other probabilities, whose most probable classes are the answers."""
    return replace(predictions, probs=probs, answers=np.zeros(0, np.int64))
