"""Fixtures of the tests of the training loop: images of three classes, with and without val."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from helpers.catalogs import scan_folder
from helpers.images import write_classes
from helpers.training import training_data_of
from tellapart.models.backbones import one_thread
from tellapart.training.phases import TrainingData


@pytest.fixture(autouse=True, scope="module")
def threads() -> Iterator[None]:
    with one_thread():
        yield


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> TrainingData:
    """19 train images of three classes, 7, 7 and 5, and 6 of val."""
    folder = write_classes(tmp_path_factory.mktemp("fit") / "photos", 9)
    for name in ("000", "001"):
        (folder / "sky" / f"{name}.jpg").unlink()
    return training_data_of(scan_folder(folder))


@pytest.fixture(scope="session")
def without_val(data: TrainingData) -> TrainingData:
    return TrainingData(data.train, None, data.preprocessing)
