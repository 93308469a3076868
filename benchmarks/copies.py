"""Which copies of images are found, and what is found where nobody planted any?

    python benchmarks/copies.py DATA... [--copies 400] [--only NAME,NAME] [--out result.json]
    python benchmarks/copies.py --crowds 160x50,10x700 [--out result.json]

Into each folder of images, copies of some of them are planted: saved again, resized, cropped,
brightened, and all of these, one kind at a time; and the edits of offline augmentation. The search
by thumbnails alone looks for them. `augmented.py` measures the one that has embeddings too.

Then the same search runs over the images alone, over the solar cells of `elpv-dataset` and over
fashion-mnist where these are installed: what it finds there is really in the data, or false, and
one has to look.

Crowds are scenes of which there are many shots that differ in noise: 160x50 is 160 scenes of 50
shots. Reported are into how many pieces the pairs join a scene, and how long the search takes.
"""

from __future__ import annotations

import argparse
import gzip
import importlib.util
import io
import json
import shutil
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance
from recording import about, found_share

import tellapart
from tellapart.catalog.near import near_duplicates
from tellapart.catalog.thumbnails import THUMBNAIL_BYTES, make_thumbnail
from tellapart.catalog.unions import united
from tellapart.cores import usable_cores
from tellapart.decoding import decode_file
from tellapart.keyed import keyed_numbers

SEED = 0
SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
FASHION = Path("/usr/share/datasets/fashion-mnist")

Pixels = NDArray[np.uint8]
Print = tuple[bytes, int, int]  # and the width and height of the image


def saved(img: Image.Image, rng: np.random.Generator) -> Image.Image:
    file = io.BytesIO()
    img.save(file, "JPEG", quality=int(rng.integers(40, 96)))
    return Image.open(file).convert("RGB")


def resized(img: Image.Image, rng: np.random.Generator) -> Image.Image:
    filters = (Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS)
    width = max(1, round(img.width * rng.uniform(0.5, 1)))
    height = max(1, round(img.height * width / img.width * rng.uniform(0.99, 1.01)))
    return img.resize((width, height), filters[rng.integers(3)])


def cropped(img: Image.Image, rng: np.random.Generator, most: float = 0.05) -> Image.Image:
    """Up to 5 % of the width and of the height in all, at any offset."""
    (left, top), (x, y) = rng.uniform(0, 1, 2), rng.uniform(0, most, 2) * img.size
    left, top = round(left * x), round(top * y)
    return img.crop((left, top, img.width - round(x) + left, img.height - round(y) + top))


