"""The index of a run: the training images that are most like an image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tellapart import Refused, Run, UserError
from tellapart.runs.index_file import ROWS, Digests, Indexed, write_index
from tellapart.runs.neighbours import FILE, Neighbours


def digest(number: int) -> str:
    return f"{number:064x}"


def embeddings(count: int, width: int = 16, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(1, 1, (count, width)).astype(np.float32)


def index_of(folder: Path, values: np.ndarray) -> Neighbours:
    count = len(values)
    indexed = Indexed(
        paths=[f"ä/{number}.jpg" for number in range(count)],
        labels=np.arange(count) % 2,
        digests=Digests.of([digest(number) for number in range(count)]),
        classes=("cat", "dog"),
        of=count,
    )
    write_index(folder, values, indexed)
    index = Neighbours.read(folder)
    assert index is not None
    return index


def test_the_nearest_to_an_indexed_image_is_that_image(tmp_path: Path):
    values = embeddings(50)
    (found,) = index_of(tmp_path, values).nearest(values[7], count=1)
    assert (found.path, found.label, found.split, found.digest) == (
        "ä/7.jpg",
        "dog",
        "train",
        digest(7),
    )
    assert found.similarity == pytest.approx(1, abs=1e-3)


def test_an_image_is_never_its_own_neighbour_when_its_digest_is_given(tmp_path: Path):
    values = embeddings(50)
    index = index_of(tmp_path, np.concatenate([values, values[7:8]]))
    near = index.nearest(values[7], count=51, leave_out=digest(7))
    assert len(near) == 50 and digest(7) not in [found.digest for found in near]
    assert near[0].path == "ä/50.jpg"  # a copy of it under another digest is a neighbour


def test_the_nearest_of_many_are_those_of_a_search_by_hand(tmp_path: Path):
    values, asked = embeddings(ROWS + 900), embeddings(5, seed=1)
    units = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (values, asked)]
    mean = units[0].mean(axis=0)
    known, wanted = [
        (rows - mean) / np.linalg.norm(rows - mean, axis=1, keepdims=True) for rows in units
    ]
    by_hand = np.sort(wanted @ known.T, axis=1)[:, ::-1][:, :4]
    found = index_of(tmp_path, values).nearest_each(asked, count=4)
    assert np.array([[near.similarity for near in row] for row in found]) == pytest.approx(
        by_hand, abs=1e-3
    )


def test_embeddings_stay_on_the_disk_in_half_precision(tmp_path: Path):
    index = index_of(tmp_path, embeddings(300))
    assert isinstance(index._embeddings, np.memmap)
    assert index._embeddings.dtype == np.float16 and not index._embeddings.flags.writeable
    with np.load(tmp_path / FILE) as arrays:  # NumPy alone reads the same
        assert np.array_equal(arrays["embeddings"], index._embeddings)


def test_equal_trainings_write_equal_bytes(tmp_path: Path):
    files = []
    for name in ("a", "b"):
        index_of(tmp_path / name, embeddings(30))
        files.append((tmp_path / name / FILE).read_bytes())
    assert files[0] == files[1]


def test_an_index_of_no_image_has_no_neighbours(tmp_path: Path):
    assert index_of(tmp_path, embeddings(0)).nearest(embeddings(1)[0]) == []


def test_a_run_without_an_index_has_none(tmp_path: Path):
    assert Neighbours.read(tmp_path) is None


@pytest.mark.parametrize("kept", [0, 100, -10])
def test_a_damaged_index_is_refused(tmp_path: Path, kept: int):
    index_of(tmp_path, embeddings(30))
    (tmp_path / FILE).write_bytes((tmp_path / FILE).read_bytes()[:kept])
    with pytest.raises(Refused, match="is damaged"):
        Neighbours.read(tmp_path)


def test_the_embedding_of_another_network_is_refused(tmp_path: Path):
    with pytest.raises(UserError, match="have 16 numbers"):
        index_of(tmp_path, embeddings(30)).nearest(np.ones(8))


def test_a_training_indexes_its_train_images_and_no_other(run: Run):
    import polars

    index, splits = Neighbours.read(run.path), polars.read_parquet(run.path / "splits.parquet")
    assert index is not None
    assert sorted(index.indexed.paths) == sorted(
        splits.filter(polars.col("split") == "train")["path"]
    )
    assert len(index) == index.indexed.of


def test_the_neighbours_of_an_image_are_of_its_class(run: Run, photos: Path):
    index, photo = Neighbours.read(run.path), photos / "leaf" / "003.jpg"
    assert index is not None
    near = index.nearest(run.predictor().embed(photo)[0], count=3)
    assert [found.label for found in near] == ["leaf"] * 3


def test_nothing_of_the_index_is_in_the_model_file(run: Run):
    index = Neighbours.read(run.path)
    assert index is not None
    model = run.model.read_bytes()
    assert index._embeddings[0].tobytes() not in model
    assert all(path.encode() not in model for path in index.indexed.paths)
