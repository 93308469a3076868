"""Colours by their ICC profile → sRGB.

Profiles are told apart by what they do: one that changes no colour by more than rounding is sRGB
under some name, and costs and says nothing. Transforms are kept, since a data set has few profiles.
"""

from __future__ import annotations

import functools
import io
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from tellapart.decoders.rules import DecodeRules
from tellapart.decoders.verdict import Trace

if TYPE_CHECKING:
    from PIL import ImageCms

_KEPT = 64  # transforms; a profile of printing inks takes a megabyte
_ROUNDING = 3  # levels of 255: what sRGB profiles of different makers differ by
_MODE_OF_SPACE = {"RGB ": "RGB", "GRAY": "L", "CMYK": "CMYK"}


def to_srgb(img: Image.Image, rules: DecodeRules, trace: Trace) -> Image.Image | None:
    """An image without transparency as RGB of sRGB; None where its profile asks for no change.

    Args:
        trace: gets a note where colours were converted, or could not be.
    """
    profile = img.info.get("icc_profile")
    # Lab is a space of its own, which Pillow converts.
    if not profile or rules.colour == "ignore" or img.mode == "LAB":
        return None
    try:
        mode = _mode_of(bytes(profile))
        transform = _transform(bytes(profile), mode)
    except Exception:  # a damaged profile raises several types of error
        trace.notes.append("bad_profile")
        return None
    if not _fits(img.mode, mode):
        trace.notes.append("bad_profile")
        return None
    if transform is None:
        return None
    trace.notes.append("colour_profile")
    trace.decoded_by.append("colour profile")
    return transform.apply(img if img.mode == mode else img.convert(mode))


def _fits(of_image: str, of_profile: str) -> bool:
    """Whether a profile of one mode can say anything of an image of the other. Cameras write the
    profile of RGB into grey files too.
    """
    if "CMYK" in (of_image, of_profile):
        return of_image == of_profile
    return of_profile == "RGB" or of_image in ("L", "1")


@functools.lru_cache(maxsize=_KEPT)
def _mode_of(profile: bytes) -> str:
    """The mode of Pillow that a profile's colours are of.

    Raises:
        KeyError: its colours are of another kind, as LAB.
    """
    return _MODE_OF_SPACE[profile[16:20].decode("latin-1")]


@functools.lru_cache(maxsize=_KEPT)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """The transform of a profile's colours to sRGB; None for a profile that is sRGB."""
    from PIL import ImageCms  # its library is loaded where there is a profile

    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    target = ImageCms.createProfile("sRGB")
    intent = ImageCms.Intent.RELATIVE_COLORIMETRIC
    if mode == "CMYK":
        intent = (
            ImageCms.Intent.PERCEPTUAL
        )  # inks reach colours that sRGB does not, and the reverse
    # LittleCMS keeps the last colour in the transform itself. Without it, threads can share one.
    flags = ImageCms.Flags.NOCACHE
    transform = ImageCms.ImageCmsTransform(
        source, ImageCms.ImageCmsProfile(target), mode, "RGB", intent, flags=flags
    )
    if mode == "CMYK":
        return transform
    sample = _sample(mode)
    changed = np.asarray(transform.apply(sample)).astype(int) - np.asarray(sample.convert("RGB"))
    return None if np.abs(changed).max() <= _ROUNDING else transform


def _sample(mode: str) -> Image.Image:
    """Colours from the whole space, or all greys."""
    if mode == "L":
        return Image.fromarray(np.arange(256, dtype=np.uint8)[None])
    steps = np.linspace(0, 255, 9).astype(np.uint8)
    return Image.fromarray(np.stack(np.meshgrid(steps, steps, steps), -1).reshape(9, 81, 3))
