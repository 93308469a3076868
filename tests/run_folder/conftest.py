"""Fixtures of the tests of run folders: images, and the run of a probe on them."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers.images import write_classes
from helpers.probes import train_probe
from tellapart import Run


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_classes(tmp_path_factory.mktemp("run_folder") / "photos", 12)


@pytest.fixture(scope="session")
def run(data: Path) -> Run:
    return train_probe(data)