def cropped_more(img: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Up to 5 % of every side."""
    left, top, right, bottom = (
        np.rint(rng.uniform(0, 0.05, 4) * (*img.size, *img.size)).astype(int).tolist()
    )
    return img.crop((left, top, img.width - right, img.height - bottom))


def brightened(img: Image.Image, rng: np.random.Generator) -> Image.Image:
    return ImageEnhance.Brightness(img).enhance(rng.uniform(0.9, 1.1))


KINDS: dict[str, tuple[Callable[[Image.Image, np.random.Generator], Image.Image], ...]] = {
    "JPEG quality 40 to 95": (saved,),
    "half to full size": (resized,),
    "5 % cropped": (cropped,),
    "5 % cropped on every side": (cropped_more,),
    "a tenth brighter or darker": (brightened,),
    "all, 5 % cropped": (cropped, resized, brightened, saved),
    "all, 5 % on every side": (cropped_more, resized, brightened, saved),
}


def cropped_by_a_fifth(img: Image.Image, rng: np.random.Generator) -> Image.Image:
    """A fifth of the width and of the height in all, at any offset."""
    width, height = round(0.8 * img.width), round(0.8 * img.height)
    left = int(rng.integers(img.width - width + 1))
    top = int(rng.integers(img.height - height + 1))
    return img.crop((left, top, left + width, top + height))


# What is done to images before a set is published, so that there are more of them.
EDITS: dict[str, tuple[Callable[[Image.Image, np.random.Generator], Image.Image], ...]] = {
    "mirrored": (lambda img, rng: img.transpose(Image.Transpose.FLIP_LEFT_RIGHT),),
    "a quarter turn": (lambda img, rng: img.transpose(Image.Transpose.ROTATE_90),),
    "turned by 12 degrees": (lambda img, rng: img.rotate(12),),
    "a fifth cropped": (cropped_by_a_fifth,),
    "brightness 0.7": (lambda img, rng: ImageEnhance.Brightness(img).enhance(0.7),),
    "brightness 1.3": (lambda img, rng: ImageEnhance.Brightness(img).enhance(1.3),),
}


def read_folder(folder: Path) -> list[Pixels]:
    """Every image that decodes, in the order of names, without exact copies."""
    files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in SUFFIXES)
    different = {file.read_bytes(): file for file in reversed(files)}.values()
    decoded = (decode_file(file) for file in sorted(different))
    return [image.pixels for image in decoded if image.pixels is not None]


def read_fashion() -> list[Pixels]:
    found = []
    for part in ("train", "t10k"):
        data = gzip.decompress((FASHION / f"{part}-images-idx3-ubyte.gz").read_bytes())
        found += [
            np.repeat(grey[:, :, None], 3, 2)
            for grey in np.frombuffer(data, np.uint8, offset=16).reshape(-1, 28, 28)
        ]
    return found


def print_of(pixels: Pixels) -> Print:
    return make_thumbnail(pixels), pixels.shape[1], pixels.shape[0]


def search(thumbnails: list[Print]) -> tuple[NDArray[np.int64], float]:
    """The pairs found, and in how many seconds."""
    rows = np.frombuffer(b"".join(row for row, _, _ in thumbnails), np.uint8).reshape(
        -1, THUMBNAIL_BYTES
    )
    widths, heights = (np.array([row[column] for row in thumbnails], np.int64) for column in (1, 2))
    start = time.perf_counter()
    return near_duplicates(rows, widths, heights).pairs, time.perf_counter() - start


def plain(images: list[Pixels]) -> tuple[list[Print], dict[str, Any]]:
    start = time.perf_counter()
    thumbnails = [print_of(pixels) for pixels in images]
    milliseconds = 1000 * (time.perf_counter() - start) / len(images)
    pairs, seconds = search(thumbnails)
    row = {"images": len(images), "print_milliseconds": milliseconds, "search_seconds": seconds}
    return thumbnails, row | {
        "pairs_unplanted": len(pairs),
        "images_in_pairs": len(np.unique(pairs)),
    }


def recall(images: list[Pixels], thumbnails: list[Print], copies: int) -> dict[str, Any]:
    """For each kind of change, the share of planted copies that are paired with their image."""
    chosen = keyed_numbers(SEED, "copies", map(str, range(len(images)))).argsort()[:copies].tolist()
    found = {}
    for kind, changes in {**KINDS, **EDITS}.items():
        planted = []
        for row, key in zip(chosen, keyed_numbers(SEED, kind, map(str, chosen)), strict=True):
            img, rng = Image.fromarray(images[row]), np.random.default_rng(key)
            for change in changes:
                img = change(img, rng)
            planted.append(print_of(np.asarray(img)))
        pairs = {(int(i), int(j)) for i, j in search([*thumbnails, *planted])[0]}
        right = sum((row, len(thumbnails) + number) in pairs for number, row in enumerate(chosen))
        found[kind] = found_share(right, len(chosen))
        low, high = found[kind]["interval"]
        print(f"  {kind:28} {found[kind]['share']:6.1%} ({low:.1%} to {high:.1%})", flush=True)
    return found


def crowd(scenes: int, shots: int) -> dict[str, Any]:
    """Many shots of each of some scenes: the pieces that a scene falls into, and the seconds."""
    thumbnails = []
    for number in range(scenes):
        rng = np.random.default_rng(number)
        scene = np.zeros((90, 120, 3))
        for grid, strength in ((3, 60), (8, 40), (20, 25)):
            noise = rng.normal(128, strength, (grid, grid, 3)).clip(0, 255).astype(np.uint8)
            layer = Image.fromarray(noise).resize((120, 90), Image.Resampling.BICUBIC)
            scene += np.asarray(layer, float) - 128
        for _ in range(shots):
            shot = (scene + 128 + rng.normal(0, 4, scene.shape)).clip(0, 255).astype(np.uint8)
            thumbnails.append(print_of(np.asarray(saved(Image.fromarray(shot), rng))))
    pairs, seconds = search(thumbnails)
    pieces = united(len(thumbnails), pairs.tolist()).reshape(scenes, shots)
    return {
        "pieces": float(np.mean([len(np.unique(row)) for row in pieces])),
        "scenes_joined": scenes - len({row[0] for row in pieces.tolist()}),
        "search_seconds": seconds,
    }


def across_splits(folder: Path, copies: int) -> dict[str, int]:
    """Copies of every kind in turn, as files beside their images: how many `explore` would split
    from them.
    """
    files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in SUFFIXES)
    with tempfile.TemporaryDirectory() as temporary:
        there = Path(temporary) / "planted"
        for number, file in enumerate(files):
            (there / file.parent.name).mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, there / file.parent.name / f"{number:06}{file.suffix.lower()}")
        chosen = (
            keyed_numbers(SEED, "planted", map(str, range(len(files)))).argsort()[:copies].tolist()
        )
        for place, number in enumerate(chosen):
            rng = np.random.default_rng(number)
            pixels = decode_file(files[number]).pixels
            assert pixels is not None
            img = Image.fromarray(pixels)
            for change in list(KINDS.values())[place % len(KINDS)]:
                img = change(img, rng)
            img.save(there / files[number].parent.name / f"{number:06}-copy.png")
        found = tellapart.explore(there, out=Path(temporary) / "x.html", quiet=True)
    split_of = {
        Path(path).stem: split
        for path, split in zip(found.catalog.paths, found.splits, strict=True)
    }
    apart = sum(split_of[f"{number:06}"] != split_of[f"{number:06}-copy"] for number in chosen)
    return {"files": len(files), "planted": len(chosen), "in_another_split": apart}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, nargs="*", help="folders of images, at any depth")
    parser.add_argument("--copies", type=int, default=400, help="copies of each kind")
    parser.add_argument("--only", default="", help="sets to search, between commas; default: all")
    parser.add_argument("--crowds", default="", help="SCENESxSHOTS, between commas, and no data")
    parser.add_argument("--out", type=Path, help="write the result as JSON")
    options = parser.parse_args()
    if options.crowds:
        rows = {words: crowd(*map(int, words.split("x"))) for words in options.crowds.split(",")}
        write(rows, options.out)
        return
    sources: dict[str, Callable[[], list[Pixels]]] = {
        folder.name: partial(read_folder, folder) for folder in options.data
    }
    spec = importlib.util.find_spec("elpv_dataset")
    if spec and spec.submodule_search_locations:
        cells = Path(next(iter(spec.submodule_search_locations))) / "data"
        sources["elpv"] = partial(read_folder, cells)
    if FASHION.is_dir():
        sources["fashion-mnist"] = read_fashion
    if options.only:
        sources = {name: sources[name] for name in options.only.split(",")}
    rows = {}
    for name, read in sources.items():
        images = read()
        thumbnails, row = plain(images)
        print(
            f"{name}: " + ", ".join(f"{key} {value:.4g}" for key, value in row.items()), flush=True
        )
        rows[name] = row | {"recall": recall(images, thumbnails, options.copies)}
    for folder in (folder for folder in options.data if folder.name in rows):
        rows[folder.name]["splits"] = across_splits(folder, options.copies // 3)
        print(f"{folder.name}: {rows[folder.name]['splits']}", flush=True)
    write(rows, options.out)


def write(rows: dict[str, Any], out: Path | None) -> None:
    """Print what was found in each set, and keep it where the user says."""
    result = {**about(list(rows), SEED), "threads": usable_cores(), "found": rows}
    print(json.dumps(result, indent=1))
    if out:
        out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
