"""Containers of small images, written as the tools write them that people use."""

from __future__ import annotations

import io
import json
import tarfile

import numpy as np
import polars
from PIL import Image

CLASSES = ("cat", "dog")


def small_image(label, number):
    """The bytes of a PNG file, another one for each number."""
    pixels = np.random.default_rng([label, number]).integers(0, 256, (8, 10, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def small_images(count=4):
    """Labels and images: half of them of each class."""
    labels = [number % 2 for number in range(count)]
    return labels, [small_image(label, number) for number, label in enumerate(labels)]


def hub_frame(count=4):
    """A frame as a hub's Parquet and Arrow files hold it."""
    labels, images = small_images(count)
    cells = [{"bytes": image, "path": f"{number}.png"} for number, image in enumerate(images)]
    return polars.DataFrame({"image": cells, "label": labels})


def features(names=CLASSES):
    """What the `datasets` library notes of such a frame."""
    label = {"names": list(names), "_type": "ClassLabel"}
    return {"image": {"_type": "Image"}, "label": label}


def write_parquet(path, frame=None, names=CLASSES, **options):
    """A Parquet file as a hub serves it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    frame = hub_frame() if frame is None else frame
    metadata = {"huggingface": json.dumps({"info": {"features": features(names)}})}
    frame.write_parquet(path, metadata=metadata if names else None, **options)
    return path


def write_saved(folder, count=4):
    """A folder as `Dataset.save_to_disk` leaves it."""
    folder.mkdir(parents=True, exist_ok=True)
    name = "data-00000-of-00001.arrow"
    hub_frame(count).write_ipc_stream(folder / name)
    (folder / "dataset_info.json").write_text(json.dumps({"features": features()}))
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": name}]}))
    return folder


def write_shard(path, labels, suffix=".cls", form=str):
    """A WebDataset shard: an image and a label for each sample."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for number, label in enumerate(labels):
            sample = {".png": small_image(number % 2, number), suffix: form(label).encode()}
            for ending, data in sample.items():
                info = tarfile.TarInfo(f"{number:06}{ending}")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    return path
