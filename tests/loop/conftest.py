"""Fixtures of the tests of the training loop: images of three classes, with and without val."""

from __future__ import annotations

import pytest

from helpers.training import uneven_data
from tellapart.training.phases import TrainingData


@pytest.fixture(autouse=True, scope="module")
def in_one_thread(single_thread: None) -> None:
    """All tests of the loop."""


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> TrainingData:
    """19 train images of three classes, 7, 7 and 5, and 6 of val."""
    return uneven_data(tmp_path_factory.mktemp("fit"))


@pytest.fixture(scope="session")
def without_val(data: TrainingData) -> TrainingData:
    return TrainingData(data.train, None, data.preprocessing)
