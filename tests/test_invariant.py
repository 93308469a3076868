"""Flips and turns that a classifier does not mind: found by its own loss, on images made for it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tellapart.images.batches import Batch, Group
from tellapart.options import AugmentationOptions
from tellapart.training.invariant import MOST_IMAGES, invariant_moves, with_moves

COUNT = 60


class Made:
    """Images (B, 3, 8, 8), bright in one place; of class 1 where `bright` says so."""

    def __init__(self, bright: str) -> None:
        rows, columns = {"left": (slice(0, 8), slice(0, 4)), "top": (slice(0, 4), slice(0, 8))}[
            bright
        ]
        self.labels = torch.arange(COUNT) % 2
        self.images = torch.rand(COUNT, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 0.1
        self.images[self.labels == 1, :, rows, columns] += 1
        self.asked = 0

    def batches(self, groups):
        for group in groups:
            self.asked += len(group.positions)
            labels = self.labels[group.positions]
            yield Batch(self.images[group.positions], labels, labels, np.ones(len(labels), bool))


class Sees(nn.Module):
    """A classifier that compares one half of an image with the other, or only asks how bright it
    is.
    """

    def __init__(self, what: str) -> None:
        super().__init__()
        self.what = what

    def forward(self, images: Tensor) -> Tensor:
        left = images[..., :4].mean(dim=(1, 2, 3)) - images[..., 4:].mean(dim=(1, 2, 3))
        top = images[:, :, :4].mean(dim=(1, 2, 3)) - images[:, :, 4:].mean(dim=(1, 2, 3))
        logit = {"left": left, "top": top, "light": images.mean(dim=(1, 2, 3)) - 0.3}[
            self.what
        ] * 10
        return torch.stack([-logit, logit], dim=1)


@pytest.mark.parametrize(
    ("what", "bright", "moves"),
    [
        ("left", "left", ["flip_vertical"]),
        ("top", "top", ["flip"]),
        ("light", "top", ["flip", "flip_vertical", "quarter_turn"]),
    ],
)
def test_a_move_is_invariant_exactly_where_the_answer_does_not_depend_on_it(what, bright, moves):
    assert invariant_moves(Sees(what), Made(bright), COUNT) == moves


def test_no_more_images_are_looked_at_than_it_takes(monkeypatch):
    monkeypatch.setattr("tellapart.training.invariant.MOST_IMAGES", 10)
    made = Made("top")
    invariant_moves(Sees("light"), made, COUNT)
    assert made.asked == 10 < MOST_IMAGES


def test_moves_are_added_where_the_recipe_does_not_say_how_often():
    assert with_moves(AugmentationOptions(), ["flip"]).flip == 0.5
    assert with_moves(
        AugmentationOptions(flip=0.2), ["flip", "quarter_turn"]
    ) == AugmentationOptions(flip=0.2, quarter_turn=0.5)
    assert with_moves(AugmentationOptions(flip=0.2), []) == AugmentationOptions(flip=0.2)


def test_images_are_shown_as_they_are():
    shown = []

    class Watched(Made):
        def batches(self, groups: list[Group]):
            shown.extend(groups)
            return super().batches(groups)

    invariant_moves(Sees("light"), Watched("top"), COUNT)
    assert {group.keys for group in shown} == {None}
