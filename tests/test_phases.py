"""What learns in an epoch, what is still, what it is fed, and what the network says of a split."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from helpers.catalogs import scan_folder
from helpers.images import write_classes
from helpers.training import (
    PLENTY,
    RUNTIME,
    classifier_of,
    run_fit,
    same_bits,
    small_recipe,
    training_data_of,
)
from tellapart.errors import UserError
from tellapart.evaluation.predictions import Predictions
from tellapart.extensions import Extensions
from tellapart.models.classifier import Classifier
from tellapart.progress import Console
from tellapart.training.checkpoints import NotFinite
from tellapart.training.hardware import Hardware
from tellapart.training.outputs import KeptInputs
from tellapart.training.phases import Phases, TrainingData, predict_images, scores_of

CNN = {"backbone.name": "cnn", "training.epochs": 1, "training.lr": 0.1}


pytestmark = pytest.mark.usefixtures("single_thread")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> TrainingData:
    """12 train images and 6 of val."""
    return training_data_of(
        scan_folder(write_classes(tmp_path_factory.mktemp("phase") / "photos", 6))
    )


def phases_of(
    data: TrainingData, kept_bytes: int = PLENTY, **changes: object
) -> tuple[Phases, Classifier]:
    recipe = small_recipe({key.replace("__", "."): value for key, value in changes.items()})
    classifier = classifier_of(recipe)
    hardware = Hardware(recipe.training)
    runtime = replace(RUNTIME, kept_bytes=kept_bytes)
    return Phases(classifier, data, recipe, hardware, runtime, Console(), Extensions()), classifier


def moved(folder: Path, data: TrainingData, changes: dict[str, object]) -> set[str]:
    """The names of the tensors that a training changes."""
    before = classifier_of(small_recipe(changes)).state_dict()
    after = run_fit(folder, TrainingData(data.train, None, data.preprocessing), changes).weights
    return {name for name, value in before.items() if not torch.equal(value, after[name])}


def stages(names: set[str]) -> set[str]:
    return {
        ".".join(name.split(".")[2:4]) if name.startswith("embedder") else "head" for name in names
    }


# ── what moves ──


def test_without_freezing_all_learns(tmp_path: Path, data: TrainingData):
    assert moved(tmp_path, data, CNN) == set(classifier_of(small_recipe(CNN)).state_dict())


@pytest.mark.parametrize("views", [None, 1])
def test_the_frozen_part_and_its_statistics_are_still(
    tmp_path: Path, data: TrainingData, views: int | None
):
    names = moved(tmp_path, data, {**CNN, "freeze.upto": "blocks.1", "freeze.views": views})
    assert stages(names) == {"blocks.2", "blocks.3", "head"}
    assert any("running_mean" in name for name in names)


def test_of_a_frozen_backbone_only_the_head_moves(tmp_path: Path, data: TrainingData):
    assert stages(moved(tmp_path, data, {**CNN, "freeze.upto": "all"})) == {"head"}


def test_statistics_of_the_frozen_part_move_where_they_are_to(tmp_path: Path, data: TrainingData):
    names = moved(tmp_path, data, {**CNN, "freeze.upto": "blocks.1", "freeze.batch_norm": False})
    of_frozen = {name for name in names if stages({name}) & {"blocks.0", "blocks.1"}}
    assert {name.rsplit(".")[-1] for name in of_frozen} == {
        "running_mean",
        "running_var",
        "num_batches_tracked",
    }
    assert stages(of_frozen) == {"blocks.0", "blocks.1"}


def test_looking_at_val_and_train_moves_nothing(tmp_path: Path, data: TrainingData):
    changes = {**CNN, "training.epochs": 2, "training.monitor": "count"}
    count = iter(range(9))
    metrics = {"count": lambda predictions: float(next(count))}
    looked = run_fit(
        tmp_path / "a", data, {**changes, "training.evaluate_train": True}, metrics=metrics
    )
    without_val = TrainingData(data.train, None, data.preprocessing)
    blind = run_fit(tmp_path / "b", without_val, {**changes, "training.monitor": "loss"})
    assert looked.progress.best_epoch == 2
    assert same_bits(looked.weights, blind.weights)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("views", [None, 1])
def test_unfreezing_changes_what_learns(
    tmp_path: Path, data: TrainingData, optimizer: str, views: int | None
):
    changes = {
        "freeze.upto": "all",
        "freeze.unfreeze": ("1:blocks.3", "2:all"),
        "freeze.views": views,
        "training.optimizer": optimizer,
    }
    at_end: list[dict[str, Tensor]] = []
    kept: list[Classifier] = []

    def look(event: object) -> None:
        if event.name in ("run_started", "epoch_completed"):
            at_end.append({name: value.clone() for name, value in kept[0].state_dict().items()})

    run_fit(tmp_path, data, changes, callbacks=[look], prepare=kept.append)
    learned = [
        stages({name for name in before if not torch.equal(before[name], after[name])})
        for before, after in pairwise(at_end)
    ]
    assert learned[0] == {"head"}
    assert learned[1] == {"blocks.3", "head"}
    assert learned[2] == {"blocks.0", "blocks.1", "blocks.2", "blocks.3", "head"}


# ── modes ──


@pytest.mark.parametrize("views", [None, 2])
def test_what_learns_is_in_training_mode_and_all_rests_for_val(
    data: TrainingData, views: int | None
):
    phases, classifier = phases_of(
        data, backbone__name="cnn", freeze__upto="blocks.1", freeze__views=views
    )
    phase = phases.of(0)
    norms = [module for module in classifier.modules() if isinstance(module, nn.BatchNorm2d)]
    assert [norm.training for norm in norms] == [False, False, True, True]
    assert phase.plain.training
    phases.set_eval()
    assert not any(
        module.training for root in (classifier, phase.plain) for module in root.modules()
    )
    phases.set_train()
    assert [norm.training for norm in norms] == [False, False, True, True]


def test_each_part_has_its_own_word_for_the_statistics_of_norms(data: TrainingData):
    frozen = {"freeze__upto": "blocks.1", "freeze__batch_norm": False}
    phases, classifier = phases_of(
        data, backbone__name="cnn", **frozen, training__freeze_batch_norm=True
    )
    phases.of(0)
    norms = [module for module in classifier.modules() if isinstance(module, nn.BatchNorm2d)]
    assert [norm.training for norm in norms] == [True, True, False, False]


def test_a_learner_is_made_anew_only_where_another_part_begins_to_learn(data: TrainingData):
    phases, _ = phases_of(
        data, freeze__upto="all", freeze__unfreeze=("2:blocks.3",), freeze__views=1
    )
    first, second, third, fourth = (phases.of(epoch) for epoch in range(4))
    assert first is second
    assert third is fourth is not first


# ── views ──


def test_views_are_shown_in_turn_and_are_never_more_than_epochs(data: TrainingData):
    views = {"freeze__upto": "all", "freeze__views": 9, "augmentation__flip": 0.5}
    phases, _ = phases_of(data, **views, training__epochs=2)
    phase = phases.of(0)
    assert isinstance(phase.train, KeptInputs)
    assert phase.views == 2


def test_of_images_that_nothing_changes_one_view_is_kept(data: TrainingData):
    phases, _ = phases_of(data, freeze__upto="all", freeze__views=4)
    assert phases.of(0).views == 1


@pytest.mark.parametrize(
    "frozen", [{"upto": "patch_embed"}, {"upto": "all", "unfreeze": ("1:blocks.0",)}]
)
def test_a_network_that_cannot_be_cut_where_it_thaws_is_told_before_any_epoch(
    data: TrainingData, frozen: dict[str, Any]
):
    changes = {
        "backbone.name": "test_vit",
        "preprocessing.size_px": 160,
        "backbone.pretrained": False,
    }
    changes |= {f"freeze.{name}": value for name, value in frozen.items()}
    with pytest.raises(UserError, match="cannot be cut behind patch_embed"):
        phases_of(
            data,
            freeze__views=2,
            **{key.replace(".", "__"): value for key, value in changes.items()},
        )


def test_a_network_on_kept_outputs_answers_as_the_whole_one(data: TrainingData):
    (kept, _), (whole, _) = (
        phases_of(data, backbone__name="cnn", freeze__upto="blocks.1", freeze__views=views)
        for views in (2, None)
    )
    answers = [predicted(phases, data).probs for phases in (kept, whole)]
    np.testing.assert_allclose(*answers, atol=1e-5)


def test_training_on_kept_outputs_is_training_on_the_images(tmp_path: Path, data: TrainingData):
    changes = {
        **CNN,
        "training.epochs": 3,
        "freeze.upto": "blocks.2",
        "augmentation.flip": 0.5,
        "training.lr": 0.01,
    }
    kept = run_fit(tmp_path / "kept", data, {**changes, "freeze.views": 3})
    anew = run_fit(tmp_path / "anew", data, changes)
    for name, value in kept.weights.items():
        torch.testing.assert_close(value, anew.weights[name], atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_views_are_not_kept_of_mixed_images(data: TrainingData, kind: str):
    with pytest.raises(
        UserError, match=r"freeze.views keeps images one by one, so it does not go with"
    ):
        phases_of(data, freeze__upto="all", freeze__views=1, **{f"augmentation__{kind}": 0.2})


@pytest.mark.parametrize(
    ("spare", "evaluates_train", "views"),
    [(0, False, 2), (-1, False, 1), (0, True, 1), (12, True, 2)],
)
def test_as_many_views_are_kept_as_fit_into_the_memory(
    data: TrainingData, spare: int, evaluates_train: bool, views: int
):
    num_images = 2 * len(data.train) + len(data.val) + spare
    options = {"freeze__upto": "all", "freeze__views": 2, "augmentation__flip": 0.5}
    options["training__evaluate_train"] = evaluates_train
    phases, _ = phases_of(data, kept_bytes=num_images * 84 * 4, **options)
    assert phases.of(0).views == views


def test_where_no_view_fits_the_outputs_are_computed_anew_and_that_is_said(
    data: TrainingData, capsys: pytest.CaptureFixture[str]
):
    options = {"freeze__upto": "all", "freeze__views": 2, "augmentation__flip": 0.5}
    phases, classifier = phases_of(data, kept_bytes=100, **options)
    assert phases.of(0).plain is classifier
    assert "kept for 0 views instead of 2" in capsys.readouterr().err


# ── what it says of a split ──


def predicted(phases: Phases, data: TrainingData) -> Predictions:
    phase = phases.of(0)
    phases.set_eval()
    return predict_images(phase, data.val, phase.val, Hardware(small_recipe().training))


def test_predictions_are_those_of_each_image_alone(
    data: TrainingData, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("tellapart.training.phases.EVALUATED_AT_ONCE", 4)
    phases, classifier = phases_of(data)
    found = predicted(phases, data)
    ((pixels, _),) = data.val.batches([np.arange(6)])
    images = torch.from_numpy(np.stack([data.preprocessing.normalised(one) for one in pixels]))
    with torch.no_grad():
        expected = [classifier(one[None]).softmax(1)[0].tolist() for one in images]
    np.testing.assert_allclose(found.probs, expected, atol=1e-5)
    assert (found.paths, found.classes) == (data.val.paths, ("brick", "leaf", "sky"))


def test_a_lost_image_is_in_no_prediction(tmp_path: Path):
    folder = write_classes(tmp_path / "photos", 3)
    catalog = scan_folder(folder)
    (folder / "brick" / "002.jpg").unlink()
    data = training_data_of(catalog, held_bytes=0)
    found = predicted(phases_of(data)[0], data)
    assert found.paths == ("brick/001.jpg", *data.val.paths[2:])
    assert found.labels.tolist() == [0, 1, 1, 2, 2]


def test_an_answer_that_is_no_number_is_not_taken_for_a_lost_image(data: TrainingData):
    phases, classifier = phases_of(data)
    classifier.head[-1].weight.data[0, 0] = torch.nan
    with pytest.raises(NotFinite, match="What the network predicts holds NaN"):
        predicted(phases, data)


def test_scores_are_named_by_their_split_and_only_numbers():
    predictions = Predictions(np.eye(2, dtype=np.float32), np.array([0, 1]), ("a", "b"), ("x", "y"))
    metrics = {"half": lambda given: len(given) / 4, "none": lambda given: np.nan}
    assert scores_of(predictions, "val", metrics) == {"val_half": 0.5}
