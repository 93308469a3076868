"""Training on data that is in hand: rows, frames, images and what `explore` returned."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars
import pytest
from PIL import Image
from torch.nn.functional import one_hot

import tellapart
from helpers.images import write_tiny
from helpers.probes import SMALL
from helpers.runs import SHORT, StopAt
from tellapart import Interrupted, Run, UserError


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return write_tiny(tmp_path / "photos", 8)


@pytest.fixture
def rows(photos: Path) -> list[tuple[str, str]]:
    return [(str(path), path.parent.name) for path in sorted(photos.rglob("*.png"))]


def train(data: object, folder: Path, **options: object) -> Run:
    return tellapart.train(data, **{"out": folder / "runs", "set": SMALL, "quiet": True, **options})


def test_rows_of_path_and_label_are_data(rows: list[tuple[str, str]], tmp_path: Path):
    run = train(rows, tmp_path)
    assert run.classes == tuple(sorted({label for _, label in rows}))
    assert sum(run.statuses.values()) == len(rows)


def test_a_frame_is_data(rows: list[tuple[str, str]], tmp_path: Path):
    frame = polars.DataFrame(rows, schema=["path", "label"], orient="row")
    assert train(frame, tmp_path).metrics == train(rows, tmp_path).metrics


def test_images_in_memory_are_data(rows: list[tuple[str, str]], tmp_path: Path):
    images = [(np.asarray(Image.open(path).convert("RGB")), label) for path, label in rows]
    assert train(images, tmp_path).metrics.accuracy.count > 0


def test_the_catalog_of_an_exploration_is_data(photos: Path, tmp_path: Path):
    catalog = tellapart.explore(photos, quiet=True).catalog
    assert train(catalog, tmp_path).metrics == train(photos, tmp_path).metrics


def test_a_run_on_data_in_memory_is_resumed_with_the_data_given_again(
    rows: list[tuple[str, str]], tmp_path: Path
):
    options = {"recipe": "cifar10-lenet", "set": SHORT}
    whole = train(rows, tmp_path / "whole", **options)
    with pytest.raises(Interrupted):
        train(rows, tmp_path, **options, callbacks=[StopAt(4)])
    (run,) = (tmp_path / "runs").iterdir()
    with pytest.raises(UserError, match="was given in Python, in memory"):
        tellapart.train(resume=run, quiet=True)
    resumed = tellapart.train(rows, resume=run, quiet=True)
    assert resumed.model.read_bytes() == whole.model.read_bytes()


def test_a_resumed_run_needs_the_users_own_parts_again(photos: Path, tmp_path: Path):
    def squares(logits, targets):
        wanted = one_hot(targets, logits.shape[1])
        return (logits.softmax(1) - wanted).pow(2).sum(1)

    changes = {**SHORT, "training.loss": "squares"}
    options = {"recipe": "cifar10-lenet", "set": changes, "losses": {"squares": squares}}
    with pytest.raises(Interrupted):
        train(photos, tmp_path, **options, callbacks=[StopAt(4)])
    (run,) = (tmp_path / "runs").iterdir()
    assert json.loads((run / "run.json").read_text())["options"]["extensions"] == {
        "losses": ["squares"]
    }
    with pytest.raises(UserError, match=r"This run uses losses=\{'squares': …\}"):
        tellapart.train(resume=run, quiet=True)
    assert tellapart.train(resume=run, losses={"squares": squares}, quiet=True).path == run


def test_folds_take_the_users_own_parts_too(photos: Path, tmp_path: Path):
    def squares(logits, targets):
        return (logits.softmax(1) - one_hot(targets, logits.shape[1])).pow(2).sum(1)

    changes = {**SHORT, "training.epochs": 1, "training.loss": "squares"}
    folds = tellapart.cross_validate(
        photos,
        folds=2,
        recipe="cifar10-lenet",
        set=changes,
        losses={"squares": squares},
        out=tmp_path,
        quiet=True,
    )
    assert len(folds.folds) == 2
