"""Images that a model has seen: known again by `evaluate`, named, and no part of the score."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tellapart
from helpers.catalogs import catalog_of_labels
from helpers.images import write_classes
from helpers.models import small_card
from helpers.probes import SMALL, splits_of
from tellapart import Run, UserError
from tellapart.catalog.prints import apart, copies_of, has_print, prints_of
from tellapart.catalog.table import text_column
from tellapart.catalog.thumbnails import make_thumbnail
from tellapart.jobs.evaluate import UNKNOWN
from tellapart.modelfile.card import ModelCard
from tellapart.modelfile.seen import SeenImages, UsedImages, seen_by_content, short_digests
from tellapart.pipeline.used_images import seen_images


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_classes(tmp_path_factory.mktemp("seen") / "photos", 15)


@pytest.fixture(scope="module")
def run(data: Path) -> Run:
    """A run of which each class has nine images in train, three in val and three in test."""
    splits = ["train"] * 9 + ["val"] * 3 + ["test"] * 3
    files = [sorted(folder.iterdir()) for folder in sorted(data.iterdir())]
    rows = [
        f"photos/{file.parent.name}/{file.name},{file.parent.name},{split}"
        for of_class in files
        for file, split in zip(of_class, splits, strict=True)
    ]
    table = data.parent / "labels.csv"
    table.write_text("\n".join(["path,label,split", *rows]))
    return tellapart.train(table, set=SMALL, out=data.parent / "runs", quiet=True)


def images_of(run: Run, data: Path, *splits: str) -> dict[str, Path]:
    """The images of some splits: path in the folder of the data → file."""
    rows = splits_of(run).select("path", "split").rows()
    files = [data.parent / path for path, split in rows if split in splits]
    return {str(file.relative_to(data)): file for file in files}


def mixture(run: Run, data: Path, folder: Path, *splits: str) -> Path:
    """Images of some splits under other names, and new ones."""
    write_classes(folder, 4, first_seed=700)
    for path, file in images_of(run, data, *splits).items():
        (folder / path).with_stem(f"moved {file.stem}").write_bytes(file.read_bytes())
    return folder


# ── known again ──


@pytest.mark.parametrize("kind", ["file", "folder", "loaded"])
@pytest.mark.parametrize("splits", [("train",), ("val",), ("train", "val", "test")])
def test_moved_images_of_a_training_are_counted_and_left_out(
    run: Run, data: Path, tmp_path: Path, kind: str, splits: tuple[str, ...]
):
    model = {"file": run.model, "folder": run.path, "loaded": run.predictor()}[kind]
    evaluation = tellapart.evaluate(model, mixture(run, data, tmp_path / "x", *splits), quiet=True)
    counts = {split: len(images_of(run, data, split)) for split in splits}
    assert len(evaluation.seen.train) == counts.get("train", 0)
    assert len(evaluation.seen.val) == counts.get("val", 0)
    assert len(evaluation.predictions) == 12 + counts.get("test", 0)


def test_the_score_is_that_of_the_images_that_are_new(run: Run, data: Path, tmp_path: Path):
    mixed = tellapart.evaluate(run.model, mixture(run, data, tmp_path / "x", "train"), quiet=True)
    new = tellapart.evaluate(
        run.model, write_classes(tmp_path / "y", 4, first_seed=700), quiet=True
    )
    assert mixed.metrics == new.metrics
    assert new.seen.count == 0
    assert new.seen.with_them is None


def test_the_whole_data_of_a_training_gives_the_score_of_its_test_images(run: Run, data: Path):
    evaluation = tellapart.evaluate(run.model, data, quiet=True)
    reported = json.loads((run.path / "metrics.json").read_text())["test"]
    assert set(evaluation.predictions.paths) == images_of(run, data, "test").keys()
    assert evaluation.metrics.as_json()["accuracy"] == reported["accuracy"]
    assert evaluation.seen.with_them.accuracy.count == 45


def test_one_image_less_makes_no_difference(run: Run, data: Path, tmp_path: Path):
    folder = mixture(run, data, tmp_path / "x", "train", "val")
    next(iter(sorted(folder.glob("*/moved*")))).unlink()
    seen = tellapart.evaluate(run.model, folder, quiet=True).seen
    assert seen.count == len(images_of(run, data, "train", "val")) - 1


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_images_that_were_saved_anew_are_known_by_their_looks(
    run: Run, data: Path, tmp_path: Path, kind: str
):
    folder = write_classes(tmp_path / "x", 4, first_seed=700)
    for path, file in images_of(run, data, "train").items():
        Image.open(file).save((folder / path).with_stem(f"again {file.stem}"), quality=92)
    model = run.path if kind == "folder" else run.model
    evaluation = tellapart.evaluate(model, folder, quiet=True)
    assert len(evaluation.seen.train) >= 0.9 * len(images_of(run, data, "train"))
    assert all(Path(path).name.startswith("again") for path in evaluation.seen.train)
    assert evaluation.seen.alike == evaluation.seen.train


# ── what is said ──


def test_what_the_model_has_seen_is_a_warning_with_counts_and_names(
    run: Run, data: Path, tmp_path: Path
):
    evaluation = tellapart.evaluate(run.path, mixture(run, data, tmp_path / "x", "val"), quiet=True)
    count = len(images_of(run, data, "val"))
    assert any(
        text.startswith(f"The model has seen {count} of {12 + count} images, which are left out")
        and f"{count} images were used to choose or calibrate the model ('brick/moved" in text
        for text in evaluation.warnings
    )


def test_the_json_has_the_paths_and_the_metrics_with_them(run: Run, data: Path):
    value = tellapart.evaluate(run.model, data, quiet=True).as_json()["seen"]
    assert value["count"] == len(value["train"]) + len(value["val"])
    assert value["with_them"]["accuracy"]["count"] == 45
    assert json.dumps(value, allow_nan=False)


def test_images_of_which_none_is_new_are_refused(run: Run, data: Path, tmp_path: Path):
    for path, file in images_of(run, data, "train").items():
        (tmp_path / "x" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "x" / path).write_bytes(file.read_bytes())
    with pytest.raises(UserError, match=r"The model has seen all .+ Give images that are new"):
        tellapart.evaluate(run.model, tmp_path / "x", quiet=True)


def test_copies_among_what_is_measured_count_once(run: Run, tmp_path: Path):
    folder = write_classes(tmp_path / "x", 4, first_seed=700)
    Image.open(folder / "sky" / "700.jpg").save(folder / "sky" / "again.jpg", quality=70)
    predictions = tellapart.evaluate(run.model, folder, quiet=True).predictions
    assert (len(predictions), predictions.num_clusters) == (13, 12)


# ── what the model file holds ──


def test_the_card_gives_its_images_back(run: Run):
    card = run.predictor().card
    assert ModelCard.from_metadata(card.as_metadata()) == card
    assert card.seen.train.count == sum(card.train_counts)


def test_a_card_without_them_is_read_and_says_that_it_does_not_know():
    metadata = small_card().as_metadata()
    assert "seen" not in metadata
    assert ModelCard.from_metadata(metadata).seen is None
    assert "does not say which images it was made of" in UNKNOWN


@pytest.mark.parametrize("wrong", ["{}", "[]", '{"train": 1, "val": 2, "partial": false}', "null"])
def test_a_card_with_others_than_these_is_refused(wrong: str):
    with pytest.raises(UserError, match="metadata is incomplete or wrong"):
        ModelCard.from_metadata({**small_card().as_metadata(), "seen": wrong})


def test_digests_beyond_the_limit_are_left_out_by_key(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tellapart.pipeline.used_images.MOST_DIGESTS", 10)
    monkeypatch.setattr("tellapart.pipeline.used_images.MOST_PRINTS", 5)
    catalog = catalog_of_labels([0, 1] * 20)
    divided = catalog.with_splits(text_column(["train"] * 40))
    images = seen_images(divided, 0)
    assert images.partial
    assert images.train.hold(catalog.digests.tolist()).sum() == 10
    assert images.train.count == 40


def test_a_run_knows_all_of_its_contents():
    digests = catalog_of_labels([0] * 3).digests.tolist()
    images = seen_by_content(dict(zip(digests, ("train", "val", "test"), strict=True)), None)
    found = images.recognise(digests, np.zeros((3, 16), np.uint8))
    assert found.uses.tolist() == ["train", "val", ""]
    assert not found.alike.any()


def test_the_test_images_of_a_run_are_new_whatever_they_look_like():
    prints = some_prints(1)
    images = SeenImages(UsedImages(1, short_digests(["00" * 32]), prints.tobytes()), UsedImages())
    assert images.recognise(["01" * 32], prints).uses.tolist() == ["train"]
    assert images.recognise(["01" * 32], prints, frozenset(["01" * 32])).uses.tolist() == [""]


# ── prints ──


def scene(seed: int) -> np.ndarray:
    """A photograph's kind of image: coarse shapes under fine noise."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), np.uint8)
    pixels = np.asarray(Image.fromarray(coarse).resize((200, 150), Image.Resampling.BICUBIC))
    return np.clip(pixels + np.random.default_rng(seed).normal(0, 8, pixels.shape), 0, 255).astype(
        np.uint8
    )


