"""Train images as the network will see them, epoch by epoch, as a page."""

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

SMALL_PX = 64  # up to this side an image is shown pixel by pixel
_SIDE_PX = 256  # of larger ones

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class AugmentedImage:
    """One image, and what becomes of it.

    Args:
        path: relative to the catalog's root.
        label: its class.
        original: (S, S, 3) uint8, only resized.
        versions: (E, S, S, 3) uint8, one for each epoch from the first.
    """

    path: str
    label: str
    original: Pixels
    versions: Pixels


@dataclass(frozen=True, eq=False)
class MixedImage:
    """An image made of two: (S, S, 3) uint8, and how much of which class it is, a line each."""

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
        title: of the page, for example the data's name.
        created: when, as it is to be read.
        mixed: batches of mixed images, one for each epoch from the first; none where the recipe
            mixes none.
        facts: what the recipe says of augmentation, name → value.
        measured: all flips and turns are shown, of which a training finds out which it makes.
        views: versions of each image of which a training keeps what its frozen part makes; None: it
            keeps none.

    Raises:
        UserError: if jinja2 is not installed.
    """
    sections = [
        ("images", "Epoch by epoch"),
        *([("mixed", "Mixed")] if mixed else []),
        ("recipe", "The recipe"),
    ]
    return render_document(
        "augment/page.html.jinja",
        contents=sections,
        title=title,
        created=created,
        images=[(one.label, one.path, _row(one)) for one in images],
        mixed=[
            [_figure(one.pixels, ", ".join(one.lines), *one.lines) for one in batch]
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
    return [_figure(image.original, image.path, "as it is"), *versions]


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
