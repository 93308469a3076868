"""Where the data of a run lies, as its folder says it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import tellapart
from helpers.images import write_classes
from helpers.probes import SMALL
from helpers.run_folders import text_of
from tellapart import Run, UserError
from tellapart.runs.data_place import data_of


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    data = write_classes(tmp_path_factory.mktemp("secret-place") / "photos", 12)
    return tellapart.train(data, set=SMALL, out=data.parent / "runs", quiet=True)


def test_a_run_finds_its_data(run: Run):
    assert data_of(run.path) == run.path.parents[1] / "photos"


def test_a_run_that_was_moved_with_its_data_finds_it(run: Run, tmp_path: Path):
    shutil.copytree(run.path.parents[1], tmp_path / "moved")
    moved = tmp_path / "moved" / "runs" / run.path.name
    assert data_of(moved) == tmp_path / "moved" / "photos"


def test_data_in_memory_has_no_place(tmp_path: Path):
    images = sorted(write_classes(tmp_path / "photos", 6).rglob("*.jpg"))
    pairs = [(image, image.parent.name) for image in images]
    run = tellapart.train(pairs, set=SMALL, out=tmp_path / "runs", quiet=True)
    assert data_of(run.path) is None


def test_only_the_way_to_the_data_is_written_down(run: Run):
    files = [file for file in run.path.iterdir() if "secret-place" in text_of(file)]
    assert files == [] and "../../photos" in text_of(run.path / "data.json")


def test_a_run_is_measured_on_its_own_test_images(run: Run):
    measured = tellapart.evaluate(run.path, quiet=True)
    assert measured.metrics.accuracy == run.metrics.accuracy


def test_a_run_whose_data_is_gone_has_kept_its_answers(run: Run, tmp_path: Path):
    alone = Path(shutil.copytree(run.path, tmp_path / "a" / "run"))
    assert tellapart.evaluate(alone, quiet=True).metrics.accuracy == run.metrics.accuracy


def test_a_model_file_alone_has_no_data(run: Run):
    with pytest.raises(UserError, match="which images to measure the model on"):
        tellapart.evaluate(run.model, quiet=True)
