"""The networks written here, for images of 32 x 32, with the interface of timm's networks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from tellapart.keyed import keyed_numbers

OWN_SIZE_PX = 32


class BlockNetwork(nn.Module):
    """Blocks one after the other, then a linear classifier on all their outputs.

    Args:
        blocks: in forward order. Each is a stage.
        num_features: the number of values that they give for an image, flattened.
        num_classes: the outputs of the classifier. 0 means that there is none.
    """

    def __init__(self, blocks: nn.Sequential, num_features: int, num_classes: int) -> None:
        super().__init__()
        self.num_features = num_features
        self.blocks = blocks
        self.reset_classifier(num_classes)

    def reset_classifier(self, num_classes: int) -> None:
        """Replace the classifier. 0 classes remove it."""
        self.classifier = (
            nn.Linear(self.num_features, num_classes) if num_classes else nn.Identity()
        )

    def forward_features(self, images: Tensor) -> Tensor:
        """Images (N, C, 32, 32) → the outputs of the last block."""
        return self.blocks(images)  # type: ignore[no-any-return]

    def forward_head(self, features: Tensor, pre_logits: bool = False) -> Tensor:
        """The outputs of the last block → logits (N, classes).

        With `pre_logits` they are the embeddings (N, num_features) before the classifier.
        """
        embedding = features.flatten(1)
        return embedding if pre_logits else self.classifier(embedding)

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, 32, 32) → logits (N, classes)."""
        return self.forward_head(self.forward_features(images))


def lenet(in_chans: int = 3, num_classes: int = 10) -> BlockNetwork:
    """Two convolutions and two linear layers, 62,006 parameters with its classifier of 10;
    embedding (N, 84).

    Source: https://pytorch.org/tutorials/beginner/blitz/cifar10_tutorial.html.
    """
    blocks = nn.Sequential(
        nn.Sequential(nn.Conv2d(in_chans, 6, 5), nn.ReLU(), nn.MaxPool2d(2)),
        nn.Sequential(nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2)),
        nn.Sequential(nn.Flatten(), nn.Linear(400, 120), nn.ReLU()),
        nn.Sequential(nn.Linear(120, 84), nn.ReLU()),
    )
    return BlockNetwork(blocks, 84, num_classes)


def cnn(in_chans: int = 3, num_classes: int = 10) -> BlockNetwork:
    """Four convolutions with BatchNorm, 50,326 parameters with its classifier of 10; embedding (N,
    2400).

    Source: https://learn.microsoft.com/windows/ai/windows-ml/tutorials/pytorch-train-model.
    """
    blocks = nn.Sequential(
        _normed(in_chans, 12),
        nn.Sequential(*_normed(12, 12), nn.MaxPool2d(2)),
        _normed(12, 24),
        _normed(24, 24),
    )
    return BlockNetwork(blocks, 24 * 10 * 10, num_classes)


def _normed(channels: int, width: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(channels, width, 5, padding=1), nn.BatchNorm2d(width), nn.ReLU())


OWN_NETWORKS: dict[str, Callable[..., BlockNetwork]] = {"lenet": lenet, "cnn": cnn}


@contextmanager
def drawn_from(seed: int, purpose: str) -> Iterator[None]:
    """Make all that torch draws inside a function of the seed and the purpose.

    The generator outside is not changed by it.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(keyed_numbers(seed, purpose, ["torch"])[0]))
        yield
