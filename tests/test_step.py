"""One optimizer step: the whole batch's gradient whatever the parts, within the memory, each group
at its rate.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from helpers.catalogs import scan_folder
from helpers.images import write_classes
from helpers.training import (
    classifier_of,
    run_fit,
    same_bits,
    small_recipe,
    stepper_of,
    training_data_of,
    uneven_data,
)
from tellapart.errors import Interrupted, UserError
from tellapart.images.batches import Batch
from tellapart.models.classifier import Classifier
from tellapart.progress import Console
from tellapart.training.phases import TrainingData

COUNT = 40  # samples of a batch made by hand


pytestmark = pytest.mark.usefixtures("single_thread")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> TrainingData:
    """19 train images, 7, 7 and 5 of the classes, and 6 of val."""
    return uneven_data(tmp_path_factory.mktemp("stepping"))


def batch_by_hand() -> Batch:
    inputs = torch.randn(COUNT, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(COUNT) % 3
    return Batch(inputs, labels, labels, np.ones(COUNT, bool))


class Memory:
    """As if only so many samples fitted into it; in training, and from a step on."""

    def __init__(
        self, most: int, error: Callable[[str], RuntimeError] = torch.OutOfMemoryError
    ) -> None:
        self.most, self.error, self.tried = most, error, list[int]()

    def watch(self, classifier: Classifier) -> None:
        classifier.register_forward_pre_hook(self._check)

    def _check(self, module: nn.Module, inputs: tuple[Tensor]) -> None:
        if module.training:
            self.tried.append(len(inputs[0]))
            if len(inputs[0]) > self.most:
                raise self.error("CUDA out of memory: cannot allocate memory")


def stepped(
    data: TrainingData, memory: Memory | None = None, **changes: object
) -> tuple[Classifier, Console, float]:
    """One step on the batch made by hand."""
    recipe = small_recipe({key.replace("__", "."): value for key, value in changes.items()})
    classifier, console = classifier_of(recipe), Console(quiet=True)
    if memory:
        memory.watch(classifier)
    stepper = stepper_of(recipe, data, classifier, console)
    loss = stepper.step(stepper.phases.of(0), batch_by_hand(), COUNT, 0, 0.1)
    return classifier, console, loss


def close(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.allclose(one[name], other[name], rtol=0, atol=1e-6) for name in one)


# ── parts ──


@pytest.mark.parametrize("weighting", ["none", "balanced"])
@pytest.mark.parametrize("parts", [2, 3, 8])
def test_in_parts_a_batch_teaches_the_same(
    tmp_path: Path, data: TrainingData, parts: int, weighting: str
):
    changes = {"head.weighting": weighting, "augmentation.mixup": 0.5, "training.lr": 0.05}
    whole = run_fit(tmp_path / "whole", data, changes)
    cut = run_fit(tmp_path / "cut", data, {**changes, "training.accumulation": parts})
    assert close(whole.weights, cut.weights)
    assert not same_bits(whole.weights, classifier_of(small_recipe(changes)).state_dict())
    losses = ([row["loss"] for row in one.progress.history] for one in (whole, cut))
    assert next(losses) == pytest.approx(next(losses), abs=1e-5)


# ── not enough memory ──


@pytest.mark.parametrize("error", [torch.OutOfMemoryError, RuntimeError])
def test_a_batch_that_does_not_fit_is_worked_on_in_smaller_parts(
    data: TrainingData, error: Callable[[str], RuntimeError]
):
    memory = Memory(12, error)
    classifier, console, loss = stepped(data, memory)
    whole, _, expected = stepped(data)
    assert memory.tried == [40, 20, 10, 10, 10, 10]
    assert close(classifier.state_dict(), whole.state_dict())
    assert loss == pytest.approx(expected, abs=1e-6)
    assert [line.partition(" ")[2] for line in console.lines] == [
        "note: not enough memory; from here on each batch in 2 parts",
        "note: not enough memory; from here on each batch in 4 parts",
    ]


def test_what_is_dropped_by_chance_does_not_depend_on_a_try_that_did_not_fit(data: TrainingData):
    def losses(parts: int, fails_at: int | None) -> float:
        recipe, calls = small_recipe({"training.accumulation": parts}), count()
        classifier = classifier_of(recipe, dropout=0.5)

        def check(module: nn.Module, inputs: tuple[Tensor]) -> None:
            if next(calls) == fails_at:
                raise torch.OutOfMemoryError

        stepper = stepper_of(recipe, data, classifier, Console(quiet=True))
        classifier.register_forward_pre_hook(check)
        return stepper.step(stepper.phases.of(0), batch_by_hand(), COUNT, 0, 0.1)

    assert losses(2, fails_at=1) == losses(4, fails_at=None)


def test_memory_that_ends_in_the_middle_of_a_training_changes_no_result(
    tmp_path: Path, data: TrainingData
):
    memory = Memory(99)

    def scarce(event: object) -> None:
        if (event.name, event.step) == ("iteration_started", 4):
            memory.most = 4

    outcome = run_fit(tmp_path / "a", data, prepare=memory.watch, callbacks=[scarce])
    whole = run_fit(tmp_path / "b", data)
    assert close(outcome.weights, whole.weights)
    assert outcome.progress.parts == outcome.last.facts["parts"] == 2
    assert whole.progress.parts == 1


def test_a_resumed_training_keeps_to_its_smaller_parts(tmp_path: Path, data: TrainingData):
    def stop(event: object) -> None:
        if (event.name, event.step) == ("iteration_completed", 4):
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Interrupted):
        run_fit(tmp_path, data, prepare=Memory(4).watch, callbacks=[stop])
    memory = Memory(99)
    run_fit(tmp_path, data, prepare=memory.watch)
    assert memory.tried == [4, 4, 2, 1, 4, 4, 4, 4, 2, 1]


def test_it_gives_up_after_five_halvings(data: TrainingData):
    memory = Memory(0)
    with pytest.raises(
        UserError,
        match=r"A batch of 8 does not fit.*not even in 32 parts. Lower training.batch_size",
    ):
        stepped(data, memory)
    assert memory.tried == [40, 20, 10, 5, 3, 2]


def test_it_gives_up_where_a_part_is_a_single_image(data: TrainingData):
    with pytest.raises(UserError, match="not even in 32 parts"):
        stepped(data, Memory(0), training__accumulation=8)


def test_a_single_pixel_of_a_single_image_is_nothing_to_measure(tmp_path: Path, data: TrainingData):
    def with_norm(classifier: Classifier) -> None:
        classifier.head.insert(0, nn.BatchNorm1d(classifier.head[-1].in_features))

    with pytest.raises(
        UserError, match=r"BatchNorm has nothing to measure.* Raise training.batch_size, lower"
    ):
        run_fit(tmp_path, data, {"training.accumulation": 8}, prepare=with_norm)


def test_any_other_error_is_not_taken_for_too_little_memory(data: TrainingData):
    with pytest.raises(RuntimeError, match="illegal instruction"):
        stepped(data, Memory(0, lambda text: RuntimeError("illegal instruction")))


# ── the optimizer ──


def test_layer_wise_rates_reach_the_optimizer(data: TrainingData):
    recipe = small_recipe({"training.layer_decay": 0.5, "training.backbone_lr": 0.1})
    classifier = classifier_of(recipe)
    stepper = stepper_of(recipe, data, classifier)
    stepper.step(stepper.phases.of(0), batch_by_hand(), COUNT, 0, 0.2)
    rate_of = {
        one: group["lr"] for group in stepper.optimizer.param_groups for one in group["params"]
    }
    blocks = classifier.embedder.network.blocks
    rates = [rate_of[next(block.parameters())] for block in blocks]
    assert rates == pytest.approx([0.2 * 0.1 / 8, 0.2 * 0.1 / 4, 0.2 * 0.1 / 2, 0.2 * 0.1])
    assert rate_of[classifier.head[-1].weight] == pytest.approx(0.2)
    assert len(rate_of) == len(list(classifier.parameters()))


def test_a_loss_that_is_no_number_moves_nothing(data: TrainingData):
    recipe = small_recipe()
    classifier = classifier_of(recipe)
    stepper = stepper_of(recipe, data, classifier)
    before = {name: value.clone() for name, value in classifier.state_dict().items()}
    batch = batch_by_hand()
    batch.inputs[0, 0, 0, 0] = torch.nan
    assert np.isnan(stepper.step(stepper.phases.of(0), batch, COUNT, 0, 0.1))
    assert same_bits(before, classifier.state_dict())


# ── batches ──


def test_an_epoch_has_each_image_once_and_says_what_a_batch_counts_for(data: TrainingData):
    stepper = stepper_of(small_recipe(), data, classifier_of(small_recipe()))
    batches = list(stepper.batches(stepper.phases.of(0), 0))
    assert [(len(batch.labels), weight) for batch, weight in batches] == [
        (8, 8.0),
        (8, 8.0),
        (3, 3.0),
    ]
    assert np.bincount(torch.cat([batch.labels for batch, _ in batches])).tolist() == [7, 7, 5]


def test_a_balanced_batch_counts_for_its_images_whatever_its_classes(data: TrainingData):
    recipe = small_recipe({"head.weighting": "balanced"})
    stepper = stepper_of(recipe, data, classifier_of(recipe))
    batches = list(stepper.batches(stepper.phases.of(0), 0))
    assert [weight for _, weight in batches] == pytest.approx([8, 8, 3])


def test_over_an_epoch_balanced_classes_count_the_same(data: TrainingData):
    recipe = small_recipe({"head.weighting": "balanced", "training.batch_size": 2})
    stepper = stepper_of(recipe, data, classifier_of(recipe))
    weights = torch.from_numpy(19 / (3 * np.array([7, 7, 5])))
    says = torch.zeros(3, dtype=torch.float64)
    for batch, divisor in stepper.batches(stepper.phases.of(0), 0):
        says.index_add_(0, batch.labels, weights[batch.labels] * len(batch.labels) / divisor)
    assert says.tolist() == pytest.approx([19 / 3] * 3)


def test_a_part_of_an_epoch_has_the_batches_of_the_whole(data: TrainingData):
    recipe = small_recipe({"augmentation.flip": 0.5})
    stepper = stepper_of(recipe, data, classifier_of(recipe))
    phase = stepper.phases.of(0)
    whole = [batch.inputs for batch, _ in stepper.batches(phase, 1)]
    part = [batch.inputs for batch, _ in stepper.batches(phase, 1, 1)]
    assert len(part) == 2
    assert all(map(torch.equal, part, whole[1:]))
    assert list(stepper.batches(phase, 1, 3)) == []


def test_streamed_images_teach_what_held_ones_do(tmp_path: Path):
    catalog = scan_folder(write_classes(tmp_path / "photos", 5))
    changes = {"training.epochs": 1, "augmentation.crop_area": 0.5}
    held, streamed = (
        run_fit(tmp_path / str(size), training_data_of(catalog, held_bytes=size), changes)
        for size in (10**9, 0)
    )
    assert same_bits(held.weights, streamed.weights)


def test_a_batch_of_lost_images_moves_nothing_and_counts_for_nothing(tmp_path: Path):
    folder = write_classes(tmp_path / "photos", 3)
    catalog = scan_folder(folder)
    for path in folder.rglob("000.jpg"):
        path.unlink()
    data = training_data_of(catalog, val=False, held_bytes=0)
    changes = {"training.epochs": 1, "training.batch_size": 1}
    outcome = run_fit(tmp_path / "run", data, changes)
    assert len(data.train) == len(data.train.lost) == outcome.progress.step == 3
    assert outcome.progress.history[0]["loss"] == 0
    assert {one.loss for one in outcome.events if one.name == "iteration_completed"} == {None}
    assert same_bits(outcome.weights, classifier_of(small_recipe(changes)).state_dict())
