"""Losses image by image, and the weight of each image.

The loss of a batch is the sum of `losses * weights` divided by its number of images and by the mean
weight of all that training draws. It adds up over the parts of a batch and over the processes that
share it, so neither parts nor processes change a gradient. torch divides by the weights of the batch
itself: where a class has few images in a batch, it then counts for less than the others.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812, everybody's name for it
from numpy.typing import NDArray
from torch import Tensor

from tellapart.errors import UserError, choose
from tellapart.extensions import Loss
from tellapart.options import HeadOptions, TrainingOptions
from tellapart.recipe import own_choices


def build_loss(options: TrainingOptions, losses: Mapping[str, Loss]) -> Loss:
    """The loss that a recipe names: (logits, targets) → the loss of each image, without weights.

    Args:
        options: `loss` and `label_smoothing`.
        losses: the user's own, by name.

    Raises:
        UserError: there is no such loss. In a step: the user's own does not give a number an image.
    """
    name = options.loss
    choose("training.loss", name, (*own_choices("training.loss"), *losses))
    if name not in losses:
        return lambda logits, targets: image_losses(logits, targets, options)

    def own_loss(logits: Tensor, targets: Tensor) -> Tensor:
        values = losses[name](logits.float(), targets)
        if not isinstance(values, Tensor) or values.shape != (len(logits),):
            given = list(values.shape) if isinstance(values, Tensor) else type(values).__name__
            raise UserError(
                f"losses={{{name!r}: …}} gives {given} for {len(logits)} images.",
                "Return the loss of each image, a tensor (N,), without a mean over the batch.",
            )
        return values.float()

    return own_loss


def image_losses(logits: Tensor, targets: Tensor, options: TrainingOptions) -> Tensor:
    """The loss of each image, without weights.

    Args:
        logits: (N, C), or (N, 1) for two classes with `loss=bce`: the logit of the second class.
        targets: labels (N,) int64 in [0, C), or (N, C) float shares of the classes, as MixUp makes
            them.
        options: `loss` and `label_smoothing`. bce with C logits decides each class by itself.

    Returns:
        (N,) float32. bce with C logits gives the mean over the classes.

    >>> [round(loss, 3) for loss in image_losses(torch.zeros(2, 4), torch.tensor([0, 3]), TrainingOptions()).tolist()]
    [1.386, 1.386]
    """
    logits = logits.float()
    if options.loss == "cross_entropy":
        return F.cross_entropy(
            logits, targets, reduction="none", label_smoothing=options.label_smoothing
        )
    num_classes = max(logits.shape[1], 2)
    shares = (
        targets.float() if targets.is_floating_point() else F.one_hot(targets, num_classes).float()
    )
    wanted = shares if logits.shape[1] > 1 else shares[:, 1:]
    return F.binary_cross_entropy_with_logits(logits, wanted, reduction="none").mean(dim=1)


def image_weights(targets: Tensor, class_weights: Tensor | None) -> Tensor:
    """The weight of each image: its class's, or for a mixed image the mean of its classes'.

    Args:
        targets: (N,) int64 or (N, C) float, as for `image_losses`.
        class_weights: (C,) float32. None means that every image counts 1.

    Returns:
        (N,) float32.

    >>> image_weights(torch.tensor([[0.5, 0.5]]), torch.tensor([1.0, 3.0])).tolist()
    [2.0]
    """
    if class_weights is None:
        return torch.ones(len(targets), device=targets.device)
    return (
        targets.float() @ class_weights if targets.is_floating_point() else class_weights[targets]
    )


def weighted_targets(targets: Tensor, class_weights: Tensor | None) -> Tensor:
    """The targets of which a mixed image's loss is made, where classes have weights.

    An image that is mixed of two classes counts for each of them by that class's own weight, as in
    torch's cross-entropy: its loss is the sum over the classes of weight * share * loss. Here that
    is `image_weights` times the loss of these targets.

    Args:
        targets: (N,) int64 or (N, C) float, as for `image_losses`.
        class_weights: (C,) float32. None means that every class counts the same.

    Returns:
        Of the same shape; labels and unweighted shares as they are.

    >>> weighted_targets(torch.tensor([[0.5, 0.5]]), torch.tensor([1.0, 3.0])).tolist()
    [[0.25, 0.75]]
    """
    if class_weights is None or not targets.is_floating_point():
        return targets
    weighted = targets.float() * class_weights
    return weighted / weighted.sum(dim=1, keepdim=True)


def class_weights(counts: NDArray[np.int64], options: HeadOptions) -> Tensor | None:
    """The weight of each class by its train images. None means that every image counts the same.

    Args:
        counts: (C,) train images of each class. The weight of a class without any is never used.
        options: `weighting`. balanced is N / (C * count), as in scikit-learn: together, the images
            of each class weigh the same.

    Returns:
        (C,) float32 or None.

    >>> class_weights(np.array([3, 1]), HeadOptions(weighting="balanced")).tolist()
    [0.6666666865348816, 2.0]
    """
    if options.weighting == "none":
        return None
    return torch.from_numpy(counts.sum() / (len(counts) * np.maximum(counts, 1))).float()


def mean_weight(
    class_weights: Tensor,
    labels: NDArray[np.int64],
    draws: NDArray[np.float64],
    sampling: str,
) -> float:
    """The mean weight of the images that training draws.

    Args:
        class_weights: (C,) float32.
        labels: (N,) int64 of the train images.
        draws: (N,) how often each is drawn by sampling=weighted.
        sampling: `training.sampling`.

    >>> mean_weight(torch.tensor([0.5, 3.0]), np.array([0, 0, 1]), np.ones(3), "balanced")
    1.75
    """
    weights = class_weights.cpu().numpy().astype(np.float64)[labels]
    if sampling == "shuffled":
        return float(weights.mean())
    if sampling == "balanced":
        draws = 1 / np.bincount(labels)[labels]
    return float(np.average(weights, weights=draws))


def probabilities(logits: Tensor) -> Tensor:
    """Turn logits (N, C) into probabilities (N, C) by softmax, and (N, 1) into (N, 2).

    The second of two columns is that of the single logit. C logits trained with bce go through
    softmax too, as in the model file: the most probable class is the same.

    >>> probabilities(torch.zeros(1, 1)).tolist()
    [[0.5, 0.5]]
    """
    logits = logits.float()
    both = torch.cat([-logits / 2, logits / 2], dim=1) if logits.shape[1] == 1 else logits
    return both.softmax(dim=1)
