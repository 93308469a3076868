"""Which backbones are looked at: those that the user names, or a spread from fast to accurate."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tellapart.cache.packages import packaged_file
from tellapart.errors import UserError
from tellapart.options import BackboneOptions

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
    """One backbone to look at: what it is called here, and what it is."""

    name: str
    options: BackboneOptions

    def settings(self, stated: BackboneOptions) -> dict[str, str | None]:
        """The recipe's keys that train with it, and their values, where the recipe states perhaps
        another.

        >>> Entry("cnn", BackboneOptions(name="cnn")).settings(BackboneOptions(weights="w.pth"))
        {'backbone.name': 'cnn', 'backbone.weights': None}
        """
        own = self.options
        weights = {"backbone.weights": own.weights} if own.weights or stated.weights else {}
        return {"backbone.name": own.name, **weights}


def entries(wanted: Sequence[str] | None, own: BackboneOptions) -> list[Entry]:
    """What to look at, each once.

    Args:
        wanted: NAME or NAME=FILE of weights; None: the shortlist and the recipe's own.
        own: of the recipe.

    Raises:
        UserError: no list, an empty one, or an entry without a name.

    >>> [one.name for one in entries(["resnet18", "resnet18=mine/w.pth"], BackboneOptions())]
    ['resnet18', 'resnet18 (w.pth)']
    """
    if isinstance(wanted, str):
        raise UserError(f"The backbones must be a list, got {wanted!r}.", f"Write [{wanted!r}].")
    options = (
        [_options(text) for text in wanted]
        if wanted is not None
        else [BackboneOptions(name=n) for n in SHORTLIST]
    )
    if wanted is None and own not in options:
        options.append(own)
    if not options:
        raise UserError(
            "No backbone is named.",
            "Name some with --backbones, or leave it out for the shortlist.",
        )
    unique = list(dict.fromkeys(options))
    often = Counter(one.name for one in unique)
    return [Entry(_called(one, alone=often[one.name] == 1), one) for one in unique]


def _options(text: str) -> BackboneOptions:
    name, _, file = (part.strip() for part in text.partition("="))
    if not name:
        raise UserError(
            f"{text!r} names no backbone.", "Write NAME, or NAME=FILE for weights of your own."
        )
    return BackboneOptions(name=name, weights=file or None)


def _called(options: BackboneOptions, *, alone: bool) -> str:
    return (
        options.name
        if alone or not options.weights
        else f"{options.name} ({Path(options.weights).name})"
    )


def needs_hub(options: BackboneOptions) -> bool:
    """Whether the hub has to be asked for the weights: they are neither a file, nor in a package,
    nor in its cache.
    """
    if options.weights or packaged_file(options.name):
        return False
    import timm

    from tellapart.models.weights import in_hub_cache, timm_config

    if not timm.is_model(options.name):
        return False
    return in_hub_cache(timm_config(options.name).to_dict()) is False
