"""One small run for all tests of explanations."""

from __future__ import annotations

from pathlib import Path

import pytest

import tellapart
from helpers.images import write_classes
from tellapart import Run

SMALL = {"preprocessing.size_px": 64, "head.folds": 2, "head.c_values": (0.01, 0.1)}


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_classes(tmp_path_factory.mktemp("explained") / "photos", 12)


@pytest.fixture(scope="session")
def run(photos: Path, own_cache: Path) -> Run:
    return tellapart.train(photos, set=SMALL, out=photos.parent / "runs", quiet=True)
