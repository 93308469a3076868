"""What do colour profiles cost, and what does it change to convert them to sRGB?

    python benchmarks/profiles.py CATS_DOGS [--each 300] [--out result.json]

Each image is stored three times: as it is, with a profile of sRGB, and in a wide space with its
profile, so that it looks the same. A model is trained on the first. It is asked about the test images of
the third as the contract reads them, and as it reads them with decoding.colour=ignore. "mixed" is a
set whose classes come from different cameras: one class is stored in the wide space, and asked about in
the plain one.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from PIL import Image, ImageCms
from recording import about

import tellapart
from tellapart.decoders.rules import DecodeRules
from tellapart.decoding import decode
from tellapart.evaluation.intervals import wilson

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
odd: Any = import_module("helpers.odd_images")

WIDE, SRGB = odd.profile(is_wide=True), odd.profile(is_wide=False)
TO_WIDE = ImageCms.buildTransform(
    ImageCms.createProfile("sRGB"), ImageCms.ImageCmsProfile(io.BytesIO(WIDE)), "RGB", "RGB"
)
QUALITY = 92


def stored(img: Image.Image, kind: str) -> bytes:
    out = io.BytesIO()
    if kind == "wide":
        moved = ImageCms.applyTransform(img, TO_WIDE)
        assert moved is not None
        moved.save(out, "JPEG", quality=QUALITY, icc_profile=WIDE)
    else:
        img.save(out, "JPEG", quality=QUALITY, icc_profile=SRGB if kind == "srgb" else b"")
    return out.getvalue()


def write(files: Sequence[tuple[str, str, Path]], kinds: dict[str, str], folder: Path) -> Path:
    """A data set, where `kinds` says how each class is stored."""
    for split, label, path in files:
        target = folder / split / label / f"{path.stem}.jpg"
        target.parent.mkdir(parents=True, exist_ok=True)
        with Image.open(path) as img:
            target.write_bytes(stored(img.convert("RGB"), kinds[label]))
    return folder


def milliseconds(files: Sequence[tuple[str, str, Path]], kind: str, colour: str) -> float:
    """The shortest of three means over the images, of one thread."""
    data = []
    for _, _, path in files[:200]:
        with Image.open(path) as img:
            data.append(stored(img.convert("RGB"), kind))
    rules = DecodeRules(colour="ignore" if colour == "ignore" else "srgb")
    spent = []
    for _ in range(3):
        start = time.process_time()
        for content in data:
            decode(content, rules=rules)
        spent.append((time.process_time() - start) / len(data) * 1000)
    return round(min(spent), 3)


def accuracy(train: Path, test: Path, colour: str, runs: Path) -> dict[str, float]:
    settings = {"decoding.colour": colour}
    run = tellapart.train(train, set=settings, out=runs, quiet=True)
    paths = sorted((test / "test").rglob("*.jpg"))
    answers = run.predictor().predict_each(paths)
    right = sum(
        answer.answer == path.parent.name for answer, path in zip(answers, paths, strict=True)
    )
    low, high = wilson(right, len(paths))
    return {"accuracy": right / len(paths), "low": low, "high": high, "images": len(paths)}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path, help="class folders of JPEG files below train and test")
    parser.add_argument("--each", type=int, default=300, help="images of each class and split")
    parser.add_argument("--out", type=Path, help="write the result as JSON")
    options = parser.parse_args()
    files = [
        (split.name, label.name, path)
        for split in sorted(options.data.iterdir())
        for label in sorted(split.iterdir())
        for path in sorted(label.rglob("*.jpg"))[: options.each]
    ]
    labels = sorted({label for _, label, _ in files})
    times = {
        f"{kind}, {colour}": milliseconds(files, kind, colour)
        for kind, colour in (
            ("plain", "srgb"),
            ("srgb", "srgb"),
            ("wide", "srgb"),
            ("wide", "ignore"),
        )
    }
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        plain = write(files, dict.fromkeys(labels, "plain"), work / "plain")
        wide = write(files, dict.fromkeys(labels, "wide"), work / "wide")
        mixed = write(
            files,
            {label: "wide" if label == labels[0] else "plain" for label in labels},
            work / "mixed",
        )
        scores = {
            f"{name}, {colour}": accuracy(train, test, colour, work / "runs")
            for name, train, test in (
                ("plain to plain", plain, plain),
                ("plain to wide", plain, wide),
                ("mixed to plain", mixed, plain),
            )
            for colour in ("srgb", "ignore")
        }
    result = {
        **about([options.data.name]),
        "each": options.each,
        "milliseconds": times,
        "scores": scores,
    }
    print(json.dumps(result, indent=1))
    if options.out:
        options.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
