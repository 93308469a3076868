"""What the verbs print of a score."""

from __future__ import annotations

import numpy as np
import pytest

from tellapart.cli.output import print_scores
from tellapart.evaluation.metrics import measure
from tellapart.evaluation.predictions import Predictions


def printed(labels: list[int], capsys: pytest.CaptureFixture[str]) -> str:
    """The first line on always right answers to images of these of three classes."""
    probs = np.eye(3, dtype=np.float32)[labels]
    paths = tuple(map(str, range(len(labels))))
    print_scores(measure(Predictions(probs, np.array(labels), paths, ("a", "b", "c"))))
    return capsys.readouterr().out.splitlines()[0]


def test_an_accuracy_names_the_classes_that_it_says_nothing_of(capsys):
    line = printed([0, 0, 1, 1], capsys)
    assert line.endswith(", over the 2 of 3 classes that have images here; missing: 'c'")


def test_an_accuracy_over_all_classes_stands_alone(capsys):
    assert "over the" not in printed([0, 1, 2], capsys)
