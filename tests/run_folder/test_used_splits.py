"""The splits of an earlier run, used again."""

from __future__ import annotations

from pathlib import Path

import polars
import pytest

from helpers.images import write_image
from helpers.probes import splits_of, train_probe
from tellapart import Run, UserError
from tellapart.errors import Refused


@pytest.mark.parametrize("what", ["folder", "file"])
def test_the_splits_of_an_earlier_run_are_used_again(
    run: Run, data: Path, tmp_path: Path, what: str
):
    splits = run.path if what == "folder" else run.path / "splits.parquet"
    again = train_probe(data, tmp_path, seed=5, splits=splits)
    assert splits_of(again).equals(splits_of(run))
    assert splits_of(train_probe(data, tmp_path, seed=5)).equals(splits_of(run)) is False


def test_the_splits_of_a_leaky_source_can_be_used_again(split_photos: Path):
    copy = (split_photos / "train" / "sky" / "001.jpg").read_bytes()
    (split_photos / "test" / "sky" / "copy.jpg").write_bytes(copy)
    first = train_probe(split_photos)
    assert splits_of(train_probe(split_photos, splits=first.path)).equals(splits_of(first))


def test_data_that_was_added_joins_the_splits_of_an_earlier_run(run: Run, photos: Path):
    write_image(photos / "sky" / "new.jpg", 999)
    again = train_probe(photos, splits=run.path)
    places = dict(splits_of(again).select("path", "split").rows())
    old = dict(splits_of(run).select("path", "split").rows())
    assert places.keys() - old.keys() == {"sky/new.jpg"}
    assert old.items() <= places.items()
    assert any("no image moved: 1 image is new" in warning for warning in again.warnings)


@pytest.mark.parametrize("keeps_hash", [True, False])
def test_an_edited_splits_file_is_refused(run: Run, data: Path, tmp_path: Path, keeps_hash: bool):
    about = polars.read_parquet_metadata(run.path / "splits.parquet") if keeps_hash else {}
    edited = splits_of(run).with_columns(split=polars.col("split").replace({"test": "train"}))
    edited.write_parquet(
        tmp_path / "splits.parquet",
        metadata={key: about[key] for key in about if "ARROW" not in key},
    )
    with pytest.raises(Refused, match="was changed after it was written"):
        train_probe(data, tmp_path / "runs", splits=tmp_path / "splits.parquet")


@pytest.mark.parametrize(
    ("name", "says"), [("nowhere", "does not exist"), ("metrics.json", "is not a splits file")]
)
def test_what_is_no_splits_file_is_said(run: Run, data: Path, tmp_path: Path, name: str, says: str):
    with pytest.raises(UserError, match=says):
        train_probe(data, tmp_path, splits=run.path / name)
