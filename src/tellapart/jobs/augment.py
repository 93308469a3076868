"""`explore --augment`: what a recipe's augmentation makes of the images, before anything is
trained.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tellapart.catalog.names import escape
from tellapart.catalog.table import Catalog
from tellapart.decoders.rules import DecodeRules, rules_of
from tellapart.decoding import STATUSES, Decoded, decode
from tellapart.errors import UserError, choose
from tellapart.keyed import keyed_numbers
from tellapart.modelfile.preprocessing import LUMINANCE, Preprocessing
from tellapart.options import COMPANIONS, AugmentationOptions
from tellapart.phrases import count_of
from tellapart.pipeline.data import reading_of
from tellapart.pipeline.pages import WithPage, check_page, timestamp, write_page
from tellapart.progress import Console
from tellapart.recipe import Recipe
from tellapart.recipe_files import load_recipe
from tellapart.report.augment.page import AugmentedImage, MixedImage, render_augmented
from tellapart.report.parts.wording import percent
from tellapart.sources.source import Source, name_of, read_source

if TYPE_CHECKING:
    from torch import Tensor

MOST_IMAGES = 8
EPOCHS = 8
MIXED_BATCHES = 3


@dataclass(frozen=True, kw_only=True)
class Augmented(WithPage):
    """Train images as a recipe's augmentation makes them.

    Args:
        recipe: its name.
        images: the paths of the images shown.
        augmentation: the options that do something.
        html: the page.
        page: where it was written; None where no file was asked for.
    """

    recipe: str
    images: tuple[str, ...]
    augmentation: Mapping[str, Any]

    def lines(self) -> list[str]:
        """The options for a terminal."""
        width = max(map(len, self.augmentation))
        return [f"{name:<{width}}  {value}" for name, value in self.augmentation.items()]

    def as_json(self) -> dict[str, Any]:
        """The JSON object that `--json` prints."""
        return {
            "recipe": self.recipe,
            "augmentation": dict(self.augmentation),
            "images": list(self.images),
            "page": self.escaped_page,
        }


def augment(
    data: Source,
    *,
    recipe: str | Recipe,
    image: str | None = None,
    out: str | PathLike[str] | None = None,
    seed: int | None = None,
    set: Mapping[str, Any] | None = None,
    quiet: bool = False,
) -> Augmented:
    """Show some train images, each as the network will see it in the first epochs.

    Args:
        data: the images, in any form that `train` takes.
        recipe: the recipe whose augmentation is shown.
        image: its path within the data. Default: some images of each class.
        out: the HTML page to write. None writes no file; `Augmented.save` writes it later.
        seed: the seed of the augmentation. The same seed gives the versions that a training sees.
            Default: the recipe's.
        set: recipe keys and their values.
        quiet: print nothing.

    Raises:
        UserError: a recipe without augmentation; no such source or image; or an image that cannot
            be used.

    >>> shown = tellapart.augment(photos, recipe="finetune", quiet=True)
    >>> len(shown.images) > 0
    True
    """
    console = Console(quiet=quiet)
    options = load_recipe(recipe, set, {"seed": seed})
    augmentation = _with_candidates(options.augmentation)
    if not augmentation.changes_anything:
        raise UserError(
            f"The recipe {options.name!r} changes no image: it has no augmentation.",
            "Take another, or set one: --set augmentation.flip=0.5 (with method=fit or finetune).",
        )
    name = name_of(data)
    check_page(out)
    with console.step("Loading PyTorch"):
        from tellapart.models.backbones import find_preprocessing
    with console.step("Listing the files"):
        catalog = read_source(data, reading_of(options))
    preprocessing = find_preprocessing(options.backbone, options.preprocessing)
    is_mixed = bool(augmentation.mixup or augmentation.cutmix)
    wanted = 1 if image is not None and not is_mixed else MOST_IMAGES
    order, rules = _rows(catalog, image, options.seed), rules_of(options.decoding)
    rows, pixels = _read(catalog, order, preprocessing, rules, wanted, image)
    shown = 1 if image is not None else len(rows)
    # Of kept views, the first one comes again after the last.
    epochs = min(options.freeze.views or EPOCHS, EPOCHS)
    augmented = replace(options, augmentation=augmentation)
    batch = _Batch(catalog, rows, pixels, preprocessing, augmented)
    facts = {**_used(augmentation), "before that": str(preprocessing), "seed": options.seed}
    with console.step("Augmenting the images"):
        html = render_augmented(
            f"{name}, augmented by {options.name}",
            timestamp(),
            batch.images(shown, epochs),
            [batch.mixed(epoch) for epoch in range(MIXED_BATCHES)] if is_mixed else [],
            {key.replace("_", " "): str(value) for key, value in facts.items()},
            measured=augmentation.invariant,
            views=options.freeze.views,
        )
    page = write_page(out, html)
    console.say(
        f"{name}: {catalog.source}; {shown} of {len(catalog):,} files shown, in"
        f" {count_of(epochs, 'epoch')}"
    )
    return Augmented(
        recipe=options.name,
        images=tuple(catalog.paths[rows[:shown]].tolist()),
        augmentation=_used(augmentation),
        html=html,
        page=page,
    )


def _with_candidates(augmentation: AugmentationOptions) -> AugmentationOptions:
    """With all flips and turns where a training finds out which of them are invariant."""
    if not augmentation.invariant:
        return augmentation
    from tellapart.training.invariant import MOVES, with_moves

    return with_moves(augmentation, list(MOVES))


class _Batch:
    """The images shown, and what becomes of them: a class because all steps need the same five
    things.
    """

    def __init__(
        self,
        catalog: Catalog,
        rows: NDArray[np.int64],
        pixels: NDArray[np.uint8],
        preprocessing: Preprocessing,
        options: Recipe,
    ) -> None:
        import torch

        from tellapart.images.sampling import image_keys

        self._paths, self._labels = catalog.paths[rows].tolist(), catalog.labels[rows]
        self._names = [*catalog.classes, "no class"]  # label -1 takes the last
        self._pixels = torch.from_numpy(pixels).permute(0, 3, 1, 2)
        self._keys = image_keys(options.seed, self._paths)
        self._preprocessing, self._augmentation = preprocessing, options.augmentation

    def images(self, count: int, num_epochs: int) -> list[AugmentedImage]:
        """The first `count`, each in the first epochs."""
        originals = self._shown(self._pixels.float() / 255)
        epochs = np.stack(
            [self._shown(self._augmented(epoch)[0]) for epoch in range(num_epochs)], axis=1
        )
        return [
            AugmentedImage(
                self._paths[row], self._names[self._labels[row]], originals[row], epochs[row]
            )
            for row in range(count)
        ]

    def mixed(self, epoch: int) -> list[MixedImage]:
        """All of them mixed with each other, as in an epoch, counted from 0."""
        import torch

        from tellapart.images.augmentation import mix

        seen, keys = self._augmented(epoch)
        targets = torch.eye(len(self._names))[torch.from_numpy(self._labels)]
        images, shares = mix(seen, targets, keys, self._augmentation)
        return [
            MixedImage(pixels, _shares(self._names, row))
            for pixels, row in zip(self._shown(images), shares.tolist(), strict=True)
        ]

    def _augmented(self, epoch: int) -> tuple[Tensor, NDArray[np.uint64]]:
        from tellapart.images.augmentation import augment
        from tellapart.images.sampling import sample_keys

        keys = sample_keys(self._keys, epoch)
        return augment(self._pixels, keys, self._augmentation, self._preprocessing.mean), keys

    def _shown(self, images: Tensor) -> NDArray[np.uint8]:
        """(N, S, S, 3) uint8: the values before they are normalised, as luminance where the network
        takes that.
        """
        levels = images.permute(0, 2, 3, 1).numpy()
        if self._preprocessing.grey:
            levels = np.repeat(
                (levels * np.array(LUMINANCE, np.float32)).sum(axis=3, keepdims=True), 3, axis=3
            )
        return (255 * levels).round().clip(0, 255).astype(np.uint8)


def _rows(catalog: Catalog, image: str | None, seed: int) -> list[int]:
    """Which rows to show, the first ones first: the named image, then one train image of each
    class, and so on.
    """
    named = []
    if image is not None:
        paths = catalog.paths.tolist()
        named = [paths.index(choose("image", escape(image), paths))]
    train = np.flatnonzero((catalog.labels >= 0) & np.isin(catalog.given_splits, ("", "train")))
    shuffled = train[np.argsort(keyed_numbers(seed, "shown augmented", catalog.paths[train]))]
    seen: Counter[int] = Counter()
    rounds = np.zeros(len(shuffled), np.int64)
    for place, label in enumerate(catalog.labels[shuffled].tolist()):
        rounds[place] = seen[label]
        seen[label] += 1
    others = shuffled[np.lexsort((catalog.labels[shuffled], rounds))].tolist()
    return [*named, *(row for row in others if row not in named)]


def _read(
    catalog: Catalog,
    rows: Iterable[int],
    preprocessing: Preprocessing,
    rules: DecodeRules,
    count: int,
    named: str | None,
) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """The first `count` that can be used: their rows, and (count, S, S, 3) uint8, resized. The
    named one must be.
    """
    found: list[tuple[int, NDArray[np.uint8]]] = []
    for row, decoded in _decoded(catalog, rows, rules):
        if decoded.pixels is not None:
            found.append((row, preprocessing.resized(decoded.pixels)))
        elif named is not None and not found:
            raise UserError(
                f"{named} is {decoded.status}. {decoded.detail}", STATUSES[decoded.status]
            )
        if len(found) == count:
            break
    if not found:
        raise UserError("No train image can be used.", "Look at them first: tellapart explore DATA")
    return np.array([row for row, _ in found]), np.stack([pixels for _, pixels in found])


def _decoded(
    catalog: Catalog, rows: Iterable[int], rules: DecodeRules
) -> Iterator[tuple[int, Decoded]]:
    for row in rows:
        content = catalog.files.read(catalog.paths[row])
        yield (
            row,
            (content if isinstance(content, Decoded) else decode(content, rules=rules)),
        )


def _used(options: AugmentationOptions) -> dict[str, Any]:
    """The options that do something, with those that say how."""
    values, plain = dataclasses.asdict(options), dataclasses.asdict(AugmentationOptions())
    leaders = {name: leader for leader, names in COMPANIONS.items() for name in names}
    return {
        name: value
        for name, value in values.items()
        if (bool(values[leaders[name]]) if name in leaders else value != plain[name])
    }


def _shares(names: Sequence[str], shares: Sequence[float]) -> tuple[str, ...]:
    """What a mixed image is, in words, the larger part first."""
    parts = sorted(
        ((share, name) for share, name in zip(shares, names, strict=True) if share > 0),
        reverse=True,
    )
    return tuple(f"{percent(share, 0)} {name}" for share, name in parts)
