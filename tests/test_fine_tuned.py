"""How far to go from the probe, and what a budget leaves time for."""

from __future__ import annotations

import time
from types import SimpleNamespace

import numpy as np
import pytest

from helpers.catalogs import catalog_of_labels
from tellapart.pipeline.fine_tuned import settle
from tellapart.progress import Console
from tellapart.recipe import Recipe

LABELS = [0, 1] * 6


class Line:
    """A line of networks, each as right as it is far from the probe. It lists where it went."""

    def __init__(self) -> None:
        self.went: list[float] = []

    def go_to(self, share: float) -> None:
        self.went.append(share)

    def answers(self) -> tuple[np.ndarray, np.ndarray]:
        right = 0.5 + 0.4 * self.went[-1]
        probs = np.where(np.eye(2, dtype=bool)[LABELS], right, 1 - right).astype(np.float32)
        return probs, np.ones(len(LABELS), bool)


def settled(until: float | None) -> tuple[list[float], float]:
    """Where the line was gone, and how far the shipped network is."""
    catalog = catalog_of_labels(LABELS)
    catalog = catalog.with_splits(np.full(len(catalog), "val", object))
    line, progress = Line(), SimpleNamespace(history=[], best=None)
    data = SimpleNamespace(train=catalog, val=catalog)
    console = Console(quiet=True)
    _, facts = settle(line, data, catalog, progress, Recipe(), console, None, until)
    return line.went, facts["share"]


def test_all_networks_on_the_line_are_tried():
    went, _ = settled(None)
    assert sorted(went[:-1]) == [0.0, 0.25, 0.5, 0.75, 1.0]


def test_without_time_the_ends_of_the_line_are_tried():
    went, share = settled(time.monotonic() - 1)
    assert (went[:-1], share) == ([0.0, 1.0], 1.0)


@pytest.mark.parametrize("until", [None, 0.0])
def test_the_chosen_network_is_the_last_one_gone_to(until: float | None):
    went, share = settled(until)
    assert went[-1] == share
