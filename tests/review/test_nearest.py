"""The nearest training images beside a reviewed one: there with an index, left out without."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from helpers.reviewing import digest_of
from tellapart import Run
from tellapart.jobs.review.nearest import nearest_by
from tellapart.server.review.scaled import Scaled
from tellapart.sources.source import read_source


@pytest.fixture
def scaled(shown: Path) -> Scaled:
    catalog = read_source(shown)
    return Scaled(catalog.files, catalog.rules)


def test_an_image_gets_its_neighbours(run: Run, shown: Path, scaled: Scaled):
    nearest = nearest_by(run.path, run.predictor(), scaled)
    assert nearest
    own = digest_of(shown / "leaf/002.jpg")
    found = nearest(own, "leaf/002.jpg")
    assert [near.label for near in found] == ["leaf"] * 3
    assert own not in {near.digest for near in found}
    assert nearest(own, "leaf/gone.jpg") == []


def test_a_run_without_an_index_shows_none(run: Run, scaled: Scaled, tmp_path: Path):
    copy = shutil.copytree(run.path, tmp_path / "run")
    (copy / "neighbours.npz").unlink()
    assert nearest_by(copy, run.predictor(), scaled) is None
