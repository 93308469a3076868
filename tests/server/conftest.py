"""One small model for all tests of the server."""

from __future__ import annotations

from pathlib import Path

import pytest

import tellapart
from helpers.images import write_classes
from tellapart import Predictor


@pytest.fixture(scope="session")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the model learned from: brick, leaf and sky."""
    return write_classes(tmp_path_factory.mktemp("served") / "photos", 12)


@pytest.fixture(scope="session")
def model(shown: Path, own_cache: Path) -> Path:
    """A model file."""
    return tellapart.train(shown, out=shown.parent / "runs", quiet=True).model


@pytest.fixture(scope="session")
def predictor(model: Path) -> Predictor:
    return tellapart.load(model)


@pytest.fixture(scope="session")
def image(shown: Path) -> bytes:
    """A JPEG of sky."""
    return (shown / "sky" / "000.jpg").read_bytes()
