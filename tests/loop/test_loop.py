"""The loop: it learns, the same each time, and clips what it should."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from helpers.catalogs import scan_folder
from helpers.images import write_classes
from helpers.training import (
    AUGMENTED,
    EPOCHS,
    PER_EPOCH,
    STEPS,
    classifier_of,
    run_fit,
    same_bits,
    small_recipe,
    training_data_of,
)
from tellapart.errors import Refused
from tellapart.evaluation.scores import METRICS
from tellapart.images.sampling import batch_bounds, image_keys, plan_epoch
from tellapart.models.classifier import Classifier
from tellapart.training.events import Event
from tellapart.training.hardware import Hardware
from tellapart.training.phases import TrainingData
from tellapart.training.schedules import rate_at

# ── it learns ──


def test_the_loss_of_nineteen_images_falls_to_nothing(tmp_path: Path, without_val: TrainingData):
    changes = {"training.epochs": 40, "training.lr": 0.1, "training.schedule": "constant"}
    losses = [row["loss"] for row in run_fit(tmp_path, without_val, changes).progress.history]
    assert losses[0] == pytest.approx(math.log(3), abs=0.1)
    assert losses[-1] < 0.05


@pytest.mark.parametrize("weighting", ["none", "balanced"])
def test_it_does_what_the_plainest_loop_does(
    tmp_path: Path, without_val: TrainingData, weighting: str
):
    changes = {
        "training.momentum": 0.5,
        "training.weight_decay": 0.01,
        "training.warmup_steps": 2,
        "head.weighting": weighting,
    }
    ours, plain = run_fit(tmp_path, without_val, changes), plainest_loop(without_val, changes)
    assert ours.progress.step == STEPS
    for name, value in ours.weights.items():
        torch.testing.assert_close(value, plain[name], atol=1e-6, rtol=1e-4)


def plainest_loop(data: TrainingData, changes: dict[str, Any]) -> dict[str, Tensor]:
    """Torch's own SGD and weighted cross-entropy on whole batches, each weight moved once a
    batch. The weights of all images have the mean 1.
    """
    recipe, images = small_recipe(changes), data.train
    classifier, options = classifier_of(recipe), recipe.training
    optimizer = torch.optim.SGD(classifier.parameters(), momentum=0.5, weight_decay=0.01)
    counts = torch.from_numpy(np.bincount(images.labels)).float()
    weights = counts.sum() / (3 * counts) if recipe.head.weighting == "balanced" else None
    for epoch in range(EPOCHS):
        plan = plan_epoch(
            image_keys(recipe.seed, images.paths), images.labels, images.weights, epoch, options
        ).positions
        for number, (begin, end) in enumerate(batch_bounds(len(plan), options.batch_size)):
            ((pixels, _),) = images.batches([plan[begin:end]])
            inputs = (torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.5
            rate = rate_at(epoch * PER_EPOCH + number, STEPS, PER_EPOCH, options)
            optimizer.param_groups[0]["lr"] = options.lr * rate
            optimizer.zero_grad()
            labels = torch.from_numpy(images.labels[plan[begin:end]])
            logits = classifier.train()(inputs)
            total = functional.cross_entropy(logits, labels, weights, reduction="sum")
            (total / len(labels)).backward()
            optimizer.step()
    return dict(classifier.state_dict())


def test_weights_change_in_a_step_and_at_no_other_time(tmp_path: Path, data: TrainingData):
    seen: list[tuple[str, Tensor]] = []
    kept: list[Classifier] = []

    def callback(event: Event) -> None:
        if event.name.startswith("iteration"):
            seen.append((event.name, kept[0].head[-1].weight.detach().clone()))

    run_fit(
        tmp_path, data, {"training.monitor": "accuracy"}, callbacks=[callback], prepare=kept.append
    )
    moved = [not torch.equal(before[1], after[1]) for before, after in pairwise(seen)]
    assert moved == [event == "iteration_started" for event, _ in seen[:-1]]
    assert len(seen) == 2 * STEPS


def test_the_same_seed_gives_the_same_bits_and_another_seed_others(
    tmp_path: Path, data: TrainingData
):
    first, same, other = (
        run_fit(tmp_path / name, data, {**AUGMENTED, "seed": seed}, dropout=0.2)
        for name, seed in (("first", 1), ("same", 1), ("other", 2))
    )
    assert same_bits(first.weights, same.weights)
    assert not torch.equal(first.weights["head.1.weight"], other.weights["head.1.weight"])


def test_what_others_draw_by_chance_is_neither_used_nor_disturbed(
    tmp_path: Path, data: TrainingData
):
    torch.manual_seed(1)
    first = run_fit(tmp_path / "one", data, dropout=0.5)
    drawn = torch.rand(1)
    torch.manual_seed(1)
    assert torch.equal(torch.rand(1), drawn)
    assert same_bits(first.weights, run_fit(tmp_path / "other", data, dropout=0.5).weights)


def test_chance_falls_otherwise_in_each_step(tmp_path: Path, data: TrainingData):
    drawn: list[float] = []

    def hook(module: torch.nn.Module, inputs: tuple[Tensor]) -> None:
        if module.training:
            drawn.append(torch.rand(1).item())

    run_fit(tmp_path, data, prepare=lambda classifier: classifier.register_forward_pre_hook(hook))
    assert len(drawn) == len(set(drawn)) == STEPS


# ── precision and clipping ──


def test_a_step_is_no_longer_than_its_clipped_gradient(tmp_path: Path, without_val: TrainingData):
    changes = {
        "training.clip_norm": 1e-3,
        "training.momentum": 0.0,
        "training.epochs": 1,
        "training.batch_size": 19,
    }
    before = classifier_of(small_recipe(changes)).state_dict()
    after = run_fit(tmp_path, without_val, changes).weights
    moved = math.sqrt(sum((after[name] - before[name]).square().sum().item() for name in before))
    assert moved == pytest.approx(0.02 * 1e-3, rel=1e-2)


def test_bf16_learns_on_a_cpu(tmp_path: Path, data: TrainingData):
    outcome = run_fit(tmp_path / "bf16", data, {"training.precision": "bf16"})
    full = run_fit(tmp_path / "full", data)
    for mine, exact in zip(outcome.progress.history, full.progress.history, strict=True):
        assert mine["loss"] == pytest.approx(exact["loss"], abs=0.02)
    assert not same_bits(outcome.weights, full.weights)
    assert {value.dtype for value in outcome.weights.values()} == {torch.float32}


# ── images that change meanwhile ──


def test_lost_images_are_in_the_progress_and_not_in_the_scores(tmp_path: Path):
    folder = write_classes(tmp_path / "photos", 5)
    catalog = scan_folder(folder)
    (folder / "brick" / "004.jpg").write_bytes(b"another")
    (folder / "leaf" / "000.jpg").unlink()
    sizes: list[int] = []
    metrics = {**METRICS, "size": lambda predictions: sizes.append(len(predictions)) or 0.0}
    outcome = run_fit(
        tmp_path / "run", training_data_of(catalog), {"training.epochs": 1}, metrics=metrics
    )
    assert sizes == [5]
    assert [line.split(" is no longer")[0] for line in outcome.progress.lost] == [
        "brick/004.jpg (brick)",
        "leaf/000.jpg (leaf)",
    ]


def test_a_process_without_a_image_of_a_batch_ends_rather_than_let_the_others_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder = write_classes(tmp_path / "photos", 5)
    data = training_data_of(scan_folder(folder))
    data.train.lost[0] = "0 (brick) is no longer what it was"
    one_a_batch = {"training.epochs": 1, "training.batch_size": 1}
    assert run_fit(tmp_path / "alone", data, one_a_batch).progress.done
    monkeypatch.setattr(Hardware, "share", (0, 2))
    with pytest.raises(Refused, match="All images of a process's part") as caught:
        run_fit(tmp_path / "together", data, one_a_batch)
    assert caught.value.hint.endswith(
        "go on without them: tellapart train --resume HERE --accept-changes"
    )
