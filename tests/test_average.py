"""The average of the weights over the steps: evaluated and shipped in their place."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from helpers.catalogs import scan_folder
from helpers.images import write_classes, write_tiny
from helpers.runs import SHORT, torch_probabilities, train
from helpers.training import (
    Outcome,
    run_fit,
    same_bits,
    training_data_of,
)
from tellapart.models.classifier import Classifier
from tellapart.training.average import WeightAverage, averaged
from tellapart.training.phases import TrainingData

CNN = {"backbone.name": "cnn", "training.epochs": 2}

pytestmark = pytest.mark.usefixtures("single_thread")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> TrainingData:
    return training_data_of(
        scan_folder(write_classes(tmp_path_factory.mktemp("average") / "photos", 6))
    )


def followed(
    folder: Path, data: TrainingData, **changes: object
) -> tuple[Outcome, list[dict[str, Tensor]]]:
    """A training with an average, and its own weights before the first step and after each."""
    kept: list[Classifier] = []
    seen: list[dict[str, Tensor]] = []

    def look(event: object) -> None:
        if event.name in ("run_started", "iteration_completed"):
            seen.append({name: value.clone() for name, value in kept[0].state_dict().items()})

    options = {
        **CNN,
        "training.ema": 0.3,
        **{key.replace("__", "."): value for key, value in changes.items()},
    }
    return run_fit(folder, data, options, callbacks=[look], prepare=kept.append), seen


def test_it_is_the_mean_that_forgets_what_is_long_ago():
    module = torch.nn.Linear(1, 1)
    module.weight.data.fill_(1.0)
    average = WeightAverage(module, 0.9)
    module.weight.data.fill_(2.0)
    average.update(10**6)
    assert average.tensors["average/weight"].item() == pytest.approx(1.1)


def test_at_first_it_forgets_faster():
    module = torch.nn.Linear(1, 1)
    module.weight.data.fill_(1.0)
    average = WeightAverage(module, 0.9)
    module.weight.data.fill_(2.0)
    average.update(1)
    assert average.tensors["average/weight"].item() == pytest.approx(2 - 2 / 11)


def test_training_ends_with_the_average_of_its_steps(tmp_path: Path, data: TrainingData):
    outcome, (mean, *steps) = followed(tmp_path, data, training__keep="last")
    for number, weights in enumerate(steps, 1):
        decay = min(0.3, (1 + number) / (10 + number))
        mean = {
            name: decay * mean[name] + (1 - decay) * value if value.is_floating_point() else value
            for name, value in weights.items()
        }
    for name, value in outcome.weights.items():
        torch.testing.assert_close(value, mean[name], atol=1e-6, rtol=1e-5)


def test_the_steps_themselves_are_as_without_it(tmp_path: Path, data: TrainingData):
    with_average, _ = followed(tmp_path / "a", data)
    without = run_fit(tmp_path / "b", data, CNN)
    last = {name: with_average.last.tensors[name] for name in without.weights}
    assert same_bits(last, {name: without.last.tensors[name] for name in last})


def test_val_is_judged_by_the_average(tmp_path: Path, data: TrainingData):
    outcome, _ = followed(tmp_path, data, training__epochs=1)
    best = outcome.checkpoints.load_best(outcome.progress.best)
    means = averaged(outcome.last.tensors)
    assert all(torch.equal(value, means[name]) for name, value in best.tensors.items())


def test_the_torch_module_has_the_average_too(tmp_path: Path):
    photos = write_tiny(tmp_path / "photos")
    settings = {**SHORT, "training.ema": 0.9, "training.keep": "last", "training.epochs": 1}
    run = train(photos, tmp_path / "runs", set=settings)
    image = photos / "sky" / "000.png"
    assert torch_probabilities(run, image).tolist() == pytest.approx(
        run.predictor().probabilities(image)[0].tolist(), abs=0.01
    )
