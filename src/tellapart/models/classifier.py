"""The whole network in torch: images → embedding → logits."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tellapart.errors import UserError
from tellapart.modelfile.layers import Layers
from tellapart.models.backbones import Backbone, Embedder, embedder, one_thread
from tellapart.models.networks import drawn_from
from tellapart.models.trial import trial_images
from tellapart.options import HeadOptions


class Classifier(nn.Module):
    """A backbone and a head.

    Args:
        embedder: images (N, C_in, S, S) float32 → embedding (N, D).
        head: embedding (N, D) → logits (N, C), or (N, 1) for the second of two classes. It has
            linear layers with ReLU between them.
    """

    def __init__(self, embedder: Embedder, head: nn.Sequential) -> None:
        super().__init__()
        self.embedder = embedder
        self.head = head

    def forward(self, images: Tensor) -> Tensor:
        """(N, C_in, S, S) float32 → logits (N, C) or (N, 1)."""
        return self.head(self.embedder(images)[0])  # type: ignore[no-any-return]

    def layers(self) -> Layers:
        """The head as numbers.

        One logit z becomes the two -z/2 and z/2, whose softmax is [1 - p, p].
        """
        *hidden, (weight, bias) = [
            (linear.weight.detach(), linear.bias.detach()) for linear in self._linears()
        ]
        if len(bias) == 1:
            weight, bias = torch.cat([-weight / 2, weight / 2]), torch.cat([-bias / 2, bias / 2])
        return Layers(
            hidden=tuple((_numbers(width), _numbers(shift)) for width, shift in hidden),
            weight=_numbers(weight),
            bias=_numbers(bias),
        )

    @torch.no_grad()
    def load_layers(self, layers: Layers) -> None:
        """Begin at this head: what `layers` gave, or a probe's.

        It has as many layers as this one, of the same widths.
        """
        weight, bias = torch.from_numpy(layers.weight), torch.from_numpy(layers.bias)
        linears = self._linears()
        if linears[-1].out_features == 1:
            weight, bias = weight[1:] - weight[:1], bias[1:] - bias[:1]
        hidden = [
            (torch.from_numpy(width), torch.from_numpy(shift)) for width, shift in layers.hidden
        ]
        for linear, (matrix, vector) in zip(linears, [*hidden, (weight, bias)], strict=True):
            assert linear.weight.shape == matrix.shape, "another head"
            linear.weight.copy_(matrix)
            linear.bias.copy_(vector)

    def _linears(self) -> list[nn.Linear]:
        return [module for module in self.head if isinstance(module, nn.Linear)]


def build_classifier(
    backbone: Backbone, options: HeadOptions, num_classes: int, seed: int
) -> Classifier:
    """A backbone with a new head, whose first numbers the seed decides.

    Raises:
        UserError: one logit is asked for, and there are not two classes.
    """
    if options.logits == "one" and num_classes != 2:
        raise UserError(
            f"One logit tells two classes apart, and there are {num_classes}.",
            "Set head.logits=classes and training.loss=cross_entropy.",
        )
    module = embedder(backbone)
    with torch.inference_mode(), one_thread():
        width = module(trial_images(backbone.preprocessing))[0].shape[1]
    outputs = 1 if options.logits == "one" else num_classes
    with drawn_from(seed, "head"):
        return Classifier(module, _new_head((width, *options.hidden), outputs))


def _new_head(widths: tuple[int, ...], outputs: int) -> nn.Sequential:
    head = nn.Sequential()
    for before, after in pairwise(widths):
        head.extend([nn.Linear(before, after), nn.ReLU()])
    return head.append(nn.Linear(widths[-1], outputs))


def _numbers(values: Tensor) -> NDArray[np.float32]:
    return np.array(values.float().cpu().numpy())
