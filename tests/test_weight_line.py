"""The networks between the start of a training and its end."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from helpers.catalogs import scan_folder
from helpers.images import write_classes
from helpers.training import (
    RUNTIME,
    classifier_of,
    run_fit,
    same_bits,
    small_recipe,
    training_data_of,
)
from tellapart.models.classifier import Classifier
from tellapart.training.phases import TrainingData
from tellapart.training.weight_line import WeightLine, weights_of

CPU = torch.device("cpu")
CNN = {"backbone.name": "cnn", "training.epochs": 1, "training.lr": 0.1}

pytestmark = pytest.mark.usefixtures("single_thread")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> TrainingData:
    return training_data_of(
        scan_folder(write_classes(tmp_path_factory.mktemp("line") / "photos", 6))
    )


def trained(folder: Path, data: TrainingData, **changes: object) -> tuple[Classifier, WeightLine]:
    """A network after a training, and the line to it from where it began."""
    options = {**CNN, **{key.replace("__", "."): value for key, value in changes.items()}}
    start = weights_of(classifier_of(small_recipe(options)))
    classifier = run_fit(folder, data, options).classifier
    return classifier, WeightLine(classifier, start, data, RUNTIME, CPU, seed=0)


def answers_at(line: WeightLine, share: float) -> np.ndarray:
    line.go_to(share)
    return line.answers()[0]


def test_its_ends_are_the_start_and_the_end(tmp_path: Path, data: TrainingData):
    classifier, line = trained(tmp_path, data)
    end = weights_of(classifier)
    line.go_to(0)
    assert same_bits(weights_of(classifier), weights_of(classifier_of(small_recipe(CNN))))
    line.go_to(1)
    assert same_bits(weights_of(classifier), end)


def test_half_way_the_weights_are_the_means(tmp_path: Path, data: TrainingData):
    classifier, line = trained(tmp_path, data)
    name = "head.0.weight"
    start, end = classifier_of(small_recipe(CNN)).state_dict()[name], weights_of(classifier)[name]
    line.go_to(0.5)
    torch.testing.assert_close(classifier.state_dict()[name], (start + end) / 2)


def test_between_the_ends_the_statistics_are_those_of_the_train_images(
    tmp_path: Path, data: TrainingData
):
    classifier, line = trained(tmp_path, data)
    line.go_to(0.5)
    norm = next(module for module in classifier.modules() if hasattr(module, "running_mean"))
    seen: list[torch.Tensor] = []
    norm.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    ((pixels, _),) = data.train.batches([np.arange(len(data.train))])
    images = torch.from_numpy(np.stack([data.preprocessing.normalised(image) for image in pixels]))
    with torch.no_grad():
        classifier(images)
    torch.testing.assert_close(norm.running_mean, seen[0].mean((0, 2, 3)), atol=1e-5, rtol=1e-4)
    assert norm.momentum is not None
    assert not norm.training


@pytest.mark.parametrize("kept_bytes", [RUNTIME.kept_bytes, 0], ids=["kept", "anew"])
def test_what_is_frozen_runs_once_and_the_answers_are_the_same(
    tmp_path: Path, data: TrainingData, kept_bytes: int
):
    classifier, kept = trained(tmp_path, data, freeze__upto="blocks.1")
    start = weights_of(classifier_of(small_recipe(CNN)))
    runtime = replace(RUNTIME, kept_bytes=kept_bytes)
    line = WeightLine(classifier, start, data, runtime, CPU, seed=0)
    count: list[object] = []
    first = classifier.embedder.network.blocks[0]
    first.register_forward_hook(lambda *arguments: count.append(None))
    found = [answers_at(line, share) for share in (0.0, 0.5, 1.0)]
    assert len(count) == (2 if kept_bytes else 4)  # val, and the images to measure on
    expected = [answers_at(kept, share) for share in (0.0, 0.5, 1.0)]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_lost_image_is_in_no_answer(tmp_path: Path):
    folder = write_classes(tmp_path / "photos", 4)
    data = training_data_of(scan_folder(folder), held_bytes=0)
    _, line = trained(tmp_path / "fit", data)
    (folder / "brick" / "003.jpg").unlink()
    probs, present = line.answers()
    assert present.tolist() == [True, False, True, True, True, True]
    assert probs[1].tolist() == [0, 0, 0]
