"""Cues: what a file says of an image without its content, such as size, compression and borders."""

from __future__ import annotations

import io
import posixpath
import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tellapart.catalog.table import Catalog, Column, text_column
from tellapart.decoders.rules import DecodeRules
from tellapart.decoding import decode
from tellapart.threads import map_ahead

SHARP_SIDE = 256  # px, of the longest side at which sharpness is measured
BORDER_SHARE = 0.02  # of the shorter side that counts as border; 1 px at least
PLAIN = 8.0  # the spread of the brightness of a border that is one colour
MEASURED = (
    "bytes",
    "compression",
    "border_brightness",
    "border_spread",
    "border_step",
    "red",
    "green",
    "blue",
    "sharpness",
)

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Cues:
    """What the files of M images say without their content.

    Args:
        numbers: name → (M,) float64, NaN where it is not known.
        words: name → (M,) str, for example the format, or "" where it is not known.
    """

    numbers: dict[str, Floats]
    words: dict[str, Column]


def measure_cues(
    catalog: Catalog, rows: NDArray[np.int64], advance: Callable[[], None] | None = None
) -> Cues:
    """The cues of some images, which are read once more.

    Args:
        catalog: scanned.
        rows: (M,) of usable images.
        advance: called after each image.
    """
    measured = np.full((len(rows), len(MEASURED)), np.nan)
    kinds = []
    found = map_ahead(
        lambda path: _of_file(catalog.files.read(path), catalog.rules), catalog.paths[rows].tolist()
    )
    for place, (kind, values) in enumerate(found):
        kinds.append(kind)
        measured[place] = values
        if advance:
            advance()
    widths, heights = (
        column[rows].astype(np.float64) for column in (catalog.widths, catalog.heights)
    )
    numbers = dict(zip(MEASURED, measured.T, strict=True))
    with np.errstate(divide="ignore", invalid="ignore"):
        numbers |= {
            "width": widths,
            "height": heights,
            "aspect": widths / heights,
            "bytes_a_pixel": numbers["bytes"] / (widths * heights),
        }
    taken = [str(value) for value in catalog.taken[rows]]
    numbers["year"] = np.array([float(value[:4]) if value else np.nan for value in taken])
    numbers["hour"] = np.array([float(value[11:13]) if value else np.nan for value in taken])
    words = {
        "kind": text_column(kinds),
        "camera": text_column(value.partition("|")[2] for value in taken),
        "name": text_column(name_patterns(catalog, rows)),
    }
    return Cues(numbers, words)


def name_patterns(catalog: Catalog, rows: NDArray[np.int64]) -> list[str]:
    """The pattern of each file's own name: its words, "0" for digits, and how it ends.

    Words that a class is called by are left out. A name like cat.12.jpg says what the folder says.

    >>> from tellapart.sources.source import read_source
    >>> catalog = read_source([("IMG_12.jpg", "cats"), ("cat.7.png", "cats"), ("x.jpg", "dogs")])
    >>> name_patterns(catalog, np.arange(3))
    ['img_0.jpg', '.0.png', 'x.jpg']
    """
    known = {word for name in catalog.classes for word in _words(name)}
    patterns = []
    for path in catalog.paths[rows].tolist():
        stem, ending = posixpath.splitext(posixpath.basename(path).lower())
        # Hashes and serial numbers are letters and digits in turns: nothing but their form counts.
        stem = re.sub(r"[0-9a-f]*[0-9][0-9a-f]*", "0", _without(stem, known))
        patterns.append(re.sub(r"(0[_\-. ]?)+", "0", stem) + ending.replace(".jpeg", ".jpg"))
    return patterns


def _words(name: str) -> set[str]:
    lowered = name.lower()
    parts = {lowered, *re.split(r"[\W_]+", lowered)}
    singular = {part.removesuffix("s") for part in parts}
    return {part for part in parts | singular if len(part) > 1}


def _without(stem: str, words: set[str]) -> str:
    for word in sorted(words, key=len, reverse=True):
        stem = stem.replace(word, "")
    return stem


def _of_file(data: object, rules: DecodeRules) -> tuple[str, Floats]:
    """The kind of a file, and the numbers of `MEASURED`."""
    values = np.full(len(MEASURED), np.nan)
    if not isinstance(data, bytes):
        return "", values
    kind, compression = _form(data)
    pixels = decode(data, rules=rules).pixels
    if pixels is None:
        return kind, values
    return kind, np.array(
        [len(data), compression, *_border(pixels), *_colour(pixels), _sharpness(pixels)]
    )


def _form(data: bytes) -> tuple[str, float]:
    """Format, mode and JPEG tables of a file as a word, and the mean of its quantization table.

    The mean stands for the quality: 1 is the best. It is NaN for formats without tables.
    """
    try:
        with Image.open(io.BytesIO(data)) as img:
            tables = getattr(img, "quantization", None) or {}
            layers = getattr(img, "layer", ())
            word = f"{img.format} {img.mode}{' progressive' * bool(img.info.get('progressive'))}"
            sampling = "".join(f" {layer[1]}x{layer[2]}" for layer in layers[:1])
            first = next(iter(tables.values()), None)
            mean = float(np.mean(first)) if first else np.nan
            return f"{word}{sampling}", mean
    except Exception:  # decoders raise errors of any type; the scan has decoded it another way
        return "", np.nan


def _border(pixels: NDArray[np.uint8]) -> tuple[float, float, float]:
    """Brightness and spread of the border, and the step in brightness behind it."""
    height, width = pixels.shape[:2]
    wide = max(1, round(BORDER_SHARE * min(height, width)))
    grey = pixels[..., 1].astype(np.float32)  # green alone is near enough to brightness
    sides = [grey[:wide], grey[-wide:], grey[:, :wide].T, grey[:, -wide:].T]
    inner = [
        grey[wide : 2 * wide],
        grey[-2 * wide : -wide],
        grey[:, wide : 2 * wide].T,
        grey[:, -2 * wide : -wide].T,
    ]
    edge = np.concatenate([side.ravel() for side in sides])
    steps = [
        abs(float(side.mean()) - float(next_to.mean()))
        for side, next_to in zip(sides, inner, strict=True)
        if next_to.size
    ]
    # Without a frame the border is content, and its brightness says nothing.
    brightness = float(edge.mean()) if edge.std() < PLAIN else float("nan")
    return brightness, float(edge.std()), max(steps, default=0.0)


def _colour(pixels: NDArray[np.uint8]) -> tuple[float, float, float]:
    """The mean of red, green and blue, 0 to 255, on every fourth pixel of large images."""
    step = 4 if min(pixels.shape[:2]) >= 64 else 1
    red, green, blue = pixels[::step, ::step].reshape(-1, 3).mean(axis=0).tolist()
    return red, green, blue


def _sharpness(pixels: NDArray[np.uint8]) -> float:
    """The variance of the Laplacian over that of the brightness; low where an image is blurred.

    Source: Pech-Pacheco et al. 2000, https://doi.org/10.1109/ICPR.2000.903548.
    """
    img = Image.fromarray(pixels).convert("L")
    img.thumbnail((SHARP_SIDE, SHARP_SIDE), Image.Resampling.BOX)
    grey = np.asarray(img, np.float32)
    if min(grey.shape) < 3 or grey.var() < 1:
        return float("nan")
    middle = grey[1:-1, 1:-1]
    bends = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:] - 4 * middle
    return float(bends.var() / grey.var())
