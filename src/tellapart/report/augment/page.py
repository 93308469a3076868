"""The page of `explore --augment`: training images as the network sees them in each epoch."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tellapart.decoding import encode_thumbnail
from tellapart.report.parts.document import render_document

SMALL_PX = 64  # up to this side, an image keeps every pixel
_SIDE_PX = 256  # of larger ones

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class AugmentedImage:
    """One image and its augmented versions.

    Args:
        path: the path relative to the catalog's root.
        label: its class.
        original: (S, S, 3) uint8, the image, only resized.
        versions: (E, S, S, 3) uint8, one version for each epoch from the first.
    """

    path: str
    label: str
    original: Pixels
    versions: Pixels


@dataclass(frozen=True, eq=False)
class MixedImage:
    """A mix of two images: (S, S, 3) uint8, and a line for each class with its share."""

    pixels: Pixels
    lines: tuple[str, ...]


@dataclass(frozen=True)
class _Figure:
    """An image as the template draws it."""

    source: str
    lines: tuple[str, ...]
    alt: str
    is_small: bool


def render_augmented(
    title: str,
    created: str,
    images: Sequence[AugmentedImage],
    mixed: Sequence[Sequence[MixedImage]],
    facts: Mapping[str, str],
    *,
    measured: bool = False,
    views: int | None = None,
) -> str:
    """The page as one self-contained HTML document.

    Args:
        title: the title of the page, for example the name of the data.
        created: the time of the page, as `wording.timestamp` words it.
        images: the images and their versions.
        mixed: one batch of mixed images for each epoch. Empty if the recipe mixes no images.
        facts: the augmentation settings of the recipe, name → value.
        measured: whether training first measures which flips and rotations to use.
        views: how many versions of each image the frozen part's outputs are kept for. None means
            that they are not kept.

    Raises:
        UserError: if jinja2 is not installed.
    """
    sections = [
        ("images", "Epoch by epoch"),
        *([("mixed", "Mixed images")] if mixed else []),
        ("recipe", "The recipe"),
    ]
    return render_document(
        "augment/page.html.jinja",
        contents=sections,
        title=title,
        created=created,
        images=[(image.label, image.path, _row(image)) for image in images],
        mixed=[
            [_figure(image.pixels, ", ".join(image.lines), *image.lines) for image in batch]
            for batch in mixed
        ],
        facts_of_recipe=facts,
        measured=measured,
        views=views,
    )


def _row(image: AugmentedImage) -> list[_Figure]:
    versions = [
        _figure(pixels, f"{image.path} in epoch {epoch}", f"epoch {epoch}")
        for epoch, pixels in enumerate(image.versions, start=1)
    ]
    return [_figure(image.original, image.path, "original"), *versions]


def _figure(pixels: Pixels, alt: str, *lines: str) -> _Figure:
    is_small = max(pixels.shape[:2]) <= SMALL_PX
    if is_small:
        out = io.BytesIO()
        Image.fromarray(pixels).save(out, "PNG", optimize=True)
        kind, content = "png", out.getvalue()
    else:
        kind, content = "jpeg", encode_thumbnail(pixels, _SIDE_PX)
    return _Figure(
        f"data:image/{kind};base64,{base64.b64encode(content).decode()}", lines, alt, is_small
    )
