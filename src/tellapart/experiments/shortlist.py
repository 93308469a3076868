"""The backbones to measure: those that the user names, or a choice from fast to accurate."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from tellapart.cache.packages import PACKAGES
from tellapart.errors import UserError
from tellapart.models.weights_place import weights_place
from tellapart.options import BackboneOptions
from tellapart.recipe import Recipe

# From fast to accurate, as `--backbones` takes them: each is the most accurate that we know for its
# time on a CPU. DINOv2 was trained at 518 px, where an image takes a second.
SHORTLIST = (
    "mobilenetv4_conv_small",
    "tf_efficientnet_lite0:int8",
    "tf_efficientnet_lite2:int8",
    "mobilenetv4_conv_medium",
    "convnext_nano",
    "convnext_tiny",
    "vit_small_patch14_dinov2@224",
)
PRECISIONS: tuple[Literal["int8", "fp32"], ...] = ("int8", "fp32")
FORM = "NAME, and behind it @PIXELS, :int8 or :fp32, and =FILE, each where it is not the default"


@dataclass(frozen=True)
class Entry:
    """One backbone to measure.

    Args:
        name: what it is called here.
        options: what it is.
        size_px: the side of its input. None means the recipe's, or the network's own.
    """

    name: str
    options: BackboneOptions
    size_px: int | None = None

    def recipe(self, recipe: Recipe) -> Recipe:
        """A recipe with this backbone in place of its own."""
        preprocessing = recipe.preprocessing
        if self.size_px is not None:
            preprocessing = replace(preprocessing, size_px=self.size_px)
        return replace(recipe, backbone=self.options, preprocessing=preprocessing)

    def without_precision(self) -> Entry:
        """The same network in the precision that it has by default."""
        options = replace(self.options, precision=None)
        return replace(self, name=self.name.partition(":")[0], options=options)

    def settings(self, stated: BackboneOptions) -> dict[str, str | int | None]:
        """The recipe keys to set, with their values, in order to train with it.

        Args:
            stated: the backbone that the recipe has without them.

        >>> Entry("cnn", BackboneOptions(name="cnn")).settings(BackboneOptions(weights="w.pth"))
        {'backbone.name': 'cnn', 'backbone.weights': None}
        """
        chosen = self.options
        settings: dict[str, str | int | None] = {"backbone.name": chosen.name}
        if chosen.precision or stated.precision:
            settings["backbone.precision"] = chosen.precision
        # Weights of the recipe belong to its own backbone, so another one has to reset them.
        if chosen.weights or stated.weights:
            settings["backbone.weights"] = chosen.weights
        if self.size_px is not None:
            settings["preprocessing.size_px"] = self.size_px
        return settings


def entries(wanted: Sequence[str] | None, own: BackboneOptions) -> list[Entry]:
    """The backbones to measure, each once.

    Args:
        wanted: each is NAME, with @PIXELS for another size of input, :int8 or :fp32 for another
            precision, and =FILE for weights, in this order. None means the shortlist and the
            backbone of the recipe.
        own: the backbone of the recipe.

    Raises:
        UserError: it is not a list, it is empty, or an entry is not of that form.

    >>> [entry.name for entry in entries(["resnet18", "resnet18=mine/w.pth"], BackboneOptions())]
    ['resnet18', 'resnet18 (w.pth)']
    """
    if isinstance(wanted, str):
        raise UserError(f"The backbones must be a list, got {wanted!r}.", f"Write [{wanted!r}].")
    found = [_entry(text) for text in (SHORTLIST if wanted is None else wanted)]
    # The default backbone is on the shortlist, under the precision that it has by default.
    if wanted is None and own not in [BackboneOptions(), *(entry.options for entry in found)]:
        found.append(Entry(_spelling(own), own))
    if not found:
        raise UserError(
            "No backbone is named.",
            "Name some with --backbones, or leave it out for the shortlist.",
        )
    unique = list(dict.fromkeys(found))
    counts = Counter(entry.name for entry in unique)
    return [replace(entry, name=_label(entry, alone=counts[entry.name] == 1)) for entry in unique]


def _entry(text: str) -> Entry:
    """One word of `--backbones`, named by all of it but its file."""
    label, _, file = (word.strip() for word in text.partition("="))
    sized, colon, precision = label.partition(":")
    name, at, pixels = sized.partition("@")
    if not name:
        raise UserError(f"{text!r} names no backbone.", f"Write {FORM}.")
    if at and not (pixels.isdecimal() and int(pixels)):
        raise UserError(f"{text!r} has no number of pixels after @.", f"Write {FORM}.")
    chosen = next((known for known in PRECISIONS if known == precision), None)
    if colon and chosen is None:
        raise UserError(f"{text!r} has neither int8 nor fp32 after the colon.", f"Write {FORM}.")
    options = BackboneOptions(name=name, weights=file or None, precision=chosen)
    return Entry(label, options, int(pixels) if at else None)


def _spelling(options: BackboneOptions) -> str:
    return f"{options.name}:{options.precision}" if options.precision else options.name


def _label(entry: Entry, *, alone: bool) -> str:
    if alone or not entry.options.weights:
        return entry.name
    return f"{entry.name} ({Path(entry.options.weights).name})"


def packaged_entries() -> list[Entry]:
    """The backbones whose weights install with pip, in int8 and in fp32."""
    options = [
        BackboneOptions(name=name, precision=precision)
        for precision in PRECISIONS
        for name in PACKAGES
    ]
    return [Entry(_spelling(backbone), backbone) for backbone in options]


def needs_hub(options: BackboneOptions) -> bool:
    """Whether the weights have to be fetched from the hub.

    They need not if they are a file, or are in an installed package or in the cache of the hub.
    Without timm nobody knows, and no network of the hub can be loaded.
    """
    return not options.weights and weights_place(options.name) == "hub"
