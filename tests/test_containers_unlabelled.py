"""The images of a container are found without labels too, as `predict` wants them."""

import numpy as np
import polars
import pytest

from helpers.archives import ONE, make_zip
from helpers.containers import hub_frame, small_image, small_images, write_parquet, write_shard
from tellapart.sources.held_images import held_images

IMAGES = np.random.default_rng(0).integers(0, 256, (4, 6, 7, 3), np.uint8)


def names_in(path):
    return [image.name.removeprefix(f"{path.parent}/") for image in held_images(path)]


def test_a_parquet_file_needs_no_column_of_labels(tmp_path):
    path = tmp_path / "x.parquet"
    polars.DataFrame({"image": small_images()[1]}).write_parquet(path)
    assert names_in(path) == [f"x.parquet/{number}" for number in range(4)]
    assert held_images(path)[1].read() == small_image(1, 1)


def test_images_whose_label_is_hidden_are_found(tmp_path):
    frame = hub_frame().with_columns(label=polars.lit(-1))
    assert len(held_images(write_parquet(tmp_path / "test.parquet", frame))) == 4


def test_an_npz_file_needs_no_labels_and_is_no_archive_of_images(tmp_path):
    np.savez(tmp_path / "x.npz", x_test=IMAGES)
    assert names_in(tmp_path / "x.npz")[0] == "x.npz/x_test/0"


def test_a_shard_gives_its_images_alone(tmp_path):
    path = write_shard(tmp_path / "x.tar", [0, 1])
    assert names_in(path) == ["x.tar/000000.png", "x.tar/000001.png"]


def test_archives_in_an_archive_are_entered(tmp_path):
    path = tmp_path / "x.zip"
    path.write_bytes(
        make_zip({"a.zip": make_zip({"1.bmp": ONE}), "b.zip": make_zip({"2.bmp": ONE})})
    )
    assert names_in(path) == ["x.zip/a/1.bmp", "x.zip/b/2.bmp"]


@pytest.mark.parametrize("name", ["clip.mp4", "data.pkl", "labels.xlsx"])
def test_a_kind_that_is_not_read_gets_its_verdict_as_a_file(tmp_path, name):
    (tmp_path / name).write_bytes(b"anything")
    assert held_images(tmp_path / name) is None
