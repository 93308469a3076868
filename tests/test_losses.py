"""Losses image by image, held against torch's means over a batch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from sklearn.utils.class_weight import compute_class_weight

from tellapart.options import HeadOptions, TrainingOptions
from tellapart.training.losses import (
    class_weights,
    image_losses,
    image_weights,
    mean_weight,
    probabilities,
    weighted_targets,
)

LOGITS = torch.randn(7, 3, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 1, 2, 2, 2, 1, 2])
MIXED = torch.softmax(torch.randn(7, 3, generator=torch.Generator().manual_seed(1)), dim=1)
BCE = TrainingOptions(loss="bce")


@pytest.mark.parametrize("targets", [LABELS, MIXED], ids=["labels", "mixed"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_is_torchs(targets: torch.Tensor, smoothing: float):
    losses = image_losses(LOGITS, targets, TrainingOptions(label_smoothing=smoothing))
    torch.testing.assert_close(
        losses.mean(), F.cross_entropy(LOGITS, targets, label_smoothing=smoothing)
    )


def test_with_class_weights_the_sums_give_torchs_weighted_mean():
    weights = torch.tensor([0.5, 2.0, 1.0])
    losses, of_images = (
        image_losses(LOGITS, LABELS, TrainingOptions()),
        image_weights(LABELS, weights),
    )
    mean = (losses * of_images).sum() / of_images.sum()
    torch.testing.assert_close(mean, F.cross_entropy(LOGITS, LABELS, weight=weights))


def test_a_batch_in_parts_has_the_gradient_of_the_whole_batch():
    weights = image_weights(LABELS, torch.tensor([0.5, 2.0, 1.0]))
    whole, parts = (LOGITS.clone().requires_grad_() for _ in range(2))
    ((image_losses(whole, LABELS, TrainingOptions()) * weights).sum() / weights.sum()).backward()
    for rows in (slice(0, 2), slice(2, 7)):
        losses = image_losses(parts[rows], LABELS[rows], TrainingOptions())
        ((losses * weights[rows]).sum() / weights.sum()).backward()
    torch.testing.assert_close(whole.grad, parts.grad)


def test_one_logit_is_that_of_the_second_class():
    logits, labels = LOGITS[:, :1], LABELS.clamp(max=1)
    expected = F.binary_cross_entropy_with_logits(logits[:, 0], labels.float(), reduction="none")
    torch.testing.assert_close(image_losses(logits, labels, BCE), expected)


def test_one_logit_takes_mixed_targets_too():
    shares = torch.tensor([[0.25, 0.75], [1.0, 0.0]])
    expected = F.binary_cross_entropy_with_logits(LOGITS[:2, 0], shares[:, 1], reduction="none")
    torch.testing.assert_close(image_losses(LOGITS[:2, :1], shares, BCE), expected)


@pytest.mark.parametrize(
    "targets", [LABELS, F.one_hot(LABELS, 3).float()], ids=["labels", "shares"]
)
def test_bce_with_a_logit_a_class_is_the_mean_over_the_classes(targets: torch.Tensor):
    expected = F.binary_cross_entropy_with_logits(LOGITS, F.one_hot(LABELS, 3).float())
    torch.testing.assert_close(image_losses(LOGITS, targets, BCE).mean(), expected)


def test_half_precision_logits_give_full_precision_losses():
    assert image_losses(LOGITS.bfloat16(), LABELS, TrainingOptions()).dtype == torch.float32


def test_balanced_weights_are_scikit_learns():
    weights = class_weights(np.bincount(LABELS.numpy()), HeadOptions(weighting="balanced"))
    expected = compute_class_weight("balanced", classes=np.arange(3), y=LABELS.numpy())
    np.testing.assert_allclose(weights.numpy(), expected, rtol=1e-6)


def test_balanced_weights_give_every_class_the_same_say():
    weights = class_weights(np.bincount(LABELS.numpy()), HeadOptions(weighting="balanced"))
    said = torch.zeros(3).index_add(0, LABELS, image_weights(LABELS, weights))
    torch.testing.assert_close(said, torch.full((3,), 7 / 3))


def test_without_weighting_every_image_counts_one():
    assert class_weights(np.array([5, 2]), HeadOptions()) is None
    assert image_weights(LABELS, None).tolist() == [1.0] * 7


def test_a_mixed_image_weighs_as_its_classes_do():
    weights = image_weights(torch.tensor([[0.25, 0.75], [1, 0]]), torch.tensor([1.0, 2.0]))
    assert weights.tolist() == [1.75, 1.0]


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_a_mixed_image_counts_for_each_of_its_classes_as_in_torch(smoothing: float):
    weights = torch.tensor([0.5, 2.0, 1.0])
    options = TrainingOptions(label_smoothing=smoothing)
    losses = image_losses(LOGITS, weighted_targets(MIXED, weights), options)
    each = torch.stack(
        [image_losses(LOGITS, torch.full((7,), label), options) for label in range(3)], dim=1
    )
    expected = (weights * MIXED * each).sum(dim=1)
    torch.testing.assert_close(losses * image_weights(MIXED, weights), expected)


def test_without_smoothing_that_is_torchs_own_sum():
    weights = torch.tensor([0.5, 2.0, 1.0])
    losses = image_losses(LOGITS, weighted_targets(MIXED, weights), TrainingOptions())
    expected = F.cross_entropy(LOGITS, MIXED, weight=weights, reduction="none")
    torch.testing.assert_close(losses * image_weights(MIXED, weights), expected)


def test_labels_and_unweighted_shares_stay_as_they_are():
    assert weighted_targets(LABELS, torch.tensor([0.5, 2.0, 1.0])) is LABELS
    assert weighted_targets(MIXED, None) is MIXED


@pytest.mark.parametrize(
    ("sampling", "expected"), [("shuffled", 0.895), ("balanced", 79 / 60), ("weighted", 0.5)]
)
def test_the_mean_weight_is_that_of_the_images_that_are_drawn(sampling: str, expected: float):
    labels, draws = np.array([0] * 5 + [1] * 4 + [2]), np.array([1.0] * 5 + [0.0] * 5)
    weights = torch.tensor([0.5, 1.0, 2.45])
    assert mean_weight(weights, labels, draws, sampling) == pytest.approx(expected)


def test_probabilities_sum_to_one():
    torch.testing.assert_close(probabilities(LOGITS).sum(dim=1), torch.ones(7))


def test_one_logit_gives_two_columns():
    p = torch.sigmoid(LOGITS[:, 0])
    torch.testing.assert_close(probabilities(LOGITS[:, :1]), torch.stack([1 - p, p], dim=1))


def test_huge_logits_give_finite_losses():
    assert image_losses(torch.tensor([[1e4], [-1e4]]), torch.tensor([0, 1]), BCE).tolist() == [
        1e4,
        1e4,
    ]
