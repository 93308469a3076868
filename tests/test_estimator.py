"""The scikit-learn estimator: its own checks where they make sense, and scikit-learn's tools."""

from __future__ import annotations

import gc
import pickle
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks
from sklearn.utils.validation import validate_data

from helpers.images import write_classes
from tellapart import UserError
from tellapart.estimator import ImageClassifier

SMALL = {"preprocessing.size_px": 32, "head.folds": 2, "head.c_values": (0.01, 1.0)}
# The numbers of rows differ by less than a level of light, which int8 does not tell apart.
# Nor is anything to be gained from looking for edited copies among rows.
EXACT = {**SMALL, "backbone.precision": "fp32", "split.copies": "exact"}


class RowClassifier(ImageClassifier):
    """Rows of numbers as images, so that scikit-learn's checks, which know only rows, can run.

    Each number is the light of one channel of a square. Clouds, drawn by the row itself, keep rows
    from being near-duplicates of each other.
    """

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = True
        return tags

    def _images(self, X):  # noqa: N803
        fitting = not hasattr(self, "predictor_")
        return [as_image(row) for row in validate_data(self, X, reset=fitting, dtype=np.float64)]

    def fit(self, X, y):  # noqa: N803
        vars(self).pop("predictor_", None)
        return super().fit(X, y)


def as_image(row: np.ndarray) -> np.ndarray:
    rng = np.random.default_rng(zlib.crc32(row.astype(np.float32).tobytes()))
    clouds = Image.fromarray(rng.integers(0, 256, (5, 6), np.uint8)).resize((32, 32))
    light = (np.asarray(clouds, np.float64)[:, :, None] - 128) / 16
    squares = 128 + 60 * ((np.resize(row, (4, 4, 3)) + 3) % 6 - 3)  # what is beyond 3 wraps
    return (np.kron(squares, np.ones((8, 8, 1))) + light).clip(0, 255).astype(np.uint8)


# `ImageClassifier` says that it takes no rows, so scikit-learn would run no check on it. With rows as
# images all of them run, and none is expected to fail. scikit-learn skips two by itself:
# `check_array_api_input` without SCIPY_ARRAY_API, and `check_dataframe_column_names_consistency`
# without pandas. There are no checks of sample weights, which `fit` does not take.
@pytest.fixture
def no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """No check looks at the report or the learning curve, which take half of a small training."""
    monkeypatch.setattr("tellapart.pipeline.record.write_pages", lambda *_: None)
    monkeypatch.setattr("tellapart.pipeline.probe_run.measure_learning_curve", lambda *_: None)


@parametrize_with_checks([RowClassifier(set=EXACT)])
@pytest.mark.usefixtures("no_report")
def test_scikit_learns_own_checks_pass_for_rows_as_images(estimator: Any, check: Any):
    check(estimator)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = write_classes(tmp_path_factory.mktemp("estimator") / "photos", 8)
    return sorted(folder.glob("*/*.jpg"))


@pytest.fixture(scope="module")
def labels(files: list[Path]) -> list[str]:
    return [file.parent.name for file in files]


@pytest.fixture(scope="module")
def fitted(files: list[Path], labels: list[str]) -> ImageClassifier:
    return ImageClassifier(set=SMALL).fit(files, labels)


def test_it_learns_from_paths(fitted: ImageClassifier, files: list[Path], labels: list[str]):
    assert fitted.classes_.tolist() == ["brick", "leaf", "sky"]
    assert fitted.score(files, labels) == 1
    assert fitted.predict_proba(files).shape == (24, 3)


@pytest.mark.parametrize(
    "form", [str, Path.read_bytes, Image.open, lambda file: np.asarray(Image.open(file))]
)
def test_it_predicts_from_any_form_of_an_image(
    fitted: ImageClassifier, files: list[Path], labels: list[str], form: Any
):
    assert fitted.predict([form(file) for file in files]).tolist() == labels


def test_it_learns_from_an_array_of_images(files: list[Path], labels: list[str]):
    array = np.stack([np.asarray(Image.open(file)) for file in files])
    assert ImageClassifier(set=SMALL).fit(array, labels).predict(array).tolist() == labels


def test_paths_and_images_may_be_mixed(files: list[Path], labels: list[str]):
    mixed = [files[0], *map(Image.open, files[1:])]
    assert ImageClassifier(set=SMALL).fit(mixed, labels).predict(mixed).tolist() == labels


