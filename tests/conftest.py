"""Shared fixtures: small generated folders of images, and a cache folder that is not the user's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from PIL import Image

# The same examples every time, and none too slow for a busy machine.
settings.register_profile(
    "tests", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("tests")

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


def write_classes(folder: Path, count: int, *, first_seed: int = 0) -> Path:
    """`count` images of each of KINDS, one folder a class; no content is the same as under another
    `first_seed` that is at least `count` away. Returns the folder.
    """
    for name, (colour, pattern) in KINDS.items():
        for seed in range(first_seed, first_seed + count):
            write_image(folder / name / f"{seed:03}.jpg", seed, colour=colour, pattern=pattern)
    return folder


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One cache folder for the whole session: the user's is never touched, and a network is
    exported once.
    """
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setenv("TELLAPART_CACHE", str(folder))
        yield folder


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder with one folder a class: brick, leaf and sky, 12 images each."""
    return write_classes(tmp_path / "photos", 12)


@pytest.fixture
def split_photos(tmp_path: Path) -> Path:
    """A folder with train/ (10 images a class) and test/ (4 a class); no val."""
    write_classes(tmp_path / "split_photos" / "train", 10)
    write_classes(tmp_path / "split_photos" / "test", 4, first_seed=100)
    return tmp_path / "split_photos"
