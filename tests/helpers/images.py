"""Small images that are generated, and folders of them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from tellapart.decoding import decode

# Class name → (mean colour, pattern): easy to tell apart for any pretrained network, and in the
# order of the names.
KINDS = {
    "brick": ((190, 80, 60), "checks"),
    "leaf": ((70, 160, 60), "stripes"),
    "sky": ((110, 150, 230), "rings"),
}


def write_image(
    path: Path,
    seed: int = 0,
    *,
    colour: tuple[int, int, int] = (128, 128, 128),
    pattern: str = "checks",
    size: tuple[int, int] = (64, 48),
) -> Path:
    """Write a small image whose content depends on all arguments; makes its folder, returns its
    path.

    The name's suffix decides the format. `pattern` is "checks", "stripes" or "rings"; `size` is
    (width, height).
    """
    rng = np.random.default_rng(seed)
    across, down = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
    scale, turn = rng.uniform(0.25, 0.4), rng.uniform(-0.2, 0.2)
    waves = {
        "checks": np.sign(np.sin(scale * across) * np.sin(scale * down)),
        "stripes": np.sin(scale * 2 * (across + turn * down)),
        "rings": np.sin(scale * np.hypot(across - size[0] / 2, down - size[1] / 2)),
    }[pattern]
    noise = rng.normal(0, 12, (size[1], size[0], 3))
    # Clouds, by which no two are near-duplicates.
    clouds = Image.fromarray(rng.uniform(0, 255, (5, 6)).astype(np.uint8)).resize(
        size, Image.Resampling.BICUBIC
    )
    light = (np.asarray(clouds, np.float64)[:, :, None] - 128) / 4
    pixels = np.array(colour) + 45 * waves[:, :, None] + light + noise
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path)
    return path


def write_names(folder: Path, names: Iterable[str]) -> Path:
    """Empty files of some names in a folder, for what does not open them. Returns the folder."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def write_classes(folder: Path, count: int, *, first_seed: int = 0) -> Path:
    """`count` images of each of KINDS, one folder a class; no content is the same as under another
    `first_seed` that is at least `count` away. Returns the folder.
    """
    for name, (colour, pattern) in KINDS.items():
        for seed in range(first_seed, first_seed + count):
            write_image(folder / name / f"{seed:03}.jpg", seed, colour=colour, pattern=pattern)
    return folder


def write_tiny(folder: Path, count: int = 12, kinds: tuple[str, ...] = tuple(KINDS)) -> Path:
    """`count` images of 32 pixels of each kind, one folder a class; returns the folder."""
    for name in kinds:
        colour, pattern = KINDS[name]
        for seed in range(count):
            write_image(
                folder / name / f"{seed:03}.png",
                seed,
                colour=colour,
                pattern=pattern,
                size=(32, 32),
            )
    return folder


def pixels_of(data: bytes) -> np.ndarray:
    decoded = decode(data)
    assert decoded.status == "ok", decoded
    assert decoded.pixels is not None
    return decoded.pixels.astype(int)