@pytest.mark.parametrize(
    "names",
    [{"brick": 2, "leaf": 10, "sky": 1}, {"brick": True, "leaf": False, "sky": True}],
    ids=["numbers", "truth values"],
)
def test_labels_come_back_in_their_own_type(
    files: list[Path], labels: list[str], names: dict[str, Any]
):
    y = np.array([names[label] for label in labels])
    model = ImageClassifier(set=SMALL).fit(files, y)
    assert model.classes_.tolist() == sorted(set(names.values()))
    assert model.predict(files).dtype == y.dtype
    assert model.predict(files).tolist() == y.tolist()


def test_all_images_are_trained_and_calibrated_with_and_none_is_held_back(fitted: ImageClassifier):
    card = fitted.predictor_.card
    assert sum(card.train_counts) == card.calibration_count == 24
    assert fitted.run_.metrics.accuracy.count == 0


def test_a_test_split_can_be_asked_for(files: list[Path], labels: list[str]):
    model = ImageClassifier(set={**SMALL, "split.test": 0.25}).fit(files, labels)
    answers = model.run_.predictions("test")
    assert model.run_.metrics.accuracy.count == len(answers) > 0


def test_nothing_is_written_where_the_user_stands(
    files: list[Path], labels: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    ImageClassifier(set=SMALL).fit(files, labels)
    assert list(tmp_path.iterdir()) == []


def test_a_temporary_run_goes_with_its_estimator(files: list[Path], labels: list[str]):
    model = ImageClassifier(set=SMALL).fit(files, labels)
    first = model.run_.path
    assert first.is_dir()
    second = model.fit(files, labels).run_.path
    assert not first.exists()
    assert second.is_dir()
    del model
    gc.collect()
    assert not second.exists()


def test_runs_stay_in_a_folder_that_was_named(files: list[Path], labels: list[str], tmp_path: Path):
    path = ImageClassifier(set=SMALL, out=tmp_path / "runs").fit(files, labels).run_.path
    gc.collect()
    assert path.parent == tmp_path / "runs"
    assert (path / "model.onnx").is_file()


def test_a_pickled_estimator_gives_the_same_probabilities(
    fitted: ImageClassifier, files: list[Path]
):
    again = pickle.loads(pickle.dumps(fitted))
    assert np.array_equal(again.predict_proba(files), fitted.predict_proba(files))


def test_a_clone_has_the_same_parameters_and_is_not_fitted(fitted: ImageClassifier):
    copy = clone(fitted)
    assert copy.get_params() == fitted.get_params()
    with pytest.raises(NotFittedError):
        copy.predict([])


def test_scikit_learn_searches_and_cross_validates_with_it(files: list[Path], labels: list[str]):
    pipeline = make_pipeline(ImageClassifier(set=SMALL))
    search = GridSearchCV(pipeline, {"imageclassifier__seed": [0, 1]}, cv=2)
    assert search.fit(files, labels).best_score_ > 0.8
    assert cross_val_score(ImageClassifier(set=SMALL), files, labels, cv=2).min() > 0.8


@pytest.mark.parametrize(
    "wrong", ["cat.jpg", b"", np.zeros((8, 8, 3), np.uint8), {"a": 1}, 7, np.zeros((4, 5))]
)
def test_what_is_not_several_images_is_refused(fitted: ImageClassifier, wrong: object):
    with pytest.raises(UserError, match="Give a list of paths, bytes, PIL images"):
        fitted.predict(wrong)


def test_an_image_that_cannot_be_used_is_named(fitted: ImageClassifier, files: list[Path]):
    with pytest.raises(UserError, match=r"Image 1 \(from 0\).*'missing'"):
        fitted.predict([files[0], "nowhere.jpg"])


def test_a_class_without_a_usable_image_is_refused(files: list[Path], labels: list[str]):
    with pytest.raises(UserError, match="No image of the class 'zebra' can be used"):
        ImageClassifier(set=SMALL).fit([*files, "nowhere.jpg"], [*labels, "zebra"])


def test_labels_must_be_as_many_as_images_and_of_two_classes(files: list[Path], labels: list[str]):
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        ImageClassifier(set=SMALL).fit(files, labels[1:])
    with pytest.raises(ValueError, match="y has one class: 'sky'"):
        ImageClassifier(set=SMALL).fit(files, ["sky"] * 24)