def saved(pixels: np.ndarray, quality: int, width: int = 200) -> np.ndarray:
    buffer = io.BytesIO()
    image = Image.fromarray(pixels)
    image.resize((width, width * image.height // image.width)).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer))


def prints_of_pixels(*images: np.ndarray) -> np.ndarray:
    rows = [np.frombuffer(make_thumbnail(image), np.uint8) for image in images]
    return prints_of(np.stack(rows))


def some_prints(count: int) -> np.ndarray:
    return prints_of_pixels(*map(scene, range(count)))


@pytest.mark.parametrize(("quality", "width"), [(95, 200), (40, 200), (75, 100), (75, 400)])
def test_a_print_survives_saving_and_resizing(quality: int, width: int):
    copies = prints_of_pixels(*(saved(scene(seed), quality, width) for seed in range(50)))
    found = copies_of(copies, some_prints(50))
    assert (found == np.arange(50)).mean() >= 0.95
    assert (found[found >= 0] == np.flatnonzero(found >= 0)).all()


def test_different_images_have_different_prints():
    known, queries = some_prints(200)[:100], some_prints(200)[100:]
    assert (copies_of(queries, known) == -1).all()


def test_a_flat_image_has_no_print_and_is_no_copy():
    flat = prints_of_pixels(np.full((40, 50, 3), 90, np.uint8))
    assert not has_print(flat).any()
    assert copies_of(flat, flat).tolist() == [-1]


def test_what_does_not_stand_out_is_no_copy():
    query = some_prints(1)
    neighbours = np.repeat(query, 2, axis=0)
    neighbours[0, 0] ^= 0b11
    neighbours[1, 0] ^= 0b1110000
    assert copies_of(query, neighbours).tolist() == [-1]
    assert copies_of(query, neighbours[:1]).tolist() == [0]


def test_of_copies_in_one_cluster_one_print_is_kept():
    prints = prints_of_pixels(scene(0), saved(scene(0), 70), scene(1), scene(2))
    assert apart(prints, np.array([0, 0, 0, 1])).tolist() == [0, 2, 3]
