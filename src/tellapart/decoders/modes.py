"""A loaded image of any mode of Pillow → RGB."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tellapart.decoders import tiffs
from tellapart.decoders.colour import to_srgb
from tellapart.decoders.grounds import on_ground
from tellapart.decoders.levels import Kind, measure, range_of_set, to_grey
from tellapart.decoders.rules import FULL_RANGE, OLD_CONTRACT, DecodeRules
from tellapart.decoders.verdict import Refusal, Trace

_RANGELESS: dict[Kind, str] = {
    "integer": "whole numbers with a sign or of 32 bits",
    "float": "floating-point numbers",
}


def to_rgb(img: Image.Image, data: bytes, rules: DecodeRules, trace: Trace) -> Image.Image:
    """An image as RGB.

    Args:
        data: the whole file; b"" where there is none.
        trace: gets notes, and what the pixels depend on.

    Raises:
        Refusal: its values have a range that is not known.
    """
    if img.mode in ("I", "F") or img.mode.startswith("I;16"):
        return _from_deep(img, rules, trace)
    if img.mode != "RGB" or "transparency" in img.info:
        if is_infrared(img, rules):
            img = img.convert("RGB")
        elif img.has_transparency_data:
            return _without_transparency(img, data, rules, trace)
    if (converted := to_srgb(img, rules, trace)) is not None:
        return converted
    if img.mode == "RGB":
        return img
    if img.mode == "CMYK":
        # JPEG stores inks inverted when written by Adobe, and by Pillow. Without Adobe's marker the
        # file does not say; Pillow inverts then too, as browsers do, so nothing that it writes
        # comes back as a negative.
        trace.notes.append("cmyk_converted")
    return img.convert("RGB")  # CMYK by the plain ink formula, LAB to sRGB by ImageCms


def is_infrared(img: Image.Image, rules: DecodeRules) -> bool:
    """Whether the fourth band of a TIFF is not said to be transparency. Pillow takes it as such."""
    tags = getattr(img, "tag_v2", None)
    is_unnamed = tags is not None and not any(kind in (1, 2, 999) for kind in _extra(tags))
    return is_unnamed and img.mode == "RGBA" and rules.contract > OLD_CONTRACT


def _extra(tags: Any) -> tuple[int, ...]:
    found = tags.get(tiffs.EXTRA_SAMPLES, ())
    return found if isinstance(found, tuple) else (found,)


# ── more than 8 bits ──


def _from_deep(img: Image.Image, rules: DecodeRules, trace: Trace) -> Image.Image:
    """Values of more than 8 bits, scaled to 8. Pillow's own convert() would clip everything above
    255 to white.
    """
    values = np.asarray(img)
    tags = getattr(img, "tag_v2", {})
    kind = _kind_of(img)
    trace.notes.append("16_bit_scaled" if kind == "16-bit" else "range_scaled")
    if kind == "float" and not np.isfinite(values).all():
        trace.notes.append("not_finite")
    grey = to_grey(values, *range_for(values, kind, _declared_top(img), rules, trace))
    if tags.get(tiffs.PHOTOMETRIC) == 0:  # white is zero; Pillow turns 8-bit greys but not these
        grey = 255 - grey
    if "transparency" in img.info and (hidden := values == img.info["transparency"]).any():
        grey[hidden] = 255
        trace.notes.append("transparent" if hidden.all() else "alpha_on_white")
    return Image.fromarray(grey).convert("RGB")


def _kind_of(img: Image.Image) -> Kind:
    if img.mode == "F":
        return "float"
    # Pillow opens a PGM of 16 bits as whole numbers, scaled to 65,535 by the highest value that the
    # file declares.
    return "integer" if img.mode == "I" and img.format != "PPM" else "16-bit"


def _declared_top(img: Image.Image) -> int | None:
    """The value of white where the file declares another than that of its type."""
    tags = getattr(img, "tag_v2", {})
    bits = int(tags.get(tiffs.BITS_PER_SAMPLE, (16,))[0])
    if bits < 16:  # a TIFF of 12 bits opens in the mode of 16, unscaled
        return int(2**bits - 1)
    return None


def range_for(
    values: NDArray[Any], kind: Kind, declared: int | None, rules: DecodeRules, trace: Trace
) -> tuple[float, float]:
    """What becomes black and white in an image's values.

    Raises:
        Refusal: no range is known, and values of this kind have none of their own.
    """
    if declared is not None:
        return 0.0, float(declared)
    trace.levels = measure(values, kind)
    if rules.ranges is None:  # whoever asks for this knows of no other image yet
        return range_of_set([trace.levels]) if trace.levels else FULL_RANGE
    found = rules.range_of(kind)
    if found is None:
        raise Refusal(
            "unsupported",
            f"Its pixels are {_RANGELESS[kind]}, whose range is not known. Save it with 8 or 16"
            " bits first.",
        )
    trace.decoded_by.append(range_text(kind, rules))
    return found


def range_text(kind: Kind, rules: DecodeRules) -> str:
    """How `Decoded.decoded_by` names the range of a kind of values."""
    found = rules.range_of(kind)
    return f"{kind} values from {found[0]!r} to {found[1]!r}" if found else f"no range of {kind}"


# ── transparency ──


def _without_transparency(
    img: Image.Image, data: bytes, rules: DecodeRules, trace: Trace
) -> Image.Image:
    """Lay the image on a ground. The hidden colour of fully transparent parts has no effect."""
    profile = img.info.get("icc_profile")
    if img.format == "PNG" and "transparency" in img.info:
        img = _with_scaled_key(img, data)
    # Pillow converts La to LA only.
    rgba = (img.convert("LA") if img.mode == "La" else img).convert("RGBA")
    alpha = rgba.getchannel("A")
    rgb = rgba.convert("RGB")
    rgb.info["icc_profile"] = profile
    colours = to_srgb(rgb, rules, trace) or rgb
    if alpha.getextrema() == (255, 255):
        return colours
    if alpha.getextrema() == (0, 0):
        if img.format == "BMP":
            # Programs that fill 32 bits a pixel leave the last eight at zero. Browsers show the
            # colours.
            trace.notes.append("alpha_ignored")
            return colours
        trace.notes.append("transparent")
        return Image.new("RGB", img.size, "white")
    colours.putalpha(alpha)
    return on_ground(colours, rules, trace)


def _with_scaled_key(img: Image.Image, data: bytes) -> Image.Image:
    """The image with its one transparent colour in 8 bits, as its pixels are. Pillow leaves that
    colour in the depth of the PNG file.
    """
    key = img.info["transparency"]
    if data:  # noqa: SIM108 - the reason below needs a line of its own
        depth = data[24]
    else:  # no file to ask: a key above 255 can only be one of 16 bits
        depth = 16 if isinstance(key, tuple) and max(key) > 255 else 8
    if img.mode == "L" and depth < 8:
        key = key * 255 // (2**depth - 1)
    elif img.mode == "RGB" and depth == 16:
        key = tuple(value >> 8 for value in key)
    else:
        return img
    scaled = img.copy()  # the image may be the caller's own, and is not changed
    scaled.info["transparency"] = key
    return scaled
