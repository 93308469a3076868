"""Answers to images in groups, whose likeness is known."""

import numpy as np

from tellapart.evaluation.calibration import softmax
from tellapart.evaluation.predictions import Predictions


def answers(count=60, num_classes=3, seed=0, copies=1):
    """A middling model's answers to images, each of which is there several times."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % num_classes
    logits = rng.normal(size=(count, num_classes)) + 1.5 * np.eye(num_classes)[labels]
    rows = np.repeat(np.arange(count), copies)
    paths = tuple(f"{row:03}-{place}.jpg" for place, row in enumerate(rows.tolist()))
    classes = tuple("abcdefgh"[:num_classes])
    return Predictions(softmax(logits)[rows], labels[rows], paths, classes, clusters=rows)


def groups(sizes, accuracy, likeness, seed=0):
    """Whether each image is right, and its group. Two images of a group correlate as asked."""
    rng = np.random.default_rng(seed)
    clusters = np.repeat(np.arange(len(sizes)), sizes)
    together = rng.random(len(clusters)) < np.sqrt(likeness)
    alone, common = rng.random(len(clusters)), rng.random(len(sizes))[clusters]
    return np.where(together, common, alone) < accuracy, clusters


def bounds(score):
    return score.low, score.high
