"""The backbones to measure: those that the user names, or a choice from fast to accurate."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tellapart.cache.packages import PACKAGES, packaged_file
from tellapart.errors import UserError
from tellapart.options import BackboneOptions
from tellapart.recipe import Recipe

SHORTLIST = (
    "mobilenetv3_small_100",
    "mobilenetv3_large_100",
    "tf_efficientnet_lite0",
    "tf_efficientnet_lite1",
    "tf_efficientnet_lite2",
    "resnet18",
    "convnext_nano",
    "resnet50",
)


@dataclass(frozen=True)
class Entry:
    """One backbone to measure.

    Args:
        name: what it is called here.
        options: what it is.
    """

    name: str
    options: BackboneOptions

    def recipe(self, recipe: Recipe) -> Recipe:
        """A recipe with this backbone in place of its own."""
        return replace(recipe, backbone=self.options)

    def settings(self, stated: BackboneOptions) -> dict[str, str | None]:
        """The recipe keys to set, with their values, in order to train with it.

        Args:
            stated: the backbone that the recipe has without them.

        >>> Entry("cnn", BackboneOptions(name="cnn")).settings(BackboneOptions(weights="w.pth"))
        {'backbone.name': 'cnn', 'backbone.weights': None}
        """
        chosen = self.options
        weights = {"backbone.weights": chosen.weights}
        # Weights of the recipe belong to its own backbone, so another one has to reset them.
        named = weights if chosen.weights or stated.weights else {}
        return {"backbone.name": chosen.name, **named}


def entries(wanted: Sequence[str] | None, own: BackboneOptions) -> list[Entry]:
    """The backbones to measure, each once.

    Args:
        wanted: each is NAME, or NAME=FILE for its weights. None means the shortlist and the backbone
            of the recipe.
        own: the backbone of the recipe.

    Raises:
        UserError: it is not a list, it is empty, or an entry has no name.

    >>> [entry.name for entry in entries(["resnet18", "resnet18=mine/w.pth"], BackboneOptions())]
    ['resnet18', 'resnet18 (w.pth)']
    """
    if isinstance(wanted, str):
        raise UserError(f"The backbones must be a list, got {wanted!r}.", f"Write [{wanted!r}].")
    options = (
        [_options(text) for text in wanted]
        if wanted is not None
        else [BackboneOptions(name=name) for name in SHORTLIST]
    )
    if wanted is None and own not in options:
        options.append(own)
    if not options:
        raise UserError(
            "No backbone is named.",
            "Name some with --backbones, or leave it out for the shortlist.",
        )
    unique = list(dict.fromkeys(options))
    counts = Counter(backbone.name for backbone in unique)
    return [
        Entry(_label(backbone, alone=counts[backbone.name] == 1), backbone) for backbone in unique
    ]


def _options(text: str) -> BackboneOptions:
    name, _, file = (word.strip() for word in text.partition("="))
    if not name:
        raise UserError(
            f"{text!r} names no backbone.", "Write NAME, or NAME=FILE for weights of your own."
        )
    return BackboneOptions(name=name, weights=file or None)


def _label(options: BackboneOptions, *, alone: bool) -> str:
    if alone or not options.weights:
        return options.name
    return f"{options.name} ({Path(options.weights).name})"


def packaged_entries() -> list[Entry]:
    """The backbones whose weights install with pip."""
    return [Entry(name, BackboneOptions(name=name)) for name in PACKAGES]


def needs_hub(options: BackboneOptions) -> bool:
    """Whether the weights have to be fetched from the hub.

    They need not if they are a file, or are in an installed package or in the cache of the hub.
    """
    if options.weights or packaged_file(options.name):
        return False
    import timm

    from tellapart.models.weights import in_hub_cache, timm_config

    if not timm.is_model(options.name):
        return False
    return in_hub_cache(timm_config(options.name).to_dict()) is False
