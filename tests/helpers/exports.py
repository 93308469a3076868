"""Photographs with drawn boxes, and the files in which annotation tools say where these are."""

from __future__ import annotations

import json

import numpy as np
from PIL import Image

WIDTH, HEIGHT = 40, 30
# Label and (left, top, right, bottom) of the boxes on each photograph.
BOXES = {
    "a.png": [("cat", (2, 3, 12, 13)), ("dog", (20, 5, 36, 25))],
    "b.png": [("dog", (1, 1, 9, 21))],
}


def photograph(name):
    """(30, 40, 3) pixels, other ones for each name."""
    seed = sum(map(ord, name))
    return np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)


def write_photographs(folder, names=tuple(BOXES)):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        Image.fromarray(photograph(name)).save(folder / name)
    return folder


def cut(name, sides):
    """What a box shows."""
    left, top, right, bottom = sides
    return photograph(name)[top:bottom, left:right]


def write_json(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def coco(boxes=BOXES, **extra):
    """A COCO file's content. Boxes are left, top, width and height there."""
    drawn = [(name, *found) for name, several in boxes.items() for found in several]
    ids = {name: number for number, name in enumerate(boxes)}
    kinds = {"cat": 1, "dog": 2}
    return {
        "info": {},
        "images": [
            {"id": ids[name], "file_name": name, "width": WIDTH, "height": HEIGHT} for name in boxes
        ],
        "annotations": [
            {
                "id": number,
                "image_id": ids[name],
                "category_id": kinds[label],
                "bbox": [left, top, right - left, bottom - top],
            }
            for number, (name, label, (left, top, right, bottom)) in enumerate(drawn)
        ],
        "categories": [{"id": number, "name": name} for name, number in kinds.items()],
        **extra,
    }


def write_yolo(folder, split=""):
    """images/ beside labels/, with a line of shares for each box."""
    write_photographs(folder / split / "images")
    labels = folder / split / "labels"
    labels.mkdir(parents=True)
    for name, boxes in BOXES.items():
        (labels / name).with_suffix(".txt").write_text("".join(map(_yolo_line, boxes)))
    (folder / "data.yaml").write_text("train: train/images\nnc: 2\nnames: [cat, dog]\n")
    return folder


def _yolo_line(box):
    label, (left, top, right, bottom) = box
    x, y = (left + right) / 2 / WIDTH, (top + bottom) / 2 / HEIGHT
    width, height = (right - left) / WIDTH, (bottom - top) / HEIGHT
    return f"{['cat', 'dog'].index(label)} {x} {y} {width} {height}\n"


def voc(name, before=""):
    """A Pascal VOC file. Its pixels count from 1."""
    drawn = "".join(
        f"<object><name>{label}</name><bndbox><xmin>{left + 1}</xmin><ymin>{top + 1}</ymin>"
        f"<xmax>{right}</xmax><ymax>{bottom}</ymax></bndbox></object>"
        for label, (left, top, right, bottom) in BOXES[name]
    )
    size = f"<size><width>{WIDTH}</width><height>{HEIGHT}</height></size>"
    return f"{before}<annotation><filename>{name}</filename>{size}{drawn}</annotation>"


def write_voc(folder):
    write_photographs(folder / "JPEGImages")
    (folder / "Annotations").mkdir()
    for name in BOXES:
        (folder / "Annotations" / name).with_suffix(".xml").write_text(voc(name))
    return folder


def label_studio():
    """The tasks of a Label Studio export, in hundredths of each image."""
    return [
        {
            "id": 1,
            "data": {"image": f"/data/upload/1/0a1b2c3d-{name}"},
            "annotations": [{"result": [_rectangle(*box) for box in boxes]}],
        }
        for name, boxes in BOXES.items()
    ]


def _rectangle(label, sides):
    left, top, right, bottom = sides
    return {
        "type": "rectanglelabels",
        "value": {
            "x": 100 * left / WIDTH,
            "y": 100 * top / HEIGHT,
            "width": 100 * (right - left) / WIDTH,
            "height": 100 * (bottom - top) / HEIGHT,
            "rotation": 0,
            "rectanglelabels": [label],
        },
    }


def labelme(name):
    """A LabelMe file."""
    shapes = [
        {"label": label, "points": [[left, top], [right, bottom]], "shape_type": "rectangle"}
        for label, (left, top, right, bottom) in BOXES[name]
    ]
    return {
        "version": "5",
        "flags": {},
        "shapes": shapes,
        "imagePath": name,
        "imageHeight": HEIGHT,
        "imageWidth": WIDTH,
    }
