"""Does the same model file answer alike on other processors?

    python benchmarks/processors.py MODEL DATA [--images 500] [--cpus native,Haswell,Nehalem]
        [--emulator qemu-x86_64-static] [--out result.json]

Each processor is one process that loads the file and answers the same images. "native" is this
machine; the others are emulated by QEMU's user mode, which takes some hundred times as long.
Haswell has AVX2 without VNNI, Nehalem has SSE 4.2 alone. The decoded images are shared, so that the
graph alone is compared: its resize, its network, its head. Reported are the largest differences and
the decisions that change.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from recording import about

import tellapart
from tellapart.decoding import decode
from tellapart.sources.walk import IMAGE_SUFFIXES

ANSWER = """
import sys
import numpy as np
import onnxruntime as ort

model, images, out = sys.argv[1:]
options = ort.SessionOptions()
options.intra_op_num_threads = 1
session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
names = ["probabilities", "embedding", "unfamiliarity"]
with np.load(images) as held:
    rows = [session.run(names, {"pixels": held[key][None]}) for key in sorted(held)]
np.savez(out, **{name: np.concatenate([row[at] for row in rows]) for at, name in enumerate(names)})
"""


def chosen(data: Path, count: int) -> list[np.ndarray]:
    """Decoded images (H, W, 3), spread over the folder."""
    files = sorted(path for path in data.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
    places = np.unique(np.linspace(0, len(files) - 1, count).astype(int))
    decoded = (decode(files[place].read_bytes()).pixels for place in places.tolist())
    return [pixels for pixels in decoded if pixels is not None]


def answers(
    cpu: str, emulator: str, model: Path, images: Path, folder: Path
) -> tuple[dict[str, np.ndarray], float]:
    """What one processor answers, and the seconds that it takes."""
    out = folder / f"{cpu}.npz"
    before = [] if cpu == "native" else [emulator, "-cpu", cpu]
    start = time.monotonic()
    subprocess.run([*before, sys.executable, "-c", ANSWER, model, images, out], check=True)
    with np.load(out) as held:
        return dict(held), time.monotonic() - start


def compared(
    found: dict[str, np.ndarray], native: dict[str, np.ndarray], card: Any
) -> dict[str, Any]:
    """How far the answers of a processor are from this machine's."""
    one, other = (part["embedding"] for part in (found, native))
    lengths = np.linalg.norm(other, axis=1)
    decided = [card.rule.answers(part["probabilities"]) for part in (found, native)]
    familiar = [part["unfamiliarity"] <= 1 for part in (found, native)]
    return {
        "embedding_largest": float(np.abs(one - other).max()),
        "embedding_share": float((np.linalg.norm(one - other, axis=1) / lengths).max()),
        "probability_largest": float(
            np.abs(found["probabilities"] - native["probabilities"]).max()
        ),
        "other_answers": int((decided[0] != decided[1]).sum()),
        "other_familiar": int((familiar[0] != familiar[1]).sum()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--cpus", default="native,Haswell,Nehalem")
    parser.add_argument("--emulator", default="qemu-x86_64-static")
    parser.add_argument("--out", type=Path)
    words = parser.parse_args()
    card = tellapart.load(words.model).card
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        images = chosen(words.data, words.images)
        held = {f"{place:06}": pixels for place, pixels in enumerate(images)}
        np.savez(folder / "images.npz", allow_pickle=False, **held)
        found = {}
        for cpu in words.cpus.split(","):
            found[cpu] = answers(cpu, words.emulator, words.model, folder / "images.npz", folder)
            print(f"{cpu}: {found[cpu][1]:.0f} s", flush=True)
    native = found["native"][0]
    result = {
        **about([words.data.name]),
        "precision": card.precision,
        "images": len(images),
        "processors": {
            cpu: {"seconds": round(seconds, 1), **compared(part, native, card)}
            for cpu, (part, seconds) in found.items()
        },
    }
    print(json.dumps(result["processors"], indent=1))
    if words.out:
        words.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
