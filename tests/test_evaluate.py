"""`evaluate`: the numbers that a training reports, from the model file and labelled images
alone.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, log_loss

import tellapart
from helpers.images import write_classes, write_image
from helpers.odd_images import salt
from helpers.probes import SMALL
from tellapart import Run, UserError


def hard(folder: Path) -> Path:
    """Images of which some are hard: half of the leaves are coloured like bricks."""
    write_classes(folder / "train", 10)
    write_classes(folder / "test", 6, first_seed=100)
    for seed in range(200, 203):
        write_image(
            folder / "test" / "leaf" / f"{seed}.jpg", seed, colour=(190, 80, 60), pattern="checks"
        )
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return hard(tmp_path_factory.mktemp("evaluate") / "photos")


@pytest.fixture(scope="module")
def run(data: Path) -> Run:
    return tellapart.train(data, set=SMALL, out=data.parent / "runs", quiet=True)


def test_it_gives_the_numbers_that_the_training_gave(run: Run, data: Path):
    measured = tellapart.evaluate(run.model, data, quiet=True).as_json()["test"]
    reported = json.loads((run.path / "metrics.json").read_text())["test"]
    assert measured["accuracy"] == reported["accuracy"]
    assert measured["per_class"] == reported["per_class"]
    for name in ("balanced_accuracy", "macro_f1", "log_loss", "brier", "ece", "majority_baseline"):
        assert measured[name] == pytest.approx(reported[name], abs=1e-6)


def test_its_block_has_the_keys_of_the_trainings(run: Run, data: Path):
    measured = tellapart.evaluate(run.model, data, quiet=True).as_json()
    assert (
        measured["test"].keys()
        == json.loads((run.path / "metrics.json").read_text())["test"].keys()
    )
    assert json.dumps(measured, allow_nan=False)


def test_it_names_the_seed_of_its_intervals_and_which_images_it_measured(
    run: Run, split_photos: Path
):
    whole, half = (
        tellapart.evaluate(run.model, data, seed=5, quiet=True)
        for data in (split_photos, split_photos / "test")
    )
    assert [(one.as_json()["split"], one.as_json()["seed"]) for one in (whole, half)] == [
        ("test", 5),
        ("all", 5),
    ]
    assert whole.metrics == half.metrics


def test_its_word_on_answering_is_the_trainings(run: Run, data: Path):
    measured = tellapart.evaluate(run.model, data, quiet=True).as_json()["answering"]
    assert measured == json.loads((run.path / "metrics.json").read_text())["answering"]


def test_its_numbers_are_scikit_learns(run: Run, data: Path):
    evaluation = tellapart.evaluate(run.model, data, quiet=True)
    predictions, metrics = evaluation.predictions, evaluation.metrics
    assert 0 < metrics.accuracy.value < 1
    assert metrics.accuracy.value == accuracy_score(predictions.labels, predictions.predicted)
    probs = predictions.probs.astype(float)
    probs /= probs.sum(axis=1, keepdims=True)
    assert metrics.log_loss.value == pytest.approx(log_loss(predictions.labels, probs), abs=1e-4)


def test_a_source_with_a_test_split_is_measured_on_that(run: Run, data: Path):
    evaluation = tellapart.evaluate(run.model, data, quiet=True)
    assert all(path.startswith("test/") for path in evaluation.predictions.paths)
    assert evaluation.metrics.accuracy.count == 21


def test_a_source_without_splits_is_measured_whole(run: Run, data: Path):
    assert tellapart.evaluate(run.model, data / "test", quiet=True).metrics.accuracy.count == 21


def test_a_run_folder_and_a_loaded_model_are_as_good_as_the_file(run: Run, data: Path):
    models = (run.model, run.path, run.predictor())
    whole, folder, loaded = (
        tellapart.evaluate(model, data / "test", quiet=True).as_json() for model in models
    )
    assert whole == folder == loaded


def test_classes_without_a_image_are_named(run: Run, tmp_path: Path):
    write_image(tmp_path / "new" / "sky" / "x.jpg", 501)
    write_image(tmp_path / "new" / "leaf" / "x.jpg", 502)
    evaluation = tellapart.evaluate(run.model, tmp_path / "new", quiet=True)
    assert "1 of the model's classes have no image here: 'brick'." in evaluation.warnings
    assert evaluation.predictions.classes == ("brick", "leaf", "sky")
    assert evaluation.metrics.per_class[0].count == 0


def test_the_models_class_order_counts_not_the_datas(run: Run, tmp_path: Path):
    write_classes(tmp_path / "new", 3, first_seed=500)
    whole = tellapart.evaluate(run.model, tmp_path / "new", quiet=True).predictions
    for image in (tmp_path / "new" / "brick").iterdir():
        image.unlink()
    (tmp_path / "new" / "brick").rmdir()
    part = tellapart.evaluate(run.model, tmp_path / "new", quiet=True).predictions
    assert (part.probs == whole.probs[3:]).all()
    assert (part.labels == whole.labels[3:]).all()


def test_a_class_that_the_model_does_not_know_is_answered_with_the_nearest(
    run: Run, tmp_path: Path
):
    write_image(tmp_path / "new" / "leafs" / "x.jpg")
    write_image(tmp_path / "new" / "sky" / "x.jpg")
    with pytest.raises(UserError, match=r"not one of the model's: 'leafs'\. Did you mean 'leaf'\?"):
        tellapart.evaluate(run.model, tmp_path / "new", quiet=True)


def test_broken_files_are_counted_and_left_out(run: Run, tmp_path: Path):
    write_classes(tmp_path / "new", 3, first_seed=500)
    expected = salt(tmp_path / "new" / "sky")
    expected = {name: status for name, status in expected.items() if not name.startswith("._")}
    evaluation = tellapart.evaluate(run.model, tmp_path / "new", quiet=True)
    good = 9 + sum(status == "ok" for status in expected.values())
    assert evaluation.statuses["ok"] == len(evaluation.predictions) == good
    assert sum(evaluation.statuses.values()) == 9 + len(expected)


def test_nothing_but_broken_files_is_an_error(run: Run, tmp_path: Path):
    for name in ("leaf", "sky"):
        (tmp_path / "new" / name).mkdir(parents=True)
        (tmp_path / "new" / name / "x.jpg").write_bytes(b"")
    with pytest.raises(
        UserError, match=r"None of the 2 files can be used\. Run tellapart predict on them"
    ):
        tellapart.evaluate(run.model, tmp_path / "new", quiet=True)


def test_five_copies_of_every_image_have_the_scores_of_one(run: Run, tmp_path: Path):
    write_classes(tmp_path / "new", 3, first_seed=500)
    once = tellapart.evaluate(run.model, tmp_path / "new", quiet=True).metrics.accuracy
    for image in sorted((tmp_path / "new").rglob("*.jpg")):
        for number in range(4):
            shutil.copy(image, image.with_name(f"{image.stem}-{number}.jpg"))
    copied = tellapart.evaluate(run.model, tmp_path / "new", quiet=True).metrics.accuracy
    assert (copied.count, copied.clusters) == (5 * once.count, once.count)
    assert (copied.low, copied.high) == pytest.approx((once.low, once.high))


def test_copies_of_an_image_are_answered_alike(run: Run, tmp_path: Path):
    write_classes(tmp_path / "new", 3, first_seed=500)
    copy = (tmp_path / "new" / "sky" / "500.jpg").read_bytes()
    (tmp_path / "new" / "sky" / "copy.jpg").write_bytes(copy)
    predictions = tellapart.evaluate(run.model, tmp_path / "new", quiet=True).predictions
    rows = {path: row for row, path in enumerate(predictions.paths)}
    assert np.array_equal(
        predictions.probs[rows["sky/500.jpg"]], predictions.probs[rows["sky/copy.jpg"]]
    )


def test_two_measurements_are_equal(run: Run, data: Path):
    one, other = (tellapart.evaluate(run.model, data, quiet=True).as_json() for _ in range(2))
    assert one == other


def test_the_seed_moves_the_bootstrap_and_nothing_else(run: Run, data: Path):
    one, other = (
        tellapart.evaluate(run.model, data, seed=seed, quiet=True).metrics for seed in (0, 1)
    )
    assert one.accuracy == other.accuracy
    assert one.log_loss.value == other.log_loss.value
    assert one.log_loss.high != other.log_loss.high


def test_quiet_means_quiet_and_loud_goes_to_standard_error(
    run: Run, data: Path, capfd: pytest.CaptureFixture[str]
):
    tellapart.evaluate(run.model, data, quiet=True)
    assert capfd.readouterr() == ("", "")
    tellapart.evaluate(run.model, data)
    out, err = capfd.readouterr()
    assert out == ""
    assert "measuring on its test split, 21 files" in err


def test_keys_that_say_nothing_of_the_form_of_the_data_are_refused(run: Run, data: Path):
    with pytest.raises(UserError, match=r"seed says nothing of the form of the data"):
        tellapart.evaluate(run.model, data, set={"seed": 1})
